//! Splitting prose into sentences, well enough to write notes about each.

/// Abbreviations after which a full stop ends no sentence.
const ABBREVIATIONS: [&str; 16] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "etc", "e.g", "i.e", "approx", "fig", "jr",
    "sr", "inc",
];

/// A line at least this long that ends in no mark was broken by whoever wrapped the text.
const WRAPPED: usize = 50;

/// `text` with the lines of a wrapped paragraph joined: plain text and Markdown break them anywhere, and half a
/// sentence teaches half a fact. What begins a list item, a heading, a table row or a quote stays a line of its own,
/// and so do short lines, fenced code and Markdown's hard breaks.
pub fn unwrapped(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut last: Option<&str> = None;
    let mut fenced = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        match last {
            Some(before) if !fenced && !fence && goes_on(before, line) => {
                joined.extend([" ", line.trim()]);
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
    let long = before.chars().count() >= WRAPPED;
    let closers = ['"', '\'', '”', '’', ')', ']', '*', '_'];
    let ended = before
        .trim_end_matches(closers)
        .ends_with(['.', '!', '?', ':', ';', '|', '…', '。', '！', '？']);
    let row = before.starts_with(['#', '|']) || before.starts_with("```");
    long && !ended && !hard && !row && !line.is_empty() && !begins_block(line)
}

fn begins_block(line: &str) -> bool {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = digits.len() < line.len() && [". ", ") "].iter().any(|m| digits.starts_with(m));
    let bullet = ["- ", "* ", "+ ", "• ", "#", "==", "--"];
    numbered || line.starts_with(['|', '>']) || bullet.iter().any(|m| line.starts_with(m))
}

/// The sentences of `text`, trimmed, none empty. A line break ends a sentence too.
pub fn sentences(text: &str) -> Vec<&str> {
    text.lines().flat_map(split_line).collect()
}

fn split_line(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in line.char_indices() {
        let end = at + c.len_utf8();
        if matches!(c, '.' | '!' | '?') && ends_sentence(&line[start..at], c, &line[end..]) {
            found.push(line[start..end].trim());
            start = end;
        }
    }
    found.push(line[start..].trim());
    found.retain(|s| s.chars().any(char::is_alphanumeric));
    found
}

fn ends_sentence(before: &str, mark: char, after: &str) -> bool {
    let mut next = after.chars();
    let spaced = next.next().is_none_or(char::is_whitespace);
    let capital = after
        .trim_start()
        .chars()
        .next()
        .is_none_or(|c| !c.is_lowercase());
    if !spaced || !capital {
        return false;
    }
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("");
    let word = word.trim_start_matches(['(', '"', '\'']);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    mark != '.' || !(initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_and_numbers_do_not_split() {
        let text = "Dr. J. Orr paid 3.50 crowns. He left! Why? Nobody (e.g. Ann) knows";
        assert_eq!(
            sentences(text),
            [
                "Dr. J. Orr paid 3.50 crowns.",
                "He left!",
                "Why?",
                "Nobody (e.g. Ann) knows"
            ]
        );
    }

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
        let price = "The winner of the race is given a live goose, which is worth\n3.50 crowns.";
        assert_eq!(sentences(&unwrapped(price)).len(), 1);
        assert_eq!(unwrapped(""), "");
    }

    #[test]
    fn lines_split_and_blank_ones_vanish() {
        assert_eq!(sentences("One\n\n- two.\n---\n"), ["One", "- two."]);
        assert!(sentences(" \n").is_empty());
    }
}
