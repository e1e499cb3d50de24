//! The styles of a DOCX file, as far as they tell what a paragraph is. Word translates the ids of styles and keeps
//! their names English, so names decide.

use super::super::Unreadable;
use super::broken;
use super::package::attribute;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::HashMap;

/// What a style makes of a paragraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Title,
    /// 1 to 6.
    Heading(u8),
    ListItem,
    /// A line of the table of contents.
    Contents,
    Text,
}

#[derive(Debug, Default)]
struct Style {
    name: String,
    based_on: Option<String>,
    outline: Option<u8>,
    is_list: bool,
}

#[derive(Debug, Default)]
pub(super) struct Styles(HashMap<String, Style>);

impl Styles {
    pub(super) fn read(xml: &str) -> Result<Styles, Unreadable> {
        let mut reader = Reader::from_str(xml);
        let mut styles = HashMap::new();
        let mut open: Option<(String, Style)> = None;
        loop {
            let element = match reader.read_event().map_err(broken)? {
                Event::Eof => break,
                Event::End(end) if end.name().as_ref() == "w:style" => {
                    styles.extend(open.take());
                    continue;
                }
                Event::Start(element) | Event::Empty(element) => element,
                _ => continue,
            };
            let value = || attribute(&element, "w:val");
            match (element.name().as_ref(), &mut open) {
                ("w:style", _) => {
                    let id = attribute(&element, "w:styleId").unwrap_or_default();
                    open = Some((id, Style::default()));
                }
                ("w:name", Some((_, style))) => {
                    style.name = value().unwrap_or_default().to_lowercase();
                }
                ("w:basedOn", Some((_, style))) => style.based_on = value(),
                ("w:outlineLvl", Some((_, style))) => {
                    style.outline = value().and_then(|level| level.parse().ok());
                }
                ("w:numPr", Some((_, style))) => style.is_list = true,
                _ => {}
            }
        }
        Ok(Styles(styles))
    }

    /// The role of a style, its own or of one that it is based on.
    pub(super) fn role(&self, id: &str) -> Role {
        let mut next = Some(id.to_owned());
        // Styles that are based on each other in a circle come to no end.
        for _ in 0..16 {
            let Some(id) = next else {
                break;
            };
            // A document without styles.xml has ids alone; English ones tell as much as names.
            let unnamed = Style {
                name: id.to_lowercase(),
                ..Style::default()
            };
            let style = self.0.get(&id).unwrap_or(&unnamed);
            if let Some(role) = style.role() {
                return role;
            }
            next = style.based_on.clone();
        }
        Role::Text
    }
}

impl Style {
    fn role(&self) -> Option<Role> {
        let level = self.name.strip_prefix("heading");
        let level = level.and_then(|level| level.trim().parse::<u8>().ok());
        match (self.name.as_str(), level, self.outline) {
            ("title", ..) => Some(Role::Title),
            (_, Some(level), _) if level > 0 => Some(Role::Heading(level.min(6))),
            (name, ..) if name.starts_with("toc ") || name == "toc heading" => Some(Role::Contents),
            (_, _, Some(level)) if level < 9 => Some(heading(level)),
            (name, ..) if self.is_list || name.starts_with("list bullet") => Some(Role::ListItem),
            (name, ..) if name.starts_with("list number") => Some(Role::ListItem),
            _ => None,
        }
    }
}

/// The heading of an outline level, which counts from 0.
pub(super) fn heading(outline: u8) -> Role {
    Role::Heading((outline + 1).min(6))
}
