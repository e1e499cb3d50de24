//! The zip archive that a DOCX file is.

use super::super::encoding;
use super::super::inflate::{Inflate, read_bounded};
use super::super::{Limit, Unreadable};
use super::{broken, damaged};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::io::Cursor;
use zip::ZipArchive;
use zip::result::ZipError;

/// Most bytes of one file within the archive.
const LARGEST: u64 = 64 << 20;

pub(super) struct Package<'a>(ZipArchive<Cursor<&'a [u8]>>);

impl<'a> Package<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let archive = ZipArchive::new(Cursor::new(bytes));
        archive
            .map(Package)
            .map_err(|error| damaged(error.to_string()))
    }

    /// The text of one file; `None` if there is no such file.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Unreadable> {
        let name = name.trim_start_matches('/');
        let file = match self.0.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(damaged(format!("{name}: {error}"))),
        };
        let bytes = read_bounded(file, LARGEST).map_err(|error| match error {
            Inflate::TooLarge(_) => Unreadable::TooLarge(Limit::Size {
                format: "DOCX",
                most: LARGEST as usize >> 20,
                unit: "MiB of text",
            }),
            Inflate::Damaged(reason) => damaged(format!("{name}: {reason}")),
        })?;
        encoding::text(&bytes, None).map(Some)
    }

    /// The name of the file with the text, as the package's relations tell it.
    pub(super) fn main_document(&mut self) -> Result<String, Unreadable> {
        const USUAL: &str = "word/document.xml";
        let mut named = None;
        if let Some(xml) = self.text("_rels/.rels")? {
            let mut reader = Reader::from_str(&xml);
            loop {
                let element = match reader.read_event().map_err(broken)? {
                    Event::Eof => break,
                    Event::Start(element) | Event::Empty(element) => element,
                    _ => continue,
                };
                let of = |name| attribute(&element, name);
                let is_main = of("Type").is_some_and(|kind| kind.ends_with("/officeDocument"));
                if is_main && let Some(target) = of("Target") {
                    named = Some(target.trim_start_matches('/').to_owned());
                }
            }
        }
        let name = named.unwrap_or_else(|| USUAL.to_owned());
        match name.starts_with("word/") {
            true => Ok(name),
            // A spreadsheet or a presentation is a package too.
            false => Err(Unreadable::Kind {
                said: "a DOCX file",
                found: "another kind of Office document",
                instead: "PDF or plain text",
            }),
        }
    }
}

/// An attribute by its whole name.
pub(super) fn attribute(element: &quick_xml::events::BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.try_get_attribute(name).ok().flatten()?;
    match quick_xml::escape::unescape(&found.value) {
        Ok(value) => Some(value.into_owned()),
        Err(_) => Some(found.value.into_owned()),
    }
}

/// What a reference such as `&amp;` or `&#228;` stands for.
pub(super) fn referenced(reference: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match reference.as_ref() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => reference.resolve_char_ref().ok().flatten(),
    }
}

/// The title among a document's properties.
pub(super) fn title_of(xml: &str) -> Result<Option<String>, Unreadable> {
    let mut reader = Reader::from_str(xml);
    let mut title: Option<String> = None;
    let mut inside = false;
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Eof => break,
            Event::Start(element) => inside = element.name().as_ref() == "dc:title",
            Event::End(_) => inside = false,
            Event::Text(text) if inside => {
                title
                    .get_or_insert_default()
                    .push_str(&text.xml10_content());
            }
            Event::GeneralRef(reference) if inside => {
                title.get_or_insert_default().extend(referenced(&reference));
            }
            _ => {}
        }
    }
    Ok(title.filter(|title| !title.trim().is_empty()))
}
