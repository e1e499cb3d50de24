//! How fast this machine trains and generates: `cargo run --release -p autodidact-engine --example
//! speed -- MODEL [train|serve|lora|all] [f32|bf16|auto]`. Each figure is the best of its repeats.

use autodidact_engine::*;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: speed MODEL [train|serve|lora|all] [f32|bf16|auto]")?;
    let part = args.next().unwrap_or("all".into());
    let precision = match args.next().as_deref() {
        Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some("int8") => Precision::Int8,
        _ => Precision::Auto,
    };
    let start = Instant::now();
    let files = ModelFiles::open(path.as_ref())?;
    println!("open           {:8.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut cpu = Cpu::new(
        &files,
        CpuOptions {
            precision,
            ..CpuOptions::default()
        },
    )?;
    println!("load           {:8.2} s", start.elapsed().as_secs_f64());
    if part == "train" || part == "all" {
        train(&mut cpu, 1)?;
        train(&mut cpu, 8)?;
    }
    if part == "serve" || part == "all" {
        prefill(&mut cpu)?;
        for streams in [1, 8, 16] {
            decode(&mut cpu, streams, 0)?;
        }
    }
    if part == "lora" || part == "all" {
        for (streams, adapters) in [(1, 1), (16, 1), (16, 8)] {
            decode(&mut cpu, streams, adapters)?;
        }
    }
    Ok(())
}

fn text(cpu: &Cpu, n: usize, seed: usize) -> Vec<u32> {
    let vocab = cpu.config().vocab_size.min(30_000);
    (0..n)
        .map(|i| ((i * 7919 + seed * 104_729 + 13) % vocab) as u32)
        .collect()
}

fn lora(cpu: &Cpu, seed: u64) -> Arc<Lora> {
    Arc::new(Lora::random(
        LoraConfig::all_linear(16, 32.0),
        cpu.config(),
        seed,
    ))
}

/// One step: 8 sequences of 128 tokens, rank 16 on every linear layer, every token supervised.
fn train(cpu: &mut Cpu, adapters: usize) -> Outcome {
    let loras: Vec<_> = (0..adapters).map(|i| lora(cpu, i as u64)).collect();
    let mut batch = PackedBatch::new();
    for i in 0..8 {
        batch.push(&text(cpu, 128, i), 0, None, &[loras[i % adapters].clone()]);
    }
    let tokens = batch.tokens.len();
    let target = |row: usize| Target {
        row,
        token: batch.tokens[(row + 1) % tokens],
        weight: 1e-3,
    };
    let targets: Vec<_> = (0..tokens).map(target).collect();
    let mut grads: Vec<_> = batch
        .adapters
        .iter()
        .map(|a| Some(a.zeros_like()))
        .collect();
    let seconds = best(4, || cpu.backward(&batch, &targets, &mut grads).map(|_| ()))?;
    println!(
        "train {adapters} lora   {:8.1} tok/s ({seconds:.3} s)",
        tokens as f64 / seconds
    );
    Ok(())
}

fn prefill(cpu: &mut Cpu) -> Outcome {
    let tokens = text(cpu, 512, 1);
    let seconds = best(3, || {
        let slot = cpu.kv_new();
        let mut batch = PackedBatch::new();
        batch.push(&tokens, 0, Some(slot), &[]);
        let done = cpu.forward(&batch, &[511]).map(|_| ());
        cpu.kv_free(slot);
        done
    })?;
    println!("prefill 512    {:8.1} tok/s", 512.0 / seconds);
    Ok(())
}

/// 16 tokens further for every stream, after prompts of 64; stream i under adapter i % adapters.
fn decode(cpu: &mut Cpu, streams: usize, adapters: usize) -> Outcome {
    let loras: Vec<_> = (0..adapters).map(|i| lora(cpu, i as u64)).collect();
    let stack = |i: usize| {
        loras
            .get(i % adapters.max(1))
            .cloned()
            .into_iter()
            .collect::<Vec<_>>()
    };
    let slots: Vec<_> = (0..streams).map(|_| cpu.kv_new()).collect();
    let mut batch = PackedBatch::new();
    for (i, slot) in slots.iter().enumerate() {
        batch.push(&text(cpu, 64, i), 0, Some(*slot), &stack(i));
    }
    cpu.forward(&batch, &[0])?;
    let rows: Vec<usize> = (0..streams).collect();
    let seconds = best(3, || {
        for _ in 0..16 {
            let mut batch = PackedBatch::new();
            for (i, slot) in slots.iter().enumerate() {
                batch.push(&[42 + i as u32], cpu.kv_len(*slot), Some(*slot), &stack(i));
            }
            cpu.forward(&batch, &rows)?;
        }
        Ok(())
    })?;
    slots.into_iter().for_each(|s| cpu.kv_free(s));
    let speed = 16.0 * streams as f64 / seconds;
    println!("decode {streams:2}, {adapters} lora {speed:6.1} tok/s");
    Ok(())
}

fn best(repeats: usize, mut run: impl FnMut() -> Result<()>) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..=repeats {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}
