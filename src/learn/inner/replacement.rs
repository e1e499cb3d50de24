//! A newer text of a learned document: which of the earlier text's probes it still answers. These go on guarding; the
//! others are retired with a note.
//!
//! The model is asked each probe with the newer text in sight. If it is wrong, it is asked with the earlier text too. A
//! model that reads the answer from the earlier text and not from the newer one shows that the text has changed. A model
//! that reads it from neither shows nothing; then the probe stays if a sentence with its answer stands unchanged in the
//! newer text.

use super::replay::{Earlier, Probe};
use super::report::{Origin, ProbeReport};
use super::router::{Routable, Router};
use super::standing::Standing;
use crate::learn::grading::Grading;
use crate::learn::knowledge::closed_book::{ANSWER_TOKENS, ask_open_book, graded};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{ModelError, Sampling};
use crate::text::words::words;
use serde::{Deserialize, Serialize};
use std::cell::LazyCell;
use utoipa::ToSchema;

/// Most probes of an earlier text that its newer text takes over.
const MOST_KEPT: usize = 100;

/// The replaced document in the report of the document that replaces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplacedReport {
    /// The replaced document's id
    pub document: String,
    pub title: String,
    pub probes: Vec<ReviewedProbe>,
    /// How many retired probes got their old answer after the last attempt; none before any training
    pub still_answered: Option<usize>,
}

/// A probe of the earlier text, asked with the newer text in sight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReviewedProbe {
    /// The probe's id
    pub probe: String,
    pub question: String,
    pub answer: String,
    /// The model's answer with the newer text in sight; none if it was not asked
    pub said: Option<String>,
    /// Whether the newer text still answers it; false: the probe is retired
    pub kept: bool,
    /// Why
    pub note: String,
}

impl ReplacedReport {
    pub fn new(document: &str, title: &str, probes: Vec<ReviewedProbe>) -> Self {
        ReplacedReport {
            document: document.to_owned(),
            title: title.to_owned(),
            probes,
            still_answered: None,
        }
    }

    pub fn kept(&self) -> impl Iterator<Item = &ReviewedProbe> {
        self.probes.iter().filter(|p| p.kept)
    }

    pub fn retired(&self) -> impl Iterator<Item = &ReviewedProbe> {
        self.probes.iter().filter(|p| !p.kept)
    }

    /// The kept probes that the new document takes over as its own: those that none of its probes asks already.
    pub fn to_ask(&self, own: &[ProbeReport]) -> Vec<ProbeReport> {
        let asked: Vec<Vec<String>> = own.iter().map(|p| words(&p.question)).collect();
        let fresh = self.kept().filter(|p| !asked.contains(&words(&p.question)));
        fresh
            .take(MOST_KEPT)
            .map(|p| ProbeReport {
                question: p.question.clone(),
                answer: p.answer.clone(),
                origin: Origin::Kept,
                before: None,
                after: None,
            })
            .collect()
    }
}

/// The parts of both texts.
pub struct Texts<'a> {
    pub old: &'a [Passage],
    pub new: &'a [Passage],
}

/// Reviews the probes of the earlier document `old`. `given`: the questions that the client sent with the newer text;
/// one of them with another answer contradicts the probe with the same question.
pub fn review(
    model: Interruptible<'_>,
    old: &Earlier,
    new: &Passage,
    texts: &Texts<'_>,
    given: &[Question],
    grading: Grading<'_>,
) -> Result<Vec<ReviewedProbe>, Interrupted> {
    let (told, open): (Vec<&Probe>, Vec<&Probe>) =
        (old.probes.iter()).partition(|p| same_question(given, p).is_some());
    let with_new = read(model, texts.new, &open, grading)?;
    let unsure = open.iter().zip(&with_new).filter(|(_, (_, right))| !right);
    let unsure: Vec<&Probe> = unsure.map(|(p, _)| *p).collect();
    let mut with_old = read(model, texts.old, &unsure, grading)?.into_iter();

    let standing = LazyCell::new(|| Standing::new(&old.passage.text, &new.text));
    let mut reviewed = Vec::new();
    for probe in told {
        let given = same_question(given, probe).map_or("", |q| q.answer.as_str());
        let kept = words(given) == words(&probe.question.answer);
        let note = match kept {
            true => "the new document brings this question with the same answer".to_owned(),
            false => format!("the new document brings this question with the answer \"{given}\""),
        };
        reviewed.push(verdict(probe, None, kept, note));
    }
    for (probe, (said, right)) in open.into_iter().zip(with_new) {
        let (kept, note) = if right {
            (true, "the newer text still answers it".to_owned())
        } else {
            let read_before = with_old.next().is_some_and(|(_, right)| right);
            match read_before {
                true => (
                    false,
                    format!("with the newer text in sight the answer is \"{said}\""),
                ),
                false if standing.says(&probe.question.answer) => {
                    (true, "the sentence with its answer is unchanged".to_owned())
                }
                false => (false, "the newer text does not say it any more".to_owned()),
            }
        };
        reviewed.push(verdict(probe, Some(said), kept, note));
    }
    Ok(reviewed)
}

fn verdict(probe: &Probe, said: Option<String>, kept: bool, note: String) -> ReviewedProbe {
    ReviewedProbe {
        probe: probe.id.clone(),
        question: probe.question.question.clone(),
        answer: probe.question.answer.clone(),
        said,
        kept,
        note,
    }
}

/// The base's answers with the passage in sight, of a long one the part that is most like the probe, and whether each
/// is the probe's.
fn read(
    model: Interruptible<'_>,
    parts: &[Passage],
    probes: &[&Probe],
    grading: Grading<'_>,
) -> Result<Vec<(String, bool)>, ModelError> {
    let router = Router::new(parts.iter().map(|part| Routable {
        title: &part.title,
        text: &part.text,
        questions: Vec::new(),
    }));
    let in_sight = |asked: &Question| {
        let asked = Routable {
            title: &asked.question,
            text: &asked.answer,
            questions: Vec::new(),
        };
        &parts[router.most_like(asked).unwrap_or(0)]
    };
    let items: Vec<_> = probes
        .iter()
        .map(|p| {
            let passage = in_sight(&p.question);
            let Question { question, answer } = &p.question;
            (ask_open_book(passage, question), answer.clone())
        })
        .collect();
    let answers = graded(
        model,
        None,
        &items,
        grading,
        &Sampling::greedy(ANSWER_TOKENS),
    )?;
    let first = answers.into_iter().filter_map(|of| of.into_iter().next());
    Ok(first
        .map(|(answer, right)| (answer.trim().to_owned(), right))
        .collect())
}

fn same_question<'q>(given: &'q [Question], probe: &Probe) -> Option<&'q Question> {
    let asked = words(&probe.question.question);
    given.iter().find(|q| words(&q.question) == asked)
}
