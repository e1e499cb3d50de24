//! The lines of plain text and Markdown as they were before someone wrapped them.

use crate::text::characters::is_unspaced;
use crate::text::sentences::CLOSERS;

/// A line at least this long that ends in no mark was broken by whoever wrapped the text.
const WRAPPED: usize = 50;
/// The same for scripts whose letters are twice as wide.
const WRAPPED_WIDE: usize = 25;

/// `text` with the lines of a wrapped paragraph joined: plain text and Markdown break them anywhere, and half a
/// sentence teaches half a fact. What begins a list item, a heading, a table row or a quote stays a line of its own,
/// and so do short lines, fenced code and Markdown's hard breaks.
pub fn unwrapped(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut last: Option<&str> = None;
    let mut fenced = false;
    for line in text.lines() {
        let fence = is_fence(line.trim_start());
        match last {
            Some(before) if !fenced && !fence && goes_on(before, line) => {
                let wide = joined.chars().next_back().is_some_and(is_unspaced);
                joined.extend([if wide { "" } else { " " }, line.trim()]);
            }
            Some(_) => joined.extend(["\n", line]),
            None => joined.push_str(line),
        }
        fenced ^= fence;
        last = Some(line);
    }
    joined
}

fn goes_on(before: &str, line: &str) -> bool {
    let hard = before.ends_with("  ") || before.ends_with('\\');
    let (before, line) = (before.trim(), line.trim());
    let wide = before.chars().filter(|c| is_unspaced(*c)).count();
    let long = before.chars().count() >= WRAPPED || wide >= WRAPPED_WIDE;
    let ended = before.trim_end_matches(CLOSERS).ends_with([
        '.', '!', '?', ':', ';', '|', '…', '。', '！', '？', '।', '؟', '۔', '；', '：',
    ]);
    let row = before.starts_with(['#', '|']) || is_fence(before);
    long && !ended && !hard && !row && !line.is_empty() && !begins_block(line)
}

/// Whether a line, without white space before it, begins or ends fenced code.
fn is_fence(line: &str) -> bool {
    line.starts_with("```") || line.starts_with("~~~")
}

fn begins_block(line: &str) -> bool {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = digits.len() < line.len() && [". ", ") "].iter().any(|m| digits.starts_with(m));
    let bullet = ["- ", "* ", "+ ", "• ", "#", "==", "--"];
    numbered || line.starts_with(['|', '>']) || bullet.iter().any(|m| line.starts_with(m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::sentences::sentences;

    #[test]
    fn wrapped_lines_are_joined_and_blocks_are_not() {
        let wrapped = "The river, the Senn, freezes most winters, and on the first Sunday\n\
                       after it does they race tubs; the winner is given a\n  live goose.\n\nName: Orrel\nAge: 61";
        let joined = "The river, the Senn, freezes most winters, and on the first Sunday \
                      after it does they race tubs; the winner is given a live goose.\n\nName: Orrel\nAge: 61";
        assert_eq!(unwrapped(wrapped), joined);
        assert_eq!(sentences(&unwrapped(wrapped)).len(), 3);
        let items = "What the guild of charcoal burners keeps in its old hall\n- a stage\n\
                     - sixty puppets, of which the oldest was carved in 1411\n1. a ladder\n# Rooms";
        assert_eq!(unwrapped(items), items);
        let spoken =
            "The mayor told the council, \"The bridge of slate stays where it is.\"\nNobody spoke.";
        assert_eq!(unwrapped(spoken), spoken);
        let code = "```\nlet bridge = Slate::from(\"the quarry above the Senn, in 1387\")\n    .build()\n```";
        assert_eq!(unwrapped(code), code);
        let tildes = code.replace("```", "~~~");
        assert_eq!(unwrapped(&tildes), tildes);
        let price = "The winner of the race is given a live goose, which is worth\n3.50 crowns.";
        assert_eq!(sentences(&unwrapped(price)).len(), 1);
        assert_eq!(unwrapped(""), "");
    }

    #[test]
    fn wide_letters_are_joined_without_a_space() {
        let wrapped = "クイルミア町は人口六千二百人の川の町で、緑のスレートの橋で\n知られています。\n町長はオレルです。";
        assert_eq!(unwrapped(wrapped).lines().count(), 2);
        assert!(unwrapped(wrapped).contains("橋で知られ"));
    }
}
