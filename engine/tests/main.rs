//! Every test of the engine's public face, linked once: a file is a module, and
//! `cargo test -p autodidact-engine --test main packing::` runs one of them.

mod common;
mod scripted;

mod cpu;
mod curve;
mod gguf_out;
mod gradients;
mod interruption;
mod logits;
mod packing;
mod peft;
mod peft_files;
mod peft_variants;
mod prefix;
mod scheduler;
mod serving;
mod shortlist;
mod tokenizer;
mod trainer;
mod upper_layers;
mod weight_names;
mod weights;

#[test]
fn every_file_here_is_run() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|e| e == "rs") && name != "main" {
            let module = format!("\nmod {name};\n");
            assert!(
                include_str!("main.rs").contains(&module),
                "main.rs lacks {name}"
            );
        }
    }
}
