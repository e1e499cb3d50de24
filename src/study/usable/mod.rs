//! What learned documents can be used for: the questions of [`questions`], asked as a client asks them, with nothing
//! else in the prompt but in the row that has the documents there.
//!
//! Documents come in pairs. Each document has an adapter of its own; questions over both are asked of each adapter, of
//! the one that the router of an alias with both would choose, and of the sum of both.

pub mod questions;

use crate::learn::fan_out;
use crate::learn::inner::replay;
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::author::Author;
use crate::learn::knowledge::self_edit;
use crate::learn::knowledge::sequences::{in_two_wordings, training_texts};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{
    Adapter, Model, ModelError, Prompt, Sampling, Training, TrainingText,
};
use crate::learn::stats::{Estimate, estimate};
use questions::{Asked, Pair, Use};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Longest answer, tokens: an instruction's result is longer than an answer.
const ANSWER_TOKENS: usize = 64;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// Nothing is learned.
    Base,
    /// Nothing is learned, but the document, or both, is in the prompt.
    OpenBook,
    /// Each document's own adapter; the router chooses for questions over two.
    Learned,
    /// Questions over two documents, asked of the first document's adapter.
    First,
    /// The same, asked of the second document's.
    Second,
    /// The same, asked of the sum of both adapters.
    Both,
}

impl Row {
    pub const ALL: [Row; 6] = [
        Row::Base,
        Row::OpenBook,
        Row::Learned,
        Row::First,
        Row::Second,
        Row::Both,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Row::Base => "nothing",
            Row::OpenBook => "nothing, documents in the prompt",
            Row::Learned => "learned, routed",
            Row::First => "the first document's adapter",
            Row::Second => "the second document's adapter",
            Row::Both => "the sum of both adapters",
        }
    }
}

/// One question with its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    pub row: Row,
    /// The place of the question's document within its pair; 0 for questions over both.
    pub document: usize,
    pub way: Use,
    pub question: String,
    pub gold: Vec<String>,
    pub answer: String,
    pub right: bool,
}

/// The measurements of one pair from one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub answers: Vec<Answered>,
    /// The training sequences of each document.
    pub texts: Vec<Vec<TrainingText>>,
    /// Tokens trained on, over all epochs, both documents together.
    pub tokens: usize,
    /// Seconds of writing notes and of training, both documents together.
    pub seconds: f32,
    /// Milliseconds of making the sum of both adapters.
    pub sum_milliseconds: f32,
}

/// Measures all pairs from all seeds: `[pair][seed]`. What the journal has stored is not measured again.
pub fn run(
    model: &dyn Model,
    pairs: &[Pair],
    options: &IngestOptions,
    seeds: &[u64],
    journal: &dyn Journal,
) -> Result<Vec<Vec<Measured>>, Interrupted> {
    let of = pairs.len() * seeds.len();
    let one = |nth: usize, pair: &Pair, place: usize, seed: u64| {
        let done = nth * seeds.len() + place;
        let message = format!("{done} of {of}");
        journal.progress("usable", done as f32 / of as f32, &message);
        step(journal, &format!("usable:{nth}:seed:{seed}"), || {
            measure(model, pair, options, seed, journal)
        })
    };
    let pairs = pairs.iter().enumerate().map(|(nth, pair)| {
        let seeds = seeds.iter().enumerate();
        seeds
            .map(|(place, seed)| one(nth, pair, place, *seed))
            .collect()
    });
    pairs.collect()
}

/// The share of right answers of one row and one way of asking; pairs are resampled. `None` where the row does not ask
/// that way.
pub fn share(measured: &[Vec<Measured>], row: Row, way: Use) -> Option<Estimate> {
    let of_pair = |seeds: &Vec<Measured>| {
        let answers = seeds.iter().flat_map(|m| &m.answers);
        let asked = answers.filter(|a| a.row == row && a.way == way);
        asked.map(|a| f32::from(u8::from(a.right))).collect()
    };
    let clusters: Vec<Vec<f32>> = measured.iter().map(of_pair).collect();
    let share = estimate(&clusters);
    (share.n > 0).then_some(share)
}

fn measure(
    model: &dyn Model,
    pair: &Pair,
    options: &IngestOptions,
    seed: u64,
    journal: &dyn Journal,
) -> Result<Measured, Interrupted> {
    let stop = || journal.check().is_err();
    let model = Interruptible::new(model, &stop);
    let clock = Instant::now();
    let texts = fan_out::each(2, 2, |i| -> Result<_, ModelError> {
        let passage = &pair.passages[i];
        let author = Author::policy(model, None);
        let edits = self_edit::write(author, passage, &options.self_edit, seed)?;
        Ok(training_texts(passage, &edits, &|text| model.tokens(text)))
    })?;
    let training = |texts: &Vec<TrainingText>| Training {
        texts: texts.clone(),
        update: options.update(in_two_wordings(texts), seed),
        init: None,
    };
    let trainings = texts.iter().map(training).collect();
    let trained = model.train(trainings, &mut |_, _, _| journal.check().is_ok())?;
    let seconds = clock.elapsed().as_secs_f32();
    let adapters: Vec<&Adapter> = trained.iter().map(|t| &t.adapter).collect();
    let clock = Instant::now();
    let both = Adapter::sum(&adapters)?;
    let sum_milliseconds = clock.elapsed().as_secs_f32() * 1000.0;
    let asking = Asking {
        model,
        pair,
        texts: &texts,
    };
    let mut answers = asking.about_each(&adapters)?;
    answers.extend(asking.about_both(&adapters, &both)?);
    Ok(Measured {
        answers,
        texts,
        tokens: trained.iter().map(|t| t.tokens).sum(),
        seconds,
        sum_milliseconds,
    })
}

fn graded(
    row: Row,
    document: usize,
    asked: &[Asked],
    given: &[String],
    base: &[String],
) -> Vec<Answered> {
    let all = asked.iter().zip(given).zip(base);
    all.map(|((asked, answer), base)| Answered {
        row,
        document,
        way: asked.way,
        question: asked.question.clone(),
        gold: asked.answers.clone(),
        answer: answer.clone(),
        right: asked.right(answer, (row != Row::Base).then_some(base)),
    })
    .collect()
}

/// The asking of one pair's questions.
struct Asking<'a> {
    model: Interruptible<'a>,
    pair: &'a Pair,
    /// The training sequences of each document, whose questions the router reads.
    texts: &'a [Vec<TrainingText>],
}

impl Asking<'_> {
    /// The questions about one document, asked of the base and of the document's adapter.
    fn about_each(&self, adapters: &[&Adapter]) -> Result<Vec<Answered>, ModelError> {
        let mut answers = Vec::new();
        for (document, asked) in self.pair.alone.iter().enumerate() {
            let in_sight = &self.pair.passages[document..=document];
            let base = self.answers(None, asked, None)?;
            let rows = [
                (Row::Base, base.clone()),
                (Row::OpenBook, self.answers(None, asked, Some(in_sight))?),
                (
                    Row::Learned,
                    self.answers(Some(adapters[document]), asked, None)?,
                ),
            ];
            for (row, given) in rows {
                answers.extend(graded(row, document, asked, &given, &base));
            }
        }
        Ok(answers)
    }

    /// The questions over both documents, asked in every way.
    fn about_both(
        &self,
        adapters: &[&Adapter],
        both: &Adapter,
    ) -> Result<Vec<Answered>, ModelError> {
        let asked = &self.pair.across;
        let base = self.answers(None, asked, None)?;
        let first = self.answers(Some(adapters[0]), asked, None)?;
        let second = self.answers(Some(adapters[1]), asked, None)?;
        let rows = [
            (Row::Learned, self.routed(asked, [&base, &first, &second])),
            (Row::Base, base.clone()),
            (
                Row::OpenBook,
                self.answers(None, asked, Some(&self.pair.passages))?,
            ),
            (Row::First, first),
            (Row::Second, second),
            (Row::Both, self.answers(Some(both), asked, None)?),
        ];
        let graded = rows
            .into_iter()
            .flat_map(|(row, given)| graded(row, 0, asked, &given, &base));
        Ok(graded.collect())
    }

    /// The most likely answer to each question, with these passages in the prompt.
    fn answers(
        &self,
        adapter: Option<&Adapter>,
        asked: &[Asked],
        passages: Option<&[Passage]>,
    ) -> Result<Vec<String>, ModelError> {
        let before: String = passages
            .into_iter()
            .flatten()
            .map(|p| format!("{}\n{}\n\n", p.title, p.text))
            .collect();
        let prompt = |asked: &Asked| Prompt::user(format!("{before}{}", asked.question));
        let prompts: Vec<Prompt> = asked.iter().map(prompt).collect();
        let given = self
            .model
            .generate(&prompts, adapter, &Sampling::greedy(ANSWER_TOKENS))?;
        let first = given.into_iter().filter_map(|of| of.into_iter().next());
        Ok(first.map(|answer| answer.trim().to_owned()).collect())
    }

    /// The answers of an alias that has learned both documents. `of`: those of the base and of each document's adapter.
    fn routed(&self, asked: &[Asked], of: [&[String]; 3]) -> Vec<String> {
        let texts = self.texts.iter().map(Vec::as_slice);
        let router = replay::router(self.pair.passages.iter().zip(texts));
        let chosen = asked.iter().enumerate().map(|(i, asked)| {
            let responder = router.choose(&asked.question).map_or(0, |d| d + 1);
            of[responder][i].clone()
        });
        chosen.collect()
    }
}
