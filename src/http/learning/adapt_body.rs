//! What `/adapt` understands: a task in ARC's own JSON, or one of texts, read into a checked one. A refusal
//! names the field.

use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{from_value, json};
use crate::learn::fewshot::practice::Solved;
use crate::learn::fewshot::self_edit::OutOfRange;
use crate::learn::fewshot::{AdaptOptions, FewShot, Grid, Pair, SelfEdit, Task};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Every demonstration is in every prompt.
const MOST_DEMONSTRATIONS: usize = 32;
const MOST_TESTS: usize = 16;
/// Seconds an adapter lives that nobody asked to keep.
const DEFAULT_TTL: u64 = 60 * 60;
const LONGEST_TTL: u64 = 30 * 24 * 60 * 60;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdaptRequest {
    /// The adapter that chooses the configurations and is trained further; the base without
    adapter: Option<String>,
    task: TaskBody,
    /// The configuration to train with; without one the model writes several and the best is taken
    #[schema(value_type = Option<SelfEdit>)]
    self_edit: Option<Value>,
    budget: Option<Budget>,
    keep: Option<Keep>,
    /// Makes the whole repeatable on a machine of the same speed
    seed: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TaskBody {
    kind: TaskKind,
    /// The demonstrations, 1 to 32
    #[schema(value_type = Vec<Demonstration>)]
    train: Vec<Value>,
    /// What is asked, at most 16; with none there is only the adapter
    #[schema(value_type = Vec<TestInput>)]
    test: Vec<Value>,
}

#[derive(Deserialize, Serialize, Clone, Copy, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TaskKind {
    /// Inputs and outputs are lists of rows of numbers from 0 to 9, as in ARC
    Grid,
    /// Inputs and outputs are strings
    Text,
}

/// For the description alone: an input with its output.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "only its shape is shown")]
struct Demonstration {
    /// A grid or a string
    #[schema(value_type = Object)]
    input: Value,
    /// A grid or a string
    #[schema(value_type = Object)]
    output: Value,
}

/// For the description alone: an input. ARC's files have an `output` beside it, which is not read.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "only its shape is shown")]
struct TestInput {
    /// A grid or a string
    #[schema(value_type = Object)]
    input: Value,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// What the whole may take once it runs, 1 to 3600; default 60
    seconds: Option<f32>,
    /// Configurations compared at most, 1 to 16; default 3. Fewer where the seconds do not suffice
    candidates: Option<usize>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// Keep it under this name: a new one, or that of `adapter`, which then has a next version
    alias: Option<String>,
    /// Or delete it after this time (`90s`, `30m`, `12h`, `7d`; at most 30 days; default 1h)
    ttl: Option<String>,
}

/// A request fit to be stored.
pub struct Adapt {
    pub task: Task,
    pub adapter: Option<AliasName>,
    pub self_edit: Option<SelfEdit>,
    pub options: AdaptOptions,
    /// Where the adapter is kept, if it is.
    pub keep: Option<AliasName>,
    /// How long it lives, if it is not.
    pub ttl_seconds: Option<u64>,
}

pub fn read(body: &[u8]) -> Result<Adapt, Problem> {
    let request: AdaptRequest = json(body)?;
    let name = |field: &str, text: &str| {
        AliasName::parse(text).map_err(|error| Problem::from(error).field(field))
    };
    let adapter = request.adapter.as_deref();
    let adapter = adapter.map(|text| name("adapter", text)).transpose()?;
    let self_edit = request.self_edit.filter(|value| !value.is_null());
    let self_edit: Option<SelfEdit> = self_edit.map(|v| object("self_edit", v)).transpose()?;
    if let Some(edit) = &self_edit {
        let problem = |e: OutOfRange| ranged(&format!("self_edit.{}", e.field), &e);
        edit.check().map_err(problem)?;
    }
    let keep = request.keep.as_ref();
    let alias = keep.and_then(|k| k.alias.as_deref());
    let ttl = keep.and_then(|k| k.ttl.as_deref());
    if alias.is_some() && ttl.is_some() {
        let detail = "Either keep.alias keeps the adapter, or keep.ttl says when it goes.";
        return Err(Problem::invalid("keep", detail));
    }
    let keep = alias.map(|text| name("keep.alias", text)).transpose()?;
    let ttl = ttl.map(seconds_of).transpose()?.unwrap_or(DEFAULT_TTL);
    Ok(Adapt {
        task: task(request.task)?,
        adapter,
        self_edit,
        options: options(request.budget, request.seed)?,
        ttl_seconds: keep.is_none().then_some(ttl),
        keep,
    })
}

fn options(budget: Option<Budget>, seed: Option<u64>) -> Result<AdaptOptions, Problem> {
    let mut options = AdaptOptions::default();
    let Budget {
        seconds,
        candidates,
    } = budget.unwrap_or(Budget {
        seconds: None,
        candidates: None,
    });
    options.seconds = seconds.unwrap_or(options.seconds);
    options.candidates = candidates.unwrap_or(options.candidates);
    options.seed = seed.unwrap_or(options.seed);
    let problem = |e: OutOfRange| ranged(&format!("budget.{}", e.field), &e);
    options.check().map_err(problem)?;
    Ok(options)
}

fn task(body: TaskBody) -> Result<Task, Problem> {
    let within = |field: &str, found: usize, low: usize, high: usize, what: &str| {
        if (low..=high).contains(&found) {
            return Ok(());
        }
        let detail = format!("A task has {low} to {high} {what}, not {found}.");
        Err(Problem::invalid(field, detail))
    };
    let (train, test) = (body.train.len(), body.test.len());
    within(
        "task.train",
        train,
        1,
        MOST_DEMONSTRATIONS,
        "demonstrations",
    )?;
    within("task.test", test, 0, MOST_TESTS, "test inputs")?;
    match body.kind {
        TaskKind::Grid => Ok(Task::Grid(few_shot::<Grid>(body.train, body.test)?)),
        TaskKind::Text => {
            let task = few_shot::<String>(body.train, body.test)?;
            for (n, pair) in task.train.iter().enumerate() {
                filled(&format!("task.train[{n}].input"), &pair.input)?;
                filled(&format!("task.train[{n}].output"), &pair.output)?;
            }
            for (n, input) in task.test.iter().enumerate() {
                filled(&format!("task.test[{n}].input"), input)?;
            }
            Ok(Task::Text(task))
        }
    }
}

/// A task at `at` whose test inputs come with their answers: practice.
pub fn solved(at: &str, name: String, value: Value) -> Result<Solved, Problem> {
    let beside = at.trim_end_matches(".task");
    filled(&format!("{beside}.title"), &name)?;
    let mut solutions = Vec::new();
    let tests = value.get("test").and_then(Value::as_array);
    for (n, test) in tests.into_iter().flatten().enumerate() {
        let Some(output) = test.get("output") else {
            let field = format!("{at}.test[{n}].output");
            let detail = format!("{field}: practice needs the answer to each test input.");
            return Err(Problem::invalid(field, detail));
        };
        solutions.push(output.clone());
    }
    let body: TaskBody = object(at, value)?;
    let kind = body.kind;
    let task = task(body).map_err(|problem| {
        let field = problem.field.as_deref().unwrap_or_default();
        let field = field.replacen("task", at, 1);
        let detail = problem.detail.replacen("task.", &format!("{at}."), 1);
        Problem { detail, ..problem }.field(field)
    })?;
    if solutions.is_empty() {
        let field = format!("{at}.test");
        let detail = format!("{field}: practice needs a test input with its answer.");
        return Err(Problem::invalid(field, detail));
    }
    for (n, output) in solutions.iter().enumerate() {
        let right = match kind {
            TaskKind::Grid => serde_json::from_value::<Grid>(output.clone()).map(drop),
            TaskKind::Text => serde_json::from_value::<String>(output.clone()).map(drop),
        };
        right.map_err(|error| {
            let field = format!("{at}.test[{n}].output");
            Problem::invalid(field.clone(), format!("{field}: {error}."))
        })?;
    }
    Ok(Solved {
        name,
        task,
        solutions,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PairBody<T> {
    input: T,
    output: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputBody<T> {
    input: T,
    /// Nobody looks at it.
    #[serde(default, rename = "output")]
    _output: IgnoredAny,
}

fn few_shot<T: DeserializeOwned>(
    train: Vec<Value>,
    test: Vec<Value>,
) -> Result<FewShot<T>, Problem> {
    let train = train.into_iter().enumerate().map(|(n, value)| {
        let PairBody { input, output } = object(&format!("task.train[{n}]"), value)?;
        Ok(Pair { input, output })
    });
    let test = test.into_iter().enumerate().map(|(n, value)| {
        let body: InputBody<T> = object(&format!("task.test[{n}]"), value)?;
        Ok(body.input)
    });
    Ok(FewShot {
        train: train.collect::<Result<_, Problem>>()?,
        test: test.collect::<Result<_, Problem>>()?,
    })
}

fn filled(field: &str, text: &str) -> Result<(), Problem> {
    match text.trim().is_empty() {
        true => Err(Problem::invalid(field, format!("{field} is empty."))),
        false => Ok(()),
    }
}

/// A value at `field` in its exact shape.
pub fn object<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Problem> {
    // Serde would take a list for the fields in their order, and null for none.
    if !value.is_object() {
        return Err(Problem::invalid(field, format!("{field} is an object.")));
    }
    from_value::<T>(value).map_err(|problem| {
        let Some(inner) = &problem.field else {
            let detail = format!("{field}: {}", problem.detail);
            return Problem { detail, ..problem }.field(field);
        };
        let reason = problem.detail.strip_prefix(&format!("{inner}: "));
        let detail = format!("{field}.{inner}: {}", reason.unwrap_or(&problem.detail));
        let inner = format!("{field}.{inner}");
        Problem { detail, ..problem }.field(inner)
    })
}

fn ranged(field: &str, error: &OutOfRange) -> Problem {
    let OutOfRange {
        found, low, high, ..
    } = error;
    Problem::invalid(
        field,
        format!("{field} is {found}; it must be from {low} to {high}."),
    )
}

/// `90s`, `30m`, `12h`, `7d`.
fn seconds_of(text: &str) -> Result<u64, Problem> {
    let wrong = || {
        let detail =
            format!("'{text}' is not a time to live: write 90s, 30m, 12h or 7d, 30 days at most.");
        Problem::invalid("keep.ttl", detail)
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let seconds = number
        .checked_mul(unit)
        .filter(|s| (1..=LONGEST_TTL).contains(s));
    seconds.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::task::TaskInput;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const SEEDS: [&str; 3] = [
        r#"{"task":{"kind":"grid","train":[{"input":[[1,2],[3,4]],"output":[[3,1],[4,2]]},
            {"input":[[5,6],[7,8]],"output":[[7,5],[8,6]]}],"test":[{"input":[[9,0],[1,2]]}]},
            "budget":{"seconds":30,"candidates":2},"keep":{"ttl":"10m"},"seed":7}"#,
        r#"{"adapter":"kb","task":{"kind":"text","train":[{"input":"weather in Vell",
            "output":"{\"tool\":\"weather\"}"}],"test":[{"input":"time \u00e9","output":"x"}]},
            "self_edit":{"data_generation":{"use_basic_augmentations":false},
            "training":{"strategy":"train_using_all_tokens","learning_rate":1e-4,
            "num_train_epochs":3}},"keep":{"alias":"kb"}}"#,
        r#"{"task":{"kind":"grid","train":[{"input":[[0]],"output":[[0,1,2,3,4,5,6,7,8,9,0,1,2,3]]}],
            "test":[]}}"#,
    ];

    /// What is put into a mutated body: what JSON is made of, and numbers at the edges.
    const SPLINTERS: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "null",
        "[]",
        "{}",
        "true",
        "-1",
        "10",
        "1e999",
        "0.5",
        "18446744073709551616",
        "\"\\ud800\"",
        "\"task\"",
        "\"input\"",
        "[[1],[2,3]]",
        "[[1,2,3]]",
        "\"99d\"",
        "\"\"",
        "\u{7f}",
    ];

    fn mutate(text: &str, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len().max(1)).min(bytes.len());
            let end = (at + rng.random_range(0..12)).min(bytes.len());
            let splinter = SPLINTERS[rng.random_range(0..SPLINTERS.len())].as_bytes();
            match rng.random_range(0..5) {
                0 => bytes
                    .splice(at..end, splinter.iter().copied())
                    .for_each(drop),
                1 => bytes
                    .splice(at..at, splinter.iter().copied())
                    .for_each(drop),
                2 => bytes.drain(at..end).for_each(drop),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy).for_each(drop);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = rng.random();
                    }
                }
            }
        }
        bytes
    }

    #[test]
    fn no_mutated_task_panics_from_reading_to_asking() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let (mut read_well, mut refused) = (0, 0);
        for case in 0..60_000 {
            let body = mutate(SEEDS[case % SEEDS.len()], &mut rng);
            let Ok(adapt) = read(&body) else {
                refused += 1;
                continue;
            };
            read_well += 1;
            let edit = adapt.self_edit.unwrap_or_default();
            let texts = adapt.task.training(&edit, None, 8, 4096, 1);
            assert!(texts.len() <= 8);
            for n in 0..adapt.task.test_len() {
                for question in adapt.task.questions(TaskInput::Test(n), &edit, 20, 4096, 1) {
                    question.read(&question.prompt.user);
                }
            }
            assert!(adapt.task.longest_answer() >= 1);
        }
        // Both sides of the border were met often.
        assert!(
            read_well > 1_000 && refused > 20_000,
            "{read_well} read, {refused} refused"
        );
    }

    #[test]
    fn what_is_not_mutated_is_read() {
        for seed in SEEDS {
            assert!(read(seed.as_bytes()).is_ok(), "{seed}");
        }
        let first = read(SEEDS[0].as_bytes()).ok().unwrap();
        assert_eq!((first.ttl_seconds, first.keep), (Some(600), None));
        assert_eq!((first.options.seconds, first.options.candidates), (30.0, 2));
        let second = read(SEEDS[1].as_bytes()).ok().unwrap();
        assert_eq!(second.ttl_seconds, None);
        assert_eq!(second.self_edit.unwrap().training.num_train_epochs, 3);
    }
}
