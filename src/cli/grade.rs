//! `autodidact grade`: how often the graders agree with an expert.

use autodidact::learn::grading::Grader;
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Grade {
    /// A line a verdict: {"gold", "answer", "correct"}.
    #[arg(long)]
    verdicts: PathBuf,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    gold: String,
    answer: String,
    correct: bool,
}

impl Grade {
    pub fn run(self) -> Result<(), String> {
        let path = self.verdicts.display();
        let text = std::fs::read_to_string(&self.verdicts);
        let text = text.map_err(|e| format!("cannot read {path}: {e}"))?;
        let parse = |(i, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| format!("{path}, line {}: {e}", i + 1))
        };
        let verdicts: Vec<Verdict> = text
            .lines()
            .enumerate()
            .map(parse)
            .collect::<Result<_, _>>()?;
        let rows = Grader::OVER_WORDS.map(|grader| {
            let agrees = |v: &&Verdict| grader.correct(&v.gold, &v.answer) == v.correct;
            let agreed = verdicts.iter().filter(agrees).count();
            (grader, agreed as f64 / verdicts.len().max(1) as f64)
        });
        if self.json {
            let row = |(grader, share): &(Grader, f64)| serde_json::json!({"grader": grader, "agreement": share, "verdicts": verdicts.len()});
            let rows: Vec<_> = rows.iter().map(row).collect();
            println!("{}", serde_json::Value::from(rows));
        } else {
            for (grader, share) in rows {
                let default = if grader == Grader::default() {
                    " (default)"
                } else {
                    ""
                };
                println!(
                    "{grader:?}{default}: agrees with {:.1} % of {} verdicts",
                    100.0 * share,
                    verdicts.len()
                );
            }
        }
        Ok(())
    }
}
