//! The M step of ReST-EM (SEAL §3.1): the policy is fine-tuned on the self-edits that the round kept.

use super::report::PolicyUpdate;
use super::seeds::{Draw, seed};
use super::{Prepared, Run, WRITING, edits_key};
use crate::learn::outer::domain::Domain;
use crate::learn::ports::journal::{Interrupted, step};
use crate::learn::ports::model::{Adapter, Training, TrainingText};
use std::collections::HashSet;
use std::time::Instant;

impl<D: Domain> Run<'_, D> {
    /// The M step. Gives the fine-tuned policy with the figures of its training; `None` if the round kept no self-edit.
    pub(super) fn maximisation(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &[Prepared<D::Context>],
        kept: &[(usize, usize)],
    ) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        if kept.is_empty() {
            return Ok(None);
        }
        let key = format!("round:{round}:policy");
        if let Some(kept) = self.input.policies.load(&key)? {
            return Ok(Some(kept));
        }
        let clock = Instant::now();
        self.meter.stage(format!("round {round}, the policy"));
        let texts = self.lessons(round, contexts, kept)?;
        let (sequences, drawn) = (
            texts.len(),
            seed(self.input.options.seed, Draw::Policy { round }),
        );
        let mut update = self.input.options.policy_training.update(drawn);
        if let Some(before) = policy {
            // A continued adapter keeps its rank and alpha.
            let shape = &before.0.config;
            (update.rank, update.alpha) = (shape.rank, shape.alpha);
        }
        let training = Training {
            texts,
            update,
            init: policy.cloned(),
        };
        let work = WRITING * contexts.len() as f32;
        let trained = self.train(vec![training], work)?.pop();
        let trained = trained.expect("one adapter for one training");
        self.meter.done(work);
        let about = PolicyUpdate {
            seed: drawn,
            sequences,
            tokens: trained.tokens,
            loss_first: trained.losses.first().copied(),
            loss_last: trained.losses.last().copied(),
            seconds: clock.elapsed().as_secs_f32(),
        };
        self.input.policies.save(&key, &trained.adapter, &about)?;
        Ok(Some((trained.adapter, about)))
    }

    /// The policy's training sequences: the prompts with the kept self-edits as answers.
    fn lessons(
        &self,
        round: usize,
        contexts: &[Prepared<D::Context>],
        kept: &[(usize, usize)],
    ) -> Result<Vec<TrainingText>, Interrupted> {
        let mut texts = Vec::new();
        for context in contexts {
            let edits = self.written(round, context)?;
            for (_, candidate) in kept.iter().filter(|(c, _)| *c == context.index) {
                let edit = &edits[*candidate];
                texts.extend(self.input.domain.lesson(&context.context, edit));
            }
        }
        Ok(texts)
    }

    /// (context, candidate) of the self-edits that give at least one training sequence for the policy.
    pub(super) fn teaching(
        &self,
        round: usize,
        contexts: &[Prepared<D::Context>],
    ) -> Result<HashSet<(usize, usize)>, Interrupted> {
        let mut teaching = HashSet::new();
        for context in contexts {
            let edits = self.written(round, context)?.into_iter().enumerate();
            let domain = self.input.domain;
            let some = edits.filter(|(_, e)| !domain.lesson(&context.context, e).is_empty());
            teaching.extend(some.map(|(candidate, _)| (context.index, candidate)));
        }
        Ok(teaching)
    }

    /// The self-edits that the E step stored for this context.
    fn written(
        &self,
        round: usize,
        context: &Prepared<D::Context>,
    ) -> Result<Vec<D::Edit>, Interrupted> {
        let never = || Err(Interrupted::Journal("self-edits were never written".into()));
        let key = edits_key(round, context.index);
        step(self.input.journal, &key, never)
    }
}
