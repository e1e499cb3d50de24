//! Grids in the tokenizers of the real models: each cell is one token.

use autodidact_engine::ModelFiles;
use std::path::PathBuf;

const DEFAULT: (&str, &str) = (
    "qwen2.5-coder-0.5b-instruct",
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
);
const SMALL: (&str, &str) = ("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf");

fn path((name, file): (&str, &str)) -> PathBuf {
    let models = std::env::var_os("AUTODIDACT_MODELS").map(PathBuf::from);
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let path = models
        .unwrap_or_else(|| home.join(".cache/autodidact/models"))
        .join(file);
    assert!(
        path.exists(),
        "There is no {}: run `cargo run -- model fetch {name}` first.",
        path.display()
    );
    path
}

#[test]
fn a_cell_is_a_token_and_so_is_the_end_of_a_row() {
    for model in [DEFAULT, SMALL] {
        let files = ModelFiles::open(&path(model)).unwrap();
        for (text, cells) in [
            ("0", 1),
            ("0123456789", 10),
            ("000\n111\n222", 9),
            ("77", 2),
        ] {
            let rows = text.lines().count();
            let tokens = files.tokenizer.encode(text).unwrap();
            assert_eq!(tokens.len(), cells + rows - 1, "{}: {text:?}", model.0);
        }
    }
}
