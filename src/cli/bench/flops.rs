//! The least number of floating-point operations of a batch: the products with frozen weights. A multiply-add counts
//! as two operations.
//!
//! With P weights in the decoder's linear layers and H in the head (hidden × vocabulary):
//!
//! | | operations |
//! | --- | --- |
//! | forward | 2·P a token, 2·H a row with logits |
//! | backward | the same again for the gradients of inputs; frozen weights have no gradients |
//!
//! Attention, LoRA and repeated computations do not count. Their cost lowers the share of the peak.

use autodidact_engine::{ModelConfig, Projection};

/// Operations of one forward and backward pass over `tokens` tokens, with logits for `supervised` of them.
pub fn training(model: &ModelConfig, tokens: usize, supervised: usize) -> f64 {
    2.0 * forward(model, tokens, supervised)
}

/// Operations of a forward pass with logits for `wanted` rows.
pub fn forward(model: &ModelConfig, tokens: usize, wanted: usize) -> f64 {
    let head = model.hidden_size * model.vocab_size;
    2.0 * (tokens as f64 * linear_weights(model) as f64 + wanted as f64 * head as f64)
}

fn linear_weights(model: &ModelConfig) -> usize {
    let layer = Projection::ALL.map(|p| {
        let (inputs, outputs) = model.features(p);
        inputs * outputs
    });
    model.num_layers * layer.iter().sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use autodidact_engine::{Family, tiny::tiny_config};

    #[test]
    fn counts_what_pencil_and_paper_count() {
        let model = tiny_config(Family::Llama);
        // Two layers, 64 wide: q, o 64 × 64; k, v 64 × 32; gate, up, down 64 × 128.
        let weights = 2 * (2 * 4096 + 2 * 2048 + 3 * 8192);
        let head = 64 * model.vocab_size;
        let once = (2 * (10 * weights + 3 * head)) as f64;
        assert_eq!(forward(&model, 10, 3), once);
        assert_eq!(training(&model, 10, 3), 2.0 * once);
    }
}
