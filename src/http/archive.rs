//! An adapter on the wire: a tar archive of its two PEFT files.

use super::error::Problem;
use autodidact_engine::lora::peft::{CONFIG_FILE, PeftFiles, WEIGHTS_FILE};
use std::io::{self, Read};

pub const MEDIA_TYPE: &str = "application/x-tar";

/// The same adapter gives the same archive.
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

/// Finds the two files in any folder of the archive; others (a README, a tokenizer) are passed over.
pub fn unpack(bytes: &[u8]) -> Result<PeftFiles, Problem> {
    let damaged = |error: io::Error| {
        let detail = format!("The body is not a tar archive that can be read: {error}.");
        Problem::bad_request("malformed_archive", detail)
    };
    let (mut config, mut weights) = (None, None);
    for entry in tar::Archive::new(bytes).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?;
        let slot = match path.file_name().and_then(|name| name.to_str()) {
            Some(CONFIG_FILE) => &mut config,
            Some(WEIGHTS_FILE) => &mut weights,
            _ => continue,
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(damaged)?;
        if slot.replace(bytes).is_some() {
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
