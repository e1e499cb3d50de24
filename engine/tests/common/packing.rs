//! Packing changes no result: packed or alone, cached or whole, forked or not, a sequence gets the same numbers.

use super::{assert_close, random_lora, some_tokens};
use autodidact_engine::{
    Executor, KvSlot, Lora, LoraConfig, LoraGrads, LoraPair, PackedBatch, Target,
};
use std::sync::Arc;

struct Company {
    tokens: Vec<u32>,
    stack: Vec<Arc<Lora>>,
}

/// Different lengths, adapters of different ranks, one adapter on sequences that are not neighbours, a
/// stack of two, and the bare base between them.
fn company(executor: &dyn Executor) -> (Vec<Company>, [Arc<Lora>; 2]) {
    let a = random_lora(executor.config(), 4, 8.0, 11);
    let b = random_lora(executor.config(), 2, 2.0, 12);
    let stacks = [
        vec![a.clone()],
        vec![],
        vec![b.clone()],
        vec![a.clone(), b.clone()],
        vec![],
        vec![a.clone()],
    ];
    let sequences =
        stacks
            .into_iter()
            .zip([5, 3, 9, 6, 1, 2])
            .enumerate()
            .map(|(i, (stack, length))| Company {
                tokens: some_tokens(length, i, executor),
                stack,
            });
    (sequences.collect(), [a, b])
}

fn logits(executor: &mut dyn Executor, sequence: &Company) -> Vec<f32> {
    let mut batch = PackedBatch::new();
    let rows = batch.push(&sequence.tokens, 0, None, &sequence.stack);
    executor.forward(&batch, &rows.collect::<Vec<_>>()).unwrap()
}

fn push_targets(
    batch: &mut PackedBatch,
    targets: &mut Vec<Target>,
    sequence: &Company,
    weight: f32,
) {
    let rows = batch.push(&sequence.tokens, 0, None, &sequence.stack);
    for (row, token) in rows.zip(sequence.tokens.iter().skip(1)) {
        targets.push(Target {
            row,
            token: *token,
            weight,
        });
    }
}

pub fn packed_logits_are_those_alone(executor: &mut dyn Executor, tolerance: f32) {
    let (company, _) = company(executor);
    let mut batch = PackedBatch::new();
    for sequence in &company {
        batch.push(&sequence.tokens, 0, None, &sequence.stack);
    }
    let rows: Vec<usize> = (0..batch.tokens.len()).collect();
    let packed = executor.forward(&batch, &rows).unwrap();
    let alone: Vec<f32> = company.iter().flat_map(|c| logits(executor, c)).collect();
    assert_close("packed logits", &packed, &alone, tolerance);

    let some = [1, 6, 20];
    let vocab = executor.config().vocab_size;
    let expected: Vec<f32> = some
        .iter()
        .flat_map(|r| &packed[r * vocab..(r + 1) * vocab])
        .copied()
        .collect();
    let picked = executor.forward(&batch, &some).unwrap();
    assert_close("logits of some rows", &picked, &expected, tolerance);
}

pub fn packed_scores_are_those_alone(executor: &mut dyn Executor, tolerance: f32) {
    let (company, _) = company(executor);
    let (mut packed, mut targets) = (PackedBatch::new(), Vec::new());
    let mut expected = Vec::new();
    for sequence in &company {
        push_targets(&mut packed, &mut targets, sequence, 1.0);
        // From the logits, in f64: not the executor's own log-softmax.
        let vocab = executor.config().vocab_size;
        let logits = logits(executor, sequence);
        for (row, token) in logits.chunks(vocab).zip(sequence.tokens.iter().skip(1)) {
            let sum: f64 = row.iter().map(|l| (*l as f64).exp()).sum();
            expected.push((row[*token as usize] as f64 - sum.ln()) as f32);
        }
    }
    let scores = executor.score(&packed, &targets).unwrap();
    let logprobs: Vec<f32> = scores.iter().map(|s| s.logprob).collect();
    assert_close("packed scores", &logprobs, &expected, tolerance);

    // The likeliest token of each row says it is, its neighbour says it is not.
    let logits = executor.forward(&packed, &[0, 3]).unwrap();
    let best: Vec<u32> = logits
        .chunks(executor.config().vocab_size)
        .map(|row| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])))
        .map(|best| best.unwrap() as u32)
        .collect();
    let at = |row, token| Target {
        row,
        token,
        weight: 0.0,
    };
    let neighbour = best[1] ^ 1;
    let scores = executor
        .score(&packed, &[at(0, best[0]), at(3, neighbour)])
        .unwrap();
    assert!(scores[0].is_argmax && !scores[1].is_argmax);
}

pub fn packed_gradients_are_those_alone(executor: &mut dyn Executor, tolerance: f32) {
    let (company, adapters) = company(executor);
    let (mut packed, mut targets) = (PackedBatch::new(), Vec::new());
    // Gradients are added to what is there: begin with one everywhere.
    let ones = |lora: &Lora| {
        let mut grads = lora.zeros_like();
        for pair in grads.iter_mut().flatten().flatten() {
            pair.a.fill(1.0);
            pair.b.fill(1.0);
        }
        grads
    };
    let mut expected = adapters.each_ref().map(|a| ones(a));
    for (i, sequence) in company.iter().enumerate() {
        let weight = 0.2 + 0.1 * i as f32;
        push_targets(&mut packed, &mut targets, sequence, weight);
        let (mut alone, mut own) = (PackedBatch::new(), Vec::new());
        push_targets(&mut alone, &mut own, sequence, weight);
        let mut grads: Vec<Option<LoraGrads>> = alone
            .adapters
            .iter()
            .map(|a| Some(a.zeros_like()))
            .collect();
        executor.backward(&alone, &own, &mut grads).unwrap();
        for (adapter, grads) in alone.adapters.iter().zip(grads.iter().flatten()) {
            let index = adapters.iter().position(|a| Arc::ptr_eq(a, adapter));
            add(&mut expected[index.unwrap()], grads);
        }
    }
    let mut grads: Vec<Option<LoraGrads>> = packed.adapters.iter().map(|a| Some(ones(a))).collect();
    executor.backward(&packed, &targets, &mut grads).unwrap();
    for (actual, expected) in grads.iter().zip(&expected) {
        let actual = flat(actual.as_ref().unwrap());
        assert_close("packed gradient", &actual, &flat(expected), tolerance);
    }

    // With the other adapter frozen the gradient stays what it was.
    let mut grads = vec![None, Some(ones(&adapters[1]))];
    executor.backward(&packed, &targets, &mut grads).unwrap();
    assert!(grads[0].is_none());
    let actual = flat(grads[1].as_ref().unwrap());
    assert_close(
        "beside a frozen one",
        &actual,
        &flat(&expected[1]),
        tolerance,
    );
}

/// Two families of three that begin alike, and one that stands between them: computed with their
/// beginnings shared they get the logits and the gradient they get alone.
pub fn sequences_behind_a_prefix_are_those_alone(executor: &mut dyn Executor, tolerance: f32) {
    let a = random_lora(executor.config(), 4, 8.0, 31);
    let b = random_lora(executor.config(), 2, 2.0, 32);
    let between = some_tokens(6, 9, executor);
    let family = |seed: usize, prefix: usize, lengths: [usize; 3]| {
        let prefix = some_tokens(prefix, seed, executor);
        let own = (1..).zip(lengths);
        let own: Vec<_> = own
            .map(|(i, n)| some_tokens(n, seed + i, executor))
            .collect();
        (prefix, own)
    };
    let families = [family(40, 70, [3, 1, 80]), family(50, 9, [2, 66, 5])];

    let (mut shared, mut whole) = (PackedBatch::new(), PackedBatch::new());
    // The rows to compare, and the targets of each batch.
    let (mut rows, mut targets) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for (nth, (prefix, own)) in families.iter().enumerate() {
        let stack = [[a.clone()], [b.clone()]][nth].clone();
        shared.push(prefix, 0, None, &stack);
        let index = shared.sequences.len() - 1;
        for (i, own) in own.iter().enumerate() {
            let one = shared.push_after(index, own);
            let all = whole.push(&[prefix.as_slice(), own].concat(), 0, None, &stack);
            let other = all.start + prefix.len()..all.end;
            for (row, at) in [one, other].into_iter().enumerate() {
                rows[row].extend(at.clone());
                targets[row].extend(at.zip(own.iter().skip(1)).map(|(row, token)| Target {
                    row,
                    token: *token,
                    weight: 0.1 + 0.02 * i as f32,
                }));
            }
        }
        shared.push(&between, 0, None, &stack);
        whole.push(&between, 0, None, &stack);
    }
    let logits = executor.forward(&shared, &rows[0]).unwrap();
    let expected = executor.forward(&whole, &rows[1]).unwrap();
    assert_close("logits behind a prefix", &logits, &expected, tolerance);

    let [shared_grads, whole_grads] = [(&shared, &targets[0]), (&whole, &targets[1])].map(
        |(batch, targets)| -> Vec<Option<LoraGrads>> {
            let zeros = batch.adapters.iter().map(|a| Some(a.zeros_like()));
            let mut grads = zeros.collect::<Vec<_>>();
            executor.backward(batch, targets, &mut grads).unwrap();
            grads
        },
    );
    for (actual, expected) in shared_grads
        .iter()
        .flatten()
        .zip(whole_grads.iter().flatten())
    {
        assert_close("its gradient", &flat(actual), &flat(expected), tolerance);
    }

    // What stands elsewhere than behind its prefix is no batch.
    let mut torn = PackedBatch::new();
    torn.push(&between, 0, None, &[]);
    torn.push(&between, 0, None, &[]);
    torn.push_after(0, &between);
    assert!(executor.forward(&torn, &[0]).is_err());
}

/// Prefill in two parts, then token by token, in the company of sequences of other lengths.
pub fn cached_decoding_is_whole(executor: &mut dyn Executor, tolerance: f32) {
    let (company, _) = company(executor);
    let long: Vec<&Company> = company.iter().filter(|c| c.tokens.len() > 4).collect();
    let whole: Vec<Vec<f32>> = long.iter().map(|c| logits(executor, c)).collect();
    let slots: Vec<KvSlot> = long.iter().map(|_| executor.kv_new()).collect();
    let vocab = executor.config().vocab_size;
    let mut cached = vec![Vec::new(); long.len()];
    let mut from = 0;
    while cached.iter().zip(&whole).any(|(c, w)| c.len() < w.len()) {
        let to = if from < 4 { from + 2 } else { from + 1 };
        let (mut batch, mut who) = (PackedBatch::new(), Vec::new());
        for (i, sequence) in long.iter().enumerate() {
            if let Some(tokens) = sequence.tokens.get(from..to) {
                assert_eq!(executor.kv_len(slots[i]), from);
                let rows = batch.push(tokens, from, Some(slots[i]), &sequence.stack);
                who.extend(rows.map(|_| i));
            }
        }
        let rows: Vec<usize> = (0..batch.tokens.len()).collect();
        let logits = executor.forward(&batch, &rows).unwrap();
        for (row, i) in logits.chunks(vocab).zip(who) {
            cached[i].extend_from_slice(row);
        }
        from = to;
    }
    for (cached, whole) in cached.iter().zip(&whole) {
        assert_close("cached logits", cached, whole, tolerance);
    }
    slots.into_iter().for_each(|s| executor.kv_free(s));
}

/// Forks share a beginning and part from there; the parent goes on undisturbed, a freed slot too.
pub fn forks_diverge(executor: &mut dyn Executor, tolerance: f32) {
    let lora = random_lora(executor.config(), 4, 8.0, 21);
    let prompt = some_tokens(6, 3, executor);
    let continuations = [[9, 8, 7], [1, 2, 3], [4, 5, 6]];
    let shared = [prompt.len(), prompt.len(), 4];

    let parent = executor.kv_new();
    let mut batch = PackedBatch::new();
    batch.push(&prompt, 0, Some(parent), std::slice::from_ref(&lora));
    assert!(executor.forward(&batch, &[]).unwrap().is_empty());
    let slots = [
        parent,
        executor.kv_fork(parent, shared[1]),
        executor.kv_fork(parent, shared[2]),
    ];
    let dropped = executor.kv_fork(parent, 5);
    executor.kv_free(dropped);
    let empty = executor.kv_fork(parent, 0);
    assert_eq!(executor.kv_len(empty), 0);

    for step in 0..3 {
        let mut batch = PackedBatch::new();
        for i in 0..3 {
            let token = continuations[i][step];
            batch.push(
                &[token],
                shared[i] + step,
                Some(slots[i]),
                std::slice::from_ref(&lora),
            );
        }
        let logits = executor.forward(&batch, &[0, 1, 2]).unwrap();
        let vocab = executor.config().vocab_size;
        for i in 0..3 {
            let mut tokens = prompt[..shared[i]].to_vec();
            tokens.extend(&continuations[i][..=step]);
            let mut whole = PackedBatch::new();
            let rows = whole.push(&tokens, 0, None, std::slice::from_ref(&lora));
            let expected = executor.forward(&whole, &[rows.end - 1]).unwrap();
            let actual = &logits[i * vocab..(i + 1) * vocab];
            assert_close("a fork's logits", actual, &expected, tolerance);
        }
    }
    assert_eq!(slots.map(|s| executor.kv_len(s)), [9, 9, 7]);
    slots.into_iter().for_each(|s| executor.kv_free(s));
    executor.kv_free(empty);
    let reused = executor.kv_new();
    assert_eq!(executor.kv_len(reused), 0);
}

/// A stack of two equals one adapter of both ranks: A concatenated by rows, scaled B by columns.
pub fn stacks_add_up(executor: &mut dyn Executor, tolerance: f32) {
    let (_, [first, second]) = company(executor);
    let rank = first.config.rank + second.config.rank;
    let joined = first
        .layers
        .iter()
        .zip(&second.layers)
        .map(|(one, two)| {
            std::array::from_fn(|p| {
                let (one, two) = (one[p].as_ref().unwrap(), two[p].as_ref().unwrap());
                let rows = |pair: &LoraPair, lora: &Lora| -> Vec<Vec<f32>> {
                    let rows = pair.b.chunks(lora.config.rank);
                    let scale = lora.config.scale();
                    rows.map(|r| r.iter().map(|b| b * scale).collect())
                        .collect()
                };
                let (left, right) = (rows(one, &first), rows(two, &second));
                Some(LoraPair {
                    a: [one.a.clone(), two.a.clone()].concat(),
                    b: left
                        .into_iter()
                        .zip(right)
                        .flat_map(|(l, r)| [l, r].concat())
                        .collect(),
                })
            })
        })
        .collect();
    let joined = Arc::new(Lora {
        config: LoraConfig::all_linear(rank, rank as f32),
        layers: joined,
        extras: None,
    });
    let tokens = some_tokens(8, 5, executor);
    let with = |stack: Vec<Arc<Lora>>| Company {
        tokens: tokens.clone(),
        stack,
    };
    let bare = logits(executor, &with(vec![]));
    let stacked = logits(executor, &with(vec![first, second]));
    let one = logits(executor, &with(vec![joined]));
    assert_close("a stack of two", &stacked, &one, tolerance);
    let change = bare.iter().zip(&one).map(|(b, o)| (b - o).abs());
    assert!(change.fold(0f32, f32::max) > 0.1, "the adapters do nothing");
}

/// Wrong input is an error, and leaves the slots as they were.
pub fn wrong_input_is_refused(executor: &mut dyn Executor) {
    let vocab = executor.config().vocab_size as u32;
    let slot = executor.kv_new();
    let mut cached = PackedBatch::new();
    cached.push(&[1, 2], 0, Some(slot), &[]);
    let target = |row, token| Target {
        row,
        token,
        weight: 1.0,
    };
    assert!(
        executor
            .backward(&cached, &[target(0, 2)], &mut [])
            .is_err()
    );
    assert!(executor.score(&cached, &[target(2, 2)]).is_err());
    assert!(executor.score(&cached, &[target(0, vocab)]).is_err());
    assert!(executor.forward(&cached, &[2]).is_err());
    let mut outside = PackedBatch::new();
    outside.push(&[vocab], 0, Some(slot), &[]);
    assert!(executor.forward(&outside, &[0]).is_err());
    assert_eq!(executor.kv_len(slot), 0);
    executor.kv_free(slot);
}

fn add(sum: &mut LoraGrads, grads: &LoraGrads) {
    let pairs = sum.iter_mut().flatten().flatten();
    for (sum, pair) in pairs.zip(grads.iter().flatten().flatten()) {
        sum.a.iter_mut().zip(&pair.a).for_each(|(s, g)| *s += g);
        sum.b.iter_mut().zip(&pair.b).for_each(|(s, g)| *s += g);
    }
}

fn flat(grads: &LoraGrads) -> Vec<f32> {
    let pairs = grads.iter().flatten().flatten();
    pairs
        .flat_map(|p| p.a.iter().chain(&p.b))
        .copied()
        .collect()
}
