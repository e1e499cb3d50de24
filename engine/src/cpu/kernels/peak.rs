//! The processor's peak rate of multiplication: the yardstick for every product of the executor.
//!
//! The measured loop is products between registers (fused multiply-adds, sums of two products, or AMX's tiles), with
//! enough of them in flight to hide their latency, and without loads or stores. No matrix product over the same
//! threads can be faster. The peak is measured, not read off a data sheet, because clocks fall under wide vectors, and
//! two threads may share a core.

#[cfg(target_arch = "x86_64")]
use super::bf16::amx;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Floating-point operations per second (a multiplication and an addition count two), over all threads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    pub f32: f64,
    /// Products of bf16 numbers summed in f32; `None` where the processor has no instruction for it.
    pub bf16: Option<f64>,
}

/// Measures for about `duration` for each number format.
pub fn measure_peak(threads: usize, duration: Duration) -> Peak {
    let f32 = over_threads(threads, duration, f32_loop());
    let bf16 = bf16_loop().map(|l| over_threads(threads, duration, l));
    Peak { f32, bf16 }
}

/// A function that runs this many rounds and returns a value that depends on all of them, and the operations of
/// one round.
#[derive(Clone, Copy)]
struct Loop {
    run: fn(usize) -> f32,
    operations: usize,
}

/// Rounds between two readings of the clock: some tens to hundreds of microseconds.
const ROUNDS: usize = 10_000;

fn over_threads(threads: usize, duration: Duration, of: Loop) -> f64 {
    let together = Barrier::new(threads);
    let one = || {
        together.wait();
        let (start, mut rounds) = (Instant::now(), 0);
        while start.elapsed() < duration {
            black_box((of.run)(ROUNDS));
            rounds += ROUNDS;
        }
        (rounds * of.operations) as f64 / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let speeds = running
            .into_iter()
            .map(|t| t.join().expect("the loop cannot panic"));
        speeds.sum()
    })
}

fn f32_loop() -> Loop {
    #[cfg(target_arch = "x86_64")]
    {
        if super::has_avx512() {
            return Loop {
                // SAFETY: the processor has the feature.
                run: |rounds| unsafe { x86::fma_512(rounds) },
                operations: 2 * 16 * x86::IN_FLIGHT_512,
            };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Loop {
                // SAFETY: the processor has the features.
                run: |rounds| unsafe { x86::fma_256(rounds) },
                operations: 2 * 8 * x86::IN_FLIGHT_256,
            };
        }
    }
    Loop {
        run: portable,
        operations: 2 * PORTABLE_LANES,
    }
}

fn bf16_loop() -> Option<Loop> {
    #[cfg(target_arch = "x86_64")]
    if super::has_amx_bf16() {
        return Some(Loop {
            // SAFETY: the processor has the tile registers.
            run: |rounds| unsafe { amx::products_of_registers(rounds) },
            operations: amx::ROUND_OPERATIONS,
        });
    }
    #[cfg(target_arch = "x86_64")]
    if super::has_avx512_bf16() {
        return Some(Loop {
            // SAFETY: the processor has the features.
            run: |rounds| unsafe { x86::dot_bf16(rounds) },
            // Sixteen sums, each of two products.
            operations: 2 * 32 * x86::IN_FLIGHT_512,
        });
    }
    None
}

const PORTABLE_LANES: usize = 32;

/// A product and a sum as the compiler makes them: fused only if the build's target has the instruction.
fn portable(rounds: usize) -> f32 {
    let (scale, add) = (black_box(0.999f32), black_box(0.001f32));
    let mut sums: [f32; PORTABLE_LANES] = black_box(std::array::from_fn(|i| i as f32));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = *sum * scale + add;
        }
    }
    sums.iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Sixteen registers: twelve sums beside the two factors. Two units of latency 4 or 5 need ten.
    pub const IN_FLIGHT_256: usize = 12;
    /// Thirty-two registers.
    pub const IN_FLIGHT_512: usize = 24;

    // The sums start from different values, or the compiler would keep only one of them.

    #[target_feature(enable = "avx2,fma")]
    pub fn fma_256(rounds: usize) -> f32 {
        let (scale, add) = (
            _mm256_set1_ps(black_box(0.999)),
            _mm256_set1_ps(black_box(0.001)),
        );
        let mut sums = [_mm256_setzero_ps(); IN_FLIGHT_256];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm256_set1_ps(black_box(i as f32));
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, scale, add);
            }
        }
        let all = sums
            .into_iter()
            .reduce(|a, b| _mm256_add_ps(a, b))
            .unwrap_or(scale);
        _mm256_cvtss_f32(all)
    }

    #[target_feature(enable = "avx512f")]
    pub fn fma_512(rounds: usize) -> f32 {
        let (scale, add) = (
            _mm512_set1_ps(black_box(0.999)),
            _mm512_set1_ps(black_box(0.001)),
        );
        let mut sums = [_mm512_setzero_ps(); IN_FLIGHT_512];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_set1_ps(black_box(i as f32));
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, scale, add);
            }
        }
        let all = sums
            .into_iter()
            .reduce(|a, b| _mm512_add_ps(a, b))
            .unwrap_or(scale);
        _mm512_cvtss_f32(all)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn dot_bf16(rounds: usize) -> f32 {
        let factor = _mm512_set1_ps(black_box(0.001));
        let factor = _mm512_cvtne2ps_pbh(factor, factor);
        let mut sums = [_mm512_setzero_ps(); IN_FLIGHT_512];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm512_set1_ps(black_box(i as f32));
        }
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factor, factor);
            }
        }
        let all = sums
            .into_iter()
            .reduce(|a, b| _mm512_add_ps(a, b))
            .unwrap_or(_mm512_setzero_ps());
        _mm512_cvtss_f32(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x ↦ 0.999 x + 0.001 draws every sum towards 1 only if all operations are done.
    #[test]
    fn the_loops_compute_what_they_count() {
        let limit = |l: Loop, in_flight: f32| {
            let sum = (l.run)(ROUNDS);
            assert!((sum - in_flight).abs() < 0.1, "{sum} of {in_flight}");
        };
        limit(
            Loop {
                run: portable,
                operations: 2 * PORTABLE_LANES,
            },
            PORTABLE_LANES as f32,
        );
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            let run = |rounds| unsafe { x86::fma_256(rounds) };
            limit(
                Loop {
                    run,
                    operations: 2 * 8 * x86::IN_FLIGHT_256,
                },
                x86::IN_FLIGHT_256 as f32,
            );
        }
        #[cfg(target_arch = "x86_64")]
        if crate::cpu::kernels::has_amx_bf16() {
            // SAFETY: the processor has the tile registers.
            assert_eq!(unsafe { amx::products_of_registers(3) }, 3.0 * 32.0);
        }
        let peak = measure_peak(1, Duration::from_millis(1));
        assert!(peak.f32 > 0.0);
        assert_eq!(peak.bf16.is_some(), crate::cpu::kernels::has_avx512_bf16());
    }
}
