//! The knobs of the outer loop, whatever the domain, and its two presets.

use crate::learn::options::error::{OptionError, within};
use crate::learn::options::merge::merge;
use crate::learn::options::training::InnerOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Two rounds within about an hour, on as many contexts as the machine is fast enough for.
    #[default]
    Default,
    /// The paper's settings: 750 trainings a round.
    Paper,
}

/// What kind of task the policy writes self-edits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainDomain {
    /// Passages with questions
    Knowledge,
    /// Tasks with demonstrations: grids or texts
    Fewshot,
}

/// Which self-edits of a context the policy learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The one of highest reward, where that is positive.
    Best,
    /// All whose reward is positive.
    AllPositive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// Share of the queries answered right, after less before (the paper's).
    Accuracy,
    /// Log-likelihood of the gold answers (nats a token), after less before.
    Likelihood,
    /// Accuracy; among equals, likelihood.
    Combined,
    /// Share of right answers among eight sampled ones to each query (few-shot: among its views, as far as it
    /// is one of the two attempts), after less before.
    Expected,
    /// The base's own mark of the notes, 0 to 1; nothing is trained (the paper's cheap proxy).
    Rubric,
}

/// What a candidate's gain is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The answers of the base, which has learned nothing (the paper's).
    #[default]
    Base,
    /// The answers after learning the context alone, without any self-edit, from the same seeds.
    ContextAlone,
}

impl Reward {
    pub const ALL: [Reward; 5] = [
        Reward::Accuracy,
        Reward::Likelihood,
        Reward::Combined,
        Reward::Expected,
        Reward::Rubric,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reward::Accuracy => "accuracy",
            Reward::Likelihood => "likelihood",
            Reward::Combined => "combined",
            Reward::Expected => "expected",
            Reward::Rubric => "rubric",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OuterOptions {
    /// Number of rounds. 1 to 100.
    pub rounds: usize,
    /// Number of contexts in a round; all contexts, if there are fewer. 1 to 10,000.
    pub contexts_per_round: usize,
    /// Approximate time limit of the run, in minutes. 0 to 10,080; 0: no limit. A round practises on fewer contexts,
    /// but at least one, if the pace of everything measured before it would exceed the limit. Without held-out contexts
    /// the first round has no pace to go by. The number of contexts then depends on the machine, not only on the seed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minutes: u32,
    /// Number of self-edits written for a context. 1 to 16.
    pub candidates: usize,
    /// Number of trainings of each candidate, from different seeds. The reward is their mean. 1 to 16.
    pub repeats: usize,
    pub keep: Keep,
    pub reward: Reward,
    /// The answers that gains are counted from. `base`: the base's answers, as in the paper. `context_alone`: the
    /// answers after learning the context without a self-edit, from the same seeds. A self-edit that copies the whole
    /// context then gains nothing and is not kept. `context_alone` takes one more training for each context and repeat.
    /// It is not allowed for few-shot tasks, which learn nothing without a self-edit, nor with `halving` or the reward
    /// `rubric`.
    #[serde(default, skip_serializing_if = "is_base")]
    pub baseline: Baseline,
    /// Successive halving: all candidates of a context train for a part of the epochs; only the better half goes on.
    pub halving: bool,
    /// Number of held-out contexts, on which the policy is scored before the first round and after each. 0: none.
    pub held_out: usize,
    /// Number of candidates trained in one batch. A larger batch costs memory and never changes a result. 1 to 16.
    pub pack: usize,
    /// The policy's fine-tuning after each round.
    pub policy_training: InnerOptions,
    /// The seed of all random choices.
    pub seed: u64,
}

/// Left out if 0, as in the settings of runs made before this field existed.
fn is_zero(minutes: &u32) -> bool {
    *minutes == 0
}

/// Nor of another baseline.
fn is_base(baseline: &Baseline) -> bool {
    *baseline == Baseline::Base
}

impl OuterOptions {
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Default => OuterOptions {
                rounds: 2,
                contexts_per_round: 10,
                minutes: 60,
                candidates: 4,
                repeats: 1,
                keep: Keep::Best,
                // Of the rewards that were measured the one that chooses best (docs/RESULTS.md).
                reward: Reward::Expected,
                baseline: Baseline::Base,
                halving: false,
                held_out: 8,
                pack: 4,
                // Ten kept self-edits in batches of ten would be two steps; so small ones.
                policy_training: InnerOptions {
                    rank: 64,
                    alpha: 128.0,
                    learning_rate: 3e-4,
                    epochs: 2,
                    batch_size: 1,
                    upper_layers: None,
                    early_stop: None,
                    lora_plus: 1.0,
                },
                seed: 0,
            },
            Preset::Paper => OuterOptions {
                rounds: 2,
                contexts_per_round: 50,
                minutes: 0,
                candidates: 5,
                repeats: 3,
                keep: Keep::Best,
                reward: Reward::Accuracy,
                baseline: Baseline::Base,
                halving: false,
                held_out: 50,
                pack: 5,
                policy_training: InnerOptions {
                    rank: 64,
                    alpha: 128.0,
                    learning_rate: 3e-4,
                    epochs: 2,
                    batch_size: 10,
                    upper_layers: None,
                    early_stop: None,
                    lora_plus: 1.0,
                },
                seed: 0,
            },
        }
    }

    /// The preset with these fields laid over it, to be read as [`OuterOptions`]. Who says how many contexts, and
    /// nothing of a time, gets as many.
    pub fn merged(preset: Preset, over: &Value) -> Value {
        let mut merged = serde_json::to_value(Self::preset(preset)).expect("plain data");
        if !over["contexts_per_round"].is_null() {
            merged["minutes"] = 0.into();
        }
        merge(&mut merged, over);
        merged
    }

    pub fn validate(&self) -> Result<(), OptionError> {
        within("rounds", self.rounds as f64, 1.0, 100.0)?;
        within(
            "contexts_per_round",
            self.contexts_per_round as f64,
            1.0,
            1e4,
        )?;
        within("minutes", f64::from(self.minutes), 0.0, 10_080.0)?;
        within("candidates", self.candidates as f64, 1.0, 16.0)?;
        within("repeats", self.repeats as f64, 1.0, 16.0)?;
        within("held_out", self.held_out as f64, 0.0, 1e4)?;
        within("pack", self.pack as f64, 1.0, 16.0)?;
        self.policy_training.validate("policy_training")?;
        let refuse = |field: &str, reason: &str| {
            Err(OptionError {
                field: field.into(),
                reason: reason.into(),
            })
        };
        let alone = self.baseline == Baseline::ContextAlone;
        match self.reward {
            _ if alone && self.halving => refuse(
                "halving",
                "a candidate that is dropped half-way cannot be compared with the whole training of its context alone; \
                 count from `base`",
            ),
            Reward::Rubric if alone => refuse(
                "baseline",
                "a rubric is a mark and counted from nothing; leave it at `base`",
            ),
            Reward::Rubric if self.keep == Keep::AllPositive => refuse(
                "keep",
                "every mark of a rubric is positive, so all would be kept; keep `best`",
            ),
            Reward::Rubric if self.halving => refuse(
                "halving",
                "a rubric trains nothing, so there is nothing to halve",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn presets_are_valid_and_the_papers_is_the_papers() {
        OuterOptions::preset(Preset::Default).validate().unwrap();
        let paper = OuterOptions::preset(Preset::Paper);
        paper.validate().unwrap();
        assert_eq!(
            (
                paper.rounds,
                paper.contexts_per_round,
                paper.candidates,
                paper.repeats
            ),
            (2, 50, 5, 3)
        );
        assert_eq!(paper.minutes, 0);
        let policy = &paper.policy_training;
        assert_eq!((policy.rank, policy.epochs, policy.batch_size), (64, 2, 10));
    }

    #[test]
    fn a_number_of_contexts_that_was_asked_for_is_not_cut() {
        let minutes = |over: Value| OuterOptions::merged(Preset::Default, &over)["minutes"].clone();
        assert_eq!(minutes(json!({"rounds": 1})), 60);
        assert_eq!(minutes(json!({"contexts_per_round": 30})), 0);
        assert_eq!(
            minutes(json!({"contexts_per_round": 30, "minutes": 90})),
            90
        );
    }

    #[test]
    fn a_rubric_cannot_be_halved_or_kept_by_its_sign() {
        let mut options = OuterOptions::preset(Preset::Default);
        options.reward = Reward::Rubric;
        options.validate().unwrap();
        options.halving = true;
        assert_eq!(options.validate().unwrap_err().field, "halving");
        options.halving = false;
        options.keep = Keep::AllPositive;
        assert_eq!(options.validate().unwrap_err().field, "keep");
    }

    #[test]
    fn what_is_no_whole_training_is_not_compared_with_one() {
        let mut options = OuterOptions::preset(Preset::Default);
        options.baseline = Baseline::ContextAlone;
        options.validate().unwrap();
        options.halving = true;
        assert_eq!(options.validate().unwrap_err().field, "halving");
        options.halving = false;
        options.reward = Reward::Rubric;
        assert_eq!(options.validate().unwrap_err().field, "baseline");
    }
}
