//! `autodidact bench` on the tiny random model: every benchmark runs and prints its promised figures. The tests do not
//! look at speed.

use autodidact_engine::{Family, tiny};
use serde_json::Value;
use std::process::{Command, Output};

/// The list that `bench WHAT --json` prints, once.
fn bench(what: &str, more: &[&str]) -> Vec<Value> {
    let output = run(what, &[&["--json", "--repeats", "1"], more].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = list.as_array().unwrap().clone();
    for figure in &list {
        assert_eq!(figure["model"], "tiny");
        assert!(figure["shape"].is_string(), "{figure}");
        let (min, max) = (number(figure, "min"), number(figure, "max"));
        assert!(min > 0.0 && min <= max, "{figure}");
    }
    list
}

/// Runs a benchmark on one thread, without any other configuration.
fn run(what: &str, more: &[&str]) -> Output {
    let place = tempfile::tempdir().unwrap();
    let model = place.path().join("tiny");
    tiny::write_tiny(&model, Family::Qwen2, 7).unwrap();
    Command::new(env!("CARGO_BIN_EXE_autodidact"))
        .args(["bench", what, "--threads", "1", "--model"])
        .arg(&model)
        .args(more)
        .env_clear()
        .env("TMPDIR", place.path())
        .current_dir(place.path())
        .output()
        .unwrap()
}

fn number(figure: &Value, field: &str) -> f64 {
    let value = figure[field].as_f64();
    value.unwrap_or_else(|| panic!("{field} of {figure}"))
}

fn named<'a>(list: &'a [Value], name: &str) -> Vec<&'a Value> {
    list.iter().filter(|f| f["name"] == name).collect()
}

#[test]
fn engine_measures_training_prefill_and_decoding() {
    let list = bench("engine", &[]);
    let peaks = named(&list, "peak");
    assert!(!peaks.is_empty());
    for peak in peaks {
        assert!(number(peak, "gflops") > 0.0);
        assert_eq!(peak["threads"], 1);
        assert!(peak["cpu"].is_array());
    }
    let train = named(&list, "train");
    assert_eq!(train[0]["shape"], "8 × 128 tokens, r 16, 1 adapter");
    assert_eq!(train.len(), 4);
    for figure in train.into_iter().chain(named(&list, "prefill")) {
        assert!(number(figure, "tokens_per_second") > 0.0);
        let share = number(figure, "share_of_peak");
        assert!(share > 0.0 && share < 1.0, "{figure}");
    }
    let decode = named(&list, "decode");
    let eight: Vec<_> = decode
        .iter()
        .filter(|f| f["shape"].as_str().unwrap().contains("8 adapters"))
        .collect();
    assert_eq!((decode.len(), eight.len()), (10, 2));
    for figure in eight {
        assert!(number(figure, "ratio_to_base") > 0.0);
    }
}

#[test]
fn edits_counts_whole_evaluations() {
    let list = bench("edits", &["--candidates", "1,2"]);
    let edits = named(&list, "edits");
    let candidates: Vec<_> = edits.iter().map(|f| number(f, "candidates")).collect();
    assert_eq!(candidates, [1.0, 2.0]);
    for figure in edits {
        let seconds = number(figure, "train_seconds") + number(figure, "test_seconds");
        let rate = number(figure, "evaluations_per_minute");
        let counted = rate * seconds / 60.0;
        assert!((counted - number(figure, "candidates")).abs() < 1e-6);
        assert_eq!(number(figure, "sequences"), 8.0);
        assert!(number(figure, "questions") > 0.0);
    }
    let refused = run("edits", &["--candidates", "0"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.starts_with("error: --candidates"), "{told}");
}

#[test]
fn swap_loses_and_mixes_no_answer() {
    let list = bench("swap", &["--clients", "2"]);
    let swap = named(&list, "swap")[0];
    assert_eq!(number(swap, "failed"), 0.0, "{swap}");
    assert_eq!(number(swap, "mixed"), 0.0, "{swap}");
    // Two clients had answers before the first of eight moves, and each move has an answer from the new version.
    assert!(number(swap, "answers") >= 10.0);
    assert!(number(swap, "p95_ms") >= number(swap, "p50_ms"));
    assert!(number(swap, "first_token_p50_ms") >= number(swap, "p50_ms"));
}

#[test]
fn interference_compares_idle_with_busy() {
    let list = bench("interference", &["--tokens", "1500"]);
    let rows = named(&list, "interference");
    let (idle, busy, ratio) = (rows[0], rows[1], rows[2]);
    assert_eq!(number(idle, "trained_tokens_per_second"), 0.0);
    assert!(number(busy, "trained_tokens_per_second") > 0.0, "{busy}");
    let quotient = number(busy, "p95_ms") / number(idle, "p95_ms");
    assert!((quotient / number(ratio, "ratio") - 1.0).abs() < 1e-6);
}

#[test]
fn memory_sees_growth_and_peak() {
    let list = bench("memory", &["--seconds", "1", "--warm-up", "1"]);
    let memory = named(&list, "memory")[0];
    let means = memory["mean_mib_of_each_tenth"].as_array().unwrap();
    let means: Vec<f64> = means.iter().map(|m| m.as_f64().unwrap()).collect();
    assert_eq!(means.len(), 10);
    let peak = number(memory, "peak_mib");
    assert!(
        means.iter().all(|mean| (0.1..=peak).contains(mean)),
        "{memory}"
    );
    let growth = number(memory, "growth_percent");
    let (middle, end) = (means[4] + means[5], means[8] + means[9]);
    assert!((growth - 100.0 * (end / middle - 1.0)).abs() < 1e-6);
    assert!(number(memory, "trained_tokens") > 0.0);
    assert!(number(memory, "completion_tokens") > 0.0);
}

#[test]
fn without_json_it_is_a_table_under_the_machine() {
    let output = run("interference", &["--repeats", "1", "--tokens", "8"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let head = lines.next().unwrap();
    assert!(head.starts_with("tiny, 1 threads, "), "{text}");
    assert!(head.contains("peak f32 "), "{text}");
    let rows = lines.filter(|l| l.starts_with("| interference |"));
    assert_eq!(rows.count(), 3, "{text}");
}
