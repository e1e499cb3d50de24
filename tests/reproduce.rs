//! The tables of `autodidact reproduce` with the tiny random model: every row is there, an interrupted command goes
//! on, and an impossible measurement is refused in one sentence.

use autodidact_engine::{Family, tiny};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub struct Study {
    dir: TempDir,
}

impl Study {
    pub fn new() -> Study {
        let dir = tempfile::tempdir().unwrap();
        tiny::write_tiny(&dir.path().join("tiny"), Family::Qwen2, 7).unwrap();
        let study = Study { dir };
        study.write("table.json", &passages(1..3));
        study.write("practice.json", &passages(3..6));
        study
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.path(name), value.to_string()).unwrap();
    }

    fn run(&self, table: &str, more: &[&str]) -> Output {
        let set = r#"{"training": {"rank": 2, "epochs": 1}, "self_edit": {"temperature": 1.0}}"#;
        Command::new(env!("CARGO_BIN_EXE_autodidact"))
            .args(["reproduce", table, "--passages", "table.json", "--set", set])
            .args(["--model", "./tiny", "--threads", "1"])
            .args(more)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    pub fn measured(&self, table: &str, more: &[&str]) -> String {
        let output = self.run(table, more);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn refused(&self, table: &str, more: &[&str]) -> String {
        let output = self.run(table, more);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn passages(numbers: std::ops::Range<usize>) -> Value {
    let passage = |i| {
        json!({"title": format!("Lighthouse {i}"),
            "context": format!("The lighthouse of Vell {i} was built by Orr Hallam in 19{i}0."),
            "questions": [{"question": "Who built it?", "answer": "Orr Hallam"}]})
    };
    numbers.map(passage).collect()
}

pub fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

const PRACTICE: [&str; 14] = [
    "--arms",
    "base,passage",
    "--rounds",
    "2",
    "--practise-on",
    "practice.json",
    "--seeds",
    "0,1",
    "--outer",
    r#"{"contexts_per_round": 2, "candidates": 2, "held_out": 1, "reward": "likelihood",
        "policy_training": {"rank": 2, "epochs": 1}}"#,
    "--practise-set",
    r#"{"self_edit": {"temperature": 1.5}}"#,
    "--out",
    "out",
];

#[test]
fn the_knowledge_table_has_a_row_for_every_round_and_goes_on_where_it_was() {
    let study = Study::new();
    let printed = study.measured("knowledge", &PRACTICE);
    let table = json_file(&study.path("out/knowledge.json"));
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["arm"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "base",
            "passage",
            "implications",
            "implications, round 1",
            "implications, round 2"
        ]
    );
    for row in rows {
        assert_eq!(
            (&row["accuracy"]["n"], &row["seeds"]),
            (&json!(4), &json!(2))
        );
    }
    assert_eq!(rows[4]["difference"]["from"], "implications");
    assert_eq!(rows[4]["difference"]["accuracy"]["n"], 4);
    let digest = table["about"]["passages_digest"].as_str().unwrap();
    assert!(printed.contains(digest) && printed.contains("| implications, round 2 |"));
    assert_eq!(
        table["practice"][0]["report"]["rounds"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let practised = &table["practice"][0]["domain"]["self_edit"];
    assert_eq!(
        (&practised["kind"], &practised["temperature"]),
        (&json!("implications"), &json!(1.5))
    );
    assert_eq!(
        std::fs::read_to_string(study.path("out/knowledge.md"))
            .unwrap()
            .trim(),
        printed.trim()
    );
    for plot in ["reward.svg", "held-out.svg"] {
        let svg = std::fs::read_to_string(study.path("out").join(plot)).unwrap();
        assert!(svg.starts_with("<svg") && !svg.contains("NaN"), "{svg}");
    }

    // As after a kill during a write: complete rows are kept, and the cut row is made again.
    let steps = study.path("out/steps.jsonl");
    let text = std::fs::read_to_string(&steps).unwrap();
    let (kept, cut) = text.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&steps, format!("{kept}\n{}", &cut[..cut.len() / 2])).unwrap();
    study.measured("knowledge", &PRACTICE);
    let mut again = json_file(&study.path("out/knowledge.json"));
    let mut first = table;
    for value in [&mut again, &mut first] {
        for row in value["rows"].as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("seconds_per_passage");
        }
    }
    // The times are equal too: they are the times of the measurement and not of the second reading.
    assert_eq!(first, again);

    let mut other = PRACTICE;
    other[3] = "1";
    let other = study.refused("knowledge", &other);
    let told = "(more.practice[0].rounds: 2 there, 1 here; ";
    assert!(
        other.contains("under other settings") && other.contains(told),
        "{other}"
    );
}

/// A second practice does not change the first one, and the rows are means of both.
#[test]
fn every_seed_can_have_a_practice_of_its_own() {
    let study = Study::new();
    let rows = |practices: &str| {
        let mut more = PRACTICE.to_vec();
        // Enough training that the policy's learning shows in its self-edits.
        let outer = PRACTICE[9].replace(r#""epochs": 1"#, r#""epochs": 4, "learning_rate": 0.1"#);
        more[9] = &outer;
        more.truncate(more.len() - 2);
        more.extend(["--practices", practices, "--json"]);
        let table: Value = serde_json::from_str(&study.measured("knowledge", &more)).unwrap();
        let practices = table["practice"].as_array().unwrap().clone();
        let last = table["rows"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["arm"], "implications, round 2");
        // Row by row: what each seed's notes were.
        let texts = last["texts"].as_array().unwrap().clone();
        (practices, texts)
    };
    let (both, of_both) = rows("2");
    assert_eq!(both.len(), 2);
    assert_eq!(
        (&both[0]["outer"]["seed"], &both[1]["outer"]["seed"]),
        (&json!(0), &json!(1))
    );
    assert_ne!(both[0]["report"]["rounds"], both[1]["report"]["rounds"]);
    let (one, of_one) = rows("1");
    assert_eq!(
        one[0]["report"]["rounds"][0]["reward"],
        both[0]["report"]["rounds"][0]["reward"]
    );
    // Passage by passage, seed 0 and seed 1.
    assert_eq!(of_both.len(), 4);
    for (nth, (both, one)) in of_both.iter().zip(&of_one).enumerate() {
        assert_eq!(both == one, nth % 2 == 0, "run {nth}");
    }
}

#[test]
fn more_passages_arms_seeds_and_a_teacher_add_to_what_was_measured() {
    let study = Study::new();
    let completions = |i| {
        json!({"title": format!("Lighthouse {i}"), "context": passages(i..i + 1)[0]["context"],
            "completions": ["Orr Hallam built a lighthouse."]})
    };
    study.write("teacher.json", &json!([completions(1), completions(2)]));
    let steps = || {
        let text = std::fs::read_to_string(study.path("out/steps.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    let one = ["--limit", "1", "--arms", "passage"];
    let two = ["--arms", "passage"];
    let more = ["--arms", "base,passage", "--seeds", "0,1"];
    let taught = ["--arms", "base,passage,teacher", "--seeds", "0,1"];
    let taught = [&taught[..], &["--teacher", "teacher.json"]].concat();
    // A step a passage, arm and seed.
    for (arguments, count) in [(&one[..], 1), (&two, 2), (&more, 8), (&taught, 12)] {
        study.measured("knowledge", &[arguments, &["--out", "out"]].concat());
        let now = steps();
        assert_eq!((now.len(), &now[..before.len()]), (count, &before[..]));
        before = now;
    }
    let table = json_file(&study.path("out/knowledge.json"));

    study.measured("knowledge", &[&taught[..], &["--out", "at-once"]].concat());
    let at_once = json_file(&study.path("at-once/knowledge.json"));
    assert_eq!(table["about"], at_once["about"]);
    for (row, same) in [0, 1, 2].map(|i| (&table["rows"][i], &at_once["rows"][i])) {
        assert_eq!(
            (&row["answers"], &row["logprob"]),
            (&same["answers"], &same["logprob"])
        );
    }
    // Another teacher's notes are another row, for the passages that they belong to.
    let mut other = completions(1);
    other["completions"] = json!(["A lighthouse was built by Orr Hallam."]);
    study.write("teacher.json", &json!([other, completions(2)]));
    study.measured("knowledge", &[&taught[..], &["--out", "out"]].concat());
    assert_eq!(steps().len(), 14);
    study.write("teacher.json", &json!([other]));
    let some = study.refused("knowledge", &[&taught[..], &["--out", "out"]].concat());
    assert!(some.contains("no notes of 1 of 2 passages"), "{some}");
    let other = study.refused("knowledge", &["--seeds", "1", "--out", "out"]);
    assert!(other.contains("(seeds: 0 there, 1 here)"), "{other}");
}

#[test]
fn continued_pretraining_learns_all_passages_in_one_adapter() {
    let study = Study::new();
    let printed = study.measured("cpt", &["--json", "--seeds", "0,1"]);
    let table: Value = serde_json::from_str(&printed).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["arm"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "passage", "implications", "self-qa"]);
    let sequences: Vec<_> = rows
        .iter()
        .map(|r| r["sequences"].as_f64().unwrap())
        .collect();
    // Both passages are in the one adapter.
    assert_eq!((sequences[0], sequences[1]), (0.0, 2.0));
    assert!(sequences[2] >= 2.0);
    assert!(rows.iter().all(|r| r["accuracy"]["n"] == 4));
}

#[test]
fn the_rewards_are_compared_on_the_same_candidates() {
    let study = Study::new();
    let more = ["--candidates", "2", "--repeats", "2", "--json"];
    let table: Value = serde_json::from_str(&study.measured("reward", &more)).unwrap();
    assert_eq!(table["measured"].as_array().unwrap().len(), 4);
    let names: Vec<_> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["reward"])
        .collect();
    assert_eq!(
        names,
        ["accuracy", "likelihood", "combined", "expected", "rubric"]
    );
    assert!(table["rows"][1]["reliability"]["single"].is_number());
}

/// As if it had been killed after every step.
#[test]
fn a_study_of_rewards_goes_on_within_a_passage() {
    let study = Study::new();
    let more = ["--candidates", "2", "--repeats", "2", "--pack", "2"];
    let more = [&more[..], &["--out", "out", "--limit", "1", "--json"]].concat();
    let gains = || {
        let table: Value = serde_json::from_str(&study.measured("reward", &more)).unwrap();
        let measured = table["measured"].as_array().unwrap().clone();
        measured
            .iter()
            .map(|m| json!([m["repeats"], m["rubric"]]))
            .collect::<Vec<_>>()
    };
    let whole = gains();
    let path = study.path("out/steps.jsonl");
    let steps = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = steps.split_inclusive('\n').collect();
    // What is written, two packs, the passage.
    assert_eq!(lines.len(), 4);
    for kept in 0..lines.len() {
        std::fs::write(&path, lines[..kept].concat()).unwrap();
        assert_eq!(gains(), whole, "after {kept} steps");
        let again = std::fs::read_to_string(&path).unwrap();
        assert!(again.starts_with(&lines[..kept].concat()));
        assert_eq!(again.lines().count(), lines.len());
    }
}

#[test]
fn what_cannot_be_measured_is_told_in_a_sentence() {
    let study = Study::new();
    let cases: [(&str, &[&str], &str); 12] = [
        (
            "knowledge",
            &["--arms", "magic"],
            "--arms: \"magic\" is not an arm; they are base, passage, rewrite",
        ),
        ("cpt", &["--seeds", "1,0,1"], "--seeds: 1 is there twice"),
        ("knowledge", &["--rounds", "1"], "--practise-on"),
        (
            "knowledge",
            &["--rounds", "1", "--practise-on", "table.json"],
            "in the table too",
        ),
        (
            "knowledge",
            &[
                "--rounds",
                "1",
                "--practise-on",
                "practice.json",
                "--outer",
                r#"{"candidates": 0}"#,
            ],
            "candidates: 0 is outside 1 to 16",
        ),
        ("knowledge", &["--kind", "poem"], "--kind: unknown variant"),
        ("cpt", &["--arms", "open-book"], "open-book learns nothing"),
        (
            "knowledge",
            &["--arms", "teacher"],
            "the teacher's row needs --teacher FILE",
        ),
        ("reward", &["--repeats", "1"], "there is no variance of one"),
        ("reward", &["--seeds", "0,1"], "--seeds: a study has one"),
        (
            "reward",
            &["--teacher-model", "tiny"],
            "no row for a teacher",
        ),
        ("cpt", &["--judge", "tiny"], "no column for a judge"),
    ];
    for (table, more, expected) in cases {
        let told = study.refused(table, more);
        assert!(told.contains(expected), "{told}");
    }
    study.write("table.json", &json!({"passages": []}));
    let told = study.refused("cpt", &[]);
    assert!(
        told.contains("`passages`") && told.contains("table.json"),
        "{told}"
    );
}

/// The figures are the router's, so no model is opened.
#[test]
fn the_router_is_measured_without_a_model() {
    let study = Study::new();
    let run = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_autodidact"))
            .args(["reproduce", "route", "--passages", "table.json"])
            .args(["--distractors", "practice.json"])
            .args(more)
            .current_dir(study.dir.path())
            .output()
            .unwrap()
    };
    study.write(
        "general.json",
        &json!([{"language": "en", "question": "What is 2 plus 2?"}]),
    );
    let turn = |user: &str, kind: &str| json!({"user": user, "assistant": "", "document": null, "kind": kind});
    study.write(
        "talks.json",
        &json!([{"turns": [turn("Hello!", "thanks")]}]),
    );
    let output = run(&[
        "--documents",
        "2,5",
        "--general",
        "general.json",
        "--talks",
        "talks.json",
        "--out",
        "routed",
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let table = json_file(&study.path("routed/route.json"));
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["documents"], &rows[1]["documents"]),
        (&json!(2), &json!(5))
    );
    // Two questions, one general question and three seeds.
    assert_eq!(
        (&rows[1]["right"]["n"], &rows[1]["general"]["n"]),
        (&json!(6), &json!(3))
    );
    assert_eq!(rows[1]["general"]["mean"], 1.0);
    assert_eq!(table["turns"][0]["right"]["mean"], 1.0);
    assert!(study.path("routed/route.md").exists());

    study.write(
        "talks.json",
        &json!([{"turns": [{"user": "Hello!", "assistant": "", "document": "x", "kind": "ask"}]}]),
    );
    for (more, expected) in [
        (["--documents", "6"], "6 is not from 1 to the 5 documents"),
        (["--seeds", "1,1"], "1 is there twice"),
        (
            ["--talks", "talks.json"],
            "\"x\", which is no document's slug",
        ),
        (["--general", "none.json"], "none.json"),
    ] {
        let output = run(&more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && told.contains(expected),
            "{told}"
        );
    }
}
