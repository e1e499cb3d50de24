//! From logits to a token: temperature, top-k, top-p, penalties, log-probabilities.
//!
//! The same logits, parameters and seed give the same token. The whole vocabulary is never sorted: top-k selects
//! before it sorts, and top-p sorts only tokens that can be in the nucleus.

use crate::constraint::{Constraint, Grammar};
use crate::error::{Error, Result};
use crate::logits::{at_least, max};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// How tokens are drawn, and when a sequence ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingParams {
    /// At 0 the most likely token is taken, the lowest id of equals.
    pub temperature: f32,
    /// Draws from the nucleus: the fewest tokens that together have at least this probability.
    pub top_p: f32,
    /// Draws from this many most likely tokens only.
    pub top_k: Option<usize>,
    /// Sample i of a request draws with seed + i.
    pub seed: u64,
    /// Generated tokens, the end-of-sequence token included.
    pub max_tokens: usize,
    /// Generation ends where one of these strings would appear; no part of the string is given out.
    pub stop: Vec<String>,
    /// Reports the log-probability of each token, and of this many most likely tokens.
    pub logprobs: Option<usize>,
    /// Subtracted from a token's logit for each time it was generated.
    pub frequency_penalty: f32,
    /// Subtracted from a token's logit if it was generated.
    pub presence_penalty: f32,
    /// Divides (or multiplies, if negative) the logit of tokens in the prompt or the output.
    pub repetition_penalty: f32,
    /// Generates on after the end-of-sequence token.
    pub ignore_eos: bool,
    /// The grammar of the text; tokens that it forbids are never drawn.
    #[serde(skip)]
    pub grammar: Option<Grammar>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 1.0,
            top_p: 1.0,
            top_k: None,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
            logprobs: None,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repetition_penalty: 1.0,
            ignore_eos: false,
            grammar: None,
        }
    }
}

impl SamplingParams {
    /// Always takes the most likely token.
    pub fn greedy(max_tokens: usize) -> Self {
        SamplingParams {
            temperature: 0.0,
            max_tokens,
            ..Default::default()
        }
    }

    /// # Errors
    /// [`Error::Input`] names the first wrong parameter.
    pub fn validate(&self) -> Result<()> {
        let finite = |x: f32| x.is_finite();
        let checks = [
            (
                finite(self.temperature) && self.temperature >= 0.0,
                "temperature must be 0 or above",
            ),
            (
                self.top_p > 0.0 && self.top_p <= 1.0,
                "top_p must be above 0 and at most 1",
            ),
            (self.top_k != Some(0), "top_k must be at least 1"),
            (self.max_tokens >= 1, "max_tokens must be at least 1"),
            (
                self.stop.iter().all(|s| !s.is_empty()),
                "stop strings must not be empty",
            ),
            (
                finite(self.frequency_penalty),
                "frequency_penalty must be a number",
            ),
            (
                finite(self.presence_penalty),
                "presence_penalty must be a number",
            ),
            (
                finite(self.repetition_penalty) && self.repetition_penalty > 0.0,
                "repetition_penalty must be above 0",
            ),
        ];
        match checks.into_iter().find(|(right, _)| !right) {
            Some((_, message)) => Err(Error::Input(message.into())),
            None => Ok(()),
        }
    }

    fn has_penalties(&self) -> bool {
        self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0
            || self.repetition_penalty != 1.0
    }
}

/// Log-probabilities of one position: natural logarithms, of the distribution before temperature and penalties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub token: u32,
    pub logprob: f32,
    /// The most likely tokens, best first.
    pub top: Vec<(u32, f32)>,
}

/// A drawn token.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    pub token: u32,
    pub logprob: Option<TokenLogprob>,
}

/// Draws the tokens of one sequence.
pub struct Sampler {
    params: SamplingParams,
    constraint: Option<Box<dyn Constraint>>,
    rng: ChaCha8Rng,
    prompt: HashSet<u32>,
    generated: HashMap<u32, u32>,
}

impl Sampler {
    /// For sample `index` of a request, which draws with seed + index.
    pub fn new(params: &SamplingParams, index: usize, prompt: &[u32]) -> Self {
        let repetition = params.repetition_penalty != 1.0;
        Sampler {
            rng: ChaCha8Rng::seed_from_u64(params.seed.wrapping_add(index as u64)),
            prompt: if repetition {
                prompt.iter().copied().collect()
            } else {
                HashSet::new()
            },
            generated: HashMap::new(),
            constraint: params.grammar.as_ref().map(Grammar::start),
            params: params.clone(),
        }
    }

    /// Draws the next token from its logits, `[vocab]`.
    pub fn sample(&mut self, logits: &[f32]) -> Sampled {
        let token = if self.params.has_penalties() || self.constraint.is_some() {
            let mut changed = logits.to_vec();
            if self.params.has_penalties() {
                self.penalise(&mut changed);
            }
            if let Some(constraint) = &mut self.constraint {
                constraint.mask(&mut changed);
            }
            self.draw(&changed)
        } else {
            self.draw(logits)
        };
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token);
        }
        if self.params.has_penalties() {
            *self.generated.entry(token).or_default() += 1;
        }
        let logprob = self.params.logprobs.map(|n| logprob(logits, token, n));
        Sampled { token, logprob }
    }

    fn penalise(&self, logits: &mut [f32]) {
        let p = &self.params;
        let seen = self.generated.keys().filter(|t| !self.prompt.contains(t));
        for token in self.prompt.iter().chain(seen) {
            let logit = &mut logits[*token as usize];
            *logit = match *logit > 0.0 {
                true => *logit / p.repetition_penalty,
                false => *logit * p.repetition_penalty,
            };
        }
        for (token, count) in &self.generated {
            logits[*token as usize] -= p.presence_penalty + p.frequency_penalty * *count as f32;
        }
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let best = argmax(logits);
        if self.params.temperature == 0.0 || !logits[best].is_finite() {
            return best as u32;
        }
        let (max, inverse) = (logits[best], 1.0 / self.params.temperature);
        // What is lower has less than 1e-13 of the best token's weight.
        let least = max - 30.0 * self.params.temperature;
        let weight = |logit: f32| ((logit - max) * inverse).exp();
        let kept = match self.params.top_k {
            Some(k) if k < logits.len() => {
                let mut top = top(logits, k);
                top.retain(|(_, logit)| *logit >= least);
                top
            }
            _ => at_least(logits, least).collect(),
        };
        let kept = kept.into_iter();
        let mut weights: Vec<(u32, f32)> = kept.map(|(t, logit)| (t, weight(logit))).collect();
        if self.params.top_p < 1.0 {
            nucleus(&mut weights, self.params.top_p, logits.len());
        }
        let total: f64 = weights.iter().map(|(_, w)| f64::from(*w)).sum();
        let mut left = self.rng.random::<f64>() * total;
        for (token, weight) in &weights {
            left -= f64::from(*weight);
            if left < 0.0 {
                return *token;
            }
        }
        // Rounding left a rest at the end of the distribution.
        best as u32
    }
}

/// The index of the largest value that is a number, the first of equals; 0 if there is none.
pub fn argmax(values: &[f32]) -> usize {
    let top = max(values);
    values.iter().position(|value| *value == top).unwrap_or(0)
}

/// The log-probability of `token` and of the `n` most likely tokens.
pub fn logprob(logits: &[f32], token: u32, n: usize) -> TokenLogprob {
    let max = logits[argmax(logits)];
    let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
    let total = max + sum.ln() as f32;
    TokenLogprob {
        token,
        logprob: logits[token as usize] - total,
        top: top(logits, n)
            .into_iter()
            .map(|(token, logit)| (token, logit - total))
            .collect(),
    }
}

/// The `n` largest, best first, lower ids first among equals.
fn top(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    if n == 0 {
        return Vec::new();
    }
    let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    if n < all.len() {
        all.select_nth_unstable_by(n - 1, by_logit_descending);
        all.truncate(n);
    }
    all.sort_unstable_by(by_logit_descending);
    all
}

/// Keeps the fewest tokens of a vocabulary of `size` that together have at least `top_p` of the weight, best first.
fn nucleus(weights: &mut Vec<(u32, f32)>, top_p: f32, size: usize) {
    let total: f64 = weights.iter().map(|(_, w)| f64::from(*w)).sum();
    // Tokens below this have less than 1 - top_p together: the nucleus is complete without them.
    let least = f64::from(1.0 - top_p) * total / size as f64;
    weights.retain(|(_, w)| f64::from(*w) >= least);
    weights.sort_unstable_by(by_logit_descending);
    let (wanted, mut sum) = (f64::from(top_p) * total, 0.0);
    let enough = weights.iter().position(|(_, w)| {
        sum += f64::from(*w);
        sum >= wanted
    });
    weights.truncate(enough.map_or(weights.len(), |i| i + 1));
}

fn by_logit_descending(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(params: SamplingParams, logits: &[f32], draws: usize) -> Vec<f64> {
        let mut sampler = Sampler::new(&params, 0, &[]);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits).token as usize] += 1.0 / draws as f64;
        }
        counts
    }

    fn close(got: &[f64], want: &[f64]) {
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 0.02, "{got:?} instead of {want:?}");
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let mut sampler = Sampler::new(&SamplingParams::greedy(1), 0, &[]);
        assert_eq!(sampler.sample(&[0.0, 3.0, 3.0, 1.0]).token, 1);
    }

    #[test]
    fn draws_by_probability() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        let with = |f: fn(&mut SamplingParams)| {
            let mut params = SamplingParams::default();
            f(&mut params);
            share(params, &logits, 20_000)
        };
        close(&with(|_| ()), &[0.5, 0.3, 0.15, 0.05]);
        close(&with(|p| p.top_k = Some(2)), &[0.625, 0.375, 0.0, 0.0]);
        // .5 + .3 < .9 <= .5 + .3 + .15
        let top_p = [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0.0];
        close(&with(|p| p.top_p = 0.9), &top_p);
        // Temperature ½ squares the probabilities.
        let sum = 0.25 + 0.09 + 0.0225 + 0.0025;
        let cold = [0.25 / sum, 0.09 / sum, 0.0225 / sum, 0.0025 / sum];
        close(&with(|p| p.temperature = 0.5), &cold);
    }

    /// The same draw from weights of the whole vocabulary.
    fn dense(params: &SamplingParams, logits: &[f32]) -> u32 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: &f32| ((logit - top) / params.temperature).exp();
        let mut weights: Vec<(u32, f32)> = (0u32..).zip(logits.iter().map(weight)).collect();
        if params.top_p < 1.0 {
            weights.sort_by(by_logit_descending);
            let total: f64 = weights.iter().map(|(_, w)| f64::from(*w)).sum();
            let mut sum = 0.0;
            weights.retain(|(_, w)| {
                let wanted = sum < f64::from(params.top_p) * total;
                sum += f64::from(*w);
                wanted
            });
        }
        let total: f64 = weights.iter().map(|(_, w)| f64::from(*w)).sum();
        let mut left = ChaCha8Rng::seed_from_u64(params.seed).random::<f64>() * total;
        let drawn = weights.iter().find(|(_, weight)| {
            left -= f64::from(*weight);
            left < 0.0
        });
        drawn.expect("one is drawn").0
    }

    #[test]
    fn unlikely_tokens_are_passed_over_and_change_no_draw() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |low: f32, high: f32| low + (high - low) * rng.random::<f32>();
        for seed in 0..200 {
            let spread = random(1.0, 40.0);
            let mut logits: Vec<f32> = (0..1000).map(|_| random(-spread, spread)).collect();
            logits[999] = spread + 1.0;
            let params = SamplingParams {
                seed,
                temperature: [0.2, 0.8, 1.5][seed as usize % 3],
                top_p: [1.0, 0.95][seed as usize % 2],
                ..Default::default()
            };
            let token = Sampler::new(&params, 0, &[]).sample(&logits).token;
            assert_eq!(token, dense(&params, &logits), "{params:?}");
        }
        assert_eq!(argmax(&[f32::NAN, 1.0, f32::NAN, 3.0, 3.0]), 3);
        assert_eq!(argmax(&[f32::NAN; 70]), 0);
    }

    #[test]
    fn the_seed_decides() {
        let logits: Vec<f32> = (0..100).map(|i| (i as f32 * 0.37).sin()).collect();
        let draw = |seed, index| {
            let params = SamplingParams {
                seed,
                ..Default::default()
            };
            let mut sampler = Sampler::new(&params, index, &[]);
            (0..20)
                .map(|_| sampler.sample(&logits).token)
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 0), draw(7, 0));
        assert_eq!(draw(7, 1), draw(8, 0));
        assert_ne!(draw(7, 0), draw(8, 0));
    }

    #[test]
    fn logprobs_are_of_the_unmodified_distribution() {
        let logits = [0.1f32.ln(), 0.7f32.ln(), 0.2f32.ln()];
        let params = SamplingParams {
            logprobs: Some(2),
            frequency_penalty: 2.0,
            ..SamplingParams::greedy(4)
        };
        let mut sampler = Sampler::new(&params, 0, &[]);
        assert_eq!(sampler.sample(&logits).token, 1);
        let second = sampler.sample(&logits);
        assert_eq!(second.token, 2, "the penalty moves the choice");
        let logprob = second.logprob.unwrap();
        assert!((logprob.logprob - 0.2f32.ln()).abs() < 1e-6);
        assert_eq!(logprob.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 2]);
        assert!((logprob.top[0].1 - 0.7f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn repetition_counts_the_prompt() {
        let params = SamplingParams {
            repetition_penalty: 2.0,
            ..SamplingParams::greedy(4)
        };
        let mut sampler = Sampler::new(&params, 0, &[0]);
        assert_eq!(sampler.sample(&[1.9, 1.0]).token, 1);
    }
}
