//! A model from another place on this machine. It is copied, so that it stays verified whatever happens to the
//! original.

use std::{fs::File, path::Path};

use super::catalogue::{Format, Model};
use super::error::DeliveryError;
use super::staging::Staging;

pub(super) fn deliver(
    model: &Model,
    from: &Path,
    staging: &mut Staging,
) -> Result<(), DeliveryError> {
    match model.format {
        Format::Gguf => copy(from, &model.file, staging),
        Format::Safetensors => {
            let entries = std::fs::read_dir(from).map_err(|error| unreadable(from, &error))?;
            for entry in entries {
                let path = entry.map_err(|error| unreadable(from, &error))?.path();
                if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                    copy(&path, &name.to_string_lossy(), staging)?;
                }
            }
            Ok(())
        }
    }
}

fn copy(from: &Path, name: &str, staging: &mut Staging) -> Result<(), DeliveryError> {
    let mut file = File::open(from).map_err(|error| unreadable(from, &error))?;
    let mut sink = staging.create(name)?;
    staging.pour(&mut file, &mut sink)?;
    staging.close(sink)
}

fn unreadable(path: &Path, error: &std::io::Error) -> DeliveryError {
    DeliveryError::Source(format!("cannot read {}: {error}", path.display()))
}
