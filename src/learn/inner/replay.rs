//! Replay of earlier documents: an update trains on some of their training sequences again and asks some of their
//! probes again. Replaying a model's own earlier samples nearly removes forgetting (arXiv 2403.01244).

use super::router::{Routable, Router};
use crate::learn::knowledge::sequences::questions;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::ports::model::TrainingText;

/// A document that the alias has learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    pub passage: Passage,
    /// The training sequences of the document's own update.
    pub texts: Vec<TrainingText>,
    pub probes: Vec<Probe>,
}

/// A stored probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub id: String,
    pub question: Question,
}

/// A router between documents, which are given with their training sequences. The router reads titles, texts and the
/// questions among the training sequences. It does not read probes: a probe that found its document by its own wording
/// would prove nothing.
pub fn router<'a>(
    documents: impl IntoIterator<Item = (&'a Passage, &'a [TrainingText])>,
) -> Router {
    let routable = |(passage, texts): (&'a Passage, &'a [TrainingText])| Routable {
        title: &passage.title,
        text: &passage.text,
        questions: questions(texts),
    };
    Router::new(documents.into_iter().map(routable))
}

/// The most probes of earlier documents that one update asks. The bound keeps an update's cost constant as an alias
/// grows.
pub const RETENTION_PROBES: usize = 40;

/// Up to `wanted` sequences to replay: one of each document in turn, newest document first. A document's sequences are
/// taken from the end of its list, so its passage comes first. With more documents than `wanted`, each update begins
/// with other documents, so that every document gets its turn.
pub fn sequences<'a>(
    earlier: impl IntoIterator<Item = &'a Earlier>,
    wanted: usize,
) -> Vec<TrainingText> {
    let texts = earlier.into_iter().map(|e| e.texts.as_slice());
    round_robin(texts.collect(), wanted, true)
}

/// A sample of the probes of all earlier documents, at most [`RETENTION_PROBES`], each with its document's title.
pub fn probes<'a>(earlier: impl IntoIterator<Item = &'a Earlier>) -> Vec<(String, Probe)> {
    let titled: Vec<Vec<(String, Probe)>> = earlier
        .into_iter()
        .map(|e| {
            let title = &e.passage.title;
            let probes = e.probes.iter();
            probes.map(|p| (title.clone(), p.clone())).collect()
        })
        .collect();
    round_robin(
        titled.iter().map(Vec::as_slice).collect(),
        RETENTION_PROBES,
        false,
    )
}

/// The first item of each list, then the second of each, and so on, up to `wanted`. The newest list comes first. With
/// more lists than `wanted`, the turn begins where the previous update ended.
fn round_robin<T: Clone>(mut lists: Vec<&[T]>, wanted: usize, from_end: bool) -> Vec<T> {
    let of = lists.len();
    match of > wanted {
        true => lists.rotate_left(next(of, wanted)),
        false => lists.reverse(),
    }
    let longest = lists.iter().map(|l| l.len()).max().unwrap_or(0);
    (0..longest)
        .flat_map(|i| {
            lists.iter().filter_map(move |list| {
                let at = if from_end {
                    list.len().checked_sub(i + 1)?
                } else {
                    i
                };
                list.get(at)
            })
        })
        .take(wanted)
        .cloned()
        .collect()
}

/// The document that the turn among `of` documents begins with, counted from the oldest. Each document was learned in
/// an update that took `wanted` of the documents before it, continuing where the previous update ended.
fn next(of: usize, wanted: usize) -> usize {
    (wanted + 1..=of).fold(0, |at, documents| (at + wanted) % documents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn earlier(name: &str, n: usize) -> Earlier {
        let text = |i| format!("{name}{i}");
        Earlier {
            passage: Passage {
                title: name.into(),
                text: String::new(),
            },
            texts: (0..n)
                .map(|i| TrainingText::Text { text: text(i) })
                .collect(),
            probes: (0..n)
                .map(|i| Probe {
                    id: text(i),
                    question: Question {
                        question: text(i),
                        answer: String::new(),
                    },
                })
                .collect(),
        }
    }

    #[test]
    fn every_document_gets_its_turn() {
        let all = [earlier("a", 3), earlier("b", 1), earlier("c", 2)];
        let texts: Vec<String> = sequences(&all, 5)
            .into_iter()
            .map(|t| match t {
                TrainingText::Text { text } => text,
                _ => unreachable!("none made"),
            })
            .collect();
        assert_eq!(texts, ["c1", "b0", "a2", "c0", "a1"]);
        let asked: Vec<_> = probes(&all).into_iter().map(|(_, p)| p.id).collect();
        assert_eq!(asked, ["c0", "b0", "a0", "c1", "a1", "a2"]);
        assert!(sequences(&all, 0).is_empty());
    }

    #[test]
    fn an_update_asks_no_more_than_its_bound_and_in_time_everything() {
        let all: Vec<Earlier> = (0..200).map(|i| earlier(&format!("d{i}-"), 3)).collect();
        let mut asked = HashSet::new();
        for learned in RETENTION_PROBES..all.len() {
            let probes = probes(&all[..learned]);
            assert_eq!(probes.len(), RETENTION_PROBES);
            asked.extend(probes.into_iter().map(|(_, p)| p.id));
        }
        // Learning the second half asked about every document of the first half.
        for document in 0..100 {
            assert!(asked.contains(&format!("d{document}-0")), "{document}");
        }
    }

    #[test]
    fn however_many_there_are_the_turn_goes_on() {
        let all: Vec<Earlier> = (0..120).map(|i| earlier(&format!("d{i}-"), 1)).collect();
        let mut replayed = HashSet::new();
        for learned in 60..all.len() {
            replayed.extend(sequences(&all[..learned], 2));
        }
        let text = |i: usize| TrainingText::Text {
            text: format!("d{i}-0"),
        };
        let missing: Vec<usize> = (0..100).filter(|i| !replayed.contains(&text(*i))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
