//! One optimizer step of many candidates, cut into micro-batches of bounded size.

use super::Candidate;
use crate::batch::PackedBatch;
use crate::error::{Error, Result};
use crate::executor::{Executor, Target};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What one step of one candidate did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Which of the candidates trained together.
    pub candidate: usize,
    /// From 0.
    pub step: usize,
    pub total_steps: usize,
    /// Mean negative log-likelihood over the supervised tokens, before the update.
    pub loss: f32,
    pub learning_rate: f32,
    /// Before clipping.
    pub grad_norm: f32,
    /// Tokens computed.
    pub tokens: usize,
}

/// One optimizer step of every unfinished candidate, in packed batches of at most `token_budget`
/// tokens (a longer sequence goes alone). After an error the candidates hold half a gradient and
/// must be dropped.
pub fn step(
    executor: &mut dyn Executor,
    candidates: &mut [Candidate],
    token_budget: usize,
) -> Result<Vec<StepReport>> {
    let mut step = Step::begin(candidates);
    while step.pending() {
        step.slice(executor, candidates, token_budget)?;
    }
    step.finish(candidates)
}

/// A step under way: whoever drives it may do other work between its slices.
#[derive(Debug)]
pub struct Step {
    work: VecDeque<Item>,
    sums: Vec<Sums>,
}

#[derive(Debug)]
struct Item {
    candidate: usize,
    example: usize,
}

#[derive(Debug, Clone, Default)]
struct Sums {
    targets: usize,
    tokens: usize,
    loss: f64,
}

impl Step {
    pub fn begin(candidates: &mut [Candidate]) -> Self {
        let mut step = Step {
            work: VecDeque::new(),
            sums: vec![Sums::default(); candidates.len()],
        };
        for (candidate, c) in candidates.iter_mut().enumerate() {
            if c.finished() {
                continue;
            }
            for example in c.next_batch() {
                step.sums[candidate].targets += c.example(example).targets();
                step.work.push_back(Item { candidate, example });
            }
        }
        step
    }

    /// Whether there is a slice left.
    pub fn pending(&self) -> bool {
        !self.work.is_empty()
    }

    /// Forward and backward of the next micro-batch; returns how many tokens it had.
    pub fn slice(
        &mut self,
        executor: &mut dyn Executor,
        candidates: &mut [Candidate],
        token_budget: usize,
    ) -> Result<usize> {
        let mut batch = PackedBatch::new();
        let mut targets = Vec::new();
        let mut owners = Vec::new(); // of each target
        let mut trained: Vec<usize> = Vec::new(); // the candidate behind each adapter
        while let Some(item) = self.work.front() {
            let candidate = &candidates[item.candidate];
            let example = candidate.example(item.example);
            let inputs = example.inputs();
            if !batch.tokens.is_empty() && batch.tokens.len() + inputs.len() > token_budget {
                break;
            }
            let rows = batch.push(inputs, 0, None, std::slice::from_ref(&candidate.lora));
            if trained.last() != Some(&item.candidate) {
                trained.push(item.candidate);
            }
            let sums = &mut self.sums[item.candidate];
            sums.tokens += inputs.len();
            let weight = 1.0 / sums.targets as f32;
            for i in (1..=inputs.len()).filter(|i| example.supervised[*i]) {
                let (row, token) = (rows.start + i - 1, example.tokens[i]);
                targets.push(Target { row, token, weight });
                owners.push(item.candidate);
            }
            self.work.pop_front();
        }
        let mut grads: Vec<_> = trained
            .iter()
            .map(|c| Some(std::mem::take(&mut candidates[*c].grads)))
            .collect();
        let nll = executor.backward(&batch, &targets, &mut grads)?;
        for (candidate, grads) in trained.into_iter().zip(grads) {
            candidates[candidate].grads =
                grads.ok_or_else(|| Error::Executor("backward lost a gradient".into()))?;
        }
        for (owner, nll) in owners.into_iter().zip(nll) {
            self.sums[owner].loss += f64::from(nll);
        }
        Ok(batch.tokens.len())
    }

    /// Updates every candidate that had work; to be called when nothing is pending. Fails if one of
    /// them diverged.
    pub fn finish(self, candidates: &mut [Candidate]) -> Result<Vec<StepReport>> {
        assert!(self.work.is_empty(), "the step still has pending slices");
        let with_work = candidates.iter_mut().zip(self.sums).enumerate();
        with_work
            .filter(|(_, (_, sums))| sums.targets > 0)
            .map(|(index, (candidate, sums))| {
                let loss = (sums.loss / sums.targets as f64) as f32;
                candidate.finish_step(index, loss, sums.tokens)
            })
            .collect()
    }
}

/// The factor of `torch.nn.utils.clip_grad_norm_`.
pub(super) fn clip_scale(norm: f32, clip_norm: f32) -> f32 {
    if clip_norm == 0.0 {
        return 1.0;
    }
    (clip_norm / (norm + 1e-6)).min(1.0)
}
