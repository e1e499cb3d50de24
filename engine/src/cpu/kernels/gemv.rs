//! Matrix–vector products in f32: what attention and adapters cost while decoding.

use super::simd::{Simd, dispatch};

/// `out[i] = x · rows[i]` for rows of `x.len()` elements, `stride` apart.
pub fn gemv(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    check(rows, stride, x.len(), out.len());
    // SAFETY: the rows lie inside the slice (just checked); `dispatch` calls what the processor has.
    unsafe { run_gemv(x, rows, stride, out) }
}

/// `out += Σ weights[i] · rows[i]` for rows of `out.len()` elements, `stride` apart.
pub fn gemv_transposed(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    check(rows, stride, out.len(), weights.len());
    // SAFETY: as above.
    unsafe { run_gemv_transposed(weights, rows, stride, out) }
}

fn check(rows: &[f32], stride: usize, width: usize, count: usize) {
    assert!(count == 0 || (count - 1) * stride + width <= rows.len());
}

unsafe fn run_gemv(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe { dispatch!(gemv_in(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32])) }
}

unsafe fn run_gemv_transposed(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        dispatch!(gemv_transposed_in(
            weights: &[f32],
            rows: &[f32],
            stride: usize,
            out: &mut [f32]
        ))
    }
}

/// # Safety
/// `rows` must hold a row for every element of `out`; the processor must have `S`.
#[inline(always)]
unsafe fn gemv_in<S: Simd>(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let width = x.len();
    for (i, out) in out.iter_mut().enumerate() {
        let (a, b) = (x.as_ptr(), rows.as_ptr().wrapping_add(i * stride));
        // SAFETY: within x and row i.
        unsafe {
            let mut sums = [S::splat(0.0); 4];
            let mut k = 0;
            while k + 4 * S::LANES <= width {
                for (z, sum) in sums.iter_mut().enumerate() {
                    let at = k + z * S::LANES;
                    *sum = S::fma(S::load(a.add(at)), S::load(b.add(at)), *sum);
                }
                k += 4 * S::LANES;
            }
            while k < width {
                let mask = S::mask(width - k);
                let (a, b) = (a.add(k), b.add(k));
                sums[0] = S::fma(S::load_masked(a, mask), S::load_masked(b, mask), sums[0]);
                k += S::LANES;
            }
            let [a, b, c, d] = sums;
            *out = S::sum(S::add(S::add(a, b), S::add(c, d)));
        }
    }
}

/// # Safety
/// `rows` must hold a row for every weight; the processor must have `S`.
#[inline(always)]
unsafe fn gemv_transposed_in<S: Simd>(
    weights: &[f32],
    rows: &[f32],
    stride: usize,
    out: &mut [f32],
) {
    let width = out.len();
    let mut k = 0;
    // SAFETY: within the rows and out; what lies outside is masked.
    unsafe {
        while k + 4 * S::LANES <= width {
            let at = out.as_ptr().add(k);
            let mut sums = std::array::from_fn::<_, 4, _>(|z| S::load(at.add(z * S::LANES)));
            for (i, weight) in weights.iter().enumerate() {
                let row = rows.as_ptr().add(i * stride + k);
                let weight = S::splat(*weight);
                for (z, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(weight, S::load(row.add(z * S::LANES)), *sum);
                }
            }
            for (z, sum) in sums.iter().enumerate() {
                S::store(out.as_mut_ptr().add(k + z * S::LANES), *sum);
            }
            k += 4 * S::LANES;
        }
        while k < width {
            let mask = S::mask(width - k);
            let mut sum = S::load_masked(out.as_ptr().add(k), mask);
            for (i, weight) in weights.iter().enumerate() {
                let row = rows.as_ptr().add(i * stride + k);
                sum = S::fma(S::splat(*weight), S::load_masked(row, mask), sum);
            }
            S::store_masked(out.as_mut_ptr().add(k), mask, sum);
            k += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;

    #[test]
    fn agree_with_the_definition() {
        for (count, width, stride) in [(1, 1, 1), (3, 7, 9), (5, 64, 64), (4, 100, 131)] {
            let (x, rows) = (numbers(width, 1), numbers(count * stride, 2));
            let weights = numbers(count, 3);
            let (mut products, mut sum) = (vec![f32::NAN; count], vec![1.0; width]);
            gemv(&x, &rows, stride, &mut products);
            gemv_transposed(&weights, &rows, stride, &mut sum);
            for (i, got) in products.iter().enumerate() {
                let want: f32 = (0..width).map(|k| x[k] * rows[i * stride + k]).sum();
                assert!((got - want).abs() < 1e-5, "{count}x{width}: row {i}");
            }
            for (k, got) in sum.iter().enumerate() {
                let want = (0..count)
                    .map(|i| weights[i] * rows[i * stride + k])
                    .sum::<f32>()
                    + 1.0;
                assert!((got - want).abs() < 1e-5, "{count}x{width}: column {k}");
            }
        }
    }
}
