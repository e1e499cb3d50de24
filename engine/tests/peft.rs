//! A model saved by transformers, with an adapter saved by PEFT: logits without and with the adapter, loss and
//! gradients equal torch's. Fixtures of `bench/peers/record_peft.py`.

use crate::common::{assert_close, fixture, reference};
use autodidact_engine::{
    Executor, Lora, LoraConfig, LoraPair, ModelConfig, ModelFiles, PackedBatch, Projection, Target,
};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<u32>,
    first_target_row: usize,
    base_logits: Vec<f32>,
    adapter_logits: Vec<f32>,
    nll: Vec<f32>,
    gradients: Vec<Gradient>,
}

#[derive(Deserialize)]
struct Gradient {
    layer: usize,
    projection: String,
    matrix: String,
    index: usize,
    gradient: f32,
}

const TOLERANCE: f32 = 1e-4;

#[test]
fn llama_with_a_peft_adapter() {
    agrees("peft_tiny/llama");
}

#[test]
fn qwen2_with_a_peft_adapter() {
    agrees("peft_tiny/qwen2");
}

fn agrees(name: &str) {
    let dir = fixture(name);
    let expected: Expected =
        serde_json::from_str(&std::fs::read_to_string(dir.join("expected.json")).unwrap()).unwrap();
    let files = ModelFiles::open(&dir).unwrap();
    let mut executor = reference(&files);
    let lora = Arc::new(read_adapter(&dir.join("adapter"), &files.config));

    let rows: Vec<usize> = (0..expected.tokens.len()).collect();
    let mut logits = |stack: &[Arc<Lora>]| {
        let mut batch = PackedBatch::new();
        batch.push(&expected.tokens, 0, None, stack);
        executor.forward(&batch, &rows).unwrap()
    };
    assert_close(
        "base logits",
        &logits(&[]),
        &expected.base_logits,
        TOLERANCE,
    );
    let adapted = logits(std::slice::from_ref(&lora));
    assert_close("logits", &adapted, &expected.adapter_logits, TOLERANCE);

    let mut batch = PackedBatch::new();
    batch.push(&expected.tokens, 0, None, std::slice::from_ref(&lora));
    let targets: Vec<Target> = (expected.first_target_row..expected.tokens.len() - 1)
        .map(|row| Target {
            row,
            token: expected.tokens[row + 1],
            weight: 1.0 / expected.nll.len() as f32,
        })
        .collect();
    let mut grads = vec![Some(lora.zeros_like())];
    let nll = executor.backward(&batch, &targets, &mut grads).unwrap();
    assert_close("nll", &nll, &expected.nll, TOLERANCE);
    let grads = grads.remove(0).unwrap();
    for g in &expected.gradients {
        let projection = Projection::from_name(&g.projection).unwrap();
        let pair = grads[g.layer][projection.index()].as_ref().unwrap();
        let ours = if g.matrix == "a" { &pair.a } else { &pair.b }[g.index];
        let what = format!("layer {} {} {}", g.layer, g.projection, g.matrix);
        assert_close(&what, &[ours], &[g.gradient], TOLERANCE);
    }
}

/// Rank 4, alpha 8, all linear layers, as the script makes it; the tensors by their PEFT names.
fn read_adapter(dir: &Path, config: &ModelConfig) -> Lora {
    let bytes = std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |layer: usize, projection: Projection, matrix: &str| -> Vec<f32> {
        let path = projection.path();
        let name = format!("base_model.model.model.layers.{layer}.{path}.lora_{matrix}.weight");
        let data = tensors.tensor(&name).unwrap().data().chunks_exact(4);
        data.map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    };
    let layers = (0..config.num_layers).map(|layer| {
        Projection::ALL.map(|p| {
            Some(LoraPair {
                a: read(layer, p, "A"),
                b: read(layer, p, "B"),
            })
        })
    });
    Lora {
        config: LoraConfig::all_linear(4, 8.0),
        layers: layers.collect(),
        extras: None,
    }
}
