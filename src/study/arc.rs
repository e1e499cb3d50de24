//! ARC's files, and lists of ARC tasks that a model solves.

use super::fewshot::FewshotRow;
use crate::learn::fewshot::practice::{Setting, Solved};
use crate::learn::fewshot::{FewShot, Grid, Pair, SelfEdit, Task};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// A list of tasks that a model solves, with the rule by which they were found.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskList {
    pub rule: String,
    pub model: String,
    pub oracle: SelfEdit,
    pub setting: Setting,
    pub tasks: Vec<String>,
}

impl TaskList {
    /// The tasks solved in at least one of the rows, which come from runs of the oracle. `file`: the challenges' file;
    /// `largest`: the most rows or columns of a grid.
    pub fn of(
        rows: &[FewshotRow],
        file: &str,
        largest: usize,
        model: &str,
        oracle: &SelfEdit,
        setting: &Setting,
    ) -> Self {
        let tasks = rows.iter().flat_map(|row| &row.tasks);
        let solved = tasks.filter(|row| row.samples.iter().any(|s| s.reward > 0.0));
        TaskList {
            rule: format!(
                "of the tasks of {file} with grids of at most {largest} by {largest}, those whose test inputs are all \
                 answered right in one of two attempts after training by the oracle configuration"
            ),
            model: model.to_owned(),
            oracle: oracle.clone(),
            setting: setting.clone(),
            tasks: solved.map(|row| row.task.clone()).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Challenge {
    train: Vec<Pair<Grid>>,
    test: Vec<Input>,
}

#[derive(Debug, Deserialize)]
struct Input {
    input: Grid,
}

/// The tasks of ARC's two files, in the order of their names. Tasks with a grid of more than `largest` rows or columns
/// are left out. `challenges`: `{id: {train: [{input, output}], test: [{input}]}}`; `solutions`:
/// `{id: [grid]}`. Fails if a challenge has no solution.
pub fn tasks(challenges: &Path, solutions: &Path, largest: usize) -> Result<Vec<Solved>, String> {
    let all: BTreeMap<String, Challenge> = read(challenges)?;
    let mut solved: BTreeMap<String, Vec<Grid>> = read(solutions)?;
    let mut tasks = Vec::new();
    for (name, challenge) in all {
        let Some(grids) = solved.remove(&name) else {
            return Err(format!("{} has no task {name}", solutions.display()));
        };
        let train = challenge.train.iter().flat_map(|p| [&p.input, &p.output]);
        let test = challenge.test.iter().map(|t| &t.input).chain(&grids);
        let fits = |g: &Grid| g.height().max(g.width()) <= largest;
        if !train.chain(test).all(fits) {
            continue;
        }
        tasks.push(Solved {
            name,
            task: Task::Grid(FewShot {
                train: challenge.train,
                test: challenge.test.into_iter().map(|t| t.input).collect(),
            }),
            solutions: grids.iter().map(|grid| json!(grid)).collect(),
        });
    }
    Ok(tasks)
}

/// Reads a JSON file. Fails, with the path, if the file cannot be read or has another form.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}
