//! One decoder layer, backward: from the gradient after the layer to the gradient before it, and the gradients
//! of the layer's adapters. Cheap activations (norms, SwiGLU) are recomputed rather than kept.

use super::kernels::attention::{self, Activations};
use super::kernels::math;
use super::layer::{Pass, ROWS, norm_rows, swiglu_rows};
use super::lora::LayerGrads;
use super::prepared::LoraForm;
use super::shape::{DOWN, GATE_UP, O, QKV};
use super::workspace::{Buffer, Packed, Saved, Temp};
use rayon::prelude::*;

impl Pass<'_> {
    /// `dh[T, hidden]` holds the gradient after the layer, and then the gradient before it. The gradient before the
    /// `lowest` layer that trains is needed by nobody, so its last part is not computed.
    pub fn backward(
        &self,
        dh: &mut [f32],
        saved: &Saved,
        temp: &mut Temp,
        grads: &mut LayerGrads,
        lowest: bool,
    ) {
        let (shape, w, rows) = (self.shape, self.weights, self.batch.plan.rows);
        let (hidden, wide, heads) = (rows * shape.hidden, rows * shape.middle, shape.heads);
        let packed = &mut temp.packed;

        let gate_up = saved.gate_up.get(2 * wide);
        let act = temp.wide.get_mut(wide);
        swiglu_rows(gate_up, shape.middle, act);
        let d_act = temp.d_x.get_mut(wide.max(hidden).max(rows * heads.q_dim()));
        let lora = (&saved.lora[DOWN], &mut temp.d_lora);
        self.linear_grad(DOWN, act, dh, Some(&mut d_act[..wide]), lora, grads, packed);

        let d_gate_up = temp.d_gate_up.get_mut(2 * wide);
        let width = shape.middle;
        let d_rows = temp.d_x.get(wide).par_chunks(width * ROWS);
        let inputs = gate_up.par_chunks(2 * width * ROWS).zip(d_rows);
        d_gate_up
            .par_chunks_mut(2 * width * ROWS)
            .zip(inputs)
            .for_each(|(d, (both, d_act))| {
                let inputs = both.chunks_exact(2 * width).zip(d_act.chunks_exact(width));
                for (d, (both, d_act)) in d.chunks_exact_mut(2 * width).zip(inputs) {
                    math::swiglu_grad(both, d_act, d);
                }
            });

        let x = temp.x.get_mut(hidden);
        norm_rows(saved.middle.get(hidden), &w.post_norm, shape.eps, x);
        let dx = temp.d_x.get_mut(hidden);
        let lora = (&saved.lora[GATE_UP], &mut temp.d_lora);
        self.linear_grad(GATE_UP, x, d_gate_up, Some(dx), lora, grads, packed);
        norm_grad_rows(saved.middle.get(hidden), &w.post_norm, shape.eps, dx, dh);

        let attention = saved.attention.get(rows * heads.q_dim());
        let d_attention = temp.d_x.get_mut(rows * heads.q_dim());
        let lora = (&saved.lora[O], &mut temp.d_lora);
        self.linear_grad(O, attention, dh, Some(d_attention), lora, grads, packed);

        let d_qkv = temp.d_qkv.get_mut(rows * heads.row());
        let activations = Activations {
            qkv: saved.qkv.get(rows * heads.row()),
            out: attention,
            lse: saved.lse.get(rows * heads.queries),
            d_out: d_attention,
        };
        let spans: Vec<_> = (self.batch.plan.spans.iter())
            .map(|s| (s.rows.clone(), s.prefix.clone()))
            .collect();
        attention::backward(heads, &spans, activations, d_qkv);
        self.rotate(d_qkv, -1.0);
        if let Some(norms) = &w.qk_norm {
            self.norm_heads_grad(saved.raw.get(rows * heads.row()), norms, d_qkv);
        }

        norm_rows(saved.input.get(hidden), &w.input_norm, shape.eps, x);
        let lora = (&saved.lora[QKV], &mut temp.d_lora);
        if lowest {
            return self.linear_grad(QKV, x, d_qkv, None, lora, grads, packed);
        }
        let dx = temp.d_x.get_mut(hidden);
        self.linear_grad(QKV, x, d_qkv, Some(dx), lora, grads, packed);
        norm_grad_rows(saved.input.get(hidden), &w.input_norm, shape.eps, dx, dh);
    }

    /// The gradient of a frozen layer's input (with `dx`), and the gradients of its adapters. `lora` is the `x · Aᵀ`
    /// that forward kept, and scratch of the same length.
    #[allow(clippy::too_many_arguments)]
    fn linear_grad(
        &self,
        which: usize,
        x: &[f32],
        dy: &[f32],
        mut dx: Option<&mut [f32]>,
        (inner, d_inner): (&Buffer, &mut Buffer),
        grads: &mut LayerGrads,
        packed: &mut Packed,
    ) {
        let (group, linear) = (self.group(which), self.weights.linear(which));
        let inner = inner.get(group.inner_len());
        let d_inner = d_inner.get_mut(group.inner_len());
        if let LoraForm::Fused(fused) = &self.batch.lora {
            return group.backward_fused(fused, linear, x, dy, dx, inner, d_inner, grads, packed);
        }
        if let Some(dx) = dx.as_deref_mut() {
            linear.input_grad(dy, dx, &mut packed.x);
        }
        group.backward(x, dy, dx, inner, d_inner, grads);
    }

    fn norm_heads_grad(
        &self,
        raw: &[f32],
        (q_norm, k_norm): &(Vec<f32>, Vec<f32>),
        d_qkv: &mut [f32],
    ) {
        let (heads, eps) = (self.shape.heads, self.shape.eps);
        let normed = (heads.queries + heads.keys) * heads.size;
        let rows = d_qkv
            .par_chunks_mut(heads.row())
            .zip(raw.par_chunks(heads.row()));
        rows.for_each(|(d_row, row)| {
            let mut d_after = vec![0.0; heads.size];
            let both = d_row[..normed]
                .chunks_exact_mut(heads.size)
                .zip(row.chunks_exact(heads.size));
            for (i, (d_head, head)) in both.enumerate() {
                d_after.copy_from_slice(d_head);
                d_head.fill(0.0);
                let w = if i < heads.queries { q_norm } else { k_norm };
                math::rms_norm_grad(head, w, eps, &d_after, d_head);
            }
        });
    }
}

fn norm_grad_rows(x: &[f32], w: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let n = w.len();
    let inputs = x.par_chunks(n * ROWS).zip(dy.par_chunks(n * ROWS));
    dx.par_chunks_mut(n * ROWS)
        .zip(inputs)
        .for_each(|(dx, (x, dy))| {
            let inputs = x.chunks_exact(n).zip(dy.chunks_exact(n));
            for (dx, (x, dy)) in dx.chunks_exact_mut(n).zip(inputs) {
                math::rms_norm_grad(x, w, eps, dy, dx);
            }
        });
}
