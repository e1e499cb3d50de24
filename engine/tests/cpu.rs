//! The executor for processors against its own definition: gradients by finite differences, and the
//! same numbers whatever the company, the cache or the number format.

use autodidact_engine::*;
use std::collections::HashMap;
use std::sync::Arc;

/// A tiny model of each family, with everything that tells them apart.
fn config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: 67,
        hidden_size: 40,
        intermediate_size: 52,
        num_layers: 3,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        rope_theta: 10_000.0,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: family != Family::Llama,
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        max_position: 512,
    }
}

const FAMILIES: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

fn numbers(n: usize, seed: u64, bound: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 2.0 * bound
    };
    (0..n).map(|_| next()).collect()
}

fn tensors(c: &ModelConfig) -> HashMap<String, Vec<f32>> {
    let mut all = HashMap::new();
    let mut seed = 7;
    let mut add = |name: String, n: usize, bound: f32, shift: f32| {
        seed += 1;
        let values = numbers(n, seed, bound).into_iter().map(|x| x + shift);
        all.insert(name, values.collect());
    };
    let table = c.vocab_size * c.hidden_size;
    add("model.embed_tokens.weight".into(), table, 0.8, 0.0);
    add("lm_head.weight".into(), table, 0.5, 0.0);
    add("model.norm.weight".into(), c.hidden_size, 0.3, 1.0);
    for l in 0..c.num_layers {
        let mut add = |name: &str, n, b, s| add(format!("model.layers.{l}.{name}"), n, b, s);
        add("input_layernorm.weight", c.hidden_size, 0.3, 1.0);
        add("post_attention_layernorm.weight", c.hidden_size, 0.3, 1.0);
        add("self_attn.q_norm.weight", c.head_dim, 0.3, 1.0);
        add("self_attn.k_norm.weight", c.head_dim, 0.3, 1.0);
        for p in Projection::ALL {
            let (inputs, outputs) = c.features(p);
            add(&format!("{}.weight", p.path()), inputs * outputs, 0.25, 0.0);
            add(&format!("{}.bias", p.path()), outputs, 0.2, 0.0);
        }
    }
    all
}

fn cpu(c: &ModelConfig, precision: Precision) -> Cpu {
    let all = tensors(c);
    let source = |name: &str| Ok(all[name].clone());
    Cpu::from_tensors(
        c,
        &source,
        CpuOptions {
            threads: 2,
            precision,
        },
    )
    .unwrap()
}

fn tokens(n: usize, seed: u64) -> Vec<u32> {
    numbers(n, seed, 1.0)
        .into_iter()
        .map(|x| ((x + 1.0) * 33.4) as u32)
        .collect()
}

fn adapter(c: &ModelConfig, rank: usize, seed: u64) -> Arc<Lora> {
    Arc::new(Lora::random(
        LoraConfig::all_linear(rank, 2.0 * rank as f32),
        c,
        seed,
    ))
}

fn logits(cpu: &mut Cpu, batch: &PackedBatch) -> Vec<f32> {
    let rows: Vec<usize> = (0..batch.tokens.len()).collect();
    cpu.forward(batch, &rows).unwrap()
}

fn assert_near(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-3f32, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * size,
            "{what}[{i}]: {g}, not {w} (size {size})"
        );
    }
}

fn next_token_targets(batch: &PackedBatch, weight: f32) -> Vec<Target> {
    let rows = batch
        .sequences
        .iter()
        .flat_map(|s| s.rows.start..s.rows.end - 1);
    let target = |row| Target {
        row,
        token: batch.tokens[row + 1],
        weight,
    };
    rows.map(target).collect()
}

fn loss(cpu: &mut Cpu, batch: &PackedBatch, targets: &[Target]) -> f64 {
    let scores = cpu.score(batch, targets).unwrap();
    let each = scores.iter().zip(targets);
    each.map(|(s, t)| -f64::from(s.logprob) * f64::from(t.weight))
        .sum()
}

/// Two adapters, one sequence under both, one under each, one under none.
fn mixed_batch(c: &ModelConfig) -> PackedBatch {
    let (a, b) = (adapter(c, 3, 1), adapter(c, 5, 2));
    let mut batch = PackedBatch::new();
    batch.push(&tokens(9, 1), 0, None, &[a.clone(), b.clone()]);
    batch.push(&tokens(5, 2), 0, None, &[]);
    batch.push(&tokens(70, 3), 0, None, std::slice::from_ref(&b));
    batch.push(&tokens(12, 4), 0, None, std::slice::from_ref(&a));
    batch
}

/// Gradients to be gathered, of every adapter.
fn zeros(batch: &PackedBatch) -> Vec<Option<LoraGrads>> {
    let zeros = batch.adapters.iter().map(|a| Some(a.zeros_like()));
    zeros.collect()
}

/// One adapter a sequence at most, as training has it: of odd ranks, one with some of the pairs alone.
fn flat_batch(c: &ModelConfig) -> PackedBatch {
    let few = LoraConfig {
        targets: vec![Projection::K, Projection::Up, Projection::Down],
        ..LoraConfig::all_linear(4, 8.0)
    };
    let some = Arc::new(Lora::random(few, c, 5));
    let stacks = [
        vec![adapter(c, 3, 1)],
        vec![],
        vec![adapter(c, 5, 2)],
        vec![some],
    ];
    let mut batch = PackedBatch::new();
    for (stack, (n, seed)) in stacks.iter().zip([(9, 1), (5, 2), (70, 3), (12, 4)]) {
        batch.push(&tokens(n, seed), 0, None, stack);
    }
    batch
}

#[test]
fn gradients_are_slopes_of_the_loss() {
    for family in FAMILIES {
        let c = config(family);
        let mut cpu = cpu(&c, Precision::F32);
        let batch = mixed_batch(&c);
        let targets = next_token_targets(&batch, 0.1);
        let mut grads = zeros(&batch);
        let nll = cpu.backward(&batch, &targets, &mut grads).unwrap();
        let scores = cpu.score(&batch, &targets).unwrap();
        let logprobs: Vec<f32> = scores.iter().map(|s| -s.logprob).collect();
        assert_near(&nll, &logprobs, 1e-5, "nll");
        for (index, grads) in grads.iter().enumerate() {
            let grads = grads.as_ref().unwrap();
            for (l, layer) in grads.iter().enumerate() {
                for p in Projection::ALL {
                    let pair = layer[p.index()].as_ref().unwrap();
                    for (is_a, grad) in [(true, &pair.a), (false, &pair.b)] {
                        // Along the gradient itself the slope is its squared length.
                        let square: f64 = grad.iter().map(|g| f64::from(*g).powi(2)).sum();
                        let step = 2e-3 / square.sqrt();
                        let mut at = |sign: f64| {
                            let mut moved = batch.clone();
                            let lora = Arc::make_mut(&mut moved.adapters[index]);
                            let pair = lora.layers[l][p.index()].as_mut().unwrap();
                            let x = if is_a { &mut pair.a } else { &mut pair.b };
                            for (x, g) in x.iter_mut().zip(grad) {
                                *x += (sign * step * f64::from(*g)) as f32;
                            }
                            loss(&mut cpu, &moved, &targets)
                        };
                        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
                        assert!(
                            (slope / square - 1.0).abs() < 0.02,
                            "{family:?} adapter {index} layer {l} {p:?} a={is_a}: {slope} {square}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn frozen_adapters_get_nothing_and_change_nothing() {
    let c = config(Family::Qwen3);
    let mut cpu = cpu(&c, Precision::F32);
    let batch = mixed_batch(&c);
    let targets = next_token_targets(&batch, 1.0);
    let mut both = zeros(&batch);
    cpu.backward(&batch, &targets, &mut both).unwrap();
    let mut one = vec![None, Some(batch.adapters[1].zeros_like())];
    cpu.backward(&batch, &targets, &mut one).unwrap();
    assert!(one[0].is_none());
    assert_eq!(one[1], both[1]);

    // Only layer 1 trains: the backward that stops there finds the same.
    let mut upper = vec![Some(batch.adapters[0].zeros_like()), None];
    upper[0].as_mut().unwrap()[0] = Default::default();
    cpu.backward(&batch, &targets, &mut upper).unwrap();
    assert_eq!(
        upper[0].as_ref().unwrap()[1..],
        both[0].as_ref().unwrap()[1..]
    );
}

#[test]
fn gradients_are_added_to() {
    let c = config(Family::Llama);
    let mut cpu = cpu(&c, Precision::F32);
    let batch = mixed_batch(&c);
    let targets = next_token_targets(&batch, 1.0);
    let mut grads = zeros(&batch);
    cpu.backward(&batch, &targets, &mut grads).unwrap();
    let once = grads[0].as_ref().unwrap()[1][0].clone().unwrap();
    cpu.backward(&batch, &targets, &mut grads).unwrap();
    let twice = grads[0].as_ref().unwrap()[1][0].clone().unwrap();
    let doubled: Vec<f32> = once.a.iter().map(|x| 2.0 * x).collect();
    assert_near(&twice.a, &doubled, 1e-5, "a");
}

#[test]
fn a_sequence_is_the_same_in_company_and_alone() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let tolerance = 1e-5;
        for family in FAMILIES {
            let c = config(family);
            let mut cpu = cpu(&c, precision);
            let batch = mixed_batch(&c);
            let packed = logits(&mut cpu, &batch);
            for s in &batch.sequences {
                let mut alone = PackedBatch::new();
                let stack: Vec<_> = s.stack.iter().map(|i| batch.adapters[*i].clone()).collect();
                alone.push(&batch.tokens[s.rows.clone()], 0, None, &stack);
                let want = logits(&mut cpu, &alone);
                let part = s.rows.start * c.vocab_size..s.rows.end * c.vocab_size;
                assert_near(&packed[part], &want, tolerance, "logits");
            }
        }
    }
}

#[test]
fn cached_is_uncached() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let c = config(Family::Qwen2);
        let mut cpu = cpu(&c, precision);
        let (a, text) = (adapter(&c, 4, 3), tokens(90, 5));
        let mut whole = PackedBatch::new();
        whole.push(&text, 0, None, std::slice::from_ref(&a));
        let want = logits(&mut cpu, &whole);

        let slot = cpu.kv_new();
        let mut got = Vec::new();
        let mut at = 0;
        let extend = |cpu: &mut Cpu, slot, n: usize| {
            let mut batch = PackedBatch::new();
            let start = cpu.kv_len(slot);
            batch.push(
                &text[start..start + n],
                start,
                Some(slot),
                std::slice::from_ref(&a),
            );
            batch.push(&tokens(3, 6), 0, None, &[]);
            let rows: Vec<usize> = (0..n).collect();
            cpu.forward(&batch, &rows).unwrap()
        };
        for n in [70, 1, 2, 9] {
            got.extend(extend(&mut cpu, slot, n));
            at += n;
            assert_eq!(cpu.kv_len(slot), at);
        }
        // A fork goes on from any earlier point, and leaves its origin alone.
        let fork = cpu.kv_fork(slot, 75);
        let forked = extend(&mut cpu, fork, 15);
        assert_eq!((cpu.kv_len(slot), cpu.kv_len(fork)), (82, 90));
        got.extend(extend(&mut cpu, slot, 8));
        let tolerance = match precision {
            Precision::Bf16 => 2e-2,
            _ => 1e-5,
        };
        assert_near(&got, &want, tolerance, "logits");
        assert_near(&forked, &want[75 * c.vocab_size..], tolerance, "fork");
        cpu.kv_free(slot);
        let mut late = PackedBatch::new();
        late.push(&text[..1], 0, Some(slot), &[]);
        assert!(
            cpu.forward(&late, &[0])
                .unwrap_err()
                .to_string()
                .contains("does not exist")
        );
    }
}

#[test]
fn rounded_weights_are_near_f32() {
    for precision in [Precision::Bf16, Precision::Int8] {
        for family in FAMILIES {
            let c = config(family);
            let (mut exact, mut rounded) = (cpu(&c, Precision::F32), cpu(&c, precision));
            for batch in [mixed_batch(&c), flat_batch(&c)] {
                let (want, got) = (logits(&mut exact, &batch), logits(&mut rounded, &batch));
                assert_near(&got, &want, 0.03, "logits");
                let targets = next_token_targets(&batch, 1.0);
                let run = |cpu: &mut Cpu| -> Vec<Vec<f64>> {
                    let mut grads = zeros(&batch);
                    cpu.backward(&batch, &targets, &mut grads).unwrap();
                    let pairs = grads.into_iter().flatten().flatten().flatten().flatten();
                    let matrices = pairs.flat_map(|p| [p.a, p.b]);
                    let wide = |m: Vec<f32>| m.into_iter().map(f64::from).collect();
                    matrices.map(wide).collect()
                };
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
                let cosine = |a: &[f64], b: &[f64]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                let (want, got) = (run(&mut exact), run(&mut rounded));
                let together = cosine(&want.concat(), &got.concat());
                assert!(together > 0.999, "{family:?} {precision:?}: {together}");
                // No matrix hides behind the larger ones.
                for (want, got) in want.iter().zip(&got) {
                    let alone = cosine(want, got);
                    assert!(alone > 0.99, "{family:?} {precision:?}: {alone}");
                }
            }
        }
    }
}

/// Whatever is served between the parts: the same bits as in one piece.
#[test]
fn a_pass_in_parts_is_the_whole() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let c = config(Family::Qwen3);
        let mut cpu = cpu(&c, precision);
        let batch = mixed_batch(&c);
        let targets = next_token_targets(&batch, 1.0);
        let mut want = zeros(&batch);
        let nll = cpu.backward(&batch, &targets, &mut want).unwrap();

        let mut pass = BackwardPass::new(batch.clone(), targets, zeros(&batch));
        let slot = cpu.kv_new();
        let mut parts = 1usize;
        while !cpu.backward_part(&mut pass).unwrap() {
            parts += 1;
            let mut other = PackedBatch::new();
            let start = cpu.kv_len(slot);
            other.push(
                &tokens(5, parts as u64),
                start,
                Some(slot),
                &[adapter(&c, 3, 9)],
            );
            cpu.forward(&other, &[4]).unwrap();
        }
        assert!(parts > 2 * c.num_layers, "{parts} parts");
        assert_eq!(pass.nll, nll);
        assert_eq!(pass.grads, want);
    }
}

#[test]
fn score_is_log_softmax_of_the_logits() {
    let c = config(Family::Llama);
    let mut cpu = cpu(&c, Precision::F32);
    let batch = mixed_batch(&c);
    let all = logits(&mut cpu, &batch);
    let targets = next_token_targets(&batch, 1.0);
    let scores = cpu.score(&batch, &targets).unwrap();
    for (t, s) in targets.iter().zip(scores) {
        let row = &all[t.row * c.vocab_size..(t.row + 1) * c.vocab_size];
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        let chosen = row[t.token as usize];
        assert!((f64::from(s.logprob) - (f64::from(chosen) - sum.ln())).abs() < 1e-5);
        assert_eq!(s.is_argmax, row.iter().all(|x| *x <= chosen));
    }
}

#[test]
fn wrong_input_is_named() {
    let c = config(Family::Llama);
    let mut cpu = cpu(&c, Precision::F32);
    let mut batch = PackedBatch::new();
    batch.push(&[1, 2, 3], 0, None, &[]);
    let target = |row, token| {
        [Target {
            row,
            token,
            weight: 1.0,
        }]
    };
    let refused = |r: Result<String>, words: &str| {
        let said = r.unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    };
    refused(cpu.forward(&batch, &[3]).map(|_| String::new()), "row 3");
    refused(
        cpu.score(&batch, &target(0, 67)).map(|_| String::new()),
        "token 67",
    );
    let slot = cpu.kv_new();
    batch.sequences[0].kv = Some(slot);
    refused(
        cpu.backward(&batch, &target(0, 1), &mut [])
            .map(|_| String::new()),
        "KV slot",
    );
    batch.push(&[1], 0, Some(slot), &[]);
    refused(cpu.forward(&batch, &[0]).map(|_| String::new()), "share");
    let mut other = c.clone();
    other.hidden_size = 32;
    let mut batch = PackedBatch::new();
    batch.push(&[1], 0, None, &[adapter(&other, 2, 1)]);
    refused(cpu.forward(&batch, &[0]).map(|_| String::new()), "q_proj");
}

#[test]
fn an_empty_batch_has_an_empty_result() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let config = config(Family::Llama);
        let mut cpu = cpu(&config, precision);
        let empty = PackedBatch::new();
        assert_eq!(cpu.forward(&empty, &[]).unwrap(), Vec::<f32>::new());
        assert_eq!(cpu.score(&empty, &[]).unwrap(), Vec::<Score>::new());
        let nll = cpu.backward(&empty, &[], &mut []).unwrap();
        assert_eq!(nll, Vec::<f32>::new());
        // Rows of which no logits are wanted: a prefix that is only to be held.
        let mut prefix = PackedBatch::new();
        let slot = cpu.kv_new();
        prefix.push(&[1, 2, 3], 0, Some(slot), &[]);
        assert_eq!(cpu.forward(&prefix, &[]).unwrap(), Vec::<f32>::new());
        assert_eq!(cpu.kv_len(slot), 3);
    }
}

/// Weights that lie on as many even steps as a quantised file's are held exactly, four bits and five.
#[test]
fn weights_of_few_steps_lose_nothing() {
    let c = ModelConfig {
        hidden_size: 64,
        intermediate_size: 96,
        head_dim: 16,
        ..config(Family::Llama)
    };
    for levels in [16.0f32, 32.0] {
        let all = tensors(&c);
        let source = |name: &str| {
            let stepped = |x: &f32| (x * levels / 2.0).floor() / levels;
            Ok(all[name].iter().map(stepped).collect())
        };
        let open = |precision| {
            let options = CpuOptions {
                threads: 2,
                precision,
            };
            Cpu::from_tensors(&c, &source, options).unwrap()
        };
        let mut batch = PackedBatch::new();
        batch.push(&tokens(3, 5), 0, None, &[]);
        let want = logits(&mut open(Precision::F32), &batch);
        let mut int8 = open(Precision::Int8);
        assert_near(&logits(&mut int8, &batch), &want, 1e-5, "few rows");
        batch.push(&tokens(40, 6), 0, None, &[]);
        let want = logits(&mut open(Precision::F32), &batch);
        assert_near(&logits(&mut int8, &batch), &want, 1e-5, "many rows");
    }
}
