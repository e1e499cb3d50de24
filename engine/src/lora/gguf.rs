//! Adapters as GGUF files, as llama.cpp loads them (`--lora`) and Ollama (`ADAPTER`). The names and shapes are
//! those of llama.cpp's `convert_lora_to_gguf.py`; tensors are f32.

use super::Lora;
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use crate::weights::gguf_name;
use crate::weights::gguf_write::{
    ALIGNMENT, GgufType, Header, architecture, interleave, interleaved_heads, padding,
};

/// The adapter's file for a base of the model's shape. `name` becomes the file's `general.name`.
///
/// # Errors
/// [`Error::Adapter`] names what such a file has no place for: DoRA's magnitudes, biases, whole tables, and a pair
/// of either end of a base that has one table for both.
pub fn to_gguf(lora: &Lora, model: &ModelConfig, name: &str) -> Result<Vec<u8>> {
    lora.validate(model)?;
    check(lora, model)?;
    let rank = lora.config.rank as u64;
    let mut tensors: Vec<(String, [u64; 2], Vec<f32>)> = Vec::new();
    let own = |name: &str| gguf_name(name).expect("every linear layer has a name");
    for (l, layer) in lora.layers.iter().enumerate() {
        for (p, pair) in Projection::ALL.into_iter().zip(layer) {
            let Some(pair) = pair else { continue };
            let (inputs, outputs) = model.features(p);
            let name = own(&format!("model.layers.{l}.{}.weight", p.path()));
            let b = match interleaved_heads(model, p) {
                Some(heads) => interleave(&pair.b, outputs, heads),
                None => pair.b.clone(),
            };
            tensors.push((
                format!("{name}.lora_a"),
                [inputs as u64, rank],
                pair.a.clone(),
            ));
            tensors.push((format!("{name}.lora_b"), [rank, outputs as u64], b));
        }
    }
    let (vocab, hidden) = (model.vocab_size as u64, model.hidden_size as u64);
    let tables = lora
        .extras
        .iter()
        .flat_map(|e| [(false, &e.embedding), (true, &e.head)]);
    for (is_head, table) in tables {
        let Some(pair) = table.as_ref().and_then(|t| t.pair.as_ref()) else {
            continue;
        };
        // llama.cpp multiplies with alpha over each pair's own rank.
        let (own_rank, factor) = (pair.rank as u64, pair.rank as f32 / lora.config.alpha);
        let columns: Vec<f32> = pair.columns.iter().map(|x| x * factor).collect();
        match is_head {
            true => {
                let name = own("lm_head.weight");
                tensors.push((format!("{name}.lora_a"), [hidden, own_rank], columns));
                tensors.push((
                    format!("{name}.lora_b"),
                    [own_rank, vocab],
                    pair.rows.clone(),
                ));
            }
            false => {
                // Its A is stored by tokens, because llama.cpp looks rows of it up.
                let name = own("model.embed_tokens.weight");
                let b = (0..pair.columns.len() / pair.rank)
                    .flat_map(|h| (0..pair.rank).map(move |r| (h, r)))
                    .map(|(h, r)| columns[r * model.hidden_size + h]);
                tensors.push((
                    format!("{name}.lora_a"),
                    [own_rank, vocab],
                    pair.rows.clone(),
                ));
                tensors.push((format!("{name}.lora_b"), [own_rank, hidden], b.collect()));
            }
        }
    }
    let mut header = Header::new(ALIGNMENT);
    header.text("general.architecture", architecture(model.family));
    header.text("general.type", "adapter");
    header.text("general.name", name);
    header.number("general.file_type", 0);
    header.text("adapter.type", "lora");
    header.float("adapter.lora.alpha", lora.config.alpha);
    for (name, dimensions, values) in &tensors {
        let bytes = GgufType::F32.bytes(values.len()) as u64;
        header.tensor(name, dimensions, GgufType::F32.code(), bytes);
    }
    let mut out = header.encode();
    for (name, _, values) in &tensors {
        let bytes = GgufType::F32.encode(name, values)?;
        out.extend(&bytes);
        let pad = padding(bytes.len() as u64, ALIGNMENT) as usize;
        out.resize(out.len() + pad, 0);
    }
    Ok(out)
}

fn check(lora: &Lora, model: &ModelConfig) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::Adapter(format!(
            "a GGUF LoRA has no place for {reason}; take the merged model"
        )))
    };
    if lora.config.alpha == 0.0 {
        // llama.cpp reads an alpha of 0 as a scale of 1.
        return refuse("an alpha of 0".into());
    }
    let Some(extras) = &lora.extras else {
        return Ok(());
    };
    let names = extras.names();
    if let Some(name) = names.iter().find(|n| ["use_dora", "lora_bias"].contains(n)) {
        return refuse((*name).into());
    }
    for (name, table) in [
        ("embed_tokens", &extras.embedding),
        ("lm_head", &extras.head),
    ] {
        let Some(table) = table else { continue };
        if table.whole.is_some() && !table.is_copy {
            return refuse(format!("a whole table of {name}"));
        }
        if model.tie_word_embeddings && table.pair.is_some() {
            // A GGUF LoRA finds its place by the tensor's name, and the table has one name for both ends.
            return refuse(format!(
                "a pair of {name} where the base has one table for both ends"
            ));
        }
    }
    Ok(())
}
