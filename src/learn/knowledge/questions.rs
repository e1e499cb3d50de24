//! Probes without labels: the model writes questions about the passage, and a pair is kept only if it
//! passes the round trip: answered right with the passage in sight and wrong without it.

use super::closed_book::{answer_all, ask_open_book, closed_book};
use super::self_edit::{from_text, grounded, pair_prompt, pair_sampling};
use super::sentences::sentences;
use super::{Passage, Question};
use crate::learn::grading::{Grader, words};
use crate::learn::model::{Adapter, Model, ModelError};
use crate::learn::options::{SelfEditKind, SelfEditOptions};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Written {
    pub kept: Vec<Question>,
    pub dropped: Vec<Dropped>,
}

/// A pair that failed the round trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Dropped {
    pub question: String,
    pub answer: String,
    pub reason: String,
}

/// Writes at most `wanted` probes. The base writes and reads the passage; `live` is who must not know
/// the answer yet.
pub fn write(
    model: &dyn Model,
    live: Option<&Adapter>,
    passage: &Passage,
    wanted: usize,
    grader: Grader,
    seed: u64,
) -> Result<Written, ModelError> {
    let candidates = candidates(model, passage, seed)?;
    let open: Vec<_> = candidates
        .iter()
        .map(|q| (ask_open_book(passage, &q.question), q.answer.clone()))
        .collect();
    let open = answer_all(model, None, &open, grader)?;
    let closed = closed_book(&passage.title, &candidates);
    let closed = answer_all(model, live, &closed, grader)?;

    let mut written = Written::default();
    for ((pair, open), closed) in candidates.into_iter().zip(open).zip(closed) {
        let reason = match (open.correct, closed.correct) {
            (false, _) => format!(
                "with the passage in sight it was answered {:?}",
                open.answer
            ),
            (_, true) => "it is known already".to_owned(),
            _ if written.kept.len() == wanted => "enough others were kept".to_owned(),
            _ => {
                written.kept.push(pair);
                continue;
            }
        };
        written.dropped.push(Dropped {
            question: pair.question,
            answer: pair.answer,
            reason,
        });
    }
    Ok(written)
}

/// Grounded pairs, one of each sentence first, no answer asked for twice.
fn candidates(
    model: &dyn Model,
    passage: &Passage,
    seed: u64,
) -> Result<Vec<Question>, ModelError> {
    let prompts: Vec<_> = sentences(&passage.text)
        .into_iter()
        .map(|s| pair_prompt(passage, s))
        .collect();
    let options = SelfEditOptions::default();
    let written = model.generate(&prompts, None, &pair_sampling(&options, 2, seed))?;
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for nth in 0..2 {
        for text in written.iter().filter_map(|n| n.get(nth)) {
            let edit = from_text(SelfEditKind::SelfQa, format!("Question:{text}"), seed);
            pairs.extend(grounded(edit.pairs, passage));
        }
    }
    pairs.retain(|p| seen.insert(words(&p.answer)));
    Ok(pairs)
}
