//! The outer loop inside the single-passage table: how it is asked for, run, and drawn.

use super::data::{Bench, read};
use super::output::{Curve, plot};
use autodidact::learn::knowledge::domain::{KnowledgeContext, KnowledgeOptions, QuestionSource};
use autodidact::learn::options::update::{IngestOptions, SelfEditKind};
use autodidact::learn::outer::options::{OuterOptions, Preset};
use autodidact::learn::outer::report::Report;
use autodidact::learn::outer::{self, OuterOutcome, PolicyStore};
use autodidact::learn::ports::model::Adapter;
use autodidact::pool::tasks::MemoryTasks;
use autodidact::study::compare;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use std::path::PathBuf;

/// The outer loop before the last rows.
#[derive(Debug, Args)]
pub struct Practice {
    /// Practise for so many rounds, and add a row after each. Needs --practise-on.
    #[arg(long, default_value_t = 0, requires = "practise_on")]
    rounds: usize,
    /// Passages to practise on, in the same form; none of them may be in the table.
    #[arg(long, value_name = "FILE")]
    practise_on: Option<PathBuf>,
    /// At most this many of them.
    #[arg(long)]
    practise_limit: Option<usize>,
    /// So many practices, each from a seed of its own (that of --outer, and the ones after it). Notes of seed S are
    /// written by the policy of practice S modulo this.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    practices: u64,
    /// What the policy writes.
    #[arg(long, default_value = "implications")]
    kind: String,
    /// Comma-separated: given, written. What candidates are rewarded by; each is a practice of its own.
    #[arg(long, value_delimiter = ',', default_value = "given")]
    questions: Vec<String>,
    /// default or paper.
    #[arg(long, default_value = "default")]
    preset: String,
    /// Settings of the practice laid over the preset, as JSON: {"contexts_per_round": 5}. The preset's `minutes` holds
    /// only where it is said here.
    #[arg(long, default_value = "{}")]
    outer: String,
    /// How the practice writes and learns, laid over the preset, as JSON: {"self_edit": {"temperature": 1.0}}.
    /// The rows of its kind are written alike.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    practise_set: String,
}

/// Practices with their settings read, alike but for their seeds. All of it tells measurements apart.
#[derive(Serialize)]
pub struct Planned {
    pub rounds: usize,
    practices: u64,
    pub kind: SelfEditKind,
    #[serde(rename = "questions")]
    source: QuestionSource,
    preset: Preset,
    #[serde(rename = "outer")]
    options: OuterOptions,
    /// Laid over the preset's [`KnowledgeOptions`].
    #[serde(rename = "practise_set")]
    set: Value,
}

/// A practice that has ended.
pub struct Practised<'a> {
    pub plan: &'a Planned,
    pub domain: &'a KnowledgeOptions,
    /// With its own seed.
    pub options: OuterOptions,
    /// Behind the names of its curves, and what its steps are kept under.
    pub label: String,
    pub report: Report,
    /// The policy after each round.
    pub policies: Vec<Option<Adapter>>,
}

impl Practice {
    pub fn plans(&self) -> Result<Vec<Planned>, String> {
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
            // Practices side by side are alike, whatever else the machine did meanwhile.
            options.minutes = 0;
        }
        options.rounds = self.rounds.max(1);
        options.validate().map_err(|e| format!("--outer: {e}"))?;
        let set = named("practise-set", &self.practise_set)?;
        let plan = |source: &String| {
            let source = serde_json::from_value(word(source)).map_err(wrong("questions"))?;
            Ok(Planned {
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

impl Planned {
    /// Behind its rows' names.
    pub fn suffix(&self) -> &'static str {
        match self.source {
            QuestionSource::Given => "",
            QuestionSource::Written => " (own questions)",
        }
    }

    /// The preset over the table's own options: trained and graded as the table is, unless the preset or the command
    /// says otherwise.
    pub fn domain(&self, options: &IngestOptions) -> Result<KnowledgeOptions, String> {
        let wrong = |e: &dyn Display| format!("--practise-set: {e}");
        for (field, flag) in [("/self_edit/kind", "--kind"), ("/questions", "--questions")] {
            if self.set.pointer(field).is_some() {
                let field = field[1..].replace('/', ".");
                return Err(format!("--practise-set: {field} is said by {flag}"));
            }
        }
        let merged = KnowledgeOptions::merged(self.preset, options, &self.set);
        let mut domain: KnowledgeOptions = serde_json::from_value(merged).map_err(|e| wrong(&e))?;
        domain.self_edit.kind = self.kind;
        domain.questions = self.source;
        domain.validate().map_err(|e| wrong(&e))?;
        domain.fits(&self.options).map_err(|e| wrong(&e))?;
        Ok(domain)
    }
}

/// No passage is practised on and in the table.
pub fn apart(practised: &[KnowledgeContext], table: &[compare::EvalPassage]) -> Result<(), String> {
    let in_both = practised
        .iter()
        .filter(|p| table.iter().any(|c| c.passage.text == p.passage.text));
    match in_both.count() {
        0 => Ok(()),
        n => Err(format!(
            "--practise-on: {n} of its passages are in the table too; practise on others"
        )),
    }
}

/// All practices of a plan, one after the other.
pub fn practise<'a>(
    bench: &Bench,
    plan: &'a Planned,
    domain: &'a KnowledgeOptions,
    cases: &[KnowledgeContext],
) -> Result<Vec<Practised<'a>>, String> {
    if plan.options.held_out >= cases.len() {
        return Err(format!(
            "held_out: {} of {} passages leave none to practise on",
            plan.options.held_out,
            cases.len()
        ));
    }
    (0..plan.practices)
        .map(|nth| {
            let label = match nth {
                0 => plan.suffix().to_owned(),
                _ => format!("{}, practice {}", plan.suffix(), nth + 1),
            };
            let seed = plan.options.seed.wrapping_add(nth);
            let options = OuterOptions {
                seed,
                ..plan.options.clone()
            };
            eprintln!("practising on passages drawn from {}{label}", cases.len());
            let (report, policies) = one(bench, &label, &options, domain, cases)?;
            Ok(Practised {
                plan,
                domain,
                options,
                label,
                report,
                policies,
            })
        })
        .collect()
}

/// The report, and the policy after each round.
fn one(
    bench: &Bench,
    label: &str,
    options: &OuterOptions,
    domain: &KnowledgeOptions,
    cases: &[KnowledgeContext],
) -> Result<(Report, Vec<Option<Adapter>>), String> {
    let page = bench.notebook.page(label);
    let start = outer::OuterLoop {
        model: &bench.model,
        others: &[],
        tasks: &MemoryTasks::default(),
        domain,
        contexts: cases,
        options,
        policy: None,
        practised: &[],
        journal: &page,
        policies: &page,
    };
    let OuterOutcome { report, .. } = outer::run(&start).map_err(|e| e.to_string())?;
    let (mut policies, mut policy) = (Vec::new(), None);
    for round in &report.rounds {
        let taught = page.load(&format!("round:{}:policy", round.round));
        let taught = taught.map_err(|e| e.to_string())?;
        policy = taught.map(|(policy, _)| policy).or(policy);
        policies.push(policy.clone());
    }
    Ok((report, policies))
}

/// Reward and held-out gain, round by round.
pub fn plots(practised: &[Practised<'_>]) -> Vec<(String, String)> {
    let flat = |x: usize, y: f32| (x as f32, y, y, y);
    let (mut rewards, mut gains) = (Vec::new(), Vec::new());
    for Practised { label, report, .. } in practised {
        let curve = |name: &str, of: fn(&outer::report::Round) -> f32| Curve {
            name: format!("{name}{label}"),
            points: report.rounds.iter().map(|r| flat(r.round, of(r))).collect(),
        };
        rewards.push(curve("all candidates", |r| r.reward));
        rewards.push(curve("best of each context", |r| r.best_reward));
        let scored = report.rounds.iter().map(|r| (r.round, r.held_out.as_ref()));
        let scored = std::iter::once((0, report.before.as_ref())).chain(scored);
        let point = |(round, h): (usize, Option<&outer::report::HeldOut>)| {
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
