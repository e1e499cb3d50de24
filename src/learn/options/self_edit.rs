//! How self-edits are written, and by whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// Another form in which `self-qa` teaches a fact, besides the question with the whole sentence as its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PairForm {
    /// The question with the answer that the writer gives in its own words with the document in sight, where the answer
    /// holds the phrase; to a question that names the phrase, where the answer adds something of the sentence.
    OwnWords,
    /// The question with a wish for a short answer; the phrase is the answer. For documents in English, or too short to
    /// tell their language, as the other templates.
    Short,
    /// The phrase is given, and what it belongs to is the answer. A template.
    Reversed,
    /// An instruction whose result is the sentence. A template.
    Instruction,
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
    /// Phrases of a document that `self-qa` writes a question about, over all of its sentences; a longer document has two a
    /// sentence. 1 to 64.
    pub phrases: usize,
    /// Other forms in which `self-qa` teaches the same facts, each with training sequences of its own: `own-words`, and
    /// three templates for documents in English, `short`, `reversed` and `instruction`.
    // Records of versions before there were forms do not have the field.
    #[serde(default)]
    pub forms: Vec<PairForm>,
    /// Small models stay near the passage at 0.3 to 0.7; the paper's 7B used 1.0.
    pub temperature: f32,
    pub top_p: f32,
}

impl Default for SelfEditOptions {
    fn default() -> Self {
        SelfEditOptions {
            kind: SelfEditKind::SelfQa,
            writer: Writer::default(),
            policy: None,
            samples: 1,
            phrases: 32,
            forms: vec![PairForm::OwnWords],
            temperature: 0.3,
            top_p: 0.95,
        }
    }
}
