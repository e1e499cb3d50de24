//! The tokenizer inside a GGUF: vocabulary, merges, and the name of the rule that splits text.

use super::gguf::Metadata;
use crate::error::Result;
use crate::tokenizer::{Added, Bpe, Tokenizer};
use candle_core::quantized::gguf_file::Value;

pub(super) struct Vocabulary {
    pub tokenizer: Tokenizer,
    pub eos: Vec<u32>,
    pub bos: Option<u32>,
}

impl Vocabulary {
    /// The names under which a chat template may write special tokens, and their spellings.
    pub fn special_tokens(&self, metadata: &Metadata) -> Vec<(String, String)> {
        let stored = [
            ("bos_token", "bos"),
            ("unk_token", "unknown"),
            ("sep_token", "seperator"),
            ("pad_token", "padding"),
            ("cls_token", "cls"),
            ("mask_token", "mask"),
        ];
        let stored = stored.into_iter().filter_map(|(name, key)| {
            let id = metadata.number(&format!("tokenizer.ggml.{key}_token_id"))?;
            Some((name, u32::try_from(id).ok()?))
        });
        let end = self.eos.first().map(|id| ("eos_token", *id));
        let named = stored.chain(end).map(|(name, id)| {
            let spelling = self.tokenizer.token_text(id).into_owned();
            (name.to_owned(), spelling)
        });
        named.filter(|(_, spelling)| !spelling.is_empty()).collect()
    }
}

/// llama.cpp's token types.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Tokens that end a turn or a text in the supported families; the file calls only one of them "eos".
const END_SPELLINGS: [&str; 5] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
];

pub(super) fn read(metadata: &Metadata) -> Result<Vocabulary> {
    let model = metadata.text("tokenizer.ggml.model").unwrap_or("");
    if model != "gpt2" {
        return Err(metadata.wrong(format!(
            "tokenizer model {model:?} is not supported; byte-level BPE (\"gpt2\") is"
        )));
    }
    let tokens = strings(metadata, "tokenizer.ggml.tokens")?;
    let types = metadata.list("tokenizer.ggml.token_type")?;
    if types.len() != tokens.len() {
        return Err(
            metadata.wrong("tokenizer.ggml.token_type and tokenizer.ggml.tokens differ in length")
        );
    }
    let mut added = Vec::new();
    let mut vocab = Vec::with_capacity(tokens.len());
    for (id, (text, kind)) in tokens.iter().zip(types).enumerate() {
        let id = id as u32;
        let kind = match kind {
            Value::I32(v) => *v as u64,
            Value::U32(v) => *v as u64,
            _ => return Err(metadata.wrong("tokenizer.ggml.token_type must hold 32-bit integers")),
        };
        match kind {
            CONTROL | USER_DEFINED => added.push(Added {
                id,
                text: text.to_string(),
                special: kind == CONTROL,
            }),
            NORMAL => vocab.push((text.to_string(), id)),
            // Padding of the embedding: no text ever becomes such a token.
            _ => {}
        }
    }
    let merges = strings(metadata, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|m| {
            m.split_once(' ')
                .map(|(a, b)| (a.to_string(), b.to_string()))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            metadata
                .wrong("a merge in tokenizer.ggml.merges is not two tokens with a space between")
        })?;

    let rule = metadata.text("tokenizer.ggml.pre").unwrap_or("default");
    let tokenizer = Tokenizer::from_bpe(Bpe {
        vocab,
        merges,
        added,
        rule,
    })?;
    let id = |key: &str| {
        metadata
            .number(&format!("tokenizer.ggml.{key}"))
            .map(|v| v as u32)
    };
    let ends = END_SPELLINGS
        .iter()
        .filter_map(|s| tokenizer.id_of(s).filter(|id| tokenizer.is_control(*id)));
    let mut eos = Vec::new();
    for end in [id("eos_token_id"), id("eot_token_id")]
        .into_iter()
        .flatten()
        .chain(ends)
    {
        if !eos.contains(&end) {
            eos.push(end);
        }
    }
    // Files older than the key: only Llama 3's tokenizer starts every text with a token.
    let wants_bos = metadata
        .flag("tokenizer.ggml.add_bos_token")
        .unwrap_or(rule == "llama-bpe");
    Ok(Vocabulary {
        bos: id("bos_token_id").filter(|_| wants_bos),
        tokenizer,
        eos,
    })
}

fn strings<'a>(metadata: &'a Metadata, key: &str) -> Result<Vec<&'a str>> {
    let list = metadata
        .list(key)?
        .iter()
        .map(|v| v.to_string().map(String::as_str));
    list.collect::<std::result::Result<_, _>>()
        .map_err(|_| metadata.wrong(format!("{key} must hold strings")))
}
