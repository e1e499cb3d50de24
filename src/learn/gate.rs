//! The gate: an update goes live only if the new document's probes improve and the probes of earlier
//! documents stay.

use super::knowledge::closed_book::{Answer, accuracy, mean_logprob};
use super::options::{GateMode, GateOptions};
use super::report::Retention;

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Accept(String),
    /// Not learned well enough: train longer.
    Weak(String),
    /// Too much of the earlier documents was lost: train gentler.
    Forgot(String),
}

impl Verdict {
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Accept(reason) | Verdict::Weak(reason) | Verdict::Forgot(reason) => reason,
        }
    }
}

/// What was measured around one training.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub before: &'a [Answer],
    pub after: &'a [Answer],
    pub retention: Option<Retention>,
}

/// Log-likelihood gain (nats a token) that counts as learning where accuracy cannot rise.
const LIKELIHOOD_GAIN: f32 = 0.1;

pub fn judge(evidence: Evidence<'_>, options: &GateOptions) -> Verdict {
    if options.mode == GateMode::Off {
        return Verdict::Accept("the gate is off".into());
    }
    if let Some(r) = evidence.retention
        && r.before - r.after > options.retention_budget + f32::EPSILON
    {
        return Verdict::Forgot(format!(
            "of {} probes of earlier documents {} were answered right before and {} after: a loss of \
             {:.0} %, the budget is {:.0} %",
            r.probes,
            count(r.before, r.probes),
            count(r.after, r.probes),
            100.0 * (r.before - r.after),
            100.0 * options.retention_budget
        ));
    }
    learned(evidence.before, evidence.after, options)
}

fn learned(before: &[Answer], after: &[Answer], options: &GateOptions) -> Verdict {
    let n = after.len();
    let (old, new) = (accuracy(before), accuracy(after));
    let gain = mean_logprob(after) - mean_logprob(before);
    let scores = format!(
        "{} of {n} probes right before, {} after",
        count(old, n),
        count(new, n)
    );
    if new - old >= options.min_gain.max(f32::EPSILON) {
        Verdict::Accept(scores)
    } else if n > 0 && old + options.min_gain > 1.0 && new >= old {
        Verdict::Accept(format!("{scores}: nearly all was known already"))
    } else if n > 0 && new >= old && new > 0.0 && gain >= LIKELIHOOD_GAIN && options.min_gain == 0.0
    {
        Verdict::Accept(format!(
            "{scores}; gold answers {gain:.2} nats a token likelier"
        ))
    } else {
        Verdict::Weak(format!(
            "{scores}: the gain is under {:.0} %",
            100.0 * options.min_gain
        ))
    }
}

fn count(share: f32, of: usize) -> usize {
    (share * of as f32).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(right: usize, of: usize) -> Vec<Answer> {
        (0..of)
            .map(|i| Answer {
                answer: String::new(),
                correct: i < right,
                logprob: -1.0,
            })
            .collect()
    }

    fn verdict(before: usize, after: usize, retention: Option<(f32, f32)>) -> Verdict {
        judge(
            Evidence {
                before: &answers(before, 5),
                after: &answers(after, 5),
                retention: retention.map(|(before, after)| Retention {
                    probes: 10,
                    before,
                    after,
                }),
            },
            &GateOptions::default(),
        )
    }

    #[test]
    fn learning_is_accepted_and_no_learning_is_weak() {
        assert_eq!(
            verdict(0, 4, None),
            Verdict::Accept("0 of 5 probes right before, 4 after".into())
        );
        assert!(matches!(verdict(2, 2, None), Verdict::Weak(_)));
        assert!(matches!(verdict(3, 1, None), Verdict::Weak(_)));
        assert!(matches!(verdict(5, 5, None), Verdict::Accept(_)));
    }

    #[test]
    fn forgetting_beyond_the_budget_weighs_more_than_learning() {
        let v = verdict(0, 5, Some((0.8, 0.5)));
        assert!(
            matches!(&v, Verdict::Forgot(r) if r.contains("8 were") && r.contains("5 after")),
            "{v:?}"
        );
        assert!(matches!(
            verdict(0, 5, Some((0.8, 0.7))),
            Verdict::Accept(_)
        ));
    }
}
