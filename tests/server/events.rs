//! A reader of server-sent events.

use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use ureq::BodyReader;

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

/// Ends with the stream, also with one that broke because its server died.
pub struct Events(Lines<BufReader<BodyReader<'static>>>);

impl Events {
    pub fn new(body: BodyReader<'static>) -> Events {
        Events(BufReader::new(body).lines())
    }

    /// All events up to and with the first that is wanted.
    pub fn until(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        for event in self {
            let found = wanted(&event);
            seen.push(event);
            if found {
                return seen;
            }
        }
        panic!("the stream ended first: {seen:#?}");
    }

    pub fn until_kind(&mut self, kind: &str) -> Vec<Event> {
        self.until(|e| e.kind == kind)
    }

    pub fn until_state(&mut self, state: &str) -> Vec<Event> {
        self.until(|e| e.kind == "state" && e.data["state"] == state)
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut id, mut kind, mut data) = (None, None, None);
        loop {
            let line = self.0.next()?.ok()?;
            if let (true, Some(id), Some(kind), Some(data)) = (line.is_empty(), id, &kind, &data) {
                return Some(Event {
                    id,
                    kind: String::clone(kind),
                    data: Value::clone(data),
                });
            }
            match line.split_once(':').map(|(k, v)| (k, v.trim_start())) {
                Some(("id", text)) => id = Some(text.parse().unwrap()),
                Some(("event", text)) => kind = Some(text.to_owned()),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                _ => {}
            }
        }
    }
}

/// The kinds of events, each run of the same kind as one.
pub fn story(events: &[Event]) -> Vec<&str> {
    let mut kinds: Vec<&str> = events.iter().map(|e| e.kind.as_str()).collect();
    kinds.dedup();
    kinds
}
