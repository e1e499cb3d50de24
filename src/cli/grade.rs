//! `autodidact grade`: the agreement of the graders with an expert.
//!
//! The graders over words are deterministic. A judge may be any text model. The verdicts count as independent, so the
//! confidence intervals resample single answers.

use super::settings::{Settings, env};
use super::text_models::TextModels;
use autodidact::config::{Overrides, TextModelConfig};
use autodidact::learn::grading::grader::Grader;
use autodidact::learn::grading::judge::{self, AnswerToGrade};
use autodidact::learn::ports::text_model::TextModel;
use autodidact::learn::stats::{Estimate, estimate};
use autodidact::models::Models;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Args)]
pub struct Grade {
    /// File with one verdict a line: {"question", "gold", "answer", "correct"}. Only a judge needs the question.
    #[arg(long, value_name = "FILE")]
    verdicts: PathBuf,
    /// Also grade with a model: a catalogue name, URL#MODEL or mistralrs:FILE. Without a value: the configured judge.
    #[arg(long, value_name = "MODEL", num_args = 0..=1)]
    judge: Option<Option<TextModelConfig>>,
    /// Grade only this many verdicts, spread evenly over the file.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    settings: Settings,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    #[serde(default)]
    question: String,
    gold: String,
    answer: String,
    correct: bool,
}

/// One grader compared with the expert.
#[derive(Debug, Serialize)]
struct Row {
    grader: Grader,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Share of the verdicts that the grader agrees with, 0 to 1.
    agreement: Estimate,
    /// Answers that the grader accepts and the expert rejects.
    too_kind: usize,
    /// Answers that the grader rejects and the expert accepts.
    too_strict: usize,
    /// Answers of the judge that were neither yes nor no.
    #[serde(skip_serializing_if = "Option::is_none")]
    unclear: Option<usize>,
    seconds: f32,
}

/// Verdicts in one call of a judge: enough to fill a batch, few enough to show progress.
const AT_ONCE: usize = 32;

impl Grade {
    pub fn run(self) -> Result<(), String> {
        let verdicts = self.read()?;
        let judge = self.judge.as_ref().map(|which| self.open(which.as_ref()));
        let judge = judge.transpose()?;
        let mut rows: Vec<Row> = Grader::OVER_WORDS
            .map(|grader| over_words(grader, &verdicts))
            .into();
        if let Some(judge) = judge {
            rows.push(judged(&*judge, &verdicts)?);
        }
        if self.json {
            let table = serde_json::to_string_pretty(&rows).map_err(|e| e.to_string())?;
            println!("{table}");
        } else {
            print(&rows);
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<Verdict>, String> {
        let path = self.verdicts.display();
        let text = std::fs::read_to_string(&self.verdicts);
        let text = text.map_err(|e| format!("cannot read {path}: {e}"))?;
        let parse = |(line, number): (&str, usize)| {
            serde_json::from_str(line).map_err(|e| {
                format!("{path}, line {number}: {e}; a line is {{\"question\", \"gold\", \"answer\", \"correct\": true or false}}")
            })
        };
        let lines = text.lines().zip(1..);
        let lines = lines.filter(|(line, _)| !line.trim().is_empty());
        let verdicts: Vec<Verdict> = lines.map(parse).collect::<Result<_, _>>()?;
        if verdicts.is_empty() {
            return Err(format!("{path} holds no verdict"));
        }
        let wanted = self.limit.unwrap_or(usize::MAX).min(verdicts.len());
        if wanted == 0 {
            return Err("--limit: must be at least 1".into());
        }
        let all = verdicts.len();
        let chosen = |i: usize| (i + 1) * wanted / all > i * wanted / all;
        let numbered = verdicts.into_iter().enumerate();
        Ok(numbered
            .filter(|(i, _)| chosen(*i))
            .map(|(_, v)| v)
            .collect())
    }

    fn open(&self, which: Option<&TextModelConfig>) -> Result<Arc<dyn TextModel>, String> {
        let config = self.settings.load(Overrides::default())?;
        let models = Models::open(&config, env).map_err(|e| e.to_string())?;
        let which = which.or(config.judge.as_ref()).cloned();
        let which = which.ok_or(
            "--judge: no model is named, and none is configured under [judge]; write --judge MODEL",
        )?;
        let opened = TextModels::new(config, models, None).open(&which);
        opened.map_err(|error| format!("--judge: {error}"))
    }
}

fn over_words(grader: Grader, verdicts: &[Verdict]) -> Row {
    let clock = Instant::now();
    let said = verdicts.iter().map(|v| grader.correct(&v.gold, &v.answer));
    let said: Vec<bool> = said.collect();
    row(grader, verdicts, &said, clock)
}

fn judged(model: &dyn TextModel, verdicts: &[Verdict]) -> Result<Row, String> {
    let clock = Instant::now();
    let (mut said, mut unclear) = (Vec::new(), 0);
    for some in verdicts.chunks(AT_ONCE) {
        let given = some.iter().map(|v| AnswerToGrade {
            question: &v.question,
            gold: &v.gold,
            answer: &v.answer,
        });
        let verdicts_of = judge::judge(model, &given.collect::<Vec<_>>(), &|| false);
        for verdict in verdicts_of.map_err(|e| e.to_string())? {
            said.push(verdict == judge::Verdict::Right);
            unclear += usize::from(verdict == judge::Verdict::Unclear);
        }
        eprint!("\r{} {}/{} ", model.name(), said.len(), verdicts.len());
    }
    eprintln!();
    Ok(Row {
        model: Some(model.name().to_owned()),
        unclear: Some(unclear),
        ..row(Grader::Judge, verdicts, &said, clock)
    })
}

fn row(grader: Grader, verdicts: &[Verdict], said: &[bool], clock: Instant) -> Row {
    let pairs = || verdicts.iter().map(|v| v.correct).zip(said.iter().copied());
    let agrees = |(expert, said)| vec![f32::from(u8::from(expert == said))];
    Row {
        grader,
        model: None,
        agreement: estimate(&pairs().map(agrees).collect::<Vec<_>>()),
        too_kind: pairs().filter(|(expert, said)| *said && !expert).count(),
        too_strict: pairs().filter(|(expert, said)| *expert && !said).count(),
        unclear: None,
        seconds: clock.elapsed().as_secs_f32(),
    }
}

fn print(rows: &[Row]) {
    println!(
        "| grader | agrees with the expert [95 % interval] | verdicts | too kind | too strict | seconds |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for r in rows {
        let name = serde_json::to_value(r.grader).unwrap_or_default();
        let mut name = name.as_str().unwrap_or_default().to_owned();
        if r.grader == Grader::default() {
            name += " (default)";
        }
        if let Some(model) = &r.model {
            name += &format!(": {model}");
        }
        println!(
            "| {name} | {} | {} | {} | {} | {:.1} |",
            r.agreement, r.agreement.n, r.too_kind, r.too_strict, r.seconds
        );
    }
    if let Some(unclear) = rows.iter().find_map(|r| r.unclear).filter(|n| *n > 0) {
        println!("\n{unclear} of the judge's answers were neither yes nor no and count as no.");
    }
}
