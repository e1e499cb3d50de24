//! The executor for processors: hand-written fused forward and backward over reused buffers.
//!
//! Where the time goes decides the shape. Nearly all arithmetic is the frozen products, so those run
//! in bf16 on processors with AVX512_BF16, else on weights of at most eight bits (either packed once at load); the
//! residual stream, norms, softmax and LoRA's sums stay f32, and so do its matrices but where adapters are
//! served (`narrow`) or trained (`fused`) beside bf16 weights. A frozen layer never gets a weight gradient, logits of unsupervised
//! rows are never made, and backward stops at the lowest layer that trains.
//! Buffers are kept between calls, threads are the executor's own.
//!
//! ```text
//! plan     the batch, checked: who attends to what, which rows which adapter corrects
//! layer    forward of one decoder layer          backward   its gradient
//! training a backward pass in parts, a layer each
//! lora     the adapters' part of both            narrow     the same, served in bf16
//! fused    both beside bf16 weights, in one product with them
//! head     logits, scores, cross-entropy
//! linear   a frozen product and its input gradient
//! kernels  the inner loops, and all `unsafe`
//! ```

mod backward;
mod fused;
mod head;
mod kernels;
mod kv;
mod layer;
mod linear;
mod lora;
mod narrow;
mod plan;
mod training;
mod weights;
mod workspace;

pub use kernels::peak::{Peak, measure_peak};

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::executor::{BackwardPass, Executor, KvSlot, Score, Target};
use crate::lora::LoraGrads;
use crate::weights::{Matrix, ModelFiles};
use head::Head;
use kv::Slots;
use layer::{Pass, Shape};
use linear::Format;
use narrow::NarrowLoras;
use plan::Plan;
use weights::{Source, Weights};
use workspace::{Saved, Workspace};

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    pub threads: usize,
    pub precision: Precision,
}

/// The number format of the frozen weights and of what is multiplied with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// bf16 where the processor multiplies it natively, else at most eight bits.
    #[default]
    Auto,
    F32,
    /// Weights and what is multiplied with them.
    Bf16,
    /// Weights of 4, 5 or 8 bits, as few as hold them, with a scale for every 32; what is multiplied with
    /// them stays f32.
    Int8,
}

impl Default for CpuOptions {
    fn default() -> Self {
        CpuOptions {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            precision: Precision::Auto,
        }
    }
}

pub struct Cpu {
    pool: rayon::ThreadPool,
    inner: Inner,
}

struct Inner {
    config: ModelConfig,
    shape: Shape,
    weights: Weights,
    format: Format,
    slots: Slots,
    /// Adapters as they are served, where weights are bf16.
    narrow: NarrowLoras,
    serving: Workspace,
    /// A workspace of its own: batches are served between the parts of a training pass.
    training: Workspace,
}

impl Cpu {
    pub fn new(files: &ModelFiles, options: CpuOptions) -> Result<Self> {
        Self::load(&files.config, &|name| files.matrix(name), options)
    }

    /// An executor over tensors that `source` reads by their Hugging Face names.
    pub fn from_tensors(
        config: &ModelConfig,
        source: &(dyn Fn(&str) -> Result<Vec<f32>> + Sync),
        options: CpuOptions,
    ) -> Result<Self> {
        Self::load(config, &|name| source(name).map(Matrix::Floats), options)
    }

    fn load(config: &ModelConfig, source: &Source, options: CpuOptions) -> Result<Self> {
        let format = match options.precision {
            Precision::Auto if kernels::bf16::available() => Format::Bf16,
            Precision::Auto | Precision::Int8 => Format::Int8,
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads.max(1))
            .thread_name(|i| format!("cpu-{i}"))
            .build()
            .map_err(|e| Error::Input(format!("cannot start {} threads: {e}", options.threads)))?;
        let weights = pool.install(|| Weights::load(config, source, format))?;
        let inner = Inner {
            config: config.clone(),
            shape: Shape::new(config),
            weights,
            format,
            narrow: NarrowLoras::default(),
            slots: Slots::new(config.num_layers, config.kv_dim()),
            serving: Workspace::default(),
            training: Workspace::default(),
        };
        Ok(Cpu { pool, inner })
    }
}

impl Executor for Cpu {
    fn config(&self) -> &ModelConfig {
        &self.inner.config
    }

    fn kv_new(&mut self) -> KvSlot {
        self.inner.slots.create()
    }

    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        self.inner.slots.fork(from, len)
    }

    fn kv_len(&self, slot: KvSlot) -> usize {
        self.inner.slots.len(slot).unwrap_or(0)
    }

    fn kv_page(&self) -> usize {
        kv::PAGE
    }

    fn kv_free(&mut self, slot: KvSlot) {
        self.inner.slots.free(slot);
    }

    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        let inner = &mut self.inner;
        self.pool.install(|| inner.logits(batch, wanted))
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        let inner = &mut self.inner;
        self.pool.install(|| inner.score(batch, targets))
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        let inner = &mut self.inner;
        self.pool.install(|| inner.backward(batch, targets, grads))
    }

    fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        let inner = &mut self.inner;
        self.pool.install(|| inner.backward_part(pass))
    }
}

impl Inner {
    fn logits(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        let plan = self.plan(batch)?;
        if let Some(row) = wanted.iter().find(|r| **r >= plan.rows) {
            let rows = plan.rows;
            return Err(Error::Input(format!(
                "row {row} is wanted of a batch of {rows}"
            )));
        }
        if plan.rows == 0 {
            return Ok(Vec::new());
        }
        self.decode(batch, &plan);
        let h = self.serving.hidden.get(plan.rows * self.shape.hidden);
        Ok(head(&self.weights, &self.shape).logits(h, wanted, &mut self.serving.temp))
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        let plan = self.plan(batch)?;
        plan.check_targets(targets, self.config.vocab_size, false)?;
        if plan.rows == 0 {
            return Ok(Vec::new());
        }
        self.decode(batch, &plan);
        let h = self.serving.hidden.get(plan.rows * self.shape.hidden);
        Ok(head(&self.weights, &self.shape).score(h, targets, &mut self.serving.temp))
    }

    /// The plan of a batch that is served.
    fn plan<'b>(&mut self, batch: &'b PackedBatch) -> Result<Plan<'b>> {
        let mut plan = Plan::new(&self.config, batch, &self.slots)?;
        if self.format == Format::Bf16 {
            plan.served = Some(self.narrow.serve(plan.adapters, &plan.levels));
        }
        Ok(plan)
    }

    /// Runs all layers, leaving the last one's output in the residual stream.
    fn decode(&mut self, batch: &PackedBatch, plan: &Plan) {
        let Workspace {
            hidden,
            layers,
            temp,
            ..
        } = &mut self.serving;
        let h = hidden.of(plan.rows * self.shape.hidden);
        self.weights.embed(&batch.tokens, self.shape.hidden, h);
        layers.resize_with(1, Saved::default);
        for (index, weights) in self.weights.layers.iter().enumerate() {
            let pass = Pass {
                shape: &self.shape,
                weights,
                plan,
                index,
            };
            pass.forward(h, &mut self.slots, &mut layers[0], temp);
        }
        for span in &plan.spans {
            if let Some(slot) = span.kv {
                self.slots.advance(slot, span.rows.len());
            }
        }
    }
}

fn head<'a>(weights: &'a Weights, shape: &Shape) -> Head<'a> {
    Head {
        norm: &weights.norm,
        eps: shape.eps,
        linear: &weights.head,
    }
}
