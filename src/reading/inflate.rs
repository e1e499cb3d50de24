//! Bounded decompression: a few kilobytes can claim gigabytes.

use std::cell::Cell;
use std::io::Read;

/// Why a compressed stream cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inflate {
    #[error("it holds more than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Damaged(String),
}

/// Reads everything, at most `most` bytes.
pub fn read_bounded(reader: impl Read, most: u64) -> Result<Vec<u8>, Inflate> {
    let mut bytes = Vec::new();
    let mut bounded = reader.take(most.saturating_add(1));
    let read = bounded.read_to_end(&mut bytes);
    if bytes.len() as u64 > most {
        return Err(Inflate::TooLarge(most));
    }
    read.map_err(|error| Inflate::Damaged(error.to_string()))?;
    Ok(bytes)
}

/// The content of a gzip file of one member, at most `most` bytes, its checksum proven.
pub fn gunzip(bytes: &[u8], most: u64) -> Result<Vec<u8>, Inflate> {
    let short = || Inflate::Damaged("the gzip file ends early".into());
    let (header, flags) = match bytes {
        [0x1f, 0x8b, 8, flags, ..] => (10, *flags),
        _ => return Err(Inflate::Damaged("it is no gzip file".into())),
    };
    let mut rest = bytes.get(header..).ok_or_else(short)?;
    if flags & 4 != 0 {
        let [low, high, after @ ..] = rest else {
            return Err(short());
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        rest = after.get(length..).ok_or_else(short)?;
    }
    // The file's name and a comment, each ended by a zero.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or_else(short)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..).ok_or_else(short)?;
    }
    let (data, trailer) = rest.split_last_chunk::<8>().ok_or_else(short)?;
    let [crc @ .., _, _, _, _] = *trailer;
    inflate(data, Some(u32::from_le_bytes(crc)), most)
}

/// The bytes that reading a zlib stream takes or gives, whichever are more, at most `most`. Of a damaged stream it is
/// what comes before the damage. What follows the stream is passed over.
pub(super) fn zlib_work(bytes: &[u8], most: u64) -> Result<u64, Inflate> {
    let taken = Cell::new(0);
    let done = Cell::new(false);
    let reader = Counted {
        bytes: bytes.get(2..).unwrap_or_default(),
        taken: &taken,
        done: &done,
    };
    let mut given = 0;
    let size = reader.bytes.len();
    // Damaged or not, what was read was read.
    let _ = through_zip(reader, size, None, most, |file| {
        let mut bounded = file.take(most.saturating_add(1));
        let mut buffer = [0; 1 << 14];
        while let Ok(length @ 1..) = bounded.read(&mut buffer) {
            given += length as u64;
        }
        // What is left of the file is not looked at.
        done.set(true);
        Ok(())
    });
    match given.max(taken.get()) {
        work if work > most => Err(Inflate::TooLarge(most)),
        work => Ok(work),
    }
}

/// Counts the bytes that are taken, and ends when it is told.
struct Counted<'a> {
    bytes: &'a [u8],
    taken: &'a Cell<u64>,
    done: &'a Cell<bool>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.done.get() {
            return Ok(0);
        }
        let length = self.bytes.read(buffer)?;
        self.taken.set(self.taken.get() + length as u64);
        Ok(length)
    }
}

/// The content of a raw stream, at most `most` bytes.
fn inflate(data: &[u8], crc: Option<u32>, most: u64) -> Result<Vec<u8>, Inflate> {
    through_zip(data, data.len(), crc, most, |file| read_bounded(file, most))
}

/// Reads a raw stream of `size` bytes by way of a zip archive of one file, which is what the compression library at hand
/// reads.
fn through_zip<T>(
    data: impl Read,
    size: usize,
    crc: Option<u32>,
    most: u64,
    read: impl FnOnce(&mut dyn Read) -> Result<T, Inflate>,
) -> Result<T, Inflate> {
    let damaged = |error: zip::result::ZipError| Inflate::Damaged(error.to_string());
    let size = u32::try_from(size)
        .map_err(|_| Inflate::Damaged("it has more than four gigabytes".into()))?;
    let mut header = Vec::with_capacity(30);
    header.extend(b"PK\x03\x04");
    // Version 2.0, no flags, deflated, no time.
    header.extend([20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0]);
    header.extend(crc.unwrap_or_default().to_le_bytes());
    header.extend(size.to_le_bytes());
    header.extend(0u32.to_le_bytes());
    // A name of one letter, no extra field.
    header.extend([1, 0, 0, 0, b'x']);
    let options = zip::read::ZipReadOptions::new()
        .ignore_crc32(crc.is_none())
        .override_uncompressed_size(most.saturating_add(1));
    let mut stream = header.as_slice().chain(data);
    let file = zip::read::read_zipfile_from_stream_with_options(&mut stream, options);
    match file.map_err(damaged)? {
        Some(mut file) => read(&mut file),
        None => Err(Inflate::Damaged("it is empty".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    /// A deflated stream of these bytes, with its checksum.
    fn deflated(bytes: &[u8]) -> (Vec<u8>, u32) {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        writer.start_file("x", options).unwrap();
        writer.write_all(bytes).unwrap();
        let archive = writer.finish().unwrap().into_inner();
        let mut read = zip::ZipArchive::new(Cursor::new(&archive)).unwrap();
        let file = read.by_index(0).unwrap();
        let start = file.data_start().unwrap() as usize;
        let end = start + file.compressed_size() as usize;
        (archive[start..end].to_vec(), file.crc32())
    }

    fn gzip(bytes: &[u8], flags: u8, fields: &[u8]) -> Vec<u8> {
        let (data, crc) = deflated(bytes);
        let mut file = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        file.extend(fields);
        file.extend(data);
        file.extend(crc.to_le_bytes());
        file.extend((bytes.len() as u32).to_le_bytes());
        file
    }

    #[test]
    fn gzip_is_read_with_every_field_and_to_its_bound() {
        let text = b"a lamp of green slate, a lamp of green slate".repeat(50);
        let size = text.len() as u64;
        assert_eq!(gunzip(&gzip(&text, 0, b""), size).unwrap(), text);
        let named = gzip(&text, 8 | 16 | 4 | 2, b"\x02\0exname\0comment\0cc");
        assert_eq!(gunzip(&named, size).unwrap(), text);
        assert_eq!(gunzip(&named, size - 1), Err(Inflate::TooLarge(size - 1)));
        assert!(gunzip(&named[..20], size).is_err());
        let mut wrong = gzip(&text, 0, b"");
        let crc = wrong.len() - 6;
        wrong[crc] ^= 1;
        assert!(matches!(gunzip(&wrong, size), Err(Inflate::Damaged(_))));
    }

    #[test]
    fn a_zlib_stream_is_measured_without_its_checksum() {
        let zeros = vec![0; 1 << 20];
        let mut stream = vec![0x78, 0x9c];
        stream.extend(deflated(&zeros).0);
        stream.extend(b"and more");
        assert!(stream.len() < 5000);
        assert_eq!(zlib_work(&stream, 1 << 20), Ok(1 << 20));
        assert_eq!(zlib_work(&stream, 1000), Err(Inflate::TooLarge(1000)));
    }

    #[test]
    fn a_damaged_stream_costs_what_comes_before_the_damage() {
        let zeros = vec![0; 1 << 20];
        let mut stream = vec![0x78, 0x9c];
        stream.extend(deflated(&zeros).0);
        stream.truncate(stream.len() / 2);
        stream.extend([0xff; 64]);
        let work = zlib_work(&stream, 1 << 20).unwrap();
        assert!(work > 1 << 18, "{work}");
        assert_eq!(zlib_work(&stream, 1000), Err(Inflate::TooLarge(1000)));
        // Blocks without content take their own bytes: each is stored, not the last, of length 0.
        let mut empty = vec![0x78, 0x9c];
        empty.extend([0, 0, 0, 0xff, 0xff].repeat(20_000));
        let work = zlib_work(&empty, 1 << 20).unwrap();
        assert!((100_000..110_000).contains(&work), "{work}");
        assert_eq!(zlib_work(b"x", 1000), Ok(0));
        // What follows a stream is not paid for.
        let mut short = vec![0x78, 0x9c];
        short.extend(deflated(b"short").0);
        short.extend(vec![7; 1 << 20]);
        assert!(zlib_work(&short, 1 << 20).unwrap() < 1 << 16);
    }
}
