//! Scoring: the log-likelihood of given answers, in packed slices.

use super::{Priority, ScoreRequest};
use crate::batch::PackedBatch;
use crate::error::Result;
use crate::executor::{Executor, Score, Target};
use std::sync::mpsc::SyncSender;

pub(super) struct Scoring {
    pub priority: Priority,
    pub reply: SyncSender<Result<Vec<Vec<Score>>>>,
    requests: Vec<ScoreRequest>,
    scores: Vec<Vec<Score>>,
}

impl Scoring {
    pub fn new(
        requests: Vec<ScoreRequest>,
        priority: Priority,
        reply: SyncSender<Result<Vec<Vec<Score>>>>,
    ) -> Self {
        Scoring {
            priority,
            reply,
            scores: Vec::with_capacity(requests.len()),
            requests,
        }
    }

    pub fn done(&self) -> bool {
        self.scores.len() == self.requests.len()
    }

    pub fn take(&mut self) -> Vec<Vec<Score>> {
        std::mem::take(&mut self.scores)
    }

    /// Scores the next requests that fit into `budget` tokens, at least one; returns their tokens.
    pub fn slice(&mut self, executor: &mut dyn Executor, budget: usize) -> Result<usize> {
        let mut batch = PackedBatch::new();
        let mut targets = Vec::new();
        let mut answers = Vec::new(); // lengths
        for request in &self.requests[self.scores.len()..] {
            let Some((_, answer)) = request.answer.split_last() else {
                answers.push(0);
                continue;
            };
            // The last answer token is only predicted, never read.
            let inputs = [request.prompt.as_slice(), answer].concat();
            if !batch.tokens.is_empty() && batch.tokens.len() + inputs.len() > budget {
                break;
            }
            let rows = batch.push(&inputs, 0, None, &request.adapters);
            let first = rows.start + request.prompt.len() - 1;
            targets.extend(
                request
                    .answer
                    .iter()
                    .zip(first..)
                    .map(|(token, row)| Target {
                        row,
                        token: *token,
                        weight: 1.0,
                    }),
            );
            answers.push(request.answer.len());
        }
        let mut scores = match targets.is_empty() {
            true => Vec::new(),
            false => executor.score(&batch, &targets)?,
        }
        .into_iter();
        for length in answers {
            self.scores.push(scores.by_ref().take(length).collect());
        }
        Ok(batch.tokens.len())
    }
}
