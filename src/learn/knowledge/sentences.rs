//! Splitting prose into sentences, well enough to write notes about each.

/// Abbreviations after which a full stop ends no sentence.
const ABBREVIATIONS: [&str; 16] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "etc", "e.g", "i.e", "approx", "fig", "jr",
    "sr", "inc",
];

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
    fn lines_split_and_blank_ones_vanish() {
        assert_eq!(sentences("One\n\n- two.\n---\n"), ["One", "- two."]);
        assert!(sentences(" \n").is_empty());
    }
}
