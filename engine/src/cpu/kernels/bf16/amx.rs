//! The tile of the product by AMX: the sums of up to 32 rows × 32 outputs, held in four tile registers.
//!
//! A tile register has 16 rows of 64 bytes. `tdpbf16ps` adds to sixteen rows of sixteen sums the products of 32
//! inputs: per sum, the even inputs one after another, the odd inputs one after another, and then the two to the
//! sum (Intel's Software Developer's Manual, TDPBF16PS). [`super::even_odd`] does the same in vector registers.

use super::activations::{ROWS, RowsPart, STEP};
use super::panels::{PANEL, PairVector, pair};
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// Bytes of a row of a tile register.
const ROW_BYTES: usize = 64;

/// Whether the processor has AMX for bf16, and the system lets this process use it.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

fn has_instructions() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let features = __cpuid_count(7, 0).edx;
    crate::cpu::kernels::has_avx512_bf16() && features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// Asks Linux for the tile registers, which a process may use only after it has asked (arch_prctl(2)).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call reads and writes no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The tile registers of this thread, configured when first used and released at the end of a task, so that the
/// system need not save them.
#[derive(Default)]
pub struct Registers {
    /// Pairs of a step that they are configured for; 0 before the first use.
    pairs: usize,
    sums: Sums,
}

/// Where the tile registers are stored: row by row, the sums of a panel's outputs.
#[repr(C, align(64))]
pub(super) struct Sums(pub [[f32; PANEL]; 2 * ROWS]);

impl Default for Sums {
    fn default() -> Self {
        Sums([[0.0; PANEL]; 2 * ROWS])
    }
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile registers of x; tmm0 to tmm3 are sums.
const X: [usize; 2] = [4, 5];
const WEIGHTS: [usize; 2] = [6, 7];

/// The products of `steps` steps: how the sums begin, one step, and how the sums are stored.
macro_rules! multiply {
    ($x:ident, $weights:ident, $sums:ident, $steps:ident, $advance:ident, $begin:literal, $step:literal, $store:literal) => {
        asm!(
            $begin,
            "2:",
            $step,
            "add {x}, {advance}",
            "add {lower}, {advance}",
            "add {w}, 2048",
            "dec {steps}",
            "jnz 2b",
            $store,
            x = inout(reg) $x => _,
            // The rows of a second register.
            lower = inout(reg) $x.wrapping_add(ROWS * STEP) => _,
            w = inout(reg) $weights => _,
            steps = inout(reg) $steps => _,
            sums = in(reg) $sums,
            advance = in(reg) $advance,
            stride = in(reg) ROW_BYTES,
            // Two vectors of weights, and a row of sums.
            line = in(reg) 128usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// [`multiply!`] of up to 32 rows.
macro_rules! four {
    ($x:ident, $weights:ident, $sums:ident, $steps:ident, $advance:ident, $begin:literal) => {
        multiply!(
            $x, $weights, $sums, $steps, $advance,
            $begin,
            "tileloadd tmm6, [{w} + {line}]\n tileloadd tmm4, [{x} + {stride}]\n \
             tileloadd tmm7, [{w} + {line} + 64]\n tileloadd tmm5, [{lower} + {stride}]\n \
             tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7\n \
             tdpbf16ps tmm2, tmm5, tmm6\n tdpbf16ps tmm3, tmm5, tmm7",
            "tilestored [{sums} + {line}], tmm0\n tilestored [{sums} + {line} + 64], tmm1\n \
             tilestored [{sums} + {line} + 2048], tmm2\n tilestored [{sums} + {line} + 2112], tmm3"
        )
    };
}

/// [`multiply!`] of up to 16 rows.
macro_rules! two {
    ($x:ident, $weights:ident, $sums:ident, $steps:ident, $advance:ident, $begin:literal) => {
        multiply!(
            $x,
            $weights,
            $sums,
            $steps,
            $advance,
            $begin,
            "tileloadd tmm6, [{w} + {line}]\n tileloadd tmm4, [{x} + {stride}]\n \
             tileloadd tmm7, [{w} + {line} + 64]\n \
             tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7",
            "tilestored [{sums} + {line}], tmm0\n tilestored [{sums} + {line} + 64], tmm1"
        )
    };
}

impl Registers {
    /// Multiplies up to 32 rows with the weights of a panel, two vectors a pair. The rows of sums beyond those of x
    /// hold anything.
    ///
    /// # Safety
    /// [`available`] must hold.
    pub(super) unsafe fn multiply(&mut self, x: &RowsPart, weights: &[PairVector]) -> &Sums {
        let (rows, end) = (x.rows.next_multiple_of(ROWS), x.first + x.length);
        assert!(rows <= 2 * ROWS && x.length > 0 && 2 * x.length == weights.len());
        assert!(end.next_multiple_of(STEP) * rows <= x.pairs.len());
        let mut at = x.first;
        while at < end {
            // Whole registers of x, or the pairs of one before they begin or after they end.
            let whole = (end - at) / STEP * STEP;
            let pairs = match at % STEP {
                0 if whole > 0 => whole,
                from => (STEP - from).min(end - at),
            };
            // SAFETY: the caller's promise; x and the weights have these pairs (just checked).
            unsafe {
                self.configure(pairs.min(STEP));
                let weights = &weights[2 * (at - x.first)..][..2 * pairs];
                self.product(x, at, weights, at > x.first);
            }
            at += pairs;
        }
        &self.sums
    }

    /// # Safety
    /// [`available`] must hold.
    unsafe fn configure(&mut self, pairs: usize) {
        if self.pairs == pairs {
            return;
        }
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        config.row_bytes[..8].fill(ROW_BYTES as u16);
        config.rows[..8].fill(ROWS as u8);
        for i in X {
            config.row_bytes[i] = 4 * pairs as u16;
        }
        for i in WEIGHTS {
            config.rows[i] = pairs as u8;
        }
        // SAFETY: the configuration is valid for palette 1, and the processor has AMX.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly, preserves_flags))
        };
        self.pairs = pairs;
    }

    /// Stores the sums of the products of the weights with x from pair `first` on, added to those stored if `add`.
    ///
    /// # Safety
    /// As [`Registers::multiply`]. The registers must be configured for the pairs, which are whole steps or a part of
    /// one, and x must have them.
    unsafe fn product(&mut self, x: &RowsPart, first: usize, weights: &[PairVector], add: bool) {
        let (rows, two) = (x.rows.next_multiple_of(ROWS), x.rows > ROWS);
        let x = x.pairs[first / STEP * STEP * rows + first % STEP..].as_ptr();
        let steps = weights.len().div_ceil(2 * STEP);
        let weights = weights.as_ptr();
        let sums = self.sums.0.as_mut_ptr();
        let advance = rows * ROW_BYTES;
        // SAFETY: x has whole registers and the weights two vectors a pair (the caller's promise); the sums are 32 × 32.
        unsafe {
            match (two, add) {
                (true, false) => {
                    four!(
                        x,
                        weights,
                        sums,
                        steps,
                        advance,
                        "tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3"
                    )
                }
                (true, true) => four!(
                    x,
                    weights,
                    sums,
                    steps,
                    advance,
                    "tileloadd tmm0, [{sums} + {line}]\n tileloadd tmm1, [{sums} + {line} + 64]\n \
                     tileloadd tmm2, [{sums} + {line} + 2048]\n tileloadd tmm3, [{sums} + {line} + 2112]"
                ),
                (false, false) => two!(
                    x,
                    weights,
                    sums,
                    steps,
                    advance,
                    "tilezero tmm0\n tilezero tmm1"
                ),
                (false, true) => two!(
                    x,
                    weights,
                    sums,
                    steps,
                    advance,
                    "tileloadd tmm0, [{sums} + {line}]\n tileloadd tmm1, [{sums} + {line} + 64]"
                ),
            }
        }
    }
}

/// Operations of a round of [`products_of_registers`]: four instructions.
pub const ROUND_OPERATIONS: usize = 4 * 2 * ROWS * STEP * 2 * STEP;

/// Multiplies registers without loads or stores, and returns a sum that grows by 32 a round: the processor's peak.
///
/// # Safety
/// [`available`] must hold.
pub unsafe fn products_of_registers(rounds: usize) -> f32 {
    let mut registers = Registers::default();
    let ones = [pair(1.0, 1.0); ROWS * STEP];
    // SAFETY: the caller's promise; a register of ones, and one of sums.
    unsafe {
        registers.configure(STEP);
        asm!(
            "tileloadd tmm4, [{ones} + {stride}]",
            "tileloadd tmm6, [{ones} + {stride}]",
            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm4, tmm6", "tdpbf16ps tmm3, tmm4, tmm6",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm3",
            ones = in(reg) ones.as_ptr(),
            stride = in(reg) ROW_BYTES,
            rounds = inout(reg) rounds.max(1) => _,
            sums = in(reg) registers.sums.0.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm6") _,
            options(nostack),
        );
    }
    registers.sums.0[0][0]
}

impl Drop for Registers {
    fn drop(&mut self) {
        if self.pairs > 0 {
            // SAFETY: they were configured, so the processor has AMX.
            unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
        }
    }
}
