//! The registers that kernels are written for: one trait, with an implementation for each instruction set.
//!
//! A kernel is a function generic over [`Simd`], inlined into an entry that is compiled for the set
//! ([`dispatch!`]). All sets give the same bits, except the portable one, which has no fused multiply-add.

/// A register of floats.
///
/// # Safety
/// Every function must only be called where the processor has the instruction set, in code compiled
/// for it; pointers must be valid for what the function reads or writes.
pub trait Simd {
    type Floats: Copy;
    type Mask: Copy;
    const LANES: usize;
    /// Most rows of a tile two registers wide: its sums and operands then fit the register file. With 11 rows and more
    /// the compiler writes sums of AVX-512 to the stack after every product.
    const ROWS: usize;
    /// Most rows of a small product's tile that is one register wide.
    const ROWS_NARROW: usize;
    /// Most rows of a small product's tile that is two registers wide.
    const ROWS_WIDE: usize;
    /// Steps of k that a small product takes at once, at most 4.
    const UNROLL: usize;

    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn load(at: *const f32) -> Self::Floats;
    unsafe fn store(at: *mut f32, value: Self::Floats);
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a · b + c`
    unsafe fn fma(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// All lanes added up.
    unsafe fn sum(value: Self::Floats) -> f32;
    /// Unsigned integers of eight bits, as floats.
    unsafe fn load_u8(at: *const u8) -> Self::Floats;
    /// The first bf16 of each pair, as floats.
    unsafe fn low(pairs: *const u32) -> Self::Floats;
    /// The second bf16 of each pair, as floats.
    unsafe fn high(pairs: *const u32) -> Self::Floats;
    /// Floats of 16 bits (IEEE half), as f32.
    unsafe fn load_half(at: *const half::f16) -> Self::Floats;
    /// Fetches a cache line that will be read soon; the address need not exist.
    unsafe fn prefetch<T>(at: *const T);
    /// The first `width` lanes; all of them if it is larger.
    unsafe fn mask(width: usize) -> Self::Mask;
    /// Lanes outside the mask are 0 and not read.
    unsafe fn load_masked(at: *const f32, mask: Self::Mask) -> Self::Floats;
    unsafe fn store_masked(at: *mut f32, mask: Self::Mask, value: Self::Floats);
}

/// Calls `$kernel::<S, …>($args)` for the best `S` the processor has. The kernel is `unsafe`, generic
/// over [`Simd`] first and `#[inline(always)]`. Each expansion is compiled as a function of its own: inlined into a
/// larger one, a tile's sums would be written to the stack after every product.
macro_rules! dispatch {
    ($kernel:ident $(::<$($generic:tt),+>)? ($($arg:ident: $ty:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use $crate::cpu::kernels::simd::{Avx2, Avx512};
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            #[inline(never)]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: handed on to the caller; compiled for the instruction set.
                unsafe { $kernel::<Avx512 $($(, $generic)+)?>($($arg),*) }
            }
            #[target_feature(enable = "avx2,fma,f16c")]
            #[inline(never)]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: as above.
                unsafe { $kernel::<Avx2 $($(, $generic)+)?>($($arg),*) }
            }
            if $crate::cpu::kernels::has_avx512() {
                return avx512($($arg),*);
            }
            if $crate::cpu::kernels::has_avx2() {
                return avx2($($arg),*);
            }
        }
        $kernel::<$crate::cpu::kernels::simd::Portable $($(, $generic)+)?>($($arg),*)
    }};
}
pub(crate) use dispatch;

/// Plain Rust, for every processor.
pub struct Portable;

impl Simd for Portable {
    type Floats = [f32; 8];
    type Mask = usize;
    const LANES: usize = 8;
    const ROWS: usize = 4;
    const ROWS_NARROW: usize = 4;
    const ROWS_WIDE: usize = 4;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: [f32; 8]) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<[f32; 8]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn sum(v: [f32; 8]) -> f32 {
        (v[0] + v[1]) + (v[2] + v[3]) + ((v[4] + v[5]) + (v[6] + v[7]))
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8) -> [f32; 8] {
        // SAFETY: the caller's promise.
        let values = unsafe { at.cast::<[u8; 8]>().read_unaligned() };
        values.map(f32::from)
    }
    #[inline(always)]
    unsafe fn low(pairs: *const u32) -> [f32; 8] {
        // SAFETY: the caller's promise.
        let pairs = unsafe { pairs.cast::<[u32; 8]>().read_unaligned() };
        pairs.map(|pair| f32::from_bits(pair << 16))
    }
    #[inline(always)]
    unsafe fn high(pairs: *const u32) -> [f32; 8] {
        // SAFETY: the caller's promise.
        let pairs = unsafe { pairs.cast::<[u32; 8]>().read_unaligned() };
        pairs.map(|pair| f32::from_bits(pair & 0xffff_0000))
    }
    #[inline(always)]
    unsafe fn load_half(at: *const half::f16) -> [f32; 8] {
        // SAFETY: the caller's promise.
        let values = unsafe { at.cast::<[half::f16; 8]>().read_unaligned() };
        values.map(half::f16::to_f32)
    }
    #[inline(always)]
    unsafe fn prefetch<T>(_: *const T) {}
    #[inline(always)]
    unsafe fn mask(width: usize) -> usize {
        width.min(8)
    }
    #[inline(always)]
    unsafe fn load_masked(at: *const f32, mask: usize) -> [f32; 8] {
        let mut value = [0.0; 8];
        for (i, value) in value[..mask].iter_mut().enumerate() {
            // SAFETY: inside the mask, which the caller vouches for.
            *value = unsafe { *at.add(i) };
        }
        value
    }
    #[inline(always)]
    unsafe fn store_masked(at: *mut f32, mask: usize, value: [f32; 8]) {
        for (i, value) in value[..mask].iter().enumerate() {
            // SAFETY: inside the mask, which the caller vouches for.
            unsafe { *at.add(i) = *value };
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// AVX2 with FMA: 16 registers of 8 floats.
    pub struct Avx2;

    // SAFETY (all of it): each function is one or two instructions on its arguments; the caller
    // vouches for the processor and for the pointers, as the trait demands.
    impl Simd for Avx2 {
        type Floats = __m256;
        type Mask = __m256i;
        const LANES: usize = 8;
        const ROWS: usize = 6;
        const ROWS_NARROW: usize = 8;
        const ROWS_WIDE: usize = 6;
        const UNROLL: usize = 1;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn store(at: *mut f32, value: __m256) {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_storeu_ps(at, value) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(v: __m256) -> f32 {
            // SAFETY: see the implementation's head.
            unsafe {
                let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
            }
        }
        #[inline(always)]
        unsafe fn load_u8(at: *const u8) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()))) }
        }
        #[inline(always)]
        unsafe fn low(pairs: *const u32) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe {
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(pairs.cast())))
            }
        }
        #[inline(always)]
        unsafe fn high(pairs: *const u32) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe {
                let mask = _mm256_set1_epi32(0xffff_0000_u32 as i32);
                _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(pairs.cast()), mask))
            }
        }
        #[inline(always)]
        unsafe fn load_half(at: *const half::f16) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(at.cast())) }
        }
        #[inline(always)]
        unsafe fn prefetch<T>(at: *const T) {
            // SAFETY: see the implementation's head.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn mask(width: usize) -> __m256i {
            // SAFETY: see the implementation's head.
            unsafe {
                let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
                _mm256_cmpgt_epi32(_mm256_set1_epi32(width.min(8) as i32), lanes)
            }
        }
        #[inline(always)]
        unsafe fn load_masked(at: *const f32, mask: __m256i) -> __m256 {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_maskload_ps(at, mask) }
        }
        #[inline(always)]
        unsafe fn store_masked(at: *mut f32, mask: __m256i, value: __m256) {
            // SAFETY: see the implementation's head.
            unsafe { _mm256_maskstore_ps(at, mask, value) }
        }
    }

    /// AVX-512: 32 registers of 16 floats.
    pub struct Avx512;

    // SAFETY (all of it): as for [`Avx2`].
    impl Simd for Avx512 {
        type Floats = __m512;
        type Mask = u16;
        const LANES: usize = 16;
        const ROWS: usize = 10;
        const ROWS_NARROW: usize = 16;
        const ROWS_WIDE: usize = 8;
        const UNROLL: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn store(at: *mut f32, value: __m512) {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_storeu_ps(at, value) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn sum(v: __m512) -> f32 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_reduce_add_ps(v) }
        }
        #[inline(always)]
        unsafe fn load_u8(at: *const u8) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()))) }
        }
        #[inline(always)]
        unsafe fn low(pairs: *const u32) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe {
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(pairs.cast())))
            }
        }
        #[inline(always)]
        unsafe fn high(pairs: *const u32) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe {
                let mask = _mm512_set1_epi32(0xffff_0000_u32 as i32);
                _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(pairs.cast()), mask))
            }
        }
        #[inline(always)]
        unsafe fn load_half(at: *const half::f16) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
        }
        #[inline(always)]
        unsafe fn prefetch<T>(at: *const T) {
            // SAFETY: see the implementation's head.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        unsafe fn mask(width: usize) -> u16 {
            ((1u32 << width.min(16)) - 1) as u16
        }
        #[inline(always)]
        unsafe fn load_masked(at: *const f32, mask: u16) -> __m512 {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_maskz_loadu_ps(mask, at) }
        }
        #[inline(always)]
        unsafe fn store_masked(at: *mut f32, mask: u16, value: __m512) {
            // SAFETY: see the implementation's head.
            unsafe { _mm512_mask_storeu_ps(at, mask, value) }
        }
    }
}
