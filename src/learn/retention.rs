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
//! mean of last row minus diagonal over all documents but the last: below 0 is forgetting. A cell holds
//! the share of the document's *asked* probes, which are fewer than all once an alias has many documents,
//! so differences are taken over the probes that both versions were asked.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// One probe, asked of one version. Version 0 is the base.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
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
    /// Mean of the diagonal: each document's score in the version that learned it
    pub just_learned: Option<f64>,
    /// Mean of the last version's scores over the documents learned by then
    pub final_row: Option<f64>,
    /// Mean change between having been learned and the last version, over all documents but the last one
    /// learned, on the probes asked both times; below 0 is forgetting
    pub backward_transfer: Option<f64>,
}

/// From single answers to the matrix. `learned`: each document, in order, with the version that learned it.
pub fn matrix(asked: &[Asked], learned: &[(String, u64)], versions: &[u64]) -> Matrix {
    let mut table: BTreeMap<(&str, u64), Vec<&Asked>> = BTreeMap::new();
    for one in asked {
        let key = (one.document.as_str(), one.version);
        table.entry(key).or_default().push(one);
    }
    let asked_of = |id: &String, version: u64| -> Vec<&Asked> {
        let of_cell = table.get(&(id.as_str(), version));
        of_cell.cloned().unwrap_or_default()
    };
    let cells: Vec<Vec<Option<Cell>>> = versions
        .iter()
        .map(|version| {
            let row = learned.iter().map(|(id, _)| cell(&asked_of(id, *version)));
            row.collect()
        })
        .collect();
    let mean_of_row = |(version, row): (&u64, &Vec<Option<Cell>>)| {
        let known = row.iter().zip(learned).filter(|(_, (_, by))| by <= version);
        mean(known.filter_map(|(cell, _)| Some(cell.as_ref()?.score)))
    };
    let mean_of_rows: Vec<Option<f64>> = versions.iter().zip(&cells).map(mean_of_row).collect();
    let diagonal = learned.iter().map(|(id, by)| cell(&asked_of(id, *by)));
    let last = versions.iter().copied().max().unwrap_or(0);
    let newest = learned.iter().map(|(_, by)| *by).max();
    let older = learned.iter().filter(|(_, by)| Some(*by) != newest);
    let change = |(id, by): &(String, u64)| change(&asked_of(id, *by), &asked_of(id, last));
    Matrix {
        just_learned: mean(diagonal.flatten().map(|c| c.score)),
        final_row: mean_of_rows.last().copied().flatten(),
        backward_transfer: mean(older.filter_map(change)),
        mean: mean_of_rows,
        cells,
    }
}

fn cell(asked: &[&Asked]) -> Option<Cell> {
    let correct = asked.iter().filter(|a| a.correct).count();
    (!asked.is_empty()).then(|| Cell {
        probes: asked.len(),
        correct,
        score: correct as f64 / asked.len() as f64,
        logprob: mean(asked.iter().filter_map(|a| a.logprob)),
    })
}

/// On the probes that were asked both times.
fn change(before: &[&Asked], after: &[&Asked]) -> Option<f64> {
    let ids =
        |asked: &[&Asked]| -> BTreeSet<String> { asked.iter().map(|a| a.probe.clone()).collect() };
    let both: BTreeSet<String> = ids(before).intersection(&ids(after)).cloned().collect();
    let score = |asked: &[&Asked]| {
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

    fn asked(document: &str, probe: &str, version: u64, correct: bool) -> Asked {
        Asked {
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
        let m = matrix(&cells, &learned, &[0, 1, 2, 3]);
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
        assert_eq!(m.just_learned, Some(1.0));
        assert_eq!(m.final_row, Some(2.0 / 3.0));
        // a: its second probe stays right, 0; b: lost, -1; c is the last.
        assert_eq!(m.backward_transfer, Some(-0.5));
    }

    #[test]
    fn nothing_asked_says_nothing() {
        let m = matrix(&[], &[], &[]);
        assert_eq!(
            (m.final_row, m.just_learned, m.backward_transfer),
            (None, None, None)
        );
        assert!(m.cells.is_empty());
    }
}
