//! The scheduler over the fused executor: real attention, real KV slots, real gradients.

use autodidact_engine::{
    CompleteRequest, Cpu, CpuOptions, Engine, EngineOptions, Example, Family, Lora, LoraConfig,
    ModelFiles, Precision, Priority, SamplingParams, TrainConfig, TrainRequest, tiny,
};
use std::sync::Arc;

fn engine(options: EngineOptions) -> Engine {
    let dir = tempfile::tempdir().unwrap();
    tiny::write_tiny(dir.path(), Family::Qwen2, 5).unwrap();
    let files = Arc::new(ModelFiles::open(dir.path()).unwrap());
    let cpu = CpuOptions {
        threads: 2,
        precision: Precision::F32,
    };
    let executor = Cpu::new(&files, cpu).unwrap();
    Engine::start(files, Box::new(executor), options)
}

fn requests(engine: &Engine) -> Vec<CompleteRequest> {
    let config = &engine.files().config;
    let adapter = |seed| Arc::new(Lora::random(LoraConfig::all_linear(4, 8.0), config, seed));
    let adapters = [adapter(1), adapter(2)];
    (0..7u32)
        .map(|i| CompleteRequest {
            prompt: (0..3 + i * 5).map(|j| (i * 31 + j * j * 7) % 200).collect(),
            adapters: adapters[..i as usize % 3].to_vec(),
            sampling: SamplingParams {
                seed: u64::from(i),
                temperature: if i % 2 == 0 { 0.0 } else { 0.8 },
                ignore_eos: true,
                max_tokens: 12,
                ..SamplingParams::default()
            },
            n: 1 + i as usize % 3,
            priority: Priority::Interactive,
        })
        .collect()
}

fn training() -> Vec<TrainRequest> {
    let example = |i: u32| Example::all((0..12).map(|j| (i * 17 + j * 5) % 200).collect());
    let request = |seed, learning_rate| TrainRequest {
        config: TrainConfig {
            lora: LoraConfig::all_linear(4, 8.0),
            learning_rate,
            epochs: 8,
            batch_size: 2,
            seed,
            ..TrainConfig::default()
        },
        examples: (0..5).map(example).collect(),
        init: None,
    };
    vec![request(1, 1e-2), request(2, 3e-3)]
}

#[test]
fn serving_and_learning_in_company_equal_each_alone() {
    let quiet = engine(EngineOptions::default());
    let alone: Vec<_> = requests(&quiet)
        .into_iter()
        .map(|request| quiet.complete(vec![request]).unwrap().remove(0))
        .collect();
    let trained: Vec<_> = training()
        .into_iter()
        .map(|request| {
            let one = quiet.train(vec![request], Priority::Ingest, Box::new(|_| true));
            one.unwrap().remove(0)
        })
        .collect();

    let busy = engine(EngineOptions {
        max_batch_tokens: 20,
        train_slice_tokens: 30,
        ..EngineOptions::default()
    });
    let (together, learned) = std::thread::scope(|scope| {
        let job = scope.spawn(|| busy.train(training(), Priority::Ingest, Box::new(|_| true)));
        let together = busy.complete(requests(&busy)).unwrap();
        (together, job.join().unwrap().unwrap())
    });
    for (together, alone) in together.iter().zip(&alone) {
        assert_eq!(together, alone);
    }
    for (learned, alone) in learned.iter().zip(&trained) {
        assert_eq!(learned.losses.len(), 24);
        for (a, b) in learned.losses.iter().zip(&alone.losses) {
            assert!((a - b).abs() < 2e-3, "{a} instead of {b}");
        }
        assert!(
            learned.losses[23] < 0.8 * learned.losses[0],
            "{:?}",
            learned.losses
        );
    }
}
