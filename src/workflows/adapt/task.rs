//! Tasks in a request: ARC's JSON of grids, or the same form with texts.

use crate::learn::fewshot::practice::Solved;
use crate::learn::fewshot::{FewShot, Grid, Pair, Task};
use crate::workflows::fields::{filled, object};
use crate::workflows::refusal::Refusal;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Most demonstrations. Every prompt contains all of them.
const MOST_DEMONSTRATIONS: usize = 32;
const MOST_TESTS: usize = 16;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskBody {
    pub kind: TaskKind,
    /// The demonstrations, 1 to 32
    #[schema(value_type = Vec<Demonstration>)]
    pub train: Vec<Value>,
    /// The test inputs, at most 16. Without any the result is only the adapter
    #[schema(value_type = Vec<TestInput>)]
    pub test: Vec<Value>,
}

#[derive(Deserialize, Serialize, Clone, Copy, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Inputs and outputs are lists of rows of numbers from 0 to 9, as in ARC
    Grid,
    /// Inputs and outputs are strings
    Text,
}

/// Only for the API's description: an input with its output.
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

/// Only for the API's description: an input. ARC's files also have an `output`, which is not read.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "only its shape is shown")]
struct TestInput {
    /// A grid or a string
    #[schema(value_type = Object)]
    input: Value,
}

impl TaskBody {
    /// Checks the task. `at`: the field of the task within the request.
    pub fn check(self, at: &str) -> Result<Task, Refusal> {
        let (train, test) = (self.train.len(), self.test.len());
        let at_train = format!("{at}.train");
        within(&at_train, train, 1, MOST_DEMONSTRATIONS, "demonstrations")?;
        within(&format!("{at}.test"), test, 0, MOST_TESTS, "test inputs")?;
        match self.kind {
            TaskKind::Grid => Ok(Task::Grid(few_shot::<Grid>(at, self.train, self.test)?)),
            TaskKind::Text => {
                let task = few_shot::<String>(at, self.train, self.test)?;
                for (n, pair) in task.train.iter().enumerate() {
                    filled(&format!("{at}.train[{n}].input"), &pair.input)?;
                    filled(&format!("{at}.train[{n}].output"), &pair.output)?;
                }
                for (n, input) in task.test.iter().enumerate() {
                    filled(&format!("{at}.test[{n}].input"), input)?;
                }
                Ok(Task::Text(task))
            }
        }
    }
}

/// The solved task in the field `at`, for practice: its test inputs come with their answers.
pub fn solved(at: &str, name: String, value: Value) -> Result<Solved, Refusal> {
    let beside = at.trim_end_matches(".task");
    filled(&format!("{beside}.title"), &name)?;
    let solutions = solutions(at, &value)?;
    let body: TaskBody = object(at, value)?;
    let kind = body.kind;
    let task = body.check(at)?;
    if solutions.is_empty() {
        let field = format!("{at}.test");
        let detail = format!("{field}: practice needs a test input with its answer.");
        return Err(Refusal::invalid(field, detail));
    }
    for (n, output) in solutions.iter().enumerate() {
        let right = match kind {
            TaskKind::Grid => Grid::deserialize(output).map(drop),
            TaskKind::Text => String::deserialize(output).map(drop),
        };
        right.map_err(|error| {
            let field = format!("{at}.test[{n}].output");
            Refusal::invalid(field.clone(), format!("{field}: {error}."))
        })?;
    }
    Ok(Solved {
        name,
        task,
        solutions,
    })
}

/// The answer beside each test input.
fn solutions(at: &str, task: &Value) -> Result<Vec<Value>, Refusal> {
    let tests = task.get("test").and_then(Value::as_array);
    let tests = tests.into_iter().flatten().enumerate();
    let solution = |(n, test): (usize, &Value)| {
        test.get("output").cloned().ok_or_else(|| {
            let field = format!("{at}.test[{n}].output");
            let detail = format!("{field}: practice needs the answer to each test input.");
            Refusal::invalid(field, detail)
        })
    };
    tests.map(solution).collect()
}

fn within(field: &str, found: usize, low: usize, high: usize, what: &str) -> Result<(), Refusal> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    let detail = format!("A task has {low} to {high} {what}, not {found}.");
    Err(Refusal::invalid(field, detail))
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
    /// Accepted and ignored.
    #[serde(default, rename = "output")]
    _output: IgnoredAny,
}

fn few_shot<T: DeserializeOwned>(
    at: &str,
    train: Vec<Value>,
    test: Vec<Value>,
) -> Result<FewShot<T>, Refusal> {
    let train = train.into_iter().enumerate().map(|(n, value)| {
        let PairBody { input, output } = object(&format!("{at}.train[{n}]"), value)?;
        Ok(Pair { input, output })
    });
    let test = test.into_iter().enumerate().map(|(n, value)| {
        let body: InputBody<T> = object(&format!("{at}.test[{n}]"), value)?;
        Ok(body.input)
    });
    Ok(FewShot {
        train: train.collect::<Result<_, Refusal>>()?,
        test: test.collect::<Result<_, Refusal>>()?,
    })
}
