//! Generation under a grammar: before a token is drawn, all tokens that the grammar forbids are masked.
//!
//! A request carries a [`Grammar`]. Each of the request's samples gets its own [`Constraint`], which follows
//! the drawn tokens. Grammars are JSON schemas, enforced by llguidance over the bytes of the model's tokens
//! ([`Grammars`]).

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The grammar's state for one sample.
pub trait Constraint: Send + Sync {
    /// Sets the logits of forbidden tokens to −∞ (`logits` is `[vocab]`). The end of the sequence is allowed where
    /// the grammar is complete, and nothing else is allowed once the grammar cannot go on.
    fn mask(&mut self, logits: &mut [f32]);

    /// Advances the state by the drawn token.
    fn accept(&mut self, token: u32);
}

/// A grammar; makes a fresh constraint for every sample of a request.
#[derive(Clone)]
pub struct Grammar(Arc<dyn Fn() -> Box<dyn Constraint> + Send + Sync>);

impl Grammar {
    /// `start` makes a constraint at the beginning of the grammar.
    pub fn new(start: impl Fn() -> Box<dyn Constraint> + Send + Sync + 'static) -> Self {
        Grammar(Arc::new(start))
    }

    /// A constraint at the beginning of the grammar.
    pub fn start(&self) -> Box<dyn Constraint> {
        (self.0)()
    }
}

/// Grammars are equal if they are the same allocation; what they allow cannot be compared.
impl PartialEq for Grammar {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}

/// Compiles grammars for one tokenizer. To be made once: it sorts the whole vocabulary.
pub struct Grammars(ParserFactory);

impl Grammars {
    /// `eos` are the tokens that end a sequence.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub fn new(tokenizer: &Tokenizer, eos: &[u32]) -> Result<Self> {
        let Some(end) = eos.first() else {
            return Err(grammar_error("the model has no end-of-sequence token"));
        };
        let words: Vec<Vec<u8>> = (0..tokenizer.vocab_size() as u32)
            .map(|id| match tokenizer.is_control(id) || eos.contains(&id) {
                // Such a token stands for no text: only the grammar's end allows it.
                true => [&[TokTrie::SPECIAL_TOKEN_MARKER], tokenizer.token_bytes(id)].concat(),
                false => tokenizer.token_bytes(id).to_vec(),
            })
            .collect();
        let info = TokRxInfo::new(words.len() as u32, *end);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(eos);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(grammar_error)?;
        factory.quiet();
        Ok(Grammars(factory))
    }

    /// The grammar of JSON that fits the schema, without white space that the schema does not ask for.
    ///
    /// # Errors
    /// [`Error::Input`] if llguidance cannot use the schema.
    pub fn json_schema(&self, schema: &Value) -> Result<Grammar> {
        let mut schema = schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            let compact = serde_json::json!({"whitespace_flexible": false});
            fields.insert("x-guidance".to_owned(), compact);
        }
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let parser = self.0.create_parser(grammar).map_err(grammar_error)?;
        let matcher = Matcher::new(Ok(parser));
        Ok(Grammar::new(move || {
            Box::new(Guided {
                matcher: matcher.deep_clone(),
            })
        }))
    }
}

fn grammar_error(reason: impl fmt::Display) -> Error {
    Error::Input(format!("the grammar cannot be used: {reason}"))
}

/// llguidance's parser, one token at a time.
struct Guided {
    matcher: Matcher,
}

impl Constraint for Guided {
    fn mask(&mut self, logits: &mut [f32]) {
        match self.matcher.compute_mask_or_eos() {
            Ok(allowed) => {
                for (token, logit) in logits.iter_mut().enumerate() {
                    if token >= allowed.len() || !allowed.is_allowed(token as u32) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
            // The text then goes on unconstrained, and its parser reports the error.
            Err(error) => tracing::warn!(%error, "a grammar gave up"),
        }
    }

    fn accept(&mut self, token: u32) {
        if !self.matcher.is_stopped()
            && let Err(error) = self.matcher.consume_token(token)
        {
            tracing::warn!(%error, token, "a grammar met a token that it had ruled out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::{Sampler, SamplingParams};
    use crate::tiny::write_tiny;
    use crate::weights::ModelFiles;
    use crate::{Family, TokenLogprob};
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "rotate": {"type": "boolean"},
                "rate": {"enum": [0.001, 0.0001]},
                "epochs": {"type": "integer", "minimum": 1, "maximum": 8},
            },
            "required": ["rotate", "rate", "epochs"],
            "additionalProperties": false,
        })
    }

    /// Draws from noise until the end of the sequence.
    fn write(files: &ModelFiles, grammar: &Grammar, seed: u64) -> String {
        let params = SamplingParams {
            seed,
            grammar: Some(grammar.clone()),
            logprobs: Some(1),
            ..Default::default()
        };
        let mut sampler = Sampler::new(&params, 0, &[]);
        let noise = |i: usize| ((i as u64 * 2_654_435_761 + seed * 97) % 1000) as f32 / 100.0;
        let mut tokens = Vec::new();
        loop {
            assert!(tokens.len() < 200, "it never ends");
            let at = tokens.len() * 31;
            let logits: Vec<f32> = (0..files.config.vocab_size)
                .map(|i| noise(i + at))
                .collect();
            let drawn = sampler.sample(&logits);
            let TokenLogprob { logprob, .. } = drawn.logprob.unwrap();
            assert!(logprob.is_finite(), "of the unmodified distribution");
            if files.eos.contains(&drawn.token) {
                return files.tokenizer.decode(&tokens, false);
            }
            tokens.push(drawn.token);
        }
    }

    #[test]
    fn noise_under_a_schema_is_json_of_that_schema() {
        let dir = tempfile::tempdir().unwrap();
        write_tiny(dir.path(), Family::Qwen2, 3).unwrap();
        let files = ModelFiles::open(dir.path()).unwrap();
        let grammars = Grammars::new(&files.tokenizer, &files.eos).unwrap();
        let grammar = grammars.json_schema(&schema()).unwrap();
        let mut seen = std::collections::HashSet::new();
        for seed in 0..20 {
            let text = write(&files, &grammar, seed);
            let value: Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert!(value["rotate"].is_boolean());
            assert!([0.001, 0.0001].contains(&value["rate"].as_f64().unwrap()));
            assert!((1..=8).contains(&value["epochs"].as_u64().unwrap()));
            assert_eq!(value.as_object().unwrap().len(), 3);
            seen.insert(text);
        }
        assert!(seen.len() > 3, "the noise still chooses: {seen:?}");
    }

    #[test]
    fn a_schema_that_cannot_be_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_tiny(dir.path(), Family::Llama, 3).unwrap();
        let files = ModelFiles::open(dir.path()).unwrap();
        let grammars = Grammars::new(&files.tokenizer, &files.eos).unwrap();
        let error = grammars.json_schema(&json!({"type": "sum"})).unwrap_err();
        assert!(error.to_string().contains("grammar"), "{error}");
        assert!(Grammars::new(&files.tokenizer, &[]).is_err());
    }
}
