//! Reads documents as people have them: bytes of a known format become a title, a text and metadata, and a long text
//! becomes parts. This room knows no HTTP, no store and no model.
//!
//! ```text
//! encoding       bytes to text: byte order marks, character sets, line ends
//! front_matter   YAML or TOML before Markdown
//! markdown       headings, blocks and comments of Markdown, by CommonMark's rules
//! parts          a long text cut at its headings
//! html  docx  pdf   other formats, turned into Markdown
//! inflate        bounded decompression
//! bounded        slow libraries, for a time at most
//! ```
//!
//! The text of a document is Markdown where the format has headings, lists or tables. Of Markdown the source itself is
//! kept, without front matter and comments: a model reads and writes it well.

mod bounded;
mod docx;
mod encoding;
mod error;
mod front_matter;
mod html;
mod html_code;
mod html_table;
pub mod inflate;
mod markdown;
mod parts;
#[cfg(test)]
mod parts_tests;
mod pdf;
mod pdf_guard;
mod pdf_outline;
#[cfg(test)]
mod pdf_tests;
mod pdf_text;
#[cfg(test)]
mod tests;

pub use encoding::{text, without_mark};
pub use error::{Limit, Unreadable};
pub use parts::{Part, parts, parts_within};

use serde_json::{Map, Value};

/// What was read of a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The title that the document itself names.
    pub title: Option<String>,
    pub text: String,
    /// The front matter of Markdown; empty for other formats.
    pub metadata: Map<String, Value>,
}

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Plain,
    Markdown,
    Html,
    Pdf,
    Docx,
}

impl Format {
    /// The media types of all formats.
    pub const MEDIA_TYPES: [&str; 5] = [
        "text/plain",
        "text/markdown",
        "text/html",
        "application/pdf",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ];

    /// The format of a media type in lower case, without parameters.
    pub fn of_media_type(kind: &str) -> Option<Format> {
        Some(match kind {
            "text/plain" => Format::Plain,
            "text/markdown" | "text/x-markdown" => Format::Markdown,
            "text/html" | "application/xhtml+xml" => Format::Html,
            "application/pdf" | "application/x-pdf" => Format::Pdf,
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => {
                Format::Docx
            }
            _ => return None,
        })
    }

    /// The format that the end of a file's name tells.
    pub fn of_file_name(name: &str) -> Option<Format> {
        let (_, end) = name.rsplit_once('.')?;
        Some(match end.to_ascii_lowercase().as_str() {
            "txt" | "text" => Format::Plain,
            "md" | "markdown" | "mdown" | "mkd" => Format::Markdown,
            "html" | "htm" | "xhtml" => Format::Html,
            "pdf" => Format::Pdf,
            "docx" => Format::Docx,
            _ => return None,
        })
    }
}

/// Reads a document. `charset`: the declared character set of a textual format. Blocks for the processor: a PDF of a
/// thousand pages takes seconds. HTML and PDF are refused once they take half a minute.
pub fn read(format: Format, charset: Option<&str>, bytes: &[u8]) -> Result<Reading, Unreadable> {
    error::check_kind(format, bytes)?;
    let mut read = match format {
        Format::Plain => Reading {
            text: text(bytes, charset)?,
            ..Reading::default()
        },
        Format::Markdown => markdown::read(&text(bytes, charset)?)?,
        Format::Html => html::read(&html::text(bytes, charset)?)?,
        Format::Pdf => pdf::read(bytes)?,
        Format::Docx => docx::read(bytes)?,
    };
    let title = read.title.take();
    let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
    read.title = title.filter(|title| !title.is_empty());
    Ok(read)
}
