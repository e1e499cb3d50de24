//! AdamW with decoupled weight decay (arXiv 1711.05101); the same numbers as `torch.optim.AdamW`.

use crate::lora::{Lora, LoraGrads, LoraPair};
use rayon::prelude::*;

/// The first and second moments of one adapter's gradient.
#[derive(Debug, Clone)]
pub struct AdamW {
    mean: LoraGrads,
    square: LoraGrads,
    updates: i32,
}

/// The hyper-parameters of one update.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    pub learning_rate_a: f32,
    pub learning_rate_b: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
}

impl AdamW {
    pub fn new(lora: &Lora) -> Self {
        AdamW {
            mean: lora.zeros_like(),
            square: lora.zeros_like(),
            updates: 0,
        }
    }

    /// One update of `lora` by the gradient `grads · grad_scale`.
    pub fn update(&mut self, lora: &mut Lora, grads: &LoraGrads, grad_scale: f32, rates: &Rates) {
        self.updates += 1;
        let kernel = |learning_rate: f32| Kernel {
            grad_scale,
            keep: 1.0 - learning_rate * rates.weight_decay,
            beta1: rates.beta1,
            beta2: rates.beta2,
            step_size: (f64::from(learning_rate)
                / (1.0 - f64::from(rates.beta1).powi(self.updates))) as f32,
            correction: (1.0 - f64::from(rates.beta2).powi(self.updates))
                .sqrt()
                .recip() as f32,
            eps: rates.eps,
        };
        let (a, b) = (kernel(rates.learning_rate_a), kernel(rates.learning_rate_b));
        let parameters = lora.layers.iter_mut().flatten().flatten();
        let all: Vec<_> = parameters
            .zip(pairs(grads))
            .zip(pairs_mut(&mut self.mean).zip(pairs_mut(&mut self.square)))
            .collect();
        all.into_par_iter().for_each(|((p, g), (m, v))| {
            a.run(&mut p.a, &g.a, &mut m.a, &mut v.a);
            b.run(&mut p.b, &g.b, &mut m.b, &mut v.b);
        });
    }
}

/// The Euclidean norm of the gradient as one vector. The order of summation is fixed, hence the result's bits.
pub fn norm(grads: &LoraGrads) -> f32 {
    let all: Vec<&LoraPair> = pairs(grads).collect();
    let squares: Vec<f64> = all
        .into_par_iter()
        .map(|pair| sum_of_squares(&pair.a) + sum_of_squares(&pair.b))
        .collect();
    squares.iter().sum::<f64>().sqrt() as f32
}

/// Sets the gradient to zero.
pub fn clear(grads: &mut LoraGrads) {
    for pair in pairs_mut(grads) {
        pair.a.fill(0.0);
        pair.b.fill(0.0);
    }
}

fn pairs(grads: &LoraGrads) -> impl Iterator<Item = &LoraPair> {
    grads.iter().flatten().flatten()
}

fn pairs_mut(grads: &mut LoraGrads) -> impl Iterator<Item = &mut LoraPair> {
    grads.iter_mut().flatten().flatten()
}

fn sum_of_squares(values: &[f32]) -> f64 {
    // Sixteen lanes, so that the compiler can use whole vectors.
    let mut lanes = [0f64; 16];
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*x) * f64::from(*x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
}

struct Kernel {
    grad_scale: f32,
    keep: f32,
    beta1: f32,
    beta2: f32,
    step_size: f32,
    correction: f32,
    eps: f32,
}

impl Kernel {
    fn run(&self, parameter: &mut [f32], grad: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let moments = mean.iter_mut().zip(square);
        for ((p, g), (m, v)) in parameter.iter_mut().zip(grad).zip(moments) {
            let g = g * self.grad_scale;
            *m = self.beta1 * *m + (1.0 - self.beta1) * g;
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            *p = *p * self.keep - self.step_size * *m / (v.sqrt() * self.correction + self.eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Projection;
    use crate::lora::LoraConfig;
    use serde::Deserialize;

    /// Recorded from torch by `bench/peers/record_adamw.py`.
    #[derive(Deserialize)]
    struct Recorded {
        learning_rate_a: f32,
        learning_rate_b: f32,
        beta1: f32,
        beta2: f32,
        eps: f32,
        weight_decay: f32,
        clip_norm: f32,
        start: [Vec<f32>; 2],
        steps: Vec<RecordedStep>,
    }

    #[derive(Deserialize)]
    struct RecordedStep {
        grads: [Vec<f32>; 2],
        norm: f32,
        parameters: [Vec<f32>; 2],
    }

    fn layers(values: &[Vec<f32>; 2]) -> LoraGrads {
        let mut layer = [const { None }; 7];
        layer[Projection::Q.index()] = Some(LoraPair {
            a: values[0].clone(),
            b: values[1].clone(),
        });
        vec![layer]
    }

    #[test]
    fn follows_torch() {
        let recorded: Recorded =
            serde_json::from_str(include_str!("../../tests/fixtures/adamw.json")).unwrap();
        let mut lora = Lora {
            config: LoraConfig {
                rank: 1,
                alpha: 1.0,
                targets: vec![Projection::Q],
            },
            layers: layers(&recorded.start),
            extras: None,
        };
        let rates = Rates {
            learning_rate_a: recorded.learning_rate_a,
            learning_rate_b: recorded.learning_rate_b,
            beta1: recorded.beta1,
            beta2: recorded.beta2,
            eps: recorded.eps,
            weight_decay: recorded.weight_decay,
        };
        let mut optimizer = AdamW::new(&lora);
        for (i, step) in recorded.steps.iter().enumerate() {
            let grads = layers(&step.grads);
            let length = norm(&grads);
            assert!((length - step.norm).abs() < 1e-5 * step.norm, "step {i}");
            let scale = super::super::step::clip_scale(length, recorded.clip_norm);
            optimizer.update(&mut lora, &grads, scale, &rates);
            let pair = lora.layers[0][0].as_ref().unwrap();
            for (got, want) in [&pair.a, &pair.b].into_iter().zip(&step.parameters) {
                for (x, y) in got.iter().zip(want) {
                    assert!((x - y).abs() < 1e-6, "step {i}: {x} instead of {y}");
                }
            }
        }
    }
}
