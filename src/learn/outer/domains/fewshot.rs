//! Few-shot tasks as the outer loop's domain (SEAL §4.1): the policy writes configurations, an adapter is
//! trained by each, and the test inputs are asked. A task is one query: answered right if every test input
//! is.

use crate::learn::fewshot::practice::{Setting, Solved, answers, reward, right_views, training};
use crate::learn::fewshot::self_edit::{self, SelfEdit};
use crate::learn::fewshot::serialise;
use crate::learn::fewshot::task::{Task, TaskInput};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::knowledge::sequences::CountTokens;
use crate::learn::options::error::{OptionError, within};
use crate::learn::options::merge::merge;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::outer::options::Preset;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Training, TrainingText};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The knobs of this domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FewShotOptions {
    /// At which configurations are drawn. 0 to 2.
    #[schema(required = false)]
    pub temperature: f32,
    /// Training sequences of a configuration at most. 1 to 250.
    #[schema(required = false)]
    pub sequences: usize,
    /// Views of a test input at most. 1 to 16.
    #[schema(required = false)]
    pub views: usize,
    /// Rank of a candidate's LoRA. 1 to 256.
    #[schema(required = false)]
    pub rank: usize,
    #[schema(required = false)]
    pub alpha: f32,
    /// Training sequences an optimizer step. 1 to 64.
    #[schema(required = false)]
    pub batch_size: usize,
    /// Tokens of the context window; transformed tasks beyond it are left out.
    #[schema(required = false)]
    pub window: usize,
}

/// As many ways as there are to ask without turning the grids.
const PLAIN_VIEWS: usize = 5;

impl FewShotOptions {
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Default => FewShotOptions {
                temperature: 1.0,
                sequences: 48,
                views: 4,
                rank: 16,
                alpha: 32.0,
                batch_size: 1,
                window: 8192,
            },
            Preset::Paper => FewShotOptions {
                temperature: 1.0,
                sequences: 250,
                views: 14,
                rank: 128,
                alpha: 16.0,
                batch_size: 2,
                window: 8192,
            },
        }
    }

    /// The loop's options where this domain's preset differs: the paper draws 15 configurations for each of 11
    /// tasks and keeps all that solve theirs.
    pub fn outer(preset: Preset) -> Map<String, Value> {
        let over = match preset {
            Preset::Default => json!({"reward": "accuracy", "keep": "all_positive"}),
            Preset::Paper => json!({"contexts_per_round": 11, "candidates": 15, "repeats": 1,
                "reward": "accuracy", "keep": "all_positive", "held_out": 8}),
        };
        over.as_object().cloned().unwrap_or_default()
    }

    /// The preset with these fields laid over it, to be read as [`FewShotOptions`].
    pub fn merged(preset: Preset, over: &Value) -> Value {
        let mut merged = serde_json::to_value(Self::preset(preset)).expect("plain data");
        merge(&mut merged, over);
        merged
    }

    pub fn validate(&self) -> Result<(), OptionError> {
        within("temperature", self.temperature as f64, 0.0, 2.0)?;
        within("sequences", self.sequences as f64, 1.0, 250.0)?;
        within("views", self.views as f64, 1.0, 16.0)?;
        within("rank", self.rank as f64, 1.0, 256.0)?;
        within("alpha", self.alpha as f64, 0.01, 1024.0)?;
        within("batch_size", self.batch_size as f64, 1.0, 64.0)?;
        within("window", self.window as f64, 128.0, 1_048_576.0)
    }

    fn setting(&self, seed: u64) -> Setting {
        Setting {
            sequences: self.sequences,
            views: self.views,
            rank: self.rank,
            alpha: self.alpha,
            batch_size: self.batch_size,
            seed,
            window: self.window,
        }
    }
}

impl Domain for FewShotOptions {
    type Context = Solved;
    type Edit = SelfEdit;

    fn title<'a>(&self, context: &'a Solved) -> &'a str {
        &context.name
    }

    /// The queries came with the task.
    fn prepare(
        &self,
        _: Interruptible<'_>,
        context: &Solved,
        _: u64,
    ) -> Result<Solved, ModelError> {
        Ok(context.clone())
    }

    fn bare(&self, _: &Self::Context) -> Option<Self::Edit> {
        None
    }

    fn write(
        &self,
        model: Interruptible<'_>,
        policy: Option<&Adapter>,
        context: &Solved,
        count: usize,
        seed: u64,
    ) -> Result<Vec<SelfEdit>, ModelError> {
        self_edit::sample(model, policy, &context.task, count, self.temperature, seed)
    }

    fn training(
        &self,
        context: &Solved,
        edit: &SelfEdit,
        _: Queries,
        seed: u64,
        _: &CountTokens<'_>,
    ) -> Option<Training> {
        let training = training(&context.task, edit, None, &self.setting(seed));
        (!training.texts.is_empty()).then_some(training)
    }

    fn ask(
        &self,
        model: Interruptible<'_>,
        adapter: Option<&Adapter>,
        context: &Solved,
        _: Queries,
        samples: Option<u64>,
    ) -> Result<Vec<Answer>, ModelError> {
        // All candidates are asked in the same views, whatever they were trained on: the plain view in other orders and
        // colours. If many views are wanted, rotated and flipped views are added.
        let mut edit = SelfEdit::default();
        edit.data_generation.use_basic_augmentations = self.views > PLAIN_VIEWS;
        let (task, setting) = (&context.task, self.setting(0));
        let predictions = answers(model, adapter, task, &edit, &setting)?;
        let plain = |n| task.questions(TaskInput::Test(n), &edit, 1, self.window, 0);
        let items: Vec<(Prompt, String)> = (0..task.test_len())
            .flat_map(plain)
            .map(|question| question.prompt)
            .zip(context.solutions.iter().map(|wanted| spoken(task, wanted)))
            .collect();
        let likelihoods = model.likelihood(&items, adapter)?;
        let said = predictions
            .iter()
            .map(|p| p.attempts.first().map(|a| &a.output));
        let said: Vec<_> = said.collect();
        Ok(vec![Answer {
            answer: serde_json::to_string(&said).unwrap_or_default(),
            correct: reward(context, &predictions) > 0.0,
            logprob: likelihoods.iter().sum::<f32>() / likelihoods.len().max(1) as f32,
            // The views are the samples: nothing is drawn.
            expected: samples.map(|_| right_views(context, &predictions)),
        }])
    }

    /// The prompt without its grammar: what the policy would write of itself.
    fn lesson(&self, context: &Solved, edit: &SelfEdit) -> Vec<TrainingText> {
        let prompt = Prompt {
            schema: None,
            ..self_edit::prompt(&context.task)
        };
        let completion = serde_json::to_string(edit).unwrap_or_default();
        vec![TrainingText::Completion { prompt, completion }]
    }

    fn rubric(&self, context: &Solved, edit: &SelfEdit) -> Prompt {
        let prompt = self_edit::prompt(&context.task);
        let edit = serde_json::to_string(edit).unwrap_or_default();
        Prompt::user(format!(
            "{}\n\nThe configuration:\n{edit}\n\nHow well does it suit the task? Answer with a digit \
             from 1 (useless) to 5 (excellent).",
            prompt.user
        ))
    }
}

/// An output as the model says it.
fn spoken(task: &Task, output: &Value) -> String {
    match (task, output) {
        (Task::Grid(_), output) => {
            let grid = serde_json::from_value(output.clone());
            grid.map(|grid| serialise::write(&grid)).unwrap_or_default()
        }
        (Task::Text(_), output) => output.as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::task::{FewShot, Pair};

    fn solved() -> Solved {
        let pair = |input: &str, output: &str| Pair {
            input: input.into(),
            output: output.into(),
        };
        Solved {
            name: "letters".into(),
            task: Task::Text(FewShot {
                train: vec![pair("a", "1"), pair("b", "2")],
                test: vec!["c".into()],
            }),
            solutions: vec![json!("3")],
        }
    }

    #[test]
    fn a_lesson_is_the_prompt_and_what_the_grammar_reads_back() {
        let edit = SelfEdit::default();
        let domain = FewShotOptions::preset(Preset::Default);
        let lesson = domain.lesson(&solved(), &edit);
        let [TrainingText::Completion { prompt, completion }] = &lesson[..] else {
            panic!("{lesson:?}");
        };
        assert!(prompt.schema.is_none() && prompt.user.contains("Output:\n2"));
        assert!(!prompt.user.contains('3'), "no test answer is in sight");
        assert_eq!(SelfEdit::read(completion), Some(edit));
    }

    #[test]
    fn presets_are_within_their_own_ranges() {
        for preset in [Preset::Default, Preset::Paper] {
            let options = FewShotOptions::merged(preset, &json!({"views": 3}));
            let options: FewShotOptions = serde_json::from_value(options).unwrap();
            options.validate().unwrap();
            assert_eq!(options.views, 3);
            let training = options
                .training(
                    &solved(),
                    &SelfEdit::default(),
                    Queries::Report,
                    7,
                    &str::len,
                )
                .unwrap();
            assert_eq!(
                (training.update.rank, training.update.seed),
                (options.rank, 7)
            );
            assert!(training.texts.len() <= options.sequences);
        }
        let wrong = FewShotOptions {
            views: 0,
            ..FewShotOptions::preset(Preset::Default)
        };
        assert_eq!(wrong.validate().unwrap_err().field, "views");
    }
}
