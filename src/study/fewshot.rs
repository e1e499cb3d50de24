//! The paper's few-shot table: the same tasks answered in context, after training by configurations that the
//! model wrote, and by the one a person made.

use crate::learn::fewshot::practice::{Setting, Solved, answers, reward, training};
use crate::learn::fewshot::self_edit::{self, SelfEdit};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, Model, ModelError};
use crate::learn::stats::{Estimate, estimate};
use serde::{Deserialize, Serialize};
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The demonstrations in the prompt, nothing trained.
    InContext,
    /// Configurations written by the base.
    SelfEdit,
    /// Configurations written by a policy that the outer loop trained.
    Trained,
    /// The configuration a person made.
    Oracle,
}

impl Arm {
    pub const ALL: [Arm; 4] = [Arm::InContext, Arm::SelfEdit, Arm::Trained, Arm::Oracle];

    pub fn name(self) -> &'static str {
        match self {
            Arm::InContext => "in-context",
            Arm::SelfEdit => "self-edit",
            Arm::Trained => "trained",
            Arm::Oracle => "oracle",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Arm::ALL.into_iter().find(|arm| arm.name() == name)
    }
}

/// What an arm came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FewshotRow {
    pub arm: Arm,
    /// Over the samples of each task; tasks are resampled for the interval.
    pub success: Estimate,
    pub tasks: Vec<TaskRow>,
    pub seconds: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    pub task: String,
    pub samples: Vec<Sample>,
}

/// One configuration on one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// None where nothing was trained.
    pub self_edit: Option<SelfEdit>,
    pub reward: f32,
}

/// How an arm is run.
pub struct Plan<'a> {
    pub arm: Arm,
    /// Writes the configurations of [`Arm::Trained`].
    pub policy: Option<&'a Adapter>,
    /// The person's.
    pub oracle: &'a SelfEdit,
    /// Configurations written for each task.
    pub samples: usize,
    /// Trained together.
    pub packed: usize,
    pub temperature: f32,
    pub setting: &'a Setting,
}

/// Runs an arm over all tasks; `tell` hears how many are done, and how many were solved.
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
        Arm::InContext => {
            let predictions = answers(asked, None, &task.task, plan.oracle, setting)?;
            return Ok(vec![Sample {
                self_edit: None,
                reward: reward(task, &predictions),
            }]);
        }
        Arm::Oracle => vec![plan.oracle.clone()],
        Arm::SelfEdit => drawn(asked, None, task, plan)?,
        Arm::Trained => drawn(asked, plan.policy, task, plan)?,
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

/// Configurations as the policy writes them, each drawn on its own.
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
