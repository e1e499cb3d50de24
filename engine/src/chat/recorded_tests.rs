//! Prompts against those of transformers, recorded by `bench/peers/record_templates.py`.

use super::*;
use std::collections::BTreeMap;

const RECORDED: &str = include_str!("../../tests/fixtures/templates.json");

fn maps(value: &Value) -> Vec<Map<String, Value>> {
    let list = value.as_array().into_iter().flatten();
    list.map(|m| m.as_object().unwrap().clone()).collect()
}

#[test]
fn prompts_are_those_of_transformers() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let now = Instant {
        seconds: recorded["now"].as_u64().unwrap(),
        microseconds: recorded["microseconds"].as_u64().unwrap() as u32,
    };
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() > 600);
    // A text may be the name of a value that cases share.
    let named = |case: &Value, what: &str| match case[what].as_str() {
        Some(name) => recorded[what].get(name).unwrap_or(&case[what]).clone(),
        None => case[what].clone(),
    };
    let mut wrong = BTreeMap::new();
    for case in cases {
        let source = named(case, "template");
        let special = named(case, "special");
        let special = special.as_object().unwrap().iter();
        let special = special.map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()));
        let mut extra = named(case, "kwargs")
            .as_object()
            .cloned()
            .unwrap_or_default();
        for key in ["tools", "documents"] {
            if !case[key].is_null() {
                extra.insert(key.into(), named(case, key));
            }
        }
        let continued = match &case["continue"] {
            Value::String(field) => Some(field.as_str()),
            _ => None,
        };
        let prompt = case["prompt"] == true;
        let template = ChatTemplate::with_special_tokens(source.as_str().unwrap(), special);
        let ours = template.and_then(|template| {
            let wish = Wish {
                now,
                ..Wish::new(prompt, continued, &extra)
            };
            template.text(maps(&named(case, "messages")), wish)
        });
        let right = match (&ours, case["text"].as_str()) {
            (Ok(ours), Some(text)) => ours == text,
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            let wanted = case["text"]
                .as_str()
                .map_or(&case["error"], |_| &case["text"]);
            let name = case["name"].as_str().unwrap().to_owned();
            wrong.insert(name, format!("  ours: {ours:?}\n  transformers: {wanted}"));
        }
    }
    let list: Vec<String> = (wrong.iter())
        .map(|(name, how)| format!("{name}\n{how}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        list.join("\n")
    );
}
