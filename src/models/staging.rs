//! Where files wait until they are proven: a hidden directory beside the models, one per model, held by
//! one process at a time. Every byte is hashed on its way to the disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::catalogue::{Format, Model};
use super::error::Trouble;
use super::progress::Progress;

/// The files of one model on their way in. Dropping it gives the lock back.
pub(super) struct Staging<'a> {
    model: &'a Model,
    dir: PathBuf,
    /// Digest of each finished file.
    digests: BTreeMap<String, String>,
    pub(super) progress: Progress,
    _lock: File,
}

/// What has been written of one file, and its digest so far.
pub(super) struct Sink {
    name: String,
    path: PathBuf,
    file: File,
    hash: Sha256,
    written: u64,
}

impl<'a> Staging<'a> {
    /// Waits until no other process fetches this model, and opens its staging directory.
    pub(super) fn lock(model: &'a Model, models_dir: &Path) -> Result<Self, Trouble> {
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
            Err(TryLockError::Error(error)) => return Err(Trouble::Disk(lock_path, error)),
        }
        // The process that was waited for may have taken the directory away when it finished.
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
    pub(super) fn create(&self, name: &str) -> Result<Sink, Trouble> {
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

    /// The file as an interrupted run left it, hashed up to its end; empty if there is none.
    pub(super) fn reopen(&mut self, name: &str) -> Result<Sink, Trouble> {
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

    /// Copies all that `from` gives into `sink`.
    pub(super) fn pour(&mut self, from: &mut dyn Read, sink: &mut Sink) -> Result<(), Trouble> {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Trouble::Source(format!(
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
                return Err(Trouble::Source(format!(
                    "{} is longer than the {} bytes of the catalogue",
                    sink.name, self.model.size
                )));
            }
        }
    }

    /// Makes a finished file durable and checks it against the pinned size and digest.
    pub(super) fn close(&mut self, sink: Sink) -> Result<(), Trouble> {
        sink.file.sync_all().map_err(at(&sink.path))?;
        let digest = hex(&sink.hash.finalize());
        if let Some(pinned) = &self.model.sha256 {
            if sink.written < self.model.size {
                return Err(Trouble::Source(format!(
                    "it stopped after {} of {} bytes",
                    sink.written, self.model.size
                )));
            }
            if digest != *pinned {
                self.clear();
                return Err(Trouble::Source(format!(
                    "{} has the wrong digest and was thrown away: sha256 {digest}, the catalogue pins {pinned}",
                    sink.name
                )));
            }
        }
        self.digests.insert(sink.name, digest);
        Ok(())
    }

    /// Throws away what a failed source left; the next one starts from nothing.
    pub(super) fn clear(&mut self) {
        // What cannot be removed now is overwritten by the next attempt, or reported by it.
        let _ = fs::remove_dir_all(&self.dir).and_then(|()| fs::create_dir_all(&self.dir));
        self.digests.clear();
        self.progress.finish();
        self.progress = Progress::new(&self.model.name, self.model.size);
    }

    /// A place for a source's own temporary files.
    pub(super) fn scratch(&self) -> Result<PathBuf, Trouble> {
        let dir = self.dir.join("scratch");
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(at(&dir))?;
        }
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        Ok(dir)
    }

    /// Moves the proven files to `to`, their final name. Returns the digests by file name.
    pub(super) fn commit(self, to: &Path) -> Result<BTreeMap<String, String>, Trouble> {
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
    /// Bytes written so far, counting those of an earlier run.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Starts this file again from nothing.
    pub(super) fn restart(&mut self) -> Result<(), Trouble> {
        self.file.set_len(0).map_err(at(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(at(&self.path))?;
        self.hash = Sha256::new();
        self.written = 0;
        Ok(())
    }
}

/// Wraps an I/O error with the path it happened at.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Trouble {
    let path = path.to_owned();
    move |error| Trouble::Disk(path, error)
}

/// Feeds all that `from` gives into `hash`; returns how many bytes that was.
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
