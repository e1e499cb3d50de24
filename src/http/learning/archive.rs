//! The file format of downloads and uploads: an archive of an adapter's two PEFT files. Downloads are tar. Uploads are
//! tar as any program writes it (ustar, pax, GNU, the old format), gzipped or not, zip, or a form with the files.

use crate::http::common::error::Problem;
use crate::http::common::form::Field;
use crate::reading::inflate::{Inflate, gunzip, read_bounded};
use autodidact_engine::lora::peft::{CONFIG_FILE, PeftFiles, WEIGHTS_FILE};
use std::io::{self, Cursor};
use tar::EntryType;
use zip::ZipArchive;
use zip::result::ZipError;

pub const MEDIA_TYPE: &str = "application/x-tar";

/// The content types of an archive. Which kind it is its first bytes tell.
const MEDIA_TYPES: [&str; 11] = [
    MEDIA_TYPE,
    "application/tar",
    "application/x-gtar",
    "application/x-ustar",
    "application/gzip",
    "application/x-gzip",
    "application/x-tgz",
    "application/x-compressed-tar",
    "application/zip",
    "application/x-zip-compressed",
    "application/octet-stream",
];

/// What an upload may be, for the refusal of anything else.
pub const EXPECTED: &str =
    "application/x-tar, application/gzip, application/zip or multipart/form-data";

/// Most entries of a zip archive.
const MOST_ENTRIES: usize = 10_000;

pub fn is_archive(media_type: &str) -> bool {
    MEDIA_TYPES.contains(&media_type)
}

/// Packs the two files. The same adapter always gives the same bytes.
pub fn pack(files: &PeftFiles) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [
        (CONFIG_FILE, &files.config_json),
        (WEIGHTS_FILE, &files.safetensors),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    archive.into_inner()
}

/// Finds the two files in any folder of an archive and skips all others (a README, a tokenizer). Only plain files are
/// read, because a link leads out of the archive and a sparse file of a few bytes may claim any size. `most`: bytes of
/// what is unpacked.
pub fn unpack(bytes: &[u8], most: u64) -> Result<PeftFiles, Problem> {
    let mut found = Found::new(most);
    found.add_archive(bytes)?;
    found.files("archive")
}

/// The two files of a form: each in a field of its own, whatever the field's name, or both in an archive. `most`: bytes
/// of what all archives of the form are unpacked to.
pub fn of_form(form: &[Field], most: u64) -> Result<PeftFiles, Problem> {
    let mut found = Found::new(most);
    for field in form {
        let Some(name) = field.base_name() else {
            let detail = format!("The form has a text field '{}'; send files.", field.name);
            return Err(Problem::invalid(field.name.clone(), detail));
        };
        // A client may give a file another name and tell in the field's which one it is.
        let named = [name, field.name.as_str()];
        match named.into_iter().find(|name| is_wanted(name)) {
            Some(name) => found.put(name, field.bytes.to_vec())?,
            // A browser's blob has no name that tells.
            None if is_archive_name(name) || begins_as_archive(&field.bytes) => {
                found.add_archive(&field.bytes)?;
            }
            None => {}
        }
    }
    found.files("form")
}

fn is_wanted(name: &str) -> bool {
    [CONFIG_FILE, WEIGHTS_FILE].contains(&name)
}

fn is_archive_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".tar", ".tar.gz", ".tgz", ".zip"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn begins_as_archive(bytes: &[u8]) -> bool {
    let compressed = [b"PK\x03\x04".as_slice(), &[0x1f, 0x8b]];
    compressed.iter().any(|start| bytes.starts_with(start)) || bytes.get(257..262) == Some(b"ustar")
}

/// The files found so far.
struct Found {
    config: Option<Vec<u8>>,
    weights: Option<Vec<u8>>,
    /// Most bytes of what is unpacked.
    most: u64,
    /// Of these the bytes that are left, whatever file or archive of the upload needs them.
    left: u64,
}

impl Found {
    fn new(most: u64) -> Self {
        Found {
            config: None,
            weights: None,
            most,
            left: most,
        }
    }

    /// Unpacks as much as is left.
    fn unpacked(
        &mut self,
        what: &str,
        unpack: impl FnOnce(u64) -> Result<Vec<u8>, Inflate>,
    ) -> Result<Vec<u8>, Problem> {
        let content = unpack(self.left).map_err(|error| self.inflated(what, error))?;
        self.left -= content.len() as u64;
        Ok(content)
    }

    fn inflated(&self, what: &str, error: Inflate) -> Problem {
        match error {
            Inflate::TooLarge(_) => invalid(format!(
                "The {what} archive unpacks to more than {} bytes, the largest adapter that is taken.",
                self.most
            )),
            Inflate::Damaged(reason) => damaged(&format!("{what} archive"), &reason),
        }
    }

    fn put(&mut self, name: &str, content: Vec<u8>) -> Result<(), Problem> {
        let slot = match name {
            CONFIG_FILE => &mut self.config,
            _ => &mut self.weights,
        };
        match slot.replace(content) {
            None => Ok(()),
            Some(_) => Err(invalid("There is more than one adapter; send one.".into())),
        }
    }

    fn files(self, place: &str) -> Result<PeftFiles, Problem> {
        let missing = |name| invalid(format!("The {place} holds no {name}."));
        Ok(PeftFiles {
            config_json: self.config.ok_or_else(|| missing(CONFIG_FILE))?,
            safetensors: self.weights.ok_or_else(|| missing(WEIGHTS_FILE))?,
        })
    }

    fn add_archive(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        match bytes {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => self.add_zip(bytes),
            [0x1f, 0x8b, ..] => {
                let tar = self.unpacked("gzip", |left| gunzip(bytes, left))?;
                self.add_tar(&tar)
            }
            [b'B', b'Z', b'h', ..] => Err(other("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(other("xz")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(other("zstd")),
            [b'7', b'z', 0xbc, 0xaf, ..] => Err(other("7z")),
            _ => self.add_tar(bytes),
        }
    }

    fn add_tar(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let broken = |error: io::Error| damaged("tar archive", &error.to_string());
        let bytes = without_label(bytes);
        for entry in tar::Archive::new(bytes).entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let kind = entry.header().entry_type();
            if is_about_others(kind) {
                continue;
            }
            let path = entry.path().map_err(broken)?.into_owned();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| is_wanted(name)) else {
                continue;
            };
            if !is_plain(kind) || is_sparse(&mut entry).map_err(broken)? {
                return Err(not_plain(&path.display().to_string()));
            }
            let size = entry.size();
            let content = read_bounded(entry, bytes.len() as u64);
            let content = content.map_err(|error| self.inflated("tar", error))?;
            if content.len() as u64 != size {
                return Err(damaged("tar archive", &format!("it ends within {name}")));
            }
            self.put(name, content)?;
        }
        Ok(())
    }

    fn add_zip(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let broken = |error: ZipError| damaged("zip archive", &error.to_string());
        // Every entry stands in the directory at the archive's end, which is read as a whole.
        let entries = bytes.windows(4).filter(|four| *four == b"PK\x01\x02");
        if entries.take(MOST_ENTRIES + 1).count() > MOST_ENTRIES {
            return Err(invalid(format!(
                "The zip archive has more than {MOST_ENTRIES} entries; send the adapter's two files."
            )));
        }
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        for nth in 0..archive.len() {
            let entry = archive.by_index_raw(nth).map_err(broken)?;
            let path = String::from_utf8_lossy(entry.name_raw()).into_owned();
            let (is_directory, is_link) = (entry.is_dir(), entry.is_symlink());
            let encrypted = entry.encrypted();
            drop(entry);
            if is_directory {
                continue;
            }
            let Some(name) = path
                .rsplit(['/', '\\'])
                .next()
                .filter(|name| is_wanted(name))
            else {
                continue;
            };
            if is_link {
                return Err(not_plain(&path));
            }
            if encrypted {
                let detail = format!("{path} is encrypted; send it without a password.");
                return Err(invalid(detail));
            }
            let entry = archive.by_index(nth).map_err(broken)?;
            let content = self.unpacked("zip", |left| read_bounded(entry, left))?;
            self.put(name, content)?;
        }
        Ok(())
    }
}

/// A tar archive without the label of a volume, which GNU tar writes as an entry without a size.
fn without_label(bytes: &[u8]) -> &[u8] {
    const BLOCK: usize = 512;
    const KIND: usize = 156;
    match bytes.get(KIND) {
        Some(b'V') => bytes.get(BLOCK..).unwrap_or_default(),
        _ => bytes,
    }
}

/// Entries that are no files: folders, and the headers of pax, of which `git archive` writes one.
fn is_about_others(kind: EntryType) -> bool {
    kind.is_dir() || kind.is_pax_global_extensions() || kind.is_pax_local_extensions()
}

/// A plain file, also of the kind that POSIX calls contiguous.
fn is_plain(kind: EntryType) -> bool {
    kind.is_file() || kind.is_contiguous()
}

/// Whether pax headers say that the content is a map of a sparse file.
fn is_sparse<R: io::Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn not_plain(path: &str) -> Problem {
    invalid(format!(
        "{path} is not a plain file (a link or a sparse file, maybe); send plain files."
    ))
}

fn damaged(what: &str, reason: &str) -> Problem {
    let detail = format!("The body is not a {what} that can be read: {reason}.");
    Problem::bad_request("malformed_archive", detail)
}

fn other(compression: &str) -> Problem {
    let detail =
        format!("The body is compressed by {compression}; send tar, tar with gzip, or zip.");
    Problem::bad_request("malformed_archive", detail)
}

fn invalid(detail: String) -> Problem {
    let mut problem = Problem::invalid("body", detail);
    problem.code = "invalid_adapter";
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of half a kilobyte with one entry of this kind that claims a gigabyte.
    fn crafted(kind: EntryType) -> Vec<u8> {
        const CLAIMED: u64 = 1 << 30;
        let mut header = tar::Header::new_gnu();
        header.set_path(WEIGHTS_FILE).unwrap();
        header.set_entry_type(kind);
        header.set_size(512);
        header.set_mode(0o600);
        if kind.is_gnu_sparse() {
            let gnu = header.as_gnu_mut().unwrap();
            gnu.set_real_size(CLAIMED);
            gnu.sparse[0].set_offset(CLAIMED - 512);
            gnu.sparse[0].set_length(512);
        }
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append(&header, [7u8; 512].as_slice()).unwrap();
        archive.into_inner().unwrap()
    }

    fn refused(bytes: &[u8]) -> Problem {
        unpack(bytes, 1 << 20).err().unwrap()
    }

    #[test]
    fn only_plain_files_are_read() {
        for kind in [
            EntryType::GNUSparse,
            EntryType::Symlink,
            EntryType::Link,
            EntryType::Fifo,
        ] {
            let problem = refused(&crafted(kind));
            assert_eq!(problem.code, "invalid_adapter", "{kind:?}");
            assert!(problem.detail.contains("plain file"), "{}", problem.detail);
        }
        // The same entry as a plain file is read, so the error is about the missing other file.
        for kind in [EntryType::Regular, EntryType::Continuous] {
            let problem = refused(&crafted(kind));
            assert!(problem.detail.contains(CONFIG_FILE), "{}", problem.detail);
        }
    }

    #[test]
    fn the_archives_of_a_form_share_the_bound() {
        let zip = {
            let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(WEIGHTS_FILE, options).unwrap();
            io::Write::write_all(&mut writer, &[7; 600]).unwrap();
            writer.finish().unwrap().into_inner()
        };
        let mut found = Found::new(1000);
        found.add_archive(&zip).unwrap();
        found.weights = None;
        let problem = found.add_archive(&zip).unwrap_err();
        assert!(problem.detail.contains("1000 bytes"), "{}", problem.detail);
    }

    #[test]
    fn an_archive_that_ends_early_or_is_of_another_kind_is_named() {
        let whole = crafted(EntryType::Regular);
        let problem = refused(&whole[..700]);
        assert_eq!(problem.code, "malformed_archive");
        assert!(problem.detail.contains("ends within"), "{}", problem.detail);
        for (bytes, name) in [
            (b"BZh91AY".as_slice(), "bzip2"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x28\xb5\x2f\xfd ", "zstd"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
        ] {
            let problem = refused(bytes);
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
    }
}
