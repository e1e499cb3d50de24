//! `strftime_now`: a date as the C library of Linux formats it, in UTC and in English.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, and microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant {
    pub seconds: u64,
    pub microseconds: u32,
}

impl Instant {
    pub fn now() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Instant {
            seconds: now.as_secs(),
            microseconds: now.subsec_micros(),
        }
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A day of the calendar, and the seconds of that day.
struct Date {
    now: Instant,
    year: u64,
    /// From 1.
    month: u64,
    day: u64,
    /// Of the year, from 1.
    ordinal: u64,
    /// 0 is Sunday.
    weekday: u64,
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Flags {
    pad: Option<char>,
    upper: bool,
    swap: bool,
    width: usize,
}

pub(super) fn strftime(format: &str, now: Instant) -> String {
    let date = Date::of(now);
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (flags, letter, length) = directive(&rest[at..]);
        match letter.and_then(|letter| date.field(letter, &flags)) {
            Some(text) => out.push_str(&text),
            // As the C library: what is no directive stays as written.
            None => out.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// Reads `%-d`, `%03d`, `%^a`, `%Ey` …; the length is in bytes.
fn directive(text: &str) -> (Flags, Option<char>, usize) {
    let mut flags = Flags::default();
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '-' | '_' => flags.pad = Some(c),
            '0' if flags.width == 0 => flags.pad = Some(c),
            '^' => flags.upper = true,
            '#' => flags.swap = true,
            '0'..='9' => flags.width = (flags.width * 10 + c as usize - '0' as usize).min(255),
            'E' | 'O' => {}
            letter => return (flags, Some(letter), i + letter.len_utf8()),
        }
    }
    (flags, None, text.len())
}

impl Date {
    fn of(now: Instant) -> Self {
        let mut days = now.seconds / 86_400;
        let weekday = (days + 4) % 7;
        let mut year = 1970;
        while days >= days_of(year) {
            days -= days_of(year);
            year += 1;
        }
        let ordinal = days + 1;
        let mut month = 0;
        while days >= month_length(year, month) {
            days -= month_length(year, month);
            month += 1;
        }
        Date {
            now,
            year,
            month: month as u64 + 1,
            day: days + 1,
            ordinal,
            weekday,
        }
    }

    fn field(&self, letter: char, flags: &Flags) -> Option<String> {
        let second = self.now.seconds % 86_400;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let hour12 = (hour + 11) % 12 + 1;
        let (iso_year, iso_week) = self.iso_week();
        let number = |value: u64, width: usize, pad: char| Some(padded(value, width, pad, flags));
        let month = MONTHS[self.month as usize - 1];
        let weekday = DAYS[self.weekday as usize];
        let half = if hour < 12 { "AM" } else { "PM" };
        match letter {
            'Y' => number(self.year, 0, '0'),
            'C' => number(self.year / 100, 2, '0'),
            'y' => number(self.year % 100, 2, '0'),
            'G' => number(iso_year, 0, '0'),
            'g' => number(iso_year % 100, 2, '0'),
            'm' => number(self.month, 2, '0'),
            'd' => number(self.day, 2, '0'),
            'e' => number(self.day, 2, ' '),
            'j' => number(self.ordinal, 3, '0'),
            'H' => number(hour, 2, '0'),
            'k' => number(hour, 2, ' '),
            'I' => number(hour12, 2, '0'),
            'l' => number(hour12, 2, ' '),
            'M' => number(minute, 2, '0'),
            'S' => number(second % 60, 2, '0'),
            'f' => Some(format!("{:06}", self.now.microseconds)),
            's' => number(self.now.seconds, 0, '0'),
            'u' => number((self.weekday + 6) % 7 + 1, 1, '0'),
            'w' => number(self.weekday, 1, '0'),
            'U' => number((self.ordinal + 6 - self.weekday) / 7, 2, '0'),
            'W' => number((self.ordinal + 6 - (self.weekday + 6) % 7) / 7, 2, '0'),
            'V' => number(iso_week, 2, '0'),
            'B' => Some(worded(month, flags)),
            'b' | 'h' => Some(worded(&month[..3], flags)),
            'A' => Some(worded(weekday, flags)),
            'a' => Some(worded(&weekday[..3], flags)),
            'p' if flags.swap => Some(half.to_lowercase()),
            'p' => Some(worded(half, flags)),
            'P' => Some(half.to_lowercase()),
            'n' => Some("\n".into()),
            't' => Some("\t".into()),
            '%' => Some("%".into()),
            // The time is one without a zone, as transformers' is.
            'z' | 'Z' => Some(String::new()),
            'D' | 'x' => Some(strftime("%m/%d/%y", self.now)),
            'F' => Some(strftime("%Y-%m-%d", self.now)),
            'T' | 'X' => Some(strftime("%H:%M:%S", self.now)),
            'R' => Some(strftime("%H:%M", self.now)),
            'r' => Some(strftime("%I:%M:%S %p", self.now)),
            'c' => Some(strftime("%a %b %e %H:%M:%S %Y", self.now)),
            _ => None,
        }
    }

    /// Year and week of ISO 8601: weeks begin on Monday, and the first one has a Thursday of its year.
    fn iso_week(&self) -> (u64, u64) {
        let thursday = self.ordinal + 3 + 7 - (self.weekday + 6) % 7;
        // `thursday` is 7 too high, so that it is never below 0.
        match thursday {
            ..=7 => {
                let before = self.year - 1;
                (before, (thursday + days_of(before) - 8) / 7 + 1)
            }
            late if late - 7 > days_of(self.year) => (self.year + 1, 1),
            within => (self.year, (within - 8) / 7 + 1),
        }
    }
}

fn padded(value: u64, width: usize, pad: char, flags: &Flags) -> String {
    let width = width.max(flags.width);
    match flags.pad.unwrap_or(pad) {
        '-' => value.to_string(),
        '0' => format!("{value:0width$}"),
        _ => format!("{value:width$}"),
    }
}

fn worded(text: &str, flags: &Flags) -> String {
    let text = match flags.upper || flags.swap {
        true => text.to_uppercase(),
        false => text.to_owned(),
    };
    let width = flags.width;
    format!("{text:>width$}")
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64) -> u64 {
    365 + u64::from(leap(year))
}

/// `month` is from 0.
fn month_length(year: u64, month: usize) -> u64 {
    match month {
        1 => 28 + u64::from(leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: &str, seconds: u64) -> String {
        let microseconds = 0;
        strftime(
            format,
            Instant {
                seconds,
                microseconds,
            },
        )
    }

    #[test]
    fn dates_are_the_calendar() {
        // `date -u -d @1709210096` says Thu Feb 29 12:34:56 UTC 2024.
        assert_eq!(
            at("%d %b %Y, %H:%M:%S 100%% %Q %j %A %I%p", 1_709_210_096),
            "29 Feb 2024, 12:34:56 100% %Q 060 Thursday 12PM"
        );
        assert_eq!(at("%Y-%m-%d %B", 946_684_799), "1999-12-31 December");
    }

    #[test]
    fn weeks_cross_years() {
        // Python: datetime(2021, 1, 3), (2024, 12, 30), (2020, 12, 31) and (2023, 1, 1).
        let day = |days: u64| at("%G-W%V-%u %U %W", days * 86_400);
        assert_eq!(day(18_630), "2020-W53-7 01 00");
        assert_eq!(day(20_087), "2025-W01-1 52 53");
        assert_eq!(day(18_627), "2020-W53-4 52 52");
        assert_eq!(day(19_358), "2022-W52-7 01 00");
    }
}
