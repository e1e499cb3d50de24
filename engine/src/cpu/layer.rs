//! One decoder layer, forward: norm, attention, norm, SwiGLU, each added to the residual stream.

use super::kernels::attention::{self, Chunk, Keys};
use super::kernels::math;
use super::kv::Slots;
use super::linear::{Linear, Write};
use super::lora::Group;
use super::plan::{Rotary, Span};
use super::prepared::{LoraForm, Prepared};
use super::shape::{DOWN, GATE_UP, O, QKV, Shape};
use super::weights::LayerWeights;
use super::workspace::{Buffer, Packed, Saved, Temp};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that a thread takes at a time in row-wise work.
pub const ROWS: usize = 8;

/// One layer of a pass.
pub struct Pass<'a> {
    pub shape: &'a Shape,
    pub weights: &'a LayerWeights,
    pub batch: &'a Prepared<'a>,
    pub index: usize,
}

impl Pass<'_> {
    /// Runs the layer over the residual stream `h[T, hidden]`.
    pub fn forward(&self, h: &mut [f32], slots: &mut Slots, saved: &mut Saved, temp: &mut Temp) {
        let (shape, w, rows) = (self.shape, self.weights, self.batch.plan.rows);
        let heads = shape.heads;
        let x = temp.x.get_mut(rows * shape.hidden);

        saved.input.get_mut(h.len()).copy_from_slice(h);
        norm_rows(h, &w.input_norm, shape.eps, x);
        let qkv = saved.qkv.get_mut(rows * heads.row());
        let inner = &mut saved.lora[QKV];
        self.linear(QKV, x, qkv, Write::Overwrite, inner, &mut temp.packed);
        if let Some(norms) = &w.qk_norm {
            saved.raw.get_mut(qkv.len()).copy_from_slice(qkv);
            self.norm_heads(qkv, norms);
        }
        self.rotate(qkv, 1.0);

        let attention = saved.attention.get_mut(rows * heads.q_dim());
        self.attend(
            qkv,
            attention,
            saved.lse.get_mut(rows * heads.queries),
            slots,
        );
        let inner = &mut saved.lora[O];
        self.linear(O, attention, h, Write::Accumulate, inner, &mut temp.packed);

        saved.middle.get_mut(h.len()).copy_from_slice(h);
        norm_rows(h, &w.post_norm, shape.eps, x);
        let gate_up = saved.gate_up.get_mut(rows * 2 * shape.middle);
        let inner = &mut saved.lora[GATE_UP];
        self.linear(
            GATE_UP,
            x,
            gate_up,
            Write::Overwrite,
            inner,
            &mut temp.packed,
        );

        let act = temp.wide.get_mut(rows * shape.middle);
        swiglu_rows(gate_up, shape.middle, act);
        let inner = &mut saved.lora[DOWN];
        self.linear(DOWN, act, h, Write::Accumulate, inner, &mut temp.packed);
    }

    /// A frozen layer, and its adapters' correction. Keeps `x · Aᵀ` in `inner`.
    fn linear(
        &self,
        which: usize,
        x: &[f32],
        y: &mut [f32],
        write: Write,
        inner: &mut Buffer,
        packed: &mut Packed,
    ) {
        let (group, linear) = (self.group(which), self.weights.linear(which));
        let inner = inner.get_mut(group.inner_len());
        let extras = &self.batch.extras;
        if extras.touch(self.index, group.members) {
            // The factors of the output need the product by itself.
            let mut product = vec![0.0; y.len()];
            self.product(
                &group,
                linear,
                x,
                &mut product,
                Write::Overwrite,
                inner,
                packed,
            );
            group.finish(extras, linear.bias(), &mut product);
            match write {
                Write::Overwrite => y.copy_from_slice(&product),
                Write::Accumulate => y.iter_mut().zip(&product).for_each(|(y, p)| *y += p),
            }
            return;
        }
        self.product(&group, linear, x, y, write, inner, packed);
    }

    #[allow(clippy::too_many_arguments)]
    fn product(
        &self,
        group: &Group,
        linear: &Linear,
        x: &[f32],
        y: &mut [f32],
        write: Write,
        inner: &mut [f32],
        packed: &mut Packed,
    ) {
        match &self.batch.lora {
            LoraForm::Fused(fused) => {
                group.forward_fused(fused, linear, x, y, write, inner, packed);
            }
            LoraForm::Bf16(loras) => {
                linear.forward(x, y, write, &mut packed.x);
                group.forward_bf16(loras, x, y, inner);
            }
            LoraForm::F32 => {
                linear.forward(x, y, write, &mut packed.x);
                group.forward(x, y, inner);
            }
        }
    }

    /// The adapters' part of a group of linear layers.
    pub fn group(&self, which: usize) -> Group<'_> {
        let (inputs, outputs) = self.shape.features(which);
        Group {
            plan: &self.batch.plan,
            layer: self.index,
            members: self.shape.members(which),
            inputs,
            outputs,
        }
    }

    /// Rotates q and k of every row by its position; with `direction` −1 it rotates them back.
    pub fn rotate(&self, qkv: &mut [f32], direction: f32) {
        let heads = self.shape.heads;
        let (width, half) = (heads.row(), heads.size / 2);
        let rotated = (heads.queries + heads.keys) * heads.size;
        let Rotary { cos, sin } = &self.batch.plan.rotary;
        let angles = cos.par_chunks(half * ROWS).zip(sin.par_chunks(half * ROWS));
        qkv.par_chunks_mut(width * ROWS)
            .zip(angles)
            .for_each(|(rows, (cos, sin))| {
                let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                for (row, (cos, sin)) in rows.chunks_exact_mut(width).zip(angles) {
                    for head in row[..rotated].chunks_exact_mut(heads.size) {
                        math::rotate(head, cos, sin, direction);
                    }
                }
            });
    }

    fn norm_heads(&self, qkv: &mut [f32], (q_norm, k_norm): &(Vec<f32>, Vec<f32>)) {
        let heads = self.shape.heads;
        qkv.par_chunks_mut(heads.row()).for_each(|row| {
            let mut before = vec![0.0; heads.size];
            let normed = (heads.queries + heads.keys) * heads.size;
            for (i, head) in row[..normed].chunks_exact_mut(heads.size).enumerate() {
                before.copy_from_slice(head);
                let w = if i < heads.queries { q_norm } else { k_norm };
                math::rms_norm(&before, w, self.shape.eps, head);
            }
        });
    }

    fn attend(&self, qkv: &[f32], out: &mut [f32], lse: &mut [f32], slots: &mut Slots) {
        let heads = self.shape.heads;
        let (width, q_dim, kv_dim) = (heads.row(), heads.q_dim(), heads.kv_dim());
        for span in &self.batch.plan.spans {
            if let Some(slot) = span.kv {
                let rows = qkv[span.rows.start * width..span.rows.end * width].chunks_exact(width);
                slots.append(slot, self.index, rows.map(|row| &row[q_dim..]));
            }
        }
        let slots = &*slots;
        let batch = |rows: &Range<usize>| Chunk {
            k: Keys::Rows(&qkv[rows.start * width + q_dim..]),
            v: &qkv[rows.start * width + q_dim + kv_dim..],
            rows: rows.len(),
        };
        let view = |span: &Span| {
            let keys = span.past + span.rows.len();
            let (chunks, stride) = match (span.kv, &span.prefix) {
                (Some(slot), _) => (slots.chunks(slot, self.index, keys), kv_dim),
                (None, Some(prefix)) => (vec![batch(prefix), batch(&span.rows)], width),
                (None, None) => (vec![batch(&span.rows)], width),
            };
            attention::Span {
                first: span.rows.start,
                rows: span.rows.len(),
                past: span.past,
                chunks,
                stride,
            }
        };
        let spans: Vec<_> = self.batch.plan.spans.iter().map(view).collect();
        attention::forward(heads, &spans, qkv, out, lse);
    }
}

pub fn norm_rows(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    let n = w.len();
    out.par_chunks_mut(n * ROWS)
        .zip(x.par_chunks(n * ROWS))
        .for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                math::rms_norm(x, w, eps, out);
            }
        });
}

pub fn swiglu_rows(gate_up: &[f32], middle: usize, out: &mut [f32]) {
    let rows = gate_up.par_chunks(2 * middle * ROWS);
    out.par_chunks_mut(middle * ROWS)
        .zip(rows)
        .for_each(|(out, gate_up)| {
            for (out, both) in out
                .chunks_exact_mut(middle)
                .zip(gate_up.chunks_exact(2 * middle))
            {
                math::swiglu(both, out);
            }
        });
}
