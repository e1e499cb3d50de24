//! One document becomes an adapter (SEAL's inner loop, with a gate): the model writes its notes, the
//! probes are fixed, asked, the adapter is trained, and the probes are asked again.

use super::gate::{Evidence, Verdict, judge};
use super::journal::{Journal, Stop, step};
use super::knowledge::closed_book::{Answer, accuracy, answer_all, ask, closed_book};
use super::knowledge::self_edit::SelfEdit;
use super::knowledge::sequences::training_texts;
use super::knowledge::{Passage, Question, questions, self_edit};
use super::model::{Adapter, Interruptible, Model, Prompt, Training, TrainingText, Update};
use super::options::IngestOptions;
use super::replay::{self, Earlier};
use super::report::{Attempt, Decision, Origin, ProbeReport, Report, Retention};
use super::text_model::Helpers;
use serde_json::json;
use std::time::Instant;

/// What an update starts from.
pub struct Start<'a> {
    pub passage: &'a Passage,
    /// The caller's questions; where there are none the model writes its own.
    pub given: &'a [Question],
    /// The live version; the new one continues it.
    pub live: Option<&'a Adapter>,
    /// Documents the live version has learned, oldest first.
    pub earlier: &'a [Earlier],
    pub options: &'a IngestOptions,
    /// The teacher and the judge, where the options ask for them.
    pub helpers: &'a Helpers,
}

/// The adapter, where the gate let it through; the report either way.
pub struct Outcome {
    pub report: Report,
    pub adapter: Option<Adapter>,
}

pub fn learn(model: &dyn Model, start: &Start<'_>, journal: &dyn Journal) -> Result<Outcome, Stop> {
    let stop = || journal.check().is_err();
    let mut run = Run {
        model: Interruptible::new(model, &stop).helped_by(start.helpers),
        start,
        journal,
        report: Report::default(),
    };
    run.write_notes()?;
    run.fix_probes()?;
    run.ask_before()?;
    run.train_until_accepted()
}

struct Run<'a> {
    model: Interruptible<'a>,
    start: &'a Start<'a>,
    journal: &'a dyn Journal,
    report: Report,
}

impl Run<'_> {
    /// The self-edit, and the sequences cut from it.
    fn write_notes(&mut self) -> Result<(), Stop> {
        let clock = Instant::now();
        let Start {
            passage, options, ..
        } = self.start;
        self.journal
            .progress("self_edit", 0.02, "writing study notes");
        let edits: Vec<SelfEdit> = step(self.journal, "self_edits", || {
            let (edit, seed) = (&options.self_edit, options.seed);
            Ok(self_edit::write(self.model, None, passage, edit, seed)?)
        })?;
        self.report.training_sequences = training_texts(passage, &edits);
        for edit in &edits {
            self.journal.event(
                "self_edit",
                json!({"kind": edit.kind, "teacher": edit.teacher, "text": edit.text,
                       "sequences": edit.statements.len() + edit.pairs.len()}),
            );
        }
        self.report.self_edits = edits;
        self.done("self_edit", clock);
        Ok(())
    }

    /// The questions this update is judged by, fixed before anything is trained.
    fn fix_probes(&mut self) -> Result<(), Stop> {
        let clock = Instant::now();
        let Start {
            passage, options, ..
        } = self.start;
        self.journal.progress("probes", 0.2, "fixing the questions");
        let origin = match self.start.given {
            [] => Origin::Written,
            _ => Origin::Given,
        };
        let written: questions::Written =
            step(self.journal, "probes", || match self.start.given {
                [] => Ok(questions::write(
                    self.model,
                    self.start.live,
                    passage,
                    &self.report.training_sequences,
                    options.gate.probes,
                    options.gate.grader,
                    options.seed.wrapping_add(1),
                )?),
                given => Ok(questions::Written {
                    kept: given.to_vec(),
                    dropped: Vec::new(),
                }),
            })?;
        self.journal.event(
            "probes",
            json!({"kept": written.kept, "dropped": written.dropped.len()}),
        );
        let probes = written.kept.into_iter().map(|q| ProbeReport {
            question: q.question,
            answer: q.answer,
            origin,
            before: None,
            after: None,
        });
        self.report.probes = probes.collect();
        self.report.dropped_probes = written.dropped;
        self.done("probes", clock);
        Ok(())
    }

    fn ask_before(&mut self) -> Result<(), Stop> {
        let clock = Instant::now();
        self.journal
            .progress("before", 0.35, "asking before learning");
        let (answers, retained): (Vec<Answer>, Vec<Answer>) = step(self.journal, "before", || {
            Ok((
                self.ask_new(self.start.live)?,
                self.ask_earlier(self.start.live)?,
            ))
        })?;
        self.tell_score("before", &answers);
        self.report.score_before = Some(accuracy(&answers));
        self.report.retention = (!retained.is_empty()).then(|| Retention {
            probes: retained.len(),
            before: accuracy(&retained),
            after: accuracy(&retained),
        });
        for (probe, answer) in self.report.probes.iter_mut().zip(answers) {
            probe.before = Some(answer);
        }
        self.done("before", clock);
        Ok(())
    }

    fn train_until_accepted(mut self) -> Result<Outcome, Stop> {
        let options = self.start.options;
        if options.gate.mode != super::options::GateMode::Off && self.report.probes.is_empty() {
            let reason = "no question about the document could be written that the model answers \
                          right with the document in sight and wrong without it, so nothing can be \
                          proven; send questions with the document, or set gate.mode to \"off\"";
            return Ok(self.decide(None, reason.to_owned()));
        }
        let training = &options.training;
        // What continues an adapter keeps its shape.
        let shape = self.start.live.map(|live| &live.0.config);
        let mut update = Update {
            rank: shape.map_or(training.rank, |s| s.rank),
            alpha: shape.map_or(training.alpha, |s| s.alpha),
            learning_rate: training.learning_rate,
            epochs: training.epochs,
            batch_size: training.batch_size,
            seed: options.seed,
        };
        let mut replay = training.replay;
        loop {
            let nth = self.report.attempts.len();
            let (adapter, verdict) = self.attempt(&update, replay)?;
            let reason = verdict.reason().to_owned();
            match verdict {
                Verdict::Accept(_) => return Ok(self.decide(Some(adapter), reason)),
                _ if nth + 1 == options.gate.attempts => {
                    return Ok(self.decide(
                        None,
                        format!("refused after {} attempts: {reason}", nth + 1),
                    ));
                }
                Verdict::Weak(_) => update.epochs = (update.epochs * 3).div_ceil(2),
                Verdict::Forgot(_) => {
                    update.learning_rate *= 0.5;
                    replay = (replay * 2.0).max(1.0);
                }
            }
            update.seed = update.seed.wrapping_add(1);
        }
    }

    /// One training from the live version, and the questions asked of its result.
    fn attempt(&mut self, update: &Update, replay: f32) -> Result<(Adapter, Verdict), Stop> {
        self.journal.check()?;
        let clock = Instant::now();
        let nth = self.report.attempts.len();
        let mut texts: Vec<TrainingText> = self.report.training_sequences.clone();
        let wanted = (replay * texts.len() as f32).round() as usize;
        let replayed = replay::sequences(self.start.earlier, wanted);
        let replayed_sequences = replayed.len();
        texts.extend(replayed);
        let training = Training {
            texts,
            update: update.clone(),
            init: self.start.live.cloned(),
        };
        let journal = self.journal;
        let mut stop = Ok(());
        let trained = self.model.train(vec![training], &mut |done, steps, loss| {
            let share = done as f32 / steps as f32;
            let message = format!("step {done} of {steps}, loss {loss:.3}");
            journal.progress("training", 0.4 + 0.45 * share, &message);
            journal.event(
                "train",
                json!({"attempt": nth + 1, "step": done, "steps": steps, "loss": loss}),
            );
            stop = journal.check();
            stop.is_ok()
        });
        stop?;
        let trained = trained?.pop().expect("one adapter for one training");

        self.journal
            .progress("after", 0.87, "asking after learning");
        let after = self.ask_new(Some(&trained.adapter))?;
        let retained = self.ask_earlier(Some(&trained.adapter))?;
        let retention = self.report.retention.map(|r| Retention {
            after: accuracy(&retained),
            ..r
        });
        let before: Vec<Answer> = self
            .report
            .probes
            .iter()
            .filter_map(|p| p.before.clone())
            .collect();
        let evidence = Evidence {
            before: &before,
            after: &after,
            retention,
        };
        let verdict = judge(evidence, &self.start.options.gate);
        self.tell_score("after", &after);
        self.report.attempts.push(Attempt {
            update: update.clone(),
            replayed_sequences,
            losses: trained.losses,
            tokens: trained.tokens,
            seconds: clock.elapsed().as_secs_f32(),
            score: accuracy(&after),
            answers: after.clone(),
            retention,
            accepted: matches!(verdict, Verdict::Accept(_)),
            reason: verdict.reason().to_owned(),
        });
        self.report.replayed_sequences = replayed_sequences;
        self.report.score_after = Some(accuracy(&after));
        self.report.retention = retention;
        for (probe, answer) in self.report.probes.iter_mut().zip(after) {
            probe.after = Some(answer);
        }
        self.done("training", clock);
        Ok((trained.adapter, verdict))
    }

    fn decide(mut self, adapter: Option<Adapter>, reason: String) -> Outcome {
        self.report.decision = Some(Decision {
            accepted: adapter.is_some(),
            reason,
            version: None,
        });
        self.journal.report(&self.report);
        Outcome {
            report: self.report,
            adapter,
        }
    }

    fn ask_new(&self, adapter: Option<&Adapter>) -> Result<Vec<Answer>, Stop> {
        let questions: Vec<Question> = self.report.probes.iter().map(question_of).collect();
        let items = closed_book(&self.start.passage.title, &questions);
        let grader = self.start.options.gate.grader;
        Ok(answer_all(self.model, adapter, &items, grader)?)
    }

    fn ask_earlier(&self, adapter: Option<&Adapter>) -> Result<Vec<Answer>, Stop> {
        let items: Vec<(Prompt, String)> = replay::probes(self.start.earlier)
            .into_iter()
            .map(|(title, q)| (ask(&title, &q.question), q.answer))
            .collect();
        let grader = self.start.options.gate.grader;
        Ok(answer_all(self.model, adapter, &items, grader)?)
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

    fn done(&mut self, stage: &str, clock: Instant) {
        *self.report.seconds.entry(stage.to_owned()).or_default() += clock.elapsed().as_secs_f32();
        self.journal.report(&self.report);
    }
}

fn question_of(probe: &ProbeReport) -> Question {
    Question {
        question: probe.question.clone(),
        answer: probe.answer.clone(),
    }
}
