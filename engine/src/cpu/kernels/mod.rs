//! The inner loops. All `unsafe` of the executor lives here, behind safe functions that check the bounds
//! they rely on.
//!
//! Kernels are written in four ways. Loops that the compiler vectorises are compiled for each instruction
//! set and chosen at run time ([`vectorised!`]). Products that hold tiles in registers are written once over
//! [`simd`]'s registers. The bf16 product is written in intrinsics, because no compiler picks its
//! instruction, and for AMX in inline assembly, because stable Rust has no intrinsics for it.

pub mod attention;
pub mod bf16;
pub mod gemm;
pub mod gemv;
pub mod int8;
pub mod math;
pub mod peak;
pub mod sgmv;
mod simd;
pub mod small_gemm;

/// The initial values of an output, to which a product is added.
#[derive(Clone, Copy)]
pub enum Init<'a> {
    Zero,
    /// `[N]`, the same for every row.
    Bias(&'a [f32]),
    /// What the output holds already.
    Accumulate,
}

/// Defines a function whose body is compiled for AVX-512, for AVX2 and for the build's own target;
/// calling it picks the best the processor has.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if $crate::cpu::kernels::has_avx512() {
                    // SAFETY: the processor has every feature the function is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use vectorised;

#[cfg(target_arch = "x86_64")]
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Whether the processor multiplies bf16 numbers natively (`vdpbf16ps`).
pub fn has_avx512_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_avx512() && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether the processor multiplies tiles of bf16 numbers (AMX), and the system lets this process do so. The
/// environment variable `AUTODIDACT_AMX=0` says no: such a processor then multiplies like one with AVX512_BF16.
pub fn has_amx_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return bf16::amx::available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Numbers in -0.5..0.5, for tests.
#[cfg(test)]
pub fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// A buffer that parallel tasks write in disjoint places which no slice type can express (columns of rows).
#[derive(Clone, Copy)]
pub struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    buffer: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: a `SharedMut` only hands out pointers; callers of `slice` and `at` must keep their places disjoint.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    pub fn new(buffer: &'a mut [f32]) -> Self {
        SharedMut {
            start: buffer.as_mut_ptr(),
            len: buffer.len(),
            buffer: std::marker::PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to element `index`. Panics if fewer than `extent` elements follow from there.
    pub fn at(&self, index: usize, extent: usize) -> *mut f32 {
        assert!(index + extent <= self.len, "outside the shared buffer");
        // SAFETY: just checked to be inside the buffer.
        unsafe { self.start.add(index) }
    }

    /// # Safety
    /// No other task may read or write these elements while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice(&self, index: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: inside the buffer (checked by `at`), and the caller keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.at(index, len), len) }
    }
}
