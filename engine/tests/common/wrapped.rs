//! The executor for processors with a test's own way of doing a training pass.

use autodidact_engine::{
    BackwardPass, Cpu, Executor, KvSlot, LoraGrads, ModelConfig, PackedBatch, Result, Score, Target,
};

/// `cpu`, whose parts of a pass are done by `part`.
pub struct Wrapped<F> {
    pub cpu: Cpu,
    pub part: F,
}

impl<F: FnMut(&mut Cpu, &mut BackwardPass) -> Result<bool> + Send> Executor for Wrapped<F> {
    fn config(&self) -> &ModelConfig {
        self.cpu.config()
    }
    fn kv_new(&mut self) -> KvSlot {
        self.cpu.kv_new()
    }
    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        self.cpu.kv_fork(from, len)
    }
    fn kv_len(&self, slot: KvSlot) -> usize {
        self.cpu.kv_len(slot)
    }
    fn kv_free(&mut self, slot: KvSlot) {
        self.cpu.kv_free(slot);
    }
    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        self.cpu.forward(batch, wanted)
    }
    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        self.cpu.score(batch, targets)
    }
    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        self.cpu.backward(batch, targets, grads)
    }
    fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        (self.part)(&mut self.cpu, pass)
    }
}
