//! Numbers as people write them, read to one canonical spelling: `1,548`, `1 548` and `1548` are one number; `1.5` and
//! `15`, `-5` and `5`, `7:30` and `730` are not.

/// A number at the beginning of `text` (in normal form), and its length in characters. `grouped_by_space`: whether
/// `4 200` is one number.
///
/// The canonical spelling has no grouping, `.` as the decimal mark, no zeros that say nothing. A time keeps its colon.
/// A dotted row (a version, a date) stays as written.
pub(super) fn read(text: &[char], grouped_by_space: bool) -> Option<(String, usize)> {
    let negative = text.first() == Some(&'-');
    let sign = usize::from(matches!(text.first(), Some('-' | '+')));
    let body = &text[sign..];
    let (number, length) = time(body).or_else(|| decimal(body, grouped_by_space))?;
    let number = match negative && number != "0" {
        true => format!("-{number}"),
        false => number,
    };
    Some((number, sign + length))
}

fn digits(text: &[char]) -> usize {
    text.iter().take_while(|c| c.is_ascii_digit()).count()
}

/// `7:30`, `07:30:15`.
fn time(text: &[char]) -> Option<(String, usize)> {
    let hours = digits(text);
    let pair = |at: usize| text.get(at) == Some(&':') && digits(&text[at + 1..]) == 2;
    if !(1..=2).contains(&hours) || !pair(hours) {
        return None;
    }
    let mut end = hours + 3;
    if pair(end) {
        end += 3;
    }
    let written: String = text[..end].iter().collect();
    let plain = written
        .strip_prefix('0')
        .filter(|rest| !rest.starts_with(':'));
    Some((plain.unwrap_or(&written).to_owned(), end))
}

fn decimal(text: &[char], grouped_by_space: bool) -> Option<(String, usize)> {
    // `.5`
    if text.first() == Some(&'.') && digits(&text[1..]) > 0 {
        let end = 1 + digits(&text[1..]);
        return Some((canonical("0", &collect(&text[1..end])), end));
    }
    let mut groups = vec![digits(text)];
    let mut marks: Vec<char> = Vec::new();
    let mut only_spaces = true;
    let mut end = groups[0];
    if end == 0 {
        return None;
    }
    while let Some(mark) = text
        .get(end)
        .filter(|c| matches!(c, '.' | ',' | '\'' | ' ' | '_'))
    {
        let next = digits(&text[end + 1..]);
        let spaced = *mark == ' ';
        let in_groups = next == 3 && groups[0] <= 3 && only_spaces;
        if next == 0 || (spaced && !(grouped_by_space && in_groups)) {
            break;
        }
        marks.push(*mark);
        only_spaces &= spaced;
        groups.push(next);
        end += 1 + next;
    }
    Some((spelled(&text[..end], &groups, &marks), end))
}

fn collect(text: &[char]) -> String {
    text.iter().filter(|c| c.is_ascii_digit()).collect()
}

/// The canonical spelling of digits in `groups` with `marks` between them.
fn spelled(written: &[char], groups: &[usize], marks: &[char]) -> String {
    let Some(last) = marks.last() else {
        return canonical(&collect(written), "");
    };
    // India groups by two before the last three: 12,34,567.
    let sizes = |groups: &[usize]| {
        let (first, rest) = groups.split_first().expect("a number has a group");
        let (end, middle) = rest.split_last().unwrap_or((first, &[]));
        let west = *first <= 3 && rest.iter().all(|n| *n == 3);
        let india = *first <= 2 && *end == 3 && middle.iter().all(|n| *n == 2);
        west || india
    };
    let one_kind = marks.iter().all(|m| m == last);
    let grouping = one_kind && sizes(groups) && (*last != '.' || marks.len() > 1);
    if grouping {
        return canonical(&collect(written), "");
    }
    let (fraction, whole) = groups.split_last().expect("a number has a group");
    let before = &marks[..marks.len() - 1];
    let decimal = matches!(last, '.' | ',')
        && before
            .iter()
            .all(|m| m != last && Some(m) == before.first())
        && (before.is_empty() || sizes(whole));
    if !decimal {
        return written.iter().collect();
    }
    let cut = written.len() - fraction;
    canonical(&collect(&written[..cut]), &collect(&written[cut..]))
}

/// Two-digit months, days and hours lose their zero; longer rows of zeros are somebody's identifier.
fn canonical(whole: &str, fraction: &str) -> String {
    let short = whole.len() == 2 || !fraction.is_empty();
    let whole = match whole.trim_start_matches('0') {
        "" if short || whole.len() == 1 => "0",
        stripped if short => stripped,
        _ => whole,
    };
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

/// Most digits of a number that a word or letter multiplies. Nobody writes more, but for a row of such letters.
const LONGEST_FACTOR: usize = 40;

/// `number` times ten to the `power`, both in canonical spelling; `None` for a time, a row, or what is too long.
pub(super) fn times_ten(number: &str, power: usize) -> Option<String> {
    let (sign, plain) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let all_digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    if plain.len() > LONGEST_FACTOR || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let after = fraction.len().saturating_sub(power);
    digits.extend(std::iter::repeat_n(
        '0',
        power.saturating_sub(fraction.len()),
    ));
    let point = digits.len() - after;
    let whole = digits[..point].trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(format!("{sign}{}", canonical(whole, &digits[point..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> String {
        let text: Vec<char> = text.chars().collect();
        let (number, length) = read(&text, true).unwrap();
        assert_eq!(length, text.len(), "{text:?}");
        number
    }

    #[test]
    fn one_spelling_for_one_number() {
        for (written, canonical) in [
            ("1,548", "1548"),
            ("1 548", "1548"),
            ("1'548", "1548"),
            ("12,34,567", "1234567"),
            ("1.548.000", "1548000"),
            ("1,548.50", "1548.5"),
            ("1.548,50", "1548.5"),
            ("3,5", "3.5"),
            ("3.50", "3.5"),
            (".5", "0.5"),
            ("0.50", "0.5"),
            ("-5", "-5"),
            ("+5", "5"),
            ("-0", "0"),
            ("07:30", "7:30"),
            ("7:30:05", "7:30:05"),
            ("0:30", "0:30"),
            ("05", "5"),
            ("00", "0"),
            ("007", "007"),
            ("1.2.3", "1.2.3"),
            ("12.05.1984", "12.05.1984"),
            ("1.548", "1.548"),
        ] {
            assert_eq!(number(written), canonical, "{written}");
        }
    }

    #[test]
    fn a_number_ends_where_the_sentence_goes_on() {
        let length = |text: &str| read(&text.chars().collect::<Vec<_>>(), true).map(|(_, n)| n);
        assert_eq!(length("1911. The"), Some(4));
        assert_eq!(length("3, 4"), Some(1));
        assert_eq!(length("12 3000"), Some(2));
        assert_eq!(length("3:1"), Some(1));
        assert_eq!(length("x"), None);
    }

    #[test]
    fn magnitudes_multiply_exactly() {
        let product = |n, power| times_ten(n, power).unwrap();
        assert_eq!(product("1.5", 6), "1500000");
        assert_eq!(product("15", 6), "15000000");
        assert_eq!(product("0.25", 1), "2.5");
        assert_eq!(product("-2", 3), "-2000");
        assert_eq!(times_ten("7:30", 3), None);
        assert_eq!(times_ten(&"7".repeat(41), 3), None);
    }
}
