//! Small products of f32 matrices: the adapters' and attention's.
//!
//! A general product spends its time packing such operands; this one packs nothing. The right operand has
//! contiguous rows and is loaded from where it lies, the left operand is broadcast from where it lies, and a
//! tile of the result stays in registers. An element's sum runs over k in order, whatever the tile.

use super::gemm::{self, Mat, MatMut};
use super::simd::{Simd, dispatch};

/// `dst = scale · lhs · rhs`, or `dst += …` with `add`, on this thread. `rhs` has contiguous rows.
pub fn matmul(dst: MatMut, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
    assert!(lhs.rows == dst.rows && rhs.cols == dst.cols);
    if dst.rows == 0 || dst.cols == 0 {
        return;
    }
    assert!((dst.rows - 1) * dst.row + dst.cols <= dst.data.len());
    // SAFETY: the result lies inside `dst` (just checked), which is borrowed mutably, so it overlaps
    // neither operand.
    unsafe { matmul_at(dst.data.as_mut_ptr(), dst.row, add, scale, lhs, rhs) }
}

/// [`matmul`] into memory that no slice covers.
///
/// # Safety
/// `dst` must be valid for `lhs.rows` rows of `rhs.cols` elements, `stride` apart, and overlap neither
/// operand.
pub unsafe fn matmul_at(dst: *mut f32, stride: usize, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
    assert!(rhs.col == 1, "the right operand has contiguous rows");
    assert!(lhs.cols == rhs.rows && lhs.rows * lhs.cols * rhs.cols > 0);
    assert!(lhs.extent() <= lhs.data.len() && rhs.extent() <= rhs.data.len());
    if lhs.row == 1 || lhs.col == 1 {
        // SAFETY: the operands lie inside their slices (just checked); the rest is the caller's promise.
        return unsafe { in_registers(dst, stride, add, scale, lhs, rhs) };
    }
    // SAFETY: the operands were checked above; the rest is the caller's promise.
    unsafe { gemm::matmul_at(dst, stride, add, scale, lhs, rhs, false) }
}

/// `out[cols, rows]` from `data[rows, …]`, `cols` wide and `stride` apart.
pub fn transpose(data: &[f32], rows: usize, cols: usize, stride: usize, out: &mut [f32]) {
    transpose_into(data, rows, cols, stride, out, rows);
}

/// [`transpose`], with the rows of `out` `out_stride` apart.
pub fn transpose_into(
    data: &[f32],
    rows: usize,
    cols: usize,
    stride: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    const BLOCK: usize = 16;
    assert!((rows - 1) * stride + cols <= data.len());
    assert!(rows <= out_stride && (cols - 1) * out_stride + rows <= out.len());
    for i in (0..rows).step_by(BLOCK) {
        for j in (0..cols).step_by(BLOCK) {
            for c in j..(j + BLOCK).min(cols) {
                let row = &mut out[c * out_stride + i..c * out_stride + (i + BLOCK).min(rows)];
                for (r, value) in row.iter_mut().enumerate() {
                    *value = data[(i + r) * stride + c];
                }
            }
        }
    }
}

/// Most steps of k at a time where the left operand is transposed: its columns then stay in the second-level
/// cache.
const K_BLOCK: usize = 256;
/// Most steps of k that share one address of the left operand.
const UNROLL: usize = 4;

/// # Safety
/// As [`matmul_at`]; the operands must lie inside their slices, and the left one's rows or columns be
/// contiguous.
unsafe fn in_registers(c: *mut f32, stride: usize, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
    // SAFETY: `dispatch` calls what the processor has; the rest is the caller's promise.
    unsafe {
        dispatch!(product(
            c: *mut f32,
            stride: usize,
            add: bool,
            scale: f32,
            lhs: Mat,
            rhs: Mat
        ))
    }
}

/// # Safety
/// As [`in_registers`]; the processor must have `S`.
#[inline(always)]
unsafe fn product<S: Simd>(c: *mut f32, stride: usize, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
    let (rows, cols, depth) = (lhs.rows, rhs.cols, lhs.cols);
    let transposed = lhs.row == 1;
    let k_block = if transposed { K_BLOCK } else { depth };
    let narrow = cols <= S::LANES;
    let (height, panel) = match narrow {
        true => (S::ROWS_NARROW, S::LANES),
        false => (S::ROWS_WIDE, 2 * S::LANES),
    };
    for k in (0..depth).step_by(k_block) {
        let mut tile = Tile {
            depth: k_block.min(depth - k),
            a: lhs.data.as_ptr().wrapping_add(k * lhs.col),
            a_stride: if transposed { lhs.col } else { lhs.row },
            b: std::ptr::null(),
            b_stride: rhs.row,
            c,
            c_stride: stride,
            width: 0,
            scale,
            add: add || k > 0,
        };
        let (a, b) = (tile.a, rhs.data.as_ptr().wrapping_add(k * rhs.row));
        for i in (0..rows).step_by(height) {
            tile.a = a.wrapping_add(i * lhs.row);
            for j in (0..cols).step_by(panel) {
                tile.b = b.wrapping_add(j);
                tile.c = c.wrapping_add(i * stride + j);
                tile.width = panel.min(cols - j);
                let high = height.min(rows - i);
                // SAFETY: the tile lies inside the matrices the caller vouches for.
                unsafe {
                    match (transposed, narrow) {
                        (false, true) => rows_of::<S, false, 1>(&tile, high),
                        (true, true) => rows_of::<S, true, 1>(&tile, high),
                        (false, false) => rows_of::<S, false, 2>(&tile, high),
                        (true, false) => rows_of::<S, true, 2>(&tile, high),
                    }
                }
            }
        }
    }
}

struct Tile {
    depth: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    width: usize,
    scale: f32,
    add: bool,
}

/// # Safety
/// As [`run`], for `rows` rows: as many as fit at a time.
#[inline(always)]
unsafe fn rows_of<S: Simd, const TRANSPOSED: bool, const Z: usize>(tile: &Tile, rows: usize) {
    let mut done = 0;
    while done < rows {
        let part = Tile {
            a: tile
                .a
                .wrapping_add(done * if TRANSPOSED { 1 } else { tile.a_stride }),
            c: tile.c.wrapping_add(done * tile.c_stride),
            ..*tile
        };
        // SAFETY: rows `done..` of the caller's tile.
        done += unsafe {
            match rows - done {
                16.. => run::<S, TRANSPOSED, Z, 16>(&part),
                8.. => run::<S, TRANSPOSED, Z, 8>(&part),
                6.. => run::<S, TRANSPOSED, Z, 6>(&part),
                4.. => run::<S, TRANSPOSED, Z, 4>(&part),
                2.. => run::<S, TRANSPOSED, Z, 2>(&part),
                _ => run::<S, TRANSPOSED, Z, 1>(&part),
            }
        };
    }
}

/// `M` rows × `Z` registers. Returns M.
///
/// # Safety
/// `a`, `b`, `c` must be valid for the tile, the processor must have `S`.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
unsafe fn run<S: Simd, const TRANSPOSED: bool, const Z: usize, const M: usize>(t: &Tile) -> usize {
    // SAFETY: inside the tile; what lies outside its width is masked.
    unsafe {
        let mut masks = [S::mask(0); Z];
        for z in 0..Z {
            masks[z] = S::mask(t.width.saturating_sub(z * S::LANES));
        }
        let full = t.width == Z * S::LANES;
        let mut sums = [[S::splat(0.0); Z]; M];
        let mut k = 0;
        while k + S::UNROLL <= t.depth {
            let mut b = [[S::splat(0.0); Z]; UNROLL];
            for u in 0..S::UNROLL {
                for z in 0..Z {
                    let at = t.b.wrapping_add((k + u) * t.b_stride + z * S::LANES);
                    b[u][z] = match full {
                        true => S::load(at),
                        false => S::load_masked(at, masks[z]),
                    };
                }
            }
            // Transposed, a step of k is contiguous; else a row is.
            if TRANSPOSED {
                for u in 0..S::UNROLL {
                    let a = t.a.add((k + u) * t.a_stride);
                    for m in 0..M {
                        let a = S::splat(*a.add(m));
                        for z in 0..Z {
                            sums[m][z] = S::fma(a, b[u][z], sums[m][z]);
                        }
                    }
                }
            } else {
                for m in 0..M {
                    let a = t.a.add(m * t.a_stride + k);
                    for u in 0..S::UNROLL {
                        let a = S::splat(*a.add(u));
                        for z in 0..Z {
                            sums[m][z] = S::fma(a, b[u][z], sums[m][z]);
                        }
                    }
                }
            }
            k += S::UNROLL;
        }
        while k < t.depth {
            for m in 0..M {
                let at = match TRANSPOSED {
                    true => k * t.a_stride + m,
                    false => m * t.a_stride + k,
                };
                let a = S::splat(*t.a.add(at));
                for z in 0..Z {
                    let at = t.b.wrapping_add(k * t.b_stride + z * S::LANES);
                    let b = S::load_masked(at, masks[z]);
                    sums[m][z] = S::fma(a, b, sums[m][z]);
                }
            }
            k += 1;
        }
        let scale = S::splat(t.scale);
        for m in 0..M {
            for z in 0..Z {
                let c = t.c.wrapping_add(m * t.c_stride + z * S::LANES);
                let before = match t.add {
                    true => S::load_masked(c, masks[z]),
                    false => S::splat(0.0),
                };
                S::store_masked(c, masks[z], S::fma(scale, sums[m][z], before));
            }
        }
        M
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition() {
        let value = |i: usize| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
        for (m, n, k) in [
            (1, 1, 1),
            (3, 5, 7),
            (17, 16, 130),
            (7, 8, 33),
            (30, 33, 16),
            (21, 70, 261),
        ] {
            let (a, b): (Vec<f32>, Vec<f32>) = (
                (0..m * k).map(value).collect(),
                (0..k * n).map(|i| value(i + 5)).collect(),
            );
            let mut transposed = vec![0.0; m * k];
            transpose(&a, m, k, k, &mut transposed);
            let want =
                |i: usize, j: usize| -> f32 { (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum() };
            let stored = Mat::rows(&a, m, k, k);
            for lhs in [stored, Mat::rows(&transposed, k, m, m).transposed()] {
                for add in [false, true] {
                    let mut c = vec![0.5; m * n];
                    matmul(
                        MatMut::rows(&mut c, m, n, n),
                        add,
                        2.0,
                        lhs,
                        Mat::rows(&b, k, n, n),
                    );
                    for i in 0..m {
                        for j in 0..n {
                            let want = 2.0 * want(i, j) + if add { 0.5 } else { 0.0 };
                            assert!((c[i * n + j] - want).abs() < 1e-3, "{m}x{n}x{k} at {i},{j}");
                        }
                    }
                }
            }
        }
    }
}
