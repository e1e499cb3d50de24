//! `autodidact reproduce usable` asks for what documents say in seven ways.

use super::data::Data;
use super::output::{give, markdown};
use autodidact::study::settings::Keyed;
use autodidact::study::usable::questions::{Document, Pair, PairFile, Use};
use autodidact::study::usable::{Measured, Row, run, share};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Usable {
    #[command(flatten)]
    data: Data,
    /// JSON list of pairs of the passages, by slug, with the questions about each and about both, in the form of
    /// demo/usable.json. Pairs that are not among the passages (--skip, --limit) are left out.
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
}

impl Usable {
    pub fn run(self) -> Result<(), String> {
        self.data.refuse_judge()?;
        self.data.refuse_teacher()?;
        let documents: Vec<Document> = autodidact::study::arc::read(self.data.passages())?;
        let pairs = pairs(&self.questions, &documents)?;
        let asked: Vec<_> = pairs.iter().map(|p| (&p.alone, &p.across)).collect();
        let bench = self
            .data
            .open(Keyed::ByTable, json!({"questions": asked}))?;
        let is_there = |text: &str| bench.cases.iter().any(|c| c.passage.text == text);
        let pairs: Vec<Pair> = pairs
            .into_iter()
            .filter(|pair| pair.passages.iter().all(|p| is_there(&p.text)))
            .collect();
        if pairs.is_empty() {
            return Err("--questions: no pair has both of its documents among the passages".into());
        }
        let (options, seeds) = (&bench.options, &bench.seeds);
        let measured = run(&bench.model, &pairs, options, seeds, &bench.journal);
        let measured = measured.map_err(|e| e.to_string())?;
        let head: Vec<&str> = std::iter::once("asked of")
            .chain(Use::ALL.map(Use::name))
            .collect();
        let cells: Vec<Vec<String>> = Row::ALL.iter().map(|row| cells(&measured, *row)).collect();
        let mut text = markdown(
            "What learned documents can be used for",
            &bench.about,
            &head,
            &cells,
        );
        let all: Vec<&Measured> = measured.iter().flatten().collect();
        let mean =
            |of: fn(&Measured) -> f32| all.iter().map(|m| of(m)).sum::<f32>() / all.len() as f32;
        text += &format!(
            "\nA document: {:.0} tokens trained, {:.1} s of writing notes and training. The sum of two adapters: {:.0} ms.\n",
            mean(|m| m.tokens as f32) / 2.0,
            mean(|m| m.seconds) / 2.0,
            mean(|m| m.sum_milliseconds),
        );
        let value = json!({"settings": bench.about, "measured": measured});
        give(
            "usable",
            bench.out.as_deref(),
            bench.json,
            &text,
            &value,
            &[],
        )
    }
}

fn pairs(questions: &Path, documents: &[Document]) -> Result<Vec<Pair>, String> {
    let files: Vec<PairFile> = autodidact::study::arc::read(questions)?;
    let pairs = files.into_iter().map(|file| file.with_texts(documents));
    let pairs: Result<Vec<Pair>, String> = pairs.collect();
    pairs.map_err(|e| format!("--questions: {e} among the passages"))
}

fn cells(measured: &[Vec<Measured>], row: Row) -> Vec<String> {
    let share = |way| share(measured, row, way).map_or(String::new(), |e| e.to_string());
    std::iter::once(row.name().to_owned())
        .chain(Use::ALL.map(share))
        .collect()
}
