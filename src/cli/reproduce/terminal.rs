//! The progress of a table, on the terminal or in a log.

use autodidact::study::table_journal::Observer;
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Writes progress to standard error.
#[derive(Default)]
pub struct Terminal {
    /// The time of the last line of progress, if standard error is no terminal.
    last_line: Mutex<Option<Instant>>,
}

/// The interval between two lines of progress in a log.
const TELL: Duration = Duration::from_secs(60);

impl Observer for Terminal {
    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        let line = format!("{stage}: {message} ({:.0} % done)", 100.0 * fraction);
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{line} ");
            return;
        }
        let mut last_line = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last_line.is_none_or(|last_line| last_line.elapsed() >= TELL) {
            eprintln!("{line}");
            *last_line = Some(Instant::now());
        }
    }

    fn event(&self, kind: &str, data: &Value) {
        if kind == "round" {
            let (round, reward) = (&data["round"], &data["reward"]);
            eprintln!(
                "\rround {round}: mean reward {reward}, kept {}",
                data["kept"]
            );
        }
    }
}
