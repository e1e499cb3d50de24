//! From hidden states to likelihoods, a slice of rows at a time.
//!
//! The vocabulary is a hundred times wider than the hidden state, so the logits of a whole training batch would be
//! its largest tensor by far. Logits are made, used and dropped in slices. In training each slice's backward stops
//! at the hidden states, and the slices' gradients are joined there.

use super::adapters::Adapters;
use super::decoder::Decoder;
use crate::error::Result;
use crate::executor::{Score, Target};
use candle_core::{D, Tensor, Var};

/// Most rows of logits at a time.
const SLICE: usize = 128;

pub fn score(
    decoder: &Decoder,
    adapters: &Adapters,
    normed: &Tensor,
    targets: &[Target],
) -> Result<Vec<Score>> {
    let mut scores = Vec::with_capacity(targets.len());
    for (index, slice) in targets.chunks(SLICE).enumerate() {
        let rows = normed.narrow(0, index * SLICE, slice.len())?;
        let of: Vec<usize> = slice.iter().map(|t| t.row).collect();
        let logits = adapters.score(&of, &rows, decoder.logits(&rows)?)?;
        let best = logits.max(D::Minus1)?.to_vec1::<f32>()?;
        let own = own_logits(&logits, slice, targets)?.to_vec1::<f32>()?;
        let nll = nll(&logits, slice, targets)?.to_vec1::<f32>()?;
        scores.extend((0..slice.len()).map(|i| Score {
            logprob: -nll[i],
            is_argmax: own[i] >= best[i],
        }));
    }
    Ok(scores)
}

/// The nll of each target, and the gradient `[n, hidden]` of `Σ weight · nll` with respect to `normed`.
pub fn loss_gradient(
    decoder: &Decoder,
    normed: &Tensor,
    targets: &[Target],
) -> Result<(Vec<f32>, Tensor)> {
    let mut nlls = Vec::with_capacity(targets.len());
    let mut gradients = Vec::new();
    for (index, slice) in targets.chunks(SLICE).enumerate() {
        let rows = normed.detach().narrow(0, index * SLICE, slice.len())?;
        let rows = Var::from_tensor(&rows)?;
        let nll = nll(&decoder.logits(&rows)?, slice, targets)?;
        let weights: Vec<f32> = slice.iter().map(|t| t.weight).collect();
        let weights = Tensor::new(weights.as_slice(), decoder.device())?;
        nlls.extend(nll.to_vec1::<f32>()?);
        let mut store = (nll * weights)?.sum_all()?.backward()?;
        let gradient = store.remove(&rows);
        gradients.push(gradient.expect("every slice's loss depends on its rows"));
    }
    Ok((nlls, Tensor::cat(&gradients, 0)?))
}

/// `[n]`: log Σ exp(logits) minus the target's logit. `targets` are some of `all`.
fn nll(logits: &Tensor, targets: &[Target], all: &[Target]) -> Result<Tensor> {
    Ok((log_sum_exp(logits)? - own_logits(logits, targets, all)?)?)
}

fn log_sum_exp(logits: &Tensor) -> Result<Tensor> {
    let max = logits.max_keepdim(D::Minus1)?.detach();
    let sum = logits.broadcast_sub(&max)?.exp()?.sum(D::Minus1)?;
    Ok((sum.log()? + max.squeeze(1)?)?)
}

/// The logit of each target; for [`Target::OTHERS`] the log-sum-exp of all tokens that the row's other targets do
/// not name.
fn own_logits(logits: &Tensor, targets: &[Target], all: &[Target]) -> Result<Tensor> {
    let named = |t: &Target| if t.is_others() { 0 } else { t.token };
    let tokens: Vec<u32> = targets.iter().map(named).collect();
    let tokens = Tensor::from_vec(tokens, (targets.len(), 1), logits.device())?;
    let own = logits.gather(&tokens, 1)?.squeeze(1)?;
    if !targets.iter().any(Target::is_others) {
        return Ok(own);
    }
    // The tokens that the row's other targets name are masked.
    let vocab = logits.dim(1)?;
    let mut mask = vec![0.0f32; targets.len() * vocab];
    for (target, mask) in targets.iter().zip(mask.chunks_exact_mut(vocab)) {
        let of_row = all.iter().filter(|t| t.row == target.row && !t.is_others());
        for named in of_row.filter(|_| target.is_others()) {
            mask[named.token as usize] = -1e9;
        }
    }
    let mask = Tensor::from_vec(mask, logits.shape(), logits.device())?;
    let rest = log_sum_exp(&(logits + mask)?)?;
    let is_others = targets.iter().map(|t| u8::from(t.is_others()));
    let is_others = Tensor::from_vec(is_others.collect(), targets.len(), logits.device())?;
    Ok(is_others.where_cond(&rest, &own)?)
}
