//! `autodidact reproduce route` measures the router of the strategy `route`. No model is needed.

use super::data::distinct;
use super::output::{give, table};
use autodidact::study::route::{Document, RouteRow, Talk, TalkRow, row, talks};
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Route {
    /// JSON lists of {title, context (or text), questions: [{question}]}: the documents that are asked about.
    #[arg(long, value_delimiter = ',', required = true, value_name = "FILE")]
    passages: Vec<PathBuf>,
    /// Lists of the same form: more documents of the alias, which are not asked about.
    #[arg(long, value_delimiter = ',', value_name = "FILE")]
    distractors: Vec<PathBuf>,
    /// Numbers of documents to measure among, comma-separated. Default: all of them.
    #[arg(long, value_delimiter = ',')]
    documents: Vec<usize>,
    /// JSON list of {question}, which are about no document.
    #[arg(long, value_name = "FILE")]
    general: Option<PathBuf>,
    /// JSON list of {turns: [{user, assistant, document, kind}]} over the passages; `document` is a passage's slug or
    /// null.
    #[arg(long, value_name = "FILE")]
    talks: Option<PathBuf>,
    /// Seeds of the draws of documents, comma-separated, each at most once.
    #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
    seeds: Vec<u64>,
    /// Directory for route.md and route.json.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct General {
    question: String,
}

impl Route {
    pub fn run(self) -> Result<(), String> {
        distinct(&self.seeds)?;
        let asked: Vec<Document> = read_all(&self.passages)?;
        let others: Vec<Document> = read_all(&self.distractors)?;
        let general: Vec<General> = self.general.as_deref().map_or(Ok(Vec::new()), read)?;
        let general: Vec<String> = general.into_iter().map(|g| g.question).collect();
        let all = asked.len() + others.len();
        let sizes = match &self.documents[..] {
            [] => vec![all],
            sizes => sizes.to_vec(),
        };
        if let Some(size) = sizes.iter().find(|size| !(1..=all).contains(*size)) {
            return Err(format!(
                "--documents: {size} is not from 1 to the {all} documents given"
            ));
        }
        let rows = sizes.iter();
        let rows: Vec<RouteRow> = rows
            .map(|size| row(&asked, &others, &general, *size, &self.seeds))
            .collect();
        let turns: Vec<TalkRow> = match &self.talks {
            Some(path) => {
                talks(&asked, &read::<Talk>(path)?).map_err(|e| format!("--talks: {e}"))?
            }
            None => Vec::new(),
        };
        if let Some(directory) = &self.out {
            let made = std::fs::create_dir_all(directory);
            made.map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
        }
        let value = json!({
            "passages": self.passages, "distractors": self.distractors, "general": self.general,
            "talks": self.talks, "seeds": self.seeds, "rows": rows, "turns": turns,
        });
        let text = markdown(&rows, &turns);
        give("route", self.out.as_deref(), self.json, &text, &value, &[])
    }
}

fn markdown(rows: &[RouteRow], turns: &[TalkRow]) -> String {
    let head = [
        "documents",
        "right document",
        "questions",
        "general questions to the base",
        "ms a choice, median (p95)",
        "ms to build",
    ];
    let cells = rows.iter().map(|r| {
        vec![
            r.documents.to_string(),
            r.right.to_string(),
            r.right.n.to_string(),
            r.general.to_string(),
            format!("{:.2} ({:.2})", r.milliseconds.median, r.milliseconds.p95),
            format!("{:.0}", r.build_milliseconds),
        ]
    });
    let mut text = format!("# Routing\n\n{}", table(&head, &cells.collect::<Vec<_>>()));
    if !turns.is_empty() {
        let head = ["turns", "routed right", "without the answers", "number"];
        let cells = turns.iter().map(|t| {
            vec![
                t.kind.clone(),
                t.right.to_string(),
                t.without_answers.to_string(),
                t.right.n.to_string(),
            ]
        });
        text += &format!("\n{}", table(&head, &cells.collect::<Vec<_>>()));
    }
    text
}

fn read_all<T: DeserializeOwned>(paths: &[PathBuf]) -> Result<Vec<T>, String> {
    let lists = paths.iter().map(|p| read(p));
    Ok(lists
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    autodidact::study::arc::read(path)
}
