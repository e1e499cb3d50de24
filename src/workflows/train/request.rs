//! The request body of `/train`.

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
    /// The adapter to train as a policy. An existing one is continued, otherwise a new one is made
    pub policy: String,
    /// The contexts to practise on; give this or `dataset`
    #[schema(value_type = Option<Vec<ContextInput>>)]
    pub contexts: Option<Vec<Value>>,
    /// A file named under `[datasets]` in the configuration
    pub dataset: Option<String>,
    /// The defaults of the options below
    #[serde(default)]
    pub preset: Preset,
    pub rounds: Option<usize>,
    /// Number of contexts in a round
    pub contexts_per_round: Option<usize>,
    /// Approximate time limit in minutes: a slow machine leaves contexts out. 0: no limit. The default preset has an
    /// hour, unless `contexts_per_round` is given
    pub minutes: Option<u32>,
    /// Number of self-edits written for a context
    pub candidates: Option<usize>,
    /// Number of trainings of each candidate, from different seeds
    pub repeats: Option<usize>,
    pub keep: Option<Keep>,
    pub reward: Option<Reward>,
    /// The baseline of a candidate's gain: the base's answers, or the answers after learning the context without any
    /// self-edit (not with `halving`, the reward `rubric` or few-shot tasks)
    pub baseline: Option<Baseline>,
    /// Train all candidates for a part of the epochs, then only the better half of each context's candidates further
    pub halving: Option<bool>,
    /// Number of contexts set aside to score the policy on. Default: at most a quarter
    pub held_out: Option<usize>,
    /// Number of candidates trained together in one batch
    pub pack: Option<usize>,
    #[schema(value_type = Option<InnerOptions>)]
    pub policy_training: Option<Value>,
    /// Settings of the policy's self-edits
    #[schema(value_type = Option<WritingOptions>)]
    pub self_edit: Option<Value>,
    /// Settings of a candidate's training
    #[schema(value_type = Option<InnerOptions>)]
    pub training: Option<Value>,
    /// The questions that decide the reward: the contexts' own, or questions that the model writes
    pub questions: Option<QuestionSource>,
    /// Number of questions that the model writes for a context
    pub probes: Option<usize>,
    pub grader: Option<Grader>,
    /// Settings for tasks with demonstrations
    #[schema(value_type = Option<FewShotOptions>)]
    pub fewshot: Option<Value>,
    /// Seed of all random draws
    pub seed: Option<u64>,
}

/// A task with demonstrations and known answers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskInput {
    pub title: String,
    /// A task in the form of `/adapt`, with an `output` beside each test input
    #[schema(value_type = Object)]
    pub task: Value,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextInput {
    pub title: String,
    /// The passage. The name `context` is accepted too
    #[serde(alias = "context")]
    pub text: String,
    /// Without any the model writes its own
    #[serde(default)]
    pub questions: Vec<Question>,
}

impl TrainRequest {
    /// Refuses a request with both `contexts` and `dataset`.
    pub fn check_source(&self) -> Result<(), Refusal> {
        if self.contexts.is_some() && self.dataset.is_some() {
            let detail = "Send contexts or name a dataset, not both.";
            return Err(Refusal::invalid("dataset", detail));
        }
        Ok(())
    }

    /// Refuses options of the other domain, because they would do nothing.
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

    /// The given options of the outer loop.
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

    /// The given options of the domain `knowledge`.
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
