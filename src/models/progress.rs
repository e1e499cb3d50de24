//! Download progress on standard error: a bar on a terminal, a line every ten per cent elsewhere (a log file, a
//! container).

use std::{
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

const BAR: usize = 30;
const REDRAW: Duration = Duration::from_millis(100);

/// Counter of bytes done, with the bytes expected.
pub(super) struct Progress {
    label: String,
    total: u64,
    done: u64,
    /// Bytes from an earlier run; they do not count for the speed.
    resumed: u64,
    started: Instant,
    drawn: Option<Instant>,
    tenths: u64,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(label: &str, total: u64) -> Self {
        Self {
            label: label.to_owned(),
            total: total.max(1),
            done: 0,
            resumed: 0,
            started: Instant::now(),
            drawn: None,
            tenths: 0,
            terminal: stderr().is_terminal(),
        }
    }

    /// Counts bytes of an earlier run.
    pub(super) fn resume(&mut self, bytes: u64) {
        self.resumed += bytes;
        self.add(bytes);
    }

    /// Counts new bytes.
    pub(super) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.terminal {
            if self.drawn.is_none_or(|at| at.elapsed() >= REDRAW) {
                self.drawn = Some(Instant::now());
                self.draw(&self.line());
            }
        } else if self.done * 10 / self.total > self.tenths {
            self.tenths = self.done * 10 / self.total;
            eprintln!("{}", self.line());
        }
    }

    /// Shows an activity on a terminal while no bytes can be counted.
    pub(super) fn show(&mut self, what: &str) {
        if self.terminal {
            self.drawn = Some(Instant::now());
            self.draw(&format!("{}  {what}", self.line()));
        }
    }

    /// Erases the bar, so that the next output starts on a clean line.
    pub(super) fn finish(&self) {
        if self.terminal && self.drawn.is_some() {
            self.draw("");
        }
    }

    fn draw(&self, line: &str) {
        // A closed terminal must not stop a download.
        let _ = write!(stderr(), "\r\x1b[2K{line}").and_then(|()| stderr().flush());
    }

    fn line(&self) -> String {
        let done = self.done.min(self.total);
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let speed = (self.done - self.resumed) as f64 / seconds;
        let left = (self.total - done) as f64 / speed.max(1.0);
        let megabyte = 1e6;
        let figures = format!(
            "{:3} %  {:.0} of {:.0} MB  {:.1} MB/s  {} left",
            done * 100 / self.total,
            done as f64 / megabyte,
            self.total as f64 / megabyte,
            speed / megabyte,
            clock(left),
        );
        if !self.terminal {
            return format!("fetching {}: {figures}", self.label);
        }
        let filled = (done as usize * BAR) / self.total as usize;
        format!(
            "{} [{}{}] {figures}",
            self.label,
            "=".repeat(filled),
            " ".repeat(BAR - filled)
        )
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.min(359_999.0) as u64;
    if seconds >= 3600 {
        return format!(
            "{}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
    }
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_is_done() {
        let mut progress = Progress::new("tiny", 200_000_000);
        progress.terminal = false;
        progress.add(50_000_000);
        let line = progress.line();
        assert!(
            line.starts_with("fetching tiny:  25 %  50 of 200 MB"),
            "{line}"
        );
        assert_eq!(progress.tenths, 2);
    }

    #[test]
    fn survives_more_than_was_promised() {
        let mut progress = Progress::new("tiny", 10);
        progress.terminal = true;
        progress.add(25);
        assert!(progress.line().contains("100 %"), "{}", progress.line());
        progress.finish();
    }

    #[test]
    fn times_are_read_like_a_clock() {
        assert_eq!(clock(7.9), "0:07");
        assert_eq!(clock(3_725.0), "1:02:05");
    }
}
