//! A task as a conversation. Each demonstration is a turn: the user says the input, the assistant says the output.
//! Training, prediction and later requests over `/v1/chat/completions` all use this form.
//!
//! Training sequences are leave-one-out and leave-two-out tasks: one left-out demonstration is the last turn, after
//! the demonstrations that were not left out. The paper's loss is on the last output only. Here the loss is on every
//! turn's output, which gives several times the training signal for the same tokens.

use super::augment::{self, Colours, Transform};
use super::grid::Grid;
use super::predict::{Question, Undo};
use super::self_edit::{SelfEdit, Strategy};
use super::sequences::{distinct, recipes, until};
use super::{serialise, text};
use crate::learn::ports::model::{Learn, Prompt, TrainingText, Turn};
use crate::learn::ports::watch::Watch;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most training sequences of one candidate, as in the paper.
pub const MOST_SEQUENCES: usize = 250;
/// The system prompt of a grid task, which tells the model the kind of conversation.
pub const GRID_SYSTEM: &str = "Every output follows from its input by the same rule.";

/// A demonstration: an input with its right output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair<T> {
    pub input: T,
    pub output: T,
}

/// The demonstrations and test inputs of one task, as in an ARC file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FewShot<T> {
    /// The demonstrations.
    pub train: Vec<Pair<T>>,
    /// The test inputs, which are to be answered.
    pub test: Vec<T>,
}

/// A few-shot task, by the form of its inputs and outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    Grid(FewShot<Grid>),
    Text(FewShot<String>),
}

/// The input of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskInput {
    /// The input of the nth demonstration, asked after the other demonstrations.
    HeldOut(usize),
    /// The nth test input, asked after all demonstrations.
    Test(usize),
}

impl Task {
    pub fn train_len(&self) -> usize {
        match self {
            Task::Grid(task) => task.train.len(),
            Task::Text(task) => task.train.len(),
        }
    }

    pub fn test_len(&self) -> usize {
        match self {
            Task::Grid(task) => task.test.len(),
            Task::Text(task) => task.test.len(),
        }
    }

    /// The demonstrations as turns, in their own order.
    pub fn demonstrations(&self) -> Vec<Turn> {
        match self {
            Task::Grid(task) => task.train.iter().map(grid_turn).collect(),
            Task::Text(task) => task.train.iter().map(text::turn).collect(),
        }
    }

    /// The right output of a demonstration, in the form of a prediction's output.
    pub fn gold(&self, demonstration: usize) -> Value {
        match self {
            Task::Grid(task) => serde_json::json!(task.train[demonstration].output),
            Task::Text(task) => Value::from(task.train[demonstration].output.clone()),
        }
    }

    /// Whether an answer is right. Texts may differ in white space at the ends, or as equal JSON.
    pub fn same(&self, answer: &Value, gold: &Value) -> bool {
        match (self, answer, gold) {
            (Task::Text(_), Value::String(answer), Value::String(gold)) => text::same(answer, gold),
            _ => answer == gold,
        }
    }

    /// The plain view of a test input: all demonstrations in their order, then the input.
    pub fn plain_question(&self, input: usize) -> Prompt {
        let question = match self {
            Task::Grid(task) => serialise::write(&task.test[input]),
            Task::Text(task) => task.test[input].clone(),
        };
        ask(self.system(), &self.demonstrations(), question)
    }

    /// The longest answer to expect, in bytes; also a bound in tokens, since a token has at least one byte.
    pub fn longest_answer(&self) -> usize {
        let outputs = self.demonstrations().into_iter().map(|t| t.assistant.len());
        let longest = outputs.max().unwrap_or(0);
        match self {
            // The size of the answer may depend on the size of the input.
            Task::Grid(task) => {
                let cells = |g: &Grid| g.height() * (g.width() + 1);
                let inputs = task.train.iter().map(|p| &p.input).chain(&task.test);
                (2 * inputs.map(cells).max().unwrap_or(0).max(longest)).min(31 * 30) + 2
            }
            Task::Text(_) => (longest + longest / 2).clamp(32, 1024),
        }
    }

    /// The training sequences of a candidate: at most `most` and at most [`MOST_SEQUENCES`]. Each has at most `window`
    /// tokens by an upper bound, and none contains the held-out demonstration.
    pub fn training(
        &self,
        edit: &SelfEdit,
        held_out: Option<usize>,
        most: usize,
        window: usize,
        seed: u64,
    ) -> Vec<TrainingText> {
        self.training_until(edit, held_out, most, window, seed, &|| false)
    }

    /// [`Task::training`] until `watch` wants it stopped: then those written so far, at least one if there is any.
    pub fn training_until(
        &self,
        edit: &SelfEdit,
        held_out: Option<usize>,
        most: usize,
        window: usize,
        seed: u64,
        watch: &dyn Watch,
    ) -> Vec<TrainingText> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let mut texts = match self {
            Task::Grid(task) => {
                let pairs = kept(&task.train, held_out);
                let (forms, first, mut rest) = recipes(&pairs, edit, rng, watch);
                rest.shuffle(rng);
                let all = until(watch, first.into_iter().chain(rest));
                let fitting = all.filter(|recipe| forms.length(recipe) <= window);
                distinct(fitting.map(|recipe| forms.write(&recipe)), most, watch)
            }
            Task::Text(task) => {
                let pairs = kept(&task.train, held_out);
                let (first, mut rest) = text::sequences(pairs.len(), rng);
                rest.shuffle(rng);
                let all = until(watch, first.into_iter().chain(rest));
                let write = |order: Vec<usize>| -> Vec<Turn> {
                    order.iter().map(|nth| text::turn(&pairs[*nth])).collect()
                };
                let fits = |turns: &Vec<Turn>| length(turns) <= window;
                distinct(all.map(write).filter(fits), most, watch)
            }
        };
        texts.shuffle(rng);
        let learn = match edit.training.strategy {
            Strategy::TrainUsingAllTokens => Learn::Everything,
            Strategy::TrainUsingOutputTokens => Learn::Answers,
        };
        let conversation = |turns| TrainingText::Conversation {
            system: self.system(),
            turns,
            learn,
        };
        texts.into_iter().map(conversation).collect()
    }

    /// The views of an input, at most `most`, the plain one first. The other views of a grid task have at most `window`
    /// tokens by an upper bound; the plain view may be longer.
    pub fn questions(
        &self,
        asked: TaskInput,
        edit: &SelfEdit,
        most: usize,
        window: usize,
        seed: u64,
    ) -> Vec<Question> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut questions = match self {
            Task::Grid(task) => {
                let held = |n| matches!(asked, TaskInput::HeldOut(h) if h == n);
                let input = match asked {
                    TaskInput::HeldOut(n) => &task.train[n].input,
                    TaskInput::Test(n) => &task.test[n],
                };
                let shown: Vec<_> = (task.train.iter().enumerate())
                    .filter(|(n, _)| !held(*n))
                    .map(|(_, pair)| pair.clone())
                    .collect();
                grid_questions(&shown, input, edit, [most, window], &mut rng)
            }
            Task::Text(task) => text::questions(task, asked, &mut rng),
        };
        questions.truncate(most);
        questions
    }

    pub(super) fn system(&self) -> Option<String> {
        match self {
            Task::Grid(_) => Some(GRID_SYSTEM.to_owned()),
            // Later requests send the bare input without a system prompt, so the adapter is trained without one.
            Task::Text(_) => None,
        }
    }
}

fn kept<T: Clone>(train: &[Pair<T>], held_out: Option<usize>) -> Vec<Pair<T>> {
    let numbered = train.iter().enumerate();
    let kept = numbered.filter(|(n, _)| Some(*n) != held_out);
    kept.map(|(_, pair)| pair.clone()).collect()
}

/// Leave-one-out and leave-two-out tasks, the former first. In each the asked demonstration is the last one.
pub(super) fn left_out<T: Clone>(pairs: &[T]) -> Vec<Vec<T>> {
    let mut tasks = Vec::new();
    for asked in 0..pairs.len() {
        let without = |other: Option<usize>| {
            let numbered = pairs.iter().enumerate();
            let shown = numbered.filter(|(n, _)| *n != asked && Some(*n) != other);
            let mut task: Vec<T> = shown.map(|(_, pair)| pair.clone()).collect();
            task.push(pairs[asked].clone());
            task
        };
        tasks.push(without(None));
        for other in (0..pairs.len()).filter(|n| *n != asked && pairs.len() > 2) {
            tasks.push(without(Some(other)));
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.len()));
    tasks
}

fn grid_questions(
    shown: &[Pair<Grid>],
    input: &Grid,
    edit: &SelfEdit,
    [most, window]: [usize; 2],
    rng: &mut ChaCha8Rng,
) -> Vec<Question> {
    let transforms = match edit.data_generation.use_basic_augmentations {
        true => augment::views(),
        false => vec![Transform::Identity],
    };
    // Each transform is asked with two orders of the examples. A task without transforms is asked in other colours
    // as well.
    let recoloured_views = if transforms.len() > 1 { 0 } else { 3 };
    let mut questions = Vec::new();
    for round in 0..2 + recoloured_views {
        for transform in &transforms {
            if questions.len() >= most {
                return questions;
            }
            let colours = match round {
                0 | 1 => Colours::same(),
                _ => Colours::shuffled(rng),
            };
            let (Some(mut shown), Some(input)) =
                (transformed(shown, transform), transform.apply(input))
            else {
                continue;
            };
            if round > 0 {
                shown.shuffle(rng);
            }
            let turns: Vec<Turn> = shown.iter().map(|p| recoloured(p, &colours)).collect();
            if !questions.is_empty() && length(&turns) > window {
                continue;
            }
            let question = serialise::write(&colours.apply(&input));
            questions.push(Question {
                prompt: ask(Some(GRID_SYSTEM.to_owned()), &turns, question),
                undo: Undo::Grid(transform.clone(), colours),
            });
        }
    }
    questions
}

fn transformed(pairs: &[Pair<Grid>], transform: &Transform) -> Option<Vec<Pair<Grid>>> {
    let both = |pair: &Pair<Grid>| {
        Some(Pair {
            input: transform.apply(&pair.input)?,
            output: transform.apply(&pair.output)?,
        })
    };
    pairs.iter().map(both).collect()
}

fn grid_turn(pair: &Pair<Grid>) -> Turn {
    Turn {
        user: serialise::write(&pair.input),
        assistant: serialise::write(&pair.output),
    }
}

pub(super) fn recoloured(pair: &Pair<Grid>, colours: &Colours) -> Turn {
    grid_turn(&Pair {
        input: colours.apply(&pair.input),
        output: colours.apply(&pair.output),
    })
}

pub(super) fn ask(system: Option<String>, shown: &[Turn], question: String) -> Prompt {
    let shown = shown.iter().map(|t| (t.user.clone(), t.assistant.clone()));
    Prompt {
        system,
        examples: shown.collect(),
        user: question,
        ..Prompt::default()
    }
}

fn length(turns: &[Turn]) -> usize {
    length_of(turns.iter().map(|t| [t.user.len(), t.assistant.len()]))
}

/// An upper bound of a conversation's tokens, from the bytes of the two sides of each turn: the bytes, plus a constant
/// per turn for the chat format's markup.
pub(super) fn length_of(turns: impl Iterator<Item = [usize; 2]>) -> usize {
    64 + turns
        .map(|[user, assistant]| user + assistant + 16)
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::self_edit::DataGeneration;
    use std::collections::HashSet;

    fn grid(n: u8) -> Grid {
        Grid::build(2, 3, |y, x| (n + y as u8 + 2 * x as u8) % 10).unwrap()
    }

    fn task(demonstrations: u8) -> Task {
        let pair = |n| Pair {
            input: grid(n),
            output: grid(n + 5),
        };
        Task::Grid(FewShot {
            train: (0..demonstrations).map(pair).collect(),
            test: vec![grid(9)],
        })
    }

    fn turns(text: &TrainingText) -> &[Turn] {
        match text {
            TrainingText::Conversation { turns, .. } => turns,
            other => panic!("{other:?}"),
        }
    }

    fn with(f: impl FnOnce(&mut DataGeneration)) -> SelfEdit {
        let mut edit = SelfEdit::default();
        edit.data_generation.use_basic_augmentations = false;
        f(&mut edit.data_generation);
        edit
    }

    #[test]
    fn one_or_two_demonstrations_are_left_out() {
        let pair = |n: i32| Pair {
            input: n,
            output: -n,
        };
        let tasks = left_out(&[pair(1), pair(2), pair(3)]);
        let inputs: Vec<Vec<i32>> = (tasks.iter())
            .map(|task| task.iter().map(|p| p.input).collect())
            .collect();
        let three: Vec<_> = inputs.iter().filter(|t| t.len() == 3).collect();
        assert_eq!(three, [&[2, 3, 1], &[1, 3, 2], &[1, 2, 3]]);
        let mut two: Vec<_> = inputs.iter().filter(|t| t.len() == 2).collect();
        two.sort();
        let all = [[1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2]];
        assert_eq!(
            two,
            all.iter()
                .map(|t| t.to_vec())
                .collect::<Vec<_>>()
                .iter()
                .collect::<Vec<_>>()
        );
        assert_eq!(left_out(&[pair(1)]).len(), 1);
        assert_eq!(left_out(&[pair(1), pair(2)]).len(), 2);
    }

    #[test]
    fn sequences_are_distinct_capped_and_repeatable() {
        let everything = with(|d| {
            d.use_basic_augmentations = true;
            d.use_size_augmentations = true;
            d.use_chain_augmentations = true;
            d.use_repeat_augmentations = true;
        });
        let texts = task(3).training(&everything, None, usize::MAX, usize::MAX, 1);
        assert_eq!(texts.len(), MOST_SEQUENCES);
        let distinct: HashSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len());
        let again = task(3).training(&everything, None, usize::MAX, usize::MAX, 1);
        assert_eq!(again, texts);
        let few = task(3).training(&everything, None, 5, usize::MAX, 1);
        assert_eq!(few.len(), 5);
        // The sequences of the task itself are never cut away.
        for n in 0..3 {
            let last = serialise::write(&grid(n));
            let own = few.iter().filter(|t| turns(t).len() == 3);
            assert!(own.clone().any(|t| turns(t)[2].user == last));
        }
        // The plain view has nine tasks, each with three recolourings.
        let plain = task(3).training(&with(|_| {}), None, usize::MAX, usize::MAX, 1);
        assert!(plain.len() > 30 && plain.len() <= 36, "{}", plain.len());
        let short = task(3).training(&with(|_| {}), None, usize::MAX, 150, 1);
        assert!(!short.is_empty() && short.iter().all(|t| turns(t).len() == 2));
    }

    #[test]
    fn what_is_held_out_is_never_trained_on() {
        let same_colours = with(|_| {});
        let Task::Grid(whole) = task(3) else {
            unreachable!()
        };
        let held = serialise::write(&whole.train[1].output);
        let texts = task(3).training(&same_colours, Some(1), usize::MAX, usize::MAX, 1);
        let shown = |texts: &[TrainingText]| {
            texts
                .iter()
                .flat_map(|t| turns(t).to_vec())
                .any(|t| t.assistant == held)
        };
        assert!(!texts.is_empty() && !shown(&texts));
        assert!(shown(&task(3).training(
            &same_colours,
            None,
            usize::MAX,
            usize::MAX,
            1
        )));
        let questions = task(3).questions(TaskInput::HeldOut(1), &same_colours, 9, usize::MAX, 1);
        for question in questions {
            assert!(
                question
                    .prompt
                    .examples
                    .iter()
                    .all(|(_, said)| *said != held)
            );
            assert_eq!(question.prompt.examples.len(), 2);
        }
    }

    #[test]
    fn answers_to_transformed_questions_are_taken_back() {
        let edit = with(|d| d.use_basic_augmentations = true);
        let questions = task(3).questions(TaskInput::Test(0), &edit, 99, usize::MAX, 1);
        assert_eq!(questions.len(), 14);
        for question in &questions {
            // An answer that equals the view's input maps back to the plain input.
            let answer = question.read(&question.prompt.user).unwrap();
            assert_eq!(answer, serde_json::json!(grid(9)));
        }
        assert_eq!(
            task(3)
                .questions(TaskInput::Test(0), &edit, 3, usize::MAX, 1)
                .len(),
            3
        );
        let plain = &questions[0].prompt;
        assert_eq!(plain, &task(3).plain_question(0));
    }
}
