//! The paper's single-passage table (SEAL §4.2). Each passage is learned in several ways: not at all, from the passage
//! alone, and from the passage with self-edits. Each time a new adapter on the base learns one passage and is then
//! asked closed book.

use crate::learn::fan_out;
use crate::learn::knowledge::author::Author;
use crate::learn::knowledge::closed_book::{Answer, answer_all, ask_open_book, closed_book};
use crate::learn::knowledge::datasets;
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::knowledge::sequences::{in_two_wordings, training_texts};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::self_edit::{SelfEditKind, SelfEditOptions};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, recalled, step};
use crate::learn::ports::model::{Adapter, Model, Training, TrainingText};
use crate::learn::stats::{Estimate, estimate};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A passage with its held-out questions.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalPassage {
    pub passage: Passage,
    pub questions: Vec<Question>,
    /// A stronger model's self-edits, if there are any.
    pub teacher: Vec<SelfEdit>,
}

impl EvalPassage {
    /// The teacher's self-edits in the form of passages, for `datasets::digest`. The titles contain the kind, since the
    /// kind decides how the same text is trained on.
    pub fn taught(&self) -> Vec<Passage> {
        let passage = |edit: &SelfEdit| Passage {
            title: format!("{} ({})", self.passage.title, edit.kind.name()),
            text: edit.text.clone(),
        };
        self.teacher.iter().map(passage).collect()
    }

    /// The digest of the arm's texts and questions for this passage. It does not depend on the list of passages.
    fn digest(&self, arm: Arm) -> String {
        let taught = match arm {
            Arm::Teacher => self.taught(),
            _ => Vec::new(),
        };
        let own = [(&self.passage, self.questions.as_slice())].into_iter();
        datasets::digest(own.chain(taught.iter().map(|t| (t, [].as_slice()))))
    }
}

/// One way of learning a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Nothing is learned.
    Base,
    /// Nothing is learned, but the passage is in the prompt: the upper bound.
    OpenBook,
    /// The passage, with self-edits of this kind (`None`: the passage alone).
    Learn(SelfEditKind),
    /// The passage, with the teacher's self-edits.
    Teacher,
}

impl Arm {
    /// The default rows of the table.
    pub const ALL: [Arm; 7] = [
        Arm::Base,
        Arm::Learn(SelfEditKind::None),
        Arm::Learn(SelfEditKind::Rewrite),
        Arm::Learn(SelfEditKind::Implications),
        Arm::Learn(SelfEditKind::SelfQa),
        Arm::Teacher,
        Arm::OpenBook,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Arm::Base => "base",
            Arm::OpenBook => "open-book",
            Arm::Learn(SelfEditKind::None) => "passage",
            Arm::Learn(kind) => kind.name(),
            Arm::Teacher => "teacher",
        }
    }

    pub fn from_name(name: &str) -> Option<Arm> {
        Arm::all().find(|a| a.name() == name)
    }

    /// The default rows, then the rows that the table has on request only.
    pub fn all() -> impl Iterator<Item = Arm> {
        let learned = SelfEditKind::ALL.into_iter().map(Arm::Learn);
        let others = learned.filter(|a| !Arm::ALL.contains(a));
        Arm::ALL.into_iter().chain(others)
    }
}

/// A row to measure.
pub struct ArmSpec<'a> {
    /// The row's name, under which its steps are stored.
    pub name: String,
    pub arm: Arm,
    /// The policies that write the self-edits, one per practice. If empty, the base writes them.
    pub policies: &'a [Option<Adapter>],
}

impl ArmSpec<'_> {
    /// The policy for this seed: that of practice `seed` modulo the number of practices. Further seeds do not change
    /// it.
    fn policy(&self, seed: u64) -> Option<&Adapter> {
        let of = self.policies.len().max(1) as u64;
        self.policies.get((seed % of) as usize)?.as_ref()
    }
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct KnowledgeRow {
    pub arm: String,
    pub accuracy: Estimate,
    /// Mean log-likelihood of the gold answers, nats a token.
    pub logprob: f32,
    /// Mean wall-clock seconds of a passage: writing, training and asking.
    pub seconds_per_passage: f32,
    pub tokens_per_passage: f32,
    pub seeds: usize,
    /// The sampling temperature of the notes.
    pub temperature: f32,
    /// The difference to an earlier row, question by question; the interval comes from resampling passages.
    pub difference: Option<Difference>,
    /// The training sequences of each run: passage by passage, seed by seed.
    pub texts: Vec<Vec<TrainingText>>,
    pub answers: Vec<AnswerRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub from: String,
    pub accuracy: Estimate,
}

#[derive(Debug, Clone, Serialize)]
pub struct AnswerRecord {
    /// The index of the passage in the list.
    pub passage: usize,
    pub title: String,
    pub question: String,
    pub gold: String,
    pub answer: String,
    pub correct: bool,
    pub seed: u64,
}

/// The results of learning one passage from one seed.
#[derive(Default, Serialize, Deserialize)]
struct Learned {
    answers: Vec<Answer>,
    texts: Vec<TrainingText>,
    /// Tokens trained on, over all epochs.
    tokens: usize,
    /// An equal share of its pack's seconds.
    seconds: f32,
}

/// Passages learned in one batch.
const PACK: usize = 4;

/// Measures one row over all cases and seeds. Measurements that the journal has stored are not repeated.
pub fn run(
    model: &dyn Model,
    cases: &[EvalPassage],
    spec: &ArmSpec<'_>,
    options: &IngestOptions,
    seeds: &[u64],
    journal: &dyn Journal,
) -> Result<KnowledgeRow, Interrupted> {
    let runs: Vec<Place> = cases
        .iter()
        .flat_map(|case| {
            let named = case.digest(spec.arm);
            seeds.iter().map(move |&seed| Place {
                key: format!("{}:{named}:seed:{seed}", spec.name),
                case,
                seed,
            })
        })
        .collect();
    let known = runs.iter().map(|p| recalled(journal, &p.key));
    let mut learned: Vec<Option<Learned>> = known.collect::<Result<_, _>>()?;
    let missing: Vec<usize> = (0..runs.len()).filter(|&i| learned[i].is_none()).collect();
    let mut done = runs.len() - missing.len();
    for pack in missing.chunks(PACK) {
        let share = done as f32 / runs.len() as f32;
        let message = format!("{done} of {}", runs.len());
        journal.progress(&spec.name, share, &message);
        let places: Vec<&Place<'_>> = pack.iter().map(|&i| &runs[i]).collect();
        let measured = run_pack(model, &places, spec, options, journal)?;
        for (&i, measured) in pack.iter().zip(measured) {
            learned[i] = Some(measured);
        }
        done += pack.len();
    }
    Ok(row(
        cases,
        spec,
        options,
        seeds,
        learned.into_iter().flatten().collect(),
    ))
}

struct Place<'a> {
    key: String,
    case: &'a EvalPassage,
    seed: u64,
}

fn run_pack(
    model: &dyn Model,
    pack: &[&Place<'_>],
    spec: &ArmSpec<'_>,
    options: &IngestOptions,
    journal: &dyn Journal,
) -> Result<Vec<Learned>, Interrupted> {
    journal.check()?;
    let clock = Instant::now();
    let stop = || journal.check().is_err();
    let texts = fan_out::each(pack.len(), PACK, |i| {
        let model = Interruptible::new(model, &stop);
        trained_on(model, pack[i].case, spec, options, pack[i].seed)
    })?;
    let trainings = texts.iter().zip(pack);
    let trainings: Vec<Training> = trainings
        .filter(|(texts, _)| !texts.is_empty())
        .map(|(texts, p)| Training {
            texts: texts.clone(),
            update: options.update(in_two_wordings(texts), p.seed),
            init: None,
        })
        .collect();
    let mut trained = match trainings.is_empty() {
        true => Vec::new().into_iter(),
        false => {
            let go_on = &mut |_, _, _| journal.check().is_ok();
            model.train(trainings, go_on)?.into_iter()
        }
    };
    let trained: Vec<_> = texts
        .iter()
        .map(|t| (!t.is_empty()).then(|| trained.next()).flatten())
        .collect();
    let answers = fan_out::each(pack.len(), PACK, |i| {
        let case = pack[i].case;
        let items = match spec.arm {
            Arm::OpenBook => {
                let open =
                    |q: &Question| (ask_open_book(&case.passage, &q.question), q.answer.clone());
                case.questions.iter().map(open).collect()
            }
            _ => closed_book(&case.passage.title, &case.questions),
        };
        let adapter = trained[i].as_ref().map(|t| &t.adapter);
        let model = Interruptible::new(model, &stop);
        answer_all(model, adapter, &items, options.gate.grader)
    })?;
    let seconds = clock.elapsed().as_secs_f32() / pack.len() as f32;
    let done = pack.iter().zip(texts).zip(trained).zip(answers);
    done.map(|(((place, texts), trained), answers)| {
        step(journal, &place.key, || {
            Ok(Learned {
                answers,
                texts,
                tokens: trained.map_or(0, |t| t.tokens),
                seconds,
            })
        })
    })
    .collect()
}

/// The training sequences of one passage; empty if the arm learns nothing.
fn trained_on(
    model: Interruptible<'_>,
    case: &EvalPassage,
    spec: &ArmSpec<'_>,
    options: &IngestOptions,
    seed: u64,
) -> Result<Vec<TrainingText>, Interrupted> {
    Ok(match spec.arm {
        Arm::Base | Arm::OpenBook => Vec::new(),
        _ => {
            let policy = spec.policy(seed);
            let edits = edits(model, case, spec.arm, policy, options, seed)?;
            training_texts(&case.passage, &edits, &|text| model.tokens(text))
        }
    })
}

/// The self-edits of one passage under this arm. Without a policy the base writes them.
pub(crate) fn edits(
    model: Interruptible<'_>,
    case: &EvalPassage,
    arm: Arm,
    policy: Option<&Adapter>,
    options: &IngestOptions,
    seed: u64,
) -> Result<Vec<SelfEdit>, Interrupted> {
    Ok(match arm {
        Arm::Base | Arm::OpenBook => Vec::new(),
        Arm::Teacher => {
            let samples = options.self_edit.samples;
            case.teacher.iter().take(samples).cloned().collect()
        }
        Arm::Learn(kind) => {
            let edit = SelfEditOptions {
                kind,
                ..options.self_edit.clone()
            };
            self_edit::write(Author::policy(model, policy), &case.passage, &edit, seed)?
        }
    })
}

/// The row of these results, which are ordered by case, then by seed.
fn row(
    cases: &[EvalPassage],
    spec: &ArmSpec<'_>,
    options: &IngestOptions,
    seeds: &[u64],
    learned: Vec<Learned>,
) -> KnowledgeRow {
    let mut clusters = vec![Vec::new(); cases.len()];
    let (mut asked, mut texts, mut logprobs) = (Vec::new(), Vec::new(), 0.0);
    let runs = learned.len().max(1) as f32;
    let seconds: f32 = learned.iter().map(|l| l.seconds).sum();
    let tokens: usize = learned.iter().map(|l| l.tokens).sum();
    for (nth, learned) in learned.into_iter().enumerate() {
        let (passage, seed) = (nth / seeds.len(), seeds[nth % seeds.len()]);
        texts.push(learned.texts);
        for (question, answer) in cases[passage].questions.iter().zip(learned.answers) {
            clusters[passage].push(answer.correct as u8 as f32);
            logprobs += answer.logprob;
            asked.push(AnswerRecord {
                passage,
                title: cases[passage].passage.title.clone(),
                question: question.question.clone(),
                gold: question.answer.clone(),
                answer: answer.answer,
                correct: answer.correct,
                seed,
            });
        }
    }
    KnowledgeRow {
        arm: spec.name.clone(),
        accuracy: estimate(&clusters),
        logprob: logprobs / asked.len().max(1) as f32,
        seconds_per_passage: seconds / runs,
        tokens_per_passage: tokens as f32 / runs,
        seeds: seeds.len(),
        temperature: options.self_edit.temperature,
        difference: None,
        texts,
        answers: asked,
    }
}

/// The gain in accuracy of `row` over `from`, on the same questions from the same seeds.
pub fn difference(row: &KnowledgeRow, from: &KnowledgeRow) -> Difference {
    let passages = row.answers.iter().map(|a| a.passage + 1).max().unwrap_or(0);
    let mut clusters = vec![Vec::new(); passages];
    for (new, old) in row.answers.iter().zip(&from.answers) {
        debug_assert_eq!((&new.question, new.seed), (&old.question, old.seed));
        clusters[new.passage].push(new.correct as u8 as f32 - old.correct as u8 as f32);
    }
    Difference {
        from: from.arm.clone(),
        accuracy: estimate(&clusters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: &str, correct: &[(usize, bool)]) -> KnowledgeRow {
        let asked = |(passage, correct): &(usize, bool)| AnswerRecord {
            passage: *passage,
            title: String::new(),
            question: "Q?".into(),
            gold: String::new(),
            answer: String::new(),
            correct: *correct,
            seed: 0,
        };
        KnowledgeRow {
            arm: arm.into(),
            accuracy: estimate(&[]),
            logprob: 0.0,
            seconds_per_passage: 0.0,
            tokens_per_passage: 0.0,
            seeds: 1,
            temperature: 0.0,
            difference: None,
            texts: Vec::new(),
            answers: correct.iter().map(asked).collect(),
        }
    }

    #[test]
    fn a_difference_is_paired_and_clustered_by_passage() {
        let old = row("old", &[(0, false), (0, true), (2, false), (2, false)]);
        let new = row("new", &[(0, true), (0, true), (2, true), (2, false)]);
        let d = difference(&new, &old);
        assert_eq!((d.from.as_str(), d.accuracy.n), ("old", 4));
        assert_eq!(d.accuracy.mean, 0.5);
        // Both passages gain one of two: resampling them changes nothing.
        assert_eq!((d.accuracy.low, d.accuracy.high), (0.5, 0.5));
    }

    #[test]
    fn every_kind_of_self_edit_is_an_arm() {
        for name in [
            "base",
            "passage",
            "implications-long",
            "chain-of-thought",
            "teacher",
        ] {
            assert_eq!(Arm::from_name(name).map(Arm::name), Some(name));
        }
        assert_eq!(Arm::from_name("none"), None);
    }
}
