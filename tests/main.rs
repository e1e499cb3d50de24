//! All tests of the whole program, linked once. Each file is a module: `cargo test --test main resume::` runs one of
//! them.

mod common;
mod server;
mod support;

mod architecture;
mod bench;
mod cli;
mod config;
mod examples;
mod first_start;
mod http;
mod learning;
mod life;
mod models;
mod practice;
mod real_adapt;
mod real_default;
mod real_smollm2;
mod reproduce;
mod resume;
mod routing;
mod text_model;
mod unlearn;
mod upgrade;
mod usable;

#[test]
fn every_file_here_is_run() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|e| e == "rs") && !["main", "mistralrs"].contains(&name) {
            let module = format!("\nmod {name};\n");
            assert!(
                include_str!("main.rs").contains(&module),
                "main.rs lacks {name}"
            );
        }
    }
}
