//! Markdown by CommonMark's rules: which lines are headings, where blocks begin and end, what is a comment.

use super::{Reading, Unreadable, front_matter};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;

/// A heading that stands in no quote and in no list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heading {
    /// 1 to 6.
    pub level: u8,
    /// The text without markup, never empty.
    pub title: String,
    /// The bytes of its lines.
    pub range: Range<usize>,
}

/// The outermost structure of a text.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub headings: Vec<Heading>,
    /// The bytes of each outermost block: a paragraph, a list, a table, code.
    pub blocks: Vec<Range<usize>>,
}

/// Reads Markdown: front matter becomes metadata, and comments are taken out. The title is the front matter's, else
/// the first heading of level 1, else the first heading.
pub(super) fn read(text: &str) -> Result<Reading, Unreadable> {
    let (metadata, text) = front_matter::split(text)?;
    let named = match metadata.get("title") {
        Some(Value::String(title)) => Some(title.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let named = named.filter(|title| !title.trim().is_empty());
    Ok(Reading {
        title: named.or_else(|| title(text)),
        text: without_comments(text),
        metadata,
    })
}

/// The first heading of level 1, else the first heading.
pub(super) fn title(markdown: &str) -> Option<String> {
    let headings = outline(markdown).headings;
    let first = headings.iter().find(|heading| heading.level == 1);
    let first = first.or(headings.first());
    first.map(|heading| heading.title.clone())
}

fn parser(markdown: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    Parser::new_ext(markdown, options).into_offset_iter()
}

/// Most lists and quotes within each other that are told apart. The parser asks all that are open for every line.
const DEEPEST: usize = 100;

/// The text with letters for the marks of lines that begin more lists and quotes than that, each byte in its place: such
/// a line is words of a paragraph.
fn shallow(markdown: &str) -> Cow<'_, str> {
    let lines = || markdown.split_inclusive(['\n', '\r']);
    if !lines().any(|line| marks(line).1 > DEEPEST) {
        return Cow::Borrowed(markdown);
    }
    let mut text = String::with_capacity(markdown.len());
    for line in lines() {
        match marks(line) {
            (end, depth) if depth > DEEPEST => {
                let plain = |c: char| if c.is_ascii_whitespace() { c } else { 'x' };
                text.extend(line[..end].chars().map(plain));
                text.push_str(&line[end..]);
            }
            _ => text.push_str(line),
        }
    }
    Cow::Owned(text)
}

/// Where the marks of lists and quotes end at the beginning of a line, and how deep they lead at most: a mark is a level,
/// and so are two columns of indentation. 0 for a line without marks.
fn marks(line: &str) -> (usize, usize) {
    let bytes = line.as_bytes();
    let (mut at, mut marks, mut columns) = (0, 0, 0);
    let ends = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_whitespace);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' => columns += 1,
            b'\t' => columns += 4,
            b'>' => marks += 1,
            b'-' | b'+' | b'*' if ends(at + 1) => marks += 1,
            b'0'..=b'9' => {
                let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit());
                let end = at + digits.count();
                if !matches!(bytes.get(end), Some(b'.' | b')')) || !ends(end + 1) {
                    break;
                }
                marks += 1;
                at = end;
            }
            _ => break,
        }
        at += 1;
    }
    match marks {
        0 => (at, 0),
        _ => (at, marks + columns / 2),
    }
}

pub(super) fn outline(markdown: &str) -> Outline {
    let mut outline = Outline::default();
    let mut depth = 0;
    let mut heading: Option<(u8, String, Range<usize>)> = None;
    for (event, range) in parser(&shallow(markdown)) {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    outline.blocks.push(range.clone());
                    if let Tag::Heading { level, .. } = tag {
                        heading = Some((level as u8, String::new(), range));
                    }
                }
                depth += 1;
            }
            Event::End(end) => {
                depth -= 1;
                if let (TagEnd::Heading(_), Some((level, text, range))) =
                    (end, heading.take_if(|_| depth == 0))
                {
                    let title = plain_title(&text);
                    if !title.is_empty() {
                        outline.headings.push(Heading {
                            level,
                            title,
                            range: whole_lines(markdown, range),
                        });
                    }
                }
            }
            Event::Rule if depth == 0 => outline.blocks.push(range),
            Event::Text(text) | Event::Code(text) => {
                if let Some((_, title, _)) = &mut heading {
                    title.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some((_, title, _)) = &mut heading {
                    title.push(' ');
                }
            }
            _ => {}
        }
    }
    outline
}

/// White space made single, and attributes in braces taken off (`# Fuses {#fuses}`).
fn plain_title(text: &str) -> String {
    let mut text = text.trim();
    if text.ends_with('}')
        && let Some(brace) = text.rfind('{')
        && text[brace + 1..].starts_with(['#', '.', ':'])
    {
        text = &text[..brace];
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The range extended to the end of its last line.
fn whole_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text[..range.start].rfind('\n').map_or(0, |end| end + 1);
    let end = match text[..range.end].ends_with('\n') {
        true => range.end,
        false => text[range.end..]
            .find('\n')
            .map_or(text.len(), |end| range.end + end + 1),
    };
    start..end
}

/// The text without HTML comments. What looks like one in code stays.
fn without_comments(markdown: &str) -> String {
    if !markdown.contains("<!--") {
        return markdown.to_owned();
    }
    let mut kept = String::with_capacity(markdown.len());
    let mut at = 0;
    for (event, range) in parser(&shallow(markdown)) {
        if !matches!(event, Event::Start(Tag::HtmlBlock) | Event::InlineHtml(_)) {
            continue;
        }
        let mut start = range.start.max(at);
        while let Some(open) = markdown[start..range.end.max(start)].find("<!--") {
            let open = start + open;
            let Some(length) = markdown[open..range.end].find("-->") else {
                break;
            };
            kept.push_str(&markdown[at..open]);
            start = open + length + "-->".len();
            at = start;
        }
    }
    kept.push_str(&markdown[at..]);
    // A comment that stood alone leaves its blank lines behind.
    match kept.trim_start() {
        rest if rest.len() < kept.len() && markdown.trim_start().starts_with("<!--") => {
            rest.to_owned()
        }
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many blocks stand within each other at most.
    fn depth(markdown: &str) -> usize {
        let (mut open, mut most) = (0, 0);
        for (event, _) in parser(&shallow(markdown)) {
            match event {
                Event::Start(_) => open += 1,
                Event::End(_) => open -= 1,
                _ => {}
            }
            most = most.max(open);
        }
        most
    }

    #[test]
    fn lists_and_quotes_within_each_other_are_bounded() {
        let indented = |n: usize| -> String { (0..n).map(|i| "  ".repeat(i) + "- a\n").collect() };
        let end = "\n\n# The end\n\n<!-- no -->\n";
        for deep in [
            "- ".repeat(3000) + "x",
            "> ".repeat(3000) + "x",
            ">".repeat(3000) + "x",
            "1. ".repeat(3000) + "x",
            "- > 7) ".repeat(3000) + "x",
            indented(300),
            indented(40) + &"  ".repeat(40) + &"* ".repeat(80) + "x",
        ] {
            let text = deep + end;
            // A list and its item are two.
            assert!(depth(&text) <= 2 * DEEPEST + 1, "{}", &text[..40]);
            assert_eq!(title(&text).as_deref(), Some("The end"));
            let read = read(&text).unwrap().text;
            assert_eq!(read, text.replace("<!-- no -->", ""), "{}", &text[..40]);
        }
    }

    #[test]
    fn what_people_write_is_told_apart() {
        let text = "  - a\n    - b\n\n> > c\n\n- - - -\n\n12. d\n2024 is a year\n* * *\n";
        assert!(matches!(shallow(text), Cow::Borrowed(_)));
        let twenty: String = (0..20).map(|i| "  ".repeat(i) + "- a\n").collect();
        assert_eq!(depth(&twenty), 40);
        let rule = "a\n\n".to_owned() + &"- ".repeat(400) + "\n\n# b\n";
        assert_eq!(title(&rule).as_deref(), Some("b"));
    }
}
