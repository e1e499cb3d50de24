//! Why a document cannot be read.

use super::Format;

/// Why bytes cannot be read as the document that they are said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not {encoding} at byte {at}")]
    Encoding { encoding: &'static str, at: usize },
    #[error(
        "the character set '{0}' is not read here; send UTF-8, UTF-16 with its byte order mark, ISO-8859-1 or \
         Windows-1252"
    )]
    Charset(String),
    #[error(
        "line {line} of the front matter is wrong: {reason} (if it is no front matter, begin the text with another line)"
    )]
    FrontMatter { line: usize, reason: String },
    #[error("it is said to be {said}, and it is {found}; send it as {instead}")]
    Kind {
        said: &'static str,
        found: &'static str,
        instead: &'static str,
    },
    #[error("the {format} is damaged: {reason}")]
    Damaged {
        format: &'static str,
        reason: String,
    },
    #[error("the {format} is encrypted; send it without a password")]
    Encrypted { format: &'static str },
    #[error("nothing readable comes out of the {format}: {reason}")]
    Nothing {
        format: &'static str,
        reason: &'static str,
    },
    #[error(transparent)]
    TooLarge(#[from] Limit),
}

/// A limit of reading that a document goes beyond.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    #[error("the {format} has more than {most} {unit}, which is the most that is read; split it")]
    Size {
        format: &'static str,
        most: usize,
        unit: &'static str,
    },
    #[error(
        "the {format} takes more than {seconds} seconds to read, which is the longest; split it, or send it as another \
         program writes it"
    )]
    Time { format: &'static str, seconds: u64 },
    #[error(
        "{most} {format} documents are being read already, which is the most at once; send it again later"
    )]
    Places { format: &'static str, most: usize },
}

/// How formats begin that are often sent under the type of another: the first bytes, a name, and what to send.
const BEGINNINGS: [(&[u8], &str, &str); 4] = [
    (b"%PDF-", "a PDF", "application/pdf"),
    (
        b"PK\x03\x04",
        "a zip archive, as DOCX files are",
        Format::MEDIA_TYPES[4],
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "a document of Word before 2007, or one with a password",
        "DOCX or PDF",
    ),
    (b"{\\rtf", "RTF", "DOCX or plain text"),
];

/// Refuses bytes that are plainly of another format.
pub(super) fn check_kind(format: Format, bytes: &[u8]) -> Result<(), Unreadable> {
    let (said, beginning) = match format {
        Format::Plain => ("plain text", None),
        Format::Markdown => ("Markdown", None),
        Format::Html => ("HTML", None),
        Format::Pdf => ("a PDF", Some(0)),
        Format::Docx => ("a DOCX file", Some(1)),
    };
    let begins = |nth: usize| match nth {
        // Some writers put a few bytes before the header, and readers look for it.
        0 if format == Format::Pdf => {
            let head = &bytes[..bytes.len().min(1024)];
            head.windows(5).any(|bytes| bytes == b"%PDF-")
        }
        nth => bytes.starts_with(BEGINNINGS[nth].0),
    };
    if beginning.is_some_and(begins) {
        return Ok(());
    }
    let other = (0..BEGINNINGS.len()).find(|nth| Some(*nth) != beginning && begins(*nth));
    let found = match (other, beginning) {
        (Some(nth), _) => (BEGINNINGS[nth].1, BEGINNINGS[nth].2),
        (None, None) => return Ok(()),
        (None, Some(_)) => ("of some other format", "what it is"),
    };
    Err(Unreadable::Kind {
        said,
        found: found.0,
        instead: found.1,
    })
}
