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
        let ends = ends(page);
        for (at, line) in page.iter().enumerate() {
            if let Some(found) = headings.remove(&at) {
                lines.extend(found.into_iter().map(Line::Heading));
                continue;
            }
            let is_repeated = ends.contains(&at) && !repeated.is_disjoint(&shapes(line, *number));
            if !is_repeated && !is_rule(line) {
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

/// The places of a page's first two and last two lines with text.
fn ends(page: &[&str]) -> HashSet<usize> {
    let filled = |at: &usize| !page[*at].trim().is_empty();
    let (first, last) = (0..page.len(), (0..page.len()).rev());
    let first = first.filter(filled).take(2);
    first.chain(last.filter(filled).take(2)).collect()
}

/// A line of dashes, which in Markdown would make a heading of the line before, or of a table of contents, with dots up
/// to a number.
fn is_rule(line: &str) -> bool {
    let is_dashes = line.trim().chars().all(|c| matches!(c, '-' | '=' | '_'));
    (line.trim().len() > 1 && is_dashes) || line.contains(". . . .") || line.contains(".....")
}

/// The forms in which a line may be repeated on other pages: as it is, or with one of its numbers told as a distance
/// from the page's. So a foot with the page's number is the same on every page, and a list of numbered facts is not.
fn shapes(line: &str, page: u32) -> HashSet<String> {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = HashSet::new();
    let mut at = 0;
    while let Some(start) = line[at..].find(|c: char| c.is_ascii_digit()) {
        let start = at + start;
        let digits = line[start..].find(|c: char| !c.is_ascii_digit());
        let end = digits.map_or(line.len(), |digits| start + digits);
        if let Ok(number) = line[start..end].parse::<i64>() {
            let distance = number - i64::from(page);
            found.insert(format!("{}\u{0}{distance}{}", &line[..start], &line[end..]));
        }
        at = end;
    }
    found.insert(line);
    found
}

/// The shapes that begin or end more than half of the pages, of three at least.
fn repeated(pages: &[(u32, Vec<&str>)]) -> HashSet<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (number, page) in pages {
        let lines = ends(page).into_iter().map(|at| page[at]);
        // What stands twice at the ends of one page is counted once.
        let found: HashSet<String> = lines.flat_map(|line| shapes(line, *number)).collect();
        for shape in found {
            *counts.entry(shape).or_default() += 1;
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
    let hyphened: HashSet<(&str, &str)> = whole.iter().flat_map(|line| hyphened(line)).collect();
    let mut text = String::with_capacity(whole.iter().map(|line| line.len() + 1).sum());
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
            Some(word) => {
                if !hyphened.contains(&word) {
                    text.pop();
                }
            }
            None => text.push('\n'),
        }
    }
    without_ligatures(text.trim_end())
}

/// A text with letters for the ligatures that fonts have.
fn without_ligatures(text: &str) -> String {
    let letters = |c: char| match c {
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        _ => "",
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match letters(c) {
            "" => plain.push(c),
            letters => plain.push_str(letters),
        }
    }
    plain
}

/// Puts one blank line at the end of a text.
fn end_block(text: &mut String) {
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push_str("\n\n");
    }
}

/// The halves of each word that a line has with a hyphen within it.
fn hyphened(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices('-').filter_map(move |(at, _)| {
        let (before, after) = (&line[..at], &line[at + 1..]);
        let word = (last_letters(before), first_letters(after));
        (!word.0.is_empty() && !word.1.is_empty()).then_some(word)
    })
}

fn last_letters(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or_default()
}

fn first_letters(text: &str) -> &str {
    text.split(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or_default()
}

/// The two halves of a word that is divided between two lines.
fn divided<'a>(line: &'a str, next: &'a str) -> Option<(&'a str, &'a str)> {
    let before = line.strip_suffix(['-', '\u{ad}', '‐'])?;
    let (before, after) = (last_letters(before), first_letters(next.trim_start()));
    let is_word = before.ends_with(char::is_alphabetic) && after.starts_with(char::is_lowercase);
    is_word.then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u32, text: &str) -> (u32, String) {
        (
            number,
            format!("\n\nPump manual\nVell\n\n{text}\n\nPage {number} of 3\n"),
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
        let facts = |page: u32| {
            let fact = |n: u32| format!("Valve {} opens at {n} bar.", page * 7 + n);
            (1..=5).map(fact).collect::<Vec<_>>().join("\n")
        };
        let listed: Vec<(u32, String)> = (1..=4).map(|n| (n, facts(n))).collect();
        assert_eq!(text_of(&listed, &[]).matches("Valve").count(), 20);
        let contents = [(
            1,
            "The ﬁrst ofﬁce\n1 Safety . . . . . . . 3\nRest.......4".to_owned(),
        )];
        assert_eq!(text_of(&contents, &[]), "The first office");
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
