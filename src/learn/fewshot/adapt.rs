//! One adaptation within its time budget, in six stages:
//!
//! 1. The model writes configurations.
//! 2. A few timed training steps measure the speed of this machine.
//! 3. A plan cuts the work to the time (`pacing.rs`).
//! 4. The configurations are compared on demonstrations that were held out of their training.
//! 5. The best configuration is trained on all demonstrations.
//! 6. The resulting adapter answers the test inputs.

use super::budget::{Budget, over};
use super::options::AdaptOptions;
use super::plan::Plan;
use super::predict::{Prediction, Question, predict};
use super::report::{AdaptReport, Origin, Score, Training, Tried};
use super::self_edit::{self, SelfEdit};
use super::task::{MOST_SEQUENCES, Task, TaskInput};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{
    self, Adapter, Limits, Model, ModelError, Trained, TrainingText, Update,
};
use crate::learn::ports::watch::Watch;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The input of an adaptation.
pub struct Adaptation<'a> {
    pub task: &'a Task,
    /// The caller's configuration. `None`: the policy writes configurations.
    pub given: Option<&'a SelfEdit>,
    /// The adapter that writes the configurations; `None`: the base.
    pub policy: Option<&'a Adapter>,
    /// The adapter that training continues; `None`: a new one.
    pub init: Option<&'a Adapter>,
    pub options: &'a AdaptOptions,
    /// Length of the context window, in tokens.
    pub window: usize,
}

pub struct AdaptOutcome {
    pub report: AdaptReport,
    pub adapter: Adapter,
}

/// Runs the whole adaptation. Fails as [`Interrupted`] when the journal says stop or the model fails.
pub fn adapt(
    model: &dyn Model,
    input: &Adaptation<'_>,
    journal: &dyn Journal,
) -> Result<AdaptOutcome, Interrupted> {
    let mut run = Run {
        model,
        input,
        journal,
        budget: Budget::new(input.options.seconds),
        seconds: BTreeMap::new(),
    };
    let (edits, origin) = run.configurations()?;
    let plan = run.plan(&edits)?;
    let (in_context, scores) = run.compare(&edits, &plan)?;
    let chosen = Score::best(&scores);
    let tried = edits.iter().enumerate().map(|(n, edit)| {
        let share = plan.candidates.get(n);
        Tried {
            self_edit: edit.clone(),
            origin,
            sequences: share.map_or(0, |s| s.sequences),
            epochs: share.map_or(0, |s| s.epochs),
            score: scores.get(n).copied(),
            chosen: n == chosen,
        }
    });
    let tried: Vec<Tried> = tried.collect();
    let (trained, training) = run.train(&edits[chosen], &plan, chosen)?;
    let predictions = run.answer(&edits[chosen], &plan, &trained.adapter)?;
    Ok(AdaptOutcome {
        report: AdaptReport {
            predictions,
            self_edit: edits[chosen].clone(),
            tried,
            in_context,
            training,
            seconds: run.seconds,
            cut_short: run.budget.cut,
        },
        adapter: trained.adapter,
    })
}

/// The share of the time budget for writing configurations. Configurations not written by then are not tried.
const WRITING: f32 = 0.2;

/// The share of the planned time of the final training and the predictions that comparing must leave.
const LEFT: f32 = 0.7;

pub(super) struct Run<'a> {
    model: &'a dyn Model,
    pub(super) input: &'a Adaptation<'a>,
    pub(super) journal: &'a dyn Journal,
    pub(super) budget: Budget,
    seconds: BTreeMap<String, f32>,
}

/// A demonstration held out of a candidate's training, with the question that the candidate is asked about it.
struct Fold {
    candidate: usize,
    held: usize,
    question: Question,
}

impl Run<'_> {
    /// The configurations to compare, the likeliest first.
    fn configurations(&mut self) -> Result<(Vec<SelfEdit>, Origin), Interrupted> {
        if let Some(edit) = self.input.given {
            return Ok((vec![edit.clone()], Origin::Given));
        }
        let clock = Instant::now();
        self.journal
            .progress("self_edit", 0.02, "writing configurations");
        let options = self.input.options;
        // A single demonstration cannot be held out, so configurations could not be compared.
        let candidates = match self.input.task.train_len() {
            1 => 1,
            _ => options.candidates,
        };
        let mut written = false;
        let edits: Vec<SelfEdit> = step(self.journal, "self_edits", || {
            written = true;
            let limit = Duration::from_secs_f32(options.seconds * WRITING);
            let late = || clock.elapsed() > limit || self.journal.check().is_err();
            let model = Interruptible::new(self.model, &late);
            let (task, policy) = (self.input.task, self.input.policy);
            let mut edits = Vec::new();
            let result = self_edit::write(
                model,
                policy,
                task,
                candidates,
                options.temperature,
                options.seed,
                &mut edits,
            );
            match result {
                // The time limit stopped the writing, unless the journal says that the job was stopped.
                Err(ModelError::Stopped) => self.journal.check()?,
                result => result?,
            }
            Ok(edits)
        })?;
        // The event is sent once, after the step is stored; a resumed job does not repeat it.
        if written {
            self.journal
                .event("self_edits", json!({"self_edits": edits}));
        }
        self.done("self_edit", clock);
        match edits.is_empty() {
            true => Ok((vec![self_edit::usual(self.input.task)], Origin::Default)),
            false => Ok((edits, Origin::Written)),
        }
    }

    /// Scores the configurations by cross-validation: each is trained without the held-out demonstration that it is
    /// then asked about. Also gives the score without training. Candidates with a stored score are not trained again.
    fn compare(
        &mut self,
        edits: &[SelfEdit],
        plan: &Plan,
    ) -> Result<(Option<Score>, Vec<Score>), Interrupted> {
        if plan.folds == 0 {
            return Ok((None, Vec::new()));
        }
        let clock = Instant::now();
        // Most of the time of the final training and of the answers is left to them.
        let (end, journal) = (self.budget.before_end(plan.seconds * LEFT), self.journal);
        let late = over(end, journal);
        let model = Interruptible::new(self.model, &late);
        let candidates = 0..plan.candidates.len();
        let in_context: Result<Score, Interrupted> = step(self.journal, "in_context", || {
            self.journal
                .progress("candidates", 0.15, "asking before training");
            let asked =
                (0..plan.folds).map(|held| (self.input.init, self.held(&edits[0], held, 0)));
            self.score(model, &asked.collect::<Vec<_>>())
        });
        let Some(in_context) = self.in_time("candidates", in_context)? else {
            return Ok((None, Vec::new()));
        };
        let mut scores: Vec<Option<Score>> = Vec::new();
        for n in candidates.clone() {
            let known = self.journal.recall(&key(n))?;
            scores.push(known.and_then(|value| serde_json::from_value(value).ok()));
        }
        let missing = candidates.filter(|n| scores[*n].is_none());
        let folds: Vec<Fold> = missing
            .flat_map(|n| (0..plan.folds).map(move |held| (n, held)))
            .map(|(n, held)| self.held(&edits[n], held, n))
            .collect();
        if !folds.is_empty() {
            let trainings = folds.iter().map(|fold| {
                let (edit, share) = (&edits[fold.candidate], plan.candidates[fold.candidate]);
                let texts = self.texts(edit, Some(fold.held), share.sequences, &late);
                (texts, self.update(edit, share.epochs))
            });
            let trained = self.train_all(trainings.collect(), [0.15, 0.5], end)?;
            if Instant::now() >= end {
                // What was trained on unlike parts of its texts cannot be compared.
                self.budget.cut.push("candidates".to_owned());
                return Ok((None, Vec::new()));
            }
            for n in 0..scores.len() {
                let of_n = folds.iter().zip(&trained).filter(|(f, _)| f.candidate == n);
                let asked: Vec<_> = of_n
                    .map(|(fold, t)| (Some(&t.adapter), self.held(&edits[n], fold.held, n)))
                    .collect();
                if asked.is_empty() {
                    continue;
                }
                let score = step(self.journal, &key(n), || self.score(model, &asked));
                let Some(score) = self.in_time("candidates", score)? else {
                    break;
                };
                self.journal.event(
                    "candidate",
                    json!({"candidate": n, "self_edit": edits[n], "score": score}),
                );
                scores[n] = Some(score);
            }
        }
        self.done("candidates", clock);
        let scores = scores.into_iter().map_while(|score| score);
        Ok((Some(in_context), scores.collect()))
    }

    /// The result of a stage; `None` if the budget ended it.
    fn in_time<T>(
        &mut self,
        stage: &str,
        result: Result<T, Interrupted>,
    ) -> Result<Option<T>, Interrupted> {
        self.budget.kept(stage, self.journal, result)
    }

    fn held(&self, edit: &SelfEdit, held: usize, candidate: usize) -> Fold {
        let Adaptation { task, window, .. } = *self.input;
        let questions = task.questions(
            TaskInput::HeldOut(held),
            edit,
            1,
            window,
            self.input.options.seed,
        );
        let question = questions.into_iter().next();
        Fold {
            candidate,
            held,
            question: question.expect("the plain view is always there"),
        }
    }

    /// Asks each adapter its held-out demonstration and scores the answers.
    fn score(
        &self,
        model: Interruptible<'_>,
        asked: &[(Option<&Adapter>, Fold)],
    ) -> Result<Score, Interrupted> {
        let task = self.input.task;
        let demonstrations = task.demonstrations();
        let mut score = Score {
            right: 0,
            of: asked.len(),
            logprob: 0.0,
        };
        for (adapter, fold) in asked {
            let question = vec![fold.question.clone()];
            let item = (
                fold.question.prompt.clone(),
                demonstrations[fold.held].assistant.clone(),
            );
            let said = predict(model, *adapter, &[question], task.longest_answer())?;
            let said = said[0].attempts.first();
            let gold = task.gold(fold.held);
            score.right += usize::from(said.is_some_and(|a| task.same(&a.output, &gold)));
            let likelihood = model.likelihood(&[item], *adapter)?;
            score.logprob += likelihood.iter().sum::<f32>() / asked.len() as f32;
        }
        Ok(score)
    }

    /// Trains the final adapter: the chosen configuration on all demonstrations, within the remaining time.
    fn train(
        &mut self,
        edit: &SelfEdit,
        plan: &Plan,
        chosen: usize,
    ) -> Result<(Trained, Training), Interrupted> {
        let clock = Instant::now();
        let left = self.budget.left();
        let (end, journal) = (self.budget.training_end(plan.asking), self.journal);
        let late = over(end, journal);
        let mut texts = self.texts(edit, None, MOST_SEQUENCES, &late);
        let share = plan.last(chosen, texts.len(), edit.training.num_train_epochs, left);
        texts.truncate(share.sequences);
        let sequences = texts.len();
        let update = self.update(edit, share.epochs);
        let trained = self.train_all(vec![(texts, update)], [0.5, 0.85], end)?;
        let trained = trained.into_iter().next();
        let trained = trained.expect("one adapter for one training");
        if Instant::now() >= end {
            self.budget.cut.push("training".to_owned());
        }
        self.done("training", clock);
        let loss = |loss: Option<&f32>| loss.copied().unwrap_or(0.0);
        let training = Training {
            sequences,
            epochs: share.epochs,
            tokens: trained.tokens,
            steps: trained.losses.len(),
            first_loss: loss(trained.losses.first()),
            last_loss: loss(trained.losses.last()),
        };
        self.journal.event("trained", json!(training));
        Ok((trained, training))
    }

    fn answer(
        &mut self,
        edit: &SelfEdit,
        plan: &Plan,
        adapter: &Adapter,
    ) -> Result<Vec<Prediction>, Interrupted> {
        let clock = Instant::now();
        self.journal.progress("predictions", 0.87, "answering");
        let (end, journal) = (self.budget.answering_end(), self.journal);
        let late = over(end, journal);
        let model = Interruptible::new(self.model, &late);
        let predictions = step(journal, "predictions", || {
            let questions = self.questions(edit, plan.views, &|| journal.check().is_err());
            journal.check()?;
            let longest = self.input.task.longest_answer();
            Ok(predict(model, Some(adapter), &questions, longest)?)
        });
        let predictions = self.in_time("predictions", predictions)?;
        let predictions =
            predictions.unwrap_or_else(|| vec![Prediction::none(); self.input.task.test_len()]);
        self.done("predictions", clock);
        Ok(predictions)
    }

    /// The questions of every test input, at most `views` each: `[test input][view]`. When `watch` wants it stopped, only those
    /// written so far, at least of one input.
    pub(super) fn questions(
        &self,
        edit: &SelfEdit,
        views: usize,
        watch: &dyn Watch,
    ) -> Vec<Vec<Question>> {
        let Adaptation { task, window, .. } = *self.input;
        let seed = self.input.options.seed;
        let inputs = (0..task.test_len()).take_while(|n| *n == 0 || !watch.stopped());
        inputs
            .map(|n| task.questions(TaskInput::Test(n), edit, views, window, seed))
            .collect()
    }

    /// The training sequences, at least one whatever `watch` says.
    pub(super) fn texts(
        &self,
        edit: &SelfEdit,
        held: Option<usize>,
        most: usize,
        watch: &dyn Watch,
    ) -> Vec<TrainingText> {
        let Adaptation { task, window, .. } = *self.input;
        let seed = self.input.options.seed;
        let texts = task.training_until(edit, held, most, window, seed, watch);
        match texts.is_empty() {
            // The task fits the window in tokens, even though not in bytes.
            true => task.training_until(edit, held, most, usize::MAX, seed, watch),
            false => texts,
        }
    }

    pub(super) fn update(&self, edit: &SelfEdit, epochs: usize) -> Update {
        let options = self.input.options;
        // A continued adapter keeps its rank and alpha.
        let shape = self.input.init.map(|adapter| &adapter.0.config);
        Update {
            rank: shape.map_or(options.rank, |s| s.rank),
            alpha: shape.map_or(options.alpha, |s| s.alpha),
            learning_rate: edit.training.learning_rate,
            epochs,
            batch_size: 1,
            seed: options.seed,
            upper_layers: None,
            kept_ranks: 0,
            early_stop: None,
            lora_plus: 1.0,
        }
    }

    /// Trains adapters in one batch, until `end` at the latest: they are then what the finished steps made. The job's
    /// progress goes over `span`, inside 0 to 1.
    pub(super) fn train_all(
        &self,
        trainings: Vec<(Vec<TrainingText>, Update)>,
        span: [f32; 2],
        end: Instant,
    ) -> Result<Vec<Trained>, Interrupted> {
        self.journal.check()?;
        let trainings = trainings
            .into_iter()
            .map(|(texts, update)| model::Training {
                texts,
                update,
                init: self.input.init.cloned(),
            });
        let journal = self.journal;
        let mut on_step = |done: usize, steps: usize, loss: f32| {
            let fraction = span[0] + (span[1] - span[0]) * done as f32 / steps as f32;
            let message = format!("step {done} of {steps}, loss {loss:.3}");
            journal.progress("training", fraction, &message);
            journal.check().is_ok()
        };
        let limits = Limits {
            watch: &|| journal.check().is_err(),
            deadline: Some(end),
        };
        let trained = (self.model).train_within(trainings.collect(), &mut on_step, &limits);
        // Says why it was stopped.
        if matches!(trained, Err(ModelError::Stopped)) {
            journal.check()?;
        }
        Ok(trained?)
    }

    pub(super) fn done(&mut self, stage: &str, clock: Instant) {
        self.seconds
            .insert(stage.to_owned(), clock.elapsed().as_secs_f32());
    }
}

/// The key of the step that stores a candidate's score.
fn key(candidate: usize) -> String {
    format!("candidate {candidate}")
}
