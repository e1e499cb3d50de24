//! `bench edits`: the number of self-edits evaluated in a minute.
//!
//! One evaluation does the work of the outer loop for a sampled self-edit. It trains a fresh adapter on the
//! self-edit, then asks the document's questions closed book (greedy, up to 48 tokens). The training is the paper's
//! (SEAL: rank 32, α 64, learning rate 1e-3, 10 epochs, batch 1) on as much text as the paper's average self-edit: 8
//! sequences of about 46 tokens. The text comes from a demo document (`demo/documents.json`, Quillmere), cut by
//! words, so that every machine trains on the same text.

use super::Common;
use super::machine::Machine;
use super::report::{Figure, median, print, progress};
use crate::cli::demo;
use crate::cli::open::OpenedEngine;
use autodidact::learn::knowledge::closed_book::closed_book;
use autodidact::learn::ports::model::{
    Adapter, Model, ModelError, Prompt, Sampling, Training, TrainingText, Update,
};
use autodidact::pool::LocalModel;
use autodidact::study::usable::questions::Document;
use autodidact_engine::Priority;
use clap::Args;
use std::time::Instant;

#[derive(Debug, Args)]
pub struct EditsBench {
    #[command(flatten)]
    common: Common,
    /// Numbers of candidates trained together, comma-separated; each gives one figure
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,4,8,16"
    )]
    candidates: Vec<usize>,
}

const SEQUENCES: usize = 8;
/// Words of one sequence, about 46 tokens of English.
const WORDS: usize = 34;
const ANSWER_TOKENS: usize = 48;
const SLUG: &str = "town-of-quillmere";

impl EditsBench {
    pub fn run(self) -> Result<(), String> {
        if self.candidates.contains(&0) {
            return Err("--candidates: each count must be at least 1".into());
        }
        let (repeats, json) = (self.common.repeats(1), self.common.json);
        let documents = demo::documents()?;
        let document = documents.iter().find(|d| d.slug == SLUG);
        let document = document.ok_or(format!("demo/documents.json lacks {SLUG}"))?;
        let OpenedEngine { id, engine, config } = self.common.model.engine()?;
        let machine = Machine::measure(&id, &config);
        let model = LocalModel::new(engine, Priority::Outer);
        let figures = self.candidates.iter().map(|together| {
            progress(&format!("{together} candidates, once more to warm up"));
            measure(&model, document, *together, repeats)
        });
        let figures = figures.collect::<Result<Vec<_>, _>>();
        print(&machine, &figures.map_err(|e| e.to_string())?, json)
    }
}

fn measure(
    model: &dyn Model,
    document: &Document,
    together: usize,
    repeats: usize,
) -> Result<Figure, ModelError> {
    let items = closed_book(&document.title, &document.questions);
    let questions: Vec<Prompt> = items.into_iter().map(|(prompt, _)| prompt).collect();
    let (mut per_minute, mut training, mut testing) = (Vec::new(), Vec::new(), Vec::new());
    let mut tokens = 0;
    for repeat in 0..=repeats {
        let seed = |i: usize| (repeat * together + i) as u64;
        let trainings = (0..together).map(|i| self_edit(document, seed(i)));
        let start = Instant::now();
        let trained = model.train(trainings.collect(), &mut |_, _, _| true)?;
        let trained_in = start.elapsed().as_secs_f64();
        let adapters = trained.iter().map(|t| &t.adapter);
        test(model, adapters, &questions)?;
        let whole = start.elapsed().as_secs_f64();
        tokens = trained[0].tokens;
        // The first round is the warm-up.
        if repeat > 0 {
            per_minute.push(60.0 * together as f64 / whole);
            training.push(trained_in);
            testing.push(whole - trained_in);
        }
    }
    let passes = update(0).epochs * SEQUENCES;
    Ok(
        Figure::new("edits", format!("{together} candidates together"))
            .measured("evaluations_per_minute", &per_minute)
            .with("candidates", together)
            .with("train_seconds", median(&training))
            .with("test_seconds", median(&testing))
            .with("sequences", SEQUENCES)
            .with("tokens_per_sequence", tokens as f64 / passes as f64)
            .with("epochs", update(0).epochs)
            .with("questions", questions.len()),
    )
}

/// Asks all candidates at the same time, so that the engine can batch them.
fn test<'a>(
    model: &dyn Model,
    adapters: impl Iterator<Item = &'a Adapter>,
    questions: &[Prompt],
) -> Result<(), ModelError> {
    let greedy = Sampling::greedy(ANSWER_TOKENS);
    let ask = |adapter| {
        let answers = model.generate(questions, Some(adapter), &greedy, &|| false);
        answers.map(drop)
    };
    std::thread::scope(|scope| {
        let ask = &ask;
        let asking: Vec<_> = adapters.map(|a| scope.spawn(move || ask(a))).collect();
        let answers = asking.into_iter().map(|t| {
            let stopped = Err(autodidact_engine::Error::Stopped.into());
            t.join().unwrap_or(stopped)
        });
        answers.collect()
    })
}

fn self_edit(document: &Document, seed: u64) -> Training {
    let words: Vec<&str> = document.text.split_whitespace().collect();
    let texts = (0..SEQUENCES).map(|i| {
        let segment = words.iter().cycle().skip(i * WORDS).take(WORDS);
        let segment: Vec<&str> = segment.copied().collect();
        let text = format!("{}\n{}", document.title, segment.join(" "));
        TrainingText::Text { text }
    });
    Training {
        texts: texts.collect(),
        update: update(seed),
        init: None,
    }
}

fn update(seed: u64) -> Update {
    Update {
        rank: 32,
        alpha: 64.0,
        learning_rate: 1e-3,
        epochs: 10,
        batch_size: 1,
        seed,
        upper_layers: None,
        kept_ranks: 0,
        early_stop: None,
        lora_plus: 1.0,
    }
}
