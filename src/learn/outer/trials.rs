//! Trials: candidates are trained in packs (one batch each), asked, and stored. A trial is durable as soon as its pack
//! is done. A resumed run recalls the trials that finished before the crash.

use super::Run;
use super::report::Trial;
use super::seeds::{Draw, seed};
use crate::learn::fan_out;
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, recalled, step};
use crate::learn::ports::model::{Adapter, Trained, Training};
use std::time::Instant;

/// The input of a trial.
pub(super) struct TrialSpec<'a, D: Domain> {
    /// The key of the journal's step that stores the trial.
    pub key: String,
    pub context: &'a D::Context,
    pub edit: &'a D::Edit,
    pub seed: u64,
    pub queries: Queries,
    /// The base's answers. They stand for the trial's answers if the self-edit gives nothing to train on.
    pub before: &'a [Answer],
    pub part: Part,
}

/// The epochs of a training that a trial runs.
#[derive(Clone)]
pub(super) enum Part {
    /// All epochs.
    Whole,
    /// The epochs before the halving.
    First,
    /// The epochs after the halving, continuing the adapter of the first part. `None`: the adapter was lost in a crash,
    /// so the first part is trained again.
    Rest(Option<Adapter>),
}

impl Part {
    /// The part's share of a whole trial's work, 0 to 1.
    fn share(&self) -> f32 {
        match self {
            Part::Whole => 1.0,
            Part::First => FIRST_SHARE,
            Part::Rest(_) => 1.0 - FIRST_SHARE,
        }
    }
}

/// A finished trial.
pub(super) struct FinishedTrial {
    pub trial: Trial,
    /// The adapter of a first part; `None` for other parts and for recalled trials.
    pub adapter: Option<Adapter>,
}

/// The share of the epochs before the halving.
const FIRST_SHARE: f32 = 0.4;
/// The work with halving, as a share of the work without: the first part of every trial, the rest of half of them.
pub(super) const HALVED: f32 = FIRST_SHARE + (1.0 - FIRST_SHARE) / 2.0;

impl<D: Domain> Run<'_, D> {
    /// Runs all trials that are not stored yet. The results are in the order of `trying`.
    pub(super) fn try_all(
        &self,
        trying: Vec<TrialSpec<'_, D>>,
    ) -> Result<Vec<FinishedTrial>, Interrupted> {
        let mut tried: Vec<Option<FinishedTrial>> = Vec::new();
        for trial in &trying {
            let trial: Option<Trial> = recalled(self.input.journal, &trial.key)?;
            tried.push(trial.map(|trial| FinishedTrial {
                trial,
                adapter: None,
            }));
        }
        let open: Vec<usize> = (0..trying.len()).filter(|i| tried[*i].is_none()).collect();
        let known = tried.iter().zip(&trying).filter(|(t, _)| t.is_some());
        self.meter.skip(known.map(|(_, t)| t.part.share()).sum());
        for pack in open.chunks(self.input.options.pack) {
            let packed: Vec<&TrialSpec<D>> = pack.iter().map(|i| &trying[*i]).collect();
            for (i, done) in pack.iter().zip(self.try_pack(&packed)?) {
                tried[*i] = Some(done);
            }
        }
        let every = tried.into_iter();
        Ok(every
            .map(|t| t.expect("each was recalled or tried"))
            .collect())
    }

    fn try_pack(&self, pack: &[&TrialSpec<D>]) -> Result<Vec<FinishedTrial>, Interrupted> {
        let trainings = self.trainings(pack)?;
        // The clock starts here, so first parts that are trained again after a crash do not count.
        let clock = Instant::now();
        let epochs: Vec<usize> = trainings
            .iter()
            .map(|t| t.as_ref().map_or(0, |t| t.update.epochs))
            .collect();
        let work = pack.iter().map(|t| t.part.share()).sum();
        let trained = self.train_some(trainings, work)?;
        let adapters: Vec<Option<&Adapter>> = trained
            .iter()
            .map(|t| t.as_ref().map(|t| &t.adapter))
            .collect();
        let asked = self.each(pack.len(), pack.len(), |model, i| {
            let t = pack[i];
            match adapters[i] {
                None => Ok(t.before.to_vec()),
                adapter => {
                    let domain = self.input.domain;
                    let samples = self.samples(t.queries, || seed(t.seed, Draw::Answers));
                    Ok(domain.ask(model, adapter, t.context, t.queries, samples)?)
                }
            }
        })?;
        let seconds = clock.elapsed().as_secs_f32() / pack.len() as f32;
        let mut tried = Vec::new();
        for (((t, trained), answers), epochs) in pack.iter().zip(trained).zip(asked).zip(epochs) {
            let trial = Trial {
                seed: t.seed,
                epochs,
                answers,
                tokens: trained.as_ref().map_or(0, |t| t.tokens),
                seconds,
                loss: trained.as_ref().and_then(|t| t.losses.last().copied()),
            };
            let trial = step(self.input.journal, &t.key, || Ok(trial))?;
            let adapter = trained.map(|t| t.adapter);
            tried.push(FinishedTrial {
                trial,
                adapter: adapter.filter(|_| matches!(t.part, Part::First)),
            });
        }
        self.meter.done(work);
        Ok(tried)
    }

    /// The training of each trial; `None` if its self-edit gives nothing to train on.
    fn trainings(&self, pack: &[&TrialSpec<D>]) -> Result<Vec<Option<Training>>, Interrupted> {
        let whole = |t: &TrialSpec<D>| {
            let domain = self.input.domain;
            domain.training(t.context, t.edit, t.queries, t.seed, &|text| {
                self.model.tokens(text)
            })
        };
        let first = |t: &TrialSpec<D>| {
            whole(t).map(|mut training| {
                training.update.epochs = halves(training.update.epochs).0;
                training
            })
        };
        // Trains the first parts again whose adapters were lost in a crash.
        let lost = pack.iter().map(|t| {
            matches!(t.part, Part::Rest(None))
                .then(|| first(t))
                .flatten()
        });
        let found = self.train_some(lost.collect(), 0.0)?;
        let part = |(t, found): (&&TrialSpec<D>, Option<Trained>)| match &t.part {
            Part::Whole => whole(t),
            Part::First => first(t),
            Part::Rest(kept) => whole(t).map(|mut training| {
                training.update.epochs = halves(training.update.epochs).1;
                training.init = kept.clone().or(found.map(|f| f.adapter));
                training
            }),
        };
        Ok(pack.iter().zip(found).map(part).collect())
    }

    /// Trains the given trainings in one batch; the results are in the same places. `work`: the batch's work, in
    /// trials, for the progress.
    fn train_some(
        &self,
        trainings: Vec<Option<Training>>,
        work: f32,
    ) -> Result<Vec<Option<Trained>>, Interrupted> {
        let there: Vec<bool> = trainings.iter().map(Option::is_some).collect();
        let trainings: Vec<Training> = trainings.into_iter().flatten().collect();
        let mut trained = match trainings.is_empty() {
            true => Vec::new().into_iter(),
            false => self.train(trainings, work)?.into_iter(),
        };
        let each = there.into_iter();
        Ok(each
            .map(|there| there.then(|| trained.next()).flatten())
            .collect())
    }

    /// Trains all in one batch, with progress, heartbeats and the journal's stop. `work`: the batch's work, in trials.
    pub(super) fn train(
        &self,
        trainings: Vec<Training>,
        work: f32,
    ) -> Result<Vec<Trained>, Interrupted> {
        let journal = self.input.journal;
        journal.check()?;
        let count = trainings.len();
        let mut stop = Ok(());
        let trained = self.model.train(trainings, &mut |done, steps, loss| {
            let share = work * done as f32 / steps as f32;
            let message = format!("training {count}: step {done} of {steps}, loss {loss:.3}");
            self.meter.tell(journal, "training", share, &message);
            stop = journal.check().and_then(|()| self.beat());
            stop.is_ok()
        });
        stop?;
        Ok(trained?)
    }

    /// Calls `work` for 0 to `count`, `width` calls at a time, so that the engine batches their requests. The results
    /// are in order.
    pub(super) fn each<T: Send>(
        &self,
        count: usize,
        width: usize,
        work: impl Fn(Interruptible<'_>, usize) -> Result<T, Interrupted> + Sync,
    ) -> Result<Vec<T>, Interrupted> {
        let (journal, model) = (self.input.journal, self.model);
        journal.check()?;
        self.beat()?;
        let all = fan_out::each(count, width, |i| {
            let stop = || journal.check().is_err();
            work(Interruptible::new(model, &stop), i)
        });
        // If the journal stopped the work, its reason is the error, not the model's `Stopped`.
        if all.is_err() {
            journal.check()?;
        }
        all
    }
}

/// The numbers of epochs before and after the halving.
pub(super) fn halves(epochs: usize) -> (usize, usize) {
    let first = (epochs as f32 * FIRST_SHARE).ceil() as usize;
    let first = first.clamp(1, epochs.max(1));
    (first, epochs - first)
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn both_parts_together_are_all_epochs() {
        assert_eq!(halves(5), (2, 3));
        assert_eq!(halves(10), (4, 6));
        assert_eq!(halves(2), (1, 1));
        assert_eq!(halves(1), (1, 0));
    }
}
