//! The vocabulary of a candidate's softmax. A model finds few tokens likely at the places of a candidate's targets, and
//! training raises the targets. So the first epoch is over the whole vocabulary, and watches which tokens are likely; the
//! later epochs are over these and all targets.
//!
//! Measured on the default model with two documents of 120 words, self-qa, three epochs over the upper 8 layers: the
//! shortlists had 3,800 and 5,900 of 151,936 tokens. The others had 3 and 7 % of the probability together at the first
//! targets, and below 0.3 % in the later epochs. Tokens under [`Likely::LEAST_GRADIENT`] had 1 and 2.5 % in the first epoch.

use crate::executor::{Likely, Shortlist, Vocabulary};
use std::sync::Arc;

/// The largest part of the vocabulary that gets a projection of its own: on the default model 34 MB in bf16.
const MOST: f32 = 0.125;
/// The largest mean probability of all other tokens together.
const MOST_LEFT_OUT: f32 = 0.2;

/// What one candidate's softmax is over.
#[derive(Debug)]
pub struct CandidateVocabulary {
    /// What was watched so far.
    likely: Likely,
    now: Vocabulary,
    vocab_size: usize,
}

impl CandidateVocabulary {
    /// `shortlist`: whether there is to be one after the first epoch.
    pub fn new(shortlist: bool, vocab_size: usize) -> Self {
        CandidateVocabulary {
            likely: Likely::default(),
            now: match shortlist {
                true => Vocabulary::Watched(Likely::default()),
                false => Vocabulary::Whole,
            },
            vocab_size,
        }
    }

    /// The vocabulary of the next pass.
    pub fn now(&self) -> Vocabulary {
        self.now.clone()
    }

    /// Takes what a pass returned.
    pub fn watched(&mut self, vocabulary: Vocabulary) {
        if let Vocabulary::Watched(likely) = vocabulary {
            self.likely.add(likely);
        }
    }

    /// Makes the shortlist, if one is to be made and is not yet. To be called when the first epoch is over.
    pub fn settle(&mut self) {
        if !matches!(self.now, Vocabulary::Watched(_)) {
            return;
        }
        let likely = std::mem::take(&mut self.likely);
        let share = likely.tokens.len() as f32 / self.vocab_size as f32;
        let left_out = likely.left_out as f32 / 1e6 / likely.rows as f32;
        // There is nothing if the executor does not watch.
        let short = likely.rows > 0 && share <= MOST && left_out <= MOST_LEFT_OUT;
        self.now = match short {
            true => Vocabulary::Shortlist(Arc::new(Shortlist::new(likely.tokens))),
            false => Vocabulary::Whole,
        };
    }
}
