//! A Hugging Face directory: `config.json`, `*.safetensors` (one file or shards with an index),
//! `tokenizer.json`, and if present `tokenizer_config.json`, `chat_template.jinja` and
//! `generation_config.json`.

use super::shards::{EMBEDDING, HEAD, Shards, weight_files};
use super::{ModelFiles, Source, digest, hf_config};
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::Value;
use std::path::Path;

pub(super) fn open(dir: &Path) -> Result<ModelFiles> {
    let json = read_json(dir, "config.json")?.ok_or_else(|| {
        Error::model(
            dir,
            "has no config.json; a Hugging Face model directory needs one",
        )
    })?;
    let paths = weight_files(dir)?;
    let (shards, digest) = rayon::join(|| Shards::read(dir, &paths), || digest(&paths));
    let mut shards = shards?;
    let mut config = hf_config::parse(dir, &json)?;
    // Configurations of earlier versions leave the setting out where there is but one of the two.
    let both = shards.shape(HEAD).is_some() && shards.shape(EMBEDDING).is_some();
    let wanted = hf_config::ties(dir, &json)?.unwrap_or(!both);
    config.tie_word_embeddings = shards.tie(wanted)?;
    shards.check(&config)?;

    let tokenizer_path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&tokenizer_path).map_err(|e| Error::io(&tokenizer_path, e))?;
    let (tokenizer, bos) = Tokenizer::from_json(&bytes)?;
    let about = read_json(dir, "tokenizer_config.json")?.unwrap_or(Value::Null);
    let generation = read_json(dir, "generation_config.json")?.unwrap_or(Value::Null);

    let spelling = |key: &str| token_spelling(&about[key]).unwrap_or("");
    let eos = stop_tokens(
        &tokenizer,
        spelling("eos_token"),
        &[&generation["eos_token_id"], &json["eos_token_id"]],
    );
    let chat_template = match template_source(dir, &about)? {
        Some(source) => {
            let named = SPECIAL_TOKENS.iter().filter_map(|name| {
                let spelling = token_spelling(&about[*name])?;
                Some(((*name).to_owned(), spelling.to_owned()))
            });
            Some(ChatTemplate::with_special_tokens(&source, named)?)
        }
        None => None,
    };
    Ok(ModelFiles {
        path: dir.into(),
        config,
        tokenizer,
        chat_template,
        eos,
        bos,
        digest: digest?,
        source: Source::Safetensors(shards),
    })
}

/// The names under which a template may write the tokenizer's special tokens.
const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The tokens that end a completion: first the tokenizer's own end token, which ends turns in training, then those
/// of the first of `lists` that has any.
fn stop_tokens(tokenizer: &Tokenizer, spelling: &str, lists: &[&Value]) -> Vec<u32> {
    let mut eos: Vec<u32> = tokenizer.id_of(spelling).into_iter().collect();
    let listed = lists.iter().find(|v| !v.is_null());
    let ids = listed.map(|v| v.as_array().cloned().unwrap_or_else(|| vec![(*v).clone()]));
    for id in ids.unwrap_or_default().iter().filter_map(Value::as_u64) {
        if !eos.contains(&(id as u32)) {
            eos.push(id as u32);
        }
    }
    eos
}

/// `"<s>"` or `{"content": "<s>", …}`.
fn token_spelling(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// `chat_template.jinja`, or the template in `tokenizer_config.json` (of several, the default one).
fn template_source(dir: &Path, about: &Value) -> Result<Option<String>> {
    let path = dir.join("chat_template.jinja");
    if path.exists() {
        return std::fs::read_to_string(&path)
            .map(Some)
            .map_err(|e| Error::io(path, e));
    }
    Ok(match &about["chat_template"] {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|t| t["name"] == "default");
            default
                .and_then(|t| t["template"].as_str())
                .map(str::to_string)
        }
        _ => None,
    })
}

pub(super) fn read_json(dir: &Path, name: &str) -> Result<Option<Value>> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::model(&path, format!("is not valid JSON: {e}"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}
