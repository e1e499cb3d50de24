//! A table's directory. `settings.json` holds the settings of its measurements, `steps.jsonl` every finished step, one
//! per line.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

const STEPS: &str = "steps.jsonl";
const SETTINGS: &str = "settings.json";

/// The finished steps of a table. The default has no directory and keeps the steps in memory.
#[derive(Default)]
pub struct TableDirectory {
    steps: HashMap<String, Value>,
    /// The file of steps, locked while open, so that two commands never append to it at once.
    file: Option<File>,
}

impl TableDirectory {
    /// Opens the directory for this process alone and reads its steps. Fails if another process has the directory open,
    /// or if its steps were measured under other settings.
    pub fn open(directory: &Path, setting: &Value) -> Result<Self, String> {
        let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
        fs::create_dir_all(directory).map_err(|e| failed(directory, e))?;
        let path = directory.join(STEPS);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.map_err(|e| failed(&path, e))?;
        file.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => format!(
                "{}: another command measures into it; wait for it, or give another --out",
                directory.display()
            ),
            fs::TryLockError::Error(e) => failed(&path, e),
        })?;
        let text = fs::read(&path).map_err(|e| failed(&path, e))?;
        agree(directory, setting, text.is_empty())?;
        // A line that a kill cut off is no step. A line break after it keeps the next step on a line of its own.
        let lines = text.split(|byte| *byte == b'\n');
        let steps = lines.filter_map(|line| serde_json::from_slice::<(String, Value)>(line).ok());
        let steps = steps.collect();
        if !text.is_empty() && !text.ends_with(b"\n") {
            file.write_all(b"\n").map_err(|e| failed(&path, e))?;
        }
        Ok(TableDirectory {
            steps,
            file: Some(file),
        })
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.steps.get(key)
    }

    /// Adds a step, which is durable on return.
    pub fn add(&mut self, key: &str, value: &Value) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let line = format!("{}\n", json!([key, value]));
            file.write_all(line.as_bytes())?;
            file.sync_data()?;
        }
        self.steps.insert(key.to_owned(), value.clone());
        Ok(())
    }
}

/// Writes the settings if the directory has no measurements yet; else fails if they differ from the stored ones.
fn agree(directory: &Path, setting: &Value, empty: bool) -> Result<(), String> {
    let path = directory.join(SETTINGS);
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let wanted = serde_json::to_string_pretty(setting).map_err(|e| failed(&e))?;
    if empty {
        let whole = path.with_extension("part");
        let written = fs::write(&whole, wanted).and_then(|()| fs::rename(&whole, &path));
        return written.map_err(|e| failed(&e));
    }
    let found = fs::read(&path).map_err(|e| failed(&e))?;
    let found: Value = serde_json::from_slice(&found).map_err(|e| failed(&e))?;
    // The settings are written and read back before the comparison, because a float may change on the way.
    let wanted = serde_json::from_str(&wanted).map_err(|e| failed(&e))?;
    match differences("", &found, &wanted) {
        none if none.is_empty() => Ok(()),
        some => Err(format!(
            "{} holds measurements under other settings ({}); give another --out",
            directory.display(),
            some.join("; ")
        )),
    }
}

/// The differences between the stored and the wanted settings, field by field.
fn differences(name: &str, found: &Value, wanted: &Value) -> Vec<String> {
    let parts: Vec<(String, &Value, &Value)> = match (found, wanted) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|field| !old.contains_key(*field));
            let dot = if name.is_empty() { "" } else { "." };
            let part = |field: &String| {
                let (old, new) = (&found[field], &wanted[field]);
                (format!("{name}{dot}{field}"), old, new)
            };
            old.keys().chain(added).map(part).collect()
        }
        (Value::Array(old), Value::Array(new)) => {
            let none = &Value::Null;
            let part = |i: usize| {
                let (old, new) = (old.get(i).unwrap_or(none), new.get(i).unwrap_or(none));
                (format!("{name}[{i}]"), old, new)
            };
            (0..old.len().max(new.len())).map(part).collect()
        }
        _ if found == wanted => return Vec::new(),
        _ => return vec![format!("{name}: {found} there, {wanted} here")],
    };
    parts
        .iter()
        .flat_map(|(name, found, wanted)| differences(name, found, wanted))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_however_deep() {
        let old = json!({"a": 1, "practice": [{"outer": {"rounds": 1, "keep": "best"}}]});
        let new = json!({"practice": [{"outer": {"keep": "best", "rounds": 2}}, 3], "a": 1});
        assert_eq!(
            differences("", &old, &new),
            [
                "practice[0].outer.rounds: 1 there, 2 here",
                "practice[1]: null there, 3 here"
            ]
        );
        assert!(differences("", &old, &old).is_empty());
    }

    #[test]
    fn a_broken_line_loses_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let setting = json!({"seeds": 0.3f32});
        let open = || TableDirectory::open(dir.path(), &setting).unwrap();
        open().add("one", &json!("é")).unwrap();
        let path = dir.path().join(STEPS);
        let mut bytes = fs::read(&path).unwrap();
        // The cut is in the middle of a character.
        bytes.extend(b"[\"two\",\"\xc3");
        fs::write(&path, bytes).unwrap();
        open().add("three", &json!(3)).unwrap();
        let kept = open();
        assert_eq!(kept.get("one"), Some(&json!("é")));
        assert_eq!(
            (kept.get("two"), kept.get("three")),
            (None, Some(&json!(3)))
        );
    }

    #[test]
    fn what_cannot_be_told_from_other_settings_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |setting: Value| TableDirectory::open(dir.path(), &setting).err().unwrap();
        // Nothing is measured yet, so nothing is lost.
        drop(TableDirectory::open(dir.path(), &json!({"a": 0})).unwrap());
        let mut kept = TableDirectory::open(dir.path(), &json!({"a": 1})).unwrap();
        kept.add("one", &json!(1)).unwrap();
        assert!(refused(json!({"a": 1})).contains("another command measures into it"));
        drop(kept);
        assert!(refused(json!({"a": 2})).contains("(a: 1 there, 2 here)"));
        let settings = dir.path().join(SETTINGS);
        fs::write(&settings, "{\"a\"").unwrap();
        assert!(refused(json!({"a": 1})).contains("settings.json: EOF"));
        fs::remove_file(&settings).unwrap();
        assert!(refused(json!({"a": 1})).contains("settings.json: No such file"));
    }
}
