//! What must hold of a PDF before the library reads it: it decompresses without bound and follows circles until the
//! stack ends, which would end the server.

use super::bounded::Deadline;
use super::inflate::zlib_work;
use super::{Limit, Unreadable};
use pdf_extract::{Dictionary, Document, Object, ObjectId, Stream};
use std::collections::{HashMap, HashSet};

/// Most pages.
const MOST_PAGES: usize = 2000;
/// Most bytes of everything but pictures, decompressed.
const MOST_BYTES: u64 = 128 << 20;
/// Most bytes compressed by LZW, which is not measured: one byte becomes a thousand at most.
const MOST_LZW: usize = 256 << 10;
/// Most bytes of pages and drawings that a document executes, those within others counted each time.
const MOST_DRAWN: u64 = 512 << 20;
/// Bytes that any drawing counts for, besides its own.
const LEAST_DRAWN: u64 = 4096;
/// Most bytes of the dictionary before a stream of objects.
const LONGEST_HEAD: usize = 4096;
/// Most drawings or nodes of the page tree within each other.
const DEEPEST: usize = 24;

fn too_large(most: usize, unit: &'static str) -> Unreadable {
    Unreadable::TooLarge(Limit::Size {
        format: "PDF",
        most,
        unit,
    })
}

fn damaged(reason: &str) -> Unreadable {
    Unreadable::Damaged {
        format: "PDF",
        reason: reason.to_owned(),
    }
}

/// Checks the streams of objects, which are decompressed while a document is opened.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), Unreadable> {
    let mut left = MOST_BYTES;
    let kinds = [b"/ObjStm".as_slice(), b"/XRef"];
    for (found, window) in bytes.windows(7).enumerate() {
        if !kinds.iter().any(|kind| window.starts_with(kind)) {
            continue;
        }
        let after = &bytes[found..bytes.len().min(found + LONGEST_HEAD)];
        let Some(stream) = position(after, b"stream") else {
            continue;
        };
        let before = &bytes[found.saturating_sub(LONGEST_HEAD)..found];
        let start = before.windows(4).rposition(|here| here == b" obj");
        let start = found - before.len() + start.unwrap_or(0);
        let (head, data) = (&bytes[start..found + stream], &bytes[found + stream + 6..]);
        let has = |what: &[u8]| position(head, what).is_some();
        let flates = head
            .windows(11)
            .filter(|here| *here == b"FlateDecode")
            .count();
        if has(b"LZWDecode") || has(b"ASCII85Decode") || has(b"RunLength") || flates > 1 {
            return Err(damaged("it compresses its objects in an unusual way"));
        }
        // Each mark costs the looking around.
        left = spend(left, LONGEST_HEAD as u64)?;
        if flates == 1 {
            left = inflated(left, data.trim_ascii_start())?;
        }
    }
    Ok(())
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|here| here == what)
}

/// What is left of a number of bytes after so much work.
fn spend(left: u64, work: u64) -> Result<u64, Unreadable> {
    let left = left.checked_sub(work);
    left.ok_or_else(|| too_large(MOST_BYTES as usize >> 20, "MiB, decompressed"))
}

/// What is left of a number of bytes after a decompression, damaged or not: the library keeps what comes before the
/// damage.
fn inflated(left: u64, stream: &[u8]) -> Result<u64, Unreadable> {
    spend(left, zlib_work(stream, left).unwrap_or(u64::MAX))
}

/// Takes the pictures out of an open document, and refuses what is too large or runs in a circle. Returns the numbers
/// of the pages.
pub(super) fn tame(document: &mut Document, deadline: &Deadline) -> Result<Vec<u32>, Unreadable> {
    let mut left = MOST_BYTES;
    let mut lzw = 0;
    for object in document.objects.values_mut() {
        let Object::Stream(stream) = object else {
            continue;
        };
        if is(&stream.dict, b"Subtype", b"Image") {
            stream.dict.remove(b"Filter");
            stream.set_content(Vec::new());
            continue;
        }
        let filters = stream.filters().unwrap_or_default();
        let flate = filters
            .iter()
            .filter(|name| **name == b"FlateDecode")
            .count();
        if filters.contains(&b"LZWDecode".as_slice()) {
            lzw += stream.content.len();
        }
        if flate > 1 || (flate == 1 && filters.contains(&b"LZWDecode".as_slice())) {
            return Err(damaged("a stream is compressed twice"));
        }
        if lzw > MOST_LZW {
            return Err(too_large(MOST_LZW >> 10, "KiB compressed by LZW"));
        }
        if flate == 1 {
            left = match filters.first() {
                Some(&b"FlateDecode") => inflated(left, &stream.content)?,
                _ => inflated(left, &without_flate(stream))?,
            };
        }
        deadline.check()?;
    }
    let pages = document.get_pages();
    if pages.len() > MOST_PAGES {
        return Err(too_large(MOST_PAGES, "pages"));
    }
    if pages.is_empty() {
        return Err(damaged("it has no page"));
    }
    check_drawings(document, pages.values(), deadline)?;
    Ok(pages.keys().copied().collect())
}

fn is(dictionary: &Dictionary, key: &[u8], name: &[u8]) -> bool {
    let value = dictionary.get(key).and_then(Object::as_name);
    value.is_ok_and(|value| value == name)
}

/// The content of a stream after the filters before its last, such as ASCII85.
fn without_flate(stream: &Stream) -> Vec<u8> {
    let mut outer = stream.clone();
    if let Ok(filters) = outer.dict.get_mut(b"Filter").and_then(Object::as_array_mut) {
        filters.retain(|filter| filter.as_name().is_ok_and(|name| name != b"FlateDecode"));
    }
    outer.decompressed_content().unwrap_or_default()
}

/// Refuses pages that inherit from each other in a circle, and drawings that draw each other in one or too often.
fn check_drawings<'a>(
    document: &Document,
    pages: impl Iterator<Item = &'a ObjectId>,
    deadline: &Deadline,
) -> Result<(), Unreadable> {
    let mut known = HashMap::new();
    let mut drawn = 0u64;
    for page in pages {
        let mut resources = None;
        let mut above = HashSet::new();
        let mut next = document.get_dictionary(*page).ok();
        while let Some(node) = next {
            if above.len() > DEEPEST {
                return Err(damaged("its pages inherit from each other in a circle"));
            }
            above.insert(above.len());
            resources = resources.or_else(|| below(document, node, b"Resources"));
            let parent = node.get(b"Parent").and_then(Object::as_reference);
            next = parent.and_then(|id| document.get_dictionary(id)).ok();
        }
        let content = document.get_page_content(*page).unwrap_or_default();
        let page = work(document, &content, resources, &mut known, 0)?;
        drawn = drawn.saturating_add(page);
        if drawn > MOST_DRAWN {
            return Err(too_large(MOST_DRAWN as usize >> 20, "MiB of drawings"));
        }
        deadline.check()?;
    }
    Ok(())
}

/// The bytes that a content executes at most, its own and those of its drawings.
fn work(
    document: &Document,
    content: &[u8],
    resources: Option<&Dictionary>,
    known: &mut HashMap<ObjectId, u64>,
    depth: usize,
) -> Result<u64, Unreadable> {
    let calls = calls(content);
    let drawings = resources.and_then(|resources| below(document, resources, b"XObject"));
    let mut work_here = LEAST_DRAWN + content.len() as u64;
    let Some(drawings) = drawings.filter(|_| !calls.is_empty()) else {
        return Ok(work_here);
    };
    if depth > DEEPEST {
        return Err(damaged("its drawings draw each other in a circle"));
    }
    let mut found: HashMap<&[u8], u64> = HashMap::new();
    for (name, drawing) in drawings.iter() {
        let Ok((id, Object::Stream(stream))) = document.dereference(drawing) else {
            continue;
        };
        let cached = id.and_then(|id| known.get(&id).copied());
        let each = match cached {
            Some(each) => each,
            None => {
                let content = match stream.filters() {
                    Ok(_) => stream.decompressed_content().unwrap_or_default(),
                    Err(_) => stream.content.clone(),
                };
                // A drawing without resources has those of what draws it.
                let own = below(document, &stream.dict, b"Resources").or(resources);
                work(document, &content, own, known, depth + 1)?
            }
        };
        known.extend(id.map(|id| (id, each)));
        found.insert(name, each);
    }
    let most = found.values().copied().max().unwrap_or(LEAST_DRAWN);
    for name in calls {
        let each = name.and_then(|name| found.get(name).copied());
        work_here = work_here.saturating_add(each.unwrap_or(most));
    }
    Ok(work_here)
}

/// The drawings that a content draws, by their names where these are plain.
fn calls(content: &[u8]) -> Vec<Option<&[u8]>> {
    let is_space = |b: u8| b.is_ascii_whitespace() || b == 0;
    let delimits = |b: u8| is_space(b) || b"()<>[]{}/%".contains(&b);
    let places = content.windows(2).enumerate();
    let places = places.filter(|(at, two)| {
        let before = at.checked_sub(1).map(|at| content[at]);
        let after = content.get(at + 2);
        let begins = before.is_some_and(|b| is_space(b) || b")]>}".contains(&b));
        *two == b"Do" && begins && after.is_none_or(|b| delimits(*b))
    });
    let name = |at: usize| {
        let before = content[..at].trim_ascii_end();
        let start = before.iter().rposition(|b| delimits(*b))?;
        let name = &before[start + 1..];
        (before[start] == b'/' && !name.contains(&b'#')).then_some(name)
    };
    places.map(|(at, _)| name(at)).collect()
}

/// The dictionary of a key, directly or by reference.
fn below<'a>(
    document: &'a Document,
    dictionary: &'a Dictionary,
    key: &[u8],
) -> Option<&'a Dictionary> {
    let value = dictionary.get(key).ok()?;
    let (_, value) = document.dereference(value).ok()?;
    value.as_dict().ok()
}
