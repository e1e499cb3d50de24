//! Requests reach the adapter of the document that they are about: in every language, and as a conversation goes on.
//! Over HTTP with the tiny random model, the gate off.

use crate::server::{Place, Server, document, lighthouse, ungated};
use serde_json::{Value, json};

/// Title, text, question.
const DOCUMENTS: [(&str, &str, &str); 6] = [
    (
        "クイルミア町",
        "クイルミア町は人口六千二百人の川の町です。町長はタムシン・オレルです。町の唯一の工場はアコーディオンのふいごを作っています。",
        "クイルミア町の町長は誰ですか？",
    ),
    (
        "เมืองควิลเมียร์",
        "เมืองควิลเมียร์เป็นเมืองริมแม่น้ำมีประชากร6214คน นายกเทศมนตรีคือทัมซินออเรล",
        "นายกเทศมนตรีเมืองควิลเมียร์คือใคร",
    ),
    (
        "Квиллмер",
        "Квиллмер — речной город с населением 6214 человек. Мэр города — Тамсин Оррел. Единственная фабрика делает меха \
         для аккордеонов.",
        "Кто мэр Квиллмера?",
    ),
    (
        "퀼미어 마을",
        "퀼미어 마을은 인구 6214명의 강변 마을입니다. 시장은 탐신 오렐입니다. 유일한 공장은 아코디언 풀무를 만듭니다.",
        "퀼미어 마을의 시장은 누구입니까?",
    ),
    (
        "क्विलमीर",
        "क्विलमीर नदी किनारे का एक नगर है। इसकी मेयर तमसिन ओरेल हैं। इसका एकमात्र कारखाना अकॉर्डियन की धौंकनी बनाता है।",
        "क्विलमीर की मेयर कौन हैं?",
    ),
    (
        "Quellmühle",
        "Die Straßenbahn fährt seit 1911. Der Direktor Dr. Ümit Größl wohnt im Depot. Sie hält z. B. am Hafen.",
        "Wer ist der Direktor der Quellmühle?",
    ),
];

/// A server whose alias `kb` has learned the documents and the lighthouse; the fingerprint of each, in this order.
fn taught(place: &Place) -> (Server, Vec<String>) {
    let server = place.serve();
    let asked = |(title, text, question): &(&str, &str, &str)| {
        document(title, text, &[(question, "Tamsin Orrel")])
    };
    let mut documents: Vec<Value> = DOCUMENTS.iter().map(asked).collect();
    documents.push(lighthouse());
    let mut body = ungated("kb", &documents, 1);
    body["training"]["rank"] = json!(2);
    let (job, _) = server.learn(&body);
    assert_eq!(job["state"], "succeeded", "{job}");
    let versions = server.versions("kb");
    let fingerprint = |version: &Value| {
        let digest = version["digest"].as_str().unwrap();
        format!("lora-{}", &digest["sha256:".len()..][..12])
    };
    assert_eq!(versions.len(), documents.len());
    (server, versions.iter().map(fingerprint).collect())
}

/// The fingerprint that answers these messages.
fn answered(server: &Server, messages: &[Value]) -> String {
    let body = json!({"model": "kb", "messages": messages, "max_tokens": 2});
    let answer = server.post("/v1/chat/completions", &body);
    answer["system_fingerprint"].as_str().unwrap().to_owned()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

#[test]
fn questions_of_every_language_and_talks_reach_their_adapter() {
    let place = Place::tiny();
    let (server, adapters) = taught(&place);
    let base = server.chat(place.base(), "Hello?")["system_fingerprint"].clone();
    let base = base.as_str().unwrap();
    for ((_, _, question), adapter) in DOCUMENTS.iter().zip(&adapters) {
        assert_eq!(&answered(&server, &[user(question)]), adapter, "{question}");
    }
    for question in [
        "Какая столица Франции?",
        "法国的首都是哪里？",
        "How are you?",
    ] {
        assert_eq!(answered(&server, &[user(question)]), base, "{question}");
    }

    // Each of several prompts is routed on its own, and the engine's answers come in the order of the prompts.
    let ask = |prompt: Value| {
        let body = json!({"model": "kb", "prompt": prompt, "max_tokens": 4, "temperature": 0});
        server.post("/v1/completions", &body)
    };
    let prompts = [
        DOCUMENTS[2].2,
        "Who built the lighthouse of Vell?",
        "How are you?",
    ];
    let together = ask(json!(prompts));
    let all = [adapters[2].as_str(), adapters[6].as_str(), base].join("+");
    assert_eq!(together["system_fingerprint"], all);
    for (nth, prompt) in prompts.iter().enumerate() {
        let alone = ask(json!(prompt));
        assert_eq!(
            together["choices"][nth]["text"], alone["choices"][0]["text"],
            "{prompt}"
        );
    }

    // A talk over two documents. The system message names the lighthouse in every request, and decides nothing.
    let (town, lamp) = (adapters[2].as_str(), adapters[6].as_str());
    let mut messages = vec![json!({"role": "system", "content": "You know the lighthouse."})];
    for (text, adapter) in [
        ("Hello!", base),
        ("Who built the lighthouse?", lamp),
        ("Tell me more.", lamp),
        ("And when was that?", lamp),
        ("Thanks!", base),
        ("Расскажи о городе Квиллмер.", town),
        ("Подробнее, пожалуйста.", town),
        ("Back to the lighthouse, who built it?", lamp),
        ("What is the capital of France?", base),
    ] {
        messages.push(user(text));
        assert_eq!(answered(&server, &messages), adapter, "{messages:?}");
        messages.push(json!({"role": "assistant", "content": "…"}));
    }
    // The same messages, without the history of the server.
    messages.truncate(6);
    assert_eq!(answered(&server, &messages), lamp, "{messages:?}");
}
