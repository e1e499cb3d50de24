//! The frozen product in bf16: `y[T, N] = x[T, K] · W[N, K]ᵀ` by AMX or by AVX-512's `vdpbf16ps`.
//!
//! Weights are packed once into **panels** of 32 outputs, `[N/32][K/2][32][2]` (the VNNI layout): two
//! register loads bring the pair (k, k+1) of 32 outputs, and sixteen pairs are two tile registers of AMX.
//! Activations are packed for every call into blocks of rows ([`activations`]). A tile of a block × 32 outputs
//! lives in registers: of 12 rows in 24 vectors, of 32 rows in four tile registers.
//!
//! Two kinds of panel are made when their turn comes, a block of K at a time: a panel of a quantised file
//! from its codes ([`quantised`]), and a panel of the transposed matrix from the stored one ([`transpose`]).
//!
//! K is cut into blocks whose slice of a panel stays in the first-level cache while a chunk of rows runs
//! over it. The cuts depend on K alone, and a row's sums on the row alone: a row's result has the same bits
//! whatever else is in the batch.

mod activations;
#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(not(target_arch = "x86_64"))]
mod amx {
    /// No tile registers.
    #[derive(Default)]
    pub struct Registers;
}
mod codes;
#[cfg(target_arch = "x86_64")]
mod dequantise;
pub mod lora_epilogue;
mod pack;
mod panels;
mod quantised;
pub mod skinny;
#[cfg(target_arch = "x86_64")]
mod small_batch;
mod tile;
mod transpose;
mod weights;

use super::{Init, SharedMut, has_amx_bf16};
pub use activations::{PackedRows, block_rows, row_blocks};
use amx::Registers;
use codes::GROUP_PAIRS;
use lora_epilogue::LoraEpilogue;
use panels::PANEL;
pub(super) use panels::{PairVector, ZERO, pair};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;
use tile::{OutputTile, Tile};
pub use weights::{View, Weights};

/// Row blocks that run over one slice of a panel before the next slice is fetched.
const CHUNK_BLOCKS: usize = 16;
/// Bytes of x that stay in the second-level cache together with a panel.
const L2_BYTES: usize = 512 << 10;
/// Most pairs of one block of K, a multiple of a code group: 256 · 128 bytes of panel.
const K_BLOCK: usize = 256;
/// The same for AMX, which reads its operands so fast that the block must leave room for x in the first-level cache.
const K_BLOCK_AMX: usize = 192;
/// Bytes of weights that one task reads for all rows: they should stay in the last-level cache.
const TASK_BYTES: usize = 2 << 20;

thread_local! {
    /// One block of K of a panel, dequantised or transposed.
    static PANEL_BUFFER: RefCell<Vec<PairVector>> = RefCell::default();
}

/// `y[T, N] = init + x · Wᵀ`, over the threads of the current pool.
pub fn multiply(x: &PackedRows, w: View, y: &mut [f32], init: Init) {
    multiply_with_lora(x, w, y, init, None);
}

/// [`multiply`], with the adapters' product added to every tile while the tile is in cache.
pub fn multiply_with_lora(
    x: &PackedRows,
    w: View,
    y: &mut [f32],
    init: Init,
    lora: Option<&LoraEpilogue>,
) {
    let (outputs, inputs) = (w.outputs(), w.inputs());
    assert!(x.inputs == inputs && y.len() == x.rows * outputs);
    if let Init::Bias(bias) = init {
        assert_eq!(bias.len(), outputs);
    }
    if x.rows == 0 {
        return;
    }
    let panels = outputs.div_ceil(PANEL);
    let threads = rayon::current_num_threads();
    let by_cache = (TASK_BYTES / (inputs.div_ceil(2) * 128)).max(8);
    let group = by_cache.min(panels.div_ceil(2 * threads)).max(1);
    if let Some(lora) = lora {
        lora.check(x, outputs);
    }
    let y = SharedMut::new(y);
    let run = |g: usize| {
        let mine = g * group..(g * group + group).min(panels);
        for chunk in (0..x.blocks.len()).step_by(CHUNK_BLOCKS) {
            let chunk = chunk..(chunk + CHUNK_BLOCKS).min(x.blocks.len());
            multiply_chunk(x, w, y, init, chunk, mine.clone(), lora);
        }
    };
    (0..panels.div_ceil(group))
        .into_par_iter()
        .with_max_len(1)
        .for_each(run);
}

/// One chunk of row blocks against a group of panels.
fn multiply_chunk(
    x: &PackedRows,
    w: View,
    y: SharedMut,
    init: Init,
    chunk: Range<usize>,
    panels: Range<usize>,
    lora: Option<&LoraEpilogue>,
) {
    let blocks = &x.blocks[chunk.clone()];
    let mut buffer = PANEL_BUFFER.take();
    let mut registers = Registers::default();
    let (outputs, pairs) = (w.outputs(), w.inputs().div_ceil(2));
    let k_block = k_block(pairs);
    let k_blocks = pairs.div_ceil(k_block);
    // If the chunk's x fits the cache, a panel is read to its end; else one block of K is read of every panel.
    let x_fits = x.bytes(chunk.clone()) <= L2_BYTES;
    let order = |i: usize| match x_fits {
        true => (i / k_blocks, i % k_blocks),
        false => (i % panels.len(), i / panels.len()),
    };
    for (p, nth) in (0..panels.len() * k_blocks).map(order) {
        let (p, first) = (panels.start + p, nth * k_block);
        let length = k_block.min(pairs - first);
        let column = p * PANEL;
        let width = PANEL.min(outputs - column);
        let out = |row: usize, rows: usize| OutputTile {
            y: y.at(row * outputs + column, (rows - 1) * outputs + width),
            stride: outputs,
            width,
            init: match init {
                Init::Bias(b) if first == 0 => Init::Bias(&b[column..column + width]),
                Init::Zero if first == 0 => Init::Zero,
                _ => Init::Accumulate,
            },
        };
        let done = match (w.quantised(), &x.blocks[..]) {
            // SAFETY: the tile is `rows` rows of `width` outputs (checked by `at`), and these outputs
            // belong to this task's panels alone.
            (Some(w), [(row, rows)]) => unsafe {
                w.small_batch(p, x, first, length, &out(*row, *rows))
            },
            _ => false,
        };
        if !done {
            let weights = w.vectors(p, first, length, &mut buffer);
            for (block, &(row, rows)) in chunk.clone().zip(blocks) {
                let tile = Tile {
                    x: x.part(block, first, length),
                    weights,
                    out: out(row, rows),
                };
                // SAFETY: as above.
                unsafe { tile.run(&mut registers) }
            }
        }
        if let Some(lora) = lora
            && nth + 1 == k_blocks
        {
            for (block, &(row, rows)) in chunk.clone().zip(blocks) {
                let init = Init::Accumulate;
                let out = OutputTile {
                    init,
                    ..out(row, rows)
                };
                // SAFETY: as above.
                unsafe { lora.add(block, p, out, &mut registers) }
            }
        }
    }
    PANEL_BUFFER.set(buffer);
}

/// Pairs of a block of K: as even as whole code groups allow.
fn k_block(pairs: usize) -> usize {
    let most = if has_amx_bf16() { K_BLOCK_AMX } else { K_BLOCK };
    let even = pairs.div_ceil(pairs.div_ceil(most));
    even.next_multiple_of(GROUP_PAIRS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;
    use crate::weights::{BLOCK, Blocks};
    use half::bf16;

    fn round(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    #[test]
    fn agrees_with_the_definition_at_odd_shapes() {
        for (rows, n, k) in [
            (1, 5, 7),
            (12, 32, 64),
            (13, 33, 2051),
            (29, 70, 130),
            (200, 96, 96),
        ] {
            let (x, w) = (numbers(rows * k, 1), numbers(n * k, 2));
            let bias = numbers(n, 3);
            let cut = n / 2 * k;
            let panels = Weights::pack(&[w[..cut].to_vec(), w[cut..].to_vec()], k);
            let mut packed = PackedRows::default();
            packed.pack(&x, k);
            let mut y = vec![f32::NAN; rows * n];
            multiply(&packed, panels.as_stored(), &mut y, Init::Bias(&bias));
            multiply(&packed, panels.as_stored(), &mut y, Init::Accumulate);
            for t in 0..rows {
                for o in 0..n {
                    let dot = (0..k).map(|i| round(x[t * k + i]) * round(w[o * k + i]));
                    let want = 2.0 * dot.sum::<f64>() + f64::from(bias[o]);
                    let got = f64::from(y[t * n + o]);
                    assert!(
                        (got - want).abs() < 1e-4,
                        "{rows}x{n}x{k}: {got} for {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (n, k) = (64, 1120);
        let (x, w) = (numbers(70 * k, 1), numbers(n * k, 2));
        let codes = w.iter().map(|x| ((x + 0.5) * 16.0) as u8);
        let codes: Vec<u8> = codes.collect();
        let blocks = Blocks {
            codes: codes.as_chunks().0.to_vec(),
            scales: vec![[0.25, -2.0]; n * k / BLOCK],
        };
        for w in [Weights::pack(&[w], k), Weights::quantised(&[blocks], k)] {
            let run = |x: &[f32]| {
                let mut packed = PackedRows::default();
                packed.pack(x, k);
                let mut y = vec![0.0; x.len() / k * n];
                multiply(&packed, w.as_stored(), &mut y, Init::Zero);
                y
            };
            let all = run(&x);
            for rows in [0, 1, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 32, 33, 40, 65] {
                assert_eq!(run(&x[..rows * k]), all[..rows * n], "{rows} rows");
            }
        }
    }

    #[test]
    fn what_a_buffer_held_before_does_not_matter() {
        let mut used = PackedRows::default();
        used.pack(&vec![f32::NAN; 40 * 301], 301);
        for (rows, k) in [(3, 71), (17, 71), (33, 96), (2, 33)] {
            let (x, w) = (numbers(rows * k, 1), Weights::pack(&[numbers(5 * k, 2)], k));
            let run = |packed: &mut PackedRows| {
                packed.pack(&x, k);
                let mut y = vec![f32::NAN; rows * 5];
                multiply(packed, w.as_stored(), &mut y, Init::Zero);
                y
            };
            assert_eq!(
                run(&mut used),
                run(&mut PackedRows::default()),
                "{rows} rows"
            );
        }
    }

    #[test]
    fn few_rows_in_several_blocks_have_the_bits_of_one_block() {
        let (n, k) = (40, 96);
        let blocks = Blocks {
            codes: vec![std::array::from_fn(|i| i as u8 % 16); n * k / BLOCK],
            scales: vec![[0.25, -2.0]; n * k / BLOCK],
        };
        let w = Weights::quantised(&[blocks], k);
        let x = numbers(3 * k, 1);
        let run = |blocks: &[(usize, usize)]| {
            let mut packed = PackedRows::default();
            packed.pack_blocks(&x, k, blocks);
            let mut y = vec![f32::NAN; 3 * n];
            multiply(&packed, w.as_stored(), &mut y, Init::Zero);
            y
        };
        assert_eq!(run(&[(0, 1), (1, 2)]), run(&[(0, 3)]));
    }
}
