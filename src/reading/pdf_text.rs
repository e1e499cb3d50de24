//! The lines of a PDF's pages as one text in Markdown: bookmarks become headings, words that were divided at a line's
//! end are joined, and what every page repeats at its head or foot is left out.

use super::pdf_outline::Bookmark;
use std::collections::{HashMap, HashSet};

/// The text of pages, each with its number. Pages are divided by a blank line.
pub(super) fn text_of(pages: &[(u32, String)], bookmarks: &[Bookmark]) -> String {
    let pages: Vec<(u32, Vec<&str>)> = pages
        .iter()
        .map(|(number, page)| (*number, page.lines().map(str::trim_end).collect()))
        .collect();
    let repeated = repeated(&pages);
    let mut lines: Vec<Line> = Vec::new();
    for (number, page) in &pages {
        let (mut headings, missed) = headings(page, bookmarks.iter().filter(|b| b.page == *number));
        lines.extend(missed.into_iter().map(Line::Heading));
        let (first, last) = ends(page);
        for (at, line) in page.iter().enumerate() {
            if let Some(found) = headings.remove(&at) {
                lines.extend(found.into_iter().map(Line::Heading));
                continue;
            }
            let at_end = Some(at) == first || Some(at) == last;
            // A line of dashes is a rule, and in Markdown it would make a heading of the line before.
            let rule = line.len() > 1 && line.trim().chars().all(|c| matches!(c, '-' | '=' | '_'));
            if !rule && !(at_end && repeated.contains(&shape(line))) {
                lines.push(Line::Text(line));
            }
        }
        lines.push(Line::Text(""));
    }
    joined(&lines)
}

enum Line<'a> {
    Heading(&'a Bookmark),
    Text(&'a str),
}

/// The bookmarks of a page by the line that has their title, and those that no line has, which stand at the page's
/// head.
fn headings<'b>(
    page: &[&str],
    bookmarks: impl Iterator<Item = &'b Bookmark>,
) -> (HashMap<usize, Vec<&'b Bookmark>>, Vec<&'b Bookmark>) {
    let mut found: HashMap<usize, Vec<&Bookmark>> = HashMap::new();
    let mut missed = Vec::new();
    let plain = |text: &str| text.split_whitespace().collect::<String>().to_lowercase();
    let lines: Vec<String> = page.iter().map(|line| plain(line)).collect();
    let mut from = 0;
    for bookmark in bookmarks {
        let title = plain(&bookmark.title);
        // A line may have the number of a section before its title.
        let is_title = |line: &String| {
            let number = line.strip_suffix(&title);
            number.is_some_and(|number| number.chars().count() <= 8)
        };
        match lines.iter().skip(from).position(is_title) {
            Some(at) => {
                from += at;
                found.entry(from).or_default().push(bookmark);
            }
            None => missed.push(bookmark),
        }
    }
    (found, missed)
}

/// The places of a page's first and last line with text.
fn ends(page: &[&str]) -> (Option<usize>, Option<usize>) {
    let filled = |line: &&str| !line.trim().is_empty();
    (page.iter().position(filled), page.iter().rposition(filled))
}

/// A line without its digits: running heads and feet differ in the number of the page.
fn shape(line: &str) -> String {
    let is_kept = |c: &char| !c.is_ascii_digit() && !c.is_whitespace();
    line.chars().filter(is_kept).collect()
}

/// The shapes that begin or end more than half of the pages, of three at least.
fn repeated(pages: &[(u32, Vec<&str>)]) -> HashSet<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (_, page) in pages {
        let (first, last) = ends(page);
        let found = [first, last.filter(|last| Some(*last) != first)];
        for at in found.into_iter().flatten() {
            *counts.entry(shape(page[at])).or_default() += 1;
        }
    }
    let often = |count: usize| count >= 3 && count * 2 > pages.len();
    let repeated = counts.into_iter().filter(|(_, count)| often(*count));
    repeated.map(|(shape, _)| shape).collect()
}

/// Lines as one text. A word divided at a line's end is joined: without its hyphen, unless the text elsewhere has it
/// with the hyphen within a line.
fn joined(lines: &[Line]) -> String {
    let whole: Vec<&str> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Text(text) => Some(*text),
            Line::Heading(_) => None,
        })
        .collect();
    let whole = whole.join("\n");
    let mut text = String::with_capacity(whole.len());
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        let line = match line {
            Line::Text(line) => line.trim(),
            Line::Heading(Bookmark { level, title, .. }) => {
                end_block(&mut text);
                let hashes = "#".repeat(*level);
                text.push_str(&format!("{hashes} {title}\n\n"));
                continue;
            }
        };
        if line.is_empty() {
            end_block(&mut text);
            continue;
        }
        // What begins as a heading of Markdown does is none here.
        if line.starts_with('#') {
            text.push('\\');
        }
        text.push_str(line);
        let next = lines.peek().and_then(|next| match next {
            Line::Text(next) => divided(line, next),
            Line::Heading(_) => None,
        });
        match next {
            Some((before, after)) => {
                if !whole.contains(&format!("{before}-{after}")) {
                    text.pop();
                }
            }
            None => text.push('\n'),
        }
    }
    text.trim_end().to_owned()
}

/// Puts one blank line at the end of a text.
fn end_block(text: &mut String) {
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push_str("\n\n");
    }
}

/// The two halves of a word that is divided between two lines.
fn divided<'a>(line: &'a str, next: &'a str) -> Option<(&'a str, &'a str)> {
    let before = line.strip_suffix(['-', '\u{ad}', '‐'])?;
    let start = before
        .char_indices()
        .rfind(|(_, c)| !c.is_alphabetic())
        .map_or(0, |(at, c)| at + c.len_utf8());
    let next = next.trim_start();
    let end = next.find(|c: char| !c.is_alphabetic());
    let (before, after) = (&before[start..], &next[..end.unwrap_or(next.len())]);
    let is_word = before.ends_with(char::is_alphabetic) && after.starts_with(char::is_lowercase);
    is_word.then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u32, text: &str) -> (u32, String) {
        (
            number,
            format!("\n\nPump manual\n\n{text}\n\nPage {number} of 3\n"),
        )
    }

    #[test]
    fn divided_words_are_joined_and_running_heads_left_out() {
        let pages = [
            page(
                1,
                "The pump was built by the Aldous engi-\nneering works, a well-known\nhouse.",
            ),
            page(
                2,
                "It is a well-\nknown pump of 1911-\n1913.\n----\n# 5 bolts",
            ),
            page(3, "The end."),
        ];
        let text = text_of(&pages, &[]);
        assert_eq!(
            text,
            "The pump was built by the Aldous engineering works, a well-known\nhouse.\n\nIt is a well-known pump of 1911-\n\
             1913.\n\\# 5 bolts\n\nThe end."
        );
        // Two pages repeat nothing for sure.
        assert!(text_of(&pages[..2], &[]).contains("Pump manual"));
    }

    #[test]
    fn bookmarks_become_headings() {
        let pages = [
            page(1, "1 Safety\nRead this.\n1.1  Fuses\nFive ampere."),
            page(2, "Six in winter.\nCare of the\npump\nOil it."),
            page(3, "The end."),
        ];
        let bookmark = |level: usize, title: &str, page: u32| Bookmark {
            level,
            title: title.to_owned(),
            page,
        };
        let bookmarks = [
            bookmark(1, "Safety", 1),
            bookmark(2, "1.1 Fuses", 1),
            bookmark(1, "Care of the pump", 2),
        ];
        assert_eq!(
            text_of(&pages, &bookmarks),
            "# Safety\n\nRead this.\n\n## 1.1 Fuses\n\nFive ampere.\n\n# Care of the pump\n\nSix in winter.\nCare of the\n\
             pump\nOil it.\n\nThe end."
        );
    }
}
