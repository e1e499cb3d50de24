//! What an adapter may change beyond its pairs of linear layers: DoRA's magnitudes, biases, and the token tables
//! (the embedding and the output projection). Adapters made elsewhere bring them. They are served; training
//! neither makes nor continues them.
//!
//! ```text
//! linear    y = g ⊙ (W·x + s·B·A·x) + bias + lora_bias     g = magnitude / ‖W + s·B·A‖ by row; 1 without DoRA
//! table     T' = whole or T, plus R·H                      rows of T' embed tokens, and score them at the end
//! ```

use super::Lora;
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};

/// The changes of one adapter beyond its pairs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extras {
    /// `layers[l][projection.index()]`
    pub layers: Vec<[LinearExtras; 7]>,
    /// Of the embedding.
    pub embedding: Option<TableChange>,
    /// Of the output projection.
    pub head: Option<TableChange>,
}

/// The changes of one linear layer beyond its pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinearExtras {
    /// DoRA's magnitude of each row of the weight (arXiv 2402.09353), `[out]`.
    pub magnitude: Option<Vec<f32>>,
    /// Added to the output, `[out]`.
    pub bias: Option<Vec<f32>>,
}

/// The change of a token table `[vocab, hidden]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableChange {
    /// The table that replaces the base's, `[vocab, hidden]`.
    pub whole: Option<Vec<f32>>,
    /// Whether `whole` is the base's own frozen table, which PEFT saves beside a pair.
    pub is_copy: bool,
    pub pair: Option<TablePair>,
}

/// The product `rows · columns` that is added to a token table; the adapter's scale is in `columns`.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePair {
    pub rank: usize,
    /// `[vocab, rank]`
    pub rows: Vec<f32>,
    /// `[rank, hidden]`
    pub columns: Vec<f32>,
}

impl Extras {
    /// `None` if nothing is changed, so that plain adapters are equal whatever file they come from.
    pub fn or_none(self) -> Option<Self> {
        let plain = self.layers.iter().flatten().all(LinearExtras::is_empty);
        (!plain || self.embedding.is_some() || self.head.is_some()).then_some(self)
    }

    /// The names of the changes, as PEFT calls them.
    pub fn names(&self) -> Vec<&'static str> {
        let any = |has: fn(&LinearExtras) -> bool| self.layers.iter().flatten().any(has);
        let all = [
            ("use_dora", any(|l| l.magnitude.is_some())),
            ("lora_bias", any(|l| l.bias.is_some())),
            ("embed_tokens", self.embedding.is_some()),
            ("lm_head", self.head.is_some()),
        ];
        let present = all.into_iter().filter(|(_, present)| *present);
        present.map(|(name, _)| name).collect()
    }

    /// Checks the lengths against the model's.
    ///
    /// # Errors
    /// [`Error::Adapter`] names the first difference.
    pub fn validate(&self, model: &ModelConfig) -> Result<()> {
        let wrong = |what: String| Err(Error::Adapter(format!("{what} does not fit the model")));
        if self.layers.len() != model.num_layers {
            return wrong(format!("a list of {} layers", self.layers.len()));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            for (p, extras) in Projection::ALL.into_iter().zip(layer) {
                let outputs = model.features(p).1;
                let fits = |v: &Option<Vec<f32>>| v.as_ref().is_none_or(|v| v.len() == outputs);
                if !fits(&extras.magnitude) || !fits(&extras.bias) {
                    return wrong(format!("layer {l} {}: a vector", p.name()));
                }
            }
        }
        let (vocab, hidden) = (model.vocab_size, model.hidden_size);
        let fits = |table: &TableChange| {
            let whole = table.whole.as_ref();
            let pair = table.pair.as_ref();
            whole.is_none_or(|w| w.len() == vocab * hidden)
                && pair.is_none_or(|p| {
                    (p.rows.len(), p.columns.len()) == (vocab * p.rank, p.rank * hidden)
                })
        };
        for (name, table) in [("embed_tokens", &self.embedding), ("lm_head", &self.head)] {
            if !table.as_ref().is_none_or(fits) {
                return wrong(format!("the table of {name}"));
            }
        }
        Ok(())
    }
}

impl LinearExtras {
    pub fn is_empty(&self) -> bool {
        self.magnitude.is_none() && self.bias.is_none()
    }
}

impl TableChange {
    /// Turns the base's embedding of a token into the adapter's, `out[hidden]`.
    pub fn embed(&self, token: usize, out: &mut [f32]) {
        if let Some(whole) = &self.whole {
            out.copy_from_slice(&whole[token * out.len()..][..out.len()]);
        }
        if let Some(pair) = &self.pair {
            pair.add_row(token, out);
        }
    }
}

impl TablePair {
    /// Adds `rows[token] · columns` to the table's row of that token, `out[hidden]`.
    pub fn add_row(&self, token: usize, out: &mut [f32]) {
        let row = &self.rows[token * self.rank..][..self.rank];
        for (share, column) in row.iter().zip(self.columns.chunks_exact(out.len())) {
            out.iter_mut()
                .zip(column)
                .for_each(|(o, c)| *o += share * c);
        }
    }

    /// Adds `rows · (columns · x)` to the logits `out[vocab]` of a hidden state.
    pub fn add_logits(&self, x: &[f32], out: &mut [f32]) {
        let columns = self.columns.chunks_exact(x.len());
        let inner: Vec<f32> = columns.map(|c| dot(c, x)).collect();
        for (o, row) in out.iter_mut().zip(self.rows.chunks_exact(self.rank)) {
            *o += dot(row, &inner);
        }
    }
}

/// The factor of each row of a weight under DoRA: its magnitude over the norm of the row with the correction.
/// `rows` gives row `j` of the frozen weight, `[in]`.
pub fn dora_gain(
    magnitude: &[f32],
    correction: Option<(&super::LoraPair, f32)>,
    mut row: impl FnMut(usize, &mut [f32]),
    inputs: usize,
) -> Vec<f32> {
    let mut sum = vec![0.0; inputs];
    let gain = magnitude.iter().enumerate().map(|(j, magnitude)| {
        row(j, &mut sum);
        if let Some((pair, scale)) = correction {
            let rank = pair.a.len() / inputs;
            let b = &pair.b[j * rank..][..rank];
            for (b, a) in b.iter().zip(pair.a.chunks_exact(inputs)) {
                sum.iter_mut().zip(a).for_each(|(s, a)| *s += scale * b * a);
            }
        }
        let square: f64 = sum.iter().map(|x| f64::from(*x).powi(2)).sum();
        magnitude / square.sqrt() as f32
    });
    gain.collect()
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

impl Lora {
    /// Whether the adapter can be trained further.
    ///
    /// # Errors
    /// [`Error::Adapter`] names what training does not continue.
    pub fn check_trainable(&self) -> Result<()> {
        match &self.extras {
            None => Ok(()),
            Some(extras) => Err(Error::Adapter(format!(
                "it has {} besides its LoRA pairs; such an adapter is served, but training continues plain LoRA \
                 only. Merge it into the base (PEFT's merge_and_unload), or continue a plain LoRA",
                extras.names().join(", ")
            ))),
        }
    }
}
