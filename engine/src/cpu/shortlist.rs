//! Softmaxes over a part of the vocabulary: the check of a pass's runs, and the output projection to a shortlist.

use super::linear::{Format, Linear};
use crate::error::{Error, Result};
use crate::executor::{Shortlist, Target, Vocabulary};
use crate::weights::Matrix;
use std::ops::Range;

/// The projection to the shortlist's tokens: the rows of `head` in their order, packed once.
pub fn projection<'a>(shortlist: &'a Shortlist, head: &Linear, format: Format) -> &'a Linear {
    let pack = || {
        let rows = vec![Matrix::Floats(head.rows(shortlist.tokens()))];
        Box::new(Linear::new(rows, head.inputs, None, format)) as _
    };
    let packed = shortlist.projection.get_or_init(pack);
    let packed = packed.downcast_ref();
    packed.expect("a shortlist trains on one executor")
}

/// The targets, their tokens as places in the shortlist.
pub fn renamed(targets: &[Target], shortlist: &Shortlist) -> Vec<Target> {
    let tokens = shortlist.tokens();
    let renamed = targets.iter().map(|t| Target {
        token: tokens.partition_point(|token| *token < t.token) as u32,
        ..*t
    });
    renamed.collect()
}

/// The index of the run that a target is in; behind the last where no run covers it.
pub fn run_of(vocabularies: &[(Range<usize>, Vocabulary)], target: usize) -> usize {
    vocabularies.partition_point(|(run, _)| run.end <= target)
}

/// Checks that the runs cover the targets, that rows of watched runs and shortlists have one target each, and that a
/// shortlist is within the vocabulary and has the targets of its run.
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
        if run.start != next || run.end < run.start || run.end > targets.len() {
            return Err(Error::Input(format!(
                "a vocabulary for the targets {run:?} of {}, where {next} have one",
                targets.len()
            )));
        }
        next = run.end;
        let row = |i: usize| targets.get(i).map(|t| t.row);
        let alone = |i: usize| {
            let beside = [row(i.wrapping_sub(1)), row(i + 1)];
            !targets[i].is_others() && !beside.contains(&row(i))
        };
        if !matches!(vocabulary, Vocabulary::Whole) && !run.clone().all(alone) {
            return Err(Error::Input(format!(
                "the targets {run:?} are soft, so their softmax is over the whole vocabulary"
            )));
        }
        if let Vocabulary::Shortlist(shortlist) = vocabulary {
            let tokens = shortlist.tokens();
            let known = tokens.last().is_none_or(|t| (*t as usize) < vocab_size);
            let has = |t: &Target| tokens.binary_search(&t.token).is_ok();
            if !known || !targets[run.clone()].iter().all(has) {
                return Err(Error::Input(format!(
                    "the shortlist of the targets {run:?} lacks one of them, or names a token outside the vocabulary \
                     of {vocab_size}"
                )));
            }
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
