//! What keeps earlier documents: their training sequences, mixed in again, and their probes, asked
//! again (replay of a model's own earlier samples nearly removes forgetting, arXiv 2403.01244).

use super::knowledge::{Passage, Question};
use super::model::TrainingText;

/// A document that the alias has learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    pub passage: Passage,
    pub texts: Vec<TrainingText>,
    pub probes: Vec<Question>,
}

/// Most probes of earlier documents asked around one update: bounds its cost as an alias grows.
const RETENTION_PROBES: usize = 40;

/// `wanted` sequences, taken evenly: one of each document in turn, newest document first, from the end
/// of its list (the passage itself comes last there, so it comes first here).
pub fn sequences(earlier: &[Earlier], wanted: usize) -> Vec<TrainingText> {
    let texts = earlier.iter().map(|e| e.texts.as_slice());
    round_robin(texts.collect(), wanted, true)
}

/// The probes that stand for all earlier ones, with their document's title.
pub fn probes(earlier: &[Earlier]) -> Vec<(String, Question)> {
    let titled: Vec<Vec<(String, Question)>> = earlier
        .iter()
        .map(|e| {
            let title = &e.passage.title;
            e.probes
                .iter()
                .map(|q| (title.clone(), q.clone()))
                .collect()
        })
        .collect();
    round_robin(
        titled.iter().map(Vec::as_slice).collect(),
        RETENTION_PROBES,
        false,
    )
}

fn round_robin<T: Clone>(lists: Vec<&[T]>, wanted: usize, from_end: bool) -> Vec<T> {
    let longest = lists.iter().map(|l| l.len()).max().unwrap_or(0);
    (0..longest)
        .flat_map(|i| {
            lists.iter().rev().filter_map(move |list| {
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

#[cfg(test)]
mod tests {
    use super::*;

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
                .map(|i| Question {
                    question: text(i),
                    answer: String::new(),
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
        let asked: Vec<_> = probes(&all).into_iter().map(|(_, q)| q.question).collect();
        assert_eq!(asked, ["c0", "b0", "a0", "c1", "a1", "a2"]);
        assert!(sequences(&all, 0).is_empty());
    }
}
