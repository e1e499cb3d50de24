//! A model small enough for tests: random weights, but every part of a real model.
//!
//! [`write_tiny`] writes a Hugging Face directory (two layers, 64 wide, a byte-level tokenizer with ChatML control
//! tokens) in milliseconds. The model's text is noise, but it exercises every layer and every path of the code. The
//! tests of the engine and of the server use it.

use crate::config::{Family, ModelConfig};
use crate::error::{Error, Result};
use crate::weights::tensors_of;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value, json};
use std::path::Path;

/// Merges beyond single bytes, so that tokens differ in length. `Ġ` is a space.
const MERGES: [(&str, &str); 22] = [
    ("t", "h"),
    ("th", "e"),
    ("i", "n"),
    ("a", "n"),
    ("e", "r"),
    ("o", "n"),
    ("r", "e"),
    ("o", "u"),
    ("s", "t"),
    ("e", "n"),
    ("an", "d"),
    ("in", "g"),
    ("Ġ", "the"),
    ("Ġ", "a"),
    ("Ġ", "s"),
    ("Ġ", "w"),
    ("Ġ", "o"),
    ("Ġ", "in"),
    ("Ġ", "and"),
    ("u", "s"),
    ("us", "er"),
    ("y", "s"),
];

const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Writes the model into `dir`, which is created if need be. The same family and seed give the same bytes.
///
/// # Errors
/// [`Error::Io`] if a file cannot be written.
pub fn write_tiny(dir: &Path, family: Family, seed: u64) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    let config = tiny_config(family);
    let end = vocabulary_size() - 1;
    write_json(dir, "config.json", &config_json(&config, end))?;
    write_json(
        dir,
        "generation_config.json",
        &json!({"eos_token_id": [end, end - 2]}),
    )?;
    write_json(dir, "tokenizer.json", &tokenizer_json())?;
    write_json(
        dir,
        "tokenizer_config.json",
        &json!({"eos_token": "<|im_end|>", "chat_template": CHATML, "tokenizer_class": "PreTrainedTokenizerFast"}),
    )?;
    write(dir, "model.safetensors", &weights(&config, seed))
}

/// The shape of the models that [`write_tiny`] writes.
pub fn tiny_config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: vocabulary_size(),
        hidden_size: 64,
        intermediate_size: 128,
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 16,
        rope_theta: 10_000.0,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: true,
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        max_position: 2048,
    }
}

fn vocabulary_size() -> usize {
    256 + MERGES.len() + CONTROL.len()
}

/// Uniform random numbers of about the size of trained weights: linear layers keep the variance of their input,
/// norms are near one, biases are small, and embeddings give logits a spread of about two.
fn weights(config: &ModelConfig, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors_of(config)
        .into_iter()
        .map(|(name, shape)| {
            let (centre, bound) = match shape[..] {
                _ if name.contains("embed_tokens") => (0.0, 0.4),
                [_, inputs] => (0.0, (3.0 / inputs as f32).sqrt()),
                _ if name.contains("norm") => (1.0, 0.2),
                _ => (0.0, 0.3),
            };
            let data = (0..shape.iter().product())
                .flat_map(|_| (centre + rng.random_range(-bound..=bound)).to_le_bytes())
                .collect();
            (name, shape, data)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data);
        (name, view.expect("the data was made to the shape"))
    });
    serialize(views, None).expect("valid tensors serialise")
}

fn config_json(c: &ModelConfig, end: usize) -> Value {
    let (model_type, class) = match c.family {
        Family::Llama => ("llama", "LlamaForCausalLM"),
        Family::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
        Family::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
    };
    json!({
        "architectures": [class],
        "model_type": model_type,
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "head_dim": c.head_dim,
        "hidden_act": "silu",
        "rope_theta": c.rope_theta,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": c.tie_word_embeddings,
        "max_position_embeddings": c.max_position,
        "eos_token_id": end,
        "torch_dtype": "float32",
    })
}

fn tokenizer_json() -> Value {
    let bytes = crate::tokenizer::alphabet().map(String::from).into_iter();
    let merged = MERGES.iter().map(|(a, b)| format!("{a}{b}"));
    let vocab: serde_json::Map<String, Value> = bytes
        .chain(merged)
        .enumerate()
        .map(|(id, text)| (text, id.into()))
        .collect();
    let first = vocab.len();
    let added: Vec<Value> = CONTROL
        .iter()
        .enumerate()
        .map(|(i, text)| {
            json!({"id": first + i, "content": text, "special": true, "single_word": false,
                   "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab,
            "merges": MERGES.iter().map(|(a, b)| json!([a, b])).collect::<Vec<_>>(),
        },
    })
}

fn write_json(dir: &Path, name: &str, value: &Value) -> Result<()> {
    write(
        dir,
        name,
        &serde_json::to_vec_pretty(value).expect("a JSON value is JSON"),
    )
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    std::fs::write(&path, bytes).map_err(|e| Error::io(path, e))
}
