//! An adapter of the upper layers alone leaves the lower ones frozen: what those make of an example is the
//! same in every epoch, so it is kept.

use super::prefix::Placed;
use crate::executor::Below;

/// Rows a candidate keeps at most: beyond them memory would be worth more than the time saved.
const MOST_ROWS: usize = 32_768;

/// The hidden states of a candidate's examples where its lowest layer begins.
#[derive(Debug)]
pub struct Lower {
    layer: usize,
    /// For each example `[inputs, hidden]`.
    states: Vec<Option<Vec<f32>>>,
    rows: usize,
}

impl Lower {
    pub fn new(layer: usize, examples: usize) -> Self {
        Lower {
            layer,
            states: vec![None; examples],
            rows: 0,
        }
    }

    /// The lowest layer that trains.
    pub fn layer(&self) -> usize {
        self.layer
    }

    pub fn has(&self, example: usize) -> bool {
        self.states[example].is_some()
    }

    /// Writes what is kept of an example to its place in a batch's states.
    pub fn restore(&self, example: usize, place: &Placed, below: &mut Below, rows: usize) {
        let Some(states) = &self.states[example] else {
            return;
        };
        let hidden = states.len() / place.rows().len();
        below.states.resize(rows * hidden, 0.0);
        for (row, state) in place.rows().zip(states.chunks_exact(hidden)) {
            below.states[row * hidden..][..hidden].copy_from_slice(state);
        }
    }

    /// Keeps an example's rows of what a pass of `rows` rows found.
    pub fn keep(&mut self, example: usize, place: &Placed, below: &Below, rows: usize) {
        let own = place.rows().len();
        if self.has(example) || below.states.is_empty() || self.rows + own > MOST_ROWS {
            return;
        }
        let hidden = below.states.len() / rows;
        let states = place
            .rows()
            .flat_map(|row| &below.states[row * hidden..][..hidden]);
        self.states[example] = Some(states.copied().collect());
        self.rows += own;
    }
}
