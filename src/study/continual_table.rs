//! The continual table: a row for each strategy and method, with intervals from resampling documents, and the mean
//! matrix.

use super::continual::Run;
use crate::learn::stats::{Estimate, estimate, estimate_ratio};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct ContinualRow {
    pub strategy: &'static str,
    pub method: &'static str,
    pub runs: usize,
    /// Accuracy on all documents before any was learned.
    pub base: Estimate,
    /// Accuracy on each document right after it was learned.
    pub just_learned: Estimate,
    /// Accuracy on all documents after the last one was learned.
    pub final_row: Estimate,
    /// Final row as a share of just learned.
    pub kept: Estimate,
    /// Final row minus just learned, over all documents but the last; below 0 is forgetting.
    pub backward_transfer: Estimate,
    /// General probes answered right after the last document, as a share of those that the base answers right; the
    /// interval comes from resampling runs.
    pub general: Estimate,
    /// The lowest such share after any update.
    pub general_least: f32,
    /// Wall-clock seconds of an update; the interval comes from resampling runs.
    pub seconds: Estimate,
    pub seconds_first: f32,
    pub seconds_last: f32,
    pub tokens: f32,
    pub adapter_bytes_last: f32,
    pub refused: usize,
    /// `matrix[i][j]`: mean accuracy on the jth document after the ith (0: the base), over all runs.
    pub matrix: Vec<Vec<f32>>,
}

/// The row of these runs, `runs[sequence][seed]`. The answers to a document's questions are not independent, not even
/// over seeds, so the intervals resample documents.
pub fn row(strategy: &'static str, method: &'static str, runs: &[Vec<Run>]) -> ContinualRow {
    let all: Vec<&Run> = runs.iter().flatten().collect();
    let clusters = |pick: &dyn Fn(&Run, usize) -> Vec<f32>, all_but: usize| -> Vec<Vec<f32>> {
        let of_sequence = |seeds: &Vec<Run>| -> Vec<Vec<f32>> {
            let documents = seeds.first().map_or(0, |r| r.updates.len());
            let documents = 0..documents.saturating_sub(all_but);
            documents
                .map(|j| seeds.iter().flat_map(|run| pick(run, j)).collect())
                .collect()
        };
        runs.iter().flat_map(of_sequence).collect()
    };
    let base = clusters(&|r, j| shares(&r.answers[0][j]), 0);
    let learned = clusters(&|r, j| shares(&r.answers[j + 1][j]), 0);
    let last = clusters(&|r, j| shares(&final_answers(r)[j]), 0);
    let change = |r: &Run, j: usize| {
        let (then, now) = (&r.answers[j + 1][j], &final_answers(r)[j]);
        let pairs = shares(then).into_iter().zip(shares(now));
        pairs.map(|(then, now)| now - then).collect()
    };
    let updates = || all.iter().flat_map(|r| &r.updates);
    let of_base = |r: &Run, right: usize| right as f32 / r.general[0].max(1) as f32;
    let of_runs = |pick: &dyn Fn(&Run) -> Vec<f32>| all.iter().map(|r| pick(r)).collect::<Vec<_>>();
    let last_general = |r: &Run| of_base(r, *r.general.last().expect("row 0"));
    let least_general = |r: &&Run| {
        let learned = r.general.iter().skip(1).copied().min();
        of_base(r, learned.unwrap_or(r.general[0]))
    };
    ContinualRow {
        strategy,
        method,
        runs: all.len(),
        base: estimate(&base),
        just_learned: estimate(&learned),
        final_row: estimate(&last),
        kept: estimate_ratio(&last, &learned),
        backward_transfer: estimate(&clusters(&change, 1)),
        general: estimate(&of_runs(&|r| vec![last_general(r)])),
        general_least: mean(all.iter().map(least_general)),
        seconds: estimate(&of_runs(&|r| r.updates.iter().map(|u| u.seconds).collect())),
        seconds_first: mean(all.iter().filter_map(|r| Some(r.updates.first()?.seconds))),
        seconds_last: mean(all.iter().filter_map(|r| Some(r.updates.last()?.seconds))),
        tokens: mean(updates().map(|u| u.tokens as f32)),
        adapter_bytes_last: mean(
            all.iter()
                .filter_map(|r| Some(r.updates.last()?.adapter_bytes as f32)),
        ),
        refused: updates().filter(|u| !u.accepted).count(),
        matrix: matrix(&all),
    }
}

fn final_answers(run: &Run) -> &Vec<Vec<bool>> {
    run.answers.last().expect("row 0 is always there")
}

fn matrix(runs: &[&Run]) -> Vec<Vec<f32>> {
    let rows = runs.iter().map(|r| r.answers.len()).max().unwrap_or(0);
    let columns = |i: usize| {
        runs.iter()
            .filter_map(move |r| Some(r.answers.get(i)?.len()))
    };
    (0..rows)
        .map(|i| {
            let cell = |j: usize| {
                let asked = runs.iter().filter_map(|r| r.answers.get(i)?.get(j));
                mean(asked.flat_map(|rights| shares(rights)))
            };
            (0..columns(i).max().unwrap_or(0)).map(cell).collect()
        })
        .collect()
}

fn shares(rights: &[bool]) -> Vec<f32> {
    rights.iter().map(|r| f32::from(u8::from(*r))).collect()
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v, n + 1));
    if n == 0 { 0.0 } else { sum / n as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::continual::Cost;

    #[test]
    fn a_row_says_what_was_learned_and_what_was_lost() {
        let cost = |seconds: f32| Cost {
            seconds,
            tokens: 100,
            adapter_bytes: 8,
            accepted: seconds < 3.0,
        };
        let (yes, no) = (true, false);
        let run = Run {
            answers: vec![
                vec![vec![no, no], vec![no, yes]],
                vec![vec![yes, yes]],
                vec![vec![yes, no], vec![yes, yes]],
            ],
            general: vec![10, 8, 9],
            general_asked: 12,
            updates: vec![cost(2.0), cost(4.0)],
        };
        let row = row("replay", "text", &[vec![run.clone(), run]]);
        assert_eq!(row.runs, 2);
        assert_eq!((row.base.mean, row.base.n), (0.25, 8));
        assert_eq!((row.just_learned.mean, row.final_row.mean), (1.0, 0.75));
        assert_eq!(row.kept.mean, 0.75);
        assert!(row.kept.low <= 0.75 && 0.75 <= row.kept.high);
        // Only the first document counts: one of its two questions.
        assert_eq!(
            (row.backward_transfer.mean, row.backward_transfer.n),
            (-0.5, 4)
        );
        assert!((row.general.mean - 0.9).abs() < 1e-6 && (row.general_least - 0.8).abs() < 1e-6);
        assert_eq!(
            (row.seconds.mean, row.seconds_first, row.seconds_last),
            (3.0, 2.0, 4.0)
        );
        assert_eq!(row.refused, 2);
        assert_eq!(row.matrix, [vec![0.0, 0.5], vec![1.0], vec![0.5, 1.0]]);
    }
}
