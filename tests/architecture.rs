//! The rooms of `src/` use each other only as the arrows of ARCHITECTURE.md allow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Room → the rooms that it may use. A room is a path below `src/`, such as `learn/inner`.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let arrows = table();
    let mut wrong = Vec::new();
    for file in sources(&Path::new(ROOT).join("src")) {
        let path = file.strip_prefix(Path::new(ROOT).join("src")).unwrap();
        let module = module_of(path);
        let text = std::fs::read_to_string(&file).unwrap();
        for (used, room) in forbidden(&arrows, &module, &text) {
            wrong.push(format!("src/{}: {used} ({room})", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "These imports are no arrow of the table in ARCHITECTURE.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_table_names_the_rooms_there_are_and_no_circle() {
    let arrows = table();
    for (room, uses) in &arrows {
        let folder = Path::new(ROOT).join("src").join(room);
        let is_there = folder.is_dir() || folder.with_extension("rs").is_file();
        assert!(is_there, "there is no src/{room}");
        for used in uses {
            assert!(
                arrows.contains_key(used),
                "{room} may use {used}, which has no row"
            );
        }
    }
    let mut below: Vec<&String> = Vec::new();
    while below.len() < arrows.len() {
        let is_next = |room: &&String| {
            !below.contains(room) && arrows[*room].iter().all(|used| below.contains(&used))
        };
        let next = arrows.keys().find(is_next);
        below.push(next.expect("the arrows run in a circle"));
    }
}

#[test]
fn some_crates_are_used_in_one_room_alone() {
    let rows = rows("crates");
    assert!(rows.len() >= 4, "the table of crates was not found");
    let root = Path::new(ROOT).join("src");
    for file in sources(&root) {
        let module = module_of(file.strip_prefix(&root).unwrap()).join("/");
        let text = without_tests_and_comments(&std::fs::read_to_string(&file).unwrap());
        for (crates, rooms) in &rows {
            let is_room = |room: &String| module.starts_with(room.as_str());
            for name in crates.iter().filter(|name| uses_crate(&text, name)) {
                assert!(rooms.iter().any(is_room), "src/{module} uses {name}");
            }
        }
    }
    assert!(uses_crate("use axum::Router;", "axum") && !uses_crate("use my_axum::X;", "axum"));
}

fn uses_crate(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let uses = text.match_indices(&path);
    let mut before = uses.map(|(at, _)| text[..at].chars().next_back());
    before.any(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '_'))
}

/// A walk through files that have moved leads nowhere.
#[test]
fn every_file_that_the_map_names_is_there() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let folders = ["src", "engine/src", "tests"].map(|folder| Path::new(ROOT).join(folder));
    let files: Vec<PathBuf> = folders.iter().flat_map(|folder| sources(folder)).collect();
    let quoted = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(str::split_whitespace);
    let named: Vec<&str> = quoted.filter(|word| word.ends_with(".rs")).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let is_there = files.iter().any(|file| file.ends_with(name));
        assert!(
            is_there,
            "ARCHITECTURE.md names {name}, and no such file is there"
        );
    }
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    let arrows = table();
    let found = |module: &str, text: &str| -> Vec<String> {
        let module: Vec<String> = module.split('/').map(str::to_owned).collect();
        let found = forbidden(&arrows, &module, text);
        found.into_iter().map(|(_, room)| room).collect()
    };
    assert_eq!(found("store/jobs", "use crate::http::AppState;"), ["http"]);
    assert_eq!(
        found("store/jobs", "use crate::{config::Config, jobs};"),
        ["config", "jobs"]
    );
    assert_eq!(
        found("learn/ports/model", "use super::super::inner::update;"),
        ["learn/inner"]
    );
    assert_eq!(
        found("learn/inner/gate", "fn f() { crate::pool::open() }"),
        ["pool"]
    );
    assert_eq!(
        found("learn", "pub mod inner;\npub use inner::report::Report;"),
        ["learn/inner"]
    );
    assert!(found("learn/inner/gate", "use crate::learn::ports::model::Model;").is_empty());
    assert!(found("store/jobs", "// crate::http is not for this room").is_empty());
    let test = "fn f() {}\n#[cfg(test)]\nmod tests { use crate::http::AppState; }";
    assert!(found("store/jobs", test).is_empty());
}

/// The rows between two marks of ARCHITECTURE.md, such as `<!-- arrows -->`: the names in back quotes of the first
/// cell and of the second.
fn rows(mark: &str) -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let start = text.split_once(&format!("<!-- {mark} -->"));
    let (_, rest) = start.expect("the table's start");
    let end = rest.split_once(&format!("<!-- /{mark} -->"));
    let (rows, _) = end.expect("the table's end");
    let quoted = |cell: &str| -> BTreeSet<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').collect::<Vec<_>>());
    cells
        .map(|cells| (quoted(cells[1]), quoted(cells[2])))
        .collect()
}

/// Which room may use which.
fn table() -> Arrows {
    let mut arrows = Arrows::new();
    for (rooms, uses) in rows("arrows") {
        for room in rooms {
            let twice = arrows.insert(room, uses.clone());
            assert!(twice.is_none(), "two rows of one room");
        }
    }
    assert!(arrows.len() > 10, "the table of arrows was not found");
    arrows
}

/// The forbidden uses in a module's text: each path as written, with the room it leads to.
fn forbidden(arrows: &Arrows, module: &[String], text: &str) -> Vec<(String, String)> {
    let own = room_of(arrows, module);
    let mut found = Vec::new();
    let text = without_tests_and_comments(text);
    for path in paths(&text).into_iter().chain(child_paths(&text)) {
        let Some(target) = absolute(module, &path) else {
            continue;
        };
        let room = room_of(arrows, &target);
        if room != own && !arrows.get(&own).is_some_and(|uses| uses.contains(&room)) {
            found.push((path.join("::"), room));
        }
    }
    found
}

/// The longest row that is a prefix of a module's path; the first name of the path if there is none.
fn room_of(arrows: &Arrows, module: &[String]) -> String {
    let mut lengths = (1..=module.len()).rev();
    let known = lengths.find_map(|n| {
        let room = module[..n].join("/");
        arrows.contains_key(&room).then_some(room)
    });
    known.unwrap_or_else(|| module.first().cloned().unwrap_or_default())
}

/// A file's path as the names of its module.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let names = path.iter().map(|name| name.to_str().unwrap().to_owned());
    names.filter(|name| name != "mod").collect()
}

fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut rest = rest;
    let mut base: Vec<String> = match first.as_str() {
        // The program's own modules live in `cli`, and it reaches the library by its name.
        "crate" if module[0] == "main" || module[0] == "cli" => return None,
        "crate" | "autodidact" => Vec::new(),
        "self" => module.to_vec(),
        _ => module[..module.len() - 1].to_vec(),
    };
    while let Some((name, tail)) = rest.split_first()
        && name == "super"
    {
        base.pop();
        rest = tail;
    }
    base.extend(rest.iter().cloned());
    (!base.is_empty()).then_some(base)
}

/// Every path that begins with `crate`, `super` or `autodidact`, the branches of a `use` tree one by one.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "autodidact::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            branch(&text[at..], &mut Vec::new(), &mut paths);
        }
    }
    paths
}

/// The same for paths that begin with a module declared in this file, as `self::child::…`.
fn child_paths(text: &str) -> Vec<Vec<String>> {
    let declared = text.lines().filter_map(|line| {
        let (_, name) = line.trim_end_matches(';').rsplit_once("mod ")?;
        line.ends_with(';').then_some(name)
    });
    let mut paths = Vec::new();
    for child in declared {
        for (at, start) in text.match_indices(&format!("use {child}::")) {
            let path = &text[at + start.len() - child.len() - 2..];
            branch(path, &mut vec!["self".to_owned()], &mut paths);
        }
    }
    paths
}

/// Reads one path from the start of `text`, after `prefix`. Returns the rest of the text.
fn branch<'a>(text: &'a str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    let depth = prefix.len();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        if !name.is_empty() {
            prefix.push(name.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(next) if next.starts_with('{') => {
                rest = &next[1..];
                while !rest.is_empty() && !rest.starts_with('}') {
                    rest = branch(rest, prefix, paths);
                    // An alias, then the comma.
                    let end = rest.find([',', '}']).unwrap_or(rest.len());
                    rest = rest[end..].trim_start_matches(',').trim_start();
                }
                rest = rest.strip_prefix('}').unwrap_or(rest);
                break;
            }
            Some(next) if !name.is_empty() => rest = next,
            _ => {
                paths.push(prefix.clone());
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}

/// Cuts off tests and everything after them, because tests may use any room.
fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// All source files but those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if name.ends_with(".rs") && !is_test(&name) {
            files.push(path);
        }
    }
    files
}

/// Files that their room declares under `#[cfg(test)]`.
fn is_test(name: &str) -> bool {
    ["tests.rs", "toy.rs", "scripted.rs", "conformance.rs"]
        .iter()
        .any(|end| name.ends_with(end))
}
