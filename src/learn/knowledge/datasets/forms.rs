//! The forms that files of passages have. An unknown key is refused with its place: a misspelt `questions` would
//! otherwise lose all of them.

use super::{Dataset, Entry};
use crate::learn::knowledge::{Passage, Question};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;

/// Parses any form. The first entry decides which it is, and all others must have the same.
pub(super) fn parse(text: &str) -> Result<Dataset, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let first = match values.next() {
        Some(first) => first.map_err(|error| format!("it is not JSON: {error}"))?,
        None => return Err("it is empty".into()),
    };
    let is_lines = values.next().is_some();
    let mut dataset = Dataset::default();
    match &first {
        Value::Array(list) if is_row(list.first()) => dataset.add_rows(typed(text)?),
        Value::Array(_) => dataset.add_list(typed(text)?),
        Value::Object(_) if is_lines => match is_row(Some(&first)) {
            true => dataset.add_rows(lines(text)?),
            false => dataset.add_list(lines(text)?),
        },
        Value::Object(_) if first.get("data").is_none() => match is_row(Some(&first)) {
            true => dataset.add_rows(vec![typed(text)?]),
            false => dataset.add_list(vec![typed(text)?]),
        },
        Value::Object(_) if is_row(first["data"].get(0)) => {
            dataset.add_rows(typed::<Published<Row>>(text)?.data);
        }
        Value::Object(_) => dataset.add_articles(typed::<Published<Article>>(text)?.data),
        _ => return Err("it is neither a list nor an object".into()),
    }
    Ok(dataset)
}

/// Whether an entry is a row: one question with the passage that it is about.
fn is_row(entry: Option<&Value>) -> bool {
    entry.is_some_and(|entry| entry.get("question").is_some() || entry.get("answers").is_some())
}

/// Parses one JSON text. The reason names the place by its path, line and column.
fn typed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut parser);
    let value = value.map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })?;
    parser.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// Parses a JSON text a line. The reason names the line.
fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let numbered = text.lines().zip(1..);
    let filled = numbered.filter(|(line, _)| !line.trim().is_empty());
    let parsed = filled.map(|(line, number)| {
        typed(line).map_err(|reason| {
            // The parser sees one line.
            format!(
                "line {number}: {}",
                reason.replace(" at line 1 column", " at column")
            )
        })
    });
    parsed.collect()
}

/// An entry of the project's own list. An id is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    title: String,
    #[serde(alias = "text")]
    context: String,
    #[serde(default)]
    questions: Vec<ListedQuestion>,
    #[serde(default)]
    completions: Vec<String>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "slug")]
    _slug: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedQuestion {
    question: String,
    answer: String,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
}

/// A file with `data`: SQuAD as it is published, and what `datasets` exports.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published<T> {
    data: Vec<T>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Article {
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paragraph {
    context: String,
    qas: Vec<Asked>,
    #[serde(default, rename = "document_id")]
    _document: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    question: String,
    #[serde(default)]
    answers: Answers,
    #[serde(default)]
    is_impossible: Option<bool>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    /// What a reader might take for the answer of an unanswerable question.
    #[serde(default, rename = "plausible_answers")]
    _plausible: Option<Answers>,
}

/// A row of Hugging Face's `squad` and `squad_v2`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    context: String,
    question: String,
    #[serde(default)]
    answers: Answers,
    #[serde(default)]
    is_impossible: Option<bool>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "plausible_answers")]
    _plausible: Option<Answers>,
}

/// The answers that several people gave: a list of `{text, answer_start}`, or one of each as Hugging Face has it.
#[derive(Debug, Default)]
struct Answers(Vec<String>);

impl Answers {
    /// The answer that most people gave, the first of those that are equally frequent.
    fn agreed(self) -> Option<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for answer in &self.0 {
            *counts.entry(answer.trim()).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let mut answers = self.0.iter().map(|answer| answer.trim());
        let agreed = answers.find(|answer| counts[answer] == most);
        agreed.map(str::to_owned)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    text: String,
    #[serde(default, rename = "answer_start")]
    _start: IgnoredAny,
    #[serde(default, rename = "answer_id")]
    _id: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerColumns {
    text: Vec<String>,
    #[serde(default, rename = "answer_start")]
    _start: IgnoredAny,
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Answers;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("answers as {text: […], answer_start: […]} or [{text, answer_start}]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Answers, A::Error> {
                let columns = AnswerColumns::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Answers(columns.text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Answers, A::Error> {
                let list = Vec::<Answered>::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Answers(list.into_iter().map(|a| a.text).collect()))
            }

            fn visit_unit<E>(self) -> Result<Answers, E> {
                Ok(Answers::default())
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Dataset {
    fn add_list(&mut self, list: Vec<Listed>) {
        let question = |q: ListedQuestion| Question {
            question: q.question.trim().to_owned(),
            answer: q.answer.trim().to_owned(),
        };
        self.entries.extend(list.into_iter().map(|listed| Entry {
            passage: Passage {
                title: listed.title,
                text: listed.context,
            },
            questions: listed.questions.into_iter().map(question).collect(),
            completions: listed.completions,
        }));
    }

    /// Gathers rows of the same passage, in the order of their first row.
    fn add_rows(&mut self, rows: Vec<Row>) {
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for row in rows {
            let key = (title(&row.title), row.context);
            let place = *places.entry(key.clone()).or_insert_with(|| {
                self.entries.push(entry(key.0, key.1));
                self.entries.len() - 1
            });
            let question = self.question(row.question, row.answers, row.is_impossible);
            self.entries[place].questions.extend(question);
        }
    }

    fn add_articles(&mut self, articles: Vec<Article>) {
        for article in articles {
            let title = title(&article.title);
            for paragraph in article.paragraphs {
                let mut entry = entry(title.clone(), paragraph.context);
                for asked in paragraph.qas {
                    let question =
                        self.question(asked.question, asked.answers, asked.is_impossible);
                    entry.questions.extend(question);
                }
                self.entries.push(entry);
            }
        }
    }

    /// A question with the agreed answer. One that the passage does not answer is counted.
    fn question(
        &mut self,
        question: String,
        answers: Answers,
        is_impossible: Option<bool>,
    ) -> Option<Question> {
        let answer = answers.agreed().filter(|_| is_impossible != Some(true));
        if answer.is_none() {
            self.unanswerable += 1;
        }
        Some(Question {
            question: question.trim().to_owned(),
            answer: answer?,
        })
    }
}

/// A title of SQuAD, which has underscores for spaces, as in an address of Wikipedia.
fn title(title: &str) -> String {
    title.replace('_', " ")
}

fn entry(title: String, text: String) -> Entry {
    Entry {
        passage: Passage { title, text },
        questions: Vec::new(),
        completions: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(entry: &Entry) -> Vec<(&str, &str)> {
        let questions = entry.questions.iter();
        questions
            .map(|q| (q.question.as_str(), q.answer.as_str()))
            .collect()
    }

    #[test]
    fn squad_is_read_as_published() {
        let text = r#"{"data": [{"title": "River_Senn", "paragraphs": [
            {"context": "It is long.", "qas": [
                {"id": "1", "question": "How is it? ", "answers": [
                    {"text": " long ", "answer_start": 6}, {"text": "It is long", "answer_start": 0}]},
                {"id": "2", "question": "Why?", "answers": [], "is_impossible": true,
                    "plausible_answers": [{"text": "long", "answer_start": 6}]}]},
            {"context": "It is cold.", "qas": []}]}], "version": "v2.0"}"#;
        let dataset = parse(text).unwrap();
        let entries = dataset.entries;
        assert_eq!((entries.len(), dataset.unanswerable), (2, 1));
        assert_eq!(entries[0].passage.title, "River Senn");
        assert_eq!(asked(&entries[0]), [("How is it?", "long")]);
        assert_eq!(entries[1].passage.text, "It is cold.");
    }

    #[test]
    fn rows_of_one_passage_are_gathered() {
        let row = |id: &str, context: &str, question: &str, answers: &str| {
            format!(
                r#"{{"id": "{id}", "title": "The_Senn", "context": "{context}", "question": "{question}", "answers": {answers}}}"#
            )
        };
        let rows = [
            row(
                "1",
                "It is long.",
                "How is it?",
                r#"{"text": ["It", "long", "long"], "answer_start": [0, 6, 6]}"#,
            ),
            row(
                "2",
                "It is cold.",
                "Is it warm?",
                r#"{"text": [], "answer_start": []}"#,
            ),
            row(
                "3",
                "It is long.",
                "What is?",
                r#"{"text": ["It"], "answer_start": [0]}"#,
            ),
        ];
        let list = format!("[{}]", rows.join(",\n"));
        let exported = format!(r#"{{"version": "0.1", "data": {list}}}"#);
        for text in [
            list,
            exported,
            rows.join("\n"),
            rows.join("\r\n\r\n") + "\n",
        ] {
            let dataset = parse(&text).unwrap();
            assert_eq!(
                (dataset.entries.len(), dataset.unanswerable),
                (2, 1),
                "{text}"
            );
            assert_eq!(
                asked(&dataset.entries[0]),
                [("How is it?", "long"), ("What is?", "It")]
            );
            assert_eq!(dataset.entries[0].passage.title, "The Senn");
            assert!(dataset.entries[1].questions.is_empty());
        }
        let one = parse(&rows[0]).unwrap();
        assert_eq!(one.entries.len(), 1);
    }

    #[test]
    fn a_list_is_read_and_what_is_neither_is_refused() {
        let list = r#" [{"title": "A", "context": "Text.", "questions":
            [{"question": " Q?", "answer": "A ", "id": "7"}]}, {"title": "B", "text": "More."}]"#;
        let entries = parse(list).unwrap().entries;
        assert_eq!(asked(&entries[0]), [("Q?", "A")]);
        assert_eq!(entries[1].passage.text, "More.");
        assert_eq!(parse("[]").unwrap().entries, []);
        for text in ["title,text", "", "7", "[7]", r#"{"passages": []}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let refused = |text: &str| parse(text).unwrap_err();
        let list = refused(
            r#"[{"title": "A", "context": "T"}, {"title": "B", "context": "T", "qestions": []}]"#,
        );
        assert!(
            list.contains("[1]") && list.contains("`qestions`"),
            "{list}"
        );
        let row = refused(
            r#"[{"title": "A", "context": "T", "question": "Q", "answers": {"text": ["a"], "answer_starts": [0]}}]"#,
        );
        assert!(
            row.contains("[0].answers") && row.contains("`answer_starts`"),
            "{row}"
        );
        let lines = refused(
            "{\"title\": \"A\", \"context\": \"T\"}\n{\"title\": \"A\", \"context\": \"T\", \"x\": 1}",
        );
        assert!(
            lines.starts_with("line 2: ") && lines.contains("`x`"),
            "{lines}"
        );
        let nested = refused(
            r#"{"data": [{"title": "A", "paragraphs": [{"context": "T", "qas": [{"question": "Q", "anwers": []}]}]}]}"#,
        );
        assert!(
            nested.contains("data[0].paragraphs[0].qas[0]") && nested.contains("`anwers`"),
            "{nested}"
        );
        let mixed = refused(
            r#"[{"title": "A", "context": "T", "question": "Q"}, {"title": "A", "context": "T", "questions": []}]"#,
        );
        assert!(mixed.contains("`questions`"), "{mixed}");
    }
}
