//! `autodidact probes check`: the general questions that the base answers right. Only questions that the base can
//! answer are useful to check updates with.

use super::open::{ModelArgs, Opened};
use autodidact::learn::inner::general;
use autodidact::learn::knowledge::Question;
use autodidact::learn::knowledge::closed_book::answer_in;
use autodidact::learn::ports::interruptible::Interruptible;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Probes {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Ask all general questions with greedy decoding, and show which answers are right
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// JSON list of {question, answer} to ask instead of the built-in questions
    #[arg(long)]
    questions: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Print every answer as JSON
    #[arg(long)]
    json: bool,
}

impl Probes {
    pub fn run(self) -> Result<(), String> {
        let What::Check(check) = self.what;
        check.run()
    }
}

impl Check {
    fn run(self) -> Result<(), String> {
        let questions: Vec<Question> = match &self.questions {
            None => general::all().to_vec(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        let Opened { id, model, .. } = self.model.open()?;
        let items = questions.iter().map(general::item);
        let items: Vec<_> = items.map(|i| (i.prompt, i.gold)).collect();
        let model = Interruptible::new(&model, &|| false);
        let answers = answer_in(model, None, &items, general::GRADER, general::ANSWER_TOKENS);
        let answers = answers.map_err(|e| e.to_string())?;
        let right = answers.iter().filter(|a| a.correct).count();
        if self.json {
            let rows = questions.iter().zip(&answers).map(|(q, a)| {
                serde_json::json!({"question": q.question, "answer": q.answer,
                    "got": a.answer, "correct": a.correct, "logprob": a.logprob})
            });
            let json = serde_json::json!({"model": id, "asked": questions.len(), "right": right,
                "probes": rows.collect::<Vec<_>>()});
            println!("{json:#}");
            return Ok(());
        }
        for (q, a) in questions.iter().zip(&answers).filter(|(_, a)| !a.correct) {
            let (question, answer) = (&q.question, &q.answer);
            println!("wrong: {question} gold: {answer}, got: {:?}", a.answer);
        }
        println!("{id} answers {right} of {} right", questions.len());
        Ok(())
    }
}
