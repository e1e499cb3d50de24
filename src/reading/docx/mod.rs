//! DOCX, turned into Markdown: headings, paragraphs, lists and tables. Deleted text, notes, fields and the table of
//! contents are left out.

mod body;
mod package;
mod styles;

use super::{Reading, Unreadable, markdown};
use package::Package;
use styles::Styles;

/// Reads a document. The title is that of its title paragraph, else the one in its properties, else its first heading.
pub(super) fn read(bytes: &[u8]) -> Result<Reading, Unreadable> {
    let mut package = Package::open(bytes)?;
    let main = package.main_document()?;
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let styles = match package.text(&format!("{folder}/styles.xml"))? {
        Some(xml) => Styles::read(&xml)?,
        None => Styles::default(),
    };
    let Some(xml) = package.text(&main)? else {
        return Err(damaged(format!("it holds no {main}")));
    };
    let body = body::read(&xml, &styles)?;
    if body.text.trim().is_empty() {
        return Err(Unreadable::Nothing {
            format: "DOCX",
            reason: "it has no text; pictures of text are not read",
        });
    }
    let properties = package.text("docProps/core.xml")?;
    let named = properties.as_deref().map(package::title_of).transpose()?;
    let title = body.title.or(named.flatten());
    Ok(Reading {
        title: title.or_else(|| markdown::title(&body.text)),
        text: body.text,
        ..Reading::default()
    })
}

fn damaged(reason: String) -> Unreadable {
    Unreadable::Damaged {
        format: "DOCX",
        reason,
    }
}

fn broken(error: quick_xml::Error) -> Unreadable {
    damaged(error.to_string())
}
