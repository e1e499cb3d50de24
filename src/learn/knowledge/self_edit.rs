//! The self-edit: study notes that the model writes about a passage, and their division into training sequences (SEAL
//! appendix B.1).
//!
//! Two differences from the paper, because small models repeat themselves and drift: self-qa starts from phrases of the
//! passage ([`pairs`]), and repeated statements are kept once.

use super::author::Author;
use super::forms;
use super::own_words;
use super::pairs;
use super::phrases::phrases;
use super::{Passage, Question};
use crate::learn::options::self_edit::{PairForm, SelfEditKind, SelfEditOptions};
use crate::learn::ports::model::{ModelError, Prompt, Sampling, TrainingText};
use crate::text::language::Language;
use crate::text::script::{is_like, is_question};
use crate::text::sentences::sentences;
use crate::text::words::words;
use std::collections::HashSet;

/// One sampled self-edit.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct SelfEdit {
    pub kind: SelfEditKind,
    /// The teacher that wrote it; null if the model did itself.
    #[serde(default)]
    pub teacher: Option<String>,
    /// The version that an ingest had it written with (`writer@2`); null if it named none.
    #[serde(default)]
    pub policy: Option<String>,
    /// The whole text as it was written.
    pub text: String,
    /// The kind whose prompt asked for the text, where practice tried another kind (`self_edit.explore`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_as: Option<SelfEditKind>,
    /// The statements cut from it (rewrite, implications).
    pub statements: Vec<String>,
    /// The pairs cut from it (self-qa).
    pub pairs: Vec<Question>,
    /// The phrase of the passage that each pair was written for (self-qa).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
    /// The same facts in other forms (self-qa with `self_edit.forms`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<Question>,
    pub seed: u64,
}

/// Samples `options.samples` self-edits from `author`; who that is was chosen by `options.writer`.
pub fn write(
    author: Author<'_>,
    passage: &Passage,
    options: &SelfEditOptions,
    seed: u64,
) -> Result<Vec<SelfEdit>, ModelError> {
    let teacher = author.teacher();
    let mut edits = match options.kind {
        SelfEditKind::None => Vec::new(),
        SelfEditKind::SelfQa => write_pairs(author, passage, options, seed)?,
        kind => write_lists(author, passage, options, kind, seed)?,
    };
    for edit in &mut edits {
        edit.teacher.clone_from(&teacher);
    }
    Ok(edits)
}

/// `options.samples` lists of the kind `options.kind`, asked for by the prompt of the kind `asked_as`; both are kinds
/// that are written whole. The length is bounded by `options.kind`.
pub(crate) fn write_lists(
    author: Author<'_>,
    passage: &Passage,
    options: &SelfEditOptions,
    asked_as: SelfEditKind,
    seed: u64,
) -> Result<Vec<SelfEdit>, ModelError> {
    let prompt = statement_prompt(asked_as, passage);
    let sampling = Sampling {
        temperature: options.temperature,
        top_p: options.top_p,
        max_tokens: match options.kind {
            SelfEditKind::ImplicationsLong => 640,
            _ => 320,
        },
        stop: Vec::new(),
        seed,
        n: options.samples,
        whole_lines: true,
    };
    let texts = author.generate(&[prompt], &sampling)?;
    let lists = texts.into_iter().flatten().zip(seed..);
    let lists = lists.map(|(text, seed)| SelfEdit {
        asked_as: (asked_as != options.kind).then_some(asked_as),
        ..from_text(options.kind, text, seed)
    });
    Ok(lists.map(|edit| in_the_script_of(passage, edit)).collect())
}

/// The self-edit without the statements and pairs that are not in the script of the passage.
fn in_the_script_of(passage: &Passage, mut edit: SelfEdit) -> SelfEdit {
    edit.statements.retain(|s| is_like(s, &passage.text));
    edit.pairs.retain(|p| is_like(&p.question, &passage.text));
    edit
}

/// A self-edit of this kind from its text, which may come from a file.
pub fn from_text(kind: SelfEditKind, text: String, seed: u64) -> SelfEdit {
    let (statements, pairs) = match kind {
        SelfEditKind::SelfQa => (Vec::new(), split_pairs(&text)),
        _ => (split_statements(&text), Vec::new()),
    };
    SelfEdit {
        kind,
        asked_as: None,
        teacher: None,
        policy: None,
        text,
        statements,
        pairs,
        phrases: Vec::new(),
        forms: Vec::new(),
        seed,
    }
}

/// The beginning of a list of statements. It has no space at the end: the first token of a word includes the space, and
/// after a lone space a model writes hardly anything but a digit.
const NUMBERED: &str = "1.";

/// The prompt that asks for a self-edit that is written whole (all kinds but self-qa).
fn statement_prompt(kind: SelfEditKind, passage: &Passage) -> Prompt {
    let Passage { title, text } = passage;
    let (task, prefill) = match kind {
        SelfEditKind::Rewrite => (
            "Rewrite the passage in a few different ways, each on a line of its own. Every rewriting \
             keeps all names and numbers exactly as they are and says what it is about.",
            "",
        ),
        SelfEditKind::ImplicationsLong => (
            "Write a long list of everything that the passage states or implies: every name, number \
             and date, every cause and consequence, one complete sentence a line. Every sentence \
             names what it is about, keeps names and numbers exactly as they are, and makes sense \
             without the passage. Leave nothing out.",
            NUMBERED,
        ),
        SelfEditKind::ChainOfThought => (
            "Think through the passage step by step, one complete sentence a line: take each fact in \
             turn, say it, and say what follows from it together with the others. Every sentence \
             names what it is about and keeps names and numbers exactly as they are.",
            NUMBERED,
        ),
        _ => (
            "List the facts that the passage states or implies, one short and complete sentence a \
             line. Every sentence names what it is about, keeps names and numbers exactly as they \
             are, and makes sense without the passage.",
            NUMBERED,
        ),
    };
    let language = in_its_language(passage);
    Prompt::user(format!("{task}{language}\n\nPassage: {title}\n{text}")).prefill(prefill)
}

/// The wish for notes in the passage's own language; empty for English.
pub(super) fn in_its_language(passage: &Passage) -> String {
    match Language::of(&passage.text) {
        None | Some(Language::ENGLISH) => String::new(),
        Some(language) => format!(" Write in {}.", language.name()),
    }
}

/// The sequence that teaches a policy to write this self-edit: the statements alone, in the form that the prompt
/// begins. The text itself may repeat statements, since a repetition costs its candidate nothing.
pub(crate) fn statement_lesson(edit: &SelfEdit, passage: &Passage) -> TrainingText {
    let prompt = statement_prompt(edit.kind, passage);
    let numbered = !prompt.prefill.is_empty();
    let line = |(nth, statement): (usize, &String)| match (numbered, nth) {
        (false, _) => statement.clone(),
        (true, 0) => format!(" {statement}"),
        (true, _) => format!("{}. {statement}", nth + 1),
    };
    let lines: Vec<String> = edit.statements.iter().enumerate().map(line).collect();
    TrainingText::Completion {
        prompt,
        completion: lines.join("\n"),
    }
}

/// The lines of a completion: numbering, bullets and headings taken off, repeats dropped.
fn split_statements(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    text.lines()
        .map(strip_marker)
        .filter(|line| words(line).len() >= 3 && !line.ends_with([':', '：']))
        .filter(|line| seen.insert(words(line)))
        .map(str::to_owned)
        .collect()
}

fn strip_marker(line: &str) -> &str {
    let line = line
        .trim()
        .trim_start_matches(['-', '*', '#', '•', '・'])
        .trim();
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match digits.strip_prefix(['.', ')', '、', '．', '）']) {
        Some(rest)
            if digits.len() < line.len() && !rest.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            rest.trim()
        }
        _ => line,
    }
}

/// Pairs written phrase by phrase: covers the whole passage, where one request for many pairs makes small
/// models repeat the first few.
fn write_pairs(
    author: Author<'_>,
    passage: &Passage,
    options: &SelfEditOptions,
    seed: u64,
) -> Result<Vec<SelfEdit>, ModelError> {
    let most = (options.phrases).max(PHRASES_A_SENTENCE * sentences(&passage.text).len());
    let phrases = phrases(passage, most);
    let samples = pairs::write(author, passage, &phrases, options, seed)?;
    let own_words = match options.forms.contains(&PairForm::OwnWords) {
        true => own_words::answer(author, passage, &samples)?,
        false => vec![Vec::new(); samples.len()],
    };
    Ok(samples
        .into_iter()
        .zip(own_words)
        .zip(seed..)
        .map(|((pairs, mut forms), seed)| {
            forms.extend(forms::others(passage, &pairs, &options.forms));
            // The whole sentence as the answer: it holds what was asked for even where the question
            // is a little off, and many questions to one sentence teach which sentence answers what.
            let phrases = pairs.iter().map(|p| p.phrase.text.to_owned()).collect();
            let pairs = pairs.into_iter().map(|p| Question {
                question: p.question,
                answer: p.phrase.sentence.to_owned(),
            });
            let pairs: Vec<Question> = pairs.collect();
            let block = |p: &Question| format!("Question: {}\nAnswer: {}", p.question, p.answer);
            let blocks: Vec<String> = pairs.iter().map(block).collect();
            SelfEdit {
                kind: SelfEditKind::SelfQa,
                asked_as: None,
                teacher: None,
                policy: None,
                text: blocks.join("\n\n"),
                statements: Vec::new(),
                pairs,
                phrases,
                forms,
                seed,
            }
        })
        .collect())
}

/// Phrases asked about in a long passage, a sentence.
const PHRASES_A_SENTENCE: usize = 2;

/// `Question: …` / `Answer: …` blocks; half pairs and repeats are dropped.
fn split_pairs(text: &str) -> Vec<Question> {
    let mut seen = HashSet::new();
    text.split("Question:")
        .filter_map(|block| {
            let (question, answer) = block.split_once("Answer:")?;
            let answer = answer.trim().lines().next()?.trim();
            let pair = Question {
                question: question.trim().to_owned(),
                answer: answer.trim_end_matches('.').to_owned(),
            };
            let whole = is_question(&pair.question) && !pair.answer.is_empty();
            (whole && !pair.question.contains('\n')).then_some(pair)
        })
        .filter(|p| seen.insert(words(&p.question)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_lose_their_markers_and_repeats() {
        let text = "Here are the facts:\n1. Orr founded Vell in 1911.\n2) **Orr** was a smith.\n- Orr founded Vell in 1911\nYes.\n3.5 metres is its height.";
        assert_eq!(
            split_statements(text),
            [
                "Orr founded Vell in 1911.",
                "**Orr** was a smith.",
                "3.5 metres is its height."
            ]
        );
    }

    #[test]
    fn a_lesson_asks_as_the_writer_was_asked_and_repeats_nothing() {
        let passage = Passage {
            title: "Vell".into(),
            text: "Orr built Vell in 1911.".into(),
        };
        let text = "Orr built Vell.\n2) Vell is quite tall.\n3. Orr built Vell.";
        let lesson = |kind| {
            let edit = from_text(kind, text.into(), 0);
            let TrainingText::Completion { prompt, completion } = statement_lesson(&edit, &passage)
            else {
                panic!("not a completion");
            };
            assert_eq!(prompt, statement_prompt(kind, &passage));
            completion
        };
        // The prompt ends with "1.".
        let numbered = " Orr built Vell.\n2. Vell is quite tall.";
        assert_eq!(lesson(SelfEditKind::Implications), numbered);
        let plain = "Orr built Vell.\nVell is quite tall.";
        assert_eq!(lesson(SelfEditKind::Rewrite), plain);
    }

    #[test]
    fn pairs_are_whole_and_distinct() {
        let text = "Question: Who founded Vell?\nAnswer: Orr.\n\nQuestion: Who founded Vell?\nAnswer: Ann\n\nQuestion: When?\n\nQuestion: How tall is Vell?\nAnswer: 90 metres";
        let pairs = split_pairs(text);
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0].answer, "Orr");
    }
}
