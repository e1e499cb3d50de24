//! A request to practise, as clients write it.

use crate::learn::grading::grader::Grader;
use crate::learn::options::training::InnerOptions;
use crate::learn::outer::domains::fewshot::FewShotOptions;
use crate::learn::outer::domains::knowledge::{QuestionSource, WritingOptions};
use crate::learn::outer::options::{Baseline, Keep, Preset, Reward, TrainDomain};
use crate::question::Question;
use crate::workflows::refusal::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainRequest {
    pub domain: TrainDomain,
    /// The adapter that is to write self-edits; made if there is none, continued if there is
    pub policy: String,
    /// What to practise on; this or `dataset`
    #[schema(value_type = Option<Vec<ContextInput>>)]
    pub contexts: Option<Vec<Value>>,
    /// A file named under `[datasets]` in the configuration
    pub dataset: Option<String>,
    /// What is not given below is as this says
    #[serde(default)]
    pub preset: Preset,
    pub rounds: Option<usize>,
    /// Contexts practised on in a round
    pub contexts_per_round: Option<usize>,
    /// The time to be done in, about: contexts are left out where the machine is too slow for all. 0: no limit. The
    /// default preset has an hour, unless `contexts_per_round` is given
    pub minutes: Option<u32>,
    /// Self-edits written for a context
    pub candidates: Option<usize>,
    /// Trainings of each candidate, from different seeds
    pub repeats: Option<usize>,
    pub keep: Option<Keep>,
    pub reward: Option<Reward>,
    /// What a candidate's gain is counted from: what the base answers, or what is answered after learning the context
    /// without any self-edit (not with `halving`, the reward `rubric` or few-shot tasks)
    pub baseline: Option<Baseline>,
    /// Train first a part of the epochs, and only the better half of a context's candidates further
    pub halving: Option<bool>,
    /// Contexts set aside to score the policy on; at most a quarter unless given
    pub held_out: Option<usize>,
    /// Candidates trained together in one batch
    pub pack: Option<usize>,
    #[schema(value_type = Option<InnerOptions>)]
    pub policy_training: Option<Value>,
    /// How the policy writes
    #[schema(value_type = Option<WritingOptions>)]
    pub self_edit: Option<Value>,
    /// One candidate's training
    #[schema(value_type = Option<InnerOptions>)]
    pub training: Option<Value>,
    /// What candidates are rewarded by: the contexts' questions, or the model's own
    pub questions: Option<QuestionSource>,
    /// Questions that the model writes for a context
    pub probes: Option<usize>,
    pub grader: Option<Grader>,
    /// How tasks with demonstrations are practised
    #[schema(value_type = Option<FewShotOptions>)]
    pub fewshot: Option<Value>,
    /// Everything drawn is drawn from it
    pub seed: Option<u64>,
}

/// A task with demonstrations, whose answers are known.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskInput {
    pub title: String,
    /// As `/adapt` takes it, with an `output` beside each test input
    #[schema(value_type = Object)]
    pub task: Value,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextInput {
    pub title: String,
    /// The passage; `context` means the same
    #[serde(alias = "context")]
    pub text: String,
    /// Without any the model writes its own
    #[serde(default)]
    pub questions: Vec<Question>,
}

impl TrainRequest {
    /// What is practised on is in the request or in a file.
    pub fn check_source(&self) -> Result<(), Refusal> {
        if self.contexts.is_some() && self.dataset.is_some() {
            let detail = "Send contexts or name a dataset, not both.";
            return Err(Refusal::invalid("dataset", detail));
        }
        Ok(())
    }

    /// Options of another domain would do nothing.
    pub fn check_domain(&self) -> Result<(), Refusal> {
        let (field, theirs) = match self.domain {
            TrainDomain::Knowledge => {
                let field = self.fewshot.as_ref().map(|_| "fewshot");
                (field.map(str::to_owned), "fewshot")
            }
            TrainDomain::Fewshot => (self.knowledge().keys().next().cloned(), "knowledge"),
        };
        match field {
            None => Ok(()),
            Some(field) => {
                let detail = format!("{field} is an option of the domain {theirs}.");
                Err(Refusal::invalid(field, detail))
            }
        }
    }

    /// The options of the loop that were given.
    pub fn outer(&self) -> Map<String, Value> {
        filled([
            ("rounds", json!(self.rounds)),
            ("contexts_per_round", json!(self.contexts_per_round)),
            ("minutes", json!(self.minutes)),
            ("candidates", json!(self.candidates)),
            ("repeats", json!(self.repeats)),
            ("keep", json!(self.keep)),
            ("reward", json!(self.reward)),
            ("baseline", json!(self.baseline)),
            ("halving", json!(self.halving)),
            ("held_out", json!(self.held_out)),
            ("pack", json!(self.pack)),
            ("policy_training", json!(self.policy_training)),
            ("seed", json!(self.seed)),
        ])
    }

    /// The options of the domain `knowledge` that were given.
    pub fn knowledge(&self) -> Map<String, Value> {
        filled([
            ("self_edit", json!(self.self_edit)),
            ("training", json!(self.training)),
            ("questions", json!(self.questions)),
            ("probes", json!(self.probes)),
            ("grader", json!(self.grader)),
        ])
    }
}

fn filled<const N: usize>(options: [(&str, Value); N]) -> Map<String, Value> {
    let given = options.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(k, v)| (k.to_owned(), v)).collect()
}
