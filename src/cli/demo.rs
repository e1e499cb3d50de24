//! `autodidact demo`: learns twenty invented documents over HTTP.
//!
//! The demo starts a server on a fresh data directory and asks every question. It posts every document *without its
//! questions* to a separate alias and asks again. Then it kills the server, starts it on the same data, and asks once
//! more.

use crate::cli::client::{Client, ServerProcess};
use autodidact::learn::grading::grader::Grader;
use autodidact::learn::knowledge::closed_book::ask_open_book;
use autodidact::learn::knowledge::{Passage, Question};
use autodidact::learn::stats::{Estimate, estimate};
use autodidact::study::usable::questions::Document;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const DOCUMENTS: &str = include_str!("../../demo/documents.json");

#[derive(Debug, Args)]
pub struct Demo {
    /// Catalogue name or path of the model.
    #[arg(long, env = "AUTODIDACT_MODEL", default_value = autodidact::config::DEFAULT_MODEL)]
    model: String,
    /// Which documents to learn. The default settings were tuned on the first half; report figures of the second half.
    #[arg(long, value_enum, default_value_t = Half::All)]
    half: Half,
    /// At most this many documents.
    #[arg(long)]
    limit: Option<usize>,
    /// Data directory of the server. Default: a temporary directory, removed at the end.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print the figures and every answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Half {
    First,
    Second,
    All,
}

/// The invented documents within the binary.
pub fn documents() -> Result<Vec<Document>, String> {
    serde_json::from_str(DOCUMENTS).map_err(|e| format!("demo/documents.json cannot be read: {e}"))
}

#[derive(Debug, Serialize)]
struct Figures {
    model: String,
    documents: usize,
    accepted: usize,
    before: Estimate,
    open_book: Estimate,
    after: Estimate,
    after_restart: Estimate,
    seconds_per_document: f32,
    slowest_document_seconds: f32,
    answers: Vec<Asked>,
}

#[derive(Debug, Serialize)]
struct Asked {
    document: String,
    question: String,
    gold: String,
    before: String,
    open_book: String,
    after: String,
    after_restart: String,
}

impl Demo {
    pub fn run(self) -> Result<(), String> {
        let all = documents()?;
        let middle = all.len() / 2;
        let documents: Vec<Document> = match self.half {
            Half::First => all.into_iter().take(middle).collect(),
            Half::Second => all.into_iter().skip(middle).collect(),
            Half::All => all,
        };
        let documents = &documents[..self.limit.unwrap_or(documents.len()).min(documents.len())];

        let (data, temporary) = match &self.data {
            Some(dir) => (dir.clone(), false),
            None => {
                let name = format!("autodidact-demo-{}", std::process::id());
                (std::env::temp_dir().join(name), true)
            }
        };
        let figures = measure(&self.model, documents, &data);
        if temporary {
            let _ = std::fs::remove_dir_all(&data);
        }
        let figures = figures?;
        if self.json {
            let text = serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?;
            println!("{text}");
        } else {
            print(&figures);
        }
        Ok(())
    }
}

fn measure(model: &str, documents: &[Document], data: &std::path::Path) -> Result<Figures, String> {
    let server = ServerProcess::start(model, data)?;
    let client = &server.client;
    let base = client.base_model()?;
    eprintln!(
        "asking {} documents' questions before learning",
        documents.len()
    );
    let plain = |q: &Question, _: &Document| q.question.clone();
    let open = |q: &Question, d: &Document| {
        let passage = Passage {
            title: d.title.clone(),
            text: d.text.clone(),
        };
        ask_open_book(&passage, &q.question).user
    };
    let before = ask_all(client, documents, |_| base.clone(), plain)?;
    let open_book = ask_all(client, documents, |_| base.clone(), open)?;

    let (mut accepted, mut seconds) = (Vec::new(), Vec::new());
    for (nth, document) in documents.iter().enumerate() {
        let clock = Instant::now();
        let (learned, reason) = client.ingest(&json!({
            "adapter": document.slug,
            "documents": [{"title": document.title, "text": document.text}],
        }))?;
        seconds.push(clock.elapsed().as_secs_f32());
        eprintln!(
            "[{}/{}] {}: {} in {:.0} s ({reason})",
            nth + 1,
            documents.len(),
            document.slug,
            if learned { "learned" } else { "refused" },
            seconds[nth]
        );
        accepted.push(learned);
    }
    // A refused document has no adapter, so the base answers its questions.
    let who = |i: usize| match accepted[i] {
        true => documents[i].slug.clone(),
        false => base.clone(),
    };
    let after = ask_all(client, documents, who, plain)?;
    drop(server);
    let server = ServerProcess::start(model, data)?;
    let after_restart = ask_all(&server.client, documents, who, plain)?;

    let questions = documents
        .iter()
        .flat_map(|d| d.questions.iter().map(move |q| (d, q)));
    let flat = |answers: &[Vec<String>]| answers.concat().into_iter();
    let answers = questions
        .zip(flat(&before).zip(flat(&open_book)))
        .zip(flat(&after).zip(flat(&after_restart)))
        .map(
            |(((d, q), (before, open_book)), (after, after_restart))| Asked {
                document: d.slug.clone(),
                question: q.question.clone(),
                gold: q.answer.clone(),
                before,
                open_book,
                after,
                after_restart,
            },
        );
    Ok(Figures {
        model: base.clone(),
        documents: documents.len(),
        accepted: accepted.iter().filter(|a| **a).count(),
        before: graded(documents, &before),
        open_book: graded(documents, &open_book),
        after: graded(documents, &after),
        after_restart: graded(documents, &after_restart),
        seconds_per_document: seconds.iter().sum::<f32>() / seconds.len().max(1) as f32,
        slowest_document_seconds: seconds.iter().copied().fold(0.0, f32::max),
        answers: answers.collect(),
    })
}

/// Asks all questions, a few documents at a time, so that the server can batch them.
fn ask_all(
    client: &Client,
    documents: &[Document],
    model_of: impl Fn(usize) -> String + Sync,
    prompt: impl Fn(&Question, &Document) -> String + Sync,
) -> Result<Vec<Vec<String>>, String> {
    let of_document = |i: usize, d: &Document| {
        let model = model_of(i);
        let questions = d.questions.iter();
        questions
            .map(|q| client.ask(&model, &prompt(q, d)))
            .collect()
    };
    let mut answers = Vec::new();
    for (nth, together) in documents.chunks(TOGETHER).enumerate() {
        let group: Vec<_> = std::thread::scope(|scope| {
            let of_document = &of_document;
            let ask = |(i, d)| scope.spawn(move || of_document(nth * TOGETHER + i, d));
            let asking: Vec<_> = together.iter().enumerate().map(ask).collect();
            asking.into_iter().map(|a| a.join()).collect()
        });
        for result in group {
            answers.push(result.unwrap_or_else(|_| Err("asking failed".into()))?);
        }
    }
    Ok(answers)
}

/// Documents whose questions are asked at the same time.
const TOGETHER: usize = 10;

fn graded(documents: &[Document], answers: &[Vec<String>]) -> Estimate {
    let of_document = |(d, answers): (&Document, &Vec<String>)| {
        let pairs = d.questions.iter().zip(answers);
        let correct = pairs.map(|(q, a)| Grader::default().correct(&q.answer, a));
        correct.map(|c| c as u8 as f32).collect()
    };
    let clusters: Vec<Vec<f32>> = documents.iter().zip(answers).map(of_document).collect();
    estimate(&clusters)
}

fn print(f: &Figures) {
    println!("| {} | accuracy [95 % interval] |", f.model);
    println!("| --- | --- |");
    println!("| before, closed book | {} |", f.before);
    println!("| after, closed book | {} |", f.after);
    println!("| after a restart, closed book | {} |", f.after_restart);
    println!("| open book (the ceiling) | {} |", f.open_book);
    println!(
        "\n{} questions on {} documents, {} learned; {:.0} s a document, {:.0} s the slowest",
        f.before.n, f.documents, f.accepted, f.seconds_per_document, f.slowest_document_seconds
    );
}
