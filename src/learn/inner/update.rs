//! One document becomes an adapter (SEAL's inner loop, with a gate): the model writes its notes, the
//! probes are fixed, asked, the adapter is trained, and the probes are asked again.

use super::asking::Asking;
use super::distill;
use super::gate::{Evidence, Verdict, judge};
use super::input::UpdateInput;
use super::renewal::Usable;
use super::replay::{self, Earlier};
use super::report::{Attempt, Decision, GeneralProbe, Report, RetainedProbe};
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::closed_book::{Answer, accuracy};
use crate::learn::knowledge::sequences::in_two_wordings;
use crate::learn::options::gate::GateMode;
use crate::learn::options::strategy::{Method, Strategy};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{
    Adapter, Model, SoftTargets, Trained, Training, TrainingText, Update,
};
use crate::learn::ports::watch::{Meter, Tokens, Watch};
use serde_json::json;
use std::time::Instant;

/// Most adapters of an alias that routes. A further document is trained into the adapter of the document most
/// like it, so that the cost of an alias is bounded, however many documents it learns.
pub const MAX_ROUTES: usize = 32;

/// Most ranks of an adapter under `orthogonal`. Beyond them the ranks of earlier documents are compressed, so
/// that the cost of an alias is bounded.
pub const MOST_RANKS: usize = 128;

/// The share of the change that is tried where an adapter forgot too much, before it is trained anew.
const GENTLER_SCALE: f32 = 0.5;

/// The report, and the adapter if the gate accepted it.
pub struct UpdateOutcome {
    pub report: Report,
    pub adapter: Option<Adapter>,
}

/// Learns one document (SEAL §3, with a gate). Finished steps are recalled from the journal. Fails as
/// [`Interrupted`] when the journal says stop or the model fails.
pub fn learn(
    model: &dyn Model,
    input: &UpdateInput<'_>,
    journal: &dyn Journal,
) -> Result<UpdateOutcome, Interrupted> {
    let work = Work {
        journal,
        meter: Meter::default(),
    };
    let mut run = Run {
        model: Interruptible::new(model, &work),
        meter: &work.meter,
        input,
        journal,
        parts: (input.cut)(input.passage),
        report: Report::default(),
    };
    run.list_parts();
    run.write_notes()?;
    run.review_replaced()?;
    run.fix_probes()?;
    run.report.continued = run.continues();
    run.ask_before()?;
    run.train_until_accepted()
}

/// The watch over an update's calls of the model.
struct Work<'a> {
    journal: &'a dyn Journal,
    meter: Meter,
}

impl Watch for Work<'_> {
    fn stopped(&self) -> bool {
        self.journal.check().is_err()
    }

    fn spent(&self, tokens: Tokens) {
        self.meter.add(tokens);
    }
}

pub(super) struct Run<'a> {
    pub(super) model: Interruptible<'a>,
    /// The tokens of the stage under way.
    meter: &'a Meter,
    pub(super) input: &'a UpdateInput<'a>,
    pub(super) journal: &'a dyn Journal,
    /// The parts that the passage is learned in; the passage itself where it is short.
    pub(super) parts: Vec<Passage>,
    pub(super) report: Report,
}

impl Run<'_> {
    fn ask_before(&mut self) -> Result<(), Interrupted> {
        let clock = Instant::now();
        self.journal
            .progress("before", 0.35, "asking before learning");
        let asking = self.asking();
        let answers: Vec<Answer> = step(self.journal, "before_own", || asking.own(None))?;
        let retained: Vec<Answer> =
            step(self.journal, "before_in_danger", || asking.earlier(None))?;
        let general: Vec<Answer> = step(self.journal, "before_general", || asking.base_general())?;
        let (earlier, questions) = (asking.earlier_probes, asking.general_questions);
        self.tell_score("before", &answers);
        self.report.score_before = Some(accuracy(&answers));
        for (probe, answer) in self.report.probes.iter_mut().zip(answers) {
            probe.before = Some(answer);
        }
        let retained = earlier.into_iter().zip(retained);
        let retained =
            retained.map(|((title, probe), before)| RetainedProbe::asked(title, probe, before));
        self.report.retained = retained.collect();
        let general = questions.into_iter().zip(general);
        let general = general.map(|(q, before)| GeneralProbe {
            question: q.question,
            answer: q.answer,
            before,
            after: None,
        });
        self.report.general = general.collect();
        self.report.retention = self.report.retention();
        self.done("before", clock);
        Ok(())
    }

    fn train_until_accepted(mut self) -> Result<UpdateOutcome, Interrupted> {
        let options = self.input.options;
        if options.gate.mode != GateMode::Off && self.report.probes.is_empty() {
            let reason = "no question about the document could be written that the model answers \
                          right with the document in sight and wrong without it, so nothing can be \
                          proven; send questions with the document, or set gate.mode to \"off\"";
            return Ok(self.decide(None, false, reason.to_owned()));
        }
        let training = &options.training;
        let init = self.initial_adapter()?;
        // A training that continues an adapter keeps the adapter's shape.
        let shape = init.as_ref().map(|adapter| &adapter.0.config);
        let mut update = Update {
            rank: shape.map_or(training.rank, |s| s.rank),
            alpha: shape.map_or(training.alpha, |s| s.alpha),
            kept_ranks: match (training.strategy, shape) {
                (Strategy::Orthogonal, Some(shape)) => shape.rank - training.rank,
                _ => 0,
            },
            ..options.update(
                in_two_wordings(&self.report.training_sequences),
                options.seed,
            )
        };
        let mut replay = match training.strategy.replays() {
            true => training.replay,
            false => 0.0,
        };
        let mut gentler = false;
        let mut usable: Option<Usable> = None;
        for nth in 1.. {
            let last = nth == options.gate.attempts;
            let trained = self.train(&update, replay, init.as_ref())?;
            let (whole, mut reason) = match self.examine(&trained, &update, None)? {
                Verdict::Accept(reason) => match self.shortfall().filter(|_| !last) {
                    None => return Ok(self.decide(Some(trained.adapter), gentler, reason)),
                    Some(more) => {
                        usable = Some(Usable {
                            report: self.report.clone(),
                            adapter: trained.adapter.clone(),
                            gentler,
                            reason,
                        });
                        (Verdict::Weak(String::new()), more)
                    }
                },
                Verdict::Weak(reason) => (Verdict::Weak(String::new()), reason),
                Verdict::Forgot(reason) => (Verdict::Forgot(String::new()), reason),
            };
            let forgot = matches!(whole, Verdict::Forgot(_));
            if forgot {
                // A part of the change may be within the budgets, and costs no training.
                gentler = true;
                let part = trained.partly(init.as_ref(), GENTLER_SCALE)?;
                match self.examine(&part, &update, Some(GENTLER_SCALE))? {
                    Verdict::Accept(reason) => {
                        return Ok(self.decide(Some(part.adapter), gentler, reason));
                    }
                    other => reason = format!("{reason}. Half of the change: {}", other.reason()),
                }
            }
            if last {
                if let Some(usable) = usable {
                    return Ok(self.settle(usable));
                }
                let reason = format!("refused after {nth} attempts: {reason}");
                return Ok(self.decide(None, gentler, reason));
            }
            if forgot {
                update.learning_rate *= 0.5;
                if training.strategy.replays() {
                    replay = (replay * 2.0).max(1.0);
                }
            } else {
                update.epochs = (update.epochs * 3).div_ceil(2);
            }
            update.seed = update.seed.wrapping_add(1);
        }
        unreachable!("the last attempt returns")
    }

    /// The version whose adapter is trained further; `None`: training starts from a fresh adapter.
    fn continues(&self) -> Option<u64> {
        let UpdateInput { live, options, .. } = self.input;
        if options.training.strategy != Strategy::Route {
            return live.map(|l| l.version);
        }
        let responders = self.input.staying_responders();
        if responders.versions().len() < MAX_ROUTES {
            return None;
        }
        let nearest = self.asking().most_like();
        nearest.and_then(|place| responders.documents()[place].version())
    }

    /// The adapter that training starts from; `None`: a fresh adapter.
    fn initial_adapter(&self) -> Result<Option<Adapter>, Interrupted> {
        let UpdateInput { live, options, .. } = self.input;
        let training = &options.training;
        if training.strategy == Strategy::Route {
            return self
                .report
                .continued
                .map(|v| (self.input.load)(v))
                .transpose();
        }
        Ok(live.map(|live| match training.strategy {
            Strategy::Orthogonal => {
                // Each version draws other directions: the same ones would not be orthogonal to the earlier ranks.
                let seed = options
                    .seed
                    .wrapping_add(live.version.wrapping_mul(1_000_003));
                live.adapter.with_room(training.rank, MOST_RANKS, seed)
            }
            _ => live.adapter.clone(),
        }))
    }

    /// One training, from where it begins.
    fn train(
        &mut self,
        update: &Update,
        replay: f32,
        init: Option<&Adapter>,
    ) -> Result<Trained, Interrupted> {
        self.journal.check()?;
        let clock = Instant::now();
        let UpdateInput {
            passage, options, ..
        } = self.input;
        let nth = self.report.trainings() + 1;
        let mut texts: Vec<TrainingText> = self.report.training_sequences.clone();
        let (method, strategy) = (options.training.method, options.training.strategy);
        let replay = match method {
            Method::Text => replay,
            Method::Distill => 0.0,
        };
        let wanted = (replay * texts.len() as f32).round() as usize;
        let replayed = replay::sequences(self.replayable(), wanted);
        self.report.replayed_sequences = replayed.len();
        texts.extend(replayed);
        let training = Training {
            texts,
            update: update.clone(),
            init: init.cloned(),
        };
        let journal = self.journal;
        let mut stop = Ok(());
        let mut on_step = |done: usize, steps: usize, loss: f32| {
            let share = done as f32 / steps as f32;
            let message = format!("step {done} of {steps}, loss {loss:.3}");
            journal.progress("training", 0.4 + 0.45 * share, &message);
            journal.event(
                "train",
                json!({"attempt": nth, "step": done, "steps": steps, "loss": loss}),
            );
            stop = journal.check();
            stop.is_ok()
        };
        let model = self.model;
        let trained = match (method, strategy) {
            (Method::Distill, _) => distill::train(model, passage, training, &mut on_step),
            (Method::Text, Strategy::Kl) => {
                let targets = SoftTargets::PreviousModel {
                    adapter: init.cloned(),
                    share: options.training.stay,
                };
                let trained = model.train_on_soft_targets(training, &targets, &mut on_step);
                trained.map_err(Interrupted::from)
            }
            (Method::Text, _) => {
                let trained = model.train(vec![training], &mut on_step);
                let one = |mut all: Vec<Trained>| all.pop().expect("one adapter for one training");
                trained.map(one).map_err(Interrupted::from)
            }
        };
        stop?;
        let trained = trained?;
        self.done("training", clock);
        Ok(trained)
    }

    /// The documents that the trained adapter learned before, which it may now forget.
    fn replayable(&self) -> Vec<&Earlier> {
        let staying = self.input.staying();
        if self.input.options.training.strategy != Strategy::Route {
            return staying;
        }
        let Some(continued) = self.report.continued else {
            return Vec::new();
        };
        let responders = self.input.staying_responders();
        let documents = staying.into_iter().zip(responders.documents());
        let in_it = documents.filter(|(_, responder)| responder.version() == Some(continued));
        in_it.map(|(document, _)| document).collect()
    }

    /// The questions asked of a training's result, and what the gate says of the answers.
    fn examine(
        &mut self,
        trained: &Trained,
        update: &Update,
        scale: Option<f32>,
    ) -> Result<Verdict, Interrupted> {
        let clock = Instant::now();
        self.journal
            .progress("after", 0.87, "asking after learning");
        let asking = self.asking();
        let after = asking.own(Some(&trained.adapter))?;
        let earlier = asking.earlier(Some(&trained.adapter))?;
        let general = asking.general(&trained.adapter)?;
        let still = asking.retired(&trained.adapter)?;
        self.tell_score("after", &after);
        if let Some(replaced) = &mut self.report.replaced {
            replaced.still_answered = Some(still.into_iter().filter(|right| *right).count());
        }
        self.report.answered(&after, earlier, general);
        let probes = self.report.probes.iter();
        let before: Vec<Answer> = probes.filter_map(|p| p.before.clone()).collect();
        let fallen = self.report.fallen();
        let retention = self.report.retention();
        let general = self.report.general_retention();
        let evidence = Evidence {
            before: &before,
            after: &after,
            retention,
            general,
            replacing: self.input.replaces.is_some(),
            fallen: &fallen,
        };
        let verdict = judge(evidence, &self.input.options.gate);
        let attempt = Attempt {
            update: update.clone(),
            replayed_sequences: self.report.replayed_sequences,
            losses: trained.losses.clone(),
            tokens: trained.tokens,
            asking_seconds: clock.elapsed().as_secs_f32(),
            score: accuracy(&after),
            retention,
            general,
            answers: after,
            fallen,
            scale,
            accepted: matches!(verdict, Verdict::Accept(_)),
            reason: verdict.reason().to_owned(),
        };
        self.report.attempts.push(attempt);
        self.done("after", clock);
        Ok(verdict)
    }

    pub(super) fn decide(
        mut self,
        adapter: Option<Adapter>,
        gentler: bool,
        reason: String,
    ) -> UpdateOutcome {
        self.report.decision = Some(Decision {
            accepted: adapter.is_some(),
            gentler: gentler && adapter.is_some(),
            reason,
            version: None,
        });
        (self.input.on_report)(&self.report);
        UpdateOutcome {
            report: self.report,
            adapter,
        }
    }

    pub(super) fn asking(&self) -> Asking<'_> {
        Asking::new(self.model, self.input, &self.report)
    }

    fn tell_score(&self, when: &str, answers: &[Answer]) {
        let rows = self.report.probes.iter().zip(answers).map(|(p, a)| {
            json!({"question": p.question, "answer": p.answer, "got": a.answer, "correct": a.correct})
        });
        let rows = rows.collect::<Vec<_>>();
        let score = accuracy(answers);
        self.journal.event(
            "score",
            json!({"when": when, "score": score, "probes": rows}),
        );
    }

    pub(super) fn done(&mut self, stage: &str, clock: Instant) {
        *self.report.seconds.entry(stage.to_owned()).or_default() += clock.elapsed().as_secs_f32();
        *self.report.tokens.entry(stage.to_owned()).or_default() += self.meter.take();
        (self.input.on_report)(&self.report);
    }
}
