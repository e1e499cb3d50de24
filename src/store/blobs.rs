//! Content-addressed files: a file's name is the SHA-256 of its bytes.
//!
//! A blob is written under a temporary name, synced, renamed, and its directory is synced. So a final name exists only
//! with all its bytes. The bytes are written before the row that names them. The writer of both holds a [`BlobGuard`],
//! so that [`Blobs::sweep`] does not delete the bytes in between.

use super::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

pub struct Blobs {
    /// `DATA/blobs/sha256`, with a folder for each first byte.
    root: PathBuf,
    /// Directory of unfinished files. After the process has ended, all files in it are leftovers.
    temporary: PathBuf,
    sweeping: RwLock<()>,
}

/// Writes blobs. No sweep runs while a guard exists.
pub struct BlobGuard<'a> {
    blobs: &'a Blobs,
    _sweeping: RwLockReadGuard<'a, ()>,
}

/// SHA-256 of `bytes`, as `sha256:` and 64 lower-case hex digits.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hash {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Blobs {
    pub(super) fn open(directory: &Path) -> Result<Blobs> {
        let blobs = Blobs {
            root: directory.join("sha256"),
            temporary: directory.join("tmp"),
            sweeping: RwLock::new(()),
        };
        for path in [&blobs.root, &blobs.temporary] {
            fs::create_dir_all(path).map_err(|source| Error::OpenDirectory {
                path: path.clone(),
                source,
            })?;
        }
        Ok(blobs)
    }

    /// A guard, to be held from the first `put` until the row that names the bytes is committed.
    pub fn guard(&self) -> BlobGuard<'_> {
        BlobGuard {
            blobs: self,
            _sweeping: self.sweeping.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The bytes of a blob. Fails if they do not match their name.
    pub fn get(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = fs::read(self.path(digest)?).map_err(|source| Error::ReadBlob {
            digest: digest.into(),
            source,
        })?;
        let found = self::digest(&bytes);
        if found != digest {
            return Err(Error::DamagedBlob {
                digest: digest.into(),
                found,
            });
        }
        Ok(bytes)
    }

    pub fn exists(&self, digest: &str) -> bool {
        self.path(digest).is_ok_and(|path| path.is_file())
    }

    /// Deletes temporary leftovers and every blob that is not `used`. Returns the number of deleted files.
    pub(super) fn sweep(&self, used: impl Fn(&str) -> Result<bool>) -> Result<usize> {
        let _alone = self
            .sweeping
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::SweepBlobs { path, source }
        };
        let mut deleted = 0;
        for path in files(&self.temporary).map_err(failed(&self.temporary))? {
            fs::remove_file(&path).map_err(failed(&path))?;
            deleted += 1;
        }
        for folder in files(&self.root).map_err(failed(&self.root))? {
            for path in files(&folder).map_err(failed(&folder))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if !used(&format!("sha256:{name}"))? {
                    fs::remove_file(&path).map_err(failed(&path))?;
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    fn path(&self, digest: &str) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 64 || !hex.bytes().all(is_hex) {
            return Err(Error::BadDigest {
                digest: digest.into(),
            });
        }
        Ok(self.root.join(&hex[..2]).join(hex))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().expect("a blob lies in its folder");
        if !path.is_file() {
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                File::open(&self.root)?.sync_all()?;
            }
            let temporary = self.temporary.join(super::new_id("blob"));
            let mut file = File::create_new(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
        }
        // Sync even if the file existed: another thread may have renamed it and not synced yet.
        File::open(folder)?.sync_all()
    }
}

impl BlobGuard<'_> {
    /// Stores the bytes and returns their digest. Bytes that are stored already are not written again.
    pub fn put(&self, bytes: &[u8]) -> Result<String> {
        let digest = digest(bytes);
        let path = self.blobs.path(&digest)?;
        self.blobs
            .write(&path, bytes)
            .map_err(|source| Error::WriteBlob {
                digest: digest.clone(),
                source,
            })?;
        Ok(digest)
    }
}

fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}
