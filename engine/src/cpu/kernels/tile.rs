//! Products of f32 matrices that are small or narrow: the adapters' and attention's.
//!
//! A general product spends its time packing such operands. Here nothing is packed: the right operand
//! has contiguous rows and is loaded as it lies, the left one is broadcast from where it lies, and a
//! tile of the result stays in registers. An element's sum runs over k in order, whatever the tile.

use super::f32::{self, Mat, MatMut};

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

/// [`matmul`] into a place that is no slice.
///
/// # Safety
/// `dst` must be valid for `lhs.rows` rows of `rhs.cols` elements, `stride` apart, and overlap neither
/// operand.
pub unsafe fn matmul_at(dst: *mut f32, stride: usize, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
    assert!(rhs.col == 1, "the right operand has contiguous rows");
    assert!(lhs.cols == rhs.rows && lhs.rows * lhs.cols * rhs.cols > 0);
    assert!(lhs.extent() <= lhs.data.len() && rhs.extent() <= rhs.data.len());
    #[cfg(target_arch = "x86_64")]
    if super::has_avx512() && (lhs.row == 1 || lhs.col == 1) {
        // SAFETY: the operands lie inside their slices (just checked), the processor has AVX-512; the
        // rest is the caller's promise.
        return unsafe { x86::product(dst, stride, add, scale, lhs, rhs) };
    }
    // SAFETY: the operands were checked above; the rest is the caller's promise.
    unsafe { f32::matmul_at(dst, stride, add, scale, lhs, rhs, false) }
}

/// `out[cols, rows]` from `data[rows, …]`, `cols` wide and `stride` apart.
pub fn transpose(data: &[f32], rows: usize, cols: usize, stride: usize, out: &mut [f32]) {
    const SIDE: usize = 16;
    assert!((rows - 1) * stride + cols <= data.len() && rows * cols <= out.len());
    for i in (0..rows).step_by(SIDE) {
        for j in (0..cols).step_by(SIDE) {
            for c in j..(j + SIDE).min(cols) {
                let line = &mut out[c * rows + i..c * rows + (i + SIDE).min(rows)];
                for (r, value) in line.iter_mut().enumerate() {
                    *value = data[(i + r) * stride + c];
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Mat;
    use std::arch::x86_64::*;

    /// Rows of k taken at a time where the left operand lies transposed: its columns then stay in
    /// the second-level cache.
    const STRETCH: usize = 256;
    /// Steps of k that share one address of the left operand.
    const UNROLL: usize = 4;

    /// # Safety
    /// `c` must be valid for `lhs.rows` rows of `rhs.cols`, `stride` apart, and overlap no operand;
    /// the operands must lie inside their slices; the processor must have AVX-512.
    pub unsafe fn product(c: *mut f32, stride: usize, add: bool, scale: f32, lhs: Mat, rhs: Mat) {
        let (rows, cols, depth) = (lhs.rows, rhs.cols, lhs.cols);
        let turned = lhs.row == 1;
        let stretch = if turned { STRETCH } else { depth };
        for k in (0..depth).step_by(stretch) {
            let mut tile = Tile {
                depth: stretch.min(depth - k),
                a: lhs.data.as_ptr().wrapping_add(k * lhs.col),
                a_stride: if turned { lhs.col } else { lhs.row },
                b: std::ptr::null(),
                b_stride: rhs.row,
                c,
                c_stride: stride,
                width: 0,
                scale,
                add: add || k > 0,
            };
            let (a, b) = (tile.a, rhs.data.as_ptr().wrapping_add(k * rhs.row));
            let height = if cols <= 16 { 16 } else { 8 };
            for i in (0..rows).step_by(height) {
                tile.a = a.wrapping_add(i * lhs.row);
                let panel = if cols <= 16 { 16 } else { 32 };
                for j in (0..cols).step_by(panel) {
                    tile.b = b.wrapping_add(j);
                    tile.c = c.wrapping_add(i * stride + j);
                    tile.width = panel.min(cols - j);
                    let high = height.min(rows - i);
                    // SAFETY: the tile lies inside the matrices the caller vouches for.
                    unsafe {
                        match (turned, panel) {
                            (false, 16) => rows_of::<false, 1>(&tile, high),
                            (true, 16) => rows_of::<true, 1>(&tile, high),
                            (false, _) => rows_of::<false, 2>(&tile, high),
                            (true, _) => rows_of::<true, 2>(&tile, high),
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
    unsafe fn rows_of<const TURNED: bool, const Z: usize>(tile: &Tile, rows: usize) {
        let mut done = 0;
        while done < rows {
            let part = Tile {
                a: tile
                    .a
                    .wrapping_add(done * if TURNED { 1 } else { tile.a_stride }),
                c: tile.c.wrapping_add(done * tile.c_stride),
                ..*tile
            };
            // SAFETY: rows `done..` of the caller's tile.
            done += unsafe {
                match rows - done {
                    16.. => run::<TURNED, Z, 16>(&part),
                    8.. => run::<TURNED, Z, 8>(&part),
                    4.. => run::<TURNED, Z, 4>(&part),
                    2.. => run::<TURNED, Z, 2>(&part),
                    _ => run::<TURNED, Z, 1>(&part),
                }
            };
        }
    }

    /// `M` rows × `Z` registers. Returns M.
    ///
    /// # Safety
    /// `a`, `b`, `c` must be valid for the tile, the processor must have AVX-512.
    #[target_feature(enable = "avx512f")]
    unsafe fn run<const TURNED: bool, const Z: usize, const M: usize>(t: &Tile) -> usize {
        let full = (1u64 << t.width) - 1;
        let masks: [u16; Z] = std::array::from_fn(|z| (full >> (16 * z)) as u16);
        let mut sums = [[_mm512_setzero_ps(); Z]; M];
        let whole = t.depth / UNROLL * UNROLL;
        let mut k = 0;
        while k < t.depth {
            let steps = if k < whole { UNROLL } else { 1 };
            // SAFETY: inside the tile; loads of b are masked to its width.
            unsafe {
                if steps == UNROLL {
                    let mut b = [[_mm512_setzero_ps(); Z]; UNROLL];
                    for (u, b) in b.iter_mut().enumerate() {
                        for z in 0..Z {
                            let at = t.b.wrapping_add((k + u) * t.b_stride + 16 * z);
                            b[z] = _mm512_maskz_loadu_ps(masks[z], at);
                        }
                    }
                    if TURNED {
                        for (u, b) in b.iter().enumerate() {
                            let a = t.a.add((k + u) * t.a_stride);
                            for (m, sum) in sums.iter_mut().enumerate() {
                                let a = _mm512_set1_ps(*a.add(m));
                                for z in 0..Z {
                                    sum[z] = _mm512_fmadd_ps(a, b[z], sum[z]);
                                }
                            }
                        }
                    } else {
                        for (m, sum) in sums.iter_mut().enumerate() {
                            let a = t.a.add(m * t.a_stride + k);
                            for (u, b) in b.iter().enumerate() {
                                let a = _mm512_set1_ps(*a.add(u));
                                for z in 0..Z {
                                    sum[z] = _mm512_fmadd_ps(a, b[z], sum[z]);
                                }
                            }
                        }
                    }
                } else {
                    for (m, sum) in sums.iter_mut().enumerate() {
                        let at = if TURNED {
                            k * t.a_stride + m
                        } else {
                            m * t.a_stride + k
                        };
                        let a = _mm512_set1_ps(*t.a.add(at));
                        for z in 0..Z {
                            let at = t.b.wrapping_add(k * t.b_stride + 16 * z);
                            let b = _mm512_maskz_loadu_ps(masks[z], at);
                            sum[z] = _mm512_fmadd_ps(a, b, sum[z]);
                        }
                    }
                }
            }
            k += steps;
        }
        let scale = _mm512_set1_ps(t.scale);
        for (m, sum) in sums.iter().enumerate() {
            for z in 0..Z {
                // SAFETY: masked to the tile's width.
                unsafe {
                    let c = t.c.wrapping_add(m * t.c_stride + 16 * z);
                    let before = match t.add {
                        true => _mm512_maskz_loadu_ps(masks[z], c),
                        false => _mm512_setzero_ps(),
                    };
                    _mm512_mask_storeu_ps(c, masks[z], _mm512_fmadd_ps(scale, sum[z], before));
                }
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
            (30, 33, 16),
            (21, 70, 261),
        ] {
            let (a, b): (Vec<f32>, Vec<f32>) = (
                (0..m * k).map(value).collect(),
                (0..k * n).map(|i| value(i + 5)).collect(),
            );
            let mut turned = vec![0.0; m * k];
            transpose(&a, m, k, k, &mut turned);
            let want =
                |i: usize, j: usize| -> f32 { (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum() };
            let straight = Mat::rows(&a, m, k, k);
            for lhs in [straight, Mat::rows(&turned, k, m, m).transposed()] {
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
