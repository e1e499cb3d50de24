//! The decision whether a question is about the document that is most like it, or about none.
//!
//! The evidence is log-odds, linear in what the question and the document share. The weights are a logistic regression
//! on questions about SQuAD's training passages and the demo's documents among 8 to 1,000 documents, and general
//! questions; `autodidact reproduce route` measures the decision on others.

use super::index::{Hit, Hits};

const NONE: f32 = -2.4;
/// The share of the question's information that the document holds.
const COVERAGE: f32 = 2.4;
/// Per nat of the question that the document holds.
const HELD: f32 = 1.3;
/// Per nat of choice among documents: among more documents, some share more with any question by chance.
const CHOICE: f32 = -0.88;
/// The share of the title that the question names.
const TITLE: f32 = 4.5;

/// The log-odds that the question is about the document of `hit` rather than about none. `title`: the share of its
/// title that the question names.
pub fn log_odds(hits: &Hits, hit: &Hit, title: f32) -> f32 {
    NONE + COVERAGE * hit.held / hits.asked.max(f32::MIN_POSITIVE)
        + HELD * hit.held
        + CHOICE * (hits.among as f32).ln()
        + TITLE * title
}

/// What a turn of a conversation tells about whether it goes on about a document that the talk is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bearing {
    /// It has a word that points back, such as "it" and "there".
    pub points_back: bool,
    /// It begins with a word that goes on, such as "and".
    pub opens: bool,
    /// Number of words with a topic that the document or the talk holds.
    pub known: f32,
    /// Number of those that neither holds.
    pub unknown: f32,
    /// Number of names among these.
    pub unknown_names: f32,
}

impl Bearing {
    /// The log-odds that the turn goes on. The weights are a logistic regression on the talks and the general
    /// questions of demo/routing that tuning has seen, rounded. The constant holds that four turns in five go on.
    pub fn log_odds(&self) -> f32 {
        let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
        2.6 + 1.4 * flag(self.points_back) + 2.0 * flag(self.opens) + self.known
            - 1.6 * self.unknown
            - 2.0 * self.unknown_names
    }
}
