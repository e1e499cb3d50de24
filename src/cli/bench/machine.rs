//! The machine of a measurement: processor, threads, number format, and peak speed of multiplication.

use super::report::Figure;
use autodidact::config::{Config, ExecutorKind};
use autodidact_engine::cpu::{Peak, measure_peak};
use std::time::Duration;

pub struct Machine {
    pub model: String,
    pub threads: usize,
    /// Number format of the frozen weights: `bf16`, `int8` or `f32`. Products are bf16 for bf16 weights, and f32 for
    /// the other two.
    pub precision: &'static str,
    pub features: Vec<&'static str>,
    peaks: Vec<Peak>,
}

/// Time of one measurement of the peak, and the number of measurements.
const SAMPLE: Duration = Duration::from_millis(200);
const SAMPLES: usize = 3;

impl Machine {
    /// Measures this machine. Takes about a second.
    pub fn measure(model: &str, config: &Config) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.unwrap_or_else(cores);
        let peaks: Vec<Peak> = (0..SAMPLES)
            .map(|_| measure_peak(threads, SAMPLE))
            .collect();
        let native_bf16 = peaks.iter().any(|p| p.bf16.is_some());
        // The same choice as the executor's.
        let precision = match config.executor {
            ExecutorKind::Reference => "f32",
            ExecutorKind::Auto | ExecutorKind::Cpu if native_bf16 => "bf16",
            ExecutorKind::Auto | ExecutorKind::Cpu => "int8",
        };
        Machine {
            model: model.to_owned(),
            threads,
            precision,
            features: features(),
            peaks,
        }
    }

    /// Share of the peak in the number format of the products, 0 to 1.
    pub fn share_of_peak(&self, operations_per_second: f64) -> f64 {
        let multiplied = match self.precision {
            "bf16" => "bf16",
            _ => "f32",
        };
        operations_per_second / best(&self.samples(multiplied))
    }

    /// Peak speed in each number format that the processor multiplies natively.
    pub fn figures(&self) -> Vec<Figure> {
        let formats = ["f32", "bf16"].map(|format| (format, self.samples(format)));
        let measured = formats
            .into_iter()
            .filter(|(_, samples)| !samples.is_empty());
        measured
            .map(|(format, samples)| {
                let giga: Vec<f64> = samples.iter().map(|x| x / 1e9).collect();
                Figure::new("peak", format!("{format}, {} threads", self.threads))
                    .measured("gflops", &giga)
                    .with("threads", self.threads)
                    .with("precision", self.precision)
                    .with("cpu", self.features.clone())
            })
            .collect()
    }

    pub fn head(&self) -> String {
        let peaks = ["f32", "bf16"].map(|format| (format, self.samples(format)));
        let told = peaks
            .iter()
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(format, samples)| format!("{format} {:.0} GFLOP/s", best(samples) / 1e9));
        format!(
            "{}, {} threads, {} weights; {}; peak {}",
            self.model,
            self.threads,
            self.precision,
            self.features.join(" "),
            told.collect::<Vec<_>>().join(", ")
        )
    }

    fn samples(&self, format: &str) -> Vec<f64> {
        let of = |p: &Peak| match format {
            "f32" => Some(p.f32),
            _ => p.bf16,
        };
        self.peaks.iter().filter_map(of).collect()
    }
}

/// The peak is the highest measurement. Lower ones come from other work on the machine.
fn best(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::MIN_POSITIVE, f64::max)
}

/// The vector instructions that decide the choice of kernels.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let known = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512bw", is_x86_feature_detected!("avx512bw")),
            ("avx512vl", is_x86_feature_detected!("avx512vl")),
            ("avx512dq", is_x86_feature_detected!("avx512dq")),
            ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
            ("amx_bf16", autodidact_engine::cpu::has_amx_bf16()),
        ];
        let here = known.into_iter().filter(|(_, here)| *here);
        here.map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![std::env::consts::ARCH]
}
