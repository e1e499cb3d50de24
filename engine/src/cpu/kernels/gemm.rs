//! General products of f32 matrices with any strides: the `gemm` crate, behind bounds checks.

use super::{SharedMut, vectorised};
use gemm::Parallelism;
use rayon::prelude::*;

/// A matrix inside a slice: element (i, j) is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
pub struct Mat<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub row: usize,
    pub col: usize,
}

/// A matrix to be written, inside a slice.
pub struct MatMut<'a> {
    pub data: &'a mut [f32],
    pub rows: usize,
    pub cols: usize,
    /// Distance between rows; columns are contiguous.
    pub row: usize,
}

impl<'a> Mat<'a> {
    /// Rows of `cols` contiguous elements, `stride` apart.
    pub fn rows(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Mat {
            data,
            rows,
            cols,
            row: stride,
            col: 1,
        }
    }

    pub fn transposed(self) -> Self {
        Mat {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row: self.col,
            col: self.row,
        }
    }

    /// Elements from the first to the last, both included.
    pub fn extent(&self) -> usize {
        (self.rows - 1) * self.row + (self.cols - 1) * self.col + 1
    }
}

impl<'a> MatMut<'a> {
    pub fn rows(data: &'a mut [f32], rows: usize, cols: usize, stride: usize) -> Self {
        MatMut {
            data,
            rows,
            cols,
            row: stride,
        }
    }
}

/// `dst = scale · lhs · rhs`, or `dst += …` with `add`; over all threads of the pool if `parallel`.
pub fn matmul(dst: MatMut, add: bool, scale: f32, lhs: Mat, rhs: Mat, parallel: bool) {
    assert!(lhs.rows == dst.rows && rhs.cols == dst.cols && lhs.cols == rhs.rows);
    if dst.rows == 0 || dst.cols == 0 || lhs.cols == 0 {
        return;
    }
    assert!((dst.rows - 1) * dst.row + dst.cols <= dst.data.len());
    assert!(lhs.extent() <= lhs.data.len() && rhs.extent() <= rhs.data.len());
    // SAFETY: the three matrices lie inside their slices (just checked), and `dst` is borrowed
    // mutably, so it overlaps neither operand.
    unsafe {
        matmul_at(
            dst.data.as_mut_ptr(),
            dst.row,
            add,
            scale,
            lhs,
            rhs,
            parallel,
        )
    }
}

/// # Safety
/// The operands must lie inside their slices; `dst` must be valid for `lhs.rows` rows of `rhs.cols`
/// elements, `stride` apart, and overlap neither operand.
pub unsafe fn matmul_at(
    dst: *mut f32,
    stride: usize,
    add: bool,
    scale: f32,
    lhs: Mat,
    rhs: Mat,
    parallel: bool,
) {
    let threads = match parallel {
        true => Parallelism::Rayon(0),
        false => Parallelism::None,
    };
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.cols,
            lhs.cols,
            dst,
            1,
            stride as isize,
            add,
            lhs.data.as_ptr(),
            lhs.col as isize,
            lhs.row as isize,
            rhs.data.as_ptr(),
            rhs.col as isize,
            rhs.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        )
    }
}

/// `y[rows, outputs] = x · wᵀ`, or `+=` with `add`, for few rows: one pass over the weights, a dot product at a time.
pub fn small_batch(x: &[f32], w: &[f32], inputs: usize, outputs: usize, y: &mut [f32], add: bool) {
    let rows = x.len() / inputs;
    assert!(y.len() == rows * outputs && w.len() == inputs * outputs);
    let shared = SharedMut::new(y);
    w.par_chunks(inputs * 32)
        .enumerate()
        .for_each(|(block, w)| {
            for (i, w) in w.chunks_exact(inputs).enumerate() {
                for (row, x) in x.chunks_exact(inputs).enumerate() {
                    // SAFETY: each output column belongs to one block of weights, hence to one task.
                    let y = unsafe { &mut shared.slice(row * outputs + block * 32 + i, 1)[0] };
                    *y = dot(x, w) + if add { *y } else { 0.0 };
                }
            }
        });
}

vectorised! {
    /// Sum of products, in 64 running sums.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        const LANES: usize = 64;
        let mut sums = [0.0f32; LANES];
        let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a_blocks.remainder(), b_blocks.remainder());
        for (a, b) in a_blocks.zip(b_blocks) {
            for i in 0..LANES {
                sums[i] += a[i] * b[i];
            }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                sums[i] += sums[i + width];
            }
            width /= 2;
        }
        sums[0] + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
    }
}
