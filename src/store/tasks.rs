//! Tasks of a part of a job, for the workers of the pool. A worker leases, extends and releases a task under a fence.
//! A worker's call counts only while the task still has the fence of the worker's lease.

use super::error::Result;
use super::{Store, now, time};
use chrono::{Datelike, TimeDelta, Utc};
use rusqlite::{OptionalExtension, params};
use std::time::Duration;

/// The tasks of one part of a job.
pub struct Tasks<'a> {
    pub(super) store: &'a Store,
    pub(super) job_id: &'a str,
    pub(super) part: &'a str,
}

impl Tasks<'_> {
    /// Adds new tasks in this order. Leased tasks are offered again; done tasks stay done.
    pub fn offer(&self, keys: &[String]) -> Result<()> {
        self.store.write("offer tasks", |tx| {
            for key in keys {
                tx.prepare_cached(
                    "INSERT INTO tasks (job_id, part, key, place, state, fence) VALUES (?1, ?2, ?3,
                         (SELECT count(*) FROM tasks WHERE job_id = ?1), 'offered', 0)
                     ON CONFLICT DO UPDATE SET state = 'offered', owner = NULL, expires_at = NULL
                         WHERE state = 'leased'",
                )?
                .execute(params![self.job_id, self.part, key])?;
            }
            Ok(())
        })
    }

    /// Leases the first free task. Returns its key and its fence.
    pub fn lease(&self, owner: &str, term: Duration) -> Result<Option<(String, u64)>> {
        self.store.write("lease a task", |tx| {
            tx.prepare_cached(
                "UPDATE tasks SET state = 'leased', owner = ?3, fence = fence + 1, expires_at = ?5
                 WHERE job_id = ?1 AND part = ?2 AND key =
                     (SELECT key FROM tasks WHERE job_id = ?1 AND part = ?2
                      AND (state = 'offered' OR (state = 'leased' AND expires_at <= ?4))
                      ORDER BY place LIMIT 1)
                 RETURNING key, fence",
            )?
            .query_row(
                params![self.job_id, self.part, owner, now(), after(term)],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)),
            )
            .optional()
        })
    }

    /// Extends a lease. `false`: another worker has the task.
    pub fn extend(&self, key: &str, fence: u64, term: Duration) -> Result<bool> {
        self.store.write("extend the lease of a task", |tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE tasks SET expires_at = ?5 WHERE job_id = ?1 AND part = ?2 AND key = ?3
                     AND fence = ?4 AND state = 'leased'",
                )?
                .execute(params![
                    self.job_id,
                    self.part,
                    key,
                    fence as i64,
                    after(term)
                ])?;
            Ok(changed == 1)
        })
    }

    /// Ends a lease: the task is done, or offered again. `false`: another worker has the task.
    pub fn release(&self, key: &str, fence: u64, done: bool) -> Result<bool> {
        let state = if done { "done" } else { "offered" };
        self.store.write("release a task", |tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE tasks SET state = ?5, owner = NULL, expires_at = NULL
                     WHERE job_id = ?1 AND part = ?2 AND key = ?3 AND fence = ?4
                     AND state = 'leased'",
                )?
                .execute(params![self.job_id, self.part, key, fence as i64, state])?;
            Ok(changed == 1)
        })
    }

    /// Number of tasks that are not done.
    pub fn open(&self) -> Result<usize> {
        self.store.read("count tasks", |c| {
            c.query_row(
                "SELECT count(*) FROM tasks WHERE job_id = ?1 AND part = ?2 AND state != 'done'",
                [self.job_id, self.part],
                |row| Ok(row.get::<_, i64>(0)? as usize),
            )
        })
    }
}

/// The last moment with a year of four digits.
const NEVER: &str = "9999-12-31T23:59:59.999Z";

/// The time `term` from now in the store's format; [`NEVER`] if the year would have more than four digits.
fn after(term: Duration) -> String {
    let at = TimeDelta::from_std(term)
        .ok()
        .and_then(|term| Utc::now().checked_add_signed(term));
    at.filter(|at| at.year() <= 9999).map_or(NEVER.into(), time)
}
