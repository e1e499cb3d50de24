//! Building the tokenizer from a GGUF's parts or from `tokenizer.json`.

use super::{Tokenizer, bytes};
use crate::error::{Error, Result};
use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

/// A token outside the BPE, matched by its spelling in trusted text alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    pub id: u32,
    pub text: String,
    /// Whether it is a control token; else it is markup such as `<tool_call>`, which decoding keeps.
    pub special: bool,
}

/// A byte-level BPE as a GGUF describes it.
pub struct Bpe<'a> {
    pub vocab: Vec<(String, u32)>,
    pub merges: Vec<(String, String)>,
    pub added: Vec<Added>,
    /// llama.cpp's name of the rule that splits text before merging (`tokenizer.ggml.pre`).
    pub rule: &'a str,
}

/// The published pattern of Qwen2 and Llama 3, which differ in how many `DIGITS` a group has.
const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// Builds the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the rule is unknown or the parts do not fit together.
    pub fn from_bpe(parts: Bpe) -> Result<Self> {
        let (split, nfc, whole_words): (Vec<PreTokenizerWrapper>, bool, bool) = match parts.rule {
            "default" | "gpt-2" | "gpt2" => (vec![byte_level(true)], false, false),
            "smollm" | "starcoder" | "refact" => (
                vec![Digits::new(true).into(), byte_level(true)],
                false,
                false,
            ),
            "qwen2" => (vec![split(r"\p{N}")?, byte_level(false)], true, false),
            "llama-bpe" | "llama3" | "llama-v3" => {
                (vec![split(r"\p{N}{1,3}")?, byte_level(false)], false, true)
            }
            other => {
                return Err(Error::Tokenizer(format!(
                    "the pre-tokenizer {other:?} is not supported; gpt-2, smollm, qwen2 and llama-bpe are"
                )));
            }
        };
        let vocab: Vocab = parts.vocab.iter().cloned().collect();
        let model = BPE::builder()
            .vocab_and_merges(vocab, parts.merges)
            .ignore_merges(whole_words)
            .build()
            .map_err(failed)?;
        let mut plain = tokenizers::Tokenizer::new(model);
        if nfc {
            plain.with_normalizer(Some(NFC)).map_err(failed)?;
        }
        plain.with_pre_tokenizer(Some(Sequence::new(split)));
        assemble(plain, parts.vocab, parts.added)
    }

    /// Reads a Hugging Face `tokenizer.json`. Also returns the token that it puts before every text, if any.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if it is damaged, or not a byte-level BPE.
    pub fn from_json(json: &[u8]) -> Result<(Self, Option<u32>)> {
        let mut json: Value = serde_json::from_slice(json)
            .map_err(|e| Error::Tokenizer(format!("tokenizer.json is not valid JSON: {e}")))?;
        let added = take_added(&mut json)?;
        let first = first_token(&json["post_processor"]);
        let bos = first
            .and_then(|s| added.iter().find(|a| a.text == s))
            .map(|a| a.id);
        if json["model"]["type"].as_str().is_some_and(|t| t != "BPE")
            || !mentions(&json["pre_tokenizer"], "ByteLevel")
        {
            return Err(Error::Tokenizer(
                "tokenizer.json: only byte-level BPE is supported".into(),
            ));
        }
        for key in ["post_processor", "truncation", "padding"] {
            json[key] = Value::Null;
        }
        let vocab = json["model"]["vocab"]
            .as_object_mut()
            .ok_or_else(|| Error::Tokenizer("tokenizer.json has no model.vocab".into()))?;
        // Without these entries no path of the BPE can produce an added token.
        vocab.retain(|text, _| !added.iter().any(|a| a.text == *text));
        let entries = vocab
            .iter()
            .map(|(text, id)| Some((text.clone(), u32::try_from(id.as_u64()?).ok()?)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                Error::Tokenizer("tokenizer.json: an id in model.vocab is not a number".into())
            })?;
        let bytes = serde_json::to_vec(&json).expect("a JSON value is JSON");
        let plain = tokenizers::Tokenizer::from_bytes(bytes).map_err(failed)?;
        Ok((assemble(plain, entries, added)?, bos))
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::Tokenizer(e.to_string())
}

fn byte_level(split: bool) -> PreTokenizerWrapper {
    ByteLevel::new(false, false, split).into()
}

fn split(digits: &str) -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(SPLIT.replace("DIGITS", digits));
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
    Ok(split.map_err(failed)?.into())
}

/// Takes `added_tokens` out of a `tokenizer.json`.
fn take_added(json: &mut Value) -> Result<Vec<Added>> {
    let Value::Array(list) = json["added_tokens"].take() else {
        return Ok(Vec::new());
    };
    json["added_tokens"] = Value::Array(Vec::new());
    list.iter()
        .map(|token| {
            let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let (Some(id), Some(text)) = (id, token["content"].as_str().filter(|t| !t.is_empty())) else {
                return Err(Error::Tokenizer("tokenizer.json: an added token needs an id and a content".into()));
            };
            if ["single_word", "lstrip", "rstrip"].iter().any(|key| token[*key] == true) {
                return Err(Error::Tokenizer(format!(
                    "tokenizer.json: added token {text:?} takes in its surroundings (single_word, lstrip or rstrip), which is not supported"
                )));
            }
            Ok(Added { id, text: text.into(), special: token["special"] == true })
        })
        .collect()
}

/// The spelling of the token a post-processor puts first.
fn first_token(processor: &Value) -> Option<&str> {
    match processor["type"].as_str()? {
        "TemplateProcessing" => processor["single"][0]["SpecialToken"]["id"].as_str(),
        "Sequence" => processor["processors"]
            .as_array()?
            .iter()
            .find_map(first_token),
        _ => None,
    }
}

/// Whether a component is of this type, or a sequence with one that is.
fn mentions(component: &Value, kind: &str) -> bool {
    component["type"] == kind
        || component["pretokenizers"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| mentions(c, kind)))
}

fn assemble(
    plain: tokenizers::Tokenizer,
    vocab: Vec<(String, u32)>,
    mut added: Vec<Added>,
) -> Result<Tokenizer> {
    let ids = vocab
        .iter()
        .map(|(_, id)| *id)
        .chain(added.iter().map(|a| a.id));
    let size = ids.max().map_or(0, |id| id as usize + 1);
    // An id without a vocabulary entry stands for no text. The bound keeps a damaged file from filling the memory.
    if size > 16 * (vocab.len() + added.len()) + 1024 {
        return Err(Error::Tokenizer(format!(
            "token ids reach {}, far beyond the vocabulary",
            size - 1
        )));
    }
    let mut texts: Vec<Vec<u8>> = vec![Vec::new(); size];
    let mut control = vec![false; size];
    for (text, id) in vocab {
        texts[id as usize] = bytes::decode(&text).unwrap_or_else(|| text.into_bytes());
    }
    for token in &added {
        texts[token.id as usize] = token.text.clone().into_bytes();
        control[token.id as usize] = token.special;
    }
    added.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.id.cmp(&b.id)));
    let (mut all, mut ends) = (Vec::new(), Vec::with_capacity(size));
    for text in &texts {
        all.extend_from_slice(text);
        ends.push(all.len() as u32);
    }
    Ok(Tokenizer {
        plain,
        added,
        bytes: all,
        ends,
        control,
    })
}
