//! A test that this room's imports run one way: no file imports, directly or through others, a file that
//! imports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Module path → the modules of this room that its file imports, unit tests aside.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn imports_run_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cpu");
    let mut sources = BTreeMap::new();
    read(&root, "cpu", &mut sources);
    let mut left: Imports = sources
        .iter()
        .map(|(module, source)| (module.clone(), imports(module, source, &sources)))
        .collect();
    assert!(
        left["cpu::layer"].contains("cpu::lora"),
        "imports are found"
    );
    // Take away what imports nothing that is left; in a circle every file imports one.
    while let Some(lowest) = left
        .iter()
        .find(|(_, i)| i.is_empty())
        .map(|(m, _)| m.clone())
    {
        left.remove(&lowest);
        left.values_mut().for_each(|imports| {
            imports.remove(&lowest);
        });
    }
    assert!(left.is_empty(), "imports in a circle: {left:#?}");
}

/// Reads the files of a folder, by module path.
fn read(folder: &Path, module: &str, sources: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_string();
        let child = format!("{module}::{stem}");
        if path.is_dir() {
            read(&path, &child, sources);
        } else {
            let name = if stem == "mod" { module } else { &child };
            sources.insert(name.into(), std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn imports(module: &str, source: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let code = source.split("mod tests {").next().unwrap();
    let code = ["pub ", "pub(super) ", "pub(crate) "]
        .iter()
        .fold(code.to_string(), |code, visibility| {
            code.replace(&format!("\n{visibility}use "), "\nuse ")
        });
    let mut found = BTreeSet::new();
    for statement in code.split("\nuse ").skip(1) {
        let statement: String = statement
            .split(';')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        for path in expand(&statement) {
            let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
            let mut path = match path.strip_prefix("super::") {
                Some(rest) => format!("{parent}::{rest}"),
                None => match path.strip_prefix("crate::") {
                    Some(rest) => rest.into(),
                    None => format!("{module}::{path}"),
                },
            };
            // The longest beginning that is a module.
            while !modules.contains_key(&path) {
                let Some((shorter, _)) = path.rsplit_once("::") else {
                    break;
                };
                path = shorter.into();
            }
            if modules.contains_key(&path) && path != module {
                found.insert(path);
            }
        }
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(path: &str) -> Vec<String> {
    let Some((head, rest)) = path.split_once('{') else {
        return vec![path.into()];
    };
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in rest[..rest.rfind('}').unwrap()].chars() {
        match c {
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().unwrap().push(c);
            }
        }
    }
    let items = items.iter().flat_map(|item| expand(item));
    items.map(|item| format!("{head}{item}")).collect()
}
