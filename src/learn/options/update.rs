//! The options of an ingest, with their defaults. They are merged as JSON: built in ← the model's entry in the
//! catalogue ← `[learning]` in the configuration ← the request.

use super::error::{OptionError, within};
use super::gate::GateOptions;
use super::merge::merge;
use super::self_edit::{SelfEditKind, SelfEditOptions, Writer};
use super::strategy::{Method, Strategy};
use super::training::TrainingOptions;
use crate::learn::grading::grader::Grader;
use crate::learn::ports::model::Update;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Passes over the training sequences, where the options name none.
pub const EPOCHS_OF_ONE_WORDING: usize = 5;
/// The same where the sequences answer questions by the sentence and in own words: they need fewer passes.
const EPOCHS_OF_TWO_WORDINGS: usize = 4;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestOptions {
    pub self_edit: SelfEditOptions,
    pub training: TrainingOptions,
    pub gate: GateOptions,
    /// Makes the whole update repeatable.
    pub seed: u64,
}

impl IngestOptions {
    /// Lays each JSON object over the ones before it, the first over the built-in defaults. Fails if a field is
    /// unknown or its value is outside its range.
    pub fn merged(settings: &[&Value]) -> Result<Self, OptionError> {
        let mut merged = serde_json::to_value(IngestOptions::default()).expect("plain data");
        for over in settings {
            merge(&mut merged, over);
        }
        let options: IngestOptions = serde_json::from_value(merged).map_err(|e| OptionError {
            field: "options".into(),
            reason: e.to_string(),
        })?;
        options.validate()?;
        Ok(options)
    }

    /// An update from nothing with these settings. `two_wordings`: whether the training sequences answer questions in two
    /// wordings, which decides on the passes where the settings do not.
    pub fn update(&self, two_wordings: bool, seed: u64) -> Update {
        let epochs = match two_wordings && self.training.method == Method::Text {
            true => EPOCHS_OF_TWO_WORDINGS,
            false => EPOCHS_OF_ONE_WORDING,
        };
        self.training.inner(epochs).update(seed)
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
        within("self_edit.phrases", s.phrases as f64, 1.0, 64.0)?;
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
        t.inner(EPOCHS_OF_ONE_WORDING).validate("training")?;
        within("training.replay", t.replay as f64, 0.0, 10.0)?;
        within("training.stay", t.stay as f64, 0.0, 0.95)?;
        within("gate.min_gain", g.min_gain as f64, 0.0, 1.0)?;
        within("gate.retention_budget", g.retention_budget as f64, 0.0, 1.0)?;
        within("gate.general_budget", g.general_budget as f64, 0.0, 1.0)?;
        within("gate.general_probes", g.general_probes as f64, 0.0, 100.0)?;
        within("gate.attempts", g.attempts as f64, 1.0, 5.0)?;
        within("gate.probes", g.probes as f64, 1.0, 32.0)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn later_settings_win_and_leave_the_rest() {
        let model = json!({"training": {"epochs": 20, "rank": 8}});
        let request = json!({"training": {"epochs": 3}, "self_edit": {"kind": "none"}});
        let o = IngestOptions::merged(&[&model, &Value::Null, &request]).unwrap();
        assert_eq!((o.training.epochs, o.training.rank), (Some(3), 8));
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
    fn facts_in_two_wordings_need_fewer_passes() {
        let passes = |set, two| {
            IngestOptions::merged(&[&set])
                .unwrap()
                .update(two, 0)
                .epochs
        };
        assert_eq!(passes(json!({}), true), 4);
        assert_eq!(passes(json!({}), false), 5);
        assert_eq!(passes(json!({"training": {"method": "distill"}}), true), 5);
        assert_eq!(passes(json!({"training": {"epochs": 8}}), true), 8);
    }

    #[test]
    fn what_is_learned_rests_unless_the_share_is_nothing() {
        let share = |set| {
            let options = IngestOptions::merged(&[&set]).unwrap();
            options.update(true, 0).early_stop
        };
        assert_eq!(share(json!({})), Some(1.0));
        assert_eq!(share(json!({"training": {"early_stop": null}})), Some(1.0));
        assert_eq!(share(json!({"training": {"early_stop": 0.5}})), Some(0.5));
        assert_eq!(share(json!({"training": {"early_stop": 0}})), None);
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
