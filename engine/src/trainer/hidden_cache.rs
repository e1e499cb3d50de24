//! The hidden-state cache. An adapter of the upper layers leaves the lower layers frozen, so their output for
//! an example is the same in every epoch and is computed once.

use super::prefix::Placement;
use crate::executor::HiddenStates;

/// Most rows that a candidate keeps; more would cost more memory than the time is worth.
const MAX_ROWS: usize = 32_768;

/// The hidden states of a candidate's examples before the lowest layer that trains.
#[derive(Debug)]
pub struct HiddenCache {
    layer: usize,
    /// For each example `[inputs, hidden]`.
    states: Vec<Option<Vec<f32>>>,
    rows: usize,
}

impl HiddenCache {
    pub fn new(layer: usize, examples: usize) -> Self {
        HiddenCache {
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

    /// Copies an example's states to its rows in a batch of `rows` rows.
    pub fn restore(
        &self,
        example: usize,
        place: &Placement,
        hidden_states: &mut HiddenStates,
        rows: usize,
    ) {
        let Some(states) = &self.states[example] else {
            return;
        };
        let hidden = states.len() / place.rows().len();
        debug_assert_eq!(states.len() % place.rows().len(), 0, "an example grew");
        hidden_states.states.resize(rows * hidden, 0.0);
        for (row, state) in place.rows().zip(states.chunks_exact(hidden)) {
            hidden_states.states[row * hidden..][..hidden].copy_from_slice(state);
        }
    }

    /// Keeps an example's states, out of those of a batch of `rows` rows.
    pub fn keep(
        &mut self,
        example: usize,
        place: &Placement,
        hidden_states: &HiddenStates,
        rows: usize,
    ) {
        let own = place.rows().len();
        if self.has(example) || hidden_states.states.is_empty() || self.rows + own > MAX_ROWS {
            return;
        }
        let hidden = hidden_states.states.len() / rows;
        let states = place
            .rows()
            .flat_map(|row| &hidden_states.states[row * hidden..][..hidden]);
        self.states[example] = Some(states.copied().collect());
        self.rows += own;
    }
}
