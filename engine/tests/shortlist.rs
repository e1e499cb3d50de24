//! Softmaxes over a part of the vocabulary: what a shortlist computes, and when a training takes one.

use crate::common::wrapped::Wrapped;
use crate::common::{assert_close, cpu, random_lora, reference, tiny};
use autodidact_engine::trainer::{Candidate, step};
use autodidact_engine::{
    BackwardPass, Cpu, Example, Executor, Family, Likely, Lora, LoraConfig, LoraGrads, ModelConfig,
    PackedBatch, Precision, Shortlist, Target, TrainConfig, Vocabulary,
};
use std::sync::Arc;

fn target(row: usize, token: u32) -> Target {
    Target {
        row,
        token,
        weight: 0.5,
    }
}

fn numbers(grads: &[Option<LoraGrads>]) -> Vec<f32> {
    let pairs = grads.iter().flatten().flatten().flatten().flatten();
    pairs
        .flat_map(|p| p.a.iter().chain(&p.b))
        .copied()
        .collect()
}

/// Two sequences under two adapters, seven rows.
fn batch(config: &ModelConfig) -> (PackedBatch, Vec<Option<LoraGrads>>) {
    let mut batch = PackedBatch::new();
    for seed in 0..2 {
        let tokens: Vec<u32> = (0..3 + seed).map(|i| 20 + 7 * (seed + i) as u32).collect();
        batch.push(
            &tokens,
            0,
            None,
            &[random_lora(config, 2, 4.0, seed as u64)],
        );
    }
    let grads = batch.adapters.iter().map(|a| Some(a.zeros_like()));
    let grads = grads.collect();
    (batch, grads)
}

fn list(tokens: &[u32]) -> Vocabulary {
    let tokens = tokens.iter().copied().collect();
    Vocabulary::Shortlist(Arc::new(Shortlist::new(tokens)))
}

fn run(executor: &mut dyn Executor, mut pass: BackwardPass) -> BackwardPass {
    while !executor.backward_part(&mut pass).unwrap() {}
    pass
}

/// `nll(target) over the shortlist = nll(target) − nll(any token of the shortlist)`, and so are the gradients.
#[test]
fn a_shortlist_is_a_softmax_over_its_tokens() {
    let files = tiny(Family::Llama);
    let config = &files.config;
    let shortlist: Vec<u32> = (0..config.vocab_size as u32).step_by(3).collect();
    let short = [target(0, 33), target(1, 33), target(2, 90)];
    let whole = [target(4, 8), target(6, 77)];
    let targets = [&short[..], &whole[..]].concat();
    let (batch, zeros) = batch(config);

    // By definition: the targets, less the rows' sums over the shortlist as the tokens that nobody names.
    let mut defined = reference(&files);
    let mut grads = zeros.clone();
    let mut nll = defined.backward(&batch, &targets, &mut grads).unwrap();
    let left_out: Vec<u32> = (0..config.vocab_size as u32)
        .filter(|t| t % 3 != 0)
        .collect();
    for (place, t) in short.iter().enumerate() {
        let named = left_out.iter().map(|token| Target {
            weight: 0.0,
            ..target(t.row, *token)
        });
        let others = [target(t.row, Target::OTHERS)];
        let sum: Vec<Target> = named.chain(others).collect();
        let mut of_sum = zeros.clone();
        let of_list = defined.backward(&batch, &sum, &mut of_sum).unwrap();
        nll[place] -= of_list.last().unwrap();
        let mine = grads.iter_mut().flatten().flatten().flatten().flatten();
        for (pair, of_sum) in mine.zip(of_sum.iter().flatten().flatten().flatten().flatten()) {
            let sums = of_sum.a.iter().chain(&of_sum.b);
            let all = pair.a.iter_mut().chain(&mut pair.b);
            all.zip(sums).for_each(|(a, b)| *a -= b);
        }
    }

    for (precision, tolerance) in [
        (Precision::F32, 1e-4),
        (Precision::Bf16, 0.15),
        (Precision::Int8, 0.15),
    ] {
        let mut pass = BackwardPass::new(batch.clone(), targets.clone(), zeros.clone());
        pass.vocabularies = vec![(0..3, list(&shortlist)), (3..5, Vocabulary::Whole)];
        let pass = run(&mut cpu(&files, precision), pass);
        assert_close("nll", &pass.nll, &nll, tolerance);
        assert_close(
            "gradient",
            &numbers(&pass.grads),
            &numbers(&grads),
            tolerance,
        );
    }
}

#[test]
fn likely_tokens_are_watched() {
    let files = tiny(Family::Llama);
    let (batch, grads) = batch(&files.config);
    let mut executor = cpu(&files, Precision::F32);
    let targets = vec![target(1, 5), target(4, 8)];
    let mut pass = BackwardPass::new(batch.clone(), targets, grads);
    pass.vocabularies = vec![
        (0..1, Vocabulary::Watched(Likely::default())),
        (1..2, Vocabulary::Whole),
    ];
    let pass = run(&mut executor, pass);
    let Vocabulary::Watched(likely) = &pass.vocabularies[0].1 else {
        panic!("{:?}", pass.vocabularies);
    };
    // The second row's logits.
    let mut served = PackedBatch::new();
    let slot = executor.kv_new();
    served.push(&batch.tokens[..2], 0, Some(slot), &batch.adapters[..1]);
    let logits = executor.forward(&served, &[1]).unwrap();
    let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
    let share = |token: u32| f64::from(logits[token as usize]).exp() / sum;
    let above: Vec<u32> = (0..logits.len() as u32)
        .filter(|t| share(*t) >= 1e-3)
        .collect();
    assert!(above.len() > 20 && above.len() + 20 < logits.len());
    assert!(above.iter().all(|t| likely.tokens.contains(t)));
    assert!(likely.tokens.contains(&5) && likely.tokens.len() <= above.len() + 1);
    let held: f64 = above.iter().map(|t| share(*t)).sum();
    assert!((likely.left_out as f64 / 1e6 - (1.0 - held)).abs() < 1e-4);
    assert_eq!(likely.rows, 1);
    assert!(matches!(pass.vocabularies[1].1, Vocabulary::Whole));
}

#[test]
fn vocabularies_that_do_not_fit_are_refused() {
    let files = tiny(Family::Llama);
    let mut executor = cpu(&files, Precision::F32);
    let targets = vec![target(0, 5), target(1, 8), target(2, 9), target(2, 10)];
    let mut pass = |vocabularies: Vec<(std::ops::Range<usize>, Vocabulary)>| {
        let (batch, grads) = batch(&files.config);
        let mut pass = BackwardPass::new(batch, targets.clone(), grads);
        pass.vocabularies = vocabularies;
        executor.backward_part(&mut pass).map(|_| ())
    };
    let whole = || Vocabulary::Whole;
    pass(vec![
        (0..1, whole()),
        (1..2, list(&[1, 8])),
        (2..4, whole()),
    ])
    .unwrap();
    let watched = || Vocabulary::Watched(Likely::default());
    for wrong in [
        vec![(0..1, whole())],
        vec![(1..4, whole()), (0..1, whole())],
        vec![(0..1, whole()), (1..5, whole())],
        vec![(0..1, whole()), (1..2, list(&[1, 9])), (2..4, whole())],
        vec![
            (0..1, whole()),
            (1..2, list(&[8, 100_000])),
            (2..4, whole()),
        ],
        // Soft targets, and a row in two runs.
        vec![(0..2, whole()), (2..4, watched())],
        vec![(0..3, watched()), (3..4, whole())],
    ] {
        assert!(pass(wrong.clone()).is_err(), "{wrong:?}");
    }
    // The definition knows no shortlist, and says so.
    let (batch, grads) = batch(&files.config);
    let mut pass = BackwardPass::new(batch, vec![target(0, 5)], grads);
    pass.vocabularies = vec![(0..1, list(&[5]))];
    assert!(reference(&files).backward_part(&mut pass).is_err());
}

/// What is left out of a watched gradient is small.
#[test]
fn a_watched_gradient_is_nearly_the_whole_one() {
    let files = tiny(Family::Llama);
    let (batch, zeros) = batch(&files.config);
    let targets = vec![target(0, 5), target(1, 33), target(4, 8), target(5, 200)];
    for (precision, tolerance) in [
        (Precision::F32, 1e-3),
        (Precision::Bf16, 2e-2),
        (Precision::Int8, 2e-2),
    ] {
        let mut executor = cpu(&files, precision);
        let whole = BackwardPass::new(batch.clone(), targets.clone(), zeros.clone());
        let mut watched = BackwardPass::new(batch.clone(), targets.clone(), zeros.clone());
        // Two runs in one block of the head.
        watched.vocabularies = [0..2, 2..4]
            .map(|run| (run, Vocabulary::Watched(Likely::default())))
            .into();
        let (whole, watched) = (run(&mut executor, whole), run(&mut executor, watched));
        assert_eq!(whole.nll, watched.nll);
        let (exact, near) = (numbers(&whole.grads), numbers(&watched.grads));
        assert!(exact.iter().any(|g| g.abs() > 10.0 * tolerance));
        assert_close("gradient", &near, &exact, tolerance);
        assert!(
            matches!(&watched.vocabularies[..], [(_, Vocabulary::Watched(a)), (_, Vocabulary::Watched(b))]
            if a.rows == 2 && b.rows == 2 && b.tokens.contains(&200) && a.tokens.contains(&33))
        );
    }
}

/// Whatever is served between the parts: the same bits.
#[test]
fn a_pass_in_parts_is_the_whole() {
    let files = tiny(Family::Llama);
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        for vocabulary in [Vocabulary::Watched(Likely::default()), list(&[0, 5, 9, 33])] {
            let [quiet, serving] = [false, true].map(|serving| {
                let (batch, grads) = batch(&files.config);
                let targets = vec![target(0, 5), target(1, 33), target(4, 9)];
                let mut pass = BackwardPass::new(batch, targets, grads);
                pass.vocabularies = vec![(0..3, vocabulary.clone())];
                let mut cpu = cpu(&files, precision);
                let slot = cpu.kv_new();
                while !cpu.backward_part(&mut pass).unwrap() {
                    let mut other = PackedBatch::new();
                    let start = cpu.kv_len(slot);
                    other.push(&[7, 40, 3], start, Some(slot), &pass.batch.adapters[..1]);
                    if serving {
                        cpu.forward(&other, &[2]).unwrap();
                    }
                }
                pass
            });
            assert_eq!(quiet.nll, serving.nll);
            assert_eq!(quiet.grads, serving.grads);
        }
    }
}

/// Trains the candidates. Returns the size of each pass's shortlist.
fn train(cpu: Cpu, candidates: &mut [Candidate], budget: usize) -> Vec<Option<usize>> {
    let mut sizes = Vec::new();
    let part = |cpu: &mut Cpu, pass: &mut BackwardPass| {
        let done = cpu.backward_part(pass)?;
        if done {
            let size = |vocabulary: &Vocabulary| match vocabulary {
                Vocabulary::Shortlist(list) => Some(list.tokens().len()),
                _ => None,
            };
            sizes.extend(pass.vocabularies.iter().map(|(_, v)| size(v)));
        }
        Ok(done)
    };
    let mut spy = Wrapped { cpu, part };
    while candidates.iter().any(|c| !c.finished()) {
        step(&mut spy, candidates, budget).unwrap();
    }
    sizes
}

/// An adapter trained on three sequences, the losses, and the sizes of its shortlists.
fn trained(
    epochs: usize,
    shortlist: bool,
    init: Option<&Lora>,
) -> (Lora, Vec<f32>, Vec<Option<usize>>) {
    let files = tiny(Family::Llama);
    let text = |i: u32| Example::all((0..8).map(|j| (i * 13 + j * j) % 90).collect());
    let config = TrainConfig {
        lora: LoraConfig::all_linear(8, 16.0),
        learning_rate: 5e-3,
        epochs,
        batch_size: 2,
        seed: 5,
        shortlist,
        ..TrainConfig::default()
    };
    let examples: Vec<Example> = (0..3).map(text).collect();
    let candidate = Candidate::new(config, examples, init, &files.config, 64).unwrap();
    let mut candidate = [candidate];
    let sizes = train(cpu(&files, Precision::F32), &mut candidate, 100);
    let [candidate] = candidate;
    let losses = candidate.losses().to_vec();
    (candidate.into_lora(), losses, sizes)
}

#[test]
fn later_epochs_are_over_the_likely_tokens() {
    let (learned, _, lists) = trained(60, false, None);
    assert!(lists.iter().all(Option::is_none));
    // A model that knows the sequences finds few tokens likely.
    let (short, losses, lists) = trained(4, true, Some(&learned));
    let vocabulary = tiny(Family::Llama).config.vocab_size;
    assert_eq!(lists[..2], [None, None]);
    let made = lists[2].expect("a shortlist after the first epoch");
    assert!(made >= 15 && made <= vocabulary / 8, "{made}");
    assert!(lists[2..].iter().all(|list| *list == Some(made)));
    let (whole, exact, _) = trained(4, false, Some(&learned));
    assert_close("losses", &losses, &exact, 0.05);
    let of = |lora: &Lora| numbers(&[Some(lora.layers.clone())]);
    assert_close("adapters", &of(&short), &of(&whole), 0.05);
    assert_ne!(of(&short), of(&whole));
}

#[test]
fn a_model_that_finds_everything_likely_keeps_the_whole_vocabulary() {
    let (_, _, lists) = trained(3, true, None);
    assert!(lists.iter().all(Option::is_none), "{lists:?}");
}

/// A candidate's result depends on its own examples alone, and not on how a step is cut.
#[test]
fn company_and_cutting_change_no_shortlist() {
    let files = tiny(Family::Llama);
    let (learned, _, _) = trained(60, false, None);
    let candidate = |seed, start: u32| {
        let text = |i: u32| Example::all((0..8).map(|j| (i * 13 + j * j) % 90).collect());
        let config = TrainConfig {
            learning_rate: 5e-3,
            epochs: 4,
            batch_size: 2,
            seed,
            shortlist: true,
            ..TrainConfig::default()
        };
        let examples: Vec<Example> = (start..start + 2).map(text).collect();
        Candidate::new(config, examples, Some(&learned), &files.config, 64).unwrap()
    };
    let run = |mut candidates: Vec<Candidate>, budget| {
        let sizes = train(cpu(&files, Precision::F32), &mut candidates, budget);
        let loras = candidates.into_iter().map(Candidate::into_lora);
        (loras.collect::<Vec<_>>(), sizes)
    };
    let alone = [candidate(1, 0), candidate(2, 1)].map(|c| run(vec![c], 100));
    assert!(
        alone
            .iter()
            .any(|(_, lists)| lists.iter().any(Option::is_some))
    );
    for budget in [1, 9, 100] {
        let (together, _) = run(vec![candidate(1, 0), candidate(2, 1)], budget);
        for (together, (alone, _)) in together.iter().zip(&alone) {
            let of = |lora: &Lora| numbers(&[Some(lora.layers.clone())]);
            assert_close("adapters", &of(together), &of(&alone[0]), 1e-5);
        }
    }
}
