//! The plain contents of a GGUF file: its metadata, entry by entry as bytes, and where its tensors lie. What is
//! copied from one file into another needs no more.

use super::gguf_write::ALIGNMENT;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub struct GgufFile {
    path: PathBuf,
    /// Each entry's key, and the bytes of key, type and value.
    pub metadata: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<StoredTensor>,
    /// What tensors are aligned to.
    pub alignment: u64,
    /// Where the tensors begin.
    start: u64,
}

/// One tensor of the file.
pub struct StoredTensor {
    pub name: String,
    /// The fastest dimension first.
    pub dimensions: Vec<u64>,
    /// The number of its type.
    pub code: u32,
    /// Counted from the first tensor.
    offset: u64,
    /// Bytes up to the next tensor.
    pub bytes: u64,
}

impl GgufFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is no GGUF file of version 2 or 3.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut reader = Reader {
            file: BufReader::new(file),
            at: 0,
            size,
            kept: Vec::new(),
        };
        let parsed = parse(path, &mut reader);
        parsed.map_err(|e| Error::model(path, format!("not a readable GGUF file: {e}")))
    }

    /// Copies the bytes of a tensor.
    pub fn copy(&self, index: usize, out: &mut dyn Write) -> io::Result<()> {
        let tensor = &self.tensors[index];
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start + tensor.offset))?;
        let copied = io::copy(&mut file.take(tensor.bytes), out)?;
        match copied == tensor.bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn parse(path: &Path, reader: &mut Reader) -> io::Result<GgufFile> {
    if reader.bytes(4)? != b"GGUF" {
        return Err(wrong("it does not begin with GGUF"));
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(wrong("its version is not 2 or 3"));
    }
    let (tensors, entries) = (reader.u64()?, reader.u64()?);
    let mut metadata = Vec::new();
    let mut alignment = ALIGNMENT;
    for _ in 0..entries {
        reader.kept.clear();
        let key = reader.string()?;
        let kind = reader.u32()?;
        let value_at = reader.kept.len();
        reader.skip_value(kind)?;
        let entry = reader.kept.clone();
        if key == "general.alignment"
            && let Some(value) = entry[value_at..].first_chunk::<4>()
        {
            alignment = u64::from(u32::from_le_bytes(*value)).max(1);
        }
        metadata.push((key, entry));
    }
    let mut described = Vec::new();
    for _ in 0..tensors {
        reader.kept.clear();
        let name = reader.string()?;
        let count = reader.u32()?;
        let dimensions = (0..count)
            .map(|_| reader.u64())
            .collect::<io::Result<_>>()?;
        let (code, offset) = (reader.u32()?, reader.u64()?);
        described.push(StoredTensor {
            name,
            dimensions,
            code,
            offset,
            bytes: 0,
        });
    }
    let start = reader.at.next_multiple_of(alignment);
    let end = reader
        .size
        .checked_sub(start)
        .ok_or_else(|| wrong("it is cut off"))?;
    let mut offsets: Vec<u64> = described.iter().map(|t| t.offset).collect();
    offsets.push(end);
    offsets.sort_unstable();
    for tensor in &mut described {
        let next = offsets.partition_point(|o| *o <= tensor.offset);
        let next = offsets.get(next).ok_or_else(|| wrong("it is cut off"))?;
        tensor.bytes = next - tensor.offset;
    }
    Ok(GgufFile {
        path: path.into(),
        metadata,
        tensors: described,
        alignment,
        start,
    })
}

fn wrong(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

struct Reader {
    file: BufReader<File>,
    at: u64,
    size: u64,
    /// What was read since it was cleared.
    kept: Vec<u8>,
}

impl Reader {
    fn bytes(&mut self, n: u64) -> io::Result<&[u8]> {
        // A wrong length must not reserve what the file does not have.
        if self.size.checked_sub(self.at).is_none_or(|left| n > left) {
            return Err(wrong("it is cut off"));
        }
        let from = self.kept.len();
        self.kept.resize(from + n as usize, 0);
        self.file.read_exact(&mut self.kept[from..])?;
        self.at += n;
        Ok(&self.kept[from..])
    }

    fn u32(&mut self) -> io::Result<u32> {
        let bytes = self.bytes(4)?.first_chunk().copied();
        Ok(u32::from_le_bytes(bytes.expect("four bytes were read")))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let bytes = self.bytes(8)?.first_chunk().copied();
        Ok(u64::from_le_bytes(bytes.expect("eight bytes were read")))
    }

    fn string(&mut self) -> io::Result<String> {
        let len = self.u64()?;
        let bytes = self.bytes(len)?.to_vec();
        String::from_utf8(bytes).map_err(|_| wrong("a name is not UTF-8"))
    }

    fn skip_value(&mut self, kind: u32) -> io::Result<()> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => self.u64()?,
            9 => {
                let (of, count) = (self.u32()?, self.u64()?);
                for _ in 0..count {
                    self.skip_value(of)?;
                }
                return Ok(());
            }
            _ => return Err(wrong("a value is of an unknown type")),
        };
        self.bytes(size).map(drop)
    }
}
