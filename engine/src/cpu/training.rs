//! A training pass in parts: every layer forward, then the head in blocks of rows, then backward the layers
//! that train. Between the parts a caller may serve other batches; the activations wait in the training
//! workspace.

use super::decoder::Decoder;
use super::head::Head;
use super::layer::Pass;
use super::lora::LayerGrads;
use super::plan::{Plan, Rotary};
use super::prepared::Prepared;
use super::shortlist;
use super::workspace::{Saved, Workspace};
use crate::batch::PackedBatch;
use crate::error::{Error, Result};
use crate::executor::{BackwardPass, HiddenStates, Target, Vocabulary};
use crate::lora::LoraGrads;
use std::borrow::Cow;
use std::ops::Range;

/// Rows of the head in one part. A part over the whole vocabulary reads the output projection twice, so fewer, longer parts
/// are cheaper. A slice of 128 tokens has two: fewer than one in twenty gaps of a concurrent stream waits for one.
const HEAD_ROWS: usize = 72;

/// The inputs of a pass, and where its results go.
struct Work<'a> {
    tokens: &'a [u32],
    targets: &'a [Target],
    grads: &'a mut [Option<LoraGrads>],
    nll: &'a mut Vec<f32>,
    hidden: Option<&'a mut HiddenStates>,
    vocabularies: &'a mut [(Range<usize>, Vocabulary)],
    /// The targets of each part of the head.
    blocks: Vec<Range<usize>>,
}

impl Decoder {
    pub(super) fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        let rotary = Rotary::new(&self.config, &batch.positions);
        let ready = self.prepare(batch, rotary)?;
        self.check(&ready.plan, targets, grads)?;
        let mut nll = Vec::with_capacity(targets.len());
        let mut work = Work {
            tokens: &batch.tokens,
            targets,
            grads,
            nll: &mut nll,
            hidden: None,
            vocabularies: &mut [],
            blocks: head_blocks(targets, &[], usize::MAX),
        };
        let mut part = 0;
        while !self.part(&ready, &mut work, part) {
            part += 1;
        }
        Ok(nll)
    }

    pub(super) fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        // The first part computes the angles, the others find them in the workspace.
        let rotary = match pass.parts {
            0 => Rotary::new(&self.config, &pass.batch.positions),
            _ => std::mem::take(&mut self.training.rotary),
        };
        let ready = self.prepare(&pass.batch, rotary)?;
        if pass.parts == 0 {
            self.check(&ready.plan, &pass.targets, &pass.grads)?;
            self.check_hidden(&ready.plan, pass.hidden.as_ref())?;
            shortlist::check(&pass.vocabularies, &pass.targets, self.config.vocab_size)?;
            pass.nll.clear();
        }
        let mut work = Work {
            tokens: &pass.batch.tokens,
            targets: &pass.targets,
            grads: &mut pass.grads,
            nll: &mut pass.nll,
            hidden: pass.hidden.as_mut(),
            blocks: head_blocks(&pass.targets, &pass.vocabularies, HEAD_ROWS),
            vocabularies: &mut pass.vocabularies,
        };
        let done = self.part(&ready, &mut work, pass.parts);
        self.training.rotary = ready.plan.rotary;
        pass.parts += 1;
        Ok(done)
    }

    fn prepare<'b>(&self, batch: &'b PackedBatch, rotary: Rotary) -> Result<Prepared<'b>> {
        let (config, shape, slots) = (&self.config, &self.shape, &self.slots);
        Prepared::for_training(config, shape, self.format, batch, slots, rotary)
    }

    fn check(&self, plan: &Plan, targets: &[Target], grads: &[Option<LoraGrads>]) -> Result<()> {
        plan.check_targets(targets, self.config.vocab_size, true)?;
        plan.check_grads(&self.config, grads)
    }

    fn check_hidden(&self, plan: &Plan, hidden: Option<&HiddenStates>) -> Result<()> {
        let len = plan.rows * self.shape.hidden;
        match hidden {
            Some(b) if b.layer >= self.config.num_layers => Err(Error::Input(format!(
                "nothing trains from layer {} on, the model has {}",
                b.layer, self.config.num_layers
            ))),
            Some(b) if !b.states.is_empty() && b.states.len() != len => Err(Error::Input(format!(
                "{} numbers of hidden states for a batch that has {len}",
                b.states.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Runs one part; `true` if it was the last.
    fn part(&mut self, batch: &Prepared, work: &mut Work, part: usize) -> bool {
        let layers = self.config.num_layers;
        let blocks = work.blocks.len();
        // Without rows nothing has a value, without targets nothing a gradient.
        if batch.plan.rows == 0 || blocks == 0 {
            return true;
        }
        let trains = |l: &usize| {
            let mut grads = work.grads.iter().flatten();
            grads.any(|g| g[*l].iter().any(Option::is_some))
        };
        let lowest = (0..layers).find(trains).unwrap_or(layers);
        let known = work.hidden.as_ref().filter(|b| !b.states.is_empty());
        let first = known.map_or(0, |b| b.layer);
        let forward = layers - first;
        // The hidden states of this pass are handed over with its last part.
        let last = forward + blocks + (layers - lowest) == part + 1;
        match part {
            _ if part < forward => self.layer_forward(batch, work, first, first + part),
            _ if part < forward + blocks => self.head_block(batch, work, part - forward),
            _ => {
                let index = layers + forward + blocks - 1 - part;
                self.layer_backward(batch, work, index, index == lowest);
            }
        }
        if last && let Some(hidden) = work.hidden.as_mut().filter(|b| b.states.is_empty()) {
            let states = self.training.layers[hidden.layer]
                .input
                .get(batch.plan.rows * self.shape.hidden);
            hidden.states = states.to_vec();
        }
        last
    }

    fn layer_forward(&mut self, batch: &Prepared, work: &Work, first: usize, index: usize) {
        let Workspace {
            hidden,
            layers,
            temp,
            ..
        } = &mut self.training;
        let h = hidden.get_mut(batch.plan.rows * self.shape.hidden);
        if index == first {
            layers.resize_with(self.weights.layers.len(), Saved::default);
            match &work.hidden {
                Some(hidden) if !hidden.states.is_empty() => h.copy_from_slice(&hidden.states),
                _ => self.weights.embed(work.tokens, self.shape.hidden, h),
            }
        }
        let pass = Pass {
            shape: &self.shape,
            weights: &self.weights.layers[index],
            batch,
            index,
        };
        pass.forward(h, &mut self.slots, &mut layers[index], temp);
    }

    fn head_block(&mut self, batch: &Prepared, work: &mut Work, block: usize) {
        let mut head = Head::new(&self.weights, &self.shape, &batch.extras);
        let Workspace {
            hidden,
            d_hidden,
            temp,
            ..
        } = &mut self.training;
        let len = batch.plan.rows * self.shape.hidden;
        let dh = d_hidden.get_mut(len);
        if block == 0 {
            dh.fill(0.0);
        }
        let block = work.blocks[block].clone();
        let mut targets = Cow::Borrowed(&work.targets[block.clone()]);
        let runs = &mut work.vocabularies;
        let run = shortlist::run_of(runs, block.start);
        let watched = match runs.get(run).map(|(_, vocabulary)| vocabulary) {
            None | Some(Vocabulary::Whole) => false,
            Some(Vocabulary::Watched(_)) => true,
            Some(Vocabulary::Shortlist(shortlist)) => {
                targets = shortlist::renamed(&targets, shortlist).into();
                let whole = &self.weights.head;
                head = head.with(shortlist::projection(shortlist, whole, self.format));
                false
            }
        };
        let mut losses = head.backward(hidden.get(len), &targets, watched, dh, temp);
        if watched {
            // A watched row has one target.
            for (target, row) in block.zip(&mut losses) {
                let run = shortlist::run_of(runs, target);
                if let Vocabulary::Watched(likely) = &mut runs[run].1 {
                    likely.add(std::mem::take(&mut row.likely));
                }
            }
        }
        work.nll.extend(losses.into_iter().flat_map(|row| row.nll));
    }

    fn layer_backward(&mut self, batch: &Prepared, work: &mut Work, index: usize, lowest: bool) {
        let Workspace {
            d_hidden,
            layers,
            temp,
            ..
        } = &mut self.training;
        let dh = d_hidden.get_mut(batch.plan.rows * self.shape.hidden);
        let mut grads: Vec<_> = work
            .grads
            .iter_mut()
            .map(|g| g.as_mut().map(|g| &mut g[index]))
            .collect();
        let grads: &mut LayerGrads = &mut grads;
        let pass = Pass {
            shape: &self.shape,
            weights: &self.weights.layers[index],
            batch,
            index,
        };
        pass.backward(dh, &layers[index], temp, grads, lowest);
    }
}

/// Cuts the targets (ascending rows) into blocks of `rows` rows. The targets of one row stay together, because they share
/// the row's logits. A block is all watched, or not at all; a shortlist has blocks of its own.
fn head_blocks(
    targets: &[Target],
    runs: &[(Range<usize>, Vocabulary)],
    rows: usize,
) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let (mut start, mut held, mut of_last) = (0, 0, None);
    for of_row in targets.chunk_by(|a, b| a.row == b.row) {
        let run = shortlist::run_of(runs, start);
        let kind = match runs.get(run).map(|(_, vocabulary)| vocabulary) {
            None | Some(Vocabulary::Whole) => (false, None),
            Some(Vocabulary::Watched(_)) => (true, None),
            Some(Vocabulary::Shortlist(_)) => (false, Some(run)),
        };
        match blocks.last_mut() {
            Some(last) if held < rows && of_last == Some(kind) => {
                last.end += of_row.len();
                held += 1;
            }
            _ => {
                blocks.push(start..start + of_row.len());
                held = 1;
            }
        }
        of_last = Some(kind);
        start += of_row.len();
    }
    blocks
}
