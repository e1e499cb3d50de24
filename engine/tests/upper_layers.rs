//! Training the upper layers alone: the layers under them are computed once for each example, with the same
//! result.

use crate::common;
use crate::common::wrapped::Wrapped;
use crate::common::{assert_close, cpu, reference, tiny};
use autodidact_engine::trainer::{Candidate, step};
use autodidact_engine::{
    BackwardPass, Cpu, Example, Executor, Family, Lora, LoraConfig, ModelConfig, PackedBatch,
    Precision, Target, TrainConfig,
};

/// Forgets every hidden state.
fn forgetful(cpu: Cpu) -> impl Executor {
    let part = |cpu: &mut Cpu, pass: &mut BackwardPass| {
        pass.hidden = None;
        cpu.backward_part(pass)
    };
    Wrapped { cpu, part }
}

fn candidates(model: &ModelConfig) -> Vec<Candidate> {
    let prompt: Vec<u32> = (20..32).collect();
    let chat = |i: u32| Example::completion(&[&prompt[..], &[i]].concat(), &[i + 40, i + 41, 3]);
    let text = |i: u32| Example::all((0..9).map(|j| (i * 13 + j * j) % 90).collect());
    let examples: Vec<Example> = (0..3).map(chat).chain((0..2).map(text)).collect();
    let candidate = |first_layer, seed| {
        let config = TrainConfig {
            lora: LoraConfig::all_linear(4, 8.0),
            first_layer,
            learning_rate: 1e-2,
            epochs: 4,
            batch_size: 3,
            seed,
            ..TrainConfig::default()
        };
        Candidate::new(config, examples.clone(), None, model, 64).unwrap()
    };
    vec![candidate(1, 1), candidate(0, 2), candidate(1, 3)]
}

fn train(executor: &mut dyn Executor) -> Vec<Lora> {
    let mut candidates = candidates(executor.config());
    while candidates.iter().any(|c| !c.finished()) {
        step(executor, &mut candidates, 40).unwrap();
    }
    candidates.into_iter().map(Candidate::into_lora).collect()
}

fn numbers(lora: &Lora) -> Vec<f32> {
    let pairs = lora.layers.iter().flatten().flatten();
    pairs
        .flat_map(|p| p.a.iter().chain(&p.b))
        .copied()
        .collect()
}

#[test]
fn kept_states_change_no_result() {
    for family in common::FAMILIES {
        let files = tiny(family);
        let kept = train(&mut cpu(&files, Precision::F32));
        let forgot = train(&mut forgetful(cpu(&files, Precision::F32)));
        let defined = train(&mut reference(&files));
        for (kept, (forgot, defined)) in kept.iter().zip(forgot.iter().zip(&defined)) {
            assert_eq!(kept.lowest_layer(), forgot.lowest_layer());
            assert_close("made again", &numbers(kept), &numbers(forgot), 1e-4);
            assert_close("by definition", &numbers(kept), &numbers(defined), 2e-3);
        }
        assert!(kept[0].layers[0].iter().all(Option::is_none));
        assert!(kept[1].layers[0].iter().all(Option::is_some));
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let files = tiny(Family::Llama);
    let mut executor = cpu(&files, Precision::F32);
    let lora = Lora::init_upper(LoraConfig::all_linear(2, 2.0), &files.config, 1, 0);
    let lora = std::sync::Arc::new(lora);
    let pass = |layer, states| {
        let mut batch = PackedBatch::new();
        batch.push(&[1, 2, 3], 0, None, std::slice::from_ref(&lora));
        let target = Target {
            row: 1,
            token: 3,
            weight: 1.0,
        };
        let hidden = autodidact_engine::HiddenStates { layer, states };
        let grads = vec![Some(lora.zeros_like())];
        let mut pass = BackwardPass::new(batch, vec![target], grads);
        pass.hidden = Some(hidden);
        pass
    };
    assert!(executor.backward_part(&mut pass(1, vec![0.0; 7])).is_err());
    assert!(executor.backward_part(&mut pass(99, Vec::new())).is_err());
    let mut right = pass(1, Vec::new());
    while !executor.backward_part(&mut right).unwrap() {}
    let found = right.hidden.unwrap().states.len();
    assert_eq!(found, 3 * files.config.hidden_size);
}
