//! A real model run by mistralrs (`make test-mistralrs`): it loads, answers, and can be stopped.

use autodidact::learn::ports::model::{ModelError, Prompt, Sampling};
use autodidact::learn::ports::text_model::TextModel;
use autodidact::pool::MistralModel;
use std::path::{Path, PathBuf};

/// The default model. SmolLM2's file of four bits would not do: mistralrs and this program's engine answer it
/// differently.
fn qwen2() -> PathBuf {
    let models = std::env::var_os("AUTODIDACT_MODELS").map(PathBuf::from);
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let models = models.unwrap_or_else(|| home.join(".cache/autodidact/models"));
    models.join("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf")
}

#[test]
fn a_gguf_file_answers_in_its_own_chat_format_and_stops_when_told() {
    let model = MistralModel::open(&qwen2()).unwrap();
    assert_eq!(model.name(), "qwen2.5-coder-0.5b-instruct-q4_k_m");
    let capital = Prompt::user("What is the capital of France?");
    let prompts = [capital.clone(), capital.clone()];
    let texts = model.complete(&prompts, &Sampling::greedy(24), &|| false);
    let texts = texts.unwrap();
    assert!(texts[0][0].contains("Paris"), "{texts:?}");
    // Greedily, the same again.
    assert_eq!(texts[0], texts[1]);

    let two = Sampling {
        temperature: 0.8,
        n: 2,
        ..Sampling::greedy(8)
    };
    let texts = model.complete(std::slice::from_ref(&capital), &two, &|| false);
    assert_eq!(texts.unwrap()[0].len(), 2);

    let stopped = model.complete(&[capital], &Sampling::greedy(2000), &|| true);
    assert!(matches!(stopped, Err(ModelError::Stopped)));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = MistralModel::open(Path::new("/nowhere/x.gguf")).err();
    assert_eq!(error.unwrap(), "/nowhere/x.gguf: there is no such file");
}
