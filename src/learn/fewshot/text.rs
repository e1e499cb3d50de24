//! Text tasks: input → output strings, as agents need them (classification, extraction, tool calls). An input is
//! trained and asked without examples as well, because later requests to the adapter send the input alone.

use super::predict::{Question, Undo};
use super::task::{FewShot, Pair, TaskInput, ask, left_out};
use crate::learn::ports::model::Turn;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Orders of the examples that an input is asked with, in addition to the input without examples.
const ORDERS: usize = 4;
/// Shuffled copies of each training task, in addition to its own order.
const SHUFFLED: usize = 2;

pub(super) fn turn(pair: &Pair<String>) -> Turn {
    Turn {
        user: pair.input.clone(),
        assistant: pair.output.clone(),
    }
}

/// Two lists of sequences, each as the numbers of its demonstrations: each demonstration alone and after all the
/// others; and the same with fewer demonstrations or other orders.
pub(super) fn sequences(
    demonstrations: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let numbers: Vec<usize> = (0..demonstrations).collect();
    let mut first: Vec<Vec<usize>> = numbers.iter().map(|nth| vec![*nth]).collect();
    let mut rest = Vec::new();
    for turns in left_out(&numbers) {
        for _ in 0..SHUFFLED {
            let mut turns = turns.clone();
            let asked = turns.len() - 1;
            turns[..asked].shuffle(rng);
            rest.push(turns);
        }
        match turns.len() == demonstrations {
            true => first.push(turns),
            false => rest.push(turns),
        }
    }
    (first, rest)
}

/// The views of an input: after the examples in several orders, and alone.
pub(super) fn questions(
    task: &FewShot<String>,
    asked: TaskInput,
    rng: &mut ChaCha8Rng,
) -> Vec<Question> {
    let (input, held) = match asked {
        TaskInput::HeldOut(n) => (&task.train[n].input, Some(n)),
        TaskInput::Test(n) => (&task.test[n], None),
    };
    let numbered = task.train.iter().enumerate();
    let shown = numbered.filter(|(n, _)| Some(*n) != held);
    let mut shown: Vec<Turn> = shown.map(|(_, pair)| turn(pair)).collect();
    let mut prompts = vec![ask(None, &shown, input.clone())];
    for _ in 1..ORDERS {
        shown.shuffle(rng);
        prompts.push(ask(None, &shown, input.clone()));
    }
    prompts.insert(1, ask(None, &[], input.clone()));
    let mut seen: Vec<Question> = Vec::new();
    for prompt in prompts {
        let undo = Undo::Text;
        if seen.iter().all(|q| q.prompt != prompt) {
            seen.push(Question { prompt, undo });
        }
    }
    seen
}

/// Whether two texts are equal but for white space at the ends, or are equal as JSON.
pub(super) fn same(answer: &str, gold: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    answer.trim() == gold.trim() || json(gold).is_some_and(|gold| json(answer) == Some(gold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn task() -> FewShot<String> {
        let pair = |input: &str, output: &str| Pair {
            input: input.into(),
            output: output.into(),
        };
        FewShot {
            train: vec![pair("a", "1"), pair("b", "2"), pair("c", "3")],
            test: vec!["d".into()],
        }
    }

    #[test]
    fn an_input_is_asked_with_examples_and_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let questions = questions(&task(), TaskInput::Test(0), &mut rng);
        assert_eq!(questions[0].prompt.examples.len(), 3);
        assert_eq!(questions[1].prompt.examples, []);
        assert!(questions.iter().all(|q| q.prompt.user == "d"));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let held = super::questions(&task(), TaskInput::HeldOut(1), &mut rng);
        assert_eq!(held[0].prompt.user, "b");
        let shown: Vec<_> = held.iter().flat_map(|q| &q.prompt.examples).collect();
        assert!(shown.iter().all(|(input, _)| input != "b"));
    }

    #[test]
    fn every_demonstration_is_learned_alone_and_in_company() {
        let (first, rest) = sequences(3, &mut ChaCha8Rng::seed_from_u64(1));
        let lengths: Vec<usize> = first.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 1, 1, 3, 3, 3]);
        assert!(rest.iter().any(|turns| turns.len() == 2));
    }

    #[test]
    fn tool_calls_are_compared_as_json() {
        assert!(same(" yes\n", "yes"));
        assert!(!same("yes!", "yes"));
        assert!(same(r#"{"b": 1, "a": [2]}"#, r#"{"a":[2],"b":1}"#));
        assert!(!same(r#"{"a": 1}"#, r#"{"a":2}"#));
    }
}
