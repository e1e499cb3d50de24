//! PDF, its text page by page. A PDF has characters at places and no paragraphs: lines stay lines, words that were
//! divided at a line's end are joined, and what every page repeats at its head or foot is left out.

use super::{Reading, Unreadable, pdf_guard};
use pdf_extract::{Document, Object, PlainTextOutput, decode_text_string, output_doc_page};
use serde_json::{Map, json};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most bytes of text.
const MOST_TEXT: usize = 16 << 20;

/// Reads a PDF. Its title is the one in its properties. The numbers of pages that cannot be read are told in the
/// metadata as `unread_pages`.
pub(super) fn read(bytes: &[u8]) -> Result<Reading, Unreadable> {
    let bytes = bytes.to_vec();
    // The library fails by panicking, and its calls within calls need more room than a thread of the server has.
    let thread = std::thread::Builder::new()
        .name("pdf".into())
        .stack_size(64 << 20);
    let reading = thread.spawn(move || extract(&bytes));
    let reading = reading.map_err(|error| damaged(error.to_string()))?;
    reading
        .join()
        .unwrap_or_else(|_| Err(damaged("its structure cannot be followed".into())))
}

fn damaged(reason: String) -> Unreadable {
    Unreadable::Damaged {
        format: "PDF",
        reason,
    }
}

fn extract(bytes: &[u8]) -> Result<Reading, Unreadable> {
    pdf_guard::check_bytes(bytes)?;
    let mut document = open(bytes)?;
    let pages = pdf_guard::tame(&mut document)?;
    let mut texts = Vec::new();
    let mut unread = Vec::new();
    let mut length = 0;
    for number in pages {
        let page = AssertUnwindSafe(|| {
            let mut text = String::new();
            let mut output = PlainTextOutput::new(&mut text);
            output_doc_page(&document, &mut output, number).map(|()| text)
        });
        match catch_unwind(page) {
            Ok(Ok(text)) => {
                length += text.len();
                texts.push(text);
            }
            Ok(Err(_)) | Err(_) => unread.push(number),
        }
        if length > MOST_TEXT {
            return Err(Unreadable::TooLarge {
                format: "PDF",
                most: MOST_TEXT >> 20,
                unit: "MiB of text",
            });
        }
    }
    let text = text_of(&texts);
    if !text.chars().any(char::is_alphanumeric) {
        return Err(Unreadable::Nothing {
            format: "PDF",
            reason: match unread.is_empty() {
                true => {
                    "its pages are pictures or drawings; send a PDF with text, from a program or through OCR"
                }
                false => "its pages cannot be read; send it as another program writes it",
            },
        });
    }
    let mut metadata = Map::new();
    if !unread.is_empty() {
        metadata.insert("unread_pages".into(), json!(unread));
    }
    Ok(Reading {
        title: title(&document),
        text,
        metadata,
    })
}

fn open(bytes: &[u8]) -> Result<Document, Unreadable> {
    use pdf_extract::Error;
    let encrypted = || Unreadable::Encrypted { format: "PDF" };
    let mut document = match Document::load_mem(bytes) {
        Ok(document) => document,
        Err(Error::Decryption(_) | Error::InvalidPassword) => return Err(encrypted()),
        Err(error) => return Err(damaged(error.to_string())),
    };
    // Many are encrypted with an empty password, so that nobody changes them.
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Err(encrypted());
    }
    Ok(document)
}

/// The title among the properties, unless it is only a file's name.
fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let (_, info) = document.dereference(info).ok()?;
    let title = info.as_dict().ok()?.get(b"Title").ok()?;
    let (_, title) = document.dereference(title).ok()?;
    let title = match title {
        Object::String(..) => decode_text_string(title).ok()?,
        _ => return None,
    };
    let title = title.trim().trim_end_matches('\0');
    let title = title.strip_prefix("Microsoft Word - ").unwrap_or(title);
    let is_name = [
        ".doc", ".docx", ".odt", ".indd", ".tex", ".pdf", ".rtf", ".qxd",
    ];
    let is_name = is_name
        .iter()
        .any(|end| title.to_lowercase().ends_with(end));
    let says_nothing = title.is_empty() || is_name || title.eq_ignore_ascii_case("untitled");
    (!says_nothing).then(|| title.to_owned())
}

/// The text of pages: without what they repeat, each after a blank line.
fn text_of(pages: &[String]) -> String {
    let pages: Vec<Vec<&str>> = pages
        .iter()
        .map(|page| page.lines().map(str::trim_end).collect())
        .collect();
    let repeated = repeated(&pages);
    let mut lines: Vec<&str> = Vec::new();
    for page in &pages {
        let (first, last) = ends(page);
        for (at, line) in page.iter().enumerate() {
            let at_end = Some(at) == first || Some(at) == last;
            // A line of dashes is a rule, and in Markdown it would make a heading of the line before.
            let rule = line.len() > 1 && line.trim().chars().all(|c| matches!(c, '-' | '=' | '_'));
            if !rule && !(at_end && repeated.contains(&shape(line))) {
                lines.push(line);
            }
        }
        lines.push("");
    }
    joined(&lines)
}

/// The places of a page's first and last line with text.
fn ends(page: &[&str]) -> (Option<usize>, Option<usize>) {
    let filled = |line: &&str| !line.trim().is_empty();
    (page.iter().position(filled), page.iter().rposition(filled))
}

/// A line without its digits: running heads and feet differ in the number of the page.
fn shape(line: &str) -> String {
    line.chars()
        .filter(|c| !c.is_ascii_digit() && !c.is_whitespace())
        .collect()
}

/// The shapes that begin or end more than half of the pages, of three at least.
fn repeated(pages: &[Vec<&str>]) -> HashSet<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for page in pages {
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
fn joined(lines: &[&str]) -> String {
    let whole = lines.join("\n");
    let mut text = String::with_capacity(whole.len());
    let mut blank = true;
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.trim().is_empty() {
            if !blank {
                text.push('\n');
            }
            blank = true;
            continue;
        }
        blank = false;
        if line.starts_with('#') {
            text.push('\\');
        }
        text.push_str(line);
        match lines.peek().and_then(|next| divided(line, next)) {
            Some((before, after)) => {
                let hyphened = format!("{before}-{after}");
                if !whole.contains(&hyphened) {
                    text.pop();
                }
            }
            None => text.push('\n'),
        }
    }
    text.trim_end().to_owned()
}

/// The two halves of a word that is divided between two lines.
fn divided<'a>(line: &'a str, next: &'a str) -> Option<(&'a str, &'a str)> {
    let before = line.strip_suffix(['-', '\u{ad}', '‐'])?;
    let start = before.rfind(|c: char| !c.is_alphabetic()).map_or(0, |at| {
        at + before[at..].chars().next().map_or(0, char::len_utf8)
    });
    let next = next.trim_start();
    let end = next
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(next.len());
    let (before, after) = (&before[start..], &next[..end]);
    let lower = |c: char| c.is_lowercase();
    let is_word = before.ends_with(char::is_alphabetic) && after.starts_with(lower);
    is_word.then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divided_words_are_joined_and_running_heads_left_out() {
        let page = |number: usize, text: &str| {
            format!("\n\nPump manual\n\n{text}\n\nPage {number} of 3\n")
        };
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
        let text = text_of(&pages);
        assert_eq!(
            text,
            "The pump was built by the Aldous engineering works, a well-known\nhouse.\n\nIt is a well-known pump of 1911-\n\
             1913.\n\\# 5 bolts\n\nThe end."
        );
        // Two pages repeat nothing for sure.
        assert!(text_of(&pages[..2]).contains("Pump manual"));
    }
}
