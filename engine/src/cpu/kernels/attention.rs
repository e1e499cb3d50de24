//! Causal grouped-query attention of one sequence, forward and backward.
//!
//! Queries are processed in blocks of 64 rows, so that a block multiplies only the keys that it may see.
//! A block's scores never leave the task's scratch; backward recomputes the probabilities from the log-sum-exp
//! that forward saved (FlashAttention, arXiv 2205.14135).
//!
//! A task is one (sequence, KV head). The gradient of a KV head is the sum over its query heads, hence one
//! task's own. Backward makes sequences with a common prefix one task, because they add to the same keys.

use super::SharedMut;
use super::gemm::{Mat, MatMut, dot};
use super::small_gemm::{matmul, matmul_at, transpose, transpose_into};
use super::{gemv, math};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

const BLOCK: usize = 64;
/// Below this many query rows matrix–vector products are as fast as products of matrices.
const MIN_GEMM_ROWS: usize = 4;
/// Multiplications below which a second thread is not worth waking.
const SERIAL: usize = 1 << 19;

/// The numbers of heads, and their width.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// KV heads.
    pub keys: usize,
    /// Width of a head.
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
pub struct Span<'a> {
    pub first: usize,
    pub rows: usize,
    pub past: usize,
    /// Together `past + rows` keys and values, in order.
    pub chunks: Vec<Chunk<'a>>,
    /// Elements from one value to the next, and from one key to the next in [`Keys::Rows`].
    pub stride: usize,
}

/// Keys and values that lie together.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    pub k: Keys<'a>,
    /// `[rows, …]`
    pub v: &'a [f32],
    pub rows: usize,
}

#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// `[rows, …]`
    Rows(&'a [f32]),
    /// `[kv_dim, stride]`: element i of key j is `k[i · stride + j]`.
    Transposed { k: &'a [f32], stride: usize },
}

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 3]> = RefCell::default();
}

/// Attention of every sequence. `q` are the rows of the whole batch (`heads.row()` wide), `out` is
/// `[T, q_dim]`, `lse` `[T, queries]`. Spans ascend and do not overlap.
pub fn forward(heads: Heads, spans: &[Span], q: &[f32], out: &mut [f32], lse: &mut [f32]) {
    check_disjoint(spans.iter().map(|s| (s.first, s.rows)));
    let (out, lse) = (SharedMut::new(out), SharedMut::new(lse));
    let run = |task: usize| {
        let (span, kv) = (&spans[task / heads.keys], task % heads.keys);
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
unsafe fn forward_task(
    heads: Heads,
    span: &Span,
    kv: usize,
    q: &[f32],
    out: SharedMut,
    lse: SharedMut,
) {
    let (width, size, stride) = (heads.row(), heads.size, span.stride);
    let keys = span.past + span.rows;
    let column = kv * size;
    assert!(span.chunks.iter().map(|c| c.rows).sum::<usize>() == keys);
    assert!((span.first + span.rows) * width <= q.len());
    SCRATCH.with_borrow_mut(|[scores, transposed, product]| {
        grow(scores, BLOCK.min(span.rows) * keys);
        grow(product, size);
        let mut next = 0;
        for chunk in &span.chunks {
            if let Keys::Rows(k) = chunk.k {
                grow(transposed, keys * size);
                let out = &mut transposed[next..];
                transpose_into(&k[column..], chunk.rows, size, stride, out, keys);
            }
            next += chunk.rows;
        }
        let transposed = transposed.as_slice();
        // This head's part of the chunks: (first key, keys, (transposed keys, their stride), values).
        let chunks = || {
            span.chunks.iter().scan(0, |next, c| {
                let from = *next;
                *next += c.rows;
                let (k, k_stride) = match c.k {
                    Keys::Rows(_) => (&transposed[from..], keys),
                    Keys::Transposed { k, stride } => (&k[column * stride..], stride),
                };
                Some((from, c.rows, (k, k_stride), &c.v[column..]))
            })
        };
        for h in kv * heads.group()..(kv + 1) * heads.group() {
            for start in (0..span.rows).step_by(BLOCK) {
                let rows = BLOCK.min(span.rows - start);
                let row = span.first + start;
                let seen = span.past + start + rows;
                let q = &q[row * width + h * size..];
                if rows < MIN_GEMM_ROWS {
                    for i in 0..rows {
                        let s = &mut scores[..seen - rows + i + 1];
                        let q = &q[i * width..i * width + size];
                        // Element by element in order, as a product of matrices sums.
                        s.fill(0.0);
                        for (part, (_, _, (k, k_stride), _)) in pieces(s, chunks()) {
                            gemv::gemv_transposed(q, k, k_stride, part);
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
                        for (part, (_, _, _, v)) in pieces(s, chunks()) {
                            let sum = &mut product[..size];
                            sum.fill(0.0);
                            gemv::gemv_transposed(part, v, stride, sum);
                            o.iter_mut().zip(sum).for_each(|(o, s)| *o += *s);
                        }
                    }
                    continue;
                }
                let s = &mut scores[..rows * seen];
                let q = Mat::rows(q, rows, size, width);
                for (from, held, (k, k_stride), _) in chunks().take_while(|c| c.0 < seen) {
                    let held = held.min(seen - from);
                    let k = Mat::rows(k, size, held, k_stride);
                    let part = MatMut::rows(&mut s[from..], rows, held, seen);
                    matmul(part, false, 1.0, q, k);
                }
                for (i, s) in s.chunks_exact_mut(seen).enumerate() {
                    let (visible, hidden) = s.split_at_mut(seen - rows + i + 1);
                    hidden.fill(0.0);
                    // SAFETY: this task's row and head.
                    let norm = unsafe { lse.slice((row + i) * heads.queries + h, 1) };
                    norm[0] = softmax(visible, heads.scale());
                }
                let extent = (rows - 1) * heads.q_dim() + size;
                let out = out.at(row * heads.q_dim() + h * size, extent);
                for (from, held, _, v) in chunks().take_while(|c| c.0 < seen) {
                    let held = held.min(seen - from);
                    let s = Mat::rows(&s[from..], rows, held, seen);
                    let v = Mat::rows(v, held, size, stride);
                    // SAFETY: `at` checked the place; these rows and columns are this task's.
                    unsafe { matmul_at(out, heads.q_dim(), from > 0, 1.0, s, v) }
                }
            }
        }
    });
}

/// `scores`, cut at the chunks' bounds.
fn pieces<K, V>(
    mut scores: &mut [f32],
    chunks: impl Iterator<Item = (usize, usize, K, V)>,
) -> impl Iterator<Item = (&mut [f32], (usize, usize, K, V))> {
    chunks.map_while(move |chunk| {
        let rest = std::mem::take(&mut scores);
        let (part, rest) = rest.split_at_mut(chunk.1.min(rest.len()));
        scores = rest;
        (!part.is_empty()).then_some((part, chunk))
    })
}

/// The activations of the forward pass, and the gradient of its output.
#[derive(Clone, Copy)]
pub struct Activations<'a> {
    /// `[T, heads.row()]` after the rotary embedding
    pub qkv: &'a [f32],
    /// `[T, q_dim]`
    pub out: &'a [f32],
    /// `[T, queries]`
    pub lse: &'a [f32],
    /// `[T, q_dim]`
    pub d_out: &'a [f32],
}

/// A sequence's rows of the batch, and those of its prefix.
pub type Rows = (Range<usize>, Option<Range<usize>>);

/// The gradient of [`forward`] for sequences without slots, into `d_qkv` (laid out as `qkv`). Sequences
/// ascend and do not overlap; the sequences of one prefix follow the prefix and each other.
pub fn backward(heads: Heads, sequences: &[Rows], saved: Activations, d_qkv: &mut [f32]) {
    check_disjoint(sequences.iter().map(|(own, _)| (own.start, own.len())));
    // A family shares keys, hence a task: a prefix and the sequences that follow it.
    let families: Vec<&[Rows]> = sequences.chunk_by(|_, next| next.1.is_some()).collect();
    for family in &families {
        let first = &family[0].0;
        let mut prefixes = family[1..].iter().map(|(_, prefix)| prefix);
        assert!(family[0].1.is_none() && prefixes.all(|p| p.as_ref() == Some(first)));
    }
    let d_qkv = SharedMut::new(d_qkv);
    let tasks = (0..families.len() * heads.keys)
        .into_par_iter()
        .with_max_len(1);
    tasks.for_each(|task| {
        let (family, kv) = (families[task / heads.keys], task % heads.keys);
        // SAFETY: sequences are disjoint, and each task has its own (family, KV head).
        unsafe {
            clear(heads, family, kv, d_qkv);
            for sequence in family {
                backward_task(heads, sequence, kv, saved, d_qkv);
            }
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

/// The first columns of a KV head's key and value in a row of q, k and v.
fn key_and_value(heads: Heads, kv: usize) -> [usize; 2] {
    let k = heads.q_dim() + kv * heads.size;
    [k, k + heads.kv_dim()]
}

/// # Safety
/// No other task may touch these rows' keys and values of this KV head.
unsafe fn clear(heads: Heads, family: &[Rows], kv: usize, d_qkv: SharedMut) {
    for row in family.iter().flat_map(|(own, _)| own.clone()) {
        for column in key_and_value(heads, kv) {
            // SAFETY: this task's row and columns.
            unsafe {
                d_qkv
                    .slice(row * heads.row() + column, heads.size)
                    .fill(0.0)
            }
        }
    }
}

thread_local! {
    static GRADIENT: RefCell<[Vec<f32>; 8]> = RefCell::default();
}

/// # Safety
/// No other task may touch this KV head (keys, values and query heads) in the rows of this sequence and
/// its prefix.
unsafe fn backward_task(
    heads: Heads,
    (own, prefix): &Rows,
    kv: usize,
    saved: Activations,
    d_qkv: SharedMut,
) {
    let (width, size, scale) = (heads.row(), heads.size, heads.scale());
    assert!(own.end * width <= saved.qkv.len().min(d_qkv.len()));
    assert!(own.end * heads.q_dim() <= saved.out.len().min(saved.d_out.len()));
    let past = prefix.as_ref().map_or(0, Range::len);
    let keys = past + own.len();
    let seen_rows = || prefix.clone().into_iter().flatten().chain(own.clone());
    GRADIENT.with_borrow_mut(|[p, ds, k, v, k_transposed, v_transposed, d_k, d_v]| {
        grow(p, BLOCK.min(own.len()) * keys);
        grow(ds, BLOCK.min(own.len()) * keys);
        let [k_column, v_column] = key_and_value(heads, kv);
        let transposes = [
            (&mut *k, &mut *k_transposed, k_column),
            (v, &mut *v_transposed, v_column),
        ];
        for (rows, transposed, column) in transposes {
            rows.clear();
            rows.extend(seen_rows().flat_map(|row| &saved.qkv[row * width + column..][..size]));
            grow(transposed, keys * size);
            transpose(rows, keys, size, size, transposed);
        }
        for gradient in [&mut *d_k, &mut *d_v] {
            gradient.clear();
            gradient.resize(keys * size, 0.0);
        }
        for h in kv * heads.group()..(kv + 1) * heads.group() {
            for start in (0..own.len()).step_by(BLOCK) {
                let rows = BLOCK.min(own.len() - start);
                let (row, seen) = (own.start + start, past + start + rows);
                let (p, ds) = (&mut p[..rows * seen], &mut ds[..rows * seen]);
                let at = row * heads.q_dim() + h * size;
                let q = Mat::rows(&saved.qkv[row * width + h * size..], rows, size, width);
                let d_out = Mat::rows(&saved.d_out[at..], rows, size, heads.q_dim());
                let k_columns = Mat::rows(k_transposed, size, seen, keys);
                let v_columns = Mat::rows(v_transposed, size, seen, keys);
                matmul(MatMut::rows(p, rows, seen, seen), false, 1.0, q, k_columns);
                let d_p = MatMut::rows(ds, rows, seen, seen);
                matmul(d_p, false, 1.0, d_out, v_columns);
                for i in 0..rows {
                    let visible = past + start + i + 1;
                    let (p, hidden) = p[i * seen..(i + 1) * seen].split_at_mut(visible);
                    let (ds, d_hidden) = ds[i * seen..(i + 1) * seen].split_at_mut(visible);
                    hidden.fill(0.0);
                    d_hidden.fill(0.0);
                    let from = at + i * heads.q_dim();
                    let delta = dot(
                        &saved.out[from..from + size],
                        &saved.d_out[from..from + size],
                    );
                    math::exp_sum(p, scale, saved.lse[(row + i) * heads.queries + h]);
                    math::softmax_grad(p, ds, delta, scale);
                }
                let (p, ds) = (
                    Mat::rows(p, rows, seen, seen),
                    Mat::rows(ds, rows, seen, seen),
                );
                let k = Mat::rows(k, seen, size, size);
                let d_q = d_qkv.at(row * width + h * size, (rows - 1) * width + size);
                // SAFETY: `at` checked the place; these rows and columns are this task's.
                unsafe { matmul_at(d_q, width, false, 1.0, ds, k) }
                matmul(
                    MatMut::rows(d_k, seen, size, size),
                    true,
                    1.0,
                    ds.transposed(),
                    q,
                );
                matmul(
                    MatMut::rows(d_v, seen, size, size),
                    true,
                    1.0,
                    p.transposed(),
                    d_out,
                );
            }
        }
        for (gradient, column) in [(d_k, k_column), (d_v, v_column)] {
            for (row, gradient) in seen_rows().zip(gradient.chunks_exact(size)) {
                // SAFETY: this task's rows and columns.
                let sum = unsafe { d_qkv.slice(row * width + column, size) };
                sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
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
