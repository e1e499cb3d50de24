//! From bytes to text. A byte order mark tells the encoding and is not text; without one a declared character set
//! holds, and without that UTF-8. Every line ends with `\n`.

use super::Unreadable;
use std::borrow::Cow;

/// What Windows-1252 has at 0x80 to 0x9F, where ISO-8859-1 has control characters that nobody sends.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The text of bytes, with `\n` at the ends of lines. `charset`: the declared character set, in any case.
pub fn text(bytes: &[u8], charset: Option<&str>) -> Result<String, Unreadable> {
    let decoded = match marked(bytes)? {
        Some(text) => text,
        None => declared(bytes, charset)?,
    };
    Ok(match decoded.contains('\r') {
        true => decoded.replace("\r\n", "\n").replace('\r', "\n"),
        false => decoded.into_owned(),
    })
}

/// The bytes without a byte order mark, as UTF-8 where the mark says that they are UTF-16.
pub fn without_mark(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Unreadable> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return Ok(Cow::Borrowed(rest));
    }
    Ok(match marked(bytes)? {
        Some(text) => Cow::Owned(text.into_owned().into_bytes()),
        None => Cow::Borrowed(bytes),
    })
}

/// The text of bytes that begin with a byte order mark.
fn marked(bytes: &[u8]) -> Result<Option<Cow<'_, str>>, Unreadable> {
    if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
        return Err(Unreadable::Charset("UTF-32".to_owned()));
    }
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(utf8(rest)?),
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        _ => return Ok(None),
    };
    Ok(Some(text))
}

fn declared<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, Unreadable> {
    let name = charset.unwrap_or("utf-8").trim().to_ascii_lowercase();
    Ok(match name.as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => Cow::Borrowed(utf8(bytes)?),
        "utf-16le" => Cow::Owned(utf16(bytes, u16::from_le_bytes)?),
        "utf-16be" => Cow::Owned(utf16(bytes, u16::from_be_bytes)?),
        "iso-8859-1" | "iso8859-1" | "latin1" | "latin-1" | "windows-1252" | "cp1252" => {
            Cow::Owned(bytes.iter().map(|byte| western(*byte)).collect())
        }
        "utf-16" => {
            return Err(Unreadable::Charset("UTF-16 without byte order mark".into()));
        }
        _ => {
            let name: String = name.chars().take(40).collect();
            return Err(Unreadable::Charset(name));
        }
    })
}

fn western(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|error| Unreadable::Encoding {
        encoding: "UTF-8",
        at: error.valid_up_to(),
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Unreadable> {
    let wrong = |at| Unreadable::Encoding {
        encoding: "UTF-16",
        at,
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong(bytes.len()));
    }
    let mut text = String::with_capacity(bytes.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        text.push(decoded.map_err(|_| wrong(text.encode_utf16().count() * 2))?);
    }
    Ok(text)
}
