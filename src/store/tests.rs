use super::*;
use crate::question::Question;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub(super) fn new_version(store: &Store, tag: &str) -> NewVersion {
    let blobs = store.blobs().guard();
    NewVersion {
        digest: digest(tag.as_bytes()),
        base_digest: digest(b"base"),
        config_blob: blobs.put(format!("config of {tag}").as_bytes()).unwrap(),
        weights_blob: blobs.put(format!("weights of {tag}").as_bytes()).unwrap(),
        bytes: 7,
        lineage: json!({"tag": tag}),
        continues_parent: false,
        documents: Vec::new(),
        replaced: Vec::new(),
    }
}

pub(crate) fn submit(store: &Store, alias: &str, documents: &[NewDocument]) -> Job {
    let new = NewJob {
        kind: JobKind::Ingest,
        alias,
        input: &Value::Null,
        documents,
        idempotency: None,
        queue_limit: 1000,
        estimate_seconds: None,
    };
    match store.jobs().submit(new).unwrap() {
        Submission::New(job, _) => job,
        other => panic!("{other:?}"),
    }
}

fn files_under(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_data_directory_has_one_user() {
    let (dir, store) = open();
    let second = Store::open(dir.path()).err().unwrap();
    let expected = format!(
        "data directory {} is in use by another autodidact",
        dir.path().display()
    );
    assert_eq!(second.to_string(), expected);
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_directory_of_a_newer_autodidact_is_left_alone() {
    let (dir, store) = open();
    drop(store);
    let connection = Connection::open(dir.path().join("autodidact.db")).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    drop(connection);
    let refused = Store::open(dir.path());
    assert!(matches!(refused, Err(Error::Newer { found: 999, .. })));
}

#[test]
fn ids_and_times_sort() {
    let ids: Vec<String> = (0..1000).map(|_| new_id("doc")).collect();
    assert!(ids.is_sorted());
    let at = now();
    assert_eq!(at.len(), "2026-01-01T00:00:00.000Z".len());
    assert!(at.parse::<chrono::DateTime<chrono::Utc>>().is_ok());
}

#[test]
fn a_blob_is_named_by_its_bytes() {
    let (_dir, store) = open();
    let name = store.blobs().guard().put(b"abc").unwrap();
    // FIPS 180-2, appendix B.1
    let published = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(name, published);
    assert_eq!(store.blobs().guard().put(b"abc").unwrap(), published);
    assert_eq!(store.blobs().get(published).unwrap(), b"abc");
    assert!(store.blobs().exists(published));
    assert!(!store.blobs().exists(&digest(b"abd")));
    for bad in ["sha256:../../etc", "abc", &published.to_uppercase()] {
        assert!(matches!(
            store.blobs().get(bad),
            Err(Error::BadDigest { .. })
        ));
    }
}

#[test]
fn a_damaged_blob_is_not_handed_out() {
    let (dir, store) = open();
    let name = store.blobs().guard().put(b"abc").unwrap();
    let files = files_under(&dir.path().join("blobs"));
    fs::write(&files[0], b"abd").unwrap();
    let read = store.blobs().get(&name);
    assert!(matches!(read, Err(Error::DamagedBlob { .. })));
}

#[test]
fn opening_sweeps_what_a_crash_left_and_nothing_else() {
    let (dir, store) = open();
    let version = store
        .aliases()
        .publish("kb", Expected::Anything, new_version(&store, "one"))
        .unwrap();
    let job = submit(&store, "kb", &[]);
    let candidate = store.blobs().guard().put(b"a candidate's weights").unwrap();
    store
        .events()
        .step_put(&job.id, "train", &json!({"weights": candidate}))
        .unwrap();
    let orphan = store.blobs().guard().put(b"nobody names me").unwrap();
    let leftover = dir.path().join("blobs/tmp/blob_half");
    fs::write(&leftover, b"half a bl").unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    assert!(!leftover.exists());
    assert!(!store.blobs().exists(&orphan));
    assert!(store.blobs().exists(&version.config_blob));
    assert!(store.blobs().exists(&version.weights_blob));
    assert!(store.blobs().exists(&candidate), "a resumed job needs it");

    store.jobs().cancel(&job.id).unwrap();
    assert_eq!(store.sweep_blobs().unwrap(), 1);
    assert!(!store.blobs().exists(&candidate));
}

#[test]
fn probes_are_replaced_and_scores_overwritten() {
    let (_dir, store) = open();
    let document = NewDocument::new("Title", "Text");
    submit(&store, "kb", std::slice::from_ref(&document));
    let probe = |question: &str| NewProbe {
        question: question.into(),
        answer: "yes".into(),
        origin: ProbeOrigin::Written,
    };
    let probes = store.probes();
    let first = [probe("a?"), probe("b?")];
    probes.insert_many(&document.id, "kb", &first).unwrap();
    let kept = probes
        .insert_many(&document.id, "kb", &[probe("c?")])
        .unwrap();
    assert_eq!(probes.for_document(&document.id).unwrap(), kept);

    let score = |version, correct| ProbeScore {
        probe_id: kept[0].id.clone(),
        alias: "kb".into(),
        version,
        correct,
        logprob: Some(-0.5),
        answer: "yes".into(),
    };
    probes
        .record_scores(&[score(1, false), score(2, true)])
        .unwrap();
    probes.record_scores(&[score(1, true)]).unwrap();
    let cells = store.read("read scores", |c| {
        c.prepare("SELECT version, correct FROM scores ORDER BY version")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, bool)>>>()
    });
    assert_eq!(cells.unwrap(), [(1, true), (2, true)]);
}

#[test]
fn documents_keep_their_order_and_list_newest_first() {
    let (_dir, store) = open();
    let mut documents: Vec<_> = (0..5)
        .map(|n| NewDocument::new(format!("title {n}"), "text"))
        .collect();
    documents[1].questions = vec![Question {
        question: "Why?".into(),
        answer: "Because".into(),
    }];
    let job = submit(&store, "kb", &documents);
    submit(&store, "other", &[NewDocument::new("elsewhere", "text")]);

    let stored = store.documents().for_job(&job.id).unwrap();
    let ids: Vec<_> = stored.iter().map(|d| &d.id).collect();
    assert_eq!(ids, documents.iter().map(|d| &d.id).collect::<Vec<_>>());
    assert_eq!(stored[1].questions, documents[1].questions);

    let scores = Scores {
        before: Some(0.0),
        after: Some(0.7),
    };
    store
        .documents()
        .set_report(&documents[4].id, &json!({}), scores)
        .unwrap();
    let filter = DocumentFilter {
        alias: Some("kb"),
        ..DocumentFilter::default()
    };
    let first = store.documents().list(filter.clone(), None, 2).unwrap();
    assert_eq!(first.items[0].title, "title 4");
    assert_eq!(first.items[0].score_after, Some(0.7));
    assert_eq!(first.items[1].score_after, None);
    let rest = store
        .documents()
        .list(filter, first.next.as_deref(), 10)
        .unwrap();
    let titles: Vec<_> = rest.items.iter().map(|d| d.title.as_str()).collect();
    assert_eq!(titles, ["title 2", "title 1", "title 0"]);
}

#[test]
fn one_alias_never_runs_two_jobs() {
    let (_dir, store) = open();
    let first = submit(&store, "a", &[]);
    let second = submit(&store, "a", &[]);
    let other = submit(&store, "b", &[]);
    let lease = || store.jobs().lease_next("test").unwrap().map(|job| job.id);
    assert_eq!(lease(), Some(first.id.clone()));
    assert_eq!(lease(), Some(other.id));
    assert_eq!(lease(), None);
    assert!(store.jobs().finish(&first.id, &Outcome::Cancelled).unwrap());
    assert!(!store.jobs().finish(&first.id, &Outcome::Cancelled).unwrap());
    assert_eq!(lease(), Some(second.id));
}

#[test]
fn orphans_go_where_the_last_wish_sends_them() {
    let (dir, store) = open();
    let names = ["plain", "cancelled", "paused"];
    let jobs = names.map(|alias| submit(&store, alias, &[NewDocument::new("t", "x")]));
    while store.jobs().lease_next("test").unwrap().is_some() {}
    store.jobs().cancel(&jobs[1].id).unwrap();
    store.jobs().pause(&jobs[2].id).unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.jobs().requeue_orphans().unwrap().len(), 3);
    let states = jobs.each_ref().map(|job| {
        let job = store.jobs().get(&job.id).unwrap().unwrap();
        (job.state, job.attempt)
    });
    assert_eq!(
        states,
        [
            (JobState::Queued, 2),
            (JobState::Cancelled, 2),
            (JobState::Paused, 2)
        ]
    );
    let document = &store.documents().for_job(&jobs[1].id).unwrap()[0];
    assert_eq!(document.state, DocumentState::Cancelled);
    assert_eq!(store.jobs().requeue_orphans().unwrap(), [""; 0]);
}

#[test]
fn a_stopped_run_heeds_wishes_that_came_after_its_last_check() {
    let (_dir, store) = open();
    let end = |wish: &dyn Fn(&str), outcome: Outcome| {
        let job = submit(&store, "kb", &[]);
        store.jobs().lease_next("test").unwrap();
        wish(&job.id);
        store.jobs().finish(&job.id, &outcome).unwrap();
        let state = store.jobs().get(&job.id).unwrap().unwrap().state;
        store.jobs().cancel(&job.id).unwrap();
        state
    };
    let none = |_: &str| {};
    let cancel = |id: &str| drop(store.jobs().cancel(id).unwrap());
    let pause = |id: &str| drop(store.jobs().pause(id).unwrap());
    let pause_and_resume = |id: &str| {
        pause(id);
        drop(store.jobs().resume(id).unwrap());
    };
    assert_eq!(end(&pause, Outcome::Paused), JobState::Paused);
    assert_eq!(end(&pause_and_resume, Outcome::Paused), JobState::Queued);
    assert_eq!(end(&cancel, Outcome::Paused), JobState::Cancelled);
    assert_eq!(end(&none, Outcome::GivenBack), JobState::Queued);
    assert_eq!(end(&pause, Outcome::GivenBack), JobState::Paused);
    assert_eq!(end(&cancel, Outcome::GivenBack), JobState::Cancelled);
    // Done tasks stay done.
    assert_eq!(
        end(&cancel, Outcome::Succeeded(json!({}))),
        JobState::Succeeded
    );
}

#[test]
fn a_job_that_keeps_killing_the_server_is_given_up() {
    let (_dir, store) = open();
    let job = submit(&store, "kb", &[]);
    let mut lives = 0;
    while store.jobs().lease_next("test").unwrap().is_some() {
        lives += 1;
        store.jobs().requeue_orphans().unwrap();
    }
    assert_eq!(lives, 16);
    let job = store.jobs().get(&job.id).unwrap().unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error.unwrap().code, "crashed");
}
