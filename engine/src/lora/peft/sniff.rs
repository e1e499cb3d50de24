//! Files that are sent in place of tensors by accident, told for what they are.

use super::WEIGHTS_FILE;
use crate::error::{Error, Result};

/// Refuses a file that is recognisably something else than safetensors.
///
/// # Errors
/// [`Error::Adapter`] says what the file is, and what to send.
pub fn check(bytes: &[u8]) -> Result<()> {
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let begins = |with: &str| {
        let start = text.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    let what = if begins("version https://git-lfs.github.com/spec/")
        || begins("version https://hawser.github.com/spec/")
    {
        "is a Git LFS pointer, not the weights: fetch the file itself (git lfs pull), and send that"
    } else if begins("<!doctype") || begins("<html") || begins("<?xml") {
        "is a web page, not the weights: download the file itself (of a Hugging Face page the address with /resolve/)"
    } else if begins("/annex/objects/") || begins("../") || begins(".git/annex/") {
        "is the target of a link, not the weights: send the file that the link leads to"
    } else if bytes.starts_with(b"PK\x03\x04") || is_pickle(bytes) {
        "is a pickled PyTorch file (.bin, .pt), which can run code when read: save it as safetensors"
    } else if bytes.starts_with(b"GGUF") {
        "is a GGUF file: send the adapter as PEFT saves it"
    } else if bytes.is_empty() {
        "is empty"
    } else {
        return Ok(());
    };
    Err(Error::Adapter(format!("{WEIGHTS_FILE} {what}")))
}

/// The opcode of a pickle's protocol, 2 to 5.
fn is_pickle(bytes: &[u8]) -> bool {
    // A safetensors header of 640 to 1,408 bytes begins alike; its length goes on with zeros.
    matches!(bytes, [0x80, 2..=5, rest @ ..] if !rest.starts_with(&[0; 6]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_by_accident_is_told() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
        let windows = format!("\u{feff}{}", pointer.replace('\n', "\r\n"));
        for (bytes, said) in [
            (pointer.as_bytes(), "Git LFS pointer"),
            (windows.as_bytes(), "Git LFS pointer"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\n<html lang=\"en\">", "web page"),
            (b"PK\x03\x04archive/data.pkl", "pickled"),
            (b"\x80\x02}q\x00X\x04\x00\x00\x00", "pickled"),
            (b"GGUF\x03\x00\x00\x00", "GGUF"),
            (b"", "empty"),
        ] {
            let error = check(bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let header = [&[0x80, 3, 0, 0, 0, 0, 0, 0][..], b"{}"].concat();
        check(&header).unwrap();
    }
}
