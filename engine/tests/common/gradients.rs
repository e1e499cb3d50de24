//! Gradients against central finite differences of the loss, which `score` computes: the one path that
//! knows nothing of backward passes.

use super::{random_lora, some_tokens};
use autodidact_engine::{Executor, Lora, LoraGrads, PackedBatch, Projection, Target};
use std::sync::Arc;

/// Adapters of the batch below; each sequence names some of them.
const STACKS: [&[usize]; 4] = [&[0], &[1], &[0, 1], &[]];
const LENGTHS: [usize; 4] = [7, 4, 6, 5];

fn batch(executor: &dyn Executor, adapters: &[Arc<Lora>]) -> (PackedBatch, Vec<Target>) {
    let (mut batch, mut targets) = (PackedBatch::new(), Vec::new());
    for adapter in adapters {
        batch.adapter(adapter);
    }
    for (i, (stack, length)) in STACKS.iter().zip(LENGTHS).enumerate() {
        let tokens = some_tokens(length, i, executor);
        let stack: Vec<Arc<Lora>> = stack.iter().map(|a| adapters[*a].clone()).collect();
        let rows = batch.push(&tokens, 0, None, &stack);
        // The first row is context alone; weights differ between sequences.
        for (row, token) in rows.zip(&tokens[1..]).skip(1) {
            let weight = 0.1 + 0.05 * i as f32;
            targets.push(Target {
                row,
                token: *token,
                weight,
            });
            // Every other row has a soft target: two more tokens, and half of those all others together.
            if row % 2 == 0 {
                for (more, share) in [(3, 0.5), (11, 0.25)] {
                    targets.push(Target {
                        row,
                        token: (*token + more) % executor.config().vocab_size as u32,
                        weight: share * weight,
                    });
                }
                if row % 4 == 0 {
                    targets.push(Target {
                        row,
                        token: Target::OTHERS,
                        weight: 0.3 * weight,
                    });
                }
            }
        }
    }
    (batch, targets)
}

fn loss(executor: &mut dyn Executor, adapters: &[Arc<Lora>]) -> f64 {
    let (batch, targets) = batch(executor, adapters);
    let logprobs = logprobs(executor, &batch, &targets);
    let terms = logprobs.iter().zip(&targets);
    terms.map(|(l, t)| -(t.weight as f64) * l).sum()
}

/// As `score` says; of the others what the row's named tokens leave.
fn logprobs(executor: &mut dyn Executor, batch: &PackedBatch, targets: &[Target]) -> Vec<f64> {
    let is_named = |t: &&Target| t.token != Target::OTHERS;
    let named: Vec<Target> = targets.iter().filter(is_named).copied().collect();
    let scores = executor.score(batch, &named).unwrap();
    let scored: Vec<(usize, f64)> = named
        .iter()
        .zip(&scores)
        .map(|(t, s)| (t.row, s.logprob as f64))
        .collect();
    let mut of_named = scored.iter();
    let one = |t: &Target| match is_named(&t) {
        true => of_named.next().unwrap().1,
        false => {
            let of_row = scored.iter().filter(|(row, _)| *row == t.row);
            (1.0 - of_row.map(|(_, l)| l.exp()).sum::<f64>()).ln()
        }
    };
    targets.iter().map(one).collect()
}

/// The loss with one entry moved by `by`.
fn moved_loss(
    executor: &mut dyn Executor,
    adapters: &[Arc<Lora>],
    (adapter, layer, projection, matrix): (usize, usize, Projection, char),
    index: usize,
    by: f32,
) -> f64 {
    let mut adapters = adapters.to_vec();
    let lora = Arc::make_mut(&mut adapters[adapter]);
    let pair = lora.layers[layer][projection.index()].as_mut().unwrap();
    match matrix {
        'A' => pair.a[index] += by,
        _ => pair.b[index] += by,
    }
    loss(executor, &adapters)
}

/// For every A and B of both adapters: not zero, and its largest entry and one other equal the finite
/// difference within `tolerance` of the largest. Returns the largest error in that measure.
pub fn agree_with_finite_differences(
    executor: &mut dyn Executor,
    step: f32,
    tolerance: f64,
) -> f64 {
    let config = executor.config().clone();
    let adapters = [
        random_lora(&config, 3, 6.0, 1),
        random_lora(&config, 2, 2.0, 2),
    ];
    let (batch, targets) = batch(executor, &adapters);
    let mut grads: Vec<Option<LoraGrads>> = adapters.iter().map(|a| Some(a.zeros_like())).collect();
    let nll = executor.backward(&batch, &targets, &mut grads).unwrap();
    for (nll, logprob) in nll.iter().zip(logprobs(executor, &batch, &targets)) {
        assert!(
            (*nll as f64 + logprob).abs() <= tolerance,
            "backward says the nll is {nll}, score says {}",
            -logprob
        );
    }

    let mut worst = 0f64;
    for (adapter, grads) in grads.iter().flatten().enumerate() {
        for (layer, of_layer) in grads.iter().enumerate() {
            for projection in Projection::ALL {
                let pair = of_layer[projection.index()].as_ref().unwrap();
                for (matrix, gradient) in [('A', &pair.a), ('B', &pair.b)] {
                    let place = (adapter, layer, projection, matrix);
                    let by_size = |a: &usize, b: &usize| {
                        let size = |i: &usize| gradient[*i].abs();
                        size(a).total_cmp(&size(b))
                    };
                    let largest = (0..gradient.len()).max_by(by_size).unwrap();
                    let size = gradient[largest].abs() as f64;
                    assert!(size > 1e-4, "{place:?} got no gradient");
                    let other = (largest + 1 + 7 * (layer + projection.index())) % gradient.len();
                    for index in [largest, other] {
                        let mut at = |by| moved_loss(executor, &adapters, place, index, by);
                        let difference = (at(step) - at(-step)) / (2.0 * step as f64);
                        let error = (gradient[index] as f64 - difference).abs() / size;
                        assert!(
                            error <= tolerance,
                            "{place:?} entry {index}: gradient {}, finite difference {difference}, largest {size}",
                            gradient[index]
                        );
                        worst = worst.max(error);
                    }
                }
            }
        }
    }
    worst
}
