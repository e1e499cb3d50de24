//! The gate: an update goes live only if the new document's probes improve, the probes of earlier
//! documents stay, and so does general knowledge, each within its budget.

use super::report::{Fallen, Retention};
use crate::learn::knowledge::closed_book::{Answer, accuracy, mean_logprob};
use crate::learn::options::gate::{GateMode, GateOptions};

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

/// The measurements around one training.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub before: &'a [Answer],
    pub after: &'a [Answer],
    pub retention: Option<Retention>,
    /// General probes, against the base.
    pub general: Option<Retention>,
    /// Whether the document is the newer text of an earlier one. What the earlier text taught is then right before, and
    /// the update is judged by what the newer text changes or adds.
    pub replacing: bool,
    /// Probes that were right and are not any more, the deepest fall first.
    pub fallen: &'a [Fallen],
}

/// Log-likelihood gain (nats a token) that counts as learning where accuracy cannot rise.
const LIKELIHOOD_GAIN: f32 = 0.1;

/// Decides one attempt. Forgetting weighs more than learning: the budgets are checked first.
pub fn judge(evidence: Evidence<'_>, options: &GateOptions) -> Verdict {
    if options.mode == GateMode::Off {
        return Verdict::Accept("the gate is off".into());
    }
    let budgets = [
        (
            evidence.retention,
            options.retention_budget,
            "probes of earlier documents",
            "before",
        ),
        (
            evidence.general,
            options.general_budget,
            "general probes",
            "by the base",
        ),
    ];
    let of_general = |f: &&Fallen| f.title.is_none();
    for (nth, (retention, budget, what, when)) in budgets.into_iter().enumerate() {
        let fell = evidence
            .fallen
            .iter()
            .filter(|f| of_general(f) == (nth == 1));
        if let Some(r) = retention
            && r.before - r.after > budget + f32::EPSILON
        {
            return Verdict::Forgot(format!(
                "of {} {what} {} were answered right {when} and {} after: a loss of {:.0} %, the \
                 budget is {:.0} %{}",
                r.probes,
                count(r.before, r.probes),
                count(r.after, r.probes),
                100.0 * (r.before - r.after),
                100.0 * budget,
                listed(fell)
            ));
        }
    }
    match evidence.replacing {
        true => renewed(evidence.before, evidence.after, options),
        false => learned(evidence.before, evidence.after, options),
    }
}

/// The share of the probes answered right before that are no longer, 0 to 1; 0 if none was right.
pub fn lost(before: &[Answer], after: &[Answer]) -> f32 {
    let right = before.iter().filter(|a| a.correct).count();
    let both = before.iter().zip(after);
    let lost = both.filter(|(b, a)| b.correct && !a.correct).count();
    lost as f32 / right.max(1) as f32
}

/// Judges the newer text of a document by the probes that were wrong before: what the text changes or adds. Where
/// nothing was wrong before, nothing may be lost beyond the budget.
fn renewed(before: &[Answer], after: &[Answer], options: &GateOptions) -> Verdict {
    let (n, both) = (after.len(), before.iter().zip(after));
    let wrong = before.iter().filter(|b| !b.correct).count();
    let gained = both.filter(|(b, a)| !b.correct && a.correct).count();
    let scores = format!(
        "{} of {n} probes right before, {} after",
        n - wrong,
        count(accuracy(after), n)
    );
    let likelier = mean_logprob(after) - mean_logprob(before);
    if wrong == 0 {
        return match n > 0 && lost(before, after) <= options.retention_budget + f32::EPSILON {
            true => Verdict::Accept(format!("{scores}: the newer text changes no answer")),
            false => Verdict::Weak(format!(
                "{scores}: too much of what the newer text still says is lost"
            )),
        };
    }
    if gained > 0 && gained as f32 / wrong as f32 + f32::EPSILON >= options.min_gain {
        Verdict::Accept(format!(
            "{scores}; {gained} of {wrong} that the newer text changes or adds"
        ))
    } else if options.min_gain == 0.0 && likelier >= LIKELIHOOD_GAIN && accuracy(after) > 0.0 {
        Verdict::Accept(format!(
            "{scores}; gold answers {likelier:.2} nats a token likelier"
        ))
    } else {
        Verdict::Weak(format!(
            "{scores}: of {wrong} that the newer text changes or adds {gained} are right"
        ))
    }
}

/// Most fallen probes that a reason spells out; the report has them all.
const MOST_SHOWN: usize = 3;

fn listed<'a>(fallen: impl Iterator<Item = &'a Fallen>) -> String {
    let all: Vec<&Fallen> = fallen.collect();
    let shown = all.iter().take(MOST_SHOWN).map(|f| {
        let title = f
            .title
            .as_ref()
            .map_or(String::new(), |t| format!(" ({t})"));
        format!(
            "\"{}\"{title}, answer \"{}\", now \"{}\", {:.1} nats a token less likely",
            f.question,
            f.answer,
            shortened(&f.now),
            f.nats
        )
    });
    let shown: Vec<String> = shown.collect();
    match all.len() {
        0 => String::new(),
        n if n > MOST_SHOWN => format!("; fell: {}; and {} more", shown.join("; "), n - MOST_SHOWN),
        _ => format!("; fell: {}", shown.join("; ")),
    }
}

fn shortened(answer: &str) -> String {
    const LONGEST: usize = 80;
    match answer.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &answer[..end]),
        None => answer.to_owned(),
    }
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
    // A gain of just that much is enough: 9 of 10 after 8 is 0.1, which the difference of floats is not.
    if new > old && new - old + f32::EPSILON >= options.min_gain {
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
                expected: None,
            })
            .collect()
    }

    fn verdict(before: usize, after: usize, retention: Option<(f32, f32)>) -> Verdict {
        judged(before, after, retention, None, &[])
    }

    fn judged(
        before: usize,
        after: usize,
        retention: Option<(f32, f32)>,
        general: Option<(f32, f32)>,
        fallen: &[Fallen],
    ) -> Verdict {
        let of_ten = |(before, after)| Retention {
            probes: 10,
            before,
            after,
        };
        judge(
            Evidence {
                before: &answers(before, 5),
                after: &answers(after, 5),
                retention: retention.map(of_ten),
                general: general.map(of_ten),
                replacing: false,
                fallen,
            },
            &GateOptions {
                general_budget: 0.2,
                ..GateOptions::default()
            },
        )
    }

    #[test]
    fn general_knowledge_has_a_budget_of_its_own_and_what_fell_is_named() {
        let fell = |title: Option<&str>, question: &str| Fallen {
            title: title.map(str::to_owned),
            question: question.into(),
            answer: "gold".into(),
            now: "dross".into(),
            nats: 2.25,
        };
        let fallen = [
            fell(Some("The lamp"), "Who lit it?"),
            fell(None, "What is 2 plus 2?"),
        ];
        let v = judged(0, 5, Some((1.0, 0.9)), Some((1.0, 0.7)), &fallen);
        let Verdict::Forgot(reason) = v else {
            panic!("{v:?}");
        };
        assert_eq!(
            reason,
            "of 10 general probes 10 were answered right by the base and 7 after: a loss of 30 %, \
             the budget is 20 %; fell: \"What is 2 plus 2?\", answer \"gold\", now \"dross\", 2.2 \
             nats a token less likely"
        );
        let v = judged(0, 5, Some((1.0, 0.5)), Some((1.0, 0.7)), &fallen);
        assert!(
            matches!(&v, Verdict::Forgot(r) if r.contains("\"Who lit it?\" (The lamp)")
                && !r.contains("2 plus 2")),
            "{v:?}"
        );
        assert!(matches!(
            judged(0, 5, None, Some((1.0, 0.8)), &[]),
            Verdict::Accept(_)
        ));
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
    fn a_newer_text_is_judged_by_what_it_changes() {
        let answers = |right: &[bool]| -> Vec<Answer> {
            let all = right.iter().map(|right| Answer {
                correct: *right,
                ..answers(0, 1)[0].clone()
            });
            all.collect()
        };
        let judged = |before: &[bool], after: &[bool]| {
            renewed(&answers(before), &answers(after), &GateOptions::default())
        };
        let (yes, no) = (true, false);
        let accepted = [
            // Every fact changed, and one of three.
            (vec![no, no, no], vec![yes, no, yes]),
            (vec![yes, no, yes], vec![yes, yes, yes]),
            // A changed fact of twenty.
            ([vec![yes; 19], vec![no]].concat(), vec![yes; 20]),
            // Nothing changed but the wording.
            (vec![yes; 3], vec![yes; 3]),
        ];
        for (before, after) in accepted {
            let verdict = judged(&before, &after);
            assert!(
                matches!(verdict, Verdict::Accept(_)),
                "{before:?} {verdict:?}"
            );
        }
        let weak = [
            // The changed fact is not learned.
            (vec![yes, no, yes], vec![yes, no, yes]),
            (vec![no, no], vec![no, no]),
            (vec![yes; 3], vec![yes, no, yes]),
            (vec![], vec![]),
        ];
        for (before, after) in weak {
            let verdict = judged(&before, &after);
            assert!(
                matches!(verdict, Verdict::Weak(_)),
                "{before:?} {verdict:?}"
            );
        }
        assert_eq!(
            lost(&answers(&[yes, no, yes]), &answers(&[no, yes, yes])),
            0.5
        );
    }

    #[test]
    fn a_gain_of_just_the_least_is_enough() {
        for of in [5, 10, 20] {
            let step = GateOptions {
                min_gain: 1.0 / of as f32,
                ..GateOptions::default()
            };
            for before in 0..of {
                let (old, new) = (answers(before, of), answers(before + 1, of));
                let verdict = learned(&old, &new, &step);
                assert!(
                    matches!(verdict, Verdict::Accept(_)),
                    "{before} of {of}: {verdict:?}"
                );
            }
        }
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
