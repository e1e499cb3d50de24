//! The file format of downloads and uploads: a tar archive of an adapter's two PEFT files.

use crate::http::common::error::Problem;
use autodidact_engine::lora::peft::{CONFIG_FILE, PeftFiles, WEIGHTS_FILE};
use std::io::{self, Read};

pub const MEDIA_TYPE: &str = "application/x-tar";

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

/// Finds the two files in any folder of the archive and skips all others (a README, a tokenizer). Only plain files are
/// read, because a link leads out of the archive and a sparse file of a few bytes may claim any size.
pub fn unpack(bytes: &[u8]) -> Result<PeftFiles, Problem> {
    let damaged = |error: io::Error| {
        let detail = format!("The body is not a tar archive that can be read: {error}.");
        Problem::bad_request("malformed_archive", detail)
    };
    let (mut config, mut weights) = (None, None);
    for entry in tar::Archive::new(bytes).entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let path = entry.path().map_err(damaged)?;
        if !kind.is_file() {
            let detail = format!(
                "{} is not a plain file (a link or a sparse file, maybe); send plain files.",
                path.display()
            );
            return Err(invalid(detail));
        }
        let slot = match path.file_name().and_then(|name| name.to_str()) {
            Some(CONFIG_FILE) => &mut config,
            Some(WEIGHTS_FILE) => &mut weights,
            _ => continue,
        };
        let mut content = Vec::new();
        let mut bounded = entry.take(bytes.len() as u64);
        bounded.read_to_end(&mut content).map_err(damaged)?;
        if slot.replace(content).is_some() {
            let detail = "The archive holds more than one adapter; send one.";
            return Err(invalid(detail.to_owned()));
        }
    }
    let missing = |name| invalid(format!("The archive holds no {name}."));
    Ok(PeftFiles {
        config_json: config.ok_or_else(|| missing(CONFIG_FILE))?,
        safetensors: weights.ok_or_else(|| missing(WEIGHTS_FILE))?,
    })
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
    fn crafted(kind: tar::EntryType) -> Vec<u8> {
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

    #[test]
    fn only_plain_files_are_read() {
        for kind in [
            tar::EntryType::GNUSparse,
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Fifo,
        ] {
            let problem = unpack(&crafted(kind)).err().unwrap();
            assert_eq!(problem.code, "invalid_adapter", "{kind:?}");
            assert!(problem.detail.contains("plain file"), "{}", problem.detail);
        }
        // The same entry as a plain file is read, so the error is about the missing other file.
        let problem = unpack(&crafted(tar::EntryType::Regular)).err().unwrap();
        assert!(problem.detail.contains(CONFIG_FILE), "{}", problem.detail);
    }
}
