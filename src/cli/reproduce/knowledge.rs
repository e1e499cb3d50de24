//! `autodidact reproduce knowledge`: the paper's single-passage table on this model and this data.

use crate::cli::open::{ModelArgs, Opened};
use autodidact::learn::compare::{Arm, Case, Row, run};
use autodidact::learn::knowledge::self_edit::from_text;
use autodidact::learn::knowledge::{Passage, Question};
use autodidact::learn::options::{IngestOptions, SelfEditKind};
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Knowledge {
    /// JSON list of {title, context (or text), questions: [{question, answer}]}.
    #[arg(long)]
    passages: PathBuf,
    /// JSON list of {title, context, completions: [text]}: a stronger model's self-edits.
    #[arg(long)]
    teacher: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// At most this many passages.
    #[arg(long)]
    limit: Option<usize>,
    /// Comma-separated: base, passage, rewrite, implications, self-qa, teacher, open-book.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// Comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Learning settings laid over the model's own, as JSON: {"training": {"epochs": 5}}.
    #[arg(long, default_value = "{}")]
    set: String,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Entry {
    title: String,
    #[serde(alias = "text")]
    context: String,
    #[serde(default)]
    questions: Vec<Question>,
    #[serde(default)]
    completions: Vec<String>,
}

impl Knowledge {
    pub fn run(self) -> Result<(), String> {
        let set = serde_json::from_str(&self.set).map_err(|e| format!("--set: {e}"))?;
        let cases = self.cases()?;
        let Opened {
            id,
            model,
            learning: [tuned, configured],
        } = self.model.open()?;
        let options = IngestOptions::layered(&[&tuned, &configured, &set]);
        let options = options.map_err(|e| e.to_string())?;
        let arms: Vec<Arm> = match self.arms.is_empty() {
            true => Arm::ALL.to_vec(),
            false => {
                let known = |a: &String| {
                    Arm::from_name(a).ok_or_else(|| format!("--arms: {a:?} is not an arm"))
                };
                self.arms.iter().map(known).collect::<Result<_, _>>()?
            }
        };
        let mut rows = Vec::new();
        for arm in arms {
            if arm == Arm::Teacher && self.teacher.is_none() {
                continue;
            }
            let mut tell = |done: usize, of: usize| eprint!("\r{} {done}/{of} ", arm.name());
            let row = run(&model, &cases, arm, &options, &self.seeds, &mut tell);
            let row = row.map_err(|e| format!("{}: {e}", arm.name()))?;
            eprintln!("\r{:<14} {}", arm.name(), row.accuracy);
            rows.push(row);
        }
        if self.json {
            let table = serde_json::json!({"model": id, "options": options,
                "passages": cases.len(), "seeds": self.seeds, "rows": rows});
            println!(
                "{}",
                serde_json::to_string_pretty(&table).map_err(|e| e.to_string())?
            );
        } else {
            print(&rows);
        }
        Ok(())
    }

    fn cases(&self) -> Result<Vec<Case>, String> {
        let teacher = match &self.teacher {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let entries = read(&self.passages)?;
        let entries = entries.into_iter().skip(self.skip);
        let cases = entries.take(self.limit.unwrap_or(usize::MAX)).map(|e| {
            let edits = teacher.iter().filter(|t| t.context == e.context);
            let edits = edits.flat_map(|t| &t.completions).zip(0..);
            let edit = |(text, seed): (&String, u64)| {
                from_text(SelfEditKind::Implications, text.clone(), seed)
            };
            Case {
                teacher: edits.map(edit).collect(),
                passage: Passage {
                    title: e.title,
                    text: e.context,
                },
                questions: e.questions,
            }
        });
        Ok(cases.collect())
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn print(rows: &[Row]) {
    println!(
        "| trained on | accuracy [95 % interval] | nats a gold token | questions | seeds | s a passage | tokens a passage |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for r in rows {
        println!(
            "| {} | {} | {:.2} | {} | {} | {:.1} | {:.0} |",
            r.arm,
            r.accuracy,
            r.logprob,
            r.accuracy.n,
            r.seeds,
            r.seconds_per_passage,
            r.tokens_per_passage
        );
    }
}
