//! The staging area: a hidden directory per model beside the models. Files stay there until they are verified. One
//! process at a time holds it, and every byte is hashed on its way to the disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::catalogue::{Format, Model};
use super::error::DeliveryError;
use super::progress::Progress;

/// The files of one model during the download. Dropping this releases the lock.
pub(super) struct Staging<'a> {
    model: &'a Model,
    dir: PathBuf,
    /// Digest of each finished file.
    digests: BTreeMap<String, String>,
    pub(super) progress: Progress,
    _lock: File,
}

/// One partly written file with its digest so far.
pub(super) struct Sink {
    name: String,
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
}

impl<'a> Staging<'a> {
    /// Waits until no other process fetches this model, then opens the staging directory.
    pub(super) fn lock(model: &'a Model, models_dir: &Path) -> Result<Self, DeliveryError> {
        let hidden = models_dir.join(".fetching");
        let dir = hidden.join(&model.name);
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let lock_path = hidden.join(format!("{}.lock", model.name));
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("another process is fetching {}; waiting for it", model.name);
                lock.lock().map_err(at(&lock_path))?;
            }
            Err(TryLockError::Error(error)) => return Err(DeliveryError::Disk(lock_path, error)),
        }
        // The other process may have removed the directory when it finished.
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        Ok(Self {
            model,
            progress: Progress::new(&model.name, model.size),
            dir,
            digests: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// A new, empty file.
    pub(super) fn create(&self, name: &str) -> Result<Sink, DeliveryError> {
        let path = self.dir.join(name);
        let file = File::create(&path).map_err(at(&path))?;
        Ok(Sink {
            name: name.to_owned(),
            path,
            file,
            hash: Sha256::new(),
            written: 0,
        })
    }

    /// The file of an interrupted run, hashed up to its end; an empty file if there is none.
    pub(super) fn reopen(&mut self, name: &str) -> Result<Sink, DeliveryError> {
        let path = self.dir.join(name);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(at(&path))?;
        let mut hash = Sha256::new();
        let written = hash_all(&mut file, &mut hash).map_err(at(&path))?;
        self.progress.resume(written);
        Ok(Sink {
            name: name.to_owned(),
            path,
            file,
            hash,
            written,
        })
    }

    /// Copies all bytes of `from` into `sink`.
    pub(super) fn pour(
        &mut self,
        from: &mut dyn Read,
        sink: &mut Sink,
    ) -> Result<(), DeliveryError> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(DeliveryError::Source(format!(
                        "it stopped after {} bytes of {}: {error}",
                        sink.written, sink.name
                    )));
                }
            };
            sink.file
                .write_all(&buffer[..read])
                .map_err(at(&sink.path))?;
            sink.hash.update(&buffer[..read]);
            sink.written += read as u64;
            self.progress.add(read as u64);
            if self.model.sha256.is_some() && sink.written > self.model.size {
                return Err(DeliveryError::Source(format!(
                    "{} is longer than the {} bytes of the catalogue",
                    sink.name, self.model.size
                )));
            }
        }
    }

    /// Makes a finished file durable and checks it against the pinned size and digest.
    pub(super) fn close(&mut self, sink: Sink) -> Result<(), DeliveryError> {
        sink.file.sync_all().map_err(at(&sink.path))?;
        let digest = hex(&sink.hash.finalize());
        if let Some(pinned) = &self.model.sha256 {
            if sink.written < self.model.size {
                return Err(DeliveryError::Source(format!(
                    "it stopped after {} of {} bytes",
                    sink.written, self.model.size
                )));
            }
            if digest != *pinned {
                self.clear();
                return Err(DeliveryError::Source(format!(
                    "{} has the wrong digest and was thrown away: sha256 {digest}, the catalogue pins {pinned}",
                    sink.name
                )));
            }
        }
        self.digests.insert(sink.name, digest);
        Ok(())
    }

    /// Deletes the leftovers of a failed source, so that the next source starts from nothing.
    pub(super) fn clear(&mut self) {
        // The next attempt overwrites a leftover that cannot be removed now, or reports it.
        let _ = fs::remove_dir_all(&self.dir).and_then(|()| fs::create_dir_all(&self.dir));
        self.digests.clear();
        self.progress.finish();
        self.progress = Progress::new(&self.model.name, self.model.size);
    }

    /// A directory for a source's temporary files.
    pub(super) fn scratch(&self) -> Result<PathBuf, DeliveryError> {
        let dir = self.dir.join("scratch");
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(at(&dir))?;
        }
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        Ok(dir)
    }

    /// Moves the verified files to their final name `to`. Returns the digests by file name.
    pub(super) fn commit(self, to: &Path) -> Result<BTreeMap<String, String>, DeliveryError> {
        self.progress.finish();
        match self.model.format {
            Format::Gguf => {
                let staged = self.dir.join(&self.model.file);
                fs::rename(&staged, to).map_err(at(to))?;
                fs::remove_dir_all(&self.dir).map_err(at(&self.dir))?;
            }
            Format::Safetensors => {
                if to.exists() {
                    fs::remove_dir_all(to).map_err(at(to))?;
                }
                fs::rename(&self.dir, to).map_err(at(to))?;
            }
        }
        if let Some(parent) = to.parent() {
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(at(parent))?;
        }
        Ok(self.digests)
    }
}

impl Sink {
    /// Bytes written so far, including an earlier run.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Truncates the file and restarts its digest.
    pub(super) fn restart(&mut self) -> Result<(), DeliveryError> {
        self.file.set_len(0).map_err(at(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(at(&self.path))?;
        self.hash = Sha256::new();
        self.written = 0;
        Ok(())
    }
}

/// Wraps an I/O error with its path.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> DeliveryError {
    let path = path.to_owned();
    move |error| DeliveryError::Disk(path, error)
}

/// Feeds all bytes of `from` into `hash` and returns their number.
pub(super) fn hash_all(from: &mut dyn Read, hash: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                hash.update(&buffer[..read]);
                total += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
