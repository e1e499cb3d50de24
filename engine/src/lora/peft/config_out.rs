//! `adapter_config.json` as it is written.

use super::super::Lora;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn config_json(lora: &Lora, base_model: &str) -> Vec<u8> {
    let config = &lora.config;
    // PEFT expects a pair in every layer unless the file lists the layers that have one.
    let bare = |layer: &[Option<_>; 7]| layer.iter().all(Option::is_none);
    let layers = match lora.layers.iter().any(bare) {
        false => Value::Null,
        true => {
            let indexed = lora.layers.iter().enumerate();
            json!(
                indexed
                    .filter(|(_, l)| !bare(l))
                    .map(|(i, _)| i)
                    .collect::<Vec<_>>()
            )
        }
    };
    // PEFT and vLLM expect a whole alpha as an integer.
    let alpha = match config.alpha {
        a if a.fract() == 0.0 => json!(a as i64),
        a => json!(a),
    };
    let targets: Vec<&str> = config.targets.iter().map(|p| p.name()).collect();
    // A map sorted by key: the bytes must not depend on serde_json's features.
    let entries = BTreeMap::from([
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("auto_mapping", Value::Null),
        ("base_model_name_or_path", json!(base_model)),
        ("revision", Value::Null),
        ("inference_mode", json!(true)),
        ("r", json!(config.rank)),
        ("lora_alpha", alpha),
        ("lora_dropout", json!(0.0)),
        ("target_modules", json!(targets)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("init_lora_weights", json!(true)),
        ("use_rslora", json!(false)),
        ("use_dora", json!(false)),
        ("modules_to_save", Value::Null),
        ("layers_to_transform", layers),
        ("layers_pattern", Value::Null),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
    ]);
    let mut bytes = serde_json::to_vec_pretty(&entries).expect("plain values always serialise");
    bytes.push(b'\n');
    bytes
}
