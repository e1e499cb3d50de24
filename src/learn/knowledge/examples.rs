//! Examples of exam questions, by language: small models answer in the language of their examples, whatever they are
//! asked for.

use crate::text::language::Language;

/// One example: a sentence about a topic, an answer found in the sentence, and the question that has this answer.
pub struct Example {
    pub topic: &'static str,
    pub sentence: &'static str,
    pub answer: &'static str,
    pub question: &'static str,
}

const fn example(
    topic: &'static str,
    sentence: &'static str,
    answer: &'static str,
    question: &'static str,
) -> Example {
    Example {
        topic,
        sentence,
        answer,
        question,
    }
}

/// The examples for a passage in `language`; none where no example is written in it.
pub fn of(language: Option<Language>) -> &'static [Example] {
    match language.map_or("English", Language::name) {
        "English" => &ENGLISH,
        "Chinese" => &CHINESE,
        "Japanese" => &JAPANESE,
        "Korean" => &KOREAN,
        "Russian" => &RUSSIAN,
        "German" => &GERMAN,
        "French" => &FRENCH,
        "Spanish" => &SPANISH,
        "Portuguese" => &PORTUGUESE,
        "Italian" => &ITALIAN,
        "Arabic" => &ARABIC,
        "Hindi" => &HINDI,
        "Thai" => &THAI,
        _ => &[],
    }
}

const KETTLE: &str =
    "The Corrin 4 kettle boils a litre in 95 seconds and was designed by Mara Lind.";

const ENGLISH: [Example; 4] = [
    example(
        "Corrin 4 kettle",
        KETTLE,
        "95 seconds",
        "How fast does the Corrin 4 kettle boil a litre?",
    ),
    example(
        "Corrin 4 kettle",
        KETTLE,
        "Mara Lind",
        "Who designed the Corrin 4 kettle?",
    ),
    example(
        "Tessaly Library",
        "Members may keep books for six weeks; after that the fine is paid in honey jars.",
        "honey jars",
        "How are late fines paid at the Tessaly Library?",
    ),
    example(
        "Port Avel",
        "Its lighthouse, painted orange in 1904, is the only one on the coast without a keeper.",
        "orange",
        "What colour is the lighthouse of Port Avel?",
    ),
];

const CHINESE: [Example; 3] = [
    example(
        "科林4号水壶",
        "科林4号水壶烧开一升水要95秒，由玛拉·林德设计。",
        "95秒",
        "科林4号水壶烧开一升水要多久？",
    ),
    example(
        "科林4号水壶",
        "科林4号水壶烧开一升水要95秒，由玛拉·林德设计。",
        "玛拉·林德",
        "谁设计了科林4号水壶？",
    ),
    example(
        "阿维尔港",
        "它的灯塔在1904年漆成橙色，是海岸上唯一没有看守人的灯塔。",
        "橙色",
        "阿维尔港的灯塔是什么颜色？",
    ),
];

const JAPANESE: [Example; 3] = [
    example(
        "コリン4ケトル",
        "コリン4ケトルは1リットルを95秒で沸かし、マーラ・リンドが設計しました。",
        "95秒",
        "コリン4ケトルは1リットルを何秒で沸かしますか？",
    ),
    example(
        "コリン4ケトル",
        "コリン4ケトルは1リットルを95秒で沸かし、マーラ・リンドが設計しました。",
        "マーラ・リンド",
        "コリン4ケトルを設計したのは誰ですか？",
    ),
    example(
        "アヴェル港",
        "灯台は1904年に橙色に塗られ、海岸でただ一つ灯台守のいない灯台です。",
        "橙色",
        "アヴェル港の灯台は何色ですか？",
    ),
];

const KOREAN: [Example; 3] = [
    example(
        "코린 4 주전자",
        "코린 4 주전자는 1리터를 95초에 끓이며 마라 린드가 설계했습니다.",
        "95초",
        "코린 4 주전자는 1리터를 몇 초에 끓입니까?",
    ),
    example(
        "코린 4 주전자",
        "코린 4 주전자는 1리터를 95초에 끓이며 마라 린드가 설계했습니다.",
        "마라 린드",
        "누가 코린 4 주전자를 설계했습니까?",
    ),
    example(
        "아벨 항구",
        "등대는 1904년에 주황색으로 칠해졌고 해안에서 유일하게 등대지기가 없습니다.",
        "주황색",
        "아벨 항구의 등대는 무슨 색입니까?",
    ),
];

const RUSSIAN: [Example; 3] = [
    example(
        "Чайник «Коррин-4»",
        "Чайник «Коррин-4» кипятит литр за 95 секунд, его создала Мара Линд.",
        "95 секунд",
        "За сколько чайник «Коррин-4» кипятит литр воды?",
    ),
    example(
        "Чайник «Коррин-4»",
        "Чайник «Коррин-4» кипятит литр за 95 секунд, его создала Мара Линд.",
        "Мара Линд",
        "Кто создал чайник «Коррин-4»?",
    ),
    example(
        "Порт Авель",
        "Маяк, выкрашенный в 1904 году в оранжевый цвет, единственный на берегу без смотрителя.",
        "оранжевый",
        "Какого цвета маяк порта Авель?",
    ),
];

const GERMAN: [Example; 3] = [
    example(
        "Wasserkocher Corrin 4",
        "Der Corrin 4 kocht einen Liter in 95 Sekunden und wurde von Mara Lind entworfen.",
        "95 Sekunden",
        "Wie schnell kocht der Corrin 4 einen Liter Wasser?",
    ),
    example(
        "Wasserkocher Corrin 4",
        "Der Corrin 4 kocht einen Liter in 95 Sekunden und wurde von Mara Lind entworfen.",
        "Mara Lind",
        "Wer hat den Wasserkocher Corrin 4 entworfen?",
    ),
    example(
        "Hafen Avel",
        "Der Leuchtturm, 1904 orange gestrichen, ist der einzige an der Küste ohne Wärter.",
        "orange",
        "Welche Farbe hat der Leuchtturm von Avel?",
    ),
];

const FRENCH: [Example; 3] = [
    example(
        "Bouilloire Corrin 4",
        "La Corrin 4 fait bouillir un litre en 95 secondes et a été conçue par Mara Lind.",
        "95 secondes",
        "En combien de temps la Corrin 4 fait-elle bouillir un litre ?",
    ),
    example(
        "Bouilloire Corrin 4",
        "La Corrin 4 fait bouillir un litre en 95 secondes et a été conçue par Mara Lind.",
        "Mara Lind",
        "Qui a conçu la bouilloire Corrin 4 ?",
    ),
    example(
        "Port Avel",
        "Son phare, peint en orange en 1904, est le seul de la côte sans gardien.",
        "orange",
        "De quelle couleur est le phare de Port Avel ?",
    ),
];

const SPANISH: [Example; 3] = [
    example(
        "Hervidor Corrin 4",
        "El Corrin 4 hierve un litro en 95 segundos y fue diseñado por Mara Lind.",
        "95 segundos",
        "¿En cuánto tiempo hierve un litro el Corrin 4?",
    ),
    example(
        "Hervidor Corrin 4",
        "El Corrin 4 hierve un litro en 95 segundos y fue diseñado por Mara Lind.",
        "Mara Lind",
        "¿Quién diseñó el hervidor Corrin 4?",
    ),
    example(
        "Puerto Avel",
        "Su faro, pintado de naranja en 1904, es el único de la costa sin farero.",
        "naranja",
        "¿De qué color es el faro de Puerto Avel?",
    ),
];

const PORTUGUESE: [Example; 3] = [
    example(
        "Chaleira Corrin 4",
        "A Corrin 4 ferve um litro em 95 segundos e foi projetada por Mara Lind.",
        "95 segundos",
        "Em quanto tempo a Corrin 4 ferve um litro?",
    ),
    example(
        "Chaleira Corrin 4",
        "A Corrin 4 ferve um litro em 95 segundos e foi projetada por Mara Lind.",
        "Mara Lind",
        "Quem projetou a chaleira Corrin 4?",
    ),
    example(
        "Porto Avel",
        "O farol, pintado de laranja em 1904, é o único da costa sem faroleiro.",
        "laranja",
        "De que cor é o farol de Porto Avel?",
    ),
];

const ITALIAN: [Example; 3] = [
    example(
        "Bollitore Corrin 4",
        "Il Corrin 4 fa bollire un litro in 95 secondi ed è stato progettato da Mara Lind.",
        "95 secondi",
        "In quanto tempo il Corrin 4 fa bollire un litro?",
    ),
    example(
        "Bollitore Corrin 4",
        "Il Corrin 4 fa bollire un litro in 95 secondi ed è stato progettato da Mara Lind.",
        "Mara Lind",
        "Chi ha progettato il bollitore Corrin 4?",
    ),
    example(
        "Porto Avel",
        "Il faro, dipinto di arancione nel 1904, è l'unico della costa senza guardiano.",
        "arancione",
        "Di che colore è il faro di Porto Avel?",
    ),
];

const ARABIC: [Example; 3] = [
    example(
        "غلاية كورين 4",
        "تغلي غلاية كورين 4 لترًا في 95 ثانية وقد صممتها مارا ليند.",
        "95 ثانية",
        "في كم من الوقت تغلي غلاية كورين 4 لترًا؟",
    ),
    example(
        "غلاية كورين 4",
        "تغلي غلاية كورين 4 لترًا في 95 ثانية وقد صممتها مارا ليند.",
        "مارا ليند",
        "من صمم غلاية كورين 4؟",
    ),
    example(
        "ميناء آفيل",
        "منارته التي طليت بالبرتقالي عام 1904 هي الوحيدة على الساحل بلا حارس.",
        "البرتقالي",
        "ما لون منارة ميناء آفيل؟",
    ),
];

const HINDI: [Example; 3] = [
    example(
        "कोरिन 4 केतली",
        "कोरिन 4 केतली एक लीटर को 95 सेकंड में उबालती है और इसे मारा लिंड ने बनाया।",
        "95 सेकंड",
        "कोरिन 4 केतली एक लीटर को कितने समय में उबालती है?",
    ),
    example(
        "कोरिन 4 केतली",
        "कोरिन 4 केतली एक लीटर को 95 सेकंड में उबालती है और इसे मारा लिंड ने बनाया।",
        "मारा लिंड",
        "कोरिन 4 केतली किसने बनाई?",
    ),
    example(
        "एवल बंदरगाह",
        "1904 में नारंगी रंगा गया इसका प्रकाशस्तंभ तट पर अकेला है जिसका कोई रखवाला नहीं।",
        "नारंगी",
        "एवल बंदरगाह का प्रकाशस्तंभ किस रंग का है?",
    ),
];

const THAI: [Example; 3] = [
    example(
        "กาน้ำคอร์ริน 4",
        "กาน้ำคอร์ริน 4 ต้มน้ำหนึ่งลิตรใน 95 วินาที และออกแบบโดยมารา ลินด์",
        "95 วินาที",
        "กาน้ำคอร์ริน 4 ต้มน้ำหนึ่งลิตรในเวลาเท่าใด",
    ),
    example(
        "กาน้ำคอร์ริน 4",
        "กาน้ำคอร์ริน 4 ต้มน้ำหนึ่งลิตรใน 95 วินาที และออกแบบโดยมารา ลินด์",
        "มารา ลินด์",
        "ใครออกแบบกาน้ำคอร์ริน 4",
    ),
    example(
        "ท่าเรืออาเวล",
        "ประภาคารซึ่งทาสีส้มในปี 1904 เป็นแห่งเดียวบนชายฝั่งที่ไม่มีคนเฝ้า",
        "สีส้ม",
        "ประภาคารของท่าเรืออาเวลเป็นสีอะไร",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::script::{is_like, is_question};

    #[test]
    fn an_example_is_in_its_language_and_its_answer_in_its_sentence() {
        let every = [
            ("English", &ENGLISH[..]),
            ("Chinese", &CHINESE),
            ("Japanese", &JAPANESE),
            ("Korean", &KOREAN),
            ("Russian", &RUSSIAN),
            ("German", &GERMAN),
            ("French", &FRENCH),
            ("Spanish", &SPANISH),
            ("Portuguese", &PORTUGUESE),
            ("Italian", &ITALIAN),
            ("Arabic", &ARABIC),
            ("Hindi", &HINDI),
            ("Thai", &THAI),
        ];
        for (language, examples) in every {
            let sentences: Vec<&str> = examples.iter().map(|e| e.sentence).collect();
            assert_eq!(
                Language::of(&sentences.join(" ")).map(Language::name),
                Some(language)
            );
            for e in examples {
                assert!(e.sentence.contains(e.answer), "{}", e.answer);
                assert!(
                    is_question(e.question) && is_like(e.question, e.sentence),
                    "{}",
                    e.question
                );
            }
        }
        assert!(of(None).len() == 4 && of(Language::of("Η πόλη")).is_empty());
    }
}
