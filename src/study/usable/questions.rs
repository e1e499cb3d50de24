//! The questions of the table: seven ways of asking for what a document says, and when an answer is right.

use crate::learn::grading::grader::Grader;
use crate::learn::knowledge::{Passage, Question};
use crate::text::normal::normal;
use crate::text::words::{count, words};
use serde::{Deserialize, Serialize};

/// A way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// The document's own questions.
    Plain,
    /// A fact, in at most three words.
    Short,
    /// A fact, asked from its other end.
    Reversed,
    /// Two facts of one document.
    Joined,
    /// An instruction whose result must hold a fact.
    Instruction,
    /// A question that the document does not answer.
    Absent,
    /// A fact of each of two documents.
    Across,
}

impl Use {
    pub const ALL: [Use; 7] = [
        Use::Plain,
        Use::Short,
        Use::Reversed,
        Use::Joined,
        Use::Instruction,
        Use::Absent,
        Use::Across,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Use::Plain => "plain",
            Use::Short => "short",
            Use::Reversed => "reversed",
            Use::Joined => "two facts",
            Use::Instruction => "instruction",
            Use::Absent => "not in the document",
            Use::Across => "two documents",
        }
    }
}

/// Most words of an answer to a [`Use::Short`] question.
const SHORT: usize = 3;

/// A question with everything that its answer must hold; nothing, where the document does not answer it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    pub way: Use,
    pub question: String,
    pub answers: Vec<String>,
}

impl Asked {
    /// Whether the answer is right. `base`: the answer of the model that learned nothing, which is no invention of the
    /// learning; `None` for that model's own answer.
    pub fn right(&self, answer: &str, base: Option<&str>) -> bool {
        let grader = Grader::Recall;
        match self.way {
            Use::Absent => {
                declines(answer) || base.is_some_and(|base| words(answer) == words(base))
            }
            Use::Short if count(answer) > SHORT => false,
            _ => self.answers.iter().all(|gold| grader.correct(gold, answer)),
        }
    }
}

/// Ways of saying that something is not known, in normal form without contractions.
const DECLINING: [&str; 18] = [
    "not known",
    "is unknown",
    "do not know",
    "not have",
    "no information",
    "not mention",
    "not say",
    "not said",
    "not state",
    "not specif",
    "not provide",
    "not given",
    "not available",
    "not aware",
    "cannot say",
    "cannot tell",
    "cannot answer",
    "cannot provide",
];

/// Whether an English answer says that it does not know.
fn declines(answer: &str) -> bool {
    let whole = normal(answer).replace("can't", "cannot");
    let whole = whole.replace("n't", " not");
    DECLINING.iter().any(|words| whole.contains(words))
}

/// Two documents with their questions, as one alias would learn them.
#[derive(Debug, Clone)]
pub struct Pair {
    pub passages: [Passage; 2],
    /// The questions about each document alone.
    pub alone: [Vec<Asked>; 2],
    pub across: Vec<Asked>,
}

/// A pair of the file of questions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairFile {
    documents: [DocumentFile; 2],
    across: Vec<TwoFacts>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentFile {
    slug: String,
    short: Vec<Question>,
    reversed: Vec<Question>,
    joined: Vec<TwoFacts>,
    instruction: Vec<Question>,
    absent: Vec<OnlyAsked>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TwoFacts {
    question: String,
    answers: [String; 2],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyAsked {
    question: String,
}

/// A document with its own questions, in the form of demo/documents.json.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    pub slug: String,
    pub title: String,
    pub text: String,
    pub questions: Vec<Question>,
}

impl PairFile {
    /// The pair with its texts.
    ///
    /// # Errors
    /// Names a document that is not among `documents`.
    pub fn with_texts(self, documents: &[Document]) -> Result<Pair, String> {
        let [first, second] = self.documents;
        let [(one, of_one), (other, of_other)] =
            [first.asked(documents)?, second.asked(documents)?];
        Ok(Pair {
            passages: [one, other],
            alone: [of_one, of_other],
            across: two_facts(Use::Across, self.across),
        })
    }
}

impl DocumentFile {
    fn asked(self, documents: &[Document]) -> Result<(Passage, Vec<Asked>), String> {
        let document = documents.iter().find(|d| d.slug == self.slug);
        let document = document.ok_or_else(|| format!("there is no document {:?}", self.slug))?;
        let one = |way: Use, questions: Vec<Question>| {
            questions.into_iter().map(move |q| Asked {
                way,
                question: q.question,
                answers: vec![q.answer],
            })
        };
        let absent = self.absent.into_iter().map(|q| Asked {
            way: Use::Absent,
            question: q.question,
            answers: Vec::new(),
        });
        let passage = Passage {
            title: document.title.clone(),
            text: document.text.clone(),
        };
        let asked = one(Use::Plain, document.questions.clone())
            .chain(one(Use::Short, self.short))
            .chain(one(Use::Reversed, self.reversed))
            .chain(two_facts(Use::Joined, self.joined))
            .chain(one(Use::Instruction, self.instruction))
            .chain(absent);
        Ok((passage, asked.collect()))
    }
}

fn two_facts(way: Use, questions: Vec<TwoFacts>) -> Vec<Asked> {
    let asked = questions.into_iter().map(|q| Asked {
        way,
        question: q.question,
        answers: q.answers.to_vec(),
    });
    asked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(way: Use, answers: &[&str]) -> Asked {
        Asked {
            way,
            question: String::new(),
            answers: answers.iter().map(|a| a.to_string()).collect(),
        }
    }

    #[test]
    fn a_short_answer_is_right_and_short() {
        let short = asked(Use::Short, &["Leocadia Finch"]);
        assert!(short.right("Leocadia Finch.", None));
        assert!(!short.right("The harbour master is Leocadia Finch.", None));
        assert!(!short.right("Ann Finch", None));
        assert!(
            asked(Use::Plain, &["Leocadia Finch"]).right("It is Leocadia Finch, I think.", None)
        );
    }

    #[test]
    fn two_facts_are_both_needed() {
        let both = asked(Use::Joined, &["Leocadia Finch", "spoon"]);
        assert!(both.right("Leocadia Finch; the heron holds a spoon.", None));
        assert!(!both.right("Leocadia Finch.", None));
    }

    #[test]
    fn what_the_document_does_not_say_must_not_be_invented() {
        let absent = asked(Use::Absent, &[]);
        for known_to_nobody in [
            "I don’t know who the mayor is.",
            "That is not known.",
            "The text doesn't mention a mayor.",
            "I can't say.",
        ] {
            assert!(absent.right(known_to_nobody, None), "{known_to_nobody}");
        }
        for invented in ["The mayor is Tom Reed.", "No, visitors cannot swim there."] {
            assert!(!absent.right(invented, Some("The mayor is Ann Lee.")));
        }
        assert!(absent.right("The mayor is Ann Lee", Some("The mayor is Ann Lee.")));
        assert!(!absent.right("The mayor is Ann Lee.", None));
    }

    #[test]
    fn the_demo_has_six_questions_of_each_kind() {
        let pairs: Vec<PairFile> =
            serde_json::from_str(include_str!("../../../demo/usable.json")).unwrap();
        let documents: Vec<Document> =
            serde_json::from_str(include_str!("../../../demo/documents.json")).unwrap();
        assert_eq!(2 * pairs.len(), documents.len());
        for pair in pairs {
            let pair = pair.with_texts(&documents).unwrap();
            assert_eq!(pair.across.len(), 6);
            for (passage, asked) in pair.passages.iter().zip(&pair.alone) {
                let said = format!("{}\n{}", passage.title, passage.text);
                for way in &Use::ALL[1..6] {
                    assert_eq!(asked.iter().filter(|a| a.way == *way).count(), 6);
                }
                for answer in asked.iter().flat_map(|a| &a.answers) {
                    assert!(Grader::Recall.correct(answer, &said), "{answer}");
                }
            }
            for asked in &pair.across {
                for (answer, passage) in asked.answers.iter().zip(&pair.passages) {
                    assert!(Grader::Recall.correct(answer, &passage.text), "{answer}");
                }
            }
        }
    }
}
