//! PDF, its text page by page. A PDF has characters at places and neither paragraphs nor headings: lines stay lines, and
//! bookmarks tell headings.

use super::bounded::{Deadline, Places};
use super::pdf_outline::bookmarks;
use super::pdf_text::text_of;
use super::{Limit, Reading, Unreadable, markdown, pdf_guard};
use pdf_extract::{Document, Object, PlainTextOutput, decode_text_string, output_doc_page};
use serde_json::{Map, json};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Most bytes of text.
const MOST_TEXT: usize = 16 << 20;

/// Longest time of reading a PDF, and most that are read at once. A thousand pages take seconds.
const LONGEST: Duration = Duration::from_secs(30);
static PLACES: Places = Places::new("PDF", 4);

/// Reads a PDF. Its title is the one in its properties, else its only outermost bookmark. The numbers of pages that
/// cannot be read are told in the metadata as `unread_pages`.
pub(super) fn read(bytes: &[u8]) -> Result<Reading, Unreadable> {
    let bytes = bytes.to_vec();
    // The library fails by panicking, and calls itself for drawings within drawings.
    PLACES.run(LONGEST, move |deadline| extract(&bytes, deadline))
}

fn damaged(reason: String) -> Unreadable {
    Unreadable::Damaged {
        format: "PDF",
        reason,
    }
}

pub(super) fn extract(bytes: &[u8], deadline: &Deadline) -> Result<Reading, Unreadable> {
    pdf_guard::check_bytes(bytes)?;
    deadline.check()?;
    let mut document = open(bytes)?;
    let pages = pdf_guard::tame(&mut document, deadline)?;
    let mut texts = Vec::new();
    let mut unread = Vec::new();
    let mut left = MOST_TEXT;
    for number in pages {
        deadline.check()?;
        let mut page = Page {
            text: Vec::new(),
            left,
            deadline,
            stopped: None,
        };
        let output = AssertUnwindSafe(|| {
            let mut output = PlainTextOutput::new(&mut page as &mut dyn io::Write);
            output_doc_page(&document, &mut output, number)
        });
        let read = matches!(catch_unwind(output), Ok(Ok(())));
        if let Some(reason) = page.stopped {
            return Err(reason);
        }
        left = page.left;
        match String::from_utf8(page.text) {
            Ok(text) if read => texts.push((number, text)),
            _ => unread.push(number),
        }
    }
    deadline.check()?;
    let bookmarks = bookmarks(&document);
    let text = text_of(&texts, &bookmarks);
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
    let outermost = bookmarks.iter().filter(|b| b.level == 1).count();
    let heading = || markdown::title(&text).filter(|_| outermost == 1);
    Ok(Reading {
        title: title(&document).or_else(heading),
        text,
        metadata,
    })
}

/// The text of a page while the library writes it.
struct Page<'a> {
    text: Vec<u8>,
    /// Bytes that may still be written.
    left: usize,
    deadline: &'a Deadline,
    /// Why the library was told to stop.
    stopped: Option<Unreadable>,
}

impl io::Write for Page<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = match self.left.checked_sub(bytes.len()) {
            Some(left) => {
                self.left = left;
                self.deadline.check()
            }
            None => Err(Unreadable::TooLarge(Limit::Size {
                format: "PDF",
                most: MOST_TEXT >> 20,
                unit: "MiB of text",
            })),
        };
        if let Err(reason) = fits {
            self.stopped.get_or_insert(reason);
            return Err(io::Error::other("the reading of this document was stopped"));
        }
        self.text.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
