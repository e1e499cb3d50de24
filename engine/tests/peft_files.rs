//! Adapters that PEFT itself saved (`bench/peers/record_peft.py`) read here and written again.

use autodidact_engine::ModelFiles;
use autodidact_engine::lora::peft;
use safetensors::SafeTensors;
use std::path::PathBuf;

#[test]
fn what_peft_saved_comes_back() {
    for family in ["llama", "qwen2"] {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/peft_tiny")
            .join(family);
        let model = ModelFiles::open(&dir).unwrap().config;
        let theirs = peft::load_dir(&dir.join("adapter")).unwrap();
        let lora = peft::from_files(&theirs.config_json, &theirs.safetensors, &model).unwrap();
        assert_eq!((lora.config.rank, lora.config.alpha), (4, 8.0));
        assert_eq!(lora.config.targets.len(), 7);

        let ours = peft::to_files(&lora, "base");
        let (theirs, ours_read) = (
            SafeTensors::deserialize(&theirs.safetensors).unwrap(),
            SafeTensors::deserialize(&ours.safetensors).unwrap(),
        );
        assert_eq!(theirs.len(), ours_read.len());
        for (name, tensor) in theirs.iter() {
            let written = ours_read.tensor(name).unwrap();
            assert_eq!(written.shape(), tensor.shape(), "{name}");
            assert!(written.data() == tensor.data(), "{name}");
        }
        let again = peft::from_files(&ours.config_json, &ours.safetensors, &model).unwrap();
        assert_eq!(again, lora);
    }
}
