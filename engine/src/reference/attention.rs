//! Causal grouped-query attention of one sequence over its cached keys and its own.

use candle_core::{D, Device, Result, Tensor};

/// `q` `[n, heads, D]` are the last n of the m positions of `k` and `v` `[m, kv_heads, D]`.
/// Returns `[n, heads · D]`.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (n, heads, head_dim) = q.dims3()?;
    let (m, kv_heads, _) = k.dims3()?;
    // The query heads of a group share their keys, so a group is one product of all its queries.
    let grouped = (kv_heads, heads / kv_heads * n, head_dim);
    let q = q.transpose(0, 1)?.contiguous()?.reshape(grouped)?;
    let k = k.transpose(0, 1)?.contiguous()?;
    let v = v.transpose(0, 1)?.contiguous()?;

    let scores = (q.matmul(&k.t()?)? * (1.0 / (head_dim as f64).sqrt()))?;
    let weights = if n == 1 {
        softmax(&scores)?
    } else {
        let masked =
            scores
                .reshape((heads, n, m))?
                .broadcast_add(&causal_mask(n, m, q.device())?)?;
        softmax(&masked)?.reshape((kv_heads, heads / kv_heads * n, m))?
    };
    weights
        .matmul(&v)?
        .reshape((heads, n, head_dim))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((n, heads * head_dim))
}

/// `[n, m]`: zero where row i, of position m - n + i, may attend, else −∞.
fn causal_mask(n: usize, m: usize, device: &Device) -> Result<Tensor> {
    let earlier = m - n;
    let mask: Vec<f32> = (0..n)
        .flat_map(|i| {
            (0..m).map(move |j| {
                if j <= earlier + i {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Tensor::from_vec(mask, (n, m), device)
}

/// Softmax over the last dimension; candle's fused `softmax_last_dim` has no backward. The maximum only prevents
/// overflow and carries no gradient.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x
        .broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?
        .exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}
