//! One adapter in training, with everything that its result depends on.

use super::TrainConfig;
use super::adamw::{self, AdamW, Rates};
use super::course::Course;
use super::hidden_cache::HiddenCache;
use super::orthogonal::OrthogonalProjection;
use super::step::{StepReport, Sums, clip_scale};
use super::vocabulary::CandidateVocabulary;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::executor::Target;
use crate::lora::{Lora, LoraGrads};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// One training sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// `supervised[i]`: token i is a target, predicted from the tokens before it. The first token cannot be one.
    pub supervised: Vec<bool>,
    /// `soft[i]`: the distribution that target i is to be predicted as, in (token, probability); the rest to 1 is
    /// the probability of all other tokens together. An empty entry stands for `tokens[i]` itself, and an empty
    /// list for empty entries throughout.
    pub soft: Vec<Vec<(u32, f32)>>,
}

impl Example {
    /// Every token but the first is a target.
    pub fn all(tokens: Vec<u32>) -> Self {
        let supervised = (0..tokens.len()).map(|i| i > 0).collect();
        Example {
            tokens,
            supervised,
            soft: Vec::new(),
        }
    }

    /// Only the completion is a target.
    pub fn completion(prompt: &[u32], completion: &[u32]) -> Self {
        let supervised = (0..prompt.len() + completion.len())
            .map(|i| i > 0 && i >= prompt.len())
            .collect();
        Example {
            tokens: [prompt, completion].concat(),
            supervised,
            soft: Vec::new(),
        }
    }

    /// The distribution that token `i` is to be predicted as.
    pub(super) fn target(&self, i: usize) -> Vec<(u32, f32)> {
        match self.soft.get(i) {
            Some(soft) if !soft.is_empty() => {
                let rest = 1.0 - soft.iter().map(|(_, p)| p).sum::<f32>();
                let others = (rest > MIN_OTHERS).then_some((Target::OTHERS, rest));
                soft.iter().copied().chain(others).collect()
            }
            _ => vec![(self.tokens[i], 1.0)],
        }
    }

    /// The number of targets.
    pub fn targets(&self) -> usize {
        self.supervised.iter().filter(|s| **s).count()
    }

    /// The tokens that go through the model: those before the last target.
    pub fn inputs(&self) -> &[u32] {
        let last = self.supervised.iter().rposition(|s| *s).unwrap_or(0);
        &self.tokens[..last]
    }

    /// The number of first rows that predict no target.
    pub(super) fn unsupervised_rows(&self) -> usize {
        let first = self.supervised.iter().position(|s| *s);
        first.map_or(0, |first| first - 1)
    }

    /// Whether every target is one token.
    fn is_hard(&self) -> bool {
        self.soft.iter().all(Vec::is_empty)
    }

    fn validate(&self, index: usize, vocab_size: usize, window: usize) -> Result<()> {
        let problem = if self.supervised.len() != self.tokens.len() {
            format!(
                "has {} tokens but {} marks of supervision",
                self.tokens.len(),
                self.supervised.len()
            )
        } else if self.supervised.first() == Some(&true) {
            "supervises its first token, which nothing predicts".into()
        } else if self.targets() == 0 {
            "has no supervised token".into()
        } else if let Some(t) = self.tokens.iter().find(|t| **t as usize >= vocab_size) {
            format!("holds token {t}, outside the vocabulary of {vocab_size}")
        } else if let Some(reason) = self.soft_problem(vocab_size) {
            reason
        } else if self.tokens.len() > window {
            return Err(Error::TooLong {
                asked: self.tokens.len(),
                window,
            });
        } else {
            return Ok(());
        };
        Err(Error::Input(format!("training example {index} {problem}")))
    }

    fn soft_problem(&self, vocab_size: usize) -> Option<String> {
        if !self.soft.is_empty() && self.soft.len() != self.tokens.len() {
            let (tokens, soft) = (self.tokens.len(), self.soft.len());
            return Some(format!("has {tokens} tokens but {soft} distributions"));
        }
        let distributions = self.soft.iter().filter(|soft| !soft.is_empty());
        for soft in distributions {
            let known = soft
                .iter()
                .all(|(t, p)| (*t as usize) < vocab_size && *p >= 0.0);
            let sum: f32 = soft.iter().map(|(_, p)| p).sum();
            if !known || soft.len() > MAX_SOFT || sum > 1.0 + 1e-3 {
                return Some(format!(
                    "has a distribution of {} tokens that sums to {sum}; it needs at most {MAX_SOFT} \
                     known tokens, probabilities from 0, and a sum of at most 1",
                    soft.len()
                ));
            }
        }
        None
    }
}

/// The probability from which all other tokens together count.
const MIN_OTHERS: f32 = 1e-4;

/// Most tokens of one entry of [`Example::soft`].
pub const MAX_SOFT: usize = 32;

/// One adapter in training.
#[derive(Debug)]
pub struct Candidate {
    config: TrainConfig,
    examples: Arc<[Example]>,
    pub(super) lora: Arc<Lora>,
    pub(super) hidden_cache: HiddenCache,
    pub(super) vocabulary: CandidateVocabulary,
    /// The gradient of the step under way.
    pub(super) grads: LoraGrads,
    optimizer: AdamW,
    orthogonal: Option<OrthogonalProjection>,
    course: Course,
    losses: Vec<f32>,
    /// Tokens of the examples trained on so far.
    tokens: usize,
}

impl Candidate {
    /// Training starts from `init`, whose rank, alpha, targets and layers then replace those of `config`. Without
    /// it the adapter is drawn from `config.seed`. `window` is the most tokens of an example.
    ///
    /// # Errors
    /// [`Error::Input`] names the wrong setting or example, [`Error::TooLong`] an example beyond the window,
    /// [`Error::Adapter`] says that `init` does not fit the model.
    pub fn new(
        mut config: TrainConfig,
        examples: impl Into<Arc<[Example]>>,
        init: Option<&Lora>,
        model: &ModelConfig,
        window: usize,
    ) -> Result<Self> {
        let examples = examples.into();
        if let Some(init) = init {
            init.validate(model)?;
            init.check_trainable()?;
            config.lora = init.config.clone();
        }
        config.validate()?;
        if examples.is_empty() {
            return Err(Error::Input("there is no training example".into()));
        }
        for (i, example) in examples.iter().enumerate() {
            example.validate(i, model.vocab_size, window)?;
        }
        let mut lora = match init {
            Some(init) => init.clone(),
            None if config.first_layer >= model.num_layers => {
                return Err(Error::Input(format!(
                    "first_layer is {}, the model's last layer is {}",
                    config.first_layer,
                    model.num_layers - 1
                )));
            }
            None => {
                let (shape, first) = (config.lora.clone(), config.first_layer);
                Lora::init_upper(shape, model, first, config.seed)
            }
        };
        let orthogonal = match config.kept_ranks {
            0 => None,
            kept if kept >= lora.fewest_inputs() => {
                return Err(Error::Input(format!(
                    "kept_ranks is {kept}, and nothing is orthogonal to so many: the narrowest layer has {} inputs",
                    lora.fewest_inputs()
                )));
            }
            kept => Some(OrthogonalProjection::new(&lora, kept)?),
        };
        if let Some(orthogonal) = &orthogonal {
            orthogonal.project(&mut lora)?;
        }
        // A stream of its own: the first one drew the adapter.
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(1);
        Ok(Candidate {
            hidden_cache: HiddenCache::new(lora.lowest_layer(), examples.len()),
            vocabulary: CandidateVocabulary::new(
                config.shortlist && config.epochs > 1 && examples.iter().all(Example::is_hard),
                model.vocab_size,
            ),
            grads: lora.zeros_like(),
            optimizer: AdamW::new(&lora),
            lora: Arc::new(lora),
            orthogonal,
            course: Course::new(&config, examples.len(), rng),
            losses: Vec::new(),
            tokens: 0,
            config,
            examples,
        })
    }

    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Steps at most.
    pub fn total_steps(&self) -> usize {
        self.course.longest()
    }

    pub fn steps_done(&self) -> usize {
        self.losses.len()
    }

    pub fn finished(&self) -> bool {
        self.course.finished()
    }

    /// The mean loss of each step so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// Tokens of the examples trained on so far; a shared prefix counts for each of them.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn lora(&self) -> &Lora {
        &self.lora
    }

    pub fn into_lora(self) -> Lora {
        Arc::unwrap_or_clone(self.lora)
    }

    pub(super) fn example(&self, index: usize) -> &Example {
        &self.examples[index]
    }

    /// The examples of the next step.
    pub(super) fn next_batch(&mut self) -> Vec<usize> {
        self.course.next_batch()
    }

    /// An example of the step under way went through the model. `answered`: each of its targets had a probability
    /// above one half.
    pub(super) fn visited(&mut self, example: usize, answered: bool) {
        self.course.visited(example, answered);
    }

    /// Applies the gathered gradient. A candidate that diverges is an error, so that nobody takes its earlier
    /// weights for a result.
    pub(super) fn finish_step(
        &mut self,
        index: usize,
        loss: f32,
        sums: &Sums,
    ) -> Result<StepReport> {
        let step = self.steps_done();
        let config = &self.config;
        let diverged = Error::Diverged {
            candidate: index,
            step,
            learning_rate: config.learning_rate,
        };
        let factor =
            config
                .schedule
                .factor(self.course.place(), config.warmup_steps, self.total_steps());
        let learning_rate = config.learning_rate * factor;
        if let Some(orthogonal) = &self.orthogonal {
            orthogonal.mask_kept(&mut self.grads);
        }
        let grad_norm = adamw::norm(&self.grads);
        if !loss.is_finite() || !grad_norm.is_finite() {
            return Err(diverged);
        }
        let rates = Rates {
            learning_rate_a: learning_rate,
            learning_rate_b: learning_rate * config.lora_plus_ratio,
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            weight_decay: config.weight_decay,
        };
        // A new allocation if anyone still holds the old weights, so nobody sees them change.
        let lora = Arc::make_mut(&mut self.lora);
        let scale = clip_scale(grad_norm, config.clip_norm);
        self.optimizer.update(lora, &self.grads, scale, &rates);
        if let Some(orthogonal) = &self.orthogonal {
            orthogonal.project(lora)?;
        }
        adamw::clear(&mut self.grads);
        self.losses.push(loss);
        self.tokens += sums.inputs;
        self.course.step_done();
        if self.course.epoch() > 0 {
            self.vocabulary.settle();
        }
        // No later loss would show what the last update did.
        if self.finished() && !finite(&self.lora) {
            return Err(diverged);
        }
        Ok(StepReport {
            candidate: index,
            step,
            total_steps: self.total_steps(),
            loss,
            learning_rate,
            grad_norm,
            tokens: sums.tokens,
        })
    }
}

fn finite(lora: &Lora) -> bool {
    let mut pairs = lora.layers.iter().flatten().flatten();
    pairs.all(|p| p.a.iter().chain(&p.b).all(|x| x.is_finite()))
}
