//! A job's numbered events and its finished steps.
//!
//! Events are the job's history. `seq` counts from 1 without a gap. The event of a state change is appended in the
//! transaction of the change. Steps let a resumed job skip finished work.

use super::Store;
use super::error::Result;
use super::sql::{Figures, Json};
use super::{Progress, now, time};
use chrono::{TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    pub job_id: String,
    pub seq: u64,
    pub kind: String,
    pub data: Value,
    pub at: String,
}

pub struct Events<'a>(pub(super) &'a Store);

impl Events<'_> {
    /// Appends an event and returns its number.
    pub fn append(&self, job_id: &str, kind: &str, data: &Value) -> Result<u64> {
        self.0
            .write("append an event", |tx| append(tx, job_id, kind, data))
    }

    /// Stores the job's progress with its event. Returns the event's number.
    pub fn progress(&self, job_id: &str, progress: &Progress) -> Result<u64> {
        self.0.write("store the progress of a job", |tx| {
            tx.execute(
                "UPDATE jobs SET progress = ?2, heartbeat_at = ?3 WHERE id = ?1",
                params![job_id, Figures(progress), now()],
            )?;
            append(tx, job_id, "progress", progress)
        })
    }

    /// At most `limit` events after number `seq`, in order.
    pub fn since(&self, job_id: &str, seq: u64, limit: usize) -> Result<Vec<Event>> {
        self.0.read("read the events of a job", |c| {
            c.prepare_cached(
                "SELECT * FROM events WHERE job_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?
            .query_map(params![job_id, seq as i64, limit as i64], event)?
            .collect()
        })
    }

    pub fn step_get(&self, job_id: &str, key: &str) -> Result<Option<Value>> {
        self.0.read("read a step", |c| {
            c.prepare_cached("SELECT value FROM steps WHERE job_id = ?1 AND key = ?2")?
                .query_row([job_id, key], |row| Ok(row.get::<_, Json<Value>>(0)?.0))
                .optional()
        })
    }

    pub fn step_put(&self, job_id: &str, key: &str, value: &Value) -> Result<()> {
        self.0.write("store a step", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO steps (job_id, key, value) VALUES (?1, ?2, ?3)",
                params![job_id, key, Figures(value)],
            )?;
            Ok(())
        })
    }

    /// Stores a step with its event, in one transaction. A step that exists already stays, without a second event.
    pub fn step_put_with_event(
        &self,
        job_id: &str,
        key: &str,
        value: &Value,
        kind: &str,
        data: &Value,
    ) -> Result<()> {
        self.0.write("store a step", |tx| {
            let new = tx.execute(
                "INSERT OR IGNORE INTO steps (job_id, key, value) VALUES (?1, ?2, ?3)",
                params![job_id, key, Figures(value)],
            )?;
            if new == 1 {
                append(tx, job_id, kind, data)?;
            }
            Ok(())
        })
    }

    /// Deletes events and steps of jobs that ended at least `age` ago. Returns the number of deleted rows.
    pub fn prune(&self, age: Duration) -> Result<usize> {
        // The age is beyond the range of dates: no job is that old.
        let before = TimeDelta::from_std(age).ok();
        let Some(before) = before.and_then(|age| Utc::now().checked_sub_signed(age)) else {
            return Ok(0);
        };
        self.0.write("prune events and steps of old jobs", |tx| {
            let delete = |table: &str| {
                let sql = format!(
                    "DELETE FROM {table} WHERE job_id IN (SELECT id FROM jobs WHERE finished_at <= ?1
                     AND state IN ('succeeded', 'failed', 'cancelled'))"
                );
                tx.execute(&sql, [time(before)])
            };
            Ok(delete("events")? + delete("steps")? + delete("tasks")?)
        })
    }
}

pub(super) fn append(
    tx: &Transaction,
    job_id: &str,
    kind: &str,
    data: &impl Serialize,
) -> rusqlite::Result<u64> {
    tx.prepare_cached(
        "INSERT INTO events (job_id, seq, kind, data, at)
         VALUES (?1, 1 + coalesce((SELECT max(seq) FROM events WHERE job_id = ?1), 0), ?2, ?3, ?4)
         RETURNING seq",
    )?
    .query_row(params![job_id, kind, Figures(data), now()], |row| {
        Ok(row.get::<_, i64>(0)? as u64)
    })
}

fn event(row: &Row) -> rusqlite::Result<Event> {
    Ok(Event {
        job_id: row.get("job_id")?,
        seq: row.get::<_, i64>("seq")? as u64,
        kind: row.get("kind")?,
        data: row.get::<_, Json<_>>("data")?.0,
        at: row.get("at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{open, submit};
    use crate::store::{Job, NewDocument, Outcome, Scores};
    use serde_json::json;

    #[test]
    fn only_how_old_jobs_went_is_pruned() {
        let (_dir, store) = open();
        let document = NewDocument::new("Title", "Text");
        let ended = submit(&store, "kb", std::slice::from_ref(&document));
        let queued = submit(&store, "other", &[NewDocument::new("Title", "Text")]);
        store.jobs().lease_next("test").unwrap();
        for job in [&ended, &queued] {
            store
                .events()
                .step_put(&job.id, "notes", &json!("x"))
                .unwrap();
        }
        store
            .documents()
            .set_report(&document.id, &json!({"score_after": 1}), Scores::default())
            .unwrap();
        let outcome = Outcome::Succeeded(json!("done"));
        store.jobs().finish(&ended.id, &outcome).unwrap();
        let told = |job: &Job| store.events().since(&job.id, 0, 100).unwrap().len();
        let events = told(&ended);

        assert_eq!(store.events().prune(Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(store.events().prune(Duration::MAX).unwrap(), 0);
        assert_eq!(store.events().prune(Duration::ZERO).unwrap(), events + 1);
        assert_eq!(told(&ended), 0);
        assert_eq!(store.events().step_get(&ended.id, "notes").unwrap(), None);
        let job = store.jobs().get(&ended.id).unwrap().unwrap();
        assert_eq!(job.result, Some(json!("done")));
        let kept = store.documents().get(&document.id).unwrap().unwrap();
        assert_eq!(kept.report, Some(json!({"score_after": 1})));
        // A job that has not ended needs its events and steps.
        assert_eq!(told(&queued), 1);
        assert!(
            store
                .events()
                .step_get(&queued.id, "notes")
                .unwrap()
                .is_some()
        );
    }
}
