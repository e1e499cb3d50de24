//! The tile of the product by AMX: the sums of up to 32 rows × 32 outputs, held in four tile registers.
//!
//! A tile register has 16 rows of 64 bytes. `tdpbf16ps` adds to sixteen rows of sixteen sums the products of 32
//! inputs: per sum, the even inputs one after another, the odd inputs one after another, and then the two to the
//! sum (Intel's Software Developer's Manual, TDPBF16PS). [`super::small_batch::by_even_and_odd`] does the same in
//! vector registers. Numbers too small for a normal f32 count as 0 here.

use super::activations::{ROWS, RowsPart, STEP};
use super::panels::{PANEL, PairVector, pair};
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Bytes of a row of a tile register.
const ROW_BYTES: usize = 64;

/// Whether the processor has AMX for bf16, and the system lets this process use it. `AUTODIDACT_AMX=0` says no.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let wanted = || std::env::var_os("AUTODIDACT_AMX").is_none_or(|value| value != "0");
    *AVAILABLE.get_or_init(|| wanted() && has_instructions() && permitted())
}

fn has_instructions() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    if !crate::cpu::kernels::has_avx512_bf16() {
        return false;
    }
    // SAFETY: a processor with AVX-512 has this leaf. The call is safe since Rust 1.94.
    #[allow(unused_unsafe)]
    let features = unsafe { __cpuid_count(7, 0) }.edx;
    features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// Asks Linux for the tile registers, which a process may use only after it has asked
/// (Documentation/arch/x86/xstate.rst of the kernel).
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
/// system need not save them. Only one of a thread may be in use.
#[derive(Default)]
pub struct Registers {
    /// Pairs of a step that they are configured for; 0 before the first use.
    pairs: usize,
    sums: Sums,
    /// The registers are the thread's: no other may have them.
    of_this_thread: PhantomData<*const ()>,
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

/// The tile registers of x.
const X: [usize; 2] = [4, 5];
/// The tile registers of weights. The first four are sums.
const WEIGHTS: [usize; 2] = [6, 7];

/// An instruction that leaves nothing in the tile registers that the compiler may rely on.
macro_rules! tiles {
    ($($of:tt)*) => {
        asm!(
            $($of)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// The products of `steps` steps: how the sums begin, one step, and how the sums are stored.
macro_rules! multiply {
    ($of:ident, $begin:literal, $step:literal, $store:literal) => {
        tiles!(
            $begin,
            "2:",
            $step,
            "add {x}, {advance}",
            "add {lower}, {advance}",
            "add {w}, 2048",
            "dec {steps}",
            "jnz 2b",
            $store,
            x = inout(reg) $of.x => _,
            // The rows of a second register.
            lower = inout(reg) $of.x.wrapping_add(ROWS * STEP) => _,
            w = inout(reg) $of.weights => _,
            steps = inout(reg) $of.steps => _,
            sums = in(reg) $of.sums,
            advance = in(reg) $of.advance,
            stride = in(reg) ROW_BYTES,
            // Two vectors of weights, and a row of sums.
            line = in(reg) 128usize,
        )
    };
}

/// [`multiply!`] of up to 32 rows.
macro_rules! multiply_32_rows {
    ($of:ident, $begin:literal) => {
        multiply!(
            $of,
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
macro_rules! multiply_16_rows {
    ($of:ident, $begin:literal) => {
        multiply!(
            $of,
            $begin,
            "tileloadd tmm6, [{w} + {line}]\n tileloadd tmm4, [{x} + {stride}]\n \
             tileloadd tmm7, [{w} + {line} + 64]\n \
             tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm7",
            "tilestored [{sums} + {line}], tmm0\n tilestored [{sums} + {line} + 64], tmm1"
        )
    };
}

/// What [`multiply!`] reads, where it stores its sums, and the bytes from one step of x to the next.
struct Operands {
    x: *const u32,
    weights: *const PairVector,
    steps: usize,
    sums: *mut [f32; PANEL],
    advance: usize,
}

impl Registers {
    /// Multiplies up to 32 rows with the weights of a panel, two vectors a pair. The rows of sums beyond those of x
    /// hold anything.
    ///
    /// # Safety
    /// [`available`] must hold, and no other `Registers` of this thread may have been used and still live.
    pub(super) unsafe fn multiply(&mut self, x: &RowsPart, weights: &[PairVector]) -> &Sums {
        let (rows, end) = (x.rows.next_multiple_of(ROWS), x.first + x.length);
        assert!(rows <= 2 * ROWS && x.length > 0 && 2 * x.length == weights.len());
        assert!(end.next_multiple_of(STEP) * rows <= x.pairs.len());
        let mut at = x.first;
        while at < end {
            // As many whole steps as there are; else the rest of the step that `at` is in.
            let whole = (end - at) / STEP * STEP;
            let pairs = match at % STEP {
                0 if whole > 0 => whole,
                from => (STEP - from).min(end - at),
            };
            let weights = &weights[2 * (at - x.first)..][..2 * pairs];
            // SAFETY: the caller's promise; x has these pairs (just checked).
            unsafe {
                self.configure(pairs.min(STEP));
                self.product(x, at, weights, at > x.first);
            }
            at += pairs;
        }
        &self.sums
    }

    /// # Safety
    /// As [`Registers::multiply`].
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
        unsafe { tiles!("ldtilecfg [{}]", in(reg) &config,) };
        self.pairs = pairs;
    }

    /// Stores the sums of the products of the weights with x from pair `first` on, added to those stored if `add`.
    ///
    /// # Safety
    /// As [`Registers::multiply`]. The registers must be configured for the pairs, which are whole steps or a part of
    /// one, and x must have them.
    unsafe fn product(&mut self, x: &RowsPart, first: usize, weights: &[PairVector], add: bool) {
        let rows = x.rows.next_multiple_of(ROWS);
        let of = Operands {
            x: x.pairs[first / STEP * STEP * rows + first % STEP..].as_ptr(),
            weights: weights.as_ptr(),
            steps: weights.len().div_ceil(2 * STEP),
            sums: self.sums.0.as_mut_ptr(),
            advance: rows * ROW_BYTES,
        };
        // SAFETY: x has whole registers and the weights two vectors a pair (the caller's promise). The sums are
        // 32 × 32.
        unsafe {
            match (rows > ROWS, add) {
                (true, false) => multiply_32_rows!(
                    of,
                    "tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3"
                ),
                (true, true) => multiply_32_rows!(
                    of,
                    "tileloadd tmm0, [{sums} + {line}]\n tileloadd tmm1, [{sums} + {line} + 64]\n \
                     tileloadd tmm2, [{sums} + {line} + 2048]\n tileloadd tmm3, [{sums} + {line} + 2112]"
                ),
                (false, false) => multiply_16_rows!(of, "tilezero tmm0\n tilezero tmm1"),
                (false, true) => multiply_16_rows!(
                    of,
                    "tileloadd tmm0, [{sums} + {line}]\n tileloadd tmm1, [{sums} + {line} + 64]"
                ),
            }
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        if self.pairs > 0 {
            // SAFETY: they were configured, so the processor has AMX.
            unsafe { tiles!("tilerelease",) }
        }
    }
}

/// Operations of a round of [`products_of_registers`]: four instructions of 16 × 16 sums of 32 products.
pub const ROUND_OPERATIONS: usize = 4 * 2 * 16 * 16 * 32;

/// Multiplies registers of ones, without loads or stores, and returns one of the sums: it grows by 32 a round. For the
/// measurement of the processor's peak.
///
/// # Safety
/// As [`Registers::multiply`].
pub unsafe fn products_of_registers(rounds: usize) -> f32 {
    let mut registers = Registers::default();
    let ones = [pair(1.0, 1.0); ROWS * STEP];
    // SAFETY: the caller's promise; a register of ones, and one of sums.
    unsafe {
        registers.configure(STEP);
        tiles!(
            "tileloadd tmm4, [{ones} + {stride}]",
            "tileloadd tmm6, [{ones} + {stride}]",
            "tilezero tmm0\n tilezero tmm1\n tilezero tmm2\n tilezero tmm3",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6\n tdpbf16ps tmm1, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm4, tmm6\n tdpbf16ps tmm3, tmm4, tmm6",
            "dec {rounds}",
            "jnz 2b",
            "tilestored [{sums} + {stride}], tmm3",
            ones = in(reg) ones.as_ptr(),
            stride = in(reg) ROW_BYTES,
            rounds = inout(reg) rounds.max(1) => _,
            sums = in(reg) registers.sums.0.as_mut_ptr(),
        );
    }
    registers.sums.0[0][0]
}
