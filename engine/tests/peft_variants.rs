//! Adapters of every kind that PEFT saves and this engine reads: the logits equal PEFT's. Fixtures of
//! `bench/peers/record_peft_variants.py`.

use crate::common::{assert_close, cpu, fixture, random_lora, reference};
use autodidact_engine::lora::peft;
use autodidact_engine::{Executor, Lora, ModelFiles, PackedBatch, Precision, Result, Target};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Deserialize)]
struct Expected {
    base: String,
    tokens: Vec<u32>,
    /// The number of last rows that were recorded.
    rows: usize,
    logits: Vec<f32>,
}

const TOLERANCE: f32 = 1e-4;

struct Case {
    name: String,
    expected: Expected,
    files: ModelFiles,
    lora: Arc<Lora>,
}

fn cases() -> Vec<Case> {
    let mut directories: Vec<PathBuf> = std::fs::read_dir(fixture("peft_variants"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    directories.sort();
    assert!(directories.len() >= 20, "{directories:?}");
    directories.iter().map(|d| case(d)).collect()
}

fn case(directory: &Path) -> Case {
    let name = directory.file_name().unwrap().to_str().unwrap().to_string();
    let expected = std::fs::read(directory.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let files = ModelFiles::open(&fixture(&format!("peft_tiny/{}", expected.base))).unwrap();
    let read = peft::load_dir(directory).unwrap();
    let lora = peft::from_files(&read.config_json, &read.safetensors, &files.config)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    Case {
        name,
        expected,
        files,
        lora: Arc::new(lora),
    }
}

impl Case {
    fn last_rows(&self) -> Vec<usize> {
        let n = self.expected.tokens.len();
        (n - self.expected.rows..n).collect()
    }

    /// The logits of the last rows, in a batch beside the base and a plain adapter.
    fn logits(&self, executor: &mut dyn Executor) -> Vec<f32> {
        let mut batch = PackedBatch::new();
        let tokens = &self.expected.tokens;
        let plain = random_lora(&self.files.config, 3, 6.0, 1);
        batch.push(&tokens[..5], 0, None, &[]);
        batch.push(&tokens[..3], 0, None, std::slice::from_ref(&plain));
        let rows = batch.push(tokens, 0, None, std::slice::from_ref(&self.lora));
        batch.push(&tokens[..6], 0, None, &[]);
        let last: Vec<usize> = rows.skip(tokens.len() - self.expected.rows).collect();
        executor.forward(&batch, &last).unwrap()
    }
}

#[test]
fn the_reference_computes_what_peft_computes() {
    for case in cases() {
        let logits = case.logits(&mut reference(&case.files));
        assert_close(&case.name, &logits, &case.expected.logits, TOLERANCE);
    }
}

#[test]
fn the_processor_computes_what_peft_computes() {
    for case in cases() {
        let logits = case.logits(&mut cpu(&case.files, Precision::F32));
        assert_close(&case.name, &logits, &case.expected.logits, TOLERANCE);
        // With coarser weights the same, as near as those are.
        for precision in [Precision::Int8, Precision::Bf16] {
            let logits = case.logits(&mut cpu(&case.files, precision));
            let squares = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
            let pairs = logits.iter().zip(&case.expected.logits);
            let difference: Vec<f32> = pairs.map(|(x, y)| x - y).collect();
            let share = (squares(&difference) / squares(&case.expected.logits)).sqrt();
            assert!(
                share < 0.05,
                "{} in {precision:?}: off by {share}",
                case.name
            );
        }
    }
}

#[test]
fn scores_and_generation_go_through_the_same_tables() {
    for case in cases().into_iter().filter(|c| c.lora.extras.is_some()) {
        let mut executor = cpu(&case.files, Precision::F32);
        let stack = std::slice::from_ref(&case.lora);
        let tokens = &case.expected.tokens;
        // A prompt, then token by token over its slot.
        let slot = executor.kv_new();
        let mut batch = PackedBatch::new();
        batch.push(&tokens[..tokens.len() - 1], 0, Some(slot), stack);
        executor.forward(&batch, &[]).unwrap();
        let mut batch = PackedBatch::new();
        batch.push(
            &tokens[tokens.len() - 1..],
            tokens.len() - 1,
            Some(slot),
            stack,
        );
        let logits = executor.forward(&batch, &[0]).unwrap();
        let want = &case.expected.logits[case.expected.logits.len() - logits.len()..];
        assert_close(&case.name, &logits, want, TOLERANCE);

        let mut batch = PackedBatch::new();
        batch.push(tokens, 0, None, stack);
        let rows = case.last_rows();
        let targets: Vec<Target> = rows
            .iter()
            .map(|row| Target {
                row: *row,
                token: 5,
                weight: 1.0,
            })
            .collect();
        let by_row = case
            .expected
            .logits
            .chunks_exact(case.files.config.vocab_size);
        let want: Vec<f32> = by_row
            .map(|l| l[5] - l.iter().map(|x| x.exp()).sum::<f32>().ln())
            .collect();
        let scored = |executor: &mut dyn Executor| -> Vec<f32> {
            let scores = executor.score(&batch, &targets).unwrap();
            scores.iter().map(|s| s.logprob).collect()
        };
        assert_close(&case.name, &scored(&mut executor), &want, TOLERANCE);
        assert_close(
            &case.name,
            &scored(&mut reference(&case.files)),
            &want,
            TOLERANCE,
        );
    }
}

#[test]
fn what_is_more_than_pairs_is_not_trained_and_not_stacked() {
    for case in cases().into_iter().filter(|c| c.lora.extras.is_some()) {
        let named = |result: Result<Vec<f32>>, said: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(said), "{}: {error}", case.name);
            let names = ["use_dora", "lora_bias", "embed_tokens", "lm_head"];
            assert!(
                names.iter().any(|n| error.contains(n)),
                "{}: {error}",
                case.name
            );
        };
        let plain = random_lora(&case.files.config, 2, 4.0, 1);
        let executors: [&mut dyn Executor; 2] = [
            &mut reference(&case.files),
            &mut cpu(&case.files, Precision::F32),
        ];
        for executor in executors {
            let mut batch = PackedBatch::new();
            batch.push(&[1, 2, 3], 0, None, &[case.lora.clone(), plain.clone()]);
            named(executor.forward(&batch, &[2]), "stacked");
            let mut batch = PackedBatch::new();
            batch.push(&[1, 2, 3], 0, None, std::slice::from_ref(&case.lora));
            let target = Target {
                row: 1,
                token: 3,
                weight: 1.0,
            };
            let mut grads = vec![Some(case.lora.zeros_like())];
            named(executor.backward(&batch, &[target], &mut grads), "training");
        }
    }
}
