//! Causal grouped-query attention of one sequence, forward and backward.
//!
//! Queries go in blocks of 64 rows, so that a block multiplies only the keys it may see. Scores of a
//! block never leave the task's scratch; backward makes the probabilities again from the log-sum-exp
//! that forward kept. A task is one (sequence, KV head): the gradients of a KV head are the sum over
//! its query heads, hence one task's own.

use super::Shared;
use super::f32::{axpy, dot};
use super::math;
use gemm::Parallelism;
use rayon::prelude::*;
use std::cell::RefCell;

const BLOCK: usize = 64;
/// Below this many query rows products of matrices gain nothing over loops.
const FEW: usize = 4;
/// Multiplications below which a second thread is not worth its waking.
const SERIAL: usize = 1 << 19;

/// The shape of the heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub queries: usize,
    pub keys: usize,
    pub size: usize,
}

impl Heads {
    pub fn q_dim(&self) -> usize {
        self.queries * self.size
    }

    pub fn kv_dim(&self) -> usize {
        self.keys * self.size
    }

    /// Width of a row of q, k and v side by side.
    pub fn row(&self) -> usize {
        self.q_dim() + 2 * self.kv_dim()
    }

    fn group(&self) -> usize {
        self.queries / self.keys
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// One sequence's share of the work: `rows` queries from batch row `first` on, after `past` keys.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    pub first: usize,
    pub rows: usize,
    pub past: usize,
    /// `[past + rows, …]` keys and values, `stride` apart.
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub stride: usize,
}

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Attention of every sequence. `q` are the rows of the whole batch (`heads.row()` wide), `out` is
/// `[T, q_dim]`, `lse` `[T, queries]`. Spans ascend and do not overlap.
pub fn forward(heads: Heads, spans: &[Span], q: &[f32], out: &mut [f32], lse: &mut [f32]) {
    check_disjoint(spans.iter().map(|s| (s.first, s.rows)));
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    let run = |task: usize| {
        let (span, kv) = (spans[task / heads.keys], task % heads.keys);
        // SAFETY: spans are disjoint, and each task has its own (span, KV head).
        unsafe { forward_task(heads, span, kv, q, out, lse) }
    };
    let work = |s: &Span| s.rows * (s.past + s.rows) * heads.q_dim();
    let tasks = spans.len() * heads.keys;
    if spans.iter().map(work).sum::<usize>() < SERIAL {
        (0..tasks).for_each(run);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(run);
    }
}

/// # Safety
/// No other task may touch this span's rows of this KV head's query heads in `out` and `lse`.
unsafe fn forward_task(heads: Heads, span: Span, kv: usize, q: &[f32], out: Shared, lse: Shared) {
    let (width, size) = (heads.row(), heads.size);
    let keys = span.past + span.rows;
    let column = kv * size;
    assert!((keys - 1) * span.stride + column + size <= span.k.len().min(span.v.len()));
    assert!((span.first + span.rows) * width <= q.len());
    let (k, v) = (&span.k[column..], &span.v[column..]);
    SCRATCH.with_borrow_mut(|[scores, _]| {
        grow(scores, BLOCK.min(span.rows) * keys);
        for h in kv * heads.group()..(kv + 1) * heads.group() {
            for start in (0..span.rows).step_by(BLOCK) {
                let rows = BLOCK.min(span.rows - start);
                let row = span.first + start;
                let seen = span.past + start + rows;
                let q = &q[row * width + h * size..];
                if rows < FEW {
                    for i in 0..rows {
                        let s = &mut scores[..seen - rows + i + 1];
                        for (s, k) in s.iter_mut().zip(k.chunks(span.stride)) {
                            *s = dot(&q[i * width..i * width + size], &k[..size]);
                        }
                        let norm = softmax(s, heads.scale());
                        // SAFETY: this task's row and head.
                        let (o, l) = unsafe {
                            let at = (row + i) * heads.q_dim() + h * size;
                            (
                                out.slice(at, size),
                                lse.slice((row + i) * heads.queries + h, 1),
                            )
                        };
                        l[0] = norm;
                        o.fill(0.0);
                        for (s, v) in s.iter().zip(v.chunks(span.stride)) {
                            axpy(o, *s, &v[..size]);
                        }
                    }
                    continue;
                }
                let s = &mut scores[..rows * seen];
                // SAFETY: q, k, v were checked above to hold these rows; `out` checks its own.
                unsafe {
                    product(
                        (rows, seen, size),
                        (s.as_mut_ptr(), seen, false),
                        (q.as_ptr(), width, 1),
                        (k.as_ptr(), 1, span.stride),
                    );
                    for (i, s) in s.chunks_exact_mut(seen).enumerate() {
                        let (visible, hidden) = s.split_at_mut(seen - rows + i + 1);
                        hidden.fill(0.0);
                        lse.slice((row + i) * heads.queries + h, 1)[0] =
                            softmax(visible, heads.scale());
                    }
                    let extent = (rows - 1) * heads.q_dim() + size;
                    product(
                        (rows, size, seen),
                        (
                            out.at(row * heads.q_dim() + h * size, extent),
                            heads.q_dim(),
                            false,
                        ),
                        (s.as_ptr(), seen, 1),
                        (v.as_ptr(), span.stride, 1),
                    );
                }
            }
        }
    });
}

/// The batch's activations that backward reads.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// `[T, heads.row()]` after the rotary embedding
    pub qkv: &'a [f32],
    pub out: &'a [f32],
    pub lse: &'a [f32],
    pub d_out: &'a [f32],
}

/// The gradient of [`forward`] for sequences `(first row, rows)` that stand alone, into `d_qkv` (laid
/// out as `qkv`). Spans ascend and do not overlap.
pub fn backward(heads: Heads, spans: &[(usize, usize)], kept: Kept, d_qkv: &mut [f32]) {
    check_disjoint(spans.iter().copied());
    let d_qkv = Shared::new(d_qkv);
    let tasks = (0..spans.len() * heads.keys)
        .into_par_iter()
        .with_max_len(1);
    tasks.for_each(|task| {
        // SAFETY: spans are disjoint, and each task has its own (span, KV head).
        unsafe {
            backward_task(
                heads,
                spans[task / heads.keys],
                task % heads.keys,
                kept,
                d_qkv,
            )
        }
    });
}

fn check_disjoint(spans: impl Iterator<Item = (usize, usize)>) {
    let mut next = 0;
    for (first, rows) in spans {
        assert!(first >= next && rows > 0, "spans must ascend");
        next = first + rows;
    }
}

/// # Safety
/// No other task may touch this span's rows of this KV head (its keys, values and query heads).
unsafe fn backward_task(
    heads: Heads,
    (first, length): (usize, usize),
    kv: usize,
    kept: Kept,
    d_qkv: Shared,
) {
    let (width, size, scale) = (heads.row(), heads.size, heads.scale());
    assert!((first + length) * width <= kept.qkv.len().min(d_qkv.len()));
    assert!((first + length) * heads.q_dim() <= kept.out.len().min(kept.d_out.len()));
    let (k_at, v_at) = (
        first * width + heads.q_dim() + kv * size,
        first * width + heads.q_dim() + heads.kv_dim() + kv * size,
    );
    let extent = (length - 1) * width + size;
    let (k, v) = (&kept.qkv[k_at..], &kept.qkv[v_at..]);
    let (d_k, d_v) = (d_qkv.at(k_at, extent), d_qkv.at(v_at, extent));
    for row in 0..length {
        // SAFETY: this task's rows and columns.
        unsafe {
            d_qkv.slice(k_at + row * width, size).fill(0.0);
            d_qkv.slice(v_at + row * width, size).fill(0.0);
        }
    }
    SCRATCH.with_borrow_mut(|[p, ds]| {
        grow(p, BLOCK.min(length) * length);
        grow(ds, BLOCK.min(length) * length);
        for h in kv * heads.group()..(kv + 1) * heads.group() {
            for start in (0..length).step_by(BLOCK) {
                let rows = BLOCK.min(length - start);
                let (row, seen) = (first + start, start + rows);
                let (p, ds) = (&mut p[..rows * seen], &mut ds[..rows * seen]);
                let at = row * heads.q_dim() + h * size;
                let (q, d_out) = (&kept.qkv[row * width + h * size..], &kept.d_out[at..]);
                // SAFETY: every operand was checked above to hold these rows; d_qkv's are this task's.
                unsafe {
                    product(
                        (rows, seen, size),
                        (p.as_mut_ptr(), seen, false),
                        (q.as_ptr(), width, 1),
                        (k.as_ptr(), 1, width),
                    );
                    product(
                        (rows, seen, size),
                        (ds.as_mut_ptr(), seen, false),
                        (d_out.as_ptr(), heads.q_dim(), 1),
                        (v.as_ptr(), 1, width),
                    );
                    for i in 0..rows {
                        let visible = start + i + 1;
                        let (p, hidden) = p[i * seen..(i + 1) * seen].split_at_mut(visible);
                        let (ds, d_hidden) = ds[i * seen..(i + 1) * seen].split_at_mut(visible);
                        hidden.fill(0.0);
                        d_hidden.fill(0.0);
                        let from = at + i * heads.q_dim();
                        let delta =
                            dot(&kept.out[from..from + size], &kept.d_out[from..from + size]);
                        math::exp_sum(p, scale, kept.lse[(row + i) * heads.queries + h]);
                        math::softmax_grad(p, ds, delta, scale);
                    }
                    product(
                        (rows, size, seen),
                        (
                            d_qkv.at(row * width + h * size, (rows - 1) * width + size),
                            width,
                            false,
                        ),
                        (ds.as_ptr(), seen, 1),
                        (k.as_ptr(), width, 1),
                    );
                    product(
                        (seen, size, rows),
                        (d_k, width, true),
                        (ds.as_ptr(), 1, seen),
                        (q.as_ptr(), width, 1),
                    );
                    product(
                        (seen, size, rows),
                        (d_v, width, true),
                        (p.as_ptr(), 1, seen),
                        (d_out.as_ptr(), heads.q_dim(), 1),
                    );
                }
            }
        }
    });
}

/// Softmax of `scale · s` in place; returns its log-sum-exp.
fn softmax(s: &mut [f32], scale: f32) -> f32 {
    let top = math::max(s) * scale;
    let sum = math::exp_sum(s, scale, top);
    math::scale(s, 1.0 / sum);
    top + sum.ln()
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

/// `dst[m, n] (+)= lhs[m, k] · rhs[k, n]`: `(pointer, row stride, add)` and `(pointer, row, column
/// stride)`.
///
/// # Safety
/// All three must be valid for their shapes, and `dst` overlap neither operand.
unsafe fn product(
    (m, n, k): (usize, usize, usize),
    dst: (*mut f32, usize, bool),
    lhs: (*const f32, usize, usize),
    rhs: (*const f32, usize, usize),
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.0,
            1,
            dst.1 as isize,
            dst.2,
            lhs.0,
            lhs.2 as isize,
            lhs.1 as isize,
            rhs.0,
            rhs.2 as isize,
            rhs.1 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        )
    }
}
