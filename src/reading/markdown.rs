//! Markdown by CommonMark's rules: which lines are headings, where blocks begin and end, what is a comment.

use super::{Reading, Unreadable, front_matter};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;
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

pub(super) fn outline(markdown: &str) -> Outline {
    let mut outline = Outline::default();
    let mut depth = 0;
    let mut heading: Option<(u8, String, Range<usize>)> = None;
    for (event, range) in parser(markdown) {
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
    for (event, range) in parser(markdown) {
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
