//! General ability: a fixed set of short questions that the default model answers right before it has
//! learned anything, asked again after every update. What a document costs of it is forgetting too.
//!
//! Against the base and not against the version before, so that many small losses cannot add up unseen.

use super::answerer::Item;
use crate::learn::grading::grader::Grader;
use crate::learn::ports::model::Prompt;
use crate::question::Question;
use std::sync::OnceLock;

/// Longest answer, tokens: the gold answers are a word or two.
pub const ANSWER_TOKENS: usize = 16;
/// The gold answer must stand in the answer.
pub const GRADER: Grader = Grader::Contains;

/// The questions, written for this project and kept where `autodidact probes check` found the default
/// model right.
pub fn all() -> &'static [Question] {
    static ALL: OnceLock<Vec<Question>> = OnceLock::new();
    ALL.get_or_init(|| {
        let text = include_str!("../../../config/general_probes.json");
        serde_json::from_str(text).expect("the probes are built in and tested")
    })
}

/// `wanted` of the questions, spread evenly over the set, starting elsewhere for every seed.
pub fn some(wanted: usize, seed: u64) -> Vec<Question> {
    let all = all();
    let wanted = wanted.min(all.len());
    let start = (seed % all.len() as u64) as usize;
    (0..wanted)
        .map(|i| all[(start + i * all.len() / wanted) % all.len()].clone())
        .collect()
}

pub fn item(question: &Question) -> Item {
    let Question { question, answer } = question;
    Item {
        question: question.clone(),
        prompt: Prompt::user(format!(
            "Answer the question directly and concisely.\nQuestion: {question}"
        )),
        gold: answer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_hundred_questions_each_once() {
        let all = all();
        assert_eq!(all.len(), 100);
        let asked: HashSet<&str> = all.iter().map(|q| q.question.as_str()).collect();
        assert_eq!(asked.len(), 100);
        for q in all {
            assert!(q.question.ends_with('?') && q.question.len() < 120, "{q:?}");
            assert!(Grader::Contains.correct(&q.answer, &q.answer), "{q:?}");
        }
    }

    #[test]
    fn some_of_them_differ_and_turn_with_the_seed() {
        for (wanted, seed) in [(1, 0), (20, 3), (33, u64::MAX), (100, 7), (500, 1)] {
            let some: HashSet<String> =
                some(wanted, seed).into_iter().map(|q| q.question).collect();
            assert_eq!(some.len(), wanted.min(100));
        }
        assert!(some(0, 5).is_empty());
        assert_ne!(some(20, 0), some(20, 1));
    }
}
