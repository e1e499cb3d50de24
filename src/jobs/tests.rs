use super::*;
use crate::adapters::AliasName;
use crate::learn::ports::journal::{Interrupted, step};
use crate::store::{
    DocumentState, IdempotencyKey, Job, JobFilter, JobKind, JobState, NewDocument, Store,
};
use crate::workflows::journal::JobJournal;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Long enough that only a broken test waits for it.
const LONG: Duration = Duration::from_secs(60);

struct Closure<F>(F);

impl<F> Handler for Closure<F>
where
    F: Fn(&JobContext, Value) -> Result<Value, JobFailure> + Send + Sync,
{
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        (self.0)(cx, input)
    }
}

fn handlers<F>(f: F) -> Handlers
where
    F: Fn(&JobContext, Value) -> Result<Value, JobFailure> + Send + Sync + 'static,
{
    Handlers::from([(JobKind::Ingest, Arc::new(Closure(f)) as Arc<dyn Handler>)])
}

/// A handler that reports its start, then calls `check` once for every token it receives.
struct Stepper {
    started: Receiver<String>,
    go: Sender<()>,
}

fn stepper() -> (Handlers, Stepper) {
    let (tell, started) = channel();
    let (go, tokens) = channel::<()>();
    let (tell, tokens) = (Mutex::new(tell), Mutex::new(tokens));
    let handlers = handlers(move |cx, _| {
        tell.lock().unwrap().send(cx.id().to_owned()).unwrap();
        tokens.lock().unwrap().recv().unwrap();
        cx.check()?;
        Ok(json!("done"))
    });
    (handlers, Stepper { started, go })
}

fn open() -> (TempDir, Jobs) {
    let dir = tempfile::tempdir().unwrap();
    let jobs = reopen(dir.path());
    (dir, jobs)
}

fn reopen(path: &Path) -> Jobs {
    Jobs::new(Store::open(path).unwrap(), 3)
}

fn submit(jobs: &Jobs, alias: &str) -> Job {
    let alias = AliasName::parse(alias).unwrap();
    let documents = [NewDocument::new("Title", "Text")];
    jobs.submit_documents(&alias, &json!({}), &documents, None)
        .map(|accepted| accepted.job)
        .unwrap()
}

fn document_state(jobs: &Jobs, job: &Job) -> DocumentState {
    jobs.store().documents().for_job(&job.id).unwrap()[0].state
}

fn states(jobs: &Jobs, job: &Job) -> Vec<String> {
    let events = jobs.store().events().since(&job.id, 0, 1000).unwrap();
    let states = events.iter().filter(|e| e.kind == "state");
    states
        .map(|e| e.data["state"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_job_runs_and_its_result_is_waited_for() {
    let (_dir, jobs) = open();
    let job = submit(&jobs, "kb");
    assert_eq!(job.state, JobState::Queued);
    let waiting = jobs.wait(&job.id, LONG);
    let _runner = Runner::start(
        &jobs,
        handlers(|cx, _| {
            cx.progress("training", 0.5, "half way")?;
            Ok(json!({"live_version": 1}))
        }),
        1,
    )
    .unwrap();
    let done = waiting.await.unwrap();
    assert_eq!(done.state, JobState::Succeeded);
    assert_eq!(done.result, Some(json!({"live_version": 1})));
    assert_eq!(
        (done.progress.stage.as_str(), done.progress.fraction),
        ("training", 1.0)
    );
    assert!(done.finished_at.is_some());
    assert_eq!(states(&jobs, &job), ["queued", "running", "succeeded"]);
}

#[tokio::test]
async fn waiting_in_vain_gives_the_job_as_it_is() {
    let (_dir, jobs) = open();
    let job = submit(&jobs, "kb");
    let waited = jobs.wait(&job.id, Duration::ZERO).await.unwrap();
    assert_eq!(waited.state, JobState::Queued);
    let unknown = jobs.wait("job_none", Duration::ZERO).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn a_killed_job_resumes_without_repeating_finished_steps() {
    let (dir, jobs) = open();
    let job = submit(&jobs, "kb");
    // The first process dies after one step: the job is leased and never finished.
    let leased = jobs.store().jobs().lease_next("first life").unwrap();
    let cx = JobContext::new(&jobs, leased.unwrap(), Arc::default());
    let journal = JobJournal::new(&cx).with_key_prefix("from 0:".into());
    let notes: Result<String, _> = step(&journal, "notes", || Ok("the notes".into()));
    notes.unwrap();
    let killed = || Err(Interrupted::Journal("killed half way".into()));
    let failed: Result<String, _> = step(&journal, "train", killed);
    failed.unwrap_err();
    drop((cx, jobs));

    let jobs = reopen(dir.path());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let runner = Runner::start(
        &jobs,
        handlers(move |cx, _| {
            let journal = JobJournal::new(cx).with_key_prefix("from 0:".into());
            let notes: Result<String, _> = step(&journal, "notes", || {
                seen.lock().unwrap().push("notes");
                Ok("other notes".into())
            });
            let loss: Result<f64, _> = step(&journal, "train", || {
                seen.lock().unwrap().push("train");
                Ok(0.25)
            });
            Ok(json!({"notes": notes.unwrap(), "loss": loss.unwrap()}))
        }),
        1,
    )
    .unwrap();
    let done = jobs.wait(&job.id, LONG).await.unwrap();
    assert_eq!(
        done.result,
        Some(json!({"notes": "the notes", "loss": 0.25}))
    );
    assert_eq!(done.attempt, 2);
    assert_eq!(*calls.lock().unwrap(), ["train"]);
    let story = ["queued", "running", "queued", "running", "succeeded"];
    assert_eq!(states(&jobs, &job), story);
    runner.shutdown();
}

#[test]
fn the_same_request_under_the_same_key_is_one_job() {
    let (_dir, jobs) = open();
    let alias = AliasName::parse("kb").unwrap();
    let send = |key: &str, request: &str| {
        let key = IdempotencyKey {
            key: key.into(),
            request: request.into(),
        };
        let documents = [NewDocument::new("Title", "Text")];
        jobs.submit_documents(&alias, &json!({}), &documents, Some(&key))
            .map(|accepted| accepted.job)
    };
    let first = send("k1", "sha256:a").unwrap();
    assert_eq!(send("k1", "sha256:a").unwrap().id, first.id);
    assert!(matches!(send("k1", "sha256:b"), Err(Error::KeyReused { key }) if key == "k1"));
    assert_ne!(send("k2", "sha256:a").unwrap().id, first.id);
    assert_eq!(
        jobs.list(JobFilter::default(), None, 10)
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(
        jobs.store().documents().for_job(&first.id).unwrap().len(),
        1
    );
    // A repeated request is answered even if the queue is full.
    send("k3", "sha256:c").unwrap();
    assert!(matches!(
        send("k4", "sha256:d"),
        Err(Error::QueueFull { .. })
    ));
    assert_eq!(send("k1", "sha256:a").unwrap().id, first.id);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_again() {
    let (_dir, jobs) = open();
    let waiting: Vec<Job> = (0..3).map(|n| submit(&jobs, &format!("kb{n}"))).collect();
    let alias = AliasName::parse("kb").unwrap();
    let again = || jobs.submit(JobKind::Ingest, &alias, &json!({}), None);
    match again() {
        Err(Error::QueueFull {
            queued: 3,
            limit: 3,
            retry_after,
        }) => assert_eq!(retry_after, Duration::from_secs(30)),
        other => panic!("{other:?}"),
    }
    jobs.cancel(&waiting[0].id).unwrap();
    again().unwrap();
}

#[test]
fn a_queued_job_is_cancelled_at_once_with_its_documents() {
    let (_dir, jobs) = open();
    let job = submit(&jobs, "kb");
    assert_eq!(jobs.cancel(&job.id).unwrap().state, JobState::Cancelled);
    assert_eq!(document_state(&jobs, &job), DocumentState::Cancelled);
    let events = jobs.store().events().since(&job.id, 0, 10).unwrap();
    let kinds: Vec<_> = events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["state", "document", "state"]);
    for refused in [
        jobs.cancel(&job.id),
        jobs.pause(&job.id),
        jobs.resume(&job.id),
    ] {
        let state = JobState::Cancelled;
        assert!(matches!(refused, Err(Error::Finished { state: s, .. }) if s == state));
    }
    let unknown = jobs.cancel("job_none");
    assert!(matches!(unknown, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn a_running_job_is_cancelled_at_its_next_check() {
    let (_dir, jobs) = open();
    let (handlers, stepper) = stepper();
    let _runner = Runner::start(&jobs, handlers, 1).unwrap();
    let job = submit(&jobs, "kb");
    stepper.started.recv_timeout(LONG).unwrap();
    let asked = jobs.cancel(&job.id).unwrap();
    assert_eq!(
        (asked.state, asked.cancel_requested),
        (JobState::Running, true)
    );
    stepper.go.send(()).unwrap();
    let done = jobs.wait(&job.id, LONG).await.unwrap();
    assert_eq!(done.state, JobState::Cancelled);
    assert_eq!(document_state(&jobs, &job), DocumentState::Cancelled);
}

#[tokio::test]
async fn a_job_is_paused_and_resumed() {
    let (_dir, jobs) = open();
    let (handlers, stepper) = stepper();
    let _runner = Runner::start(&jobs, handlers, 1).unwrap();
    let job = submit(&jobs, "kb");
    stepper.started.recv_timeout(LONG).unwrap();
    jobs.pause(&job.id).unwrap();
    let mut events = jobs.subscribe(&job.id, 2).unwrap();
    stepper.go.send(()).unwrap();
    let event = events.next().await.unwrap().unwrap().remove(0);
    assert_eq!((event.seq, event.data), (3, json!({"state": "paused"})));
    assert_eq!(document_state(&jobs, &job), DocumentState::Queued);

    jobs.resume(&job.id).unwrap();
    stepper.started.recv_timeout(LONG).unwrap();
    stepper.go.send(()).unwrap();
    let done = jobs.wait(&job.id, LONG).await.unwrap();
    assert_eq!((done.state, done.attempt), (JobState::Succeeded, 1));
    let story = [
        "queued",
        "running",
        "paused",
        "queued",
        "running",
        "succeeded",
    ];
    assert_eq!(states(&jobs, &job), story);
}

#[test]
fn shutting_down_leaves_a_running_job_queued() {
    let (_dir, jobs) = open();
    let (tell, started) = channel();
    let tell = Mutex::new(tell);
    let work = move |cx: &JobContext, _: Value| {
        tell.lock().unwrap().send(()).unwrap();
        loop {
            cx.check()?;
            std::thread::yield_now();
        }
    };
    let runner = Runner::start(&jobs, handlers(work), 1).unwrap();
    let job = submit(&jobs, "kb");
    let waiting = submit(&jobs, "kb");
    started.recv_timeout(LONG).unwrap();
    runner.shutdown();
    let left = jobs.get(&job.id).unwrap();
    assert_eq!((left.state, left.attempt), (JobState::Queued, 1));
    assert_eq!(states(&jobs, &waiting), ["queued"]);
}

#[tokio::test]
async fn jobs_of_one_alias_run_one_after_another() {
    let (_dir, jobs) = open();
    let running = Arc::new(Mutex::new(HashSet::new()));
    let overlaps = Arc::new(AtomicUsize::new(0));
    let (alias_running, seen) = (running.clone(), overlaps.clone());
    let work = move |cx: &JobContext, _: Value| {
        let alias = cx.job().alias.clone();
        if !alias_running.lock().unwrap().insert(alias.clone()) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        for n in 0..5 {
            cx.event("tick", json!(n))?;
        }
        alias_running.lock().unwrap().remove(&alias);
        Ok(Value::Null)
    };
    let submitted: Vec<Job> = ["a", "a", "b"].map(|alias| submit(&jobs, alias)).into();
    let _runner = Runner::start(&jobs, handlers(work), 3).unwrap();
    for job in &submitted {
        let done = jobs.wait(&job.id, LONG).await.unwrap();
        assert_eq!(done.state, JobState::Succeeded);
    }
    assert_eq!(overlaps.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_see_every_event_once_while_they_are_written() {
    let (_dir, jobs) = open();
    let job = submit(&jobs, "kb");
    let early = jobs.subscribe(&job.id, 0).unwrap();
    let (tell, half) = channel();
    let tell = Mutex::new(tell);
    let work = move |cx: &JobContext, _: Value| {
        for n in 0..200 {
            cx.event("tick", json!(n))?;
            if n == 100 {
                tell.lock().unwrap().send(()).unwrap();
            }
        }
        Ok(Value::Null)
    };
    let _runner = Runner::start(&jobs, handlers(work), 1).unwrap();
    let early = tokio::spawn(collect(early));
    tokio::task::spawn_blocking(move || half.recv_timeout(LONG).unwrap())
        .await
        .unwrap();
    let middle = tokio::spawn(collect(jobs.subscribe(&job.id, 50).unwrap()));
    let early = early.await.unwrap();
    // queued, running, 200 ticks, succeeded
    assert_eq!(early, (1..=203).collect::<Vec<_>>());
    assert_eq!(middle.await.unwrap(), (51..=203).collect::<Vec<_>>());
    let late = collect(jobs.subscribe(&job.id, 200).unwrap()).await;
    assert_eq!(late, [201, 202, 203]);
    let over = collect(jobs.subscribe(&job.id, 203).unwrap()).await;
    assert_eq!(over, [0; 0]);
}

async fn collect(subscription: Subscription) -> Vec<u64> {
    use futures::{StreamExt, TryStreamExt};
    let events = subscription.into_stream().map_ok(|event| event.seq);
    events.boxed().try_collect().await.unwrap()
}

#[tokio::test]
async fn frequent_progress_is_thinned_but_its_end_is_kept() {
    let (_dir, jobs) = open();
    let job = submit(&jobs, "kb");
    let work = |cx: &JobContext, _: Value| {
        for n in 0..=10_000 {
            cx.progress("training", n as f32 / 20_000.0, &format!("step {n}"))?;
        }
        Err(JobFailure::new("odd", "enough"))
    };
    let _runner = Runner::start(&jobs, handlers(work), 1).unwrap();
    let done = jobs.wait(&job.id, LONG).await.unwrap();
    assert_eq!(done.error.unwrap().code, "odd");
    assert_eq!(done.progress.message, "step 10000");
    assert_eq!(document_state(&jobs, &job), DocumentState::Failed);
    let events = jobs.store().events().since(&job.id, 0, 100_000).unwrap();
    let written = events.iter().filter(|e| e.kind == "progress").count();
    assert!((2..1000).contains(&written), "{written}");
}

#[tokio::test]
async fn a_panic_fails_the_job_and_spares_the_worker() {
    let (_dir, jobs) = open();
    let first = submit(&jobs, "kb");
    let second = submit(&jobs, "kb");
    let bad = first.id.clone();
    let work = move |cx: &JobContext, _: Value| {
        assert!(cx.id() != bad, "a bug");
        Ok(Value::Null)
    };
    let _runner = Runner::start(&jobs, handlers(work), 1).unwrap();
    let failed = jobs.wait(&first.id, LONG).await.unwrap();
    let error = failed.error.unwrap();
    assert_eq!(error.code, "panic");
    assert_eq!(error.message, "the job panicked: a bug");
    let spared = jobs.wait(&second.id, LONG).await.unwrap();
    assert_eq!(spared.state, JobState::Succeeded);
}
