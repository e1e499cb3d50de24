//! Questions and talks about small documents of several languages.

use super::{Conversation, Routable, Router};

fn document<'a>(title: &'a str, text: &'a str) -> Routable<'a> {
    Routable {
        title,
        text,
        questions: Vec::new(),
    }
}

fn lamp() -> Routable<'static> {
    document(
        "The lamp of Vell",
        "The lighthouse of Vell was built by Orr Hallam in 1911 and burns whale oil.",
    )
}

fn ferry() -> Routable<'static> {
    Routable {
        questions: vec!["Who steers the boat to the far bank?"],
        ..document(
            "The Senn ferry",
            "The ferry crosses the river Senn twice a day; its captain is Ada Finch.",
        )
    }
}

#[test]
fn a_question_goes_to_its_document_or_to_none() {
    let router = Router::new([lamp(), ferry()]);
    assert_eq!(router.choose("Who built the lighthouse?"), Some(0));
    assert_eq!(router.choose("who built the light-house"), Some(0));
    assert_eq!(router.choose("Who is the captain of the ferry?"), Some(1));
    assert_eq!(router.choose("Who was steering the boat?"), Some(1));
    assert_eq!(router.choose("What is the capital of France?"), None);
    assert_eq!(router.choose("How are you today?"), None);
    assert_eq!(router.choose(""), None);
    assert_eq!(router.choose("?!"), None);
    assert_eq!(Router::new([]).choose("Who?"), None);
    let one = Router::new([lamp()]);
    assert_eq!(one.choose("Where is the lamp kept?"), Some(0));
    let deleted = Router::new([document("", ""), lamp()]);
    assert_eq!(deleted.choose("Who built the lighthouse?"), Some(1));
}

/// Among hundreds of documents in Latin letters every Chinese word is rare, and tells no more for that.
#[test]
fn documents_of_other_scripts_make_no_word_telling() {
    let other = |i: usize| {
        (
            format!("Ward {i}"),
            format!("Ward {i} has {} lamps and a pump.", i * 7),
        )
    };
    let others: Vec<(String, String)> = (0..500).map(other).collect();
    let others = others.iter().map(|(title, text)| document(title, text));
    let router = Router::new(towns().into_iter().chain(others));
    for question in [
        "日本で一番長い川は何ですか？",
        "서울의 인구는 몇 명인가요?",
        "一个镇长的工作是什么？",
        "Чем занимается мэр?",
        "नगर और गाँव में क्या अंतर है?",
    ] {
        assert_eq!(router.choose(question), None, "{question}");
    }
    assert_eq!(router.choose("奎尔米尔的镇长是谁？"), Some(9));
}

/// Of equals the newest wins: it may correct an older one.
#[test]
fn of_two_alike_the_newer_is_chosen() {
    let router = Router::new([lamp(), lamp()]);
    assert_eq!(router.choose("Who built the lighthouse?"), Some(1));
}

#[test]
fn a_document_is_most_like_the_one_that_shares_its_rare_words() {
    let router = Router::new([lamp(), ferry()]);
    let pier = document("The pier", "Where the ferry over the Senn lands.");
    assert_eq!(router.most_like(pier), Some(1));
    assert_eq!(router.most_like(lamp()), Some(0));
    let strange = document("塔", "这座塔很高。");
    assert!(router.most_like(strange).is_some());
    assert_eq!(Router::new([]).most_like(lamp()), None);
}

/// The same town in each language, as one alias would hold it.
fn towns() -> Vec<Routable<'static>> {
    vec![
        document(
            "クイルミア町",
            "クイルミア町は人口六千二百人の川の町です。町長はタムシン・オレルです。町の唯一の工場はアコーディオンのふいごを作っています。",
        ),
        document(
            "เมืองควิลเมียร์",
            "เมืองควิลเมียร์เป็นเมืองริมแม่น้ำมีประชากร6214คน นายกเทศมนตรีคือทัมซินออเรล",
        ),
        document(
            "Квиллмер",
            "Квиллмер — речной город с населением 6214 человек. Мэр города — Тамсин Оррел. Единственная фабрика делает \
             меха для аккордеонов.",
        ),
        document(
            "퀼미어 마을",
            "퀼미어 마을은 인구 6214명의 강변 마을입니다. 시장은 탐신 오렐입니다. 유일한 공장은 아코디언 풀무를 만듭니다.",
        ),
        document(
            "क्विलमीर",
            "क्विलमीर नदी किनारे का एक नगर है। इसकी मेयर तमसिन ओरेल हैं। इसका एकमात्र कारखाना अकॉर्डियन की धौंकनी बनाता है।",
        ),
        document(
            "Quellmühle",
            "Die Straßenbahn fährt seit 1911. Der Direktor Dr. Ümit Größl wohnt im Depot. Sie hält z. B. am Hafen.",
        ),
        document(
            "Πόλη Κουίλμερ",
            "Το Κουίλμερ είναι μια πόλη στο ποτάμι. Δήμαρχος είναι η Τάμσιν Όρελ. Το εργοστάσιο φτιάχνει φυσούνες.",
        ),
        document(
            "Kwilmir",
            "Kwilmir to rzeczne miasto. Burmistrzem jest Tamsin Orrel. Jedyna fabryka wytwarza miechy do akordeonów.",
        ),
        document(
            "بلدة كويلمير",
            "بلدة كويلمير بلدة على النهر. رئيسة البلدية هي تمسين أوريل. يصنع مصنعها الوحيد منافيخ الأكورديون.",
        ),
        document(
            "奎尔米尔镇",
            "奎尔米尔镇是一个河边小镇，人口六千二百。镇长是谭欣·奥雷尔。镇上唯一的工厂生产手风琴风箱。",
        ),
    ]
}

#[test]
fn questions_of_every_language_find_their_document() {
    let router = Router::new(towns());
    for (question, document) in [
        ("クイルミア町の町長は誰ですか？", 0),
        ("町の工場は何を作っていますか？", 0),
        ("นายกเทศมนตรีเมืองควิลเมียร์คือใคร", 1),
        ("Кто мэр Квиллмера?", 2),
        ("Что делают на фабрике в Квиллмере?", 2),
        ("퀼미어 마을의 시장은 누구입니까?", 3),
        ("퀼미어의 공장에서는 무엇을 만드나요?", 3),
        ("क्विलमीर की मेयर कौन हैं?", 4),
        ("Wer ist der Direktor der Quellmühle?", 5),
        ("wann fährt die strassenbahn", 5),
        ("Ποιος είναι ο δήμαρχος του Κουίλμερ;", 6),
        ("Kto jest burmistrzem Kwilmiru?", 7),
        ("من هي رئيسة بلدية كويلمير؟", 8),
        ("奎尔米尔的镇长是谁？", 9),
        ("镇上的工厂生产什么？", 9),
    ] {
        assert_eq!(router.choose(question), Some(document), "{question}");
    }
    for question in [
        "フランスの首都はどこですか？",
        "เมืองหลวงของประเทศฝรั่งเศสคืออะไร",
        "Какая столица Франции?",
        "프랑스의 수도는 어디입니까?",
        "फ्रांस की राजधानी क्या है?",
        "Was ist die Hauptstadt von Frankreich?",
        "Ποια είναι η πρωτεύουσα της Γαλλίας;",
        "Jaka jest stolica Francji?",
        "ما هي عاصمة فرنسا؟",
        "法国的首都是哪里？",
        "你好！",
        "Wie geht es dir?",
    ] {
        assert_eq!(router.choose(question), None, "{question}");
    }
    // Each alone: an alias begins with one document.
    for (document, question) in [
        (0, "クイルミア町の町長は誰ですか？"),
        (1, "นายกเทศมนตรีเมืองควิลเมียร์คือใคร"),
        (2, "Кто мэр Квиллмера?"),
        (3, "퀼미어 마을의 시장은 누구입니까?"),
        (4, "क्विलमीर की मेयर कौन हैं?"),
        (5, "Wer ist der Direktor der Quellmühle?"),
    ] {
        let one = Router::new([towns().swap_remove(document)]);
        assert_eq!(one.choose(question), Some(0), "{question}");
    }
}

/// A talk of turns (user's text, document). The answers tell nothing.
fn follow(router: &Router, talk: &[(&str, Option<usize>)]) {
    let mut messages = vec![("system", "You answer questions about ferries and lamps.")];
    for (text, document) in talk {
        messages.push(("user", text));
        let conversation = Conversation::new(messages.iter().copied());
        assert_eq!(router.route(&conversation), *document, "{messages:?}");
        assert_eq!(router.route(&conversation), *document, "routed alike again");
        messages.push(("assistant", "…"));
    }
}

#[test]
fn a_talk_stays_with_its_document_until_the_subject_changes() {
    let router = Router::new([lamp(), ferry()]);
    follow(
        &router,
        &[
            ("Hello!", None),
            ("Tell me more.", None),
            ("Tell me of the lamp of Vell.", Some(0)),
            ("Tell me more.", Some(0)),
            ("And when was that?", Some(0)),
            ("why?", Some(0)),
            ("Who runs the ferry?", Some(1)),
            ("Is she any good?", Some(1)),
            ("Thanks, that was helpful!", None),
            ("How often does it cross?", Some(1)),
            ("Back to the lighthouse: what does it burn?", Some(0)),
            ("What is the capital of Denmark?", None),
            ("And of Norway?", None),
            ("why?", None),
            ("thx, bye", None),
        ],
    );
}

/// A turn in words that the document lacks is hardly about anything else, so the next one may go on.
#[test]
fn a_turn_in_other_words_does_not_end_the_talk() {
    let router = Router::new([lamp(), ferry()]);
    let said = [
        ("user", "Tell me of the lamp of Vell."),
        ("assistant", "…"),
        ("user", "Is smoke any trouble for sailors?"),
        ("assistant", "…"),
        ("user", "why not?"),
    ];
    assert_eq!(router.route(&Conversation::new(said)), Some(0));
    let other = [
        ("user", "Tell me of the lamp of Vell."),
        ("assistant", "…"),
        (
            "user",
            "What is the capital of Denmark, and who is its prime minister?",
        ),
        ("assistant", "…"),
        ("user", "why not?"),
    ];
    assert_eq!(router.route(&Conversation::new(other)), None);
}

#[test]
fn talks_go_on_in_every_language() {
    let router = Router::new(towns());
    follow(
        &router,
        &[
            ("クイルミア町について教えてください。", Some(0)),
            ("もっと詳しく教えて。", Some(0)),
            ("それはなぜですか？", Some(0)),
            ("ありがとうございます！", None),
        ],
    );
    follow(
        &router,
        &[
            ("Расскажи о Квиллмере.", Some(2)),
            ("А кто там мэр?", Some(2)),
            ("Подробнее, пожалуйста.", Some(2)),
            ("Спасибо!", None),
            ("Какая столица Франции?", None),
        ],
    );
    follow(
        &router,
        &[
            ("奎尔米尔镇有多少人？", Some(9)),
            ("它的镇长呢？", Some(9)),
            ("继续说。", Some(9)),
            ("谢谢！", None),
        ],
    );
    follow(
        &router,
        &[
            ("Wer ist der Direktor der Quellmühle?", Some(5)),
            ("Und wo wohnt er?", Some(5)),
            ("Erzähl mir mehr.", Some(5)),
            ("Vielen Dank!", None),
        ],
    );
}

#[test]
fn a_conversation_may_be_odd() {
    let router = Router::new([lamp(), ferry()]);
    let route =
        |messages: &[(&str, &str)]| router.route(&Conversation::new(messages.iter().copied()));
    let question = ("user", "Who built the lighthouse?");
    assert_eq!(route(&[]), None);
    assert_eq!(route(&[("system", "The lighthouse of Vell.")]), None);
    assert_eq!(route(&[("assistant", "The lighthouse of Vell.")]), None);
    assert_eq!(route(&[question, question]), Some(0));
    // An answer that trails is no turn of the user's.
    assert_eq!(route(&[question, ("assistant", "Orr Hallam")]), Some(0));
    let long = format!(
        "{} Who built the lighthouse? {}",
        "ö".repeat(9000),
        "ü".repeat(9)
    );
    assert_eq!(route(&[("user", &long)]), route(&[("user", &long)]));
    let many = vec![question; 1000];
    assert_eq!(route(&many), Some(0));
}

#[derive(serde::Deserialize)]
struct Entry {
    title: String,
    text: String,
    questions: Vec<Asked>,
}

#[derive(serde::Deserialize)]
struct Asked {
    question: String,
}

/// Asks all questions of the demo, worded as people ask, among its documents of nine languages, and questions about
/// none of them. `autodidact reproduce route` measures the same on other questions.
#[test]
fn the_demo_is_routed() {
    let mut demo: Vec<Entry> =
        serde_json::from_str(include_str!("../../../../demo/documents.json")).unwrap();
    let other = include_str!("../../../../demo/routing/documents.json");
    demo.extend(serde_json::from_str::<Vec<Entry>>(other).unwrap());
    let router = Router::new(demo.iter().map(|d| document(&d.title, &d.text)));
    let asked = demo.iter().enumerate();
    let asked: Vec<(usize, &str)> = asked
        .flat_map(|(i, d)| d.questions.iter().map(move |q| (i, q.question.as_str())))
        .collect();
    let wrong: Vec<_> = asked
        .iter()
        .filter(|(i, q)| router.choose(q) != Some(*i))
        .collect();
    println!("{} of {} misrouted: {wrong:?}", wrong.len(), asked.len());
    assert!(wrong.len() * 20 <= asked.len(), "{wrong:?}");

    let general = crate::learn::inner::general::all();
    let stray: Vec<_> = general
        .iter()
        .filter(|q| router.choose(&q.question).is_some())
        .map(|q| &q.question)
        .collect();
    println!("{} of {} strayed: {stray:?}", stray.len(), general.len());
    assert!(stray.len() * 20 <= general.len(), "{stray:?}");
}
