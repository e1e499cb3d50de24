//! The knobs of an ingest, with their defaults. They are merged as JSON: built in ← the model's
//! entry in the catalogue ← `[learning]` in the configuration ← the request.

use super::strategy::{Method, Strategy};
use crate::learn::grading::grader::Grader;
use crate::learn::ports::model::Update;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestOptions {
    pub self_edit: SelfEditOptions,
    pub training: TrainingOptions,
    pub gate: GateOptions,
    /// Makes the whole update repeatable.
    pub seed: u64,
}

/// How the model writes its study notes (SEAL §3, appendix B).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SelfEditKind {
    /// Train on the passage alone.
    None,
    /// The passage, said differently.
    Rewrite,
    /// Statements that follow from the passage.
    Implications,
    /// Questions with their answers.
    SelfQa,
    /// Statements that follow from the passage, as many and as detailed as the model can.
    ImplicationsLong,
    /// Reasoning about the passage, a step a line.
    ChainOfThought,
}

impl SelfEditKind {
    pub const ALL: [SelfEditKind; 6] = [
        SelfEditKind::None,
        SelfEditKind::Rewrite,
        SelfEditKind::Implications,
        SelfEditKind::SelfQa,
        SelfEditKind::ImplicationsLong,
        SelfEditKind::ChainOfThought,
    ];

    pub fn name(self) -> &'static str {
        match self {
            SelfEditKind::None => "none",
            SelfEditKind::Rewrite => "rewrite",
            SelfEditKind::Implications => "implications",
            SelfEditKind::SelfQa => "self-qa",
            SelfEditKind::ImplicationsLong => "implications-long",
            SelfEditKind::ChainOfThought => "chain-of-thought",
        }
    }
}

/// Who writes self-edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Writer {
    /// The model that learns from them.
    #[default]
    Policy,
    /// The model under `[teacher]` in the configuration.
    Teacher,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelfEditOptions {
    pub kind: SelfEditKind,
    pub writer: Writer,
    /// The adapter that the model writes with, such as a policy that `/train` has made: an alias, or one
    /// version (`writer@2`). With none the base writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Self-edits written for a document; their sequences are trained on together. 1 to 16.
    pub samples: usize,
    /// Small models stay near the passage at 0.3 to 0.7; the paper's 7B used 1.0.
    pub temperature: f32,
    pub top_p: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// Rank of the LoRA. 1 to 256. An alias keeps the rank of its first version, but under `orthogonal` (1 to 64), where
    /// every document adds so many.
    pub rank: usize,
    pub alpha: f32,
    pub learning_rate: f32,
    /// Passes over the training sequences. 1 to 100.
    pub epochs: usize,
    /// Training sequences an optimizer step.
    pub batch_size: usize,
    /// Trains so many of the upper layers alone; all of them if null, or if there are no more. What the frozen ones below make of a
    /// sequence is computed once for all epochs.
    pub upper_layers: Option<usize>,
    /// What is trained on.
    pub method: Method,
    /// What keeps earlier documents. An alias that has a version goes on by the strategy that made it, unless the request
    /// says otherwise.
    pub strategy: Strategy,
    /// Earlier training sequences replayed for every new one, so that earlier documents stay.
    pub replay: f32,
    /// With the strategy `kl`, the share of each target that the model as it was decides. 0 to 0.95.
    pub stay: f32,
}

/// One LoRA training by itself, without replay. A request says what is to differ from the preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InnerOptions {
    /// Rank of the LoRA. 1 to 256.
    #[schema(required = false)]
    pub rank: usize,
    #[schema(required = false)]
    pub alpha: f32,
    #[schema(required = false)]
    pub learning_rate: f32,
    /// Passes over the training sequences. 1 to 100.
    #[schema(required = false)]
    pub epochs: usize,
    /// Training sequences an optimizer step.
    #[schema(required = false)]
    pub batch_size: usize,
    /// Trains so many of the upper layers alone; all of them if null, or if there are no more.
    #[serde(default)]
    pub upper_layers: Option<usize>,
}

impl InnerOptions {
    pub fn update(&self, seed: u64) -> Update {
        Update {
            rank: self.rank,
            alpha: self.alpha,
            learning_rate: self.learning_rate,
            epochs: self.epochs,
            batch_size: self.batch_size,
            seed,
            upper_layers: self.upper_layers,
            kept_ranks: 0,
        }
    }

    /// `at` is where the options stand in the request.
    pub fn validate(&self, at: &str) -> Result<(), OptionError> {
        let check = |field: &str, value: f64, low: f64, high: f64| {
            within(&format!("{at}.{field}"), value, low, high)
        };
        check("rank", self.rank as f64, 1.0, 256.0)?;
        check("alpha", self.alpha as f64, 0.01, 1024.0)?;
        check("learning_rate", self.learning_rate as f64, 1e-7, 0.1)?;
        check("epochs", self.epochs as f64, 1.0, 100.0)?;
        check("batch_size", self.batch_size as f64, 1.0, 64.0)?;
        let upper = self.upper_layers.unwrap_or(1);
        check("upper_layers", upper as f64, 1.0, 1000.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Publish only what is proven by probes.
    Probes,
    /// Publish whatever was trained.
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateOptions {
    pub mode: GateMode,
    /// The new document's probes must be answered better by at least this share (0 to 1).
    pub min_gain: f32,
    /// Share of the probes of earlier documents that one update may lose (0 to 1).
    pub retention_budget: f32,
    /// Share of the general probes that may be lost against the base, by all updates together (0 to 1). The
    /// default loses any number: they are asked and shown, but decide nothing until a budget is given.
    pub general_budget: f32,
    /// General probes asked around an update, of the hundred there are; 0 asks none. 0 to 100.
    pub general_probes: usize,
    /// Trainings tried before the update is refused. 1 to 5.
    pub attempts: usize,
    /// Probes the model writes where the document brings no questions.
    pub probes: usize,
    pub grader: Grader,
}

impl Default for SelfEditOptions {
    fn default() -> Self {
        SelfEditOptions {
            kind: SelfEditKind::SelfQa,
            writer: Writer::default(),
            policy: None,
            samples: 1,
            temperature: 0.3,
            top_p: 0.95,
        }
    }
}

impl TrainingOptions {
    /// What of it is one training by itself.
    pub fn inner(&self) -> InnerOptions {
        InnerOptions {
            rank: self.rank,
            alpha: self.alpha,
            learning_rate: self.learning_rate,
            epochs: self.epochs,
            batch_size: self.batch_size,
            upper_layers: self.upper_layers,
        }
    }

    /// An update from nothing with these settings.
    pub fn update(&self, seed: u64) -> Update {
        self.inner().update(seed)
    }
}

impl Default for TrainingOptions {
    fn default() -> Self {
        TrainingOptions {
            rank: 32,
            alpha: 64.0,
            learning_rate: 1e-3,
            epochs: 5,
            batch_size: 4,
            upper_layers: None,
            method: Method::default(),
            strategy: Strategy::default(),
            replay: 1.0,
            stay: 0.5,
        }
    }
}

impl Default for GateOptions {
    fn default() -> Self {
        GateOptions {
            mode: GateMode::Probes,
            min_gain: 0.1,
            retention_budget: 0.2,
            general_budget: 1.0,
            general_probes: 20,
            attempts: 3,
            probes: 6,
            grader: Grader::default(),
        }
    }
}

/// A field outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct OptionError {
    pub field: String,
    pub reason: String,
}

impl IngestOptions {
    /// Lays each JSON object over the ones before it (the built-in defaults first) and checks ranges.
    pub fn merged(layers: &[&Value]) -> Result<Self, OptionError> {
        let mut merged = serde_json::to_value(IngestOptions::default()).expect("plain data");
        for layer in layers {
            merge(&mut merged, layer);
        }
        let options: IngestOptions = serde_json::from_value(merged).map_err(|e| OptionError {
            field: "options".into(),
            reason: e.to_string(),
        })?;
        options.validate()?;
        Ok(options)
    }

    pub fn validate(&self) -> Result<(), OptionError> {
        let (s, t, g) = (&self.self_edit, &self.training, &self.gate);
        if s.writer == Writer::Teacher && s.policy.is_some() {
            return Err(OptionError {
                field: "self_edit.policy".into(),
                reason: "the teacher writes without one; leave out either writer or policy".into(),
            });
        }
        if t.method == Method::Distill && s.kind != SelfEditKind::SelfQa {
            return Err(OptionError {
                field: "training.method".into(),
                reason: format!(
                    "distill takes its questions from the study notes, and `{}` has none: self_edit.kind must be self-qa",
                    s.kind.name()
                ),
            });
        }
        within("self_edit.samples", s.samples as f64, 1.0, 16.0)?;
        within("self_edit.temperature", s.temperature as f64, 0.0, 2.0)?;
        within("self_edit.top_p", s.top_p as f64, 0.01, 1.0)?;
        if t.strategy == Strategy::Orthogonal && !(1..=64).contains(&t.rank) {
            return Err(OptionError {
                field: "training.rank".into(),
                reason: format!(
                    "{} is outside 1 to 64: under the strategy orthogonal each document adds so many ranks",
                    t.rank
                ),
            });
        }
        t.inner().validate("training")?;
        within("training.replay", t.replay as f64, 0.0, 10.0)?;
        within("training.stay", t.stay as f64, 0.0, 0.95)?;
        within("gate.min_gain", g.min_gain as f64, 0.0, 1.0)?;
        within("gate.retention_budget", g.retention_budget as f64, 0.0, 1.0)?;
        within("gate.general_budget", g.general_budget as f64, 0.0, 1.0)?;
        within("gate.general_probes", g.general_probes as f64, 0.0, 100.0)?;
        within("gate.attempts", g.attempts as f64, 1.0, 5.0)?;
        within("gate.probes", g.probes as f64, 1.0, 32.0)
    }
}

impl IngestOptions {
    /// Refuses to ask for a teacher or a judge where there is none.
    pub fn check_helpers(&self, teacher: bool, judge: bool) -> Result<(), OptionError> {
        let missing = |field: &str, value: &str, section: &str| OptionError {
            field: field.into(),
            reason: format!(
                "\"{value}\" needs a model under [{section}] in the server's configuration, and there is none"
            ),
        };
        if self.self_edit.writer == Writer::Teacher && !teacher {
            return Err(missing("self_edit.writer", "teacher", "teacher"));
        }
        if self.gate.grader == Grader::Judge && !judge {
            return Err(missing("gate.grader", "judge", "judge"));
        }
        Ok(())
    }
}

/// Compared and told as f32, which the options are: 0.1 of them is more than an f64's 0.1.
pub(crate) fn within(field: &str, value: f64, low: f64, high: f64) -> Result<(), OptionError> {
    let value = value as f32;
    if (low as f32..=high as f32).contains(&value) {
        return Ok(());
    }
    Err(OptionError {
        field: field.into(),
        reason: format!("{value} is outside {low} to {high}"),
    })
}

/// Objects are merged key by key, anything else is replaced; nulls change nothing.
pub fn merge(base: &mut Value, over: &Value) {
    match over {
        Value::Null => {}
        Value::Object(over) => {
            if !base.is_object() {
                *base = Value::Object(Map::new());
            }
            for (key, value) in over.iter().filter(|(_, v)| !v.is_null()) {
                merge(&mut base[key], value);
            }
        }
        over => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn later_layers_win_and_leave_the_rest() {
        let model = json!({"training": {"epochs": 20, "rank": 8}});
        let request = json!({"training": {"epochs": 3}, "self_edit": {"kind": "none"}});
        let o = IngestOptions::merged(&[&model, &Value::Null, &request]).unwrap();
        assert_eq!((o.training.epochs, o.training.rank), (3, 8));
        // A null changes nothing, whether the field is there or not.
        let nothing = json!({"training": {"epochs": null}, "self_edit": {"policy": null}});
        let mut merged = model.clone();
        merge(&mut merged, &nothing);
        assert_eq!(merged["training"], model["training"]);
        assert_eq!(merged["self_edit"], json!({}));
        assert_eq!(o.self_edit.kind, SelfEditKind::None);
        assert_eq!(o.gate, GateOptions::default());
    }

    #[test]
    fn out_of_range_names_the_field() {
        let e = IngestOptions::merged(&[&json!({"training": {"epochs": 0}})]).unwrap_err();
        assert_eq!(e.to_string(), "training.epochs: 0 is outside 1 to 100");
        let e = IngestOptions::merged(&[&json!({"gate": {"speed": 1}})]).unwrap_err();
        assert!(e.reason.contains("speed"), "{e}");
        let wide = json!({"training": {"rank": 65, "strategy": "orthogonal"}});
        let e = IngestOptions::merged(&[&wide]).unwrap_err();
        assert!(
            e.to_string()
                .starts_with("training.rank: 65 is outside 1 to 64: "),
            "{e}"
        );
    }

    #[test]
    fn a_range_holds_its_ends_and_numbers_are_told_as_written() {
        let rate =
            |rate: f64| IngestOptions::merged(&[&json!({"training": {"learning_rate": rate}})]);
        assert!(rate(0.1).is_ok() && rate(1e-7).is_ok());
        let e = rate(0.2).unwrap_err();
        assert_eq!(e.reason, "0.2 is outside 0.0000001 to 0.1");
    }

    #[test]
    fn distilling_needs_notes_that_ask() {
        let distill = |kind| {
            let over = json!({"training": {"method": "distill"}, "self_edit": {"kind": kind}});
            IngestOptions::merged(&[&over])
        };
        assert!(distill("self-qa").is_ok());
        let e = distill("rewrite").unwrap_err();
        assert_eq!(e.field, "training.method");
        assert!(e.reason.contains("self_edit.kind must be self-qa"), "{e}");
    }

    #[test]
    fn a_helper_that_is_asked_for_must_be_there() {
        let options = |value| IngestOptions::merged(&[&value]).unwrap();
        let judged = options(json!({"gate": {"grader": "judge"}}));
        assert!(judged.check_helpers(false, true).is_ok());
        let error = judged.check_helpers(true, false).unwrap_err();
        assert_eq!(error.field, "gate.grader");
        let taught = options(json!({"self_edit": {"writer": "teacher"}}));
        assert!(taught.check_helpers(true, false).is_ok());
        let error = taught.check_helpers(false, true).unwrap_err();
        assert_eq!(error.field, "self_edit.writer");
        assert!(options(json!({})).check_helpers(false, false).is_ok());
    }
}
