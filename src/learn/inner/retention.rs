//! The forgetting matrix holds the score on document j after update i. Its summary figures follow from it.
//!
//! ```text
//!               document 1   document 2   document 3
//! version 1        0.8          –            –          after learning document 1
//! version 2        0.6         1.0           –
//! version 3        0.6         0.8          0.8         the last row: what is known now
//! ```
//!
//! The diagonal shows each document right after it was learned. Backward transfer (Lopez-Paz & Ranzato, arXiv
//! 1706.08840) is the mean of the last row minus the diagonal, over all documents but the last; a value below 0 means
//! forgetting.
//!
//! The last row belongs to the live version, which after a rollback is not the newest one. The documents are those that
//! the live version builds on. An update of an alias with many documents asks only some of their probes. A cell is
//! therefore the share of the *asked* probes, and a difference covers only the probes that both versions were asked.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use utoipa::ToSchema;

/// The answer of one version to one probe. Version 0 is the base.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    pub document: String,
    pub probe: String,
    pub version: u64,
    pub correct: bool,
    /// Mean log-likelihood of the gold answer, nats a token.
    pub logprob: Option<f64>,
}

/// One version's score on one document.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Cell {
    /// Probes asked
    pub probes: usize,
    pub correct: usize,
    /// Share answered right
    pub score: f64,
    /// Mean log-likelihood of the gold answers, nats a token
    pub logprob: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Matrix {
    /// `cells[i][j]`: version i of `versions` on document j of `documents`; null if no probe was asked
    pub cells: Vec<Vec<Option<Cell>>>,
    /// For each version: its mean score over the documents that it or an earlier version had learned
    pub mean: Vec<Option<f64>>,
    #[serde(flatten)]
    pub summary: Summary,
}

/// The summary over the documents that the live version builds on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// Mean over the documents of the score in the version that learned the document
    pub just_learned: Option<f64>,
    /// Mean over the documents of the current score: in the live version, or in the newest earlier version that was
    /// asked about the document
    pub final_row: Option<f64>,
    /// Mean change from `just_learned` to `final_row`, over all documents but the last one learned, on the probes asked
    /// both times; below 0 is forgetting
    pub backward_transfer: Option<f64>,
}

/// The matrix of these answers. `learned`: the documents in order, each with the version that learned it; `versions`:
/// the versions of the rows; `line`: the live version and the versions that it continues.
pub fn matrix(
    asked: &[ProbeAnswer],
    learned: &[(String, u64)],
    versions: &[u64],
    line: &HashSet<u64>,
) -> Matrix {
    let table = Table::of(asked);
    let cells: Vec<Vec<Option<Cell>>> = versions
        .iter()
        .map(|version| {
            let row = learned
                .iter()
                .map(|(id, _)| cell(table.of_cell(id, *version)));
            row.collect()
        })
        .collect();
    let mean_of_row = |(version, row): (&u64, &Vec<Option<Cell>>)| {
        let known = row.iter().zip(learned).filter(|(_, (_, by))| by <= version);
        mean(known.filter_map(|(cell, _)| Some(cell.as_ref()?.score)))
    };
    Matrix {
        mean: versions.iter().zip(&cells).map(mean_of_row).collect(),
        cells,
        summary: summary(&table, learned, line),
    }
}

fn summary(table: &Table<'_>, learned: &[(String, u64)], line: &HashSet<u64>) -> Summary {
    let known: Vec<&(String, u64)> = learned.iter().filter(|(_, by)| line.contains(by)).collect();
    let first = |(id, by): &(String, u64)| table.of_cell(id, *by).to_vec();
    let last = |(id, by): &(String, u64)| {
        let asked = table
            .versions_of(id)
            .filter(|v| v >= by && line.contains(v));
        let newest = asked.max();
        newest.map_or(Vec::new(), |version| table.of_cell(id, version).to_vec())
    };
    let score = |asked: Vec<&ProbeAnswer>| Some(cell(&asked)?.score);
    let newest = known.iter().map(|(_, by)| *by).max();
    let older = known.iter().filter(|(_, by)| Some(*by) != newest);
    Summary {
        just_learned: mean(known.iter().filter_map(|of| score(first(of)))),
        final_row: mean(known.iter().filter_map(|of| score(last(of)))),
        backward_transfer: mean(older.filter_map(|of| change(&first(of), &last(of)))),
    }
}

/// Answers by document and version.
struct Table<'a>(BTreeMap<&'a str, BTreeMap<u64, Vec<&'a ProbeAnswer>>>);

impl<'a> Table<'a> {
    fn of(asked: &'a [ProbeAnswer]) -> Self {
        let mut table: BTreeMap<&str, BTreeMap<u64, Vec<&ProbeAnswer>>> = BTreeMap::new();
        for one in asked {
            let of_document = table.entry(&one.document).or_default();
            of_document.entry(one.version).or_default().push(one);
        }
        Table(table)
    }

    fn of_cell(&self, document: &str, version: u64) -> &[&'a ProbeAnswer] {
        let found = self.0.get(document).and_then(|d| d.get(&version));
        found.map_or(&[], Vec::as_slice)
    }

    /// The versions that were asked about the document.
    fn versions_of(&self, document: &str) -> impl Iterator<Item = u64> {
        let of_it = self.0.get(document).into_iter();
        of_it.flat_map(|d| d.keys().copied())
    }
}

fn cell(asked: &[&ProbeAnswer]) -> Option<Cell> {
    let correct = asked.iter().filter(|a| a.correct).count();
    (!asked.is_empty()).then(|| Cell {
        probes: asked.len(),
        correct,
        score: correct as f64 / asked.len() as f64,
        logprob: mean(asked.iter().filter_map(|a| a.logprob)),
    })
}

/// The change of the score, on the probes that were asked both times; `None` if there are none.
fn change(before: &[&ProbeAnswer], after: &[&ProbeAnswer]) -> Option<f64> {
    let ids = |asked: &[&ProbeAnswer]| -> BTreeSet<String> {
        asked.iter().map(|a| a.probe.clone()).collect()
    };
    let both: BTreeSet<String> = ids(before).intersection(&ids(after)).cloned().collect();
    let score = |asked: &[&ProbeAnswer]| {
        let of_both = asked.iter().filter(|a| both.contains(&a.probe));
        mean(of_both.map(|a| f64::from(u8::from(a.correct))))
    };
    Some(score(after)? - score(before)?)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(document: &str, probe: &str, version: u64, correct: bool) -> ProbeAnswer {
        ProbeAnswer {
            document: document.into(),
            probe: format!("{document}{probe}"),
            version,
            correct,
            logprob: Some(if correct { -0.5 } else { -2.5 }),
        }
    }

    #[test]
    fn the_matrix_and_what_it_says() {
        let cells = [
            asked("a", "1", 0, false),
            asked("a", "1", 1, true),
            asked("a", "2", 1, true),
            asked("a", "1", 2, false),
            asked("a", "2", 2, true),
            asked("b", "1", 1, false),
            asked("b", "1", 2, true),
            // Version 3 was asked only the second probe of document a.
            asked("a", "2", 3, true),
            asked("b", "1", 3, false),
            asked("c", "1", 3, true),
        ];
        let learned = [("a", 1), ("b", 2), ("c", 3)].map(|(d, v)| (d.to_owned(), v));
        let line = HashSet::from([1, 2, 3]);
        let m = matrix(&cells, &learned, &[0, 1, 2, 3], &line);
        let scores: Vec<Vec<Option<f64>>> = m
            .cells
            .iter()
            .map(|row| row.iter().map(|c| c.map(|c| c.score)).collect())
            .collect();
        assert_eq!(scores[0], [Some(0.0), None, None]);
        assert_eq!(scores[1], [Some(1.0), Some(0.0), None]);
        assert_eq!(scores[2], [Some(0.5), Some(1.0), None]);
        assert_eq!(scores[3], [Some(1.0), Some(0.0), Some(1.0)]);
        assert_eq!(m.cells[2][0].unwrap().logprob, Some(-1.5));
        // A row's mean leaves out the documents that were not learned yet.
        assert_eq!(m.mean, [None, Some(1.0), Some(0.75), Some(2.0 / 3.0)]);
        assert_eq!(m.summary.just_learned, Some(1.0));
        assert_eq!(m.summary.final_row, Some(2.0 / 3.0));
        // Document a's second probe stays right: 0. Document b is lost: -1. Document c is the last, so it does not
        // count.
        assert_eq!(m.summary.backward_transfer, Some(-0.5));

        // The choice of rows does not change the summary.
        assert_eq!(matrix(&cells, &learned, &[3], &line).summary, m.summary);
        // After a rollback to version 2, the documents learned since do not count.
        let back = matrix(&cells, &learned, &[0, 1, 2, 3], &HashSet::from([1, 2])).summary;
        assert_eq!((back.just_learned, back.final_row), (Some(1.0), Some(0.75)));
        assert_eq!(back.backward_transfer, Some(-0.5));
        // A document that the live version was not asked about keeps the score of the version before.
        let unasked = matrix(&cells[..7], &learned[..2], &[], &line).summary;
        assert_eq!(unasked.final_row, Some(0.75));
    }

    #[test]
    fn nothing_asked_says_nothing() {
        let m = matrix(&[], &[], &[], &HashSet::new());
        let s = m.summary;
        assert_eq!(
            (s.final_row, s.just_learned, s.backward_transfer),
            (None, None, None)
        );
        assert!(m.cells.is_empty());
    }
}
