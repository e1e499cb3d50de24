//! The paragraphs and tables of a DOCX file.

use super::super::Unreadable;
use super::broken;
use super::package::{attribute, referenced};
use super::styles::{Role, Styles, heading};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The text as Markdown, and the paragraph in the style of a title.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub text: String,
    pub title: Option<String>,
}

/// Elements whose text is no text of the document: moved away, of a former version, a fallback for older programs,
/// the reading beside a character.
const SKIPPED: [&str; 6] = [
    "w:del",
    "w:moveFrom",
    "w:pPrChange",
    "w:rPrChange",
    "mc:Fallback",
    "w:rt",
];

pub(super) fn read(xml: &str, styles: &Styles) -> Result<Body, Unreadable> {
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(styles);
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Eof => break,
            Event::Start(element) if SKIPPED.contains(&element.name().as_ref()) => {
                reader.read_to_end(element.name()).map_err(broken)?;
            }
            Event::Start(element) => writer.start(&element),
            Event::Empty(element) => {
                writer.start(&element);
                writer.end(element.name().as_ref());
            }
            Event::End(element) => writer.end(element.name().as_ref()),
            Event::Text(text) => writer.text(&text.xml10_content()),
            Event::CData(text) => writer.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                if let Some(c) = referenced(&reference) {
                    writer.text(c.encode_utf8(&mut [0; 4]));
                }
            }
            _ => {}
        }
    }
    Ok(writer.body)
}

struct Paragraph {
    role: Role,
    /// Its level, if it is numbered or has a bullet of its own.
    list: Option<u8>,
    text: String,
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

struct Writer<'a> {
    styles: &'a Styles,
    body: Body,
    /// A paragraph may hold a text box with paragraphs.
    paragraphs: Vec<Paragraph>,
    /// A cell may hold a table.
    tables: Vec<Table>,
    in_text: bool,
    after_list: bool,
}

impl<'a> Writer<'a> {
    fn new(styles: &'a Styles) -> Self {
        Writer {
            styles,
            body: Body::default(),
            paragraphs: Vec::new(),
            tables: Vec::new(),
            in_text: false,
            after_list: false,
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        let value = || attribute(element, "w:val");
        match element.name().as_ref() {
            "w:p" => self.paragraphs.push(Paragraph {
                role: Role::Text,
                list: None,
                text: String::new(),
            }),
            "w:tbl" => self.tables.push(Table::default()),
            "w:tr" => self.table(|table| table.rows.push(Vec::new())),
            "w:tc" => self.table(|table| {
                if let Some(row) = table.rows.last_mut() {
                    row.push(String::new());
                }
            }),
            "w:t" | "m:t" => self.in_text = true,
            "w:tab" => self.push_space(),
            "w:br" | "w:cr" => self.push("\n"),
            "w:noBreakHyphen" => self.push("-"),
            "w:pStyle" => {
                let role = value().map(|id| self.styles.role(&id));
                self.paragraph(|p| p.role = role.unwrap_or(p.role));
            }
            "w:outlineLvl" => {
                let level = value().and_then(|level| level.parse::<u8>().ok());
                if let Some(level) = level.filter(|level| *level < 9) {
                    self.paragraph(|p| p.role = heading(level));
                }
            }
            "w:ilvl" => {
                let level = value().and_then(|level| level.parse().ok()).unwrap_or(0);
                self.paragraph(|p| p.list = Some(level));
            }
            "w:numId" => {
                // Number 0 takes a paragraph out of its style's list.
                let is_none = value().is_some_and(|id| id == "0");
                self.paragraph(|p| match is_none {
                    true => {
                        p.list = None;
                        if p.role == Role::ListItem {
                            p.role = Role::Text;
                        }
                    }
                    false => p.list = Some(p.list.unwrap_or(0)),
                });
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "w:t" | "m:t" => self.in_text = false,
            "w:p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.finish(paragraph);
                }
            }
            "w:tbl" => {
                if let Some(table) = self.tables.pop() {
                    let nested = !self.tables.is_empty();
                    let text = table.text(nested);
                    self.block(&text, false);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text {
            self.push(text);
        }
    }

    fn push(&mut self, text: &str) {
        self.paragraph(|p| p.text.push_str(text));
    }

    /// A tabulator within a text. Those among a paragraph's properties are places on the ruler.
    fn push_space(&mut self) {
        self.paragraph(|p| {
            if !p.text.is_empty() && !p.text.ends_with(' ') {
                p.text.push(' ');
            }
        });
    }

    fn paragraph(&mut self, change: impl FnOnce(&mut Paragraph)) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            change(paragraph);
        }
    }

    fn table(&mut self, change: impl FnOnce(&mut Table)) {
        if let Some(table) = self.tables.last_mut() {
            change(table);
        }
    }

    fn finish(&mut self, paragraph: Paragraph) {
        let text = paragraph.text.trim();
        if text.is_empty() || paragraph.role == Role::Contents {
            return;
        }
        let one_line = || text.split_whitespace().collect::<Vec<_>>().join(" ");
        match (paragraph.role, paragraph.list) {
            (Role::Heading(level), _) if self.tables.is_empty() => {
                let hashes = "#".repeat(usize::from(level));
                self.block(&format!("{hashes} {}", one_line()), false);
            }
            (Role::Title, _) => {
                self.body.title.get_or_insert(one_line());
                self.block(&one_line(), false);
            }
            (Role::ListItem, level) | (Role::Text, level @ Some(_)) => {
                let indent = "  ".repeat(usize::from(level.unwrap_or(0).min(8)));
                self.block(&format!("{indent}- {}", one_line()), true);
            }
            // What begins as a heading of Markdown does is none here.
            _ if text.starts_with('#') => self.block(&format!("\\{text}"), false),
            _ => self.block(text, false),
        }
    }

    /// Adds a block to the innermost cell, or to the text.
    fn block(&mut self, block: &str, is_item: bool) {
        let cell = self
            .tables
            .last_mut()
            .and_then(|table| table.rows.last_mut()?.last_mut());
        if let Some(cell) = cell {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(block.trim_start());
            return;
        }
        if block.is_empty() {
            return;
        }
        let text = &mut self.body.text;
        if !text.is_empty() {
            let joined = is_item && self.after_list;
            text.push_str(if joined { "" } else { "\n" });
        }
        text.push_str(block);
        text.push('\n');
        self.after_list = is_item;
    }
}

impl Table {
    /// A table of Markdown, its first row the head. One column is no table but paragraphs, and a table within a cell
    /// is a line.
    fn text(self, nested: bool) -> String {
        let mut rows = self.rows;
        rows.retain(|row| row.iter().any(|cell| !cell.trim().is_empty()));
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        if nested {
            let rows = rows.into_iter().map(|row| row.join(", "));
            return rows.collect::<Vec<_>>().join("; ");
        }
        if columns <= 1 {
            return rows.concat().join("\n\n");
        }
        // Markdown wants as many cells in the head as in the widest row; others may be shorter.
        rows[0].resize(columns, String::new());
        let line = |row: &[String]| {
            let cell = |text: &String| {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                text.replace('|', "\\|")
            };
            let cells: Vec<String> = row.iter().map(cell).collect();
            format!("| {} |", cells.join(" | "))
        };
        let mut lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
        lines.insert(1, format!("|{}", " --- |".repeat(columns)));
        lines.join("\n")
    }
}
