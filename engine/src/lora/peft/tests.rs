//! Tests of reading and writing the two files.

use super::*;
use crate::config::Family;
use crate::config::ModelConfig;
use crate::lora::LoraConfig;
use safetensors::SafeTensors;
use serde_json::{Value, json};

fn model() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 32,
        hidden_size: 8,
        intermediate_size: 12,
        num_layers: 2,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 4,
        rope_theta: 1e4,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        tie_word_embeddings: true,
        qkv_bias: false,
        qk_norm: false,
        max_position: 64,
    }
}

fn lora() -> Lora {
    Lora::random(LoraConfig::all_linear(2, 4.0), &model(), 3)
}

fn read(files: &PeftFiles) -> Result<Lora> {
    from_files(&files.config_json, &files.safetensors, &model())
}

/// Reads the adapter with some keys of its configuration changed.
fn with(changes: Value) -> Result<Lora> {
    let mut files = to_files(&lora(), "base");
    let mut config: Value = serde_json::from_slice(&files.config_json).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    files.config_json = serde_json::to_vec(&config).unwrap();
    read(&files)
}

#[test]
fn comes_back_as_it_went() {
    let mut partial = lora();
    partial.layers[1] = [const { None }; 7];
    let config = String::from_utf8(to_files(&partial, "base").config_json).unwrap();
    let compact: String = config.split_whitespace().collect();
    assert!(compact.contains("\"layers_to_transform\":[0]"), "{config}");
    for lora in [lora(), partial] {
        let files = to_files(&lora, "base");
        assert_eq!(files, to_files(&lora, "base"));
        assert_eq!(read(&files).unwrap(), lora);
    }
}

#[test]
fn the_digest_names_the_bytes() {
    let files = to_files(&lora(), "base");
    let other = to_files(&lora(), "another");
    assert_eq!(digest(&files), digest(&files.clone()));
    assert_ne!(digest(&files), digest(&other));
    assert_eq!(digest(&files).len(), "sha256:".len() + 64);
}

#[test]
fn directories_hold_the_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let (path, files) = (dir.path().join("a/b"), to_files(&lora(), "base"));
    save_dir(&path, &files).unwrap();
    assert_eq!(load_dir(&path).unwrap(), files);
    let missing = load_dir(dir.path()).unwrap_err().to_string();
    assert!(missing.contains(CONFIG_FILE), "{missing}");
}

#[test]
fn rank_stabilised_scale_is_folded_in() {
    let lora = with(json!({"use_rslora": true, "lora_alpha": 3})).unwrap();
    assert!((lora.config.scale() - 3.0 / 2f32.sqrt()).abs() < 1e-6);
}

/// Entries of another computation, and what the error must say.
#[test]
fn another_computation_is_refused_by_name() {
    for (changes, said) in [
        (json!({"peft_type": "IA3"}), "peft_type is \"IA3\""),
        (json!({"task_type": "SEQ_CLS"}), "task_type is \"SEQ_CLS\""),
        (json!({"bias": "all"}), "Llama models have no biases"),
        (
            json!({"fan_in_fan_out": true}),
            "Llama models have no Conv1D layers",
        ),
        (
            json!({"init_lora_weights": "pissa"}),
            "path_initial_model_for_weight_conversion",
        ),
        (
            json!({"init_lora_weights": "pissa_niter_4"}),
            "init_lora_weights is \"pissa_niter_4\"",
        ),
        (
            json!({"init_lora_weights": "olora"}),
            "init_lora_weights is \"olora\"",
        ),
        (
            json!({"init_lora_weights": "corda"}),
            "init_lora_weights is \"corda\"",
        ),
        (json!({"init_lora_weights": "loftq"}), "quantised by LoftQ"),
        (
            json!({"init_lora_weights": "lora_ga"}),
            "init_lora_weights is \"lora_ga\"",
        ),
        (json!({"init_lora_weights": "mica"}), "MiCA"),
        (json!({"init_lora_weights": "of_2027"}), "not known here"),
        (
            json!({"init_lora_weights": {"a": 1}}),
            "init_lora_weights is {\"a\": 1}",
        ),
        (
            json!({"layer_replication": [[0, 2], [1, 2]]}),
            "layer_replication is [[0,2],[1,2]]",
        ),
        (json!({"use_bdlora": true}), "use_bdlora is true"),
        (json!({"use_bdlora": {"nblocks": 2}}), "use_bdlora is"),
        (json!({"use_qalora": true}), "use_qalora is true"),
        (
            json!({"alora_invocation_tokens": [7, 8]}),
            "alora_invocation_tokens is [7,8]",
        ),
        (json!({"arrow_config": {"top_k": 2}}), "arrow_config is"),
        (json!({"kasa_config": {"beta": 1e-4}}), "kasa_config is"),
        (
            json!({"monteclora_config": {"num_samples": 8}}),
            "monteclora_config is",
        ),
        (json!({"velora_config": {"scale": 1}}), "velora_config is"),
        (json!({"megatron_config": {"a": 1}}), "megatron_config is"),
        (
            json!({"target_parameters": ["experts.gate_up_proj"]}),
            "target_parameters is",
        ),
        (
            json!({"trainable_token_indices": [1]}),
            "trainable_token_indices is [1]",
        ),
        (
            json!({"use_something_new": true}),
            "use_something_new is true",
        ),
        (json!({"something_new": 4}), "something_new is 4"),
        (
            json!({"something_new": {"a": 1}}),
            "something_new is {\"a\": 1}",
        ),
        (
            json!({"modules_to_save": ["score"]}),
            "modules_to_save names \"score\"",
        ),
        (
            json!({"modules_to_save": ["norm"]}),
            "embed_tokens and lm_head are supported",
        ),
        (
            json!({"target_modules": ["q_proj", "c_attn"]}),
            "\"c_attn\", which this Llama model",
        ),
        (
            json!({"target_modules": ["layers.2.self_attn.q_proj"]}),
            "of 2 layers",
        ),
    ] {
        let error = with(changes).unwrap_err().to_string();
        assert!(error.contains(said), "{error:?} instead of {said:?}");
        assert!(error.contains(CONFIG_FILE), "{error}");
    }
}

#[test]
fn values_that_ask_for_nothing_are_accepted() {
    for changes in [
        json!({"something_new": null, "another": false, "third": [], "fourth": {}, "fifth": ""}),
        json!({"alora_invocation_tokens": [], "use_bdlora": false, "layer_replication": []}),
        json!({"megatron_config": null, "megatron_core": "megatron.core", "qalora_group_size": 16}),
        json!({"init_lora_weights": "eva", "eva_config": {"rho": 2.0, "tau": 0.99}}),
        json!({"init_lora_weights": "orthogonal"}),
        json!({"init_lora_weights": "gaussian", "lora_dropout": 0.1}),
        json!({"init_lora_weights": true, "corda_config": {"corda_method": "ipm"}}),
        json!({"init_lora_weights": null, "loftq_config": {"loftq_bits": 4}}),
        json!({"task_type": null, "auto_mapping": {"base_model_class": "LlamaForCausalLM"}}),
        json!({"modules_to_save": [], "rank_pattern": null, "alpha_pattern": {}}),
        json!({"target_modules": null}),
        json!({"target_modules": "all-linear"}),
        json!({"target_modules": ".*_proj", "exclude_modules": ["lm_head"]}),
        json!({"layers_to_transform": [0, 1]}),
        json!({"bias": null, "use_rslora": null}),
    ] {
        assert_eq!(with(changes.clone()).unwrap(), lora(), "{changes}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    for (changes, said) in [
        (
            json!({"r": "eight"}),
            "r is \"eight\"; it must be a positive whole number",
        ),
        (json!({"r": -1}), "r is -1"),
        (json!({"lora_alpha": "16"}), "lora_alpha is \"16\""),
        (
            json!({"use_rslora": "yes"}),
            "use_rslora is \"yes\"; it must be true or false",
        ),
        (json!({"use_dora": 1}), "use_dora is 1"),
        (
            json!({"rank_pattern": {"q_proj": 0}}),
            "rank_pattern has 0 for \"q_proj\"",
        ),
        (
            json!({"rank_pattern": {"q_proj": 2.5}}),
            "it must be a positive whole number",
        ),
        (
            json!({"rank_pattern": ["q_proj"]}),
            "rank_pattern is [\"q_proj\"]",
        ),
        (
            json!({"alpha_pattern": {"q_proj": null}}),
            "alpha_pattern has null for \"q_proj\"",
        ),
        (
            json!({"alpha_pattern": {"(": 2}}),
            "not a regular expression",
        ),
        (
            json!({"target_modules": "(q_proj"}),
            "target_modules has \"(q_proj\"",
        ),
        (
            json!({"target_modules": [1]}),
            "target_modules is [1]; it must be a list of names",
        ),
        (
            json!({"layers_to_transform": ["0"]}),
            "layers_to_transform is [\"0\"]",
        ),
        (
            json!({"layers_pattern": "layers"}),
            "it needs layers_to_transform",
        ),
        (
            json!({"target_modules": ".*", "layers_to_transform": 1}),
            "where target_modules is",
        ),
        (
            json!({"modules_to_save": "lm_head"}),
            "modules_to_save is \"lm_head\"",
        ),
        (
            json!({"modules_to_save": ["lm_head"]}),
            "does not hold its weight",
        ),
    ] {
        let error = with(changes).unwrap_err().to_string();
        assert!(error.contains(said), "{error:?} instead of {said:?}");
    }
}

#[test]
fn tensors_and_configuration_must_agree() {
    for (changes, said) in [
        (
            json!({"r": 3}),
            "has shape [2, 8], but r = 3 on this model takes [3, 8]",
        ),
        (
            json!({"rank_pattern": {"mlp.*": 4}}),
            "rank_pattern \"mlp.*\" = 4 on this model",
        ),
        (
            json!({"use_dora": true}),
            "use_dora is true, but model.layers.0.self_attn.q_proj has no",
        ),
        (
            json!({"lora_bias": true}),
            "lora_bias is true, but model.layers.0.self_attn.q_proj has no",
        ),
        (
            json!({"target_modules": ["q_proj"]}),
            "does not give model.layers.0.self_attn.k_proj a pair",
        ),
        (
            json!({"exclude_modules": ".*up_proj"}),
            "does not give model.layers.0.mlp.up_proj a pair",
        ),
        (
            json!({"layers_to_transform": [0]}),
            "does not give model.layers.1.self_attn.q_proj a pair",
        ),
    ] {
        let error = with(changes).unwrap_err().to_string();
        assert!(error.contains(said), "{error:?} instead of {said:?}");
        assert!(
            said.contains("lora") || said.contains("dora") || error.contains("tensor "),
            "{error}"
        );
    }
}

#[test]
fn the_first_pattern_of_the_file_decides_a_pairs_scale() {
    let product = |lora: &Lora, l: usize, p: Projection| {
        let pair = lora.layers[l][p.index()].as_ref().unwrap();
        let sum = pair.b[0] * pair.a[0] + pair.b[1] * pair.a[pair.a.len() / 2];
        lora.config.scale() * sum
    };
    // Alpha 4 and rank 2 otherwise; the scales of q_proj and down_proj in both layers.
    for (pattern, scales) in [
        (r#"{"layers.0.*": 1, "q_proj": 12}"#, [0.5, 0.5, 6.0, 2.0]),
        (r#"{"q_proj": 12, "layers.0.*": 1}"#, [6.0, 0.5, 6.0, 2.0]),
        (r#"{"z": 1, "down_proj": 0}"#, [2.0, 0.0, 2.0, 0.0]),
        (r#"{"q_proj": -3}"#, [-1.5, 2.0, -1.5, 2.0]),
    ] {
        let mut files = to_files(&lora(), "base");
        let text = String::from_utf8(files.config_json).unwrap();
        let entry = r#""alpha_pattern": {}"#;
        assert!(text.contains(entry), "{text}");
        files.config_json = text
            .replace(entry, &format!("\"alpha_pattern\": {pattern}"))
            .into();
        let read = read(&files).unwrap();
        let places = [0, 1].map(|l| [(l, Projection::Q), (l, Projection::Down)]);
        for ((layer, projection), scale) in places.concat().into_iter().zip(scales) {
            let want = product(&lora(), layer, projection) * scale / 2.0;
            let got = product(&read, layer, projection);
            let what = format!("{pattern}: layer {layer} {projection:?}: {got} for {want}");
            assert!((got - want).abs() < 1e-5, "{what}");
        }
    }
}

/// The reader of a file without pairs gets no rank from the configuration, so no executor makes room for it.
#[test]
fn a_rank_without_pairs_is_one() {
    let table: Vec<u8> = (0..32 * 8).flat_map(|_| 0.5f32.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![32, 8], &table).unwrap();
    let name = "base_model.model.lm_head.weight";
    let safetensors = safetensors::serialize([(name, view)], None).unwrap();
    let config =
        json!({"peft_type": "LORA", "r": 1_000_000_000_000u64, "modules_to_save": ["lm_head"]});
    let read = from_files(config.to_string().as_bytes(), &safetensors, &model()).unwrap();
    assert_eq!((read.config.rank, read.config.scale()), (1, 1.0));
    assert!(read.extras.is_some());
}

#[test]
fn pairs_of_very_different_ranks_are_not_filled_up() {
    const HIGH: usize = 1 << 21;
    let tensors: Vec<(String, [usize; 2], Vec<u8>)> = (0..2)
        .flat_map(|layer| Projection::ALL.map(|p| (layer, p)))
        .flat_map(|(layer, p)| {
            let rank = if (layer, p) == (0, Projection::Q) {
                HIGH
            } else {
                1
            };
            let (inputs, outputs) = model().features(p);
            let name = |part| format!("{PREFIX}{layer}.{}.{part}.weight", p.path());
            let zeros = vec![0; rank * inputs * 2];
            let b = vec![0; outputs * rank * 2];
            [
                (name("lora_A"), [rank, inputs], zeros),
                (name("lora_B"), [outputs, rank], b),
            ]
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F16, shape.to_vec(), bytes);
        (name, view.unwrap())
    });
    let safetensors = safetensors::serialize(views, None).unwrap();
    let config =
        json!({"peft_type": "LORA", "r": 1, "rank_pattern": {"layers.0.self_attn.q_proj": HIGH}});
    let error = from_files(config.to_string().as_bytes(), &safetensors, &model()).unwrap_err();
    assert!(error.to_string().contains("differ less"), "{error}");
}

fn one_tensor(name: &str, dtype: Dtype, bytes: &[u8], shape: [usize; 2]) -> Result<Lora> {
    let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let config = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ".*"});
    let safetensors = safetensors::serialize([(name, view)], None).unwrap();
    from_files(config.to_string().as_bytes(), &safetensors, &model())
}

#[test]
fn tensors_that_do_not_belong_are_named() {
    let bytes = [0; 64];
    for (name, said) in [
        (
            "base_model.model.lm_head.lora_A.weight",
            "lm_head has only one of",
        ),
        (
            "base_model.model.model.norm.weight",
            "model.norm.weight is not a LoRA matrix",
        ),
        (
            "base_model.model.model.layers.0.mlp.up_proj.lora_diag",
            "lora_diag is not",
        ),
        (
            "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight",
            "has 2 layers",
        ),
        (
            "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight",
            "only one of",
        ),
    ] {
        let error = one_tensor(name, Dtype::F32, &bytes, [2, 8]).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
    let error = one_tensor(name, Dtype::F64, &[0; 128], [2, 8]).unwrap_err();
    assert!(error.to_string().contains("F64"), "{error}");
    let error = from_files(b"{}", &[], &model()).unwrap_err().to_string();
    assert!(error.contains(CONFIG_FILE), "{error}");
    let config = to_files(&lora(), "base").config_json;
    let error = from_files(&config, &[1, 2, 3], &model()).unwrap_err();
    assert!(error.to_string().contains(WEIGHTS_FILE), "{error}");
}

#[test]
fn half_precision_is_widened() {
    let lora = lora();
    let full = to_files(&lora, "base");
    let half = in_type(&full, TensorType::Bf16).unwrap();
    assert_eq!(half.config_json, full.config_json);
    assert!(half.safetensors.len() < full.safetensors.len());
    let file = SafeTensors::deserialize(&half.safetensors).unwrap();
    assert!(file.iter().all(|(_, tensor)| tensor.dtype() == Dtype::BF16));
    let read = read(&half).unwrap();
    let (got, want) = (&read.layers[1][6], &lora.layers[1][6]);
    let (got, want) = (got.as_ref().unwrap(), want.as_ref().unwrap());
    for (x, y) in got.b.iter().zip(&want.b) {
        assert!((x - y).abs() <= y.abs() / 128.0);
    }
}
