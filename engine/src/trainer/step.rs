//! One optimizer step of many candidates, cut into micro-batches of bounded size.

use super::Candidate;
use super::prefix::{self, Placement};
use crate::batch::PackedBatch;
use crate::error::{Error, Result};
use crate::executor::{BackwardPass, Executor, HiddenStates, Target};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::f32::consts::LN_2;

/// The result of one optimizer step of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Index of the candidate among those trained together.
    pub candidate: usize,
    /// From 0.
    pub step: usize,
    pub total_steps: usize,
    /// Mean negative log-likelihood over the supervised tokens, before the update; after the first epoch among the
    /// shortlist, if there is one.
    pub loss: f32,
    pub learning_rate: f32,
    /// Norm of the gradient before clipping.
    pub grad_norm: f32,
    /// Tokens that went through the model; a shared prefix counts once.
    pub tokens: usize,
}

/// Does one optimizer step of every unfinished candidate, in packed batches of at most `token_budget` tokens (a
/// longer sequence goes alone).
///
/// # Errors
/// [`Error::Diverged`] if a loss or gradient is not finite, or the executor's error. After an error the
/// candidates hold half a gradient and must be dropped.
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

/// A step under way. The caller may do other work between its slices.
#[derive(Debug)]
pub struct Step {
    work: VecDeque<Item>,
    /// The micro-batch under way.
    pass: Option<Box<Pass>>,
    sums: Vec<Sums>,
}

#[derive(Debug)]
struct Pass {
    backward: BackwardPass,
    /// The candidate of each adapter.
    trained: Vec<usize>,
    /// The place of each target's example among `places`, and the target's probability.
    shares: Vec<(usize, f32)>,
    places: Vec<(Item, Placement)>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    candidate: usize,
    example: usize,
}

/// What a candidate's examples of one step add up to.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    targets: usize,
    /// Tokens that went through the model.
    pub tokens: usize,
    /// Tokens of the examples; a shared prefix counts for each of them.
    pub inputs: usize,
    loss: f64,
}

impl Step {
    pub fn begin(candidates: &mut [Candidate]) -> Self {
        let mut step = Step {
            work: VecDeque::new(),
            pass: None,
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

    /// Whether a slice is left.
    pub fn pending(&self) -> bool {
        self.under_way() || !self.work.is_empty()
    }

    /// Whether a micro-batch has begun and not ended. Meanwhile the executor must be given no other one.
    pub fn under_way(&self) -> bool {
        self.pass.is_some()
    }

    /// Does the next part of a micro-batch's forward and backward. Returns the micro-batch's tokens if that was
    /// the last part, else 0.
    pub fn slice(
        &mut self,
        executor: &mut dyn Executor,
        candidates: &mut [Candidate],
        token_budget: usize,
    ) -> Result<usize> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => Box::new(self.assemble(candidates, token_budget)),
        };
        if !executor.backward_part(&mut pass.backward)? {
            self.pass = Some(pass);
            return Ok(0);
        }
        let BackwardPass {
            batch,
            grads,
            nll,
            hidden,
            vocabularies,
            ..
        } = pass.backward;
        for (item, place) in &pass.places {
            if let Some(hidden) = &hidden {
                let cache = &mut candidates[item.candidate].hidden_cache;
                cache.keep(item.example, place, hidden, batch.tokens.len());
            }
        }
        if vocabularies.len() != grads.len() {
            return Err(Error::Executor("backward lost a vocabulary".into()));
        }
        for (candidate, (grads, (_, vocabulary))) in pass
            .trained
            .into_iter()
            .zip(grads.into_iter().zip(vocabularies))
        {
            let candidate = &mut candidates[candidate];
            candidate.grads =
                grads.ok_or_else(|| Error::Executor("backward lost a gradient".into()))?;
            candidate.vocabulary.watched(vocabulary);
        }
        let mut answered = vec![true; pass.places.len()];
        for ((place, share), nll) in pass.shares.into_iter().zip(nll) {
            let (item, _) = &pass.places[place];
            self.sums[item.candidate].loss += f64::from(share * nll);
            answered[place] &= share == 1.0 && nll < LN_2;
        }
        for ((item, _), answered) in pass.places.iter().zip(answered) {
            let candidate = &mut candidates[item.candidate];
            self.sums[item.candidate].inputs += candidate.example(item.example).inputs().len();
            candidate.visited(item.example, answered);
        }
        Ok(batch.tokens.len())
    }

    /// Assembles the next micro-batch, of candidates that train from the same layer on.
    fn assemble(&mut self, candidates: &mut [Candidate], token_budget: usize) -> Pass {
        let mut batch = PackedBatch::new();
        let (mut targets, mut shares) = (Vec::new(), Vec::new());
        let (mut trained, mut places): (Vec<usize>, Vec<(Item, Placement)>) = Default::default();
        let (mut layer, mut taken) = (None, 0);
        let mut vocabularies = Vec::new();
        while let Some(index) = self.work.front().map(|item| item.candidate) {
            let candidate = &candidates[index];
            if *layer.get_or_insert(candidate.hidden_cache.layer())
                != candidate.hidden_cache.layer()
            {
                break;
            }
            let items = self.fitting(candidate, &mut taken, token_budget);
            if items.is_empty() {
                break;
            }
            trained.push(index);
            let sums = &mut self.sums[index];
            let (before, weight) = (batch.tokens.len(), 1.0 / sums.targets as f32);
            let first = targets.len();
            let examples: Vec<_> = items.iter().map(|i| candidate.example(i.example)).collect();
            for (nth, place) in prefix::push(&mut batch, &candidate.lora, &examples) {
                let example = examples[nth];
                for i in (1..example.tokens.len()).filter(|i| example.supervised[*i]) {
                    let row = place.row_before(i);
                    for (token, share) in example.target(i) {
                        let weight = share * weight;
                        targets.push(Target { row, token, weight });
                        shares.push((places.len(), share));
                    }
                }
                places.push((items[nth], place));
            }
            sums.tokens += batch.tokens.len() - before;
            vocabularies.push((first..targets.len(), candidate.vocabulary.now()));
        }
        let grads = trained
            .iter()
            .map(|c| Some(std::mem::take(&mut candidates[*c].grads)))
            .collect();
        let hidden = cached(candidates, layer.unwrap_or(0), &places, batch.tokens.len());
        Pass {
            backward: BackwardPass {
                hidden,
                vocabularies,
                ..BackwardPass::new(batch, targets, grads)
            },
            trained,
            shares,
            places,
        }
    }

    /// Takes the candidate's next examples that fit the budget after `taken` tokens. Shared prefixes are counted
    /// in full, and a batch's first example always fits.
    fn fitting(
        &mut self,
        candidate: &Candidate,
        taken: &mut usize,
        token_budget: usize,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        let index = self.work.front().map(|item| item.candidate);
        while let Some(item) = self.work.front().filter(|i| Some(i.candidate) == index) {
            let length = candidate.example(item.example).inputs().len();
            if *taken > 0 && *taken + length > token_budget {
                break;
            }
            *taken += length;
            items.extend(self.work.pop_front());
        }
        items
    }

    /// Updates every candidate that had work. To be called when nothing is pending.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a candidate diverged.
    pub fn finish(self, candidates: &mut [Candidate]) -> Result<Vec<StepReport>> {
        assert!(!self.pending(), "the step still has pending slices");
        let with_work = candidates.iter_mut().zip(self.sums).enumerate();
        with_work
            .filter(|(_, (_, sums))| sums.targets > 0)
            .map(|(index, (candidate, sums))| {
                let loss = (sums.loss / sums.targets as f64) as f32;
                candidate.finish_step(index, loss, &sums)
            })
            .collect()
    }
}

/// The hidden states of a batch before `layer`: empty unless those of every example are cached.
fn cached(
    candidates: &[Candidate],
    layer: usize,
    places: &[(Item, Placement)],
    rows: usize,
) -> Option<HiddenStates> {
    let mut hidden = HiddenStates {
        layer,
        states: Vec::new(),
    };
    let cache = |item: &Item| &candidates[item.candidate].hidden_cache;
    if places.iter().all(|(item, _)| cache(item).has(item.example)) {
        for (item, place) in places {
            cache(item).restore(item.example, place, &mut hidden, rows);
        }
    }
    (layer > 0).then_some(hidden)
}

/// The factor of `torch.nn.utils.clip_grad_norm_`.
pub(super) fn clip_scale(norm: f32, clip_norm: f32) -> f32 {
    if clip_norm == 0.0 {
        return 1.0;
    }
    (clip_norm / (norm + 1e-6)).min(1.0)
}
