//! The row-wise operations between the matrix products: norms, rotation, SwiGLU, softmax.
//!
//! `exp` is a polynomial (Cody–Waite reduction, degree 6, relative error about 1e-7), because the library's
//! is a function call for each element and does not vectorise. Sums run in sixteen lanes, in an order that
//! depends on the length alone.

use super::vectorised;

const LANES: usize = 16;

#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4 * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

#[inline(always)]
fn lanes_sum(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

vectorised! {
    pub fn max(x: &[f32]) -> f32 {
        let mut best = [f32::NEG_INFINITY; LANES];
        let blocks = x.chunks_exact(LANES);
        let rest = blocks.remainder();
        for block in blocks {
            for i in 0..LANES {
                best[i] = if block[i] > best[i] { block[i] } else { best[i] };
            }
        }
        let rest = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        best.into_iter().fold(rest, f32::max)
    }
}

vectorised! {
    /// Replaces each x by `exp(x · scale − shift)`; returns their sum.
    pub fn exp_sum(x: &mut [f32], scale: f32, shift: f32) -> f32 {
        let mut sums = [0.0f32; LANES];
        let mut blocks = x.chunks_exact_mut(LANES);
        for block in &mut blocks {
            for i in 0..LANES {
                block[i] = exp(block[i] * scale - shift);
                sums[i] += block[i];
            }
        }
        let mut rest = 0.0;
        for value in blocks.into_remainder() {
            *value = exp(*value * scale - shift);
            rest += *value;
        }
        lanes_sum(sums) + rest
    }
}

vectorised! {
    pub fn sum(x: &[f32]) -> f32 {
        let mut sums = [0.0f32; LANES];
        let blocks = x.chunks_exact(LANES);
        let rest: f32 = blocks.remainder().iter().sum();
        for block in blocks {
            for i in 0..LANES {
                sums[i] += block[i];
            }
        }
        lanes_sum(sums) + rest
    }
}

vectorised! {
    pub fn scale(x: &mut [f32], factor: f32) {
        for value in x {
            *value *= factor;
        }
    }
}

vectorised! {
    /// `out = x / rms(x) · w` for one row.
    pub fn rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
        let inverse = inverse_rms(x, eps);
        for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
            *out = x * inverse * w;
        }
    }
}

vectorised! {
    /// `dx += ∂(rms_norm)/∂x · dy` for one row.
    pub fn rms_norm_grad(x: &[f32], w: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
        let inverse = inverse_rms(x, eps);
        let mut sums = [0.0f32; LANES];
        let (xs, ws, dys) = (x.chunks_exact(LANES), w.chunks_exact(LANES), dy.chunks_exact(LANES));
        let rest = xs.remainder().iter().zip(ws.remainder()).zip(dys.remainder());
        let rest: f32 = rest.map(|((x, w), d)| x * w * d).sum();
        for ((x, w), d) in xs.zip(ws).zip(dys) {
            for i in 0..LANES {
                sums[i] += x[i] * w[i] * d[i];
            }
        }
        let along = (lanes_sum(sums) + rest) * inverse * inverse * inverse / x.len() as f32;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            *dx += dy * w * inverse - x * along;
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let blocks = x.chunks_exact(LANES);
    let rest: f32 = blocks.remainder().iter().map(|x| x * x).sum();
    for block in blocks {
        for i in 0..LANES {
            sums[i] += block[i] * block[i];
        }
    }
    1.0 / ((lanes_sum(sums) + rest) / x.len() as f32 + eps).sqrt()
}

vectorised! {
    /// `out = silu(gate) · up` for one row; `gate_up` holds both halves.
    pub fn swiglu(gate_up: &[f32], out: &mut [f32]) {
        let (gate, up) = gate_up.split_at(out.len());
        for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
            *out = g / (1.0 + exp(-g)) * u;
        }
    }
}

vectorised! {
    /// The gradient of [`swiglu`]'s input, into `d_gate_up`.
    pub fn swiglu_grad(gate_up: &[f32], d_out: &[f32], d_gate_up: &mut [f32]) {
        let (gate, up) = gate_up.split_at(d_out.len());
        let (d_gate, d_up) = d_gate_up.split_at_mut(d_out.len());
        let inputs = gate.iter().zip(up).zip(d_out);
        for (((g, u), d), (dg, du)) in inputs.zip(d_gate.iter_mut().zip(d_up)) {
            let s = 1.0 / (1.0 + exp(-g));
            *dg = d * u * s * (1.0 + g * (1.0 - s));
            *du = d * g * s;
        }
    }
}

vectorised! {
    /// Rotates one head; with `direction` −1 it rotates back, which is also the gradient.
    pub fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], direction: f32) {
        let (low, high) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            let s = s * direction;
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

vectorised! {
    /// `p = p · (d − delta) · scale`: through softmax, the gradient of the scores.
    pub fn softmax_grad(p: &[f32], d: &mut [f32], delta: f32, scale: f32) {
        for (p, d) in p.iter().zip(d) {
            *d = p * (*d - delta) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_as_exact_as_f32_allows() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0 + 0.001;
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (got / want - 1.0).abs() < 3e-7,
                "exp({x}) = {got}, not {want}"
            );
        }
    }

    #[test]
    fn sums_cover_the_rest_of_a_row() {
        let mut x: Vec<f32> = (0..37).map(|i| i as f32 / 10.0).collect();
        assert_eq!(max(&x), 3.6);
        let want: f64 = (0..37).map(|i| (f64::from(i) / 10.0 - 3.6).exp()).sum();
        let got = f64::from(exp_sum(&mut x, 1.0, 3.6));
        assert!((got - want).abs() < 1e-5);
        assert!((f64::from(sum(&x)) - want).abs() < 1e-5);
    }
}
