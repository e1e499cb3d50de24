//! The adapters' part of a group of linear layers that share their input (q·k·v, o, gate·up, down), in f32:
//! `y += s · (x · Aᵀ) · Bᵀ` over each adapter's own rows.
//!
//! Neighbouring rows of one adapter make one product. Stacked adapters are computed level by level: within a
//! level rows never overlap, so they are computed in parallel. Beside bf16 weights, serving uses
//! [`super::lora_bf16`] instead, and training [`super::lora_fused`]; the gradients of A and B are always
//! computed here.

use super::kernels::gemm::{Mat, MatMut};
use super::kernels::gemv::gemv;
use super::kernels::small_gemm::{matmul, transpose};
use super::kernels::vectorised;
use super::plan::{Plan, Segment};
use super::workspace::Buffer;
use crate::config::Projection;
use crate::lora::LoraPair;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Below this many neighbouring rows dot products beat a product of matrices.
const MIN_GEMM_ROWS: usize = 5;
/// Fewest rows of one task.
const TASK_ROWS: usize = 64;
/// Features of B in one task of its gradient.
const TASK_FEATURES: usize = 1024;
/// Features of B that all rows of an adapter are multiplied with before the next are read.
const FEATURE_BLOCK: usize = 64;

thread_local! {
    /// A or B of the current pair, transposed.
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// The adapters' part of one group in one layer, for one batch.
pub struct Group<'a> {
    pub plan: &'a Plan<'a>,
    pub layer: usize,
    /// The projections, each with its first column in y.
    pub members: &'a [(Projection, usize)],
    /// Width of x.
    pub inputs: usize,
    /// Width of y.
    pub outputs: usize,
}

/// One layer's gradients by adapter of the batch; `None` if the adapter is frozen.
pub type LayerGrads<'g> = [Option<&'g mut [Option<LoraPair>; 7]>];

impl Group<'_> {
    /// Length of the buffer for `x · Aᵀ`: `[levels][T][members][rank]`.
    pub fn inner_len(&self) -> usize {
        self.plan.levels.len() * self.level_len()
    }

    /// Adds the corrections of `x[T, inputs]` to `y[T, outputs]`, and keeps `x · Aᵀ` in `inner`.
    pub fn forward(&self, x: &[f32], y: &mut [f32], inner: &mut [f32]) {
        for (level, inner) in self.levels(inner) {
            let tasks = self.tasks(level);
            let parts = split_rows(y, self.outputs, &tasks).into_iter();
            let parts = parts
                .zip(split_rows(inner, self.width(), &tasks))
                .zip(&tasks);
            let work = parts.map(|((y, inner), task)| Part {
                x: &x[task.rows.start * self.inputs..task.rows.end * self.inputs],
                y,
                inner,
                adapter: task.adapter,
            });
            let (short, long): (Vec<_>, Vec<_>) = work.partition(|p| p.rows(self) < MIN_GEMM_ROWS);
            long.into_par_iter().for_each(|part| {
                for (pair, scale, column, at) in self.pairs(part.adapter) {
                    let (y, inner) = (&mut part.y[column..], &mut part.inner[at..]);
                    self.correct(pair, scale, part.x, y, inner);
                }
            });
            let mut rows: Vec<Part> = short.into_iter().flat_map(|p| p.split(self)).collect();
            rows.sort_by_key(|row| row.adapter);
            let groups = rows.chunk_by_mut(|a, b| a.adapter == b.adapter);
            groups
                .collect::<Vec<_>>()
                .into_par_iter()
                .with_max_len(1)
                .for_each(|rows| self.correct_rows(rows));
        }
    }

    /// Corrects single rows of one adapter, wherever they lie in the batch. Each block of B is read once for all of
    /// them.
    fn correct_rows(&self, rows: &mut [Part]) {
        for (pair, scale, column, at) in self.pairs(rows[0].adapter) {
            let rank = pair.a.len() / self.inputs;
            for row in rows.iter_mut() {
                let inner = &mut row.inner[at..at + rank];
                gemv(row.x, &pair.a, self.inputs, inner);
            }
            for (i, b) in pair.b.chunks(FEATURE_BLOCK * rank).enumerate() {
                let first = column + i * FEATURE_BLOCK;
                for row in rows.iter_mut() {
                    let y = &mut row.y[first..first + b.len() / rank];
                    add_products(y, scale, &row.inner[at..at + rank], b);
                }
            }
        }
    }

    fn correct(&self, pair: &LoraPair, scale: f32, x: &[f32], y: &mut [f32], inner: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let rank = pair.a.len() / self.inputs;
        let features = pair.b.len() / rank;
        SCRATCH.with_borrow_mut(|transposed| {
            let transposed = transposed.get_mut(pair.a.len().max(pair.b.len()));
            transpose(&pair.a, rank, self.inputs, self.inputs, transposed);
            let a = Mat::rows(transposed, self.inputs, rank, rank);
            let x = Mat::rows(x, rows, self.inputs, self.inputs);
            matmul(
                MatMut::rows(inner, rows, rank, self.width()),
                false,
                1.0,
                x,
                a,
            );
            transpose(&pair.b, features, rank, rank, transposed);
            let b = Mat::rows(transposed, rank, features, features);
            let inner = Mat::rows(inner, rows, rank, self.width());
            matmul(
                MatMut::rows(y, rows, features, self.outputs),
                true,
                scale,
                inner,
                b,
            );
        });
    }

    /// Adds the gradients of A and B to `grads`, and the gradient of x to `dx` if that is wanted. `inner` is the
    /// `x · Aᵀ` that forward kept, `d_inner` scratch of the same length.
    pub fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        mut dx: Option<&mut [f32]>,
        inner: &[f32],
        d_inner: &mut [f32],
        grads: &mut LayerGrads,
    ) {
        let inner = inner.chunks_exact(self.level_len().max(1));
        for ((level, d_inner), inner) in self.levels(d_inner).zip(inner) {
            let tasks = self.tasks(level);
            let mut targets: Vec<Option<&mut [f32]>> = match dx.as_deref_mut() {
                Some(dx) => split_rows(dx, self.inputs, &tasks)
                    .into_iter()
                    .map(Some)
                    .collect(),
                None => tasks.iter().map(|_| None).collect(),
            };
            let parts = split_rows(d_inner, self.width(), &tasks).into_iter();
            let work: Vec<_> = parts.zip(&mut targets).zip(&tasks).collect();
            work.into_par_iter().for_each(|((d_inner, dx), task)| {
                let dy = &dy[task.rows.start * self.outputs..task.rows.end * self.outputs];
                for (pair, scale, column, at) in self.pairs(task.adapter) {
                    self.input_grad(pair, scale, &dy[column..], &mut d_inner[at..], dx, task);
                }
            });
            self.weight_grads(level, x, dy, inner, d_inner, grads);
        }
    }

    /// `du = s · dy · B`, `dx += du · A`
    fn input_grad(
        &self,
        pair: &LoraPair,
        scale: f32,
        dy: &[f32],
        d_inner: &mut [f32],
        dx: &mut Option<&mut [f32]>,
        task: &Segment,
    ) {
        let rows = task.rows.len();
        let rank = pair.a.len() / self.inputs;
        let features = pair.b.len() / rank;
        let dy = Mat::rows(dy, rows, features, self.outputs);
        let b = Mat::rows(&pair.b, features, rank, rank);
        matmul(
            MatMut::rows(d_inner, rows, rank, self.width()),
            false,
            scale,
            dy,
            b,
        );
        if let Some(dx) = dx {
            let d_inner = Mat::rows(d_inner, rows, rank, self.width());
            let a = Mat::rows(&pair.a, rank, self.inputs, self.inputs);
            matmul(
                MatMut::rows(dx, rows, self.inputs, self.inputs),
                true,
                1.0,
                d_inner,
                a,
            );
        }
    }

    /// `dB += s · dyᵀ · u` and `dA += duᵀ · x`, for `u = x · Aᵀ`. Each matrix is cut into tasks by its rows.
    pub(super) fn weight_grads(
        &self,
        level: &[Segment],
        x: &[f32],
        dy: &[f32],
        inner: &[f32],
        d_inner: &[f32],
        grads: &mut LayerGrads,
    ) {
        let mut tasks: Vec<WeightTask> = Vec::new();
        for (adapter, grads) in grads.iter_mut().enumerate() {
            let Some(grads) = grads else { continue };
            if !level.iter().any(|s| s.adapter == adapter) {
                continue;
            }
            let rank = self.plan.adapters[adapter].config.rank;
            for (p, pair) in Projection::ALL.into_iter().zip(grads.iter_mut()) {
                let member = self.members.iter().position(|(q, _)| *q == p);
                let (Some(pair), Some(member)) = (pair, member) else {
                    continue;
                };
                let half = rank.div_ceil(2);
                let mut add = |is_a, at, grad| {
                    tasks.push(WeightTask {
                        adapter,
                        member,
                        rank,
                        is_a,
                        at,
                        grad,
                    })
                };
                for (i, grad) in pair.a.chunks_mut(half * self.inputs).enumerate() {
                    add(true, i * half, grad);
                }
                for (i, grad) in pair.b.chunks_mut(TASK_FEATURES * rank).enumerate() {
                    add(false, i * TASK_FEATURES, grad);
                }
            }
        }
        tasks.into_par_iter().with_max_len(1).for_each(|task| {
            let scale = self.plan.adapters[task.adapter].config.scale();
            let from = task.member * self.plan.rank;
            for segment in level.iter().filter(|s| s.adapter == task.adapter) {
                let (first, rows) = (segment.rows.start, segment.rows.len());
                if task.is_a {
                    let features = task.grad.len() / self.inputs;
                    let du = &d_inner[first * self.width() + from + task.at..];
                    let du = Mat::rows(du, rows, features, self.width()).transposed();
                    let x = Mat::rows(&x[first * self.inputs..], rows, self.inputs, self.inputs);
                    let grad = MatMut::rows(task.grad, features, self.inputs, self.inputs);
                    matmul(grad, true, 1.0, du, x);
                } else {
                    let features = task.grad.len() / task.rank;
                    let column = self.members[task.member].1 + task.at;
                    let dy = &dy[first * self.outputs + column..];
                    let dy = Mat::rows(dy, rows, features, self.outputs).transposed();
                    let u = &inner[first * self.width() + from..];
                    let u = Mat::rows(u, rows, task.rank, self.width());
                    let grad = MatMut::rows(task.grad, features, task.rank, task.rank);
                    matmul(grad, true, scale, dy, u);
                }
            }
        });
    }

    /// The pairs of an adapter in this group: (pair, scale, first column in y, first column in inner).
    pub(super) fn pairs(
        &self,
        adapter: usize,
    ) -> impl Iterator<Item = (&LoraPair, f32, usize, usize)> {
        let lora = &self.plan.adapters[adapter];
        let members = self.members.iter().enumerate();
        members.filter_map(move |(i, (projection, column))| {
            let pair = lora.layers[self.layer][projection.index()].as_ref()?;
            Some((pair, lora.config.scale(), *column, i * self.plan.rank))
        })
    }

    pub(super) fn levels<'s>(
        &'s self,
        inner: &'s mut [f32],
    ) -> impl Iterator<Item = (&'s [Segment], &'s mut [f32])> {
        let parts = inner.chunks_exact_mut(self.level_len().max(1));
        self.plan.levels.iter().map(Vec::as_slice).zip(parts)
    }

    /// The level's segments, cut so that every thread has work.
    fn tasks(&self, level: &[Segment]) -> Vec<Segment> {
        let even = self.plan.rows.div_ceil(2 * rayon::current_num_threads());
        let size = even.max(TASK_ROWS);
        let mut tasks = Vec::new();
        for s in level {
            for start in s.rows.clone().step_by(size) {
                tasks.push(Segment {
                    rows: start..(start + size).min(s.rows.end),
                    adapter: s.adapter,
                });
            }
        }
        tasks
    }

    pub(super) fn width(&self) -> usize {
        self.members.len() * self.plan.rank
    }

    fn level_len(&self) -> usize {
        self.plan.rows * self.width()
    }
}

/// Neighbouring rows of one adapter, with their parts of y and inner.
struct Part<'b> {
    x: &'b [f32],
    y: &'b mut [f32],
    inner: &'b mut [f32],
    adapter: usize,
}

impl<'b> Part<'b> {
    fn rows(&self, group: &Group) -> usize {
        self.x.len() / group.inputs
    }

    fn split(self, group: &Group) -> impl Iterator<Item = Part<'b>> {
        let adapter = self.adapter;
        let x = self.x.chunks_exact(group.inputs);
        let y = self.y.chunks_exact_mut(group.outputs);
        let inner = self.inner.chunks_exact_mut(group.width());
        x.zip(y.zip(inner)).map(move |(x, (y, inner))| Part {
            x,
            y,
            inner,
            adapter,
        })
    }
}

/// Some rows of one gradient matrix.
struct WeightTask<'g> {
    adapter: usize,
    member: usize,
    rank: usize,
    /// Whether the gradient is A's; else it is B's.
    is_a: bool,
    /// The first row.
    at: usize,
    grad: &'g mut [f32],
}

/// The tasks' rows of a buffer, `width` elements a row.
fn split_rows<'b>(buffer: &'b mut [f32], width: usize, tasks: &[Segment]) -> Vec<&'b mut [f32]> {
    let (mut rest, mut at) = (buffer, 0);
    let mut take = |rows: &Range<usize>| {
        let skipped = std::mem::take(&mut rest)
            .split_at_mut((rows.start - at) * width)
            .1;
        let (mine, tail) = skipped.split_at_mut(rows.len() * width);
        (rest, at) = (tail, rows.end);
        mine
    };
    tasks.iter().map(|t| take(&t.rows)).collect()
}

vectorised! {
    /// `y += scale · B · u` for one row.
    fn add_products(y: &mut [f32], scale: f32, u: &[f32], b: &[f32]) {
        for (y, b) in y.iter_mut().zip(b.chunks_exact(u.len())) {
            let mut sums = [0.0f32; 8];
            let (us, bs) = (u.chunks_exact(8), b.chunks_exact(8));
            let rest: f32 = us.remainder().iter().zip(bs.remainder()).map(|(u, b)| u * b).sum();
            for (u, b) in us.zip(bs) {
                for i in 0..8 {
                    sums[i] += u[i] * b[i];
                }
            }
            for width in [4, 2, 1] {
                for i in 0..width {
                    sums[i] += sums[i + width];
                }
            }
            *y += scale * (sums[0] + rest);
        }
    }
}
