//! A batch made ready for a pass: its plan, and its adapters in the form that the pass multiplies with.

use super::extras::{BatchExtras, ExtrasCache};
use super::kv::Slots;
use super::linear::Format;
use super::lora_bf16::{BatchLoras, LoraCache};
use super::lora_fused::FusedBlocks;
use super::plan::{Plan, Rotary};
use super::shape::Shape;
use super::weights::Weights;
use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::Result;

/// A batch made ready for a pass.
pub struct Prepared<'a> {
    pub plan: Plan<'a>,
    pub lora: LoraForm,
    /// Empty in training.
    pub extras: BatchExtras,
}

/// Adapters in the forms that they are served in.
#[derive(Default)]
pub struct Caches {
    lora: LoraCache,
    extras: ExtrasCache,
}

/// How a pass computes the adapters' corrections.
pub enum LoraForm {
    /// In f32, after the frozen product ([`super::lora`]).
    F32,
    /// From matrices in bf16, after the frozen product ([`super::lora_bf16`]).
    Bf16(BatchLoras),
    /// In bf16, in one product with the frozen weights ([`super::lora_fused`]).
    Fused(FusedBlocks),
}

impl<'a> Prepared<'a> {
    /// Prepares a forward pass. Adapters that are not in `caches` yet are packed.
    pub fn for_serving(
        config: &ModelConfig,
        (weights, shape, format): (&Weights, &Shape, Format),
        batch: &'a PackedBatch,
        slots: &Slots,
        caches: &mut Caches,
    ) -> Result<Self> {
        let rotary = Rotary::new(config, &batch.positions);
        let plan = Plan::new(config, batch, slots, rotary)?;
        let lora = match format {
            Format::Bf16 => LoraForm::Bf16(caches.lora.serve(plan.adapters, &plan.levels)),
            Format::F32 | Format::Int8 => LoraForm::F32,
        };
        let extras = caches.extras.serve(&plan, weights, shape, format);
        Ok(Prepared { plan, lora, extras })
    }

    /// Prepares a forward and a backward pass.
    pub fn for_training(
        config: &ModelConfig,
        shape: &Shape,
        format: Format,
        batch: &'a PackedBatch,
        slots: &Slots,
        rotary: Rotary,
    ) -> Result<Self> {
        let plan = Plan::new(config, batch, slots, rotary)?;
        let fused = match format {
            Format::Bf16 => FusedBlocks::new(&plan, shape),
            Format::F32 | Format::Int8 => None,
        };
        let lora = fused.map_or(LoraForm::F32, LoraForm::Fused);
        let extras = BatchExtras::default();
        Ok(Prepared { plan, lora, extras })
    }
}
