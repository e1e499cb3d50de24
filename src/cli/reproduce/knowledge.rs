//! The single-passage table: base, passage, self-edits before practice, a teacher's, and after each
//! round of the outer loop.

use super::data::{Bench, Data, arms, read};
use super::output::{Curve, give, markdown, plot};
use autodidact::learn::compare::{self, Arm, Row, Way, difference, run};
use autodidact::learn::datasets;
use autodidact::learn::knowledge::domain::{Case, KnowledgeOptions, QuestionSource};
use autodidact::learn::model::Adapter;
use autodidact::learn::options::{IngestOptions, SelfEditKind};
use autodidact::learn::outer::options::{OuterOptions, Preset};
use autodidact::learn::outer::report::Report;
use autodidact::learn::outer::{self, Outcome, Shelf};
use autodidact::learn::stats::Estimate;
use autodidact::pool::tasks::MemoryTasks;
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Display;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Knowledge {
    #[command(flatten)]
    data: Data,
    /// Comma-separated: base, passage, rewrite, implications, self-qa, implications-long,
    /// chain-of-thought, teacher, open-book.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    #[command(flatten)]
    practice: Practice,
}

/// The outer loop before the last rows.
#[derive(Debug, Args)]
struct Practice {
    /// Practise for so many rounds, and add a row after each. Needs --practise-on.
    #[arg(long, default_value_t = 0, requires = "practise_on")]
    rounds: usize,
    /// Passages to practise on, in the same form; none of them may be in the table.
    #[arg(long, value_name = "FILE")]
    practise_on: Option<PathBuf>,
    /// At most this many of them.
    #[arg(long)]
    practise_limit: Option<usize>,
    /// What the policy writes.
    #[arg(long, default_value = "implications")]
    kind: String,
    /// Comma-separated: given, written. What candidates are rewarded by; each is a practice of its own.
    #[arg(long, value_delimiter = ',', default_value = "given")]
    questions: Vec<String>,
    /// default or paper.
    #[arg(long, default_value = "default")]
    preset: String,
    /// Settings of the practice laid over the preset, as JSON: {"contexts_per_round": 5}.
    #[arg(long, default_value = "{}")]
    outer: String,
    /// How the practice writes and learns, laid over the preset, as JSON: {"self_edit": {"temperature": 1.0}}.
    /// The rows of its kind are written alike.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    practise_set: String,
}

/// A practice with its settings read.
struct Planned {
    rounds: usize,
    kind: SelfEditKind,
    source: QuestionSource,
    preset: Preset,
    options: OuterOptions,
    /// Laid over the preset's [`KnowledgeOptions`].
    set: Value,
    /// Between its rows' names and its steps.
    suffix: &'static str,
}

/// A practice that has ended.
struct Practised<'a> {
    plan: &'a Planned,
    domain: &'a KnowledgeOptions,
    report: Report,
}

impl Knowledge {
    pub fn run(self) -> Result<(), String> {
        let plans = self.practice.plans()?;
        let mut arms = arms(&self.arms, self.data.has_teacher())?;
        for plan in plans.iter().filter(|p| p.rounds > 0) {
            // Its rows are measured against the same kind before practice.
            let untrained = Arm::Learn(plan.kind);
            if !arms.contains(&untrained) {
                arms.push(untrained);
            }
        }
        let names: Vec<&str> = arms.iter().map(|a| a.name()).collect();
        let plan = plans
            .iter()
            .map(|p| json!([p.rounds, p.kind, p.source, p.preset, p.options, p.set]));
        let practised = self.practice.contexts()?;
        let named = practised.iter().map(|c| (&c.passage, c.gold.as_slice()));
        let more = json!({"arms": names, "practice": plan.collect::<Vec<_>>(),
            "practised_on": practised.len(), "practised_on_digest": datasets::digest(named)});
        let bench = self.data.open(more)?;
        apart(&practised, &bench.cases)?;
        let practices = plans.iter().filter(|p| p.rounds > 0);
        let practices = practices.map(|plan| Ok((plan, plan.domain(&bench.options)?)));
        let practices = practices.collect::<Result<Vec<_>, String>>()?;
        let mut rows = Vec::new();
        for arm in arms {
            let practised = practices.iter().find(|(p, _)| arm == Arm::Learn(p.kind));
            let options = practised.map_or(bench.options.clone(), |(_, d)| written_by(&bench, d));
            rows.push(measure(&bench, arm.name().to_owned(), arm, None, &options)?);
        }
        let mut reports = Vec::new();
        for (plan, domain) in &practices {
            let (report, policies) = practise(&bench, plan, domain, &practised)?;
            let (untrained, options) = (plan.kind.name(), written_by(&bench, domain));
            for (nth, policy) in policies.iter().enumerate() {
                let name = format!("{untrained}, round {}{}", nth + 1, plan.suffix);
                let (arm, policy) = (Arm::Learn(plan.kind), policy.as_ref());
                let mut row = measure(&bench, name, arm, policy, &options)?;
                let before = rows.iter().find(|r: &&Row| r.arm == untrained);
                row.difference = before.map(|before| difference(&row, before));
                rows.push(row);
            }
            reports.push(Practised {
                plan,
                domain,
                report,
            });
        }
        finish(&bench, &rows, &reports)
    }
}

impl Practice {
    fn plans(&self) -> Result<Vec<Planned>, String> {
        let named = |name: &str, text: &str| -> Result<Value, String> {
            serde_json::from_str(text).map_err(|e| format!("--{name}: {e}"))
        };
        let word = |text: &str| Value::String(text.to_owned());
        let wrong = |name: &'static str| move |e: serde_json::Error| format!("--{name}: {e}");
        let kind = serde_json::from_value(word(&self.kind)).map_err(wrong("kind"))?;
        let preset: Preset = serde_json::from_value(word(&self.preset)).map_err(wrong("preset"))?;
        let outer = OuterOptions::merged(preset, &named("outer", &self.outer)?);
        let mut options: OuterOptions = serde_json::from_value(outer).map_err(wrong("outer"))?;
        options.rounds = self.rounds.max(1);
        options.validate().map_err(|e| format!("--outer: {e}"))?;
        let set = named("practise-set", &self.practise_set)?;
        let plan = |source: &String| {
            let source = serde_json::from_value(word(source)).map_err(wrong("questions"))?;
            Ok(Planned {
                rounds: self.rounds,
                kind,
                source,
                preset,
                options: options.clone(),
                set: set.clone(),
                suffix: match source {
                    QuestionSource::Given => "",
                    QuestionSource::Written => " (own questions)",
                },
            })
        };
        self.questions.iter().map(plan).collect()
    }

    fn contexts(&self) -> Result<Vec<Case>, String> {
        let Some(path) = self.practise_on.as_ref().filter(|_| self.rounds > 0) else {
            return Ok(Vec::new());
        };
        let entries = read(path)?.into_iter();
        let entries = entries.take(self.practise_limit.unwrap_or(usize::MAX));
        Ok(entries.map(|e| Case::new(e.passage, e.questions)).collect())
    }
}

impl Planned {
    /// The preset over the table's own options: trained and graded as the table is, unless the preset or the command
    /// says otherwise.
    fn domain(&self, options: &IngestOptions) -> Result<KnowledgeOptions, String> {
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
        Ok(domain)
    }
}

/// The table's options, with notes drawn as the practice draws them: a policy is judged by what it practised, and so
/// is what it is compared with.
fn written_by(bench: &Bench, domain: &KnowledgeOptions) -> IngestOptions {
    let mut options = bench.options.clone();
    options.self_edit.temperature = domain.self_edit.temperature;
    options.self_edit.top_p = domain.self_edit.top_p;
    options
}

/// No passage is practised on and in the table.
fn apart(practised: &[Case], table: &[compare::Case]) -> Result<(), String> {
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

/// The report, and the policy after each round.
fn practise(
    bench: &Bench,
    plan: &Planned,
    domain: &KnowledgeOptions,
    cases: &[Case],
) -> Result<(Report, Vec<Option<Adapter>>), String> {
    eprintln!("practising on {} passages{}", cases.len(), plan.suffix);
    if plan.options.held_out >= cases.len() {
        return Err(format!(
            "held_out: {} of {} passages leave none to practise on",
            plan.options.held_out,
            cases.len()
        ));
    }
    let page = bench.notebook.page(plan.suffix);
    let start = outer::Start {
        model: &bench.model,
        others: &[],
        tasks: &MemoryTasks::default(),
        domain,
        contexts: cases,
        options: &plan.options,
        policy: None,
        journal: &page,
        shelf: &page,
    };
    let Outcome { report, .. } = outer::run(&start).map_err(|e| e.to_string())?;
    let (mut policies, mut policy) = (Vec::new(), None);
    for round in &report.rounds {
        let taught = page.kept(&format!("round:{}:policy", round.round));
        let taught = taught.map_err(|e| e.to_string())?;
        policy = taught.map(|(policy, _)| policy).or(policy);
        policies.push(policy.clone());
    }
    Ok((report, policies))
}

fn measure(
    bench: &Bench,
    name: String,
    arm: Arm,
    policy: Option<&Adapter>,
    options: &IngestOptions,
) -> Result<Row, String> {
    let way = Way { name, arm, policy };
    let row = run(
        &bench.model,
        &bench.cases,
        &way,
        options,
        &bench.seeds,
        &bench.notebook,
    );
    let row = row.map_err(|e| format!("{}: {e}", way.name))?;
    eprintln!("\r{:<14} {}", way.name, row.accuracy);
    Ok(row)
}

fn finish(bench: &Bench, rows: &[Row], practised: &[Practised<'_>]) -> Result<(), String> {
    let head = [
        "trained on",
        "accuracy [95 % interval]",
        "nats a gold token",
        "questions",
        "seeds",
        "s a passage",
        "tokens a passage",
        "against untrained",
    ];
    let cells = rows.iter().map(|r| {
        vec![
            r.arm.clone(),
            r.accuracy.to_string(),
            format!("{:.2}", r.logprob),
            r.accuracy.n.to_string(),
            r.seeds.to_string(),
            format!("{:.1}", r.seconds_per_passage),
            format!("{:.0}", r.tokens_per_passage),
            r.difference
                .as_ref()
                .map_or(String::new(), |d| d.accuracy.to_string()),
        ]
    });
    let cells: Vec<Vec<String>> = cells.collect();
    let judged = judged(bench, rows)?;
    let mut text = markdown(
        "Knowledge incorporation, one passage at a time",
        &bench.about,
        &head,
        &cells,
    );
    text += &bench.helpers.note(&judged);
    for p in practised {
        let (kind, drawn) = (p.plan.kind.name(), p.domain.self_edit.temperature);
        let others = bench.options.self_edit.temperature;
        text += &format!(
            "\nNotes of the `{kind}` rows were drawn at temperature {drawn}, as in practice; all others at {others}.\n"
        );
    }
    let practice: Vec<Value> = practised
        .iter()
        .map(|p| json!({"domain": p.domain, "outer": p.plan.options, "report": p.report}))
        .collect();
    let value = json!({"model": bench.id, "options": bench.options, "passages": bench.cases.len(),
        "seeds": bench.seeds, "about": bench.about, "rows": rows, "practice": practice,
        "teacher_seconds_per_passage": bench.helpers.teacher_seconds(), "judged": judged});
    let out = bench.out.as_deref();
    give(
        "knowledge",
        out,
        bench.json,
        &text,
        &value,
        &plots(practised),
    )
}

/// Each row's accuracy as the judge sees it, where there is one.
fn judged(bench: &Bench, rows: &[Row]) -> Result<Vec<(String, Estimate)>, String> {
    let mut judged = Vec::new();
    for row in rows {
        let seeds = bench.seeds.len();
        if let Some(accuracy) = bench.helpers.judge(row, &bench.cases, seeds)? {
            judged.push((row.arm.clone(), accuracy));
        }
    }
    Ok(judged)
}

/// Reward and held-out gain, round by round.
fn plots(practised: &[Practised<'_>]) -> Vec<(String, String)> {
    let flat = |x: usize, y: f32| (x as f32, y, y, y);
    let (mut rewards, mut gains) = (Vec::new(), Vec::new());
    for Practised { plan, report, .. } in practised {
        let curve = |name: &str, of: fn(&outer::report::Round) -> f32| Curve {
            name: format!("{name}{}", plan.suffix),
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
            name: format!("held out{}", plan.suffix),
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
