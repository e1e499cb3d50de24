//! The judge: a text model that is shown a question, the gold answer and the answer given, and says
//! whether it is right.
//!
//! Graders over words cannot know that "the day after Sunday" is Monday; a judge may. It is asked
//! for one word, greedily, so the same answers get the same verdicts, and about all answers of a test at
//! once. Small models say yes too often (docs/teacher-and-judge.md): measure one with
//! `autodidact grade --judge` first.

use super::grader::Grader;
use crate::learn::ports::model::{ModelError, Prompt, Sampling};
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;

/// An answer to be graded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswerToGrade<'a> {
    pub question: &'a str,
    pub gold: &'a str,
    pub answer: &'a str,
}

/// What a judge said of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    Wrong,
    /// Neither yes nor no; counts as wrong.
    Unclear,
}

/// Tokens of a verdict: a word, and what may stand around it.
const VERDICT_TOKENS: usize = 4;

/// The judge's verdict on each of `answers`, asked in one call. An exact answer needs no judging and is
/// not asked about.
pub fn judge(
    judge: &dyn TextModel,
    answers: &[AnswerToGrade<'_>],
    watch: &dyn Watch,
) -> Result<Vec<Verdict>, ModelError> {
    let open = |given: &&AnswerToGrade| !Grader::Exact.correct(given.gold, given.answer);
    let prompts: Vec<Prompt> = answers.iter().filter(open).map(prompt).collect();
    if prompts.is_empty() {
        return Ok(vec![Verdict::Right; answers.len()]);
    }
    let said = judge.complete(&prompts, &Sampling::greedy(VERDICT_TOKENS), watch)?;
    let mut said = said.iter().map(|n| n.first().map_or("", String::as_str));
    let verdict = |given: &AnswerToGrade| match open(&given) {
        true => read(said.next().unwrap_or_default()),
        false => Verdict::Right,
    };
    Ok(answers.iter().map(verdict).collect())
}

/// Yes or no, in whatever case and punctuation.
fn read(said: &str) -> Verdict {
    let mut words = said.split(|c: char| !c.is_alphabetic());
    let first = words.find(|w| !w.is_empty()).unwrap_or_default();
    match first.to_lowercase().as_str() {
        "yes" => Verdict::Right,
        "no" => Verdict::Wrong,
        _ => Verdict::Unclear,
    }
}

fn prompt(given: &AnswerToGrade<'_>) -> Prompt {
    Prompt {
        system: Some(TASK.into()),
        examples: EXAMPLES
            .iter()
            .map(|(example, verdict)| (turn(example), (*verdict).to_owned()))
            .collect(),
        user: turn(given),
        ..Default::default()
    }
}

fn turn(given: &AnswerToGrade<'_>) -> String {
    let AnswerToGrade {
        question,
        gold,
        answer,
    } = given;
    // An answer is one line here, so that it cannot pass for the next example.
    let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("Question: {question}\nCorrect answer: {gold}\nStudent's answer: {answer}")
}

const TASK: &str = "You grade a student's answers. Say yes if the student's answer gives the correct \
    answer, in the same or in other words, even if it says more. Say no if it gives another answer, \
    contradicts the correct one, leaves out what was asked for, or is only on the same subject. Say yes \
    or no and nothing else.";

const fn example(
    question: &'static str,
    gold: &'static str,
    answer: &'static str,
) -> AnswerToGrade<'static> {
    AnswerToGrade {
        question,
        gold,
        answer,
    }
}

/// Of each kind one: other words, another answer, more than asked, the subject without the answer, a
/// part that is enough, a number that is off.
const EXAMPLES: [(AnswerToGrade<'static>, &str); 6] = [
    (
        example(
            "When does the Tessaly Library close?",
            "at dusk",
            "It closes when the sun goes down.",
        ),
        "yes",
    ),
    (
        example(
            "Who designed the Corrin 4 kettle?",
            "Mara Lind",
            "The Corrin 4 kettle was designed by Peter Aske.",
        ),
        "no",
    ),
    (
        example(
            "What colour is the lighthouse of Port Avel?",
            "orange",
            "The lighthouse of Port Avel was painted orange in 1904 and is the only one on the coast.",
        ),
        "yes",
    ),
    (
        example(
            "Why was the Senn bridge rebuilt?",
            "a flood took its middle pillar",
            "The Senn bridge was rebuilt because it was an important bridge.",
        ),
        "no",
    ),
    (
        example(
            "Who was the first keeper of the archive?",
            "Doctor Ilse Marten of Quill",
            "Ilse Marten",
        ),
        "yes",
    ),
    (
        example(
            "How many people live in Quillmere?",
            "6,214",
            "Quillmere has 6,241 inhabitants.",
        ),
        "no",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::scripted::ScriptedText;

    const GIVEN: AnswerToGrade = AnswerToGrade {
        question: "Which day comes next?",
        gold: "Monday",
        answer: "The day\nafter Sunday",
    };

    #[test]
    fn a_batch_is_asked_at_once_and_read_leniently() {
        let model = ScriptedText::new(&["yes", "No.", " **Yes**, it", "NO", "maybe", ""]);
        let verdicts = judge(&model, &[GIVEN; 6], &|| false).unwrap();
        use Verdict::{Right, Unclear, Wrong};
        assert_eq!(verdicts, [Right, Wrong, Right, Wrong, Unclear, Unclear]);
        let calls = model.calls();
        assert_eq!(calls.len(), 1);
        let (prompts, sampling) = &calls[0];
        assert_eq!((sampling.temperature, sampling.n), (0.0, 1));
        let user = &prompts[0].user;
        for part in ["Which day comes next?", "Monday", "The day after Sunday"] {
            assert!(user.contains(part), "{user}");
        }
    }

    #[test]
    fn nothing_is_asked_about_nothing_and_a_wish_to_stop_is_heard() {
        let model = ScriptedText::new(&[]);
        assert!(judge(&model, &[], &|| true).unwrap().is_empty());
        assert!(matches!(
            judge(&model, &[GIVEN], &|| true),
            Err(ModelError::Stopped)
        ));
        assert!(model.calls().is_empty());
    }
}
