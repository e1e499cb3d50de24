//! An executor whose answers can be worked out by hand: the base's logits are noise drawn from the
//! sequence's whole history (so a mistake with KV slots shows), optionally with a strong pull
//! towards the next token id; an adapter adds one true LoRA product (layer 0, q_proj) on one-hot
//! inputs, with its exact gradient.

use autodidact_engine::{
    Error, Executor, Family, KvSlot, Lora, LoraGrads, ModelConfig, ModelFiles, PackedBatch, Result,
    Score, Sequence, Target, tiny,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, OnceLock};

/// The tiny model's files (its weights are not used here).
pub fn files() -> Arc<ModelFiles> {
    static FILES: OnceLock<Arc<ModelFiles>> = OnceLock::new();
    FILES
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            tiny::write_tiny(dir.path(), Family::Llama, 1).unwrap();
            Arc::new(ModelFiles::open(dir.path()).unwrap())
        })
        .clone()
}

pub struct Scripted {
    config: ModelConfig,
    slots: HashMap<usize, Vec<u32>>,
    next_slot: usize,
    /// KV slots in use.
    pub live: Arc<AtomicUsize>,
    /// After token t comes t + 1.
    pub successor: bool,
    /// A batch with this token fails (even ids) or panics (odd ids).
    pub poison: Option<u32>,
    /// Before each forward pass: say so, and wait for leave (or for the sender to be dropped).
    pub gate: Option<(Sender<()>, Receiver<()>)>,
    /// The most tokens its slots have held after a batch.
    pub peak: Arc<AtomicUsize>,
    /// The longest batch seen.
    pub longest: Arc<AtomicUsize>,
}

impl Scripted {
    pub fn new() -> Self {
        Scripted {
            config: files().config.clone(),
            slots: HashMap::new(),
            next_slot: 0,
            live: Arc::default(),
            successor: false,
            poison: None,
            gate: None,
            peak: Arc::default(),
            longest: Arc::default(),
        }
    }

    pub fn successor() -> Self {
        Scripted {
            successor: true,
            ..Scripted::new()
        }
    }

    /// Every sequence's history up to each of its rows.
    fn histories(&mut self, batch: &PackedBatch) -> Result<Vec<Vec<u32>>> {
        batch.validate(self.config.vocab_size)?;
        assert!(
            !batch.tokens.is_empty(),
            "the executor was called for nothing"
        );
        self.longest.fetch_max(batch.tokens.len(), Ordering::SeqCst);
        if let Some(poison) = self.poison.filter(|p| batch.tokens.contains(p)) {
            assert!(poison.is_multiple_of(2), "poisoned");
            return Err(Error::Input("the batch is poisoned".into()));
        }
        let mut histories = Vec::new();
        for sequence in &batch.sequences {
            let mut history = match sequence.kv {
                Some(slot) => self.slots[&slot.0].clone(),
                None => Vec::new(),
            };
            for row in sequence.rows.clone() {
                assert_eq!(batch.positions[row] as usize, history.len());
                history.push(batch.tokens[row]);
                histories.push(history.clone());
            }
            if let Some(slot) = sequence.kv {
                self.slots.insert(slot.0, history);
            }
        }
        let held = self.slots.values().map(Vec::len).sum();
        self.peak.fetch_max(held, Ordering::SeqCst);
        Ok(histories)
    }

    fn logits(&self, history: &[u32], sequence: &Sequence, adapters: &[Arc<Lora>]) -> Vec<f32> {
        let seed = history.iter().fold(17u64, |h, t| mix(h ^ u64::from(*t)));
        let last = *history.last().unwrap();
        let mut logits: Vec<f32> = (0..self.config.vocab_size as u64)
            .map(|v| (mix(seed ^ (v << 20)) % 4096) as f32 / 1024.0)
            .collect();
        if self.successor {
            logits[(last as usize + 1) % self.config.vocab_size] += 20.0;
        }
        for adapter in sequence.stack.iter().map(|i| &adapters[*i]) {
            let (rank, pair) = (adapter.config.rank, adapter.layers[0][0].as_ref().unwrap());
            let (inputs, outputs) = (pair.a.len() / rank, pair.b.len() / rank);
            let column = last as usize % inputs;
            for (v, logit) in logits.iter_mut().enumerate() {
                let product =
                    (0..rank).map(|k| pair.b[v % outputs * rank + k] * pair.a[k * inputs + column]);
                *logit += adapter.config.scale() * product.sum::<f32>();
            }
        }
        logits
    }

    fn rows(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<Vec<f32>>> {
        let histories = self.histories(batch)?;
        let owner = |row: &usize| {
            batch
                .sequences
                .iter()
                .find(|s| s.rows.contains(row))
                .unwrap()
        };
        assert!(wanted.is_sorted());
        Ok(wanted
            .iter()
            .map(|row| self.logits(&histories[*row], owner(row), &batch.adapters))
            .collect())
    }
}

impl Executor for Scripted {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn kv_new(&mut self) -> KvSlot {
        self.next_slot += 1;
        self.slots.insert(self.next_slot, Vec::new());
        self.live.fetch_add(1, Ordering::SeqCst);
        KvSlot(self.next_slot)
    }

    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        let slot = self.kv_new();
        let tokens = self.slots[&from.0][..len].to_vec();
        self.slots.insert(slot.0, tokens);
        slot
    }

    fn kv_len(&self, slot: KvSlot) -> usize {
        self.slots[&slot.0].len()
    }

    fn kv_free(&mut self, slot: KvSlot) {
        self.slots.remove(&slot.0).expect("a slot is freed once");
        self.live.fetch_sub(1, Ordering::SeqCst);
    }

    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        if let Some((entered, leave)) = &self.gate {
            let _ = entered.send(());
            let _ = leave.recv();
        }
        Ok(self.rows(batch, wanted)?.concat())
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        let wanted: Vec<usize> = targets.iter().map(|t| t.row).collect();
        let rows = self.rows(batch, &wanted)?;
        let score = |(logits, target): (Vec<f32>, &Target)| Score {
            logprob: softmax(&logits)[target.token as usize].ln(),
            is_argmax: logits.iter().all(|l| *l <= logits[target.token as usize]),
        };
        Ok(rows.into_iter().zip(targets).map(score).collect())
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        let wanted: Vec<usize> = targets.iter().map(|t| t.row).collect();
        let rows = self.rows(batch, &wanted)?;
        let mut nll = Vec::new();
        for (logits, target) in rows.into_iter().zip(targets) {
            let mut delta = softmax(&logits);
            nll.push(-delta[target.token as usize].ln());
            delta[target.token as usize] -= 1.0;
            let holds = |s: &&Sequence| s.rows.contains(&target.row);
            let sequence = batch.sequences.iter().find(holds).unwrap();
            for index in &sequence.stack {
                let adapter = &batch.adapters[*index];
                let Some(grads) = &mut grads[*index] else {
                    continue;
                };
                let (rank, pair) = (adapter.config.rank, adapter.layers[0][0].as_ref().unwrap());
                let grad = grads[0][0].as_mut().unwrap();
                let (inputs, outputs) = (pair.a.len() / rank, pair.b.len() / rank);
                let column = batch.tokens[target.row] as usize % inputs;
                for (v, d) in delta.iter().enumerate() {
                    let d = d * target.weight * adapter.config.scale();
                    for k in 0..rank {
                        let (a, b) = (k * inputs + column, v % outputs * rank + k);
                        grad.a[a] += d * pair.b[b];
                        grad.b[b] += d * pair.a[a];
                    }
                }
            }
        }
        Ok(nll)
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = logits.iter().map(|l| (l - max).exp()).sum();
    logits.iter().map(|l| (l - max).exp() / sum).collect()
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
