//! The reliability of the rewards: the same candidates are measured several times, from new seeds.

use super::data::Data;
use super::output::{give, markdown};
use autodidact::learn::outer::domains::knowledge::{KnowledgeContext, KnowledgeOptions};
use autodidact::learn::outer::options::{Preset, Reward};
use autodidact::study::reliability::{Size, study};
use autodidact::study::settings::Keyed;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct RewardStudy {
    #[command(flatten)]
    data: Data,
    /// The kind of self-edit to write.
    #[arg(long, default_value = "implications")]
    kind: String,
    /// Number of self-edits for each passage.
    #[arg(long, default_value_t = 4)]
    candidates: usize,
    /// Number of trainings for each candidate.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Trainings in one batch.
    #[arg(long, default_value_t = 4)]
    pack: usize,
}

impl RewardStudy {
    pub fn run(self) -> Result<(), String> {
        self.data.refuse_judge()?;
        self.data.refuse_teacher()?;
        let kind = serde_json::from_value(Value::String(self.kind.clone()));
        let kind = kind.map_err(|e| format!("--kind: {e}"))?;
        if !(2..=16).contains(&self.candidates) || !(2..=16).contains(&self.repeats) {
            return Err(
                "--candidates and --repeats are from 2 to 16: there is no variance of one".into(),
            );
        }
        let [seed] = self.data.seeds[..] else {
            return Err(
                "--seeds: a study has one; --repeats trains each candidate from more".into(),
            );
        };
        let size = Size {
            candidates: self.candidates,
            repeats: self.repeats,
            pack: self.pack,
            seed,
        };
        let more = json!({"kind": kind, "size": size, "rewards": Reward::ALL});
        let bench = self.data.open(Keyed::ByTable, more)?;
        let mut domain = KnowledgeOptions::preset(Preset::Default, &bench.options);
        domain.self_edit.kind = kind;
        domain.validate().map_err(|e| e.to_string())?;
        let cases = bench.cases.iter();
        let cases: Vec<KnowledgeContext> = cases
            .map(|c| KnowledgeContext::new(c.passage.clone(), c.questions.clone()))
            .collect();
        let (rows, measured) = study(&bench.model, &domain, &cases, size, &bench.journal)
            .map_err(|e| e.to_string())?;
        let head = [
            "reward",
            "reliability of one measurement",
            "of the mean of all",
            "correlation with accuracy gain",
            "chosen by one: accuracy gained in the others",
            "s a measurement",
            "candidates",
            "repeats",
        ];
        let number = |v: Option<f32>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
        let cells = rows.iter().map(|r| {
            vec![
                r.reward.name().to_owned(),
                number(r.reliability.map(|r| r.single)),
                number(r.reliability.map(|r| r.mean)),
                number(r.with_accuracy),
                r.chosen.to_string(),
                format!("{:.1}", r.seconds),
                measured.len().to_string(),
                size.repeats.to_string(),
            ]
        });
        let cells: Vec<Vec<String>> = cells.collect();
        let title = "Reliability of rewards: share of the variance that is between candidates";
        let text = markdown(title, &bench.about, &head, &cells);
        let value = json!({"about": bench.about, "rows": rows, "measured": measured});
        give(
            "reward",
            bench.out.as_deref(),
            bench.json,
            &text,
            &value,
            &[],
        )
    }
}
