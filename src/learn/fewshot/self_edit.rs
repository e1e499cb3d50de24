//! The self-edit of a few-shot task is a configuration of the training (SEAL §3.2). The model writes the
//! configuration under a grammar, so the text always parses. The grammar offers a few learning rates that differ
//! noticeably; a client may send any rate within the range.

use super::task::Task;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The configuration of a few-shot training: its data and its hyperparameters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = AdaptSelfEdit)]
pub struct SelfEdit {
    pub data_generation: DataGeneration,
    pub training: TrainingChoice,
}

/// The transformed copies of the demonstrations to train on. They apply to grids only, not to text tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataGeneration {
    /// Rotations, flips, reflections, a translation, the transpose
    pub use_basic_augmentations: bool,
    /// Double height, double width, both
    pub use_size_augmentations: bool,
    /// A rotation, flip or transpose, then double height and width
    pub use_chain_augmentations: bool,
    /// The grid repeated two or four times
    pub use_repeat_augmentations: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingChoice {
    pub strategy: Strategy,
    /// 0.000001 to 0.01
    pub learning_rate: f32,
    /// 1 to 20
    pub num_train_epochs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdaptStrategy)]
pub enum Strategy {
    TrainUsingAllTokens,
    TrainUsingOutputTokens,
}

/// No transformed copies, as a person would choose for a small model and little time. Recoloured and reordered copies
/// are trained on in any case.
impl Default for DataGeneration {
    fn default() -> Self {
        DataGeneration {
            use_basic_augmentations: false,
            use_size_augmentations: false,
            use_chain_augmentations: false,
            use_repeat_augmentations: false,
        }
    }
}

impl Default for TrainingChoice {
    fn default() -> Self {
        TrainingChoice {
            strategy: Strategy::TrainUsingOutputTokens,
            learning_rate: 5e-4,
            num_train_epochs: 2,
        }
    }
}

/// A field is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; it must be from {low} to {high}")]
pub struct OutOfRange {
    pub field: &'static str,
    pub found: String,
    pub low: String,
    pub high: String,
}

/// Fails if the value of `field` is outside `low` to `high`, both included.
pub fn within<T: PartialOrd + ToString>(
    field: &'static str,
    found: T,
    low: T,
    high: T,
) -> Result<(), OutOfRange> {
    if found >= low && found <= high {
        return Ok(());
    }
    Err(OutOfRange {
        field,
        found: found.to_string(),
        low: low.to_string(),
        high: high.to_string(),
    })
}

impl SelfEdit {
    /// Fails if the learning rate or the number of epochs is outside its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let TrainingChoice {
            learning_rate,
            num_train_epochs,
            ..
        } = self.training;
        within("training.learning_rate", learning_rate, 1e-6, 1e-2)?;
        within("training.num_train_epochs", num_train_epochs, 1, 20)
    }

    /// The configuration that the model wrote; `None` if the text is no JSON configuration or a field is out of range.
    pub fn read(text: &str) -> Option<Self> {
        let edit: SelfEdit = serde_json::from_str(text.trim()).ok()?;
        edit.check().is_ok().then_some(edit)
    }
}

/// The configuration that the prompt shows as the usual choice; small models copy it. Grid tasks get four times the
/// learning rate of text tasks. At that rate the model learns a rotation in a few dozen steps; trained on texts at a
/// higher rate than theirs, it begins to repeat itself.
pub fn usual(task: &Task) -> SelfEdit {
    let mut edit = SelfEdit::default();
    if let Task::Grid(_) = task {
        edit.training.learning_rate = 2e-3;
    }
    edit
}

/// The JSON schema that constrains the model's writing.
pub fn schema() -> Value {
    let object = |fields: Value| {
        let names: Vec<&String> = fields
            .as_object()
            .into_iter()
            .flat_map(|f| f.keys())
            .collect();
        json!({"type": "object", "properties": fields, "required": names,
               "additionalProperties": false})
    };
    let data = object(json!({
        "use_basic_augmentations": {"type": "boolean"},
        "use_size_augmentations": {"type": "boolean"},
        "use_chain_augmentations": {"type": "boolean"},
        "use_repeat_augmentations": {"type": "boolean"},
    }));
    let training = object(json!({
        "strategy": {"enum": ["train_using_all_tokens", "train_using_output_tokens"]},
        "learning_rate": {"enum": [0.0001, 0.0003, 0.0005, 0.001, 0.002]},
        "num_train_epochs": {"enum": [1, 2, 3, 4]},
    }));
    object(json!({"data_generation": data, "training": training}))
}

/// The prompt for the policy: the paper's tool descriptions and the demonstrations of the task.
pub fn prompt(task: &Task) -> Prompt {
    let usual = serde_json::to_string(&usual(task)).unwrap_or_default();
    let shown: Vec<String> = (task.demonstrations().iter())
        .map(|turn| format!("Input:\n{}\nOutput:\n{}", turn.user, turn.assistant))
        .collect();
    Prompt {
        system: Some(format!("{TOOLS} A usual choice is {usual}.")),
        user: format!("{}\n\nWrite the configuration.", shown.join("\n\n")),
        schema: Some(schema()),
        ..Prompt::default()
    }
}

const TOOLS: &str = "You configure how a small model trains on a task before it answers. From the \
    examples of the task choose:\n\
    use_basic_augmentations: also train on rotated and flipped copies.\n\
    use_size_augmentations: on copies of twice the size.\n\
    use_chain_augmentations: on rotated copies of twice the size.\n\
    use_repeat_augmentations: on copies repeated side by side.\n\
    strategy: train_using_all_tokens or train_using_output_tokens.\n\
    learning_rate and num_train_epochs: higher learns more and forgets more.\n\
    Answer with JSON alone.";

/// Generation limit, in tokens. No configuration is longer.
pub const EDIT_TOKENS: usize = 256;

/// Writes up to `candidates` different configurations into `edits`: the greedy one first, the others sampled at
/// `temperature`. On an error `edits` keeps the configurations that were finished before.
pub fn write(
    model: Interruptible<'_>,
    policy: Option<&Adapter>,
    task: &Task,
    candidates: usize,
    temperature: f32,
    seed: u64,
    edits: &mut Vec<SelfEdit>,
) -> Result<(), ModelError> {
    let greedy = Sampling::greedy(EDIT_TOKENS);
    let likeliest = model.generate(&[prompt(task)], policy, &greedy)?.concat();
    edits.extend(likeliest.iter().filter_map(|text| SelfEdit::read(text)));
    if candidates > 1 {
        // Twice as many as needed, because some samples are equal.
        let more = 2 * (candidates - 1);
        for edit in sample(model, policy, task, more, temperature, seed)? {
            if !edits.contains(&edit) {
                edits.push(edit);
            }
        }
    }
    edits.truncate(candidates);
    Ok(())
}

/// Samples `n` configurations independently; some may be equal, and unreadable ones are left out.
pub fn sample(
    model: Interruptible<'_>,
    policy: Option<&Adapter>,
    task: &Task,
    n: usize,
    temperature: f32,
    seed: u64,
) -> Result<Vec<SelfEdit>, ModelError> {
    let sampling = Sampling {
        temperature,
        seed,
        n,
        ..Sampling::greedy(EDIT_TOKENS)
    };
    let texts = model.generate(&[prompt(task)], policy, &sampling)?.concat();
    Ok(texts
        .iter()
        .filter_map(|text| SelfEdit::read(text))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_only_within_range() {
        let text = |rate: &str, epochs: &str| {
            format!(
                r#"{{"data_generation":{{"use_basic_augmentations":true}},
                "training":{{"strategy":"train_using_all_tokens","learning_rate":{rate},
                "num_train_epochs":{epochs}}}}}"#
            )
        };
        let edit = SelfEdit::read(&text("1e-4", "3")).unwrap();
        assert_eq!(edit.training.strategy, Strategy::TrainUsingAllTokens);
        for (rate, epochs) in [
            ("0.5", "1"),
            ("-1", "1"),
            ("1e-4", "0"),
            ("1e-4", "21"),
            ("1e-4", "1.5"),
        ] {
            assert_eq!(SelfEdit::read(&text(rate, epochs)), None, "{rate} {epochs}");
        }
        assert_eq!(SelfEdit::read("no configuration"), None);
        assert_eq!(
            SelfEdit::read("{\"training\":{\"optimizer\":\"sgd\"}}"),
            None
        );
    }

    #[test]
    fn what_the_schema_allows_is_within_range() {
        let schema = schema();
        let of = |field: &str| {
            let at = format!("/properties/training/properties/{field}/enum");
            schema.pointer(&at).unwrap().as_array().unwrap().clone()
        };
        for rate in of("learning_rate") {
            for epochs in of("num_train_epochs") {
                let training = json!({"learning_rate": rate, "num_train_epochs": epochs});
                let text = json!({"training": training}).to_string();
                assert!(SelfEdit::read(&text).is_some(), "{text}");
            }
        }
    }
}
