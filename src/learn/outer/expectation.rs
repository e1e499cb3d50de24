//! The E step of ReST-EM (SEAL §3.1): the policy writes self-edits for every context of the round, and every
//! self-edit gets a reward.

use super::options::{Baseline, Reward};
use super::report::{Candidate, Trial};
use super::reward::{self, Gain};
use super::seeds::{Draw, seed};
use super::trials::{FinishedTrial, Part, TrialSpec, halves};
use super::{Prepared, Run, STREAMS, WRITING, candidate_key, edits_key, scoring};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::ports::journal::{Interrupted, recalled, step, step_with_event};
use crate::learn::ports::model::Adapter;
use serde_json::json;
use std::time::Instant;

/// A context of a round, with its candidates and the base's answers.
pub(super) struct RoundContext<'a, D: Domain> {
    pub index: usize,
    context: &'a D::Context,
    before: Vec<Answer>,
    edits: Vec<D::Edit>,
}

impl<D: Domain> Run<'_, D> {
    /// The E step. Gives the candidates of every context with their rewards, context by context.
    pub(super) fn expectation(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &[Prepared<D::Context>],
    ) -> Result<Vec<Candidate>, Interrupted> {
        let practised = self.write(round, policy, contexts)?;
        self.share_out(round, &practised)?;
        let mut candidates = Vec::new();
        for context in &practised {
            for nth in 0..context.edits.len() {
                let key = candidate_key(round, context.index, nth);
                let lost = || Interrupted::Journal(format!("{key} is measured but not remembered"));
                let candidate = recalled(self.input.journal, &key)?;
                candidates.push(candidate.ok_or_else(lost)?);
            }
        }
        Ok(candidates)
    }

    /// Measures the candidates of the nth of `of` contexts and stores them in the journal.
    pub(super) fn candidates(
        &self,
        round: usize,
        nth: usize,
        of: usize,
        context: &RoundContext<'_, D>,
    ) -> Result<(), Interrupted> {
        let title = self.input.domain.title(context.context);
        let stage = format!("round {round}, context {} of {of} ({title})", nth + 1);
        self.meter.stage(stage);
        match self.input.options.reward {
            Reward::Rubric => self.marked(round, context),
            _ => self.measured(round, context),
        }
    }

    /// Has the policy write the self-edits for every context.
    fn write<'c>(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &'c [Prepared<D::Context>],
    ) -> Result<Vec<RoundContext<'c, D>>, Interrupted> {
        let (journal, domain, o) = (self.input.journal, self.input.domain, self.input.options);
        let width = (STREAMS / o.candidates).max(1);
        let edits = self.each(contexts.len(), width, |model, i| {
            let Prepared { index, context } = &contexts[i];
            let edits: Vec<D::Edit> = step(journal, &edits_key(round, *index), || {
                self.meter
                    .tell(journal, "writing", 0.0, "writing self-edits");
                let drawn = self.edits_seed(round, *index);
                let written = domain.write(model, policy, context, o.candidates, drawn)?;
                self.meter
                    .tell(journal, "writing", WRITING, "self-edits are written");
                Ok(written)
            })?;
            self.meter.done(WRITING);
            Ok(edits)
        })?;
        let practised = contexts.iter().zip(edits).map(|(c, edits)| {
            Ok(RoundContext {
                index: c.index,
                context: &c.context,
                before: self.before(c, Queries::Reward)?,
                edits,
            })
        });
        practised.collect()
    }

    fn edits_seed(&self, round: usize, context: usize) -> u64 {
        seed(self.input.options.seed, Draw::Edits { round, context })
    }

    /// Rewards the context's candidates by their gain: each is trained and asked, `repeats` times.
    fn measured(&self, round: usize, context: &RoundContext<'_, D>) -> Result<(), Interrupted> {
        let o = self.input.options;
        let alone = self.alone(round, context)?;
        let baseline = match alone.is_empty() {
            true => vec![context.before.clone()],
            false => alone.iter().map(|t| t.answers.clone()).collect(),
        };
        let all: Vec<usize> = (0..context.edits.len()).collect();
        let trials = if o.halving {
            self.halved(round, context, &all)?
        } else {
            let whole = self.trials(round, context, &all, |_, _| Part::Whole, "")?;
            whole.into_iter().map(|of| (of, false)).collect()
        };
        for (nth, (tried, dropped)) in trials.into_iter().enumerate() {
            let trials: Vec<_> = tried.into_iter().map(|t| t.trial).collect();
            let gain = Gain::of(&baseline, &trials);
            self.remember(round, context, nth, |mut candidate| {
                candidate.reward = gain.reward(o.reward);
                candidate.accuracy_gain = Some(gain.accuracy);
                candidate.likelihood_gain = Some(gain.likelihood);
                candidate.expected_gain = (o.reward == Reward::Expected).then_some(gain.expected);
                candidate.dropped = dropped;
                candidate.seconds = trials.iter().map(|t| t.seconds).sum();
                candidate.repeats = trials.iter().map(scoring::repeat).collect();
                candidate.alone = alone.iter().map(scoring::repeat).collect();
                Ok(candidate)
            })?;
        }
        Ok(())
    }

    /// Trials of learning the context without a self-edit, one per repeat; empty unless the baseline is
    /// `context_alone`.
    fn alone(
        &self,
        round: usize,
        context: &RoundContext<'_, D>,
    ) -> Result<Vec<Trial>, Interrupted> {
        let o = self.input.options;
        let bare = self.input.domain.bare(context.context);
        let (Baseline::ContextAlone, Some(bare)) = (o.baseline, bare) else {
            return Ok(Vec::new());
        };
        let place = format!("round:{round}:context:{}:alone", context.index);
        let trying = (0..o.repeats).map(|repeat| {
            let key = format!("{place}:repeat:{repeat}");
            self.trying(round, context, &bare, repeat, Part::Whole, key)
        });
        let tried = self.try_all(trying.collect())?;
        Ok(tried.into_iter().map(|t| t.trial).collect())
    }

    /// Successive halving: all candidates run the first part of their training, the better half also the rest. Of an
    /// odd number the larger half continues. Gives for each candidate its trials and whether it was dropped.
    fn halved(
        &self,
        round: usize,
        context: &RoundContext<'_, D>,
        all: &[usize],
    ) -> Result<Vec<(Vec<FinishedTrial>, bool)>, Interrupted> {
        let mut first = self.trials(round, context, all, |_, _| Part::First, ":first")?;
        let reward = |tried: &[FinishedTrial]| {
            let trials: Vec<_> = tried.iter().map(|t| t.trial.clone()).collect();
            Gain::of(std::slice::from_ref(&context.before), &trials)
                .reward(self.input.options.reward)
        };
        let rewards: Vec<f32> = first.iter().map(|t| reward(t)).collect();
        let mut order = all.to_vec();
        order.sort_by(|a, b| rewards[*b].total_cmp(&rewards[*a]));
        order.truncate(all.len().div_ceil(2));
        order.sort();
        let domain = self.input.domain;
        let more = |c: &usize| {
            let edit = &context.edits[*c];
            let training = domain.training(context.context, edit, Queries::Reward, 0, &|text| {
                self.model.tokens(text)
            });
            training.is_some_and(|t| halves(t.update.epochs).1 > 0)
        };
        let longer: Vec<usize> = order.iter().copied().filter(more).collect();
        let adapter = |c: usize, r: usize| Part::Rest(first[c][r].adapter.clone());
        let rest = self.trials(round, context, &longer, adapter, "")?;
        for (c, mut whole) in longer.into_iter().zip(rest) {
            for (whole, first) in whole.iter_mut().zip(&first[c]) {
                whole.trial.goes_on_from(&first.trial);
            }
            first[c] = whole;
        }
        let whole = first.into_iter().enumerate();
        Ok(whole.map(|(c, t)| (t, !order.contains(&c))).collect())
    }

    /// The trials of these candidates: `[candidate][repeat]`.
    fn trials(
        &self,
        round: usize,
        context: &RoundContext<'_, D>,
        candidates: &[usize],
        part: impl Fn(usize, usize) -> Part,
        suffix: &str,
    ) -> Result<Vec<Vec<FinishedTrial>>, Interrupted> {
        let o = self.input.options;
        let mut trying = Vec::new();
        for &candidate in candidates {
            for repeat in 0..o.repeats {
                let place = candidate_key(round, context.index, candidate);
                let key = format!("{place}:repeat:{repeat}{suffix}");
                let (edit, part) = (&context.edits[candidate], part(candidate, repeat));
                trying.push(self.trying(round, context, edit, repeat, part, key));
            }
        }
        let mut tried = self.try_all(trying)?.into_iter();
        let of_one = |_| tried.by_ref().take(o.repeats).collect();
        Ok(candidates.iter().map(of_one).collect())
    }

    /// The trial of one self-edit in one repeat. The seed depends on the repeat only, so all candidates of a context
    /// train from the same seed.
    fn trying<'t>(
        &self,
        round: usize,
        context: &'t RoundContext<'_, D>,
        edit: &'t D::Edit,
        repeat: usize,
        part: Part,
        key: String,
    ) -> TrialSpec<'t, D> {
        let draw = Draw::Repeat {
            round,
            context: context.index,
            repeat,
        };
        TrialSpec {
            key,
            context: context.context,
            edit,
            seed: seed(self.input.options.seed, draw),
            queries: Queries::Reward,
            before: &context.before,
            part,
        }
    }

    /// Rewards the context's candidates by the base's mark, without training.
    fn marked(&self, round: usize, context: &RoundContext<'_, D>) -> Result<(), Interrupted> {
        for (nth, edit) in context.edits.iter().enumerate() {
            self.remember(round, context, nth, |mut candidate| {
                let clock = Instant::now();
                let prompt = self.input.domain.rubric(context.context, edit);
                let mark = self.one(|model| Ok(reward::rubric(model, &prompt)?))?;
                candidate.reward = mark;
                candidate.rubric = Some(mark);
                candidate.seconds = clock.elapsed().as_secs_f32();
                Ok(candidate)
            })?;
        }
        Ok(())
    }

    /// Completes the candidate with `finish`, stores it and sends its event. A resumed run repeats neither.
    fn remember(
        &self,
        round: usize,
        context: &RoundContext<'_, D>,
        nth: usize,
        finish: impl FnOnce(Candidate) -> Result<Candidate, Interrupted>,
    ) -> Result<(), Interrupted> {
        let key = candidate_key(round, context.index, nth);
        let tell = |c: &Candidate| {
            let mut data = json!(c);
            data["edit"] = json!(context.edits[nth]);
            data
        };
        step_with_event(self.input.journal, &key, "candidate", tell, || {
            finish(Candidate {
                round,
                context: context.index,
                title: self.input.domain.title(context.context).to_owned(),
                candidate: nth,
                seed: self.edits_seed(round, context.index) + nth as u64,
                reward: 0.0,
                accuracy_gain: None,
                likelihood_gain: None,
                expected_gain: None,
                rubric: None,
                dropped: false,
                repeats: Vec::new(),
                alone: Vec::new(),
                seconds: 0.0,
            })
        })
        .map(drop)
    }
}
