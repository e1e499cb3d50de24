//! Adapting with the default model: it sees a cell as a token, and after three demonstrations of a rotation
//! it rotates.

mod server;

use autodidact_engine::ModelFiles;
use serde_json::json;
use server::Place;
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

#[test]
fn after_three_demonstrations_of_a_rotation_it_rotates() {
    let place = Place::with_model(DEFAULT.0, DEFAULT.1);
    let server = place.serve();
    // A quarter turn clockwise.
    let body = json!({
        "task": {
            "kind": "grid",
            "train": [
                {"input": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "output": [[7, 4, 1], [8, 5, 2], [9, 6, 3]]},
                {"input": [[3, 0, 0], [3, 8, 0], [0, 8, 5]], "output": [[0, 3, 3], [8, 8, 0], [5, 0, 0]]},
                {"input": [[0, 6, 2], [0, 6, 0], [4, 4, 1]], "output": [[4, 0, 0], [4, 6, 6], [1, 0, 2]]},
            ],
            "test": [{"input": [[5, 0, 9], [2, 2, 7], [0, 3, 1]]}],
        },
    });
    let answer = server.post("/adapt?wait=10m", &body);
    println!("{answer:#}");
    let attempts = answer["result"]["predictions"][0]["attempts"].clone();
    let right = json!([[0, 2, 5], [3, 2, 0], [1, 7, 9]]);
    let attempts = attempts.as_array().unwrap();
    assert!(attempts.iter().any(|a| a["output"] == right), "{answer:#}");
}
