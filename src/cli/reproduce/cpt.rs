//! The continued-pretraining table: one adapter learns all passages.

use super::data::{Data, arms};
use super::output::{give, markdown};
use autodidact::learn::options::self_edit::SelfEditKind;
use autodidact::study::compare::Arm;
use autodidact::study::cpt::run;
use autodidact::study::settings::Keyed;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub struct Cpt {
    #[command(flatten)]
    data: Data,
    /// Arms, comma-separated: base, passage, rewrite, implications, self-qa, implications-long,
    /// chain-of-thought, teacher. Default: base, passage, implications, self-qa, teacher.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
}

const ARMS: [Arm; 5] = [
    Arm::Base,
    Arm::Learn(SelfEditKind::None),
    Arm::Learn(SelfEditKind::Implications),
    Arm::Learn(SelfEditKind::SelfQa),
    Arm::Teacher,
];

impl Cpt {
    pub fn run(self) -> Result<(), String> {
        self.data.refuse_judge()?;
        let names: Vec<String> = match self.arms.is_empty() {
            true => {
                let taught = self.data.has_teacher();
                let arms = ARMS.iter().filter(|a| taught || **a != Arm::Teacher);
                arms.map(|a| a.name().to_owned()).collect()
            }
            false => self.arms,
        };
        let arms = arms(&names, self.data.has_teacher())?;
        if arms.contains(&Arm::OpenBook) {
            return Err("--arms: open-book learns nothing, so it is no row of this table".into());
        }
        let names: Vec<&str> = arms.iter().map(|a| a.name()).collect();
        let bench = self.data.open(Keyed::ByTable, json!({"arms": names}))?;
        let mut rows = Vec::new();
        for arm in arms {
            let (options, seeds) = (&bench.options, &bench.seeds);
            let row = run(
                &bench.model,
                &bench.cases,
                arm,
                options,
                seeds,
                &bench.journal,
            );
            let row = row.map_err(|e| format!("{}: {e}", arm.name()))?;
            eprintln!("\r{:<14} {}", row.arm, row.accuracy);
            rows.push(row);
        }
        let head = [
            "trained on",
            "accuracy [95 % interval]",
            "nats a gold token",
            "questions",
            "seeds",
            "sequences",
            "tokens",
            "s",
        ];
        let cells = rows.iter().map(|r| {
            vec![
                r.arm.clone(),
                r.accuracy.to_string(),
                format!("{:.2}", r.logprob),
                r.accuracy.n.to_string(),
                r.seeds.to_string(),
                format!("{:.0}", r.sequences),
                format!("{:.0}", r.tokens),
                format!("{:.0}", r.seconds),
            ]
        });
        let cells: Vec<Vec<String>> = cells.collect();
        let title = "Continued pretraining, all passages in one adapter";
        let text = markdown(title, &bench.about, &head, &cells);
        let value = json!({"about": bench.about, "rows": rows});
        give("cpt", bench.out.as_deref(), bench.json, &text, &value, &[])
    }
}
