//! HTML, turned into Markdown. Scripts, styles, navigation and forms are no text, and of links and pictures their words
//! remain.

use super::bounded::Places;
use super::encoding;
use super::html_code::code;
use super::html_table::table;
use super::{Limit, Reading, Unreadable, markdown};
use htmd::element_handler::Handlers;
use htmd::{Element, HtmlToMarkdown, Node};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Most elements within each other. A page has dozens; a thousand would only exhaust the stack.
const DEEPEST: usize = 256;

/// Longest time of converting a page, and most that are converted at once.
const LONGEST: Duration = Duration::from_secs(30);
static PLACES: Places = Places::new("HTML", 4);

/// Bytes in which a page must declare its character set.
const DECLARED_WITHIN: usize = 1024;

/// Elements that are no text.
pub(super) const SKIPPED: [&str; 13] = [
    "script", "style", "noscript", "template", "nav", "svg", "math", "canvas", "iframe", "object",
    "button", "select", "textarea",
];

/// The text of a page. Where neither a byte order mark nor `charset` (of the content type) tells the character set, the
/// page itself may declare it.
pub(super) fn text(bytes: &[u8], charset: Option<&str>) -> Result<String, Unreadable> {
    let declared = match charset {
        Some(_) => None,
        None => declared(bytes),
    };
    // A declaration that can be read as bytes cannot be of UTF-16.
    let declared = declared.filter(|name| !name.starts_with("utf-16"));
    encoding::text(bytes, charset.or(declared.as_deref()))
}

/// The character set of `<meta charset="…">`, or of its older form with `content="text/html; charset=…"`.
fn declared(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(DECLARED_WITHIN)];
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let (_, meta) = head.split_once("<meta")?;
    let (_, after) = meta.split_once("charset")?;
    let after = after.trim_start().strip_prefix('=')?;
    let after = after.trim_start_matches([' ', '"', '\'']);
    let end = after
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.' | ':'))
        .unwrap_or(after.len());
    (end > 0).then(|| after[..end].to_owned())
}

/// Reads a page. The title is that of the page, else its first heading.
pub(super) fn read(html: &str) -> Result<Reading, Unreadable> {
    let html = html.to_owned();
    let (title, text) = PLACES.run(LONGEST, move |_| convert(&html))?;
    if text.trim().is_empty() {
        return Err(Unreadable::Nothing {
            format: "HTML",
            reason: "a page that a script fills has no text of its own",
        });
    }
    Ok(Reading {
        title: title.or_else(|| markdown::title(&text)),
        text,
        ..Reading::default()
    })
}

fn convert(html: &str) -> Result<(Option<String>, String), Unreadable> {
    let title: Arc<Mutex<Option<String>>> = Arc::default();
    let found = title.clone();
    let keep_title = move |handlers: &dyn Handlers, element: Element| {
        let text = handlers.walk_children(element.node).content;
        if let Ok(mut title) = found.lock() {
            let text = unescaped(text.trim());
            title.get_or_insert(text);
        }
        None
    };
    let words_alone =
        |handlers: &dyn Handlers, element: Element| Some(handlers.walk_children(element.node));
    let alternative = |_: &dyn Handlers, element: Element| {
        let text = element.attrs.iter().find(|a| &*a.name.local == "alt");
        text.map(|text| text.value.to_string().into())
    };
    let converter = HtmlToMarkdown::builder()
        .skip_tags(SKIPPED.to_vec())
        .add_handler(vec!["title"], keep_title)
        .add_handler(vec!["a"], words_alone)
        .add_handler(vec!["img"], alternative)
        .add_handler(vec!["table"], table)
        .add_handler(vec!["pre", "listing", "xmp"], code)
        .scripting_enabled(false)
        .build();
    let damaged = |error: std::io::Error| Unreadable::Damaged {
        format: "HTML",
        reason: error.to_string(),
    };
    let too_deep = || {
        Unreadable::TooLarge(Limit::Size {
            format: "HTML",
            most: DEEPEST,
            unit: "elements within each other",
        })
    };
    // The parser takes the square of the depth in time.
    if opens_more(html, 4 * DEEPEST) {
        return Err(too_deep());
    }
    let tree = converter.html_to_tree(html).map_err(damaged)?;
    if is_deeper(&tree, DEEPEST) {
        return Err(too_deep());
    }
    let text = unescaped(&converter.tree_to_markdown(&tree));
    let title = title.lock().ok().and_then(|mut title| title.take());
    Ok((title.filter(|title| !title.is_empty()), text))
}

/// Whether more elements than these are open at once, of those that need a closing tag.
fn opens_more(html: &str, most: usize) -> bool {
    const CLOSED: [&str; 22] = [
        "div",
        "span",
        "section",
        "article",
        "main",
        "blockquote",
        "ul",
        "ol",
        "dl",
        "table",
        "form",
        "font",
        "b",
        "i",
        "em",
        "strong",
        "a",
        "u",
        "small",
        "center",
        "figure",
        "details",
    ];
    let mut open = 0_usize;
    for tag in html.split('<').skip(1) {
        let closing = tag.starts_with('/');
        let name = tag.trim_start_matches('/');
        let name = &name[..name
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(name.len())];
        if CLOSED.iter().any(|c| c.eq_ignore_ascii_case(name)) {
            open = if closing {
                open.saturating_sub(1)
            } else {
                open + 1
            };
        }
        if open > most {
            return true;
        }
    }
    false
}

/// Whether a tree has more levels than these.
fn is_deeper(tree: &Rc<Node>, levels: usize) -> bool {
    let mut open = vec![(tree.clone(), 0)];
    while let Some((node, level)) = open.pop() {
        if level > levels {
            return true;
        }
        let below = node.children.borrow();
        open.extend(below.iter().map(|child| (child.clone(), level + 1)));
    }
    false
}

/// The marks at the beginning of a line that begin or end code.
fn fence_marks(line: &str) -> Option<&str> {
    let rest = match line.chars().next()? {
        mark @ ('`' | '~') => line.trim_start_matches(mark),
        _ => return None,
    };
    let marks = &line[..line.len() - rest.len()];
    (marks.len() >= 3).then_some(marks)
}

/// Markdown without the backslashes that a reader does not need: `snake\_case` is read as it is without. At the
/// beginning of a line and in code, also within a line, they stay.
fn unescaped(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    // The marks that began a fence; at least as many end it.
    let mut fence: Option<&str> = None;
    for line in markdown.split_inclusive('\n') {
        let begun = line.trim_start();
        let marks = fence_marks(begun);
        if fence.is_some() || marks.is_some() || line.starts_with("    ") {
            text.push_str(line);
            fence = match (fence, marks) {
                (None, marks) => marks,
                (Some(open), Some(marks))
                    if marks.starts_with(open) && begun.trim_end() == marks =>
                {
                    None
                }
                (open, _) => open,
            };
            continue;
        }
        let indent = line.len() - begun.len();
        // The number of backticks that began code within the line, which as many end.
        let mut code = 0;
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let ticks = rest.len() - rest.trim_start_matches('`').len();
            if ticks > 0 {
                match code {
                    0 => code = ticks,
                    open if open == ticks => code = 0,
                    _ => {}
                }
                text.push_str(&rest[..ticks]);
                rest = &rest[ticks..];
                continue;
            }
            let begins = rest.len() + indent == line.len();
            rest = &rest[c.len_utf8()..];
            let escaped = rest.chars().next().filter(|next| {
                c == '\\' && code == 0 && next.is_ascii_punctuation() && *next != '|'
            });
            let Some(next) = escaped else {
                text.push(c);
                continue;
            };
            if begins && matches!(next, '#' | '>' | '-' | '+' | '*' | '=' | '`' | '~') {
                text.push(c);
            }
            text.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    text
}
