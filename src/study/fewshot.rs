//! The paper's few-shot table (SEAL §4.1). The same tasks are answered in context, after training by configurations
//! that the model wrote, and after training by a person's configuration.

use crate::learn::fewshot::practice::{Setting, Solved, answers, reward, training};
use crate::learn::fewshot::self_edit::{self, SelfEdit};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, Model, ModelError};
use crate::learn::stats::{Estimate, estimate};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A way of answering the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FewshotArm {
    /// The demonstrations are in the prompt; nothing is trained.
    InContext,
    /// The base writes the configurations.
    SelfEdit,
    /// A policy that the outer loop trained writes the configurations.
    Trained,
    /// A person wrote the configuration.
    Oracle,
}

impl FewshotArm {
    pub const ALL: [FewshotArm; 4] = [
        FewshotArm::InContext,
        FewshotArm::SelfEdit,
        FewshotArm::Trained,
        FewshotArm::Oracle,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FewshotArm::InContext => "in-context",
            FewshotArm::SelfEdit => "self-edit",
            FewshotArm::Trained => "trained",
            FewshotArm::Oracle => "oracle",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        FewshotArm::ALL.into_iter().find(|arm| arm.name() == name)
    }
}

/// A row of the table: the results of one arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FewshotRow {
    pub arm: FewshotArm,
    /// Share of samples that solved their task; the interval comes from resampling tasks.
    pub success: Estimate,
    pub tasks: Vec<TaskRow>,
    /// Wall-clock seconds of the whole arm.
    pub seconds: f32,
}

/// The results of one arm on one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    pub task: String,
    pub samples: Vec<Sample>,
}

/// The result of one configuration on one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// `None`: nothing was trained.
    pub self_edit: Option<SelfEdit>,
    pub reward: f32,
}

/// The settings of an arm's run.
pub struct Plan<'a> {
    pub arm: FewshotArm,
    /// The adapter that writes the configurations of [`FewshotArm::Trained`].
    pub policy: Option<&'a Adapter>,
    /// The person's configuration.
    pub oracle: &'a SelfEdit,
    /// The number of configurations to write for each task.
    pub samples: usize,
    /// Configurations trained in one batch.
    pub packed: usize,
    pub temperature: f32,
    pub setting: &'a Setting,
}

/// Runs an arm over all tasks. `tell` is called after each task with the number of tasks done and the (fractional)
/// number of tasks solved.
pub fn run(
    model: &dyn Model,
    tasks: &[Solved],
    plan: &Plan<'_>,
    tell: &mut dyn FnMut(usize, f32),
) -> Result<FewshotRow, ModelError> {
    let clock = Instant::now();
    let (mut rows, mut solved) = (Vec::new(), 0.0);
    for (nth, task) in tasks.iter().enumerate() {
        let samples = run_task(model, task, plan)?;
        let rewards: f32 = samples.iter().map(|s| s.reward).sum();
        solved += rewards / samples.len().max(1) as f32;
        rows.push(TaskRow {
            task: task.name.clone(),
            samples,
        });
        tell(nth + 1, solved);
    }
    let rewards = rows
        .iter()
        .map(|row| row.samples.iter().map(|s| s.reward).collect());
    Ok(FewshotRow {
        arm: plan.arm,
        success: estimate(&rewards.collect::<Vec<Vec<f32>>>()),
        tasks: rows,
        seconds: clock.elapsed().as_secs_f32(),
    })
}

fn run_task(model: &dyn Model, task: &Solved, plan: &Plan) -> Result<Vec<Sample>, ModelError> {
    let never = || false;
    let asked = Interruptible::new(model, &never);
    let setting = plan.setting;
    let edits: Vec<SelfEdit> = match plan.arm {
        FewshotArm::InContext => {
            let predictions = answers(asked, None, &task.task, plan.oracle, setting)?;
            return Ok(vec![Sample {
                self_edit: None,
                reward: reward(task, &predictions),
            }]);
        }
        FewshotArm::Oracle => vec![plan.oracle.clone()],
        FewshotArm::SelfEdit => drawn(asked, None, task, plan)?,
        FewshotArm::Trained => drawn(asked, plan.policy, task, plan)?,
    };
    let mut samples = Vec::new();
    for edits in edits.chunks(plan.packed.max(1)) {
        let trainings = edits
            .iter()
            .map(|edit| training(&task.task, edit, None, setting));
        let trained = model.train(trainings.collect(), &mut |_, _, _| true)?;
        for (edit, trained) in edits.iter().zip(trained) {
            let said = answers(asked, Some(&trained.adapter), &task.task, edit, setting)?;
            samples.push(Sample {
                self_edit: Some(edit.clone()),
                reward: reward(task, &said),
            });
        }
    }
    Ok(samples)
}

/// Configurations that the policy writes, sampled independently; `None`: the base writes.
fn drawn(
    model: Interruptible<'_>,
    policy: Option<&Adapter>,
    task: &Solved,
    plan: &Plan<'_>,
) -> Result<Vec<SelfEdit>, ModelError> {
    let seed = plan.setting.seed;
    self_edit::sample(
        model,
        policy,
        &task.task,
        plan.samples,
        plan.temperature,
        seed,
    )
}
