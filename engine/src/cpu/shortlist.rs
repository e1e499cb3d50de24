//! Output projections of a few tokens: the rows of the model's own, packed once for each shortlist.

use super::linear::{Format, Linear};
use crate::error::{Error, Result};
use crate::executor::{Target, Vocabulary};
use crate::weights::Matrix;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The projections of the shortlists that somebody still holds.
#[derive(Default)]
pub struct Shortlists(Vec<(Weak<[u32]>, Linear)>);

impl Shortlists {
    /// The projection to `tokens`: the rows of `head` in their order.
    pub fn projection(&mut self, tokens: &Arc<[u32]>, head: &Linear, format: Format) -> &Linear {
        self.0.retain(|(held, _)| held.strong_count() > 0);
        let own = Arc::downgrade(tokens);
        let place = match self.0.iter().position(|(held, _)| held.ptr_eq(&own)) {
            Some(place) => place,
            None => {
                let parts = vec![Matrix::Floats(head.rows(tokens))];
                self.0
                    .push((own, Linear::new(parts, head.inputs, None, format)));
                self.0.len() - 1
            }
        };
        &self.0[place].1
    }
}

/// The targets with their places in the shortlist for tokens.
pub fn renamed(targets: &[Target], tokens: &[u32]) -> Vec<Target> {
    let place = |t: &Target| match t.is_others() {
        true => *t,
        false => Target {
            token: tokens.partition_point(|token| *token < t.token) as u32,
            ..*t
        },
    };
    targets.iter().map(place).collect()
}

/// Checks that the runs cover the targets, cut no row in two, and that each shortlist is ascending, within the vocabulary,
/// and has the targets of its run.
///
/// # Errors
/// [`Error::Input`] names the first wrong run.
pub fn check(
    vocabularies: &[(Range<usize>, Vocabulary)],
    targets: &[Target],
    vocab_size: usize,
) -> Result<()> {
    let mut next = 0;
    for (run, vocabulary) in vocabularies {
        let cut = run.start > 0 && run.start < targets.len() && {
            targets[run.start - 1].row == targets[run.start].row
        };
        if run.start != next || run.end < run.start || run.end > targets.len() || cut {
            return Err(Error::Input(format!(
                "a vocabulary for the targets {run:?} of {}, where {next} have one",
                targets.len()
            )));
        }
        next = run.end;
        let Vocabulary::Shortlist(tokens) = vocabulary else {
            continue;
        };
        let ascending = tokens.is_sorted_by(|a, b| a < b);
        let known = tokens.last().is_some_and(|t| (*t as usize) < vocab_size);
        let has = |t: &Target| t.is_others() || tokens.binary_search(&t.token).is_ok();
        if !ascending || !known || !targets[run.clone()].iter().all(has) {
            return Err(Error::Input(format!(
                "the shortlist of the targets {run:?} is not ascending, or lacks one of them, or names a token outside \
                 the vocabulary of {vocab_size}"
            )));
        }
    }
    match vocabularies.is_empty() || next == targets.len() {
        true => Ok(()),
        false => Err(Error::Input(format!(
            "vocabularies for {next} of {} targets",
            targets.len()
        ))),
    }
}
