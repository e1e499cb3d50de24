//! The executor for processors: hand-written fused forward and backward over reused buffers.
//!
//! Nearly all arithmetic is in the frozen products. They run in bf16 on processors with AVX512_BF16, else on
//! weights of at most eight bits; both are packed once at load. The residual stream, norms, softmax and LoRA's
//! sums are f32. LoRA's matrices are f32 too, except that beside bf16 weights they are rounded to bf16.
//!
//! A frozen layer never gets a weight gradient. Logits of unsupervised rows are never made. Backward stops at
//! the lowest layer that trains. Buffers are kept between calls, and the executor owns its threads.
//!
//! ```text
//! training    a training pass in parts, a layer each
//! decoder     weights, KV slots and workspaces; the passes that serve
//! head        logits, scores, cross-entropy
//! backward    the gradient of one decoder layer
//! layer       forward of one decoder layer
//! prepared    a batch made ready for a pass: its plan, and the form of its adapters
//! lora_fused  adapters in training, in one product with bf16 weights
//! lora_bf16   adapters as they are served beside bf16 weights
//! extras      what adapters change beyond their pairs: DoRA's factors, biases, token tables
//! lora        the adapters' part of a group of linear layers, in f32
//! workspace   buffers that outlive a call
//! plan        the batch, checked: who attends to what, which rows which adapter corrects
//! weights     the frozen layers, packed at load
//! shortlist   output projections of the tokens that matter to a training
//! linear, kv  a frozen product and its input gradient; pages of keys and values
//! shape       the model's dimensions
//! kernels     the inner loops, and all `unsafe`
//! ```
//!
//! The files import each other one way, in no circle (tested by `layering`).

mod backward;
mod decoder;
mod extras;
mod head;
mod kernels;
mod kv;
mod layer;
#[cfg(test)]
mod layering;
mod linear;
mod lora;
mod lora_bf16;
mod lora_fused;
mod plan;
mod prepared;
mod shape;
mod shortlist;
mod training;
mod weights;
mod workspace;

pub use kernels::has_amx_bf16;
pub use kernels::peak::{Peak, measure_peak};

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::executor::{BackwardPass, Executor, KvSlot, Score, Target};
use crate::lora::LoraGrads;
use crate::weights::{Matrix, ModelFiles};
use decoder::Decoder;
use linear::Format;
use weights::Source;

/// How the executor runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads of the executor's own pool; 0 counts as 1.
    pub threads: usize,
    pub precision: Precision,
}

/// The number format of the frozen weights and of the activations multiplied with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// [`Precision::Bf16`] where the processor multiplies bf16 natively, else [`Precision::Int8`].
    #[default]
    Auto,
    F32,
    /// Weights and activations in bf16.
    Bf16,
    /// Weights of 4, 5 or 8 bits, as few as hold them, with a scale for every 32 weights; activations in f32.
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

/// The fused executor, on the processor.
pub struct Cpu {
    pool: rayon::ThreadPool,
    decoder: Decoder,
}

impl Cpu {
    /// Reads the model's weights and packs them.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Io`] if a tensor cannot be read.
    pub fn new(files: &ModelFiles, options: CpuOptions) -> Result<Self> {
        Self::load(&files.config, &|name| files.matrix(name), options)
    }

    /// An executor over the tensors that `source` gives, row-major, for their Hugging Face names.
    pub fn from_tensors(
        config: &ModelConfig,
        source: &(dyn Fn(&str) -> Result<Vec<f32>> + Sync),
        options: CpuOptions,
    ) -> Result<Self> {
        Self::load(config, &|name| source(name).map(Matrix::Floats), options)
    }

    fn load(config: &ModelConfig, source: &Source, options: CpuOptions) -> Result<Self> {
        let format = match options.precision {
            Precision::Auto if kernels::has_avx512_bf16() => Format::Bf16,
            Precision::Auto | Precision::Int8 => Format::Int8,
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads.max(1))
            .thread_name(|i| format!("cpu-{i}"))
            .build()
            .map_err(|e| Error::Input(format!("cannot start {} threads: {e}", options.threads)))?;
        let decoder = pool.install(|| Decoder::load(config, source, format))?;
        Ok(Cpu { pool, decoder })
    }
}

impl Executor for Cpu {
    fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    fn kv_new(&mut self) -> KvSlot {
        self.decoder.slots.create()
    }

    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        self.decoder.slots.fork(from, len)
    }

    fn kv_len(&self, slot: KvSlot) -> usize {
        self.decoder.slots.len(slot).unwrap_or(0)
    }

    fn kv_page(&self) -> usize {
        kv::PAGE
    }

    fn kv_free(&mut self, slot: KvSlot) {
        self.decoder.slots.free(slot);
    }

    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        let decoder = &mut self.decoder;
        self.pool.install(|| decoder.logits(batch, wanted))
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        let decoder = &mut self.decoder;
        self.pool.install(|| decoder.score(batch, targets))
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        let decoder = &mut self.decoder;
        self.pool
            .install(|| decoder.backward(batch, targets, grads))
    }

    fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        let decoder = &mut self.decoder;
        self.pool.install(|| decoder.backward_part(pass))
    }
}
