//! Knowledge that can be used: documents are learned in the forms that a request asks for, and `autodidact reproduce
//! usable` with the tiny random model has every row and column.

use crate::reproduce::{Study, json_file};
use crate::server::{Place, lighthouse, ungated};
use crate::text_model::{chat, server};
use serde_json::json;
use std::collections::HashSet;

/// Two documents and the questions of a pair, in the forms of demo/documents.json and demo/usable.json.
fn usable(study: &Study, slug: &str) {
    let document = |slug: &str| {
        json!({"slug": slug, "title": format!("Lighthouse {slug}"),
            "text": format!("The lighthouse of {slug} was built by Orr Hallam."),
            "questions": [{"question": "Who built it?", "answer": "Orr Hallam"}]})
    };
    let one = json!([{"question": "Who built it? Only the name.", "answer": "Orr Hallam"}]);
    let two = json!([{"question": "Who built what?", "answers": ["Orr Hallam", "lighthouse"]}]);
    let asked = |slug: &str| {
        json!({"slug": slug, "short": one, "reversed": one, "joined": two, "instruction": one,
            "absent": [{"question": "How tall is it?"}]})
    };
    study.write("table.json", &json!([document("vell"), document("dorn")]));
    let pair = json!([{"documents": [asked("vell"), asked(slug)], "across": two}]);
    study.write("usable.json", &pair);
}

#[test]
fn uses_are_asked_of_each_document_and_of_two_together() {
    let study = Study::new();
    usable(&study, "dorn");
    let out = ["--questions", "usable.json", "--out", "out"];
    let text = study.measured("usable", &out);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('%'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let filled = |row: &[&str]| row.iter().map(|cell| !cell.is_empty()).collect::<Vec<_>>();
    assert_eq!(rows.len(), 6, "{text}");
    for (nth, row) in rows.iter().enumerate() {
        // The last three rows are about questions over two documents alone.
        let alone = nth < 3;
        let wanted = [true, alone, alone, alone, alone, alone, alone, true];
        assert_eq!(filled(row), wanted, "{row:?}");
    }
    let stored = json_file(&study.path("out/usable.json"));
    let answers = stored["measured"][0][0]["answers"].as_array().unwrap();
    // Three rows of twelve questions about one document, and six of one about both.
    assert_eq!(answers.len(), 3 * 12 + 6);
    assert_eq!(
        study.measured("usable", &out),
        text,
        "nothing is measured again"
    );
}

#[test]
fn a_pair_of_an_unknown_document_is_refused() {
    let study = Study::new();
    usable(&study, "nowhere");
    let refused = study.refused("usable", &["--questions", "usable.json"]);
    assert!(
        refused.contains(r#"there is no document "nowhere""#),
        "{refused}"
    );
}

const BUILDER: &str = "Who built the lighthouse of Vell?";
const HEIGHT: &str = "How high is the lighthouse of Vell?";
/// A question that names the phrase it was written for.
const YEAR: &str = "What happened in Vell in 1911?";

#[test]
fn a_document_is_learned_in_the_forms_that_were_asked_for() {
    // The teacher asks for the phrase that it was given, and answers with the document in sight.
    let (url, _seen) = server(|_, request| {
        let turn = request.body["messages"].as_array().unwrap().last().unwrap();
        let turn = turn["content"].as_str().unwrap();
        let answered = turn.rsplit_once("Question: ").map(|(_, question)| question);
        let phrase = turn.rsplit_once("Answer: ").map(|(_, phrase)| phrase);
        chat(match (answered, phrase) {
            (Some(BUILDER), _) => "Orr Hallam built it.",
            (Some(HEIGHT), _) => "It is rather tall.",
            (Some(YEAR), _) => "Orr Hallam built the lighthouse in 1911.",
            (_, Some("Orr Hallam")) => BUILDER,
            (_, Some("90 metres tall")) => HEIGHT,
            (_, Some("1911")) => YEAR,
            _ => "no question",
        })
    });
    let place = Place::tiny();
    let server = place.serve_with(&format!("[teacher]\nurl = '{url}'\nmodel = 'big'\n"));
    let mut body = ungated("harbour", &[lighthouse()], 1);
    let mut sequences = |self_edit: serde_json::Value| {
        body["self_edit"] = self_edit;
        body["again"] = json!(true);
        let (job, documents) = server.learn(&body);
        assert_eq!(job["state"], "succeeded", "{job}");
        let sequences = documents[0]["report"]["training_sequences"]
            .as_array()
            .unwrap();
        let chats = sequences.iter().filter(|s| s["form"] == "chat");
        let chats =
            chats.map(|s| [&s["user"], &s["assistant"]].map(|v| v.as_str().unwrap().to_owned()));
        chats.collect::<Vec<_>>()
    };
    let said = "The lighthouse of Vell was built by Orr Hallam in 1911 and is 90 metres tall.";
    let in_forms = |forms: &[&str]| json!({"writer": "teacher", "forms": forms});
    let plain = sequences(in_forms(&[]));
    let asked: HashSet<&str> = plain
        .iter()
        .map(|[question, _]| question.as_str())
        .collect();
    assert_eq!(asked, HashSet::from([BUILDER, HEIGHT, YEAR]));
    assert!(plain.iter().all(|[_, answer]| answer == said), "{plain:?}");

    // By default each question is asked for an answer in own words too. One without the phrase is left out.
    let default = sequences(json!({"writer": "teacher"}));
    assert_eq!(default[..plain.len()], plain);
    let own: HashSet<[&str; 2]> = default[plain.len()..]
        .iter()
        .map(|[question, answer]| [question.as_str(), answer.as_str()])
        .collect();
    let wanted = [
        [BUILDER, "Orr Hallam built it."],
        [YEAR, "Orr Hallam built the lighthouse in 1911."],
    ];
    assert_eq!(own, HashSet::from(wanted));

    let all = sequences(in_forms(&["short", "reversed", "instruction"]));
    assert_eq!(all[..plain.len()], plain);
    let more: Vec<[&str; 2]> = all[plain.len()..]
        .iter()
        .map(|s| [s[0].as_str(), s[1].as_str()])
        .collect();
    // The phrase with a number is the most telling, so it is asked for first. No phrase is the answer to a question that
    // names it.
    let short = format!("{HEIGHT} Answer in a few words.");
    assert_eq!(more[0], [short.as_str(), "90 metres tall"]);
    assert!(more.iter().all(|[_, answer]| *answer != "1911"), "{more:?}");
    assert!(
        more.contains(&["What do you know about 90 metres tall?", said]),
        "{more:?}"
    );
    let instruction = |s: &&[&str; 2]| s[0].starts_with("Write one sentence") && s[1] == said;
    assert_eq!(more.iter().filter(instruction).count(), 1, "{more:?}");
}
