//! What was measured on: processor, threads, number format, and how fast it can multiply at all.

use super::report::Figure;
use autodidact::config::{Config, ExecutorKind};
use autodidact_engine::cpu::{Peak, measure_peak};
use std::time::Duration;

pub struct Machine {
    pub model: String,
    pub threads: usize,
    /// Of the frozen weights: `bf16`, `int8` or `f32`. With bf16 the products are bf16's; with the other
    /// two they are f32's.
    pub precision: &'static str,
    pub features: Vec<&'static str>,
    peaks: Vec<Peak>,
}

/// How long one look at the peak takes, and how many there are.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: usize = 3;

impl Machine {
    /// Takes about a second.
    pub fn measure(model: &str, config: &Config) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.unwrap_or_else(cores);
        let peaks: Vec<Peak> = (0..LOOKS).map(|_| measure_peak(threads, LOOK)).collect();
        let native_bf16 = peaks.iter().any(|p| p.bf16.is_some());
        // As the executor chooses by itself.
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

    /// Part of the peak, in the number format that is multiplied in, that this many operations a second
    /// are.
    pub fn share_of_peak(&self, operations_per_second: f64) -> f64 {
        let multiplied = match self.precision {
            "bf16" => "bf16",
            _ => "f32",
        };
        operations_per_second / best(&self.looks(multiplied))
    }

    /// The peak in each number format that the processor multiplies natively.
    pub fn figures(&self) -> Vec<Figure> {
        let formats = ["f32", "bf16"].map(|format| (format, self.looks(format)));
        let measured = formats.into_iter().filter(|(_, looks)| !looks.is_empty());
        measured
            .map(|(format, looks)| {
                let giga: Vec<f64> = looks.iter().map(|x| x / 1e9).collect();
                Figure::new("peak", format!("{format}, {} threads", self.threads))
                    .measured("gflops", &giga)
                    .with("threads", self.threads)
                    .with("precision", self.precision)
                    .with("cpu", self.features.clone())
            })
            .collect()
    }

    pub fn head(&self) -> String {
        let peaks = ["f32", "bf16"].map(|format| (format, self.looks(format)));
        let told = peaks
            .iter()
            .filter(|(_, looks)| !looks.is_empty())
            .map(|(format, looks)| format!("{format} {:.0} GFLOP/s", best(looks) / 1e9));
        format!(
            "{}, {} threads, {} weights; {}; peak {}",
            self.model,
            self.threads,
            self.precision,
            self.features.join(" "),
            told.collect::<Vec<_>>().join(", ")
        )
    }

    fn looks(&self, format: &str) -> Vec<f64> {
        let of = |p: &Peak| match format {
            "f32" => Some(p.f32),
            _ => p.bf16,
        };
        self.peaks.iter().filter_map(of).collect()
    }
}

/// The peak is the most that was seen: less is somebody else's business in between.
fn best(looks: &[f64]) -> f64 {
    looks.iter().copied().fold(f64::MIN_POSITIVE, f64::max)
}

/// The vector instructions that kernels are chosen by.
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
        ];
        let here = known.into_iter().filter(|(_, here)| *here);
        here.map(|(name, _)| name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![std::env::consts::ARCH]
}
