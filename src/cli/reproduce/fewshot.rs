//! `autodidact reproduce fewshot` measures the paper's few-shot table on this model and ARC's files, and makes the list
//! of tasks for it.

use crate::cli::open::{ModelArgs, OpenedEngine};
use autodidact::learn::fewshot::SelfEdit;
use autodidact::learn::fewshot::practice::{Setting, Solved};
use autodidact::learn::ports::model::Adapter;
use autodidact::pool::LocalModel;
use autodidact::study::arc::{self, TaskList};
use autodidact::study::fewshot::{FewshotArm, FewshotRow, Plan, run};
use autodidact_engine::Priority;
use autodidact_engine::lora::peft;
use clap::Args;
use serde_json::json;
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
    /// A list of tasks that --find wrote. Default: all tasks that --largest allows.
    #[arg(long)]
    tasks: Option<PathBuf>,
    /// Run only the oracle, and write the list of tasks that it solves to this file.
    #[arg(long)]
    find: Option<PathBuf>,
    /// Leave out tasks with a grid of more rows or columns than this.
    #[arg(long, default_value_t = 30)]
    largest: usize,
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// At most this many tasks.
    #[arg(long)]
    limit: Option<usize>,
    /// Arms, comma-separated: in-context, self-edit, trained, oracle.
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// PEFT directory of the policy that writes the configurations of the arm `trained`.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// Number of configurations to write for each task.
    #[arg(long, default_value_t = 5)]
    samples: usize,
    /// Configurations trained in one batch.
    #[arg(long, default_value_t = 5)]
    packed: usize,
    /// Most training sequences of a configuration.
    #[arg(long, default_value_t = 250)]
    sequences: usize,
    /// Most views of a test input.
    #[arg(long, default_value_t = 14)]
    views: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// The oracle's configuration, as JSON. Missing fields have their defaults.
    #[arg(long, default_value = r#"{"training": {"learning_rate": 0.002}}"#)]
    oracle: String,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long)]
    json: bool,
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
            let files = file_name(&self.challenges);
            let list = TaskList::of(&rows, &files, self.largest, &id, &oracle, &setting);
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

    fn arms(&self) -> Result<Vec<FewshotArm>, String> {
        if self.find.is_some() {
            return Ok(vec![FewshotArm::Oracle]);
        }
        if self.arms.is_empty() {
            let trained = |arm: &FewshotArm| *arm != FewshotArm::Trained || self.policy.is_some();
            return Ok(FewshotArm::ALL.into_iter().filter(trained).collect());
        }
        let known = |name: &String| match FewshotArm::from_name(name) {
            Some(FewshotArm::Trained) if self.policy.is_none() => {
                Err("--arms trained needs --policy: who writes its configurations?".to_owned())
            }
            Some(arm) => Ok(arm),
            None => Err(format!("--arms: {name:?} is not an arm")),
        };
        self.arms.iter().map(known).collect()
    }

    fn load(&self) -> Result<Vec<Solved>, String> {
        let listed: Option<TaskList> = self.tasks.as_deref().map(arc::read).transpose()?;
        let tasks = arc::tasks(&self.challenges, &self.solutions, self.largest)?;
        let wanted = |task: &Solved| listed.as_ref().is_none_or(|l| l.tasks.contains(&task.name));
        let tasks = tasks.into_iter().filter(wanted).skip(self.skip);
        Ok(tasks.take(self.limit.unwrap_or(usize::MAX)).collect())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
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
