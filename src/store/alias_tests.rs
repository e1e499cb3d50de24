//! Aliases and their versions: publishing, rolling back, counting, forgetting.

use super::tests::{new_version, open, submit};
use super::*;
use serde_json::json;
use std::sync::Barrier;

#[test]
fn of_racing_publishers_one_wins_each_number() {
    let (_dir, store) = open();
    let barrier = Barrier::new(4);
    let wins: Vec<bool> = std::thread::scope(|scope| {
        let race = |n: usize| {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                let new = new_version(store, &format!("racer {n}"));
                barrier.wait();
                let published = store.aliases().publish("kb", Expected::Exactly(None), new);
                match published {
                    Ok(version) => {
                        assert_eq!(version.number, 1);
                        true
                    }
                    Err(Error::Conflict {
                        expected: None,
                        live: Some(1),
                        ..
                    }) => false,
                    Err(other) => panic!("{other}"),
                }
            })
        };
        let racers: Vec<_> = (0..4).map(race).collect();
        racers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    assert_eq!(wins.iter().filter(|won| **won).count(), 1);
    assert_eq!(store.aliases().get("kb").unwrap().unwrap().versions, 1);
}

#[test]
fn numbers_go_on_after_a_rollback() {
    let (_dir, store) = open();
    let aliases = store.aliases();
    for (n, tag) in ["one", "two", "three"].iter().enumerate() {
        let live = (n > 0).then_some(n as u64);
        let new = new_version(&store, tag);
        aliases.publish("kb", Expected::Exactly(live), new).unwrap();
    }
    aliases
        .move_live("kb", Expected::Exactly(Some(3)), Some(1))
        .unwrap();
    assert_eq!(
        aliases.live_version("kb").unwrap().unwrap().lineage["tag"],
        "one"
    );
    let stale = aliases.move_live("kb", Expected::Exactly(Some(3)), Some(2));
    let message = stale.unwrap_err().to_string();
    assert_eq!(message, "adapter `kb` is at version 1, not at version 3");

    let new = new_version(&store, "four");
    let fourth = aliases
        .publish("kb", Expected::Exactly(Some(1)), new)
        .unwrap();
    assert_eq!((fourth.number, fourth.parent), (4, Some(1)));
    let missing = aliases.move_live("kb", Expected::Anything, Some(9));
    assert!(matches!(missing, Err(Error::NoVersion { number: 9, .. })));
    let nowhere = aliases.move_live("other", Expected::Anything, Some(1));
    assert!(matches!(nowhere, Err(Error::NoAlias { .. })));
}

#[test]
fn an_alias_counts_the_documents_that_its_live_version_builds_on() {
    let (_dir, store) = open();
    let aliases = store.aliases();
    let documents: Vec<_> = (0..4)
        .map(|n| NewDocument::new(format!("{n}"), "Text"))
        .collect();
    submit(&store, "kb", &documents);
    let publish = |tag: &str, continues_parent: bool, learned: &[NewDocument]| {
        let mut new = new_version(&store, tag);
        new.continues_parent = continues_parent;
        new.documents = learned.iter().map(|d| d.id.clone()).collect();
        aliases.publish("kb", Expected::Anything, new).unwrap();
    };
    let go_back = |to: Option<u64>| aliases.move_live("kb", Expected::Anything, to).unwrap();
    let counted = || aliases.get("kb").unwrap().unwrap().documents;
    for (n, document) in documents[..3].chunks(1).enumerate() {
        publish(&n.to_string(), true, document);
    }
    assert_eq!(counted(), 3);
    go_back(Some(1));
    assert_eq!(counted(), 1);
    publish("other", true, &documents[3..]);
    assert_eq!(counted(), 2);
    assert_eq!(aliases.line("kb", 4).unwrap(), [1, 4].into());
    go_back(Some(3));
    assert_eq!(counted(), 3);
    go_back(None);
    assert_eq!(counted(), 0);
    publish("foreign", false, &[]);
    assert_eq!(counted(), 0);
}

#[test]
fn versions_page_newest_first() {
    let (_dir, store) = open();
    let aliases = store.aliases();
    for n in 0..5 {
        let new = new_version(&store, &format!("{n}"));
        aliases.publish("kb", Expected::Anything, new).unwrap();
    }
    let numbers = |page: &Page<Version>| page.items.iter().map(|v| v.number).collect::<Vec<_>>();
    let first = aliases.versions("kb", None, 3).unwrap();
    assert_eq!(numbers(&first), [5, 4, 3]);
    let after = first.next.as_deref().map(|n| n.parse().unwrap());
    let second = aliases.versions("kb", after, 3).unwrap();
    assert_eq!(numbers(&second), [2, 1]);
    assert_eq!(second.next, None);
}

#[test]
fn a_publication_marks_what_it_learned_and_deletion_forgets_it() {
    let (_dir, store) = open();
    let document = NewDocument::new("Title", "Text");
    let job = submit(&store, "kb", std::slice::from_ref(&document));
    let probe = NewProbe {
        question: "Who?".into(),
        answer: "She".into(),
        origin: ProbeOrigin::Given,
    };
    let stored = store
        .probes()
        .insert_many(&document.id, "kb", &[probe])
        .unwrap();

    let mut new = new_version(&store, "one");
    new.documents = vec![document.id.clone()];
    store
        .aliases()
        .publish("kb", Expected::Anything, new)
        .unwrap();
    let learned = store.documents().get(&document.id).unwrap().unwrap();
    assert_eq!(
        (learned.state, learned.version),
        (DocumentState::Learned, Some(1))
    );
    assert_eq!(store.probes().for_document(&document.id).unwrap(), stored);

    let busy = store.aliases().delete("kb", Expected::Anything);
    assert!(matches!(busy, Err(Error::AliasBusy { .. })));
    store.jobs().cancel(&job.id).unwrap();
    let stale = store.aliases().delete("kb", Expected::Exactly(Some(2)));
    assert!(matches!(stale, Err(Error::Conflict { .. })));
    store.aliases().delete("kb", Expected::Anything).unwrap();
    assert_eq!(store.aliases().get("kb").unwrap(), None);
    assert_eq!(store.aliases().version("kb", 1).unwrap(), None);
    assert_eq!(store.documents().get(&document.id).unwrap(), None);
    assert_eq!(store.probes().for_document(&document.id).unwrap(), []);
    let again = store
        .aliases()
        .publish("kb", Expected::Exactly(None), new_version(&store, "new"))
        .unwrap();
    assert_eq!((again.number, again.parent), (1, None));
}

#[test]
fn an_alias_that_learned_nothing_can_be_forgotten_too() {
    let (_dir, store) = open();
    let missing = store.aliases().delete("kb", Expected::Anything);
    assert!(matches!(missing, Err(Error::NoAlias { .. })));

    let document = NewDocument::new("Title", "A secret");
    let job = submit(&store, "kb", std::slice::from_ref(&document));
    let other = submit(&store, "other", &[NewDocument::new("Title", "Text")]);
    for job in [&job, &other] {
        let note = json!({"text": "A secret"});
        store.events().step_put(&job.id, "note", &note).unwrap();
        store.events().append(&job.id, "self_edit", &note).unwrap();
    }
    let busy = store.aliases().delete("kb", Expected::Anything);
    assert!(matches!(busy, Err(Error::AliasBusy { .. })));
    store.jobs().cancel(&job.id).unwrap();
    let stale = store.aliases().delete("kb", Expected::Exactly(Some(1)));
    assert!(matches!(stale, Err(Error::Conflict { .. })));

    store.aliases().delete("kb", Expected::Anything).unwrap();
    assert_eq!(store.documents().get(&document.id).unwrap(), None);
    // The job is still there, without its steps and events.
    let kept = store.jobs().get(&job.id).unwrap().unwrap();
    assert_eq!(kept.state, JobState::Cancelled);
    assert_eq!(store.events().since(&job.id, 0, 100).unwrap(), []);
    assert_eq!(store.events().step_get(&job.id, "note").unwrap(), None);
    assert!(!store.events().since(&other.id, 0, 100).unwrap().is_empty());
    assert!(
        store
            .events()
            .step_get(&other.id, "note")
            .unwrap()
            .is_some()
    );
    let again = store.aliases().delete("kb", Expected::Anything);
    assert!(matches!(again, Err(Error::NoAlias { .. })));
}
