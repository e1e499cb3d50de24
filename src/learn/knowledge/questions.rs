//! Probes without labels: the model writes questions about the passage, and a pair is kept only if it
//! passes the round trip: answered right with the passage in sight and wrong without it.

use super::author::Author;
use super::phrases::phrases;
use super::{Passage, Question, pairs};
use crate::learn::options::self_edit::SelfEditOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{ModelError, TrainingText};
use crate::text::words::words;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WrittenProbes {
    pub kept: Vec<Question>,
    pub dropped: Vec<Dropped>,
}

impl WrittenProbes {
    fn add(&mut self, pair: Question, known: bool, wanted: usize) {
        let reason = match known {
            true => "it is known already",
            false if self.kept.len() == wanted => "enough others were kept",
            false => return self.kept.push(pair),
        };
        self.dropped.push(Dropped {
            question: pair.question,
            answer: pair.answer,
            reason: reason.to_owned(),
        });
    }
}

/// A pair that was answered right with the passage in sight, but is no probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dropped {
    pub question: String,
    pub answer: String,
    pub reason: String,
}

/// Phrases asked about for every probe wanted: about half of the questions fail the round trip.
const PHRASES_A_PROBE: usize = 2;
/// Questions written about each phrase at most; a second only where the first were too few.
const WORDINGS: u64 = 2;

/// Writes at most `wanted` probes. The base writes the questions and answers them with the passage in sight;
/// `knows` says which are answered right without the passage. A question of `trained` is left out: it is trained
/// on and proves nothing.
pub fn write<E: From<ModelError>>(
    model: Interruptible<'_>,
    knows: impl Fn(&[Question]) -> Result<Vec<bool>, E>,
    passage: &Passage,
    trained: &[TrainingText],
    wanted: usize,
    seed: u64,
) -> Result<WrittenProbes, E> {
    let phrases = phrases(passage, wanted * PHRASES_A_PROBE);
    // Warmer than study notes: other wordings than those trained on are wanted.
    let options = SelfEditOptions {
        samples: 1,
        temperature: 0.8,
        ..Default::default()
    };
    let author = Author::policy(model, None);
    let mut seen: HashSet<Vec<String>> = trained.iter().filter_map(asked).collect();
    let mut written = WrittenProbes::default();
    for wording in 0..WORDINGS {
        if written.kept.len() == wanted {
            break;
        }
        let seed = seed.wrapping_add(wording);
        let mut fresh = pairs::write(author, passage, &phrases, &options, seed)?.concat();
        fresh.retain(|p| !p.names_its_phrase() && seen.insert(words(&p.question)));
        let pairs = pairs::answerable(model, passage, fresh)?;
        let known = knows(&pairs)?;
        for (pair, known) in pairs.into_iter().zip(known) {
            written.add(pair, known, wanted);
        }
    }
    Ok(written)
}

/// The question a training sequence asks.
fn asked(text: &TrainingText) -> Option<Vec<String>> {
    match text {
        TrainingText::Chat { user, .. } => Some(words(user)),
        TrainingText::Text { .. }
        | TrainingText::Completion { .. }
        | TrainingText::Conversation { .. } => None,
    }
}
