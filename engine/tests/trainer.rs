//! Training steps: what a candidate's result depends on, and what it does not.

use crate::common::{cpu, tiny};
use crate::scripted::{Scripted, files};
use autodidact_engine::trainer::{Candidate, step};
use autodidact_engine::{
    Error, Example, Family, Lora, LoraConfig, LoraGrads, Precision, Projection, Schedule,
    TrainConfig,
};

const WINDOW: usize = 64;

fn examples(n: u32) -> Vec<Example> {
    let tokens = |i: u32| (0..3 + i % 5).map(|j| 3 + (i * 7 + j * j) % 90).collect();
    (0..n).map(|i| Example::all(tokens(i))).collect()
}

fn config(rank: usize, learning_rate: f32, seed: u64) -> TrainConfig {
    TrainConfig {
        lora: LoraConfig {
            rank,
            alpha: 2.0 * rank as f32,
            targets: vec![Projection::Q, Projection::Down],
        },
        learning_rate,
        epochs: 3,
        batch_size: 2,
        seed,
        ..TrainConfig::default()
    }
}

fn candidate(config: TrainConfig, examples: Vec<Example>) -> Candidate {
    Candidate::new(config, examples, None, &files().config, WINDOW).unwrap()
}

fn train(mut candidates: Vec<Candidate>, budget: usize) -> Vec<(Lora, Vec<f32>)> {
    let mut executor = Scripted::new();
    while candidates.iter().any(|c| !c.finished()) {
        let unfinished = candidates.iter().filter(|c| !c.finished()).count();
        let reports = step(&mut executor, &mut candidates, budget).unwrap();
        assert_eq!(reports.len(), unfinished);
    }
    let parts = |c: Candidate| (c.lora().clone(), c.losses().to_vec());
    candidates.into_iter().map(parts).collect()
}

fn difference(a: &LoraGrads, b: &LoraGrads) -> f32 {
    let pairs = a
        .iter()
        .flatten()
        .flatten()
        .zip(b.iter().flatten().flatten());
    pairs
        .flat_map(|(x, y)| x.a.iter().zip(&y.a).chain(x.b.iter().zip(&y.b)))
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f32::max)
}

#[test]
fn company_and_cutting_change_no_result() {
    let wide = || {
        let config = TrainConfig {
            weight_decay: 0.1,
            schedule: Schedule::Cosine,
            warmup_steps: 2,
            ..config(3, 3e-2, 1)
        };
        candidate(config, examples(7))
    };
    let narrow = || {
        let config = TrainConfig {
            epochs: 2,
            batch_size: 3,
            lora_plus_ratio: 4.0,
            ..config(1, 1e-2, 2)
        };
        candidate(config, examples(4))
    };
    let alone = [train(vec![wide()], 1000), train(vec![narrow()], 1000)].concat();
    for budget in [1, 9, 1000] {
        let together = train(vec![wide(), narrow()], budget);
        for ((lora, losses), (want, want_losses)) in together.iter().zip(&alone) {
            assert!(difference(&lora.layers, &want.layers) < 1e-5);
            assert_eq!(losses.len(), want_losses.len());
            for (a, b) in losses.iter().zip(want_losses) {
                assert!((a - b).abs() < 1e-5, "{a} instead of {b}");
            }
        }
    }
}

#[test]
fn it_learns_what_is_supervised() {
    let config = TrainConfig {
        epochs: 60,
        ..config(4, 5e-2, 3)
    };
    let example = Example::completion(&[5, 9], &[40, 41]);
    assert_eq!(example.targets(), 2);
    assert_eq!(example.inputs(), [5, 9, 40]);
    let (lora, losses) = train(vec![candidate(config.clone(), vec![example])], 100).remove(0);
    // The scripted adapter moves every 64th token alike: it cannot get below about ln 4.
    assert!(losses[0] > 5.0 && losses[59] < 1.5, "{losses:?}");
    // Token 5 was only read: its column of A keeps the values it was drawn with.
    let start = Lora::init(config.lora, &files().config, config.seed);
    let columns = |lora: &Lora, token: usize| {
        let pair = lora.layers[0][0].as_ref().unwrap();
        let inputs = pair.a.len() / 4;
        (0..4)
            .map(|k| pair.a[k * inputs + token])
            .collect::<Vec<_>>()
    };
    assert_eq!(columns(&lora, 5), columns(&start, 5));
    assert_ne!(columns(&lora, 9), columns(&start, 9));
}

#[test]
fn continuing_keeps_the_shape_of_the_start() {
    let model = &files().config;
    let init = Lora::random(LoraConfig::all_linear(2, 6.0), model, 9);
    let config = config(5, 0.0, 1);
    let candidate = Candidate::new(config, examples(2), Some(&init), model, WINDOW).unwrap();
    assert_eq!(candidate.config().lora, init.config);
    // At rate 0 nothing moves.
    assert_eq!(train(vec![candidate], 100)[0].0, init);
}

#[test]
fn kept_ranks_stay_and_new_ones_stay_outside_of_them() {
    let model = &files().config;
    let old = Lora::random(config(3, 0.0, 1).lora, model, 9);
    let init = old.with_added_rank(2, 5);
    let config = TrainConfig {
        kept_ranks: 3,
        epochs: 30,
        ..config(2, 2e-2, 1)
    };
    let start = Candidate::new(config, examples(4), Some(&init), model, WINDOW).unwrap();
    let (lora, losses) = train(vec![start], 100).remove(0);
    // An epoch is two steps.
    let (first, last) = (&losses[..2], &losses[losses.len() - 2..]);
    let sum = |epoch: &[f32]| epoch.iter().sum::<f32>();
    assert!(sum(last) < sum(first) - 1.0, "{losses:?}");
    let pairs = lora.layers.iter().flatten().flatten();
    let before = old.layers.iter().flatten().flatten();
    for (pair, old) in pairs.zip(before) {
        let inputs = old.a.len() / 3;
        let (kept, new) = pair.a.split_at(3 * inputs);
        assert_eq!(kept, old.a);
        for (row, old) in pair.b.chunks(5).zip(old.b.chunks(3)) {
            assert_eq!(row[..3], *old);
        }
        for row in new.chunks(inputs) {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!(length > 0.1);
            for old in kept.chunks(inputs) {
                let along: f32 = row.iter().zip(old).map(|(x, y)| x * y).sum();
                assert!(along.abs() < 1e-4 * length, "{along} of {length}");
            }
        }
    }
}

#[test]
fn ranks_are_kept_only_where_others_are_left_and_nothing_shrinks_them() {
    let refused = |change: fn(&mut TrainConfig)| {
        let mut config = config(2, 0.0, 1);
        change(&mut config);
        let refused = Candidate::new(config, examples(2), None, &files().config, WINDOW);
        refused.unwrap_err().to_string()
    };
    assert!(refused(|c| c.kept_ranks = 2).contains("below the adapter's rank"));
    let decay = |c: &mut TrainConfig| (c.kept_ranks, c.weight_decay) = (1, 0.1);
    assert!(refused(decay).contains("weight_decay"));
}

#[test]
fn a_seed_fixes_the_result() {
    let run = |seed| train(vec![candidate(config(2, 1e-2, seed), examples(9))], 1000);
    assert_eq!(run(4), run(4));
    assert_ne!(run(4)[0].1, run(5)[0].1);
}

#[test]
fn wrong_examples_are_named() {
    let model = &files().config;
    let refuse = |example: Example| {
        let examples = vec![Example::all(vec![1, 2]), example];
        Candidate::new(config(2, 1e-2, 0), examples, None, model, WINDOW).unwrap_err()
    };
    let unsupervised = Example::completion(&[1, 2, 3], &[]);
    let message = refuse(unsupervised).to_string();
    assert_eq!(message, "training example 1 has no supervised token");
    let outside = refuse(Example::all(vec![1, 1_000_000])).to_string();
    assert!(outside.contains("token 1000000"), "{outside}");
    let long = refuse(Example::all(vec![1; WINDOW + 1]));
    assert!(matches!(
        long,
        Error::TooLong {
            asked: 65,
            window: 64
        }
    ));
    let first = Example {
        tokens: vec![1, 2],
        supervised: vec![true, true],
        soft: Vec::new(),
    };
    assert!(refuse(first).to_string().contains("first token"));
    let soft = |soft: Vec<Vec<(u32, f32)>>| Example {
        soft,
        ..Example::all(vec![1, 2])
    };
    let short = refuse(soft(vec![vec![(1, 1.0)]])).to_string();
    assert!(short.contains("2 tokens but 1 distributions"), "{short}");
    for wrong in [vec![(1, 0.6), (2, 0.6)], vec![(1, 1.5), (2, -0.5)]] {
        let message = refuse(soft(vec![vec![], wrong])).to_string();
        assert!(message.contains("distribution"), "{message}");
    }
}

#[test]
fn a_soft_target_of_one_token_is_that_token() {
    let hard = vec![Example::all(vec![1, 2, 3, 4]), Example::all(vec![4, 3, 2])];
    let soft = |mut example: Example| {
        let one = |t: &u32| vec![(*t, 1.0)];
        example.soft = example.tokens.iter().map(one).collect();
        example
    };
    let train = |examples: Vec<Example>| {
        let mut executor = Scripted::new();
        let mut candidates = vec![candidate(config(2, 1e-2, 3), examples)];
        while !candidates[0].finished() {
            step(&mut executor, &mut candidates, 1000).unwrap();
        }
        (
            candidates[0].losses().to_vec(),
            candidates.remove(0).into_lora(),
        )
    };
    let known = train(hard.clone());
    assert_eq!(train(hard.iter().cloned().map(soft).collect()), known);
    // Two halves are the mean of two losses.
    let mut halves = hard.clone();
    halves[0].soft = vec![vec![], vec![(2, 0.5), (7, 0.5)], vec![], vec![]];
    assert_ne!(train(halves).0[0], known.0[0]);
}

#[test]
fn a_candidate_that_diverges_is_no_result() {
    let sound = || candidate(config(2, 1e-2, 1), examples(4));
    let wild = |rate| candidate(config(2, rate, 1), examples(4));
    let fails = |mut candidates: Vec<Candidate>| {
        let mut executor = Scripted::new();
        loop {
            assert!(candidates.iter().any(|c| !c.finished()), "it ended well");
            if let Err(error) = step(&mut executor, &mut candidates, 1000) {
                return error;
            }
        }
    };
    // After the first update the products overflow.
    let error = fails(vec![sound(), wild(1e30)]);
    let message = error.to_string();
    assert!(matches!(error, Error::Diverged { candidate: 1, step, .. } if step > 0));
    assert!(
        message.contains("of candidate 1 (learning rate 1"),
        "{message}"
    );
    assert!(message.ends_with("lower the learning rate"), "{message}");
    // A single step: its loss is sound, the weights after it are not.
    let single = TrainConfig {
        epochs: 1,
        batch_size: 4,
        lora_plus_ratio: 8.0,
        ..config(2, f32::MAX, 1)
    };
    let error = fails(vec![candidate(single, examples(4))]);
    assert!(
        matches!(
            error,
            Error::Diverged {
                candidate: 0,
                step: 0,
                ..
            }
        ),
        "{error}"
    );
}

/// The losses of a tiny model's adapter that learns three sequences by heart.
fn by_heart(early_stop: Option<f32>, soft: bool) -> Vec<f32> {
    let files = tiny(Family::Llama);
    let mut executor = cpu(&files, Precision::F32);
    let text = |i: u32| {
        let mut example = Example::all((0..8).map(|j| (i * 13 + j * j) % 90).collect());
        if soft {
            example.soft = example.tokens.iter().map(|t| vec![(*t, 0.9)]).collect();
        }
        example
    };
    let config = TrainConfig {
        lora: LoraConfig::all_linear(8, 16.0),
        learning_rate: 2e-2,
        epochs: 40,
        early_stop,
        batch_size: 2,
        seed: 5,
        ..TrainConfig::default()
    };
    let examples: Vec<Example> = (0..3).map(text).collect();
    let model = &files.config;
    let mut candidate = [Candidate::new(config, examples, None, model, WINDOW).unwrap()];
    while !candidate[0].finished() {
        step(&mut executor, &mut candidate, 100).unwrap();
    }
    candidate[0].losses().to_vec()
}

#[test]
fn training_ends_after_the_epoch_that_learned_enough() {
    let all = by_heart(None, false);
    assert_eq!(all.len(), 80);
    let ended = by_heart(Some(1.0), false);
    assert!(ended.len() < 60, "{ended:?}");
    // In the first epoch of two steps nothing rests, so it is the same training.
    assert_eq!(ended[..2], all[..2]);
    // A mean loss of ln 2 or more cannot come from targets that all have more than one half.
    assert!(
        ended
            .last()
            .is_some_and(|loss| *loss < std::f32::consts::LN_2),
        "{ended:?}"
    );
    assert!(by_heart(Some(0.3), false).len() < ended.len());
    assert_eq!(by_heart(Some(0.5), true).len(), 80);
}

#[test]
fn a_share_that_no_epoch_can_reach_is_refused() {
    for share in [0.0, 1.1, f32::NAN] {
        let config = TrainConfig {
            early_stop: Some(share),
            ..config(2, 1e-3, 0)
        };
        let refused = Candidate::new(config, examples(2), None, &files().config, WINDOW);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("early_stop"), "{message}");
    }
}
