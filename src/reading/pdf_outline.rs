//! The bookmarks of a PDF: the only headings that it names.

use pdf_extract::{Dictionary, Document, Object, ObjectId, decode_text_string};
use std::collections::{HashMap, HashSet};

/// Most bookmarks, and most names of places, that are looked at.
const MOST: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bookmark {
    /// 1 for the outermost; 6 at most.
    pub level: usize,
    pub title: String,
    /// The number of the page that it points at.
    pub page: u32,
}

/// The bookmarks that point at a page of the document, in their order.
pub(super) fn bookmarks(document: &Document) -> Vec<Bookmark> {
    let Ok(catalogue) = document.catalog() else {
        return Vec::new();
    };
    let pages: HashMap<ObjectId, u32> = document
        .get_pages()
        .into_iter()
        .map(|(number, id)| (id, number))
        .collect();
    let named = named_places(document, catalogue);
    let outlines = dictionary(document, catalogue, b"Outlines");
    let first = outlines.and_then(|outlines| outlines.get(b"First").ok()?.as_reference().ok());
    let mut open: Vec<(ObjectId, usize)> = first.map(|first| (first, 1)).into_iter().collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some((id, level)) = open.pop() {
        if seen.len() == MOST || !seen.insert(id) {
            continue;
        }
        let Ok(item) = document.get_dictionary(id) else {
            continue;
        };
        let link = |key: &[u8]| item.get(key).and_then(Object::as_reference).ok();
        open.extend(link(b"Next").map(|next| (next, level)));
        open.extend(link(b"First").map(|first| (first, level + 1)));
        let title =
            value(document, item, b"Title").and_then(|title| decode_text_string(title).ok());
        let page = place(document, item).and_then(|place| page_of(document, place, &named));
        let page = page.and_then(|id| pages.get(&id).copied());
        if let (Some(title), Some(page)) = (title, page) {
            let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
            if !title.is_empty() {
                let level = level.min(6);
                found.push(Bookmark { level, title, page });
            }
        }
    }
    found
}

/// Where a bookmark points: its destination, or that of its action.
fn place<'a>(document: &'a Document, item: &'a Dictionary) -> Option<&'a Object> {
    value(document, item, b"Dest").or_else(|| {
        let action = dictionary(document, item, b"A")?;
        value(document, action, b"D")
    })
}

/// The page of a destination, which may be a name.
fn page_of(
    document: &Document,
    place: &Object,
    named: &HashMap<Vec<u8>, &Object>,
) -> Option<ObjectId> {
    let place = match place {
        Object::Name(name) | Object::String(name, _) => *named.get(name)?,
        place => place,
    };
    let place = match place {
        Object::Dictionary(of) => value(document, of, b"D")?,
        place => place,
    };
    place.as_array().ok()?.first()?.as_reference().ok()
}

/// The names of places: a dictionary in old documents, a tree in newer ones.
fn named_places<'a>(
    document: &'a Document,
    catalogue: &'a Dictionary,
) -> HashMap<Vec<u8>, &'a Object> {
    let mut found = HashMap::new();
    let deref = |object: &'a Object| document.dereference(object).ok().map(|(_, object)| object);
    if let Some(old) = dictionary(document, catalogue, b"Dests") {
        let places = old
            .iter()
            .filter_map(|(name, at)| Some((name.clone(), deref(at)?)));
        found.extend(places.take(MOST));
    }
    let tree = dictionary(document, catalogue, b"Names");
    let tree = tree.and_then(|names| names.get(b"Dests").ok());
    let mut open: Vec<&Object> = tree.into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(node) = open.pop() {
        if found.len() >= MOST || seen.len() >= MOST {
            break;
        }
        if node.as_reference().is_ok_and(|id| !seen.insert(id)) {
            continue;
        }
        let Some(node) = deref(node).and_then(|node| node.as_dict().ok()) else {
            continue;
        };
        let list = |key: &[u8]| value(document, node, key)?.as_array().ok();
        open.extend(list(b"Kids").into_iter().flatten());
        let pairs = list(b"Names")
            .map_or(&[][..], Vec::as_slice)
            .as_chunks::<2>()
            .0;
        found.extend(pairs.iter().filter_map(|[name, at]| {
            let name = deref(name)?.as_str().ok()?;
            Some((name.to_vec(), deref(at)?))
        }));
    }
    found
}

/// The value of a key, directly or by reference.
fn value<'a>(document: &'a Document, of: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    let (_, value) = document.dereference(of.get(key).ok()?).ok()?;
    Some(value)
}

fn dictionary<'a>(
    document: &'a Document,
    of: &'a Dictionary,
    key: &[u8],
) -> Option<&'a Dictionary> {
    value(document, of, key)?.as_dict().ok()
}
