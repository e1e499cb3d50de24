//! The report of learning one document, which `GET /documents/{id}` shows.

use super::replacement::ReplacedReport;
use super::replay::Probe;
use crate::learn::figures::{nan_if_null, nan_where_null};
use crate::learn::knowledge::closed_book::{Answer, accuracy};
use crate::learn::knowledge::questions::Dropped;
use crate::learn::knowledge::self_edit::SelfEdit;
use crate::learn::ports::model::{TrainingText, Update};
use crate::learn::ports::watch::Tokens;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub self_edits: Vec<SelfEdit>,
    /// The parts of a long document, in order; none for a document that is learned as a whole
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartReport>,
    /// The document's training sequences, without the replayed sequences of earlier documents
    pub training_sequences: Vec<TrainingText>,
    pub replayed_sequences: usize,
    pub probes: Vec<ProbeReport>,
    /// Question–answer pairs of the model that failed the round trip
    pub dropped_probes: Vec<Dropped>,
    /// Share of the probes answered right before learning, 0 to 1
    pub score_before: Option<f32>,
    /// Share of the probes answered right after the last attempt, 0 to 1
    pub score_after: Option<f32>,
    pub retention: Option<Retention>,
    /// The probes of earlier documents that were asked; `after` is the answer after the last attempt
    #[serde(default)]
    pub retained: Vec<RetainedProbe>,
    /// The general probes; `before` is the base's answer, `after` the answer after the last attempt
    #[serde(default)]
    pub general: Vec<GeneralProbe>,
    /// The version whose adapter was trained further; none if a new adapter was trained
    #[serde(default)]
    pub continued: Option<u64>,
    /// The document that this one replaces: which of its probes the newer text still answers, and which it retires
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedReport>,
    pub attempts: Vec<Attempt>,
    pub decision: Option<Decision>,
    /// Wall-clock seconds by stage
    pub seconds: BTreeMap<String, f32>,
    /// Tokens by stage. A stage that was done before a restart of the job is not counted again
    #[serde(default)]
    pub tokens: BTreeMap<String, Tokens>,
}

/// A part of a long document, and what was made of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartReport {
    /// The document's title with those of the headings above the part: `Manual > Safety > Fuses`
    pub title: String,
    /// Its length in tokens of the model
    #[serde(default)]
    pub tokens: usize,
    pub self_edits: usize,
    pub training_sequences: usize,
    /// The probes that the model wrote about it
    pub probes: usize,
}

impl Report {
    /// The number of trainings so far. An attempt that only scales an earlier training down does not count.
    pub fn trainings(&self) -> usize {
        self.attempts.iter().filter(|a| a.scale.is_none()).count()
    }

    /// Stores the answers after an attempt, each list in the order of its probes, and updates the scores.
    pub fn answered(&mut self, own: &[Answer], earlier: Vec<Answer>, general: Vec<Answer>) {
        for (probe, answer) in self.probes.iter_mut().zip(own) {
            probe.after = Some(answer.clone());
        }
        for (probe, answer) in self.retained.iter_mut().zip(earlier) {
            probe.after = Some(answer);
        }
        for (probe, answer) in self.general.iter_mut().zip(general) {
            probe.after = Some(answer);
        }
        self.score_after = Some(accuracy(own));
        self.retention = self.retention();
    }

    /// The shares of right answers to the earlier documents' probes; `None` without such probes. Before any training
    /// the `after` share equals the `before` share.
    pub fn retention(&self) -> Option<Retention> {
        let answers = self.retained.iter();
        Retention::of(answers.map(|p| (&p.before, p.after.as_ref())))
    }

    /// The shares of right answers to the general probes, against the base; `None` without such probes.
    pub fn general_retention(&self) -> Option<Retention> {
        let answers = self.general.iter();
        Retention::of(answers.map(|p| (&p.before, p.after.as_ref())))
    }

    /// The earlier and general probes that were answered right before and are no longer; the largest loss of
    /// log-likelihood comes first.
    pub fn fallen(&self) -> Vec<Fallen> {
        let retained = self.retained.iter().map(|p| {
            let title = Some(p.title.clone());
            (title, &p.question, &p.answer, &p.before, &p.after)
        });
        let general = self.general.iter();
        let general = general.map(|p| (None, &p.question, &p.answer, &p.before, &p.after));
        let mut fallen: Vec<Fallen> = retained
            .chain(general)
            .filter_map(|(title, question, answer, before, after)| {
                let after = after.as_ref()?;
                (before.correct && !after.correct).then(|| Fallen {
                    title,
                    question: question.clone(),
                    answer: answer.clone(),
                    now: after.answer.clone(),
                    nats: before.logprob - after.logprob,
                })
            })
            .collect();
        fallen.sort_by(|a, b| b.nats.total_cmp(&a.nats));
        fallen
    }
}

impl Retention {
    pub(super) fn of<'a>(
        answers: impl ExactSizeIterator<Item = (&'a Answer, Option<&'a Answer>)>,
    ) -> Option<Retention> {
        let probes = answers.len();
        let (mut before, mut after) = (0, 0);
        for (old, new) in answers {
            before += usize::from(old.correct);
            after += usize::from(new.unwrap_or(old).correct);
        }
        let share = |count: usize| count as f32 / probes as f32;
        (probes > 0).then(|| Retention {
            probes,
            before: share(before),
            after: share(after),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeReport {
    pub question: String,
    pub answer: String,
    pub origin: Origin,
    pub before: Option<Answer>,
    pub after: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The caller gave the probe.
    Given,
    /// The model wrote the probe, and it passed the round trip.
    Written,
    /// A probe of the replaced document, which the newer text still answers.
    Kept,
}

/// A probe of an earlier document, asked around this update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetainedProbe {
    /// The probe's id
    pub probe: String,
    /// The title of the probe's document
    pub title: String,
    pub question: String,
    pub answer: String,
    pub before: Answer,
    pub after: Option<Answer>,
}

impl RetainedProbe {
    /// A probe of the document with this title, answered before anything is trained.
    pub fn asked(title: String, probe: Probe, before: Answer) -> Self {
        RetainedProbe {
            probe: probe.id,
            title,
            question: probe.question.question,
            answer: probe.question.answer,
            before,
            after: None,
        }
    }
}

/// A question of general knowledge, asked around this update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GeneralProbe {
    pub question: String,
    pub answer: String,
    pub before: Answer,
    pub after: Option<Answer>,
}

/// A probe that was answered right before and is no longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fallen {
    /// The title of the probe's document; none for general knowledge
    pub title: Option<String>,
    pub question: String,
    pub answer: String,
    /// The answer after the training
    pub now: String,
    /// The fall of the gold answer's log-likelihood, nats a token
    #[serde(deserialize_with = "nan_if_null")]
    pub nats: f32,
}

/// The shares of right answers before and after, to probes of earlier documents or to general probes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    /// Probes asked
    pub probes: usize,
    /// Share answered right before, 0 to 1
    pub before: f32,
    /// Share answered right after, 0 to 1
    pub after: f32,
}

/// One attempt to learn the document, and the gate's verdict on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    #[schema(value_type = Object)]
    pub update: Update,
    pub replayed_sequences: usize,
    /// Mean loss of each optimizer step, nats a token
    #[serde(deserialize_with = "nan_where_null")]
    pub losses: Vec<f32>,
    pub tokens: usize,
    /// Seconds of asking after the training
    #[serde(alias = "seconds")]
    pub asking_seconds: f32,
    pub answers: Vec<Answer>,
    pub score: f32,
    pub retention: Option<Retention>,
    /// Retention on general probes, against the base
    #[serde(default)]
    pub general: Option<Retention>,
    /// The probes that fell, the largest loss of log-likelihood first
    #[serde(default)]
    pub fallen: Vec<Fallen>,
    /// Set if nothing was trained: the change that the previous training made to the live adapter is scaled by this
    /// factor
    #[serde(default)]
    pub scale: Option<f32>,
    pub accepted: bool,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub accepted: bool,
    /// Whether a gentler attempt was needed, because the first one forgot too much
    #[serde(default)]
    pub gentler: bool,
    pub reason: String,
    /// The alias's version that was published
    pub version: Option<u64>,
}
