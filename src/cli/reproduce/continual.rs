//! `autodidact reproduce continual` learns sequences of documents one after another under each strategy, and measures
//! the retention of every document. The results, with intervals, are Markdown, JSON and SVG heat maps.
//!
//! With `--out DIR` every finished run is stored there, and a stored run with the same settings is not repeated. A long
//! measurement therefore survives an interruption.

use super::data::{check, distinct};
use crate::cli::open::{ModelArgs, Opened};
use autodidact::learn::knowledge::{Passage, Question};
use autodidact::learn::options::merge::merge;
use autodidact::learn::options::strategy::{Method, Strategy};
use autodidact::learn::options::update::IngestOptions;
use autodidact::pool::LocalModel;
use autodidact::study::continual::{Cost, Run, Shared, run};
use autodidact::study::continual_runs::{Document, arms, run_settings, save_run, saved_run};
use autodidact::study::continual_table::{ContinualRow, row};
use autodidact::study::heatmap;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Continual {
    /// JSON list of {title, context (or text), questions: [{question, answer}]}.
    #[arg(long)]
    passages: PathBuf,
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Documents in one sequence.
    #[arg(long, default_value_t = 8)]
    documents: usize,
    /// Number of sequences; each takes the next documents of the list.
    #[arg(long, default_value_t = 1)]
    sequences: usize,
    /// Strategies, comma-separated; all by default.
    #[arg(long, value_delimiter = ',')]
    strategies: Vec<String>,
    /// Inner loops, comma-separated: text, distill. Both by default; distill only with `sequential` and `route`.
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// Seeds, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
    seeds: Vec<u64>,
    /// Number of general probes to ask after every update; there are 100.
    #[arg(long, default_value_t = 100)]
    general: usize,
    /// Learning settings that override the model's own, as JSON. The gate is off unless they turn it on.
    #[arg(long, default_value = "{}")]
    set: String,
    /// Directory for continual.md, continual.json, the heat maps and the single runs.
    #[arg(long)]
    out: Option<PathBuf>,
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
}

impl Continual {
    pub fn run(self) -> Result<(), String> {
        let set: Value = serde_json::from_str(&self.set).map_err(|e| format!("--set: {e}"))?;
        distinct(&self.seeds)?;
        let sequences = self.documents()?;
        let arms = self.arms()?;
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out).map_err(|e| format!("--out: {}: {e}", out.display()))?;
        }
        let Opened {
            id,
            model,
            learning,
            ..
        } = self.model.clone().open()?;
        let ungated = json!({"gate": {"mode": "off", "general_probes": 0}});
        let shared = Shared::default();
        let mut rows = Vec::new();
        for (strategy, method) in arms {
            let mut runs: Vec<Vec<Run>> = Vec::new();
            for (nth, documents) in sequences.iter().enumerate() {
                let mut of_sequence = Vec::new();
                for seed in &self.seeds {
                    let arm = json!({"seed": seed,
                        "training": {"strategy": strategy, "method": method}});
                    let mut over = ungated.clone();
                    merge(&mut over, &set);
                    merge(&mut over, &arm);
                    let options = learning.under(&over, None).map_err(|e| e.to_string())?;
                    check(&options)?;
                    let (strategy, method) = (strategy.name(), method.name());
                    let name = format!("{strategy}-{method}-{nth}-{seed}");
                    of_sequence.push(self.one(&id, &model, documents, &options, &shared, &name)?);
                }
                runs.push(of_sequence);
            }
            let row = row(strategy.name(), method.name(), &runs);
            eprintln!(
                "{} {}: final row {}",
                row.strategy, row.method, row.final_row
            );
            rows.push(row);
        }
        let report = json!({"model": id, "documents": self.documents, "sequences": sequences.len(),
            "seeds": self.seeds, "set": set, "rows": rows});
        let report = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
        let table = markdown(&rows);
        if let Some(out) = &self.out {
            write(&out.join("continual.json"), &report)?;
            write(&out.join("continual.md"), &table)?;
            for row in &rows {
                let title = format!("{id}, {}, {}", row.strategy, row.method);
                let name = format!("continual-{}-{}.svg", row.strategy, row.method);
                write(&out.join(name), &heatmap::svg(&title, &row.matrix))?;
            }
        }
        print!("{}", if self.json { report + "\n" } else { table });
        Ok(())
    }

    fn one(
        &self,
        id: &str,
        model: &LocalModel,
        documents: &[Document],
        options: &IngestOptions,
        shared: &Shared,
        name: &str,
    ) -> Result<Run, String> {
        let settings = run_settings(id, documents, options, self.general);
        let directory = self.out.as_deref();
        if let Some(run) = directory.and_then(|out| saved_run(out, name, &settings)) {
            eprintln!("{name}: kept from before");
            return Ok(run);
        }
        let of = documents.len();
        let mut tell = |nth: usize, cost: &Cost| {
            eprintln!("{name}: {}/{of}, {:.0} s", nth + 1, cost.seconds);
        };
        let run = run(model, documents, options, self.general, shared, &mut tell);
        let run = run.map_err(|e| format!("{name}: {e}"))?;
        match directory {
            Some(out) => save_run(out, name, settings, run),
            None => Ok(run),
        }
    }

    fn documents(&self) -> Result<Vec<Vec<Document>>, String> {
        let path = &self.passages;
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let entries: Vec<Entry> =
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let asked = entries.into_iter().filter(|e| !e.questions.is_empty());
        let documents: Vec<Document> = asked
            .skip(self.skip)
            .map(|e| {
                let (title, text) = (e.title, e.context);
                (Passage { title, text }, e.questions)
            })
            .collect();
        let wanted = self.documents * self.sequences;
        if self.documents == 0 || documents.len() < wanted || wanted == 0 {
            return Err(format!(
                "--documents {} and --sequences {} want {wanted} documents with questions; after --skip {} \
                 there are {}",
                self.documents,
                self.sequences,
                self.skip,
                documents.len()
            ));
        }
        let sequences = documents.chunks(self.documents).take(self.sequences);
        Ok(sequences.map(<[Document]>::to_vec).collect())
    }

    fn arms(&self) -> Result<Vec<(Strategy, Method)>, String> {
        let strategies = named(
            "--strategies",
            &self.strategies,
            &Strategy::ALL,
            Strategy::name,
        )?;
        let methods = named("--methods", &self.methods, &Method::ALL, Method::name)?;
        let arms = arms(&strategies, &methods);
        match arms.is_empty() {
            true => Err("distill is measured with the strategies sequential and route only".into()),
            false => Ok(arms),
        }
    }
}

/// The items of these names, or all without names.
fn named<T: Copy>(
    flag: &str,
    given: &[String],
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Vec<T>, String> {
    if given.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |wanted: &String| {
        let found = all.iter().copied().find(|one| name(*one) == wanted);
        found.ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
            format!("{flag}: {wanted:?} is none of {}", names.join(", "))
        })
    };
    given.iter().map(find).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn markdown(rows: &[ContinualRow]) -> String {
    let mut table = String::from(
        "| strategy | trained on | base | just learned | final row | kept | backward transfer | general \
         probes kept, last (least) | s an update, mean (first, last) | adapters, MB | refused | runs |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for r in rows {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} ({:.0} %) | {:.0} [{:.0}, {:.0}] ({:.0}, {:.0}) | {:.0} | {} | {} |",
            r.strategy,
            r.method,
            r.base,
            r.just_learned,
            r.final_row,
            r.kept,
            r.backward_transfer,
            r.general,
            100.0 * r.general_least,
            r.seconds.mean,
            r.seconds.low,
            r.seconds.high,
            r.seconds_first,
            r.seconds_last,
            r.adapter_bytes_last / 1e6,
            r.refused,
            r.runs
        );
    }
    table
}
