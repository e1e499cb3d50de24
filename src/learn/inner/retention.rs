//! The forgetting matrix: the score on document j after update i, and the figures drawn from it.
//!
//! ```text
//!               document 1   document 2   document 3
//! version 1        0.8          –            –          after learning document 1
//! version 2        0.6         1.0           –
//! version 3        0.6         0.8          0.8         the last row: what is known now
//! ```
//!
//! The diagonal is what was just learned. Backward transfer (Lopez-Paz & Ranzato, arXiv 1706.08840) is the
//! mean of last row minus diagonal over all documents but the last: below 0 is forgetting. The last row is the live
//! version's, which after a rollback is not the newest, and the documents are those that it builds on. A cell holds
//! the share of the document's *asked* probes, which are fewer than all once an alias has many documents,
//! so differences are taken over the probes that both versions were asked.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use utoipa::ToSchema;

/// One probe, asked of one version. Version 0 is the base.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    pub document: String,
    pub probe: String,
    pub version: u64,
    pub correct: bool,
    pub logprob: Option<f64>,
}

/// One cell: a document's probes, asked of one version.
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
    /// `cells[i][j]`: version i (as in `versions`), document j (as in `documents`); null: not asked
    pub cells: Vec<Vec<Option<Cell>>>,
    /// For each version the mean over the documents that it or an earlier version had learned
    pub mean: Vec<Option<f64>>,
    #[serde(flatten)]
    pub summary: Summary,
}

/// Over the documents that the live version builds on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// Mean score of each document in the version that learned it
    pub just_learned: Option<f64>,
    /// Mean score of each document now: in the live version, or if that was not asked about it, in the last one
    /// before it that was
    pub final_row: Option<f64>,
    /// Mean change between the two, over all documents but the last one learned, on the probes asked both times;
    /// below 0 is forgetting
    pub backward_transfer: Option<f64>,
}

/// From single answers to the matrix. `learned`: each document, in order, with the version that learned it;
/// `line`: the live version and those that it continues.
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

    /// Those that were asked about it.
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

/// On the probes that were asked both times.
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
            // Of document a only the second probe was asked at last.
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
        // What was not learned yet is no part of a row's mean.
        assert_eq!(m.mean, [None, Some(1.0), Some(0.75), Some(2.0 / 3.0)]);
        assert_eq!(m.summary.just_learned, Some(1.0));
        assert_eq!(m.summary.final_row, Some(2.0 / 3.0));
        // a: its second probe stays right, 0; b: lost, -1; c is the last.
        assert_eq!(m.summary.backward_transfer, Some(-0.5));

        // The rows that are shown change nothing of that.
        assert_eq!(matrix(&cells, &learned, &[3], &line).summary, m.summary);
        // Rolled back to version 2: what was learned since is not known now.
        let back = matrix(&cells, &learned, &[0, 1, 2, 3], &HashSet::from([1, 2])).summary;
        assert_eq!((back.just_learned, back.final_row), (Some(1.0), Some(0.75)));
        assert_eq!(back.backward_transfer, Some(-0.5));
        // A version that was not asked about a document leaves it at what the one before it knew.
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
