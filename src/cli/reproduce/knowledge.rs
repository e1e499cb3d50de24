//! The single-passage table: the base, the passage, self-edits before practice, a teacher's self-edits, and self-edits
//! after each round of the outer loop.

use super::data::{Bench, Data, arms};
use super::output::{give, markdown};
use super::practice::{Practice, plots};
use autodidact::learn::knowledge::datasets;
use autodidact::learn::options::update::IngestOptions;
use autodidact::learn::ports::model::Adapter;
use autodidact::learn::stats::Estimate;
use autodidact::pool::tasks::MemoryTasks;
use autodidact::study::compare::{Arm, ArmSpec, KnowledgeRow, difference, run};
use autodidact::study::practice::{PracticeRun, apart, practise, written_by};
use autodidact::study::settings::Keyed;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Knowledge {
    #[command(flatten)]
    data: Data,
    /// Arms, comma-separated: base, passage, rewrite, implications, self-qa, implications-long,
    /// chain-of-thought, teacher, open-book.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    #[command(flatten)]
    practice: Practice,
}

impl Knowledge {
    pub fn run(self) -> Result<(), String> {
        let plans = self.practice.plans()?;
        let mut arms = arms(&self.arms, self.data.has_teacher())?;
        for plan in plans.iter().filter(|p| p.rounds > 0) {
            // The rows after practice are compared with the same kind before practice.
            let untrained = Arm::Learn(plan.kind);
            if !arms.contains(&untrained) {
                arms.push(untrained);
            }
        }
        let names: Vec<&str> = arms.iter().map(|a| a.name()).collect();
        let contexts = self.practice.contexts()?;
        let named = contexts.iter().map(|c| (&c.passage, c.gold.as_slice()));
        let more = json!({"arms": names, "practice": plans,
            "practised_on": contexts.len(), "practised_on_digest": datasets::digest(named)});
        let bench = self.data.open(Keyed::ByPassage, more)?;
        apart(&contexts, &bench.cases)?;
        let practices = plans.iter().filter(|p| p.rounds > 0);
        let practices = practices.map(|plan| Ok((plan, plan.domain(&bench.options)?)));
        let practices = practices.collect::<Result<Vec<_>, String>>()?;
        let mut rows = Vec::new();
        for arm in arms {
            let practised = practices.iter().find(|(p, _)| arm == Arm::Learn(p.kind));
            let options = practised.map_or(bench.options.clone(), |(_, d)| {
                written_by(&bench.options, d)
            });
            rows.push(measure(&bench, arm.name().to_owned(), arm, &[], &options)?);
        }
        let mut reports = Vec::new();
        for (plan, domain) in &practices {
            plan.check_contexts(&contexts)?;
            let mut practised = Vec::new();
            for nth in 0..plan.practices {
                let (of, label) = (contexts.len(), plan.label(nth));
                eprintln!("practising on passages drawn from {of}{label}");
                let (model, journal) = (&bench.model, &bench.journal);
                let tasks = MemoryTasks::default();
                let run = practise(model, journal, plan, domain, &contexts, nth, &tasks)?;
                practised.push(run);
            }
            let (untrained, options) = (plan.kind.name(), written_by(&bench.options, domain));
            for nth in 0..plan.rounds {
                let name = format!("{untrained}, round {}{}", nth + 1, plan.suffix());
                let policies: Vec<_> = practised.iter().map(|p| p.policies[nth].clone()).collect();
                let mut row = measure(&bench, name, Arm::Learn(plan.kind), &policies, &options)?;
                let before = rows.iter().find(|r: &&KnowledgeRow| r.arm == untrained);
                row.difference = before.map(|before| difference(&row, before));
                rows.push(row);
            }
            reports.extend(practised);
        }
        finish(&bench, &rows, &reports)
    }
}

fn measure(
    bench: &Bench,
    name: String,
    arm: Arm,
    policies: &[Option<Adapter>],
    options: &IngestOptions,
) -> Result<KnowledgeRow, String> {
    let spec = ArmSpec {
        name,
        arm,
        policies,
    };
    let row = run(
        &bench.model,
        &bench.cases,
        &spec,
        options,
        &bench.seeds,
        &bench.journal,
    );
    let row = row.map_err(|e| format!("{}: {e}", spec.name))?;
    eprintln!("\r{:<14} {}", spec.name, row.accuracy);
    Ok(row)
}

fn finish(
    bench: &Bench,
    rows: &[KnowledgeRow],
    practised: &[PracticeRun<'_>],
) -> Result<(), String> {
    let head = [
        "trained on",
        "accuracy [95 % interval]",
        "nats a gold token",
        "answers",
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
        let rounds = p.report.rounds.iter().map(|r| r.contexts.len().to_string());
        let (rounds, held_out) = (rounds.collect::<Vec<_>>(), p.report.held_out_contexts.len());
        text += &format!(
            "\nPractice{} was on {} of the passages drawn for it, round by round; {held_out} others were held out.\n",
            p.label,
            rounds.join(" + ")
        );
    }
    // All practices of a command write the same kind with the same settings.
    if let Some(p) = practised.first() {
        let (kind, drawn) = (p.plan.kind.name(), p.domain.self_edit.temperature);
        let others = bench.options.self_edit.temperature;
        text += &format!(
            "\nNotes of the `{kind}` rows were drawn at temperature {drawn}, as in practice; all others at {others}.\n"
        );
    }
    let practice: Vec<Value> = practised
        .iter()
        .map(|p| json!({"domain": p.domain, "outer": p.options, "report": p.report}))
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

/// The accuracy of each row by the judge's grades; empty without a judge.
fn judged(bench: &Bench, rows: &[KnowledgeRow]) -> Result<Vec<(String, Estimate)>, String> {
    let mut judged = Vec::new();
    for row in rows {
        let seeds = bench.seeds.len();
        if let Some(accuracy) = bench.helpers.judge(row, &bench.cases, seeds)? {
            judged.push((row.arm.clone(), accuracy));
        }
    }
    Ok(judged)
}
