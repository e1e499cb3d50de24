//! The product of a small batch: every weight is dequantised in registers and multiplied with all rows.

use super::codes::{GROUP, NO_BYTES, PANEL, unpack};
use super::job::{Job, OutputTile, k_block, load_scales, prefetch};
use super::panels::{Panels, Scales};
use crate::cpu::kernels::simd::Simd;

/// Most rows: their sums, half a panel wide, fit the registers.
pub const MAX_ROWS: usize = 4;
/// Distance of the prefetch, in groups.
const AHEAD: usize = 4;

/// Whether the matrix has the form that this product reads: whole groups along the inputs.
pub fn supports(w: &Panels) -> bool {
    let along = |scales: &Scales| !matches!(scales, Scales::PerRow(_));
    w.inputs.is_multiple_of(GROUP) && w.panels.first().is_some_and(|p| along(&p.scales))
}

/// One panel against all rows of the job.
///
/// # Safety
/// No other task may touch the panel's outputs; [`supports`] must hold, with at most [`MAX_ROWS`] rows; the
/// processor must have `S`.
#[inline(always)]
pub unsafe fn multiply<S: Simd>(job: &Job, panel: usize) {
    // SAFETY: handed on to the caller.
    unsafe {
        match (job.rows, PANEL / S::LANES) {
            (1, 4) => run::<S, 1, 4, 1>(job, panel),
            (1, _) => run::<S, 1, 2, 1>(job, panel),
            (2, 4) => run::<S, 2, 2, 2>(job, panel),
            (2, _) => run::<S, 2, 2, 1>(job, panel),
            (3, 4) => run::<S, 3, 2, 2>(job, panel),
            (3, _) => run::<S, 3, 2, 1>(job, panel),
            (_, 4) => run::<S, MAX_ROWS, 2, 2>(job, panel),
            (_, _) => run::<S, MAX_ROWS, 2, 1>(job, panel),
        }
    }
}

/// `R` rows, `Z` registers of outputs at a time, `PARTS` times.
///
/// # Safety
/// As [`multiply`], for `R` rows.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
unsafe fn run<S: Simd, const R: usize, const Z: usize, const PARTS: usize>(
    job: &Job,
    panel: usize,
) {
    let w = job.w;
    let packed = &w.panels[panel];
    assert!(job.x.len() == R * w.inputs && PANEL == Z * S::LANES * PARTS);
    let groups = w.inputs / GROUP;
    let mut bytes = NO_BYTES;
    for first in (0..w.inputs).step_by(k_block(w.inputs)) {
        let end = (first + k_block(w.inputs)).min(w.inputs);
        let out = OutputTile::new(job, 0..R, panel * PANEL, PANEL, first);
        // SAFETY: x holds the rows (checked above), a group its codes; the outputs are the caller's own.
        unsafe {
            let mut all = [[[S::splat(0.0); Z]; R]; PARTS];
            for group in first / GROUP..end / GROUP {
                let ahead = group + AHEAD;
                match w.panels.get(panel + 1) {
                    _ if ahead < groups => prefetch::<S>(packed, ahead),
                    Some(next) => prefetch::<S>(next, (ahead - groups).min(groups - 1)),
                    None => {}
                }
                let codes = unpack(packed.group(group), packed.bits, &mut bytes);
                for part in 0..PARTS {
                    let lane = part * Z * S::LANES;
                    let codes = codes.as_ptr().cast::<u8>();
                    let [scale, zero] = load_scales::<S, Z>(&packed.scales, group, lane);
                    let mut codes = codes.add(lane);
                    let mut x = [job.x.as_ptr(); R];
                    for r in 0..R {
                        x[r] = x[r].wrapping_add(r * w.inputs + group * GROUP);
                    }
                    let mut sums = all[part];
                    for k in 0..GROUP {
                        let mut w = [S::splat(0.0); Z];
                        for z in 0..Z {
                            w[z] = S::fma(S::load_u8(codes.add(z * S::LANES)), scale[z], zero[z]);
                        }
                        for r in 0..R {
                            let value = S::splat(*x[r].add(k));
                            for z in 0..Z {
                                sums[r][z] = S::fma(value, w[z], sums[r][z]);
                            }
                        }
                        codes = codes.wrapping_add(PANEL);
                    }
                    all[part] = sums;
                }
            }
            for (part, sums) in all.iter().enumerate() {
                for (r, sums) in sums.iter().enumerate() {
                    for (z, sum) in sums.iter().enumerate() {
                        out.finish::<S>(r, part * Z + z, *sum);
                    }
                }
            }
        }
    }
}
