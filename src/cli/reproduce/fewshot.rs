//! `autodidact reproduce fewshot`: the paper's few-shot table on this model and ARC's files, and the list of
//! tasks that it is measured on.

use crate::cli::open::{ModelArgs, OpenedEngine};
use autodidact::learn::fewshot::practice::{Setting, Solved};
use autodidact::learn::fewshot::{FewShot, Grid, Pair, SelfEdit, Task};
use autodidact::learn::ports::model::Adapter;
use autodidact::pool::LocalModel;
use autodidact::study::fewshot::{Arm, FewshotRow, Plan, run};
use autodidact_engine::Priority;
use autodidact_engine::lora::peft;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct Fewshot {
    /// ARC's challenges: {id: {train: [{input, output}], test: [{input}]}}.
    #[arg(long)]
    challenges: PathBuf,
    /// ARC's solutions: {id: [grid]}.
    #[arg(long)]
    solutions: PathBuf,
    /// A list that --find wrote; without it, all tasks that --largest lets through.
    #[arg(long)]
    tasks: Option<PathBuf>,
    /// Run the oracle alone, and write to this file the tasks that it solves, with the rule.
    #[arg(long)]
    find: Option<PathBuf>,
    /// Only tasks none of whose grids has more rows or columns.
    #[arg(long, default_value_t = 30)]
    largest: usize,
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// At most this many tasks.
    #[arg(long)]
    limit: Option<usize>,
    /// Comma-separated: in-context, self-edit, trained, oracle.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// A PEFT directory: the policy that writes the configurations of the arm `trained`.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Configurations written for each task.
    #[arg(long, default_value_t = 5)]
    samples: usize,
    /// Configurations trained together.
    #[arg(long, default_value_t = 5)]
    packed: usize,
    /// Training sequences of a configuration at most.
    #[arg(long, default_value_t = 250)]
    sequences: usize,
    /// Views of a test input at most.
    #[arg(long, default_value_t = 14)]
    views: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// The oracle's configuration, as JSON; what it leaves out is the house's.
    #[arg(long, default_value = r#"{"training": {"learning_rate": 0.002}}"#)]
    oracle: String,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long)]
    json: bool,
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

/// Tasks that a model solves, and by what rule they were found.
#[derive(Debug, Serialize, Deserialize)]
struct TaskList {
    rule: String,
    model: String,
    oracle: SelfEdit,
    setting: Setting,
    tasks: Vec<String>,
}

impl Fewshot {
    pub fn run(self) -> Result<(), String> {
        let oracle: SelfEdit =
            serde_json::from_str(&self.oracle).map_err(|e| format!("--oracle: {e}"))?;
        oracle.check().map_err(|e| format!("--oracle: {e}"))?;
        let arms = self.arms()?;
        let tasks = self.load()?;
        let OpenedEngine { id, engine, .. } = self.model.engine()?;
        let policy = self.policy.as_deref().map(|dir| {
            let files = peft::load_dir(dir);
            let config = &engine.files().config;
            let lora = files.and_then(|f| peft::from_files(&f.config_json, &f.safetensors, config));
            lora.map(|lora| Adapter(Arc::new(lora)))
        });
        let policy = policy.transpose().map_err(|e| format!("--policy: {e}"))?;
        let setting = Setting {
            sequences: self.sequences,
            views: self.views,
            rank: self.rank,
            alpha: 2.0 * self.rank as f32,
            batch_size: 1,
            seed: self.seed,
            window: engine.window(),
        };
        let model = LocalModel::new(engine, Priority::Ingest);
        let mut rows = Vec::new();
        for arm in arms {
            let plan = Plan {
                arm,
                policy: policy.as_ref(),
                oracle: &oracle,
                samples: self.samples,
                packed: self.packed,
                temperature: 1.0,
                setting: &setting,
            };
            let (of, name) = (tasks.len(), arm.name());
            let mut tell =
                |done: usize, solved: f32| eprint!("\r{name} {done}/{of}, solved {solved:.1} ");
            let row = run(&model, &tasks, &plan, &mut tell);
            let row = row.map_err(|e| format!("{name}: {e}"))?;
            eprintln!("\r{name:<12} {}", row.success);
            rows.push(row);
        }
        if let Some(path) = &self.find {
            let solved = rows.iter().flat_map(|row| &row.tasks);
            let solved = solved.filter(|row| row.samples.iter().any(|s| s.reward > 0.0));
            let list = TaskList {
                rule: format!(
                    "of the tasks of {} with grids of at most {} by {}, those whose test inputs are all \
                     answered right in one of two attempts after training by the oracle configuration",
                    file_name(&self.challenges),
                    self.largest,
                    self.largest
                ),
                model: id.clone(),
                oracle: oracle.clone(),
                setting: setting.clone(),
                tasks: solved.map(|row| row.task.clone()).collect(),
            };
            let text = serde_json::to_string_pretty(&list).map_err(|e| e.to_string())?;
            std::fs::write(path, text + "\n")
                .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        }
        if self.json {
            let table = json!({"model": id, "setting": setting, "oracle": oracle,
                "tasks": tasks.len(), "rows": rows});
            let text = serde_json::to_string_pretty(&table).map_err(|e| e.to_string())?;
            println!("{text}");
        } else {
            print(&rows);
        }
        Ok(())
    }

    fn arms(&self) -> Result<Vec<Arm>, String> {
        if self.find.is_some() {
            return Ok(vec![Arm::Oracle]);
        }
        if self.arms.is_empty() {
            let trained = |arm: &Arm| *arm != Arm::Trained || self.policy.is_some();
            return Ok(Arm::ALL.into_iter().filter(trained).collect());
        }
        let known = |name: &String| match Arm::from_name(name) {
            Some(Arm::Trained) if self.policy.is_none() => {
                Err("--arms trained needs --policy: who writes its configurations?".to_owned())
            }
            Some(arm) => Ok(arm),
            None => Err(format!("--arms: {name:?} is not an arm")),
        };
        self.arms.iter().map(known).collect()
    }

    fn load(&self) -> Result<Vec<Solved>, String> {
        let challenges: BTreeMap<String, Challenge> = read(&self.challenges)?;
        let mut solutions: BTreeMap<String, Vec<Grid>> = read(&self.solutions)?;
        let listed: Option<TaskList> = self.tasks.as_deref().map(read).transpose()?;
        let wanted = |name: &String| listed.as_ref().is_none_or(|list| list.tasks.contains(name));
        let mut tasks = Vec::new();
        for (name, challenge) in challenges.into_iter().filter(|(name, _)| wanted(name)) {
            let Some(solutions) = solutions.remove(&name) else {
                return Err(format!("{} has no task {name}", self.solutions.display()));
            };
            let train = challenge.train.iter().flat_map(|p| [&p.input, &p.output]);
            let test = challenge.test.iter().map(|t| &t.input).chain(&solutions);
            let fits = |g: &Grid| g.height().max(g.width()) <= self.largest;
            if !train.chain(test).all(fits) {
                continue;
            }
            tasks.push(Solved {
                name,
                task: Task::Grid(FewShot {
                    train: challenge.train,
                    test: challenge.test.into_iter().map(|t| t.input).collect(),
                }),
                solutions: solutions.iter().map(|grid| json!(grid)).collect(),
            });
        }
        let tasks = tasks.into_iter().skip(self.skip);
        Ok(tasks.take(self.limit.unwrap_or(usize::MAX)).collect())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn print(rows: &[FewshotRow]) {
    println!(
        "| way of answering | tasks solved [95 % interval] | tasks | configurations | seconds |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {:.0} |",
            row.arm.name(),
            row.success,
            row.tasks.len(),
            row.success.n,
            row.seconds
        );
    }
}
