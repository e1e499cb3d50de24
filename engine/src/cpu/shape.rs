//! The model's dimensions, and the groups of linear layers that share an input.

use super::kernels::attention::Heads;
use crate::config::{ModelConfig, Projection};

/// The dimensions of a decoder layer.
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the MLP.
    pub middle: usize,
    pub heads: Heads,
    /// Of every RMSNorm.
    pub eps: f32,
    groups: [Vec<(Projection, usize)>; 4],
}

/// Indices of the groups.
pub const QKV: usize = 0;
pub const O: usize = 1;
pub const GATE_UP: usize = 2;
pub const DOWN: usize = 3;

impl Shape {
    pub fn new(config: &ModelConfig) -> Self {
        use Projection::*;
        let heads = Heads {
            queries: config.num_heads,
            keys: config.num_kv_heads,
            size: config.head_dim,
        };
        let (q, kv) = (heads.q_dim(), heads.kv_dim());
        Shape {
            hidden: config.hidden_size,
            middle: config.intermediate_size,
            heads,
            eps: config.rms_norm_eps,
            groups: [
                vec![(Q, 0), (K, q), (V, q + kv)],
                vec![(O, 0)],
                vec![(Gate, 0), (Up, config.intermediate_size)],
                vec![(Down, 0)],
            ],
        }
    }

    /// The projections of a group, each with its first column in the group's output.
    pub fn members(&self, group: usize) -> &[(Projection, usize)] {
        &self.groups[group]
    }

    /// (in, out) features of a group.
    pub fn features(&self, group: usize) -> (usize, usize) {
        match group {
            QKV => (self.hidden, self.heads.row()),
            O => (self.heads.q_dim(), self.hidden),
            GATE_UP => (self.hidden, 2 * self.middle),
            _ => (self.middle, self.hidden),
        }
    }

    /// Whether every projection begins at an even column.
    pub fn has_even_columns(&self) -> bool {
        let mut members = self.groups.iter().flatten();
        members.all(|(_, column)| column % 2 == 0)
    }
}
