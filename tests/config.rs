//! The configuration: the shipped file, the order of precedence, and the error message of each mistake.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use autodidact::config::{Config, ExecutorKind, Overrides, TextModelConfig};

const SHIPPED: &str = include_str!("../config/autodidact.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("my.toml"), text).map_err(|error| error.to_string())
}

fn load(file: &str, env: &[(&str, &str)], flags: Overrides) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("autodidact.toml");
    std::fs::write(&path, file).unwrap();
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    Config::load(
        Some(&path),
        |name| env.get(name).map(|value| (*value).to_owned()),
        flags,
    )
    .map_err(|error| error.to_string())
}

#[test]
fn the_shipped_file_says_exactly_the_defaults() {
    assert_eq!(parse(SHIPPED).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_leaves_no_key_out() {
    let shipped: toml::Table = toml::from_str(SHIPPED).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (key, value) in &defaults {
        let there = shipped
            .get(key)
            .unwrap_or_else(|| panic!("{key} is missing"));
        if let (Some(table), Some(there)) = (value.as_table(), there.as_table()) {
            let keys = |table: &toml::Table| table.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(table), keys(there), "[{key}]");
        }
    }
}

/// A line that sets a key, not a sentence that mentions one.
fn is_setting(line: &str) -> bool {
    let name = line.split_once(" = ").map_or(" ", |(name, _)| name);
    name.chars().all(|c| c == '_' || c.is_ascii_lowercase())
}

#[test]
fn every_commented_key_is_a_real_one() {
    let mut uncommented = 0;
    let text: String = SHIPPED
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if is_setting(key) => {
                uncommented += 1;
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = parse(&text).unwrap();
    assert_eq!(uncommented, 5);
    let stronger: TextModelConfig = "qwen2.5-coder-1.5b-instruct".parse().unwrap();
    assert_eq!(config.teacher, Some(stronger.clone()));
    assert_eq!(config.judge, Some(stronger));
    assert_eq!(config.threads, Some(2));
    assert_eq!(config.models_file, Some(PathBuf::from("models.toml")));
    assert!(config.datasets.contains_key("squad"));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let config = load(
        "model = 'file'\ndata = 'file'\nlisten = '127.0.0.1:1'\n[limits]\nqueue = 5\n",
        &[
            ("AUTODIDACT_MODEL", "env"),
            ("AUTODIDACT_DATA", "env"),
            ("AUTODIDACT_MODELS", "/models"),
            ("AUTODIDACT_EXECUTOR", "reference"),
            ("AUTODIDACT_LIMITS_BODY_BYTES", "9"),
            ("AUTODIDACT_JOBS_KEEP_DAYS", "0"),
            ("AUTODIDACT_THREADS", ""),
            ("AUTODIDACT_TEACHER", "http://localhost:8000/v1#big"),
            ("AUTODIDACT_PORT", "tcp://10.0.0.1:80"),
        ],
        Overrides {
            model: Some("flag".into()),
            ..Overrides::default()
        },
    )
    .unwrap();
    assert_eq!(config.model, "flag");
    assert_eq!(config.data, PathBuf::from("env"));
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.models_dir, PathBuf::from("/models"));
    assert_eq!(config.executor, ExecutorKind::Reference);
    assert_eq!(config.limits.body_bytes, 9);
    assert_eq!(config.limits.queue, 5);
    assert_eq!(config.jobs.keep_days, 0);
    assert_eq!(config.limits.documents_per_request, 1000);
    assert_eq!(config.threads, None);
    let Some(TextModelConfig::Url(teacher)) = config.teacher else {
        panic!("{:?}", config.teacher);
    };
    assert_eq!(
        (teacher.url.as_str(), teacher.model.as_str()),
        ("http://localhost:8000/v1", "big")
    );
    assert_eq!(config.judge, None);
}

#[test]
fn the_environment_can_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    std::fs::write(&path, "model = 'x'").unwrap();
    let env = |name: &str| (name == "AUTODIDACT_CONFIG").then(|| path.display().to_string());
    let config = Config::load(None, env, Overrides::default()).unwrap();
    assert_eq!(config.model, "x");
}

#[test]
fn an_unknown_key_is_named_with_file_and_line() {
    let error = parse("model = 'x'\nmodle = 'y'\n").unwrap_err();
    assert!(
        error.starts_with("my.toml, line 2: unknown field `modle`"),
        "{error}"
    );
    let error = parse("[limits]\n\nbody_byte = 3\n").unwrap_err();
    assert!(
        error.starts_with("my.toml, line 3: unknown field `body_byte`"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn wrong_values_are_named() {
    for (file, env, wanted) in [
        ("listen = 'localhost'", None, "line 1"),
        ("executor = 'gpu'", None, "gpu"),
        ("threads = 0", None, "threads: must be at least 1"),
        (
            "[jobs]\nworkers = 0",
            None,
            "jobs.workers: must be at least 1",
        ),
        (
            "[auth]\nkeys = ['secret']",
            None,
            "auth.keys: `secret` is not a hash",
        ),
        (
            "",
            Some(("AUTODIDACT_LISTEN", "here")),
            "AUTODIDACT_LISTEN: `here` is not an address and port",
        ),
        (
            "",
            Some(("AUTODIDACT_JOBS_KEEP_DAYS", "-1")),
            "AUTODIDACT_JOBS_KEEP_DAYS: `-1` is not a whole number of days",
        ),
        (
            "",
            Some(("AUTODIDACT_THREADS", "two")),
            "AUTODIDACT_THREADS: `two` is not a whole number",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let error = load(file, &env, Overrides::default()).unwrap_err();
        assert!(error.contains(wanted), "{file:?}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(
        Some(Path::new("/nowhere/a.toml")),
        |_| None,
        Overrides::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("/nowhere/a.toml"), "{error}");
}

#[test]
fn other_addresses_need_a_key() {
    let hash = format!("sha256:{}", "ab".repeat(32));
    let expose = |listen: &str, env: &[(&str, &str)]| {
        load(&format!("listen = '{listen}'"), env, Overrides::default())
            .unwrap()
            .check_exposure()
            .map_err(|error| error.to_string())
    };
    for listen in ["0.0.0.0:80", "[::]:80", "192.168.1.5:8080"] {
        let error = expose(listen, &[]).unwrap_err();
        assert!(error.contains("refusing to listen on"), "{error}");
        assert!(error.contains("autodidact key"), "{error}");
        expose(listen, &[("AUTODIDACT_API_KEY_HASH", &hash)]).unwrap();
    }
    expose("[::1]:80", &[]).unwrap();
}

#[test]
fn learning_settings_are_kept_as_written() {
    let config = parse("[learning]\nseed = 7\n[learning.training]\nrank = 8\n").unwrap();
    assert_eq!(config.learning["seed"], 7);
    assert_eq!(config.learning["training"]["rank"], 8);
    assert!(parse("learning = 3").is_err());
}

#[test]
fn a_path_in_the_file_may_start_at_home() {
    let home = std::env::home_dir().unwrap();
    let text = "data = \"~/d\"\nmodels_dir = \"~/m\"\nmodels_file = \"~/more.toml\"";
    let config = parse(text).unwrap();
    assert_eq!(config.data, home.join("d"));
    assert_eq!(config.models_dir, home.join("m"));
    assert_eq!(config.models_file, Some(home.join("more.toml")));
    assert_eq!(parse("").unwrap().models_file, None);
}

#[test]
fn a_teacher_that_is_nowhere_is_told_where_it_could_be() {
    let error = parse("model = 'x'\n[teacher]\nurl = 'http://a/v1'\n").unwrap_err();
    assert!(error.starts_with("my.toml, line 2: "), "{error}");
    assert!(
        error.contains("in one of three ways: model = \"NAME\"; url"),
        "{error}"
    );
    let error = parse("[judge]\nmodle = 'x'\n").unwrap_err();
    assert!(error.contains("unknown field `modle`"), "{error}");
    let error = load(
        "",
        &[("AUTODIDACT_JUDGE", "http://a/v1")],
        Overrides::default(),
    );
    let error = error.unwrap_err();
    assert!(error.starts_with("AUTODIDACT_JUDGE: "), "{error}");
    assert!(error.contains("URL#MODEL"), "{error}");
}
