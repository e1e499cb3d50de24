//! The outer loop inside the single-passage table: its arguments and its plots.

use super::data::read;
use super::output::{Curve, plot};
use autodidact::learn::outer::domains::knowledge::KnowledgeContext;
use autodidact::learn::outer::options::{OuterOptions, Preset};
use autodidact::learn::outer::report;
use autodidact::study::practice::{PracticePlan, PracticeRun};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// The arguments of the practice before the last rows.
#[derive(Debug, Args)]
pub struct Practice {
    /// Number of rounds to practise; each adds a row. Needs --practise-on.
    #[arg(long, default_value_t = 0, requires = "practise_on")]
    rounds: usize,
    /// Passages to practise on, in the same form. None of them may be in the table.
    #[arg(long, value_name = "FILE")]
    practise_on: Option<PathBuf>,
    /// At most this many passages to practise on.
    #[arg(long)]
    practise_limit: Option<usize>,
    /// Number of practices. The first has the seed of --outer, each other one the next seed. The policy of practice S
    /// modulo this number writes the notes of seed S.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    practices: u64,
    /// The kind of self-edit that the policy writes.
    #[arg(long, default_value = "implications")]
    kind: String,
    /// Sources of the questions that candidates are rewarded by, comma-separated: given, written. Each source has
    /// practices of its own.
    #[arg(long, value_delimiter = ',', default_value = "given")]
    questions: Vec<String>,
    /// The preset of the practice: default or paper.
    #[arg(long, default_value = "default")]
    preset: String,
    /// Settings of the practice that override the preset, as JSON: {"contexts_per_round": 5}. There is no time limit
    /// unless `minutes` is given here.
    #[arg(long, default_value = "{}")]
    outer: String,
    /// Settings of the practice's writing and learning that override the preset, as JSON:
    /// {"self_edit": {"temperature": 1.0}}. The rows of the same kind are written with the same settings.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    practise_set: String,
}

impl Practice {
    pub fn plans(&self) -> Result<Vec<PracticePlan>, String> {
        let named = |name: &str, text: &str| -> Result<Value, String> {
            serde_json::from_str(text).map_err(|e| format!("--{name}: {e}"))
        };
        let word = |text: &str| Value::String(text.to_owned());
        let wrong = |name: &'static str| move |e: serde_json::Error| format!("--{name}: {e}");
        let kind = serde_json::from_value(word(&self.kind)).map_err(wrong("kind"))?;
        let preset: Preset = serde_json::from_value(word(&self.preset)).map_err(wrong("preset"))?;
        let over = named("outer", &self.outer)?;
        let outer = OuterOptions::merged(preset, &over);
        let mut options: OuterOptions = serde_json::from_value(outer).map_err(wrong("outer"))?;
        if over["minutes"].is_null() {
            // Without a time limit, practices do not depend on the machine's load, so they are comparable.
            options.minutes = 0;
        }
        options.rounds = self.rounds.max(1);
        options.validate().map_err(|e| format!("--outer: {e}"))?;
        let set = named("practise-set", &self.practise_set)?;
        let plan = |source: &String| {
            let source = serde_json::from_value(word(source)).map_err(wrong("questions"))?;
            Ok(PracticePlan {
                rounds: self.rounds,
                practices: self.practices,
                kind,
                source,
                preset,
                options: options.clone(),
                set: set.clone(),
            })
        };
        self.questions.iter().map(plan).collect()
    }

    pub fn contexts(&self) -> Result<Vec<KnowledgeContext>, String> {
        let Some(path) = self.practise_on.as_ref().filter(|_| self.rounds > 0) else {
            return Ok(Vec::new());
        };
        let entries = read(path)?.into_iter();
        let entries = entries.take(self.practise_limit.unwrap_or(usize::MAX));
        Ok(entries
            .map(|e| KnowledgeContext::new(e.passage, e.questions))
            .collect())
    }
}

/// The plots of reward and held-out gain over the rounds.
pub fn plots(practised: &[PracticeRun<'_>]) -> Vec<(String, String)> {
    let flat = |x: usize, y: f32| (x as f32, y, y, y);
    let (mut rewards, mut gains) = (Vec::new(), Vec::new());
    for PracticeRun { label, report, .. } in practised {
        let curve = |name: &str, of: fn(&report::Round) -> f32| Curve {
            name: format!("{name}{label}"),
            points: report.rounds.iter().map(|r| flat(r.round, of(r))).collect(),
        };
        rewards.push(curve("all candidates", |r| r.reward));
        rewards.push(curve("best of each context", |r| r.best_reward));
        let scored = report.rounds.iter().map(|r| (r.round, r.held_out.as_ref()));
        let scored = std::iter::once((0, report.before.as_ref())).chain(scored);
        let point = |(round, h): (usize, Option<&report::HeldOut>)| {
            let gain = h?.gain;
            Some((round as f32, gain.mean, gain.low, gain.high))
        };
        gains.push(Curve {
            name: format!("held out{label}"),
            points: scored.filter_map(point).collect(),
        });
    }
    gains.retain(|c| !c.points.is_empty());
    let mut plots = Vec::new();
    if !rewards.is_empty() {
        let svg = plot("Reward per round", "round", "mean reward", &rewards);
        plots.push(("reward".to_owned(), svg));
    }
    if !gains.is_empty() {
        let svg = plot(
            "Gain on held-out passages",
            "round",
            "gain in accuracy",
            &gains,
        );
        plots.push(("held-out".to_owned(), svg));
    }
    plots
}
