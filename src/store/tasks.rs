//! Tasks of a job, for the workers of the pool: leased, extended and released under a fence. Whatever a
//! worker says about a task counts only while the task's fence is still the one it was leased with.

use super::error::Result;
use super::{Store, now, time};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use std::time::Duration;

pub struct Tasks<'a>(pub(super) &'a Store);

impl Tasks<'_> {
    /// New tasks in this order; those that are leased are taken back, those that are done stay.
    pub fn offer(&self, job_id: &str, keys: &[String]) -> Result<()> {
        self.0.write("offer tasks", |tx| {
            for key in keys {
                tx.prepare_cached(
                    "INSERT INTO tasks (job_id, key, place, state, fence) VALUES (?1, ?2,
                         (SELECT count(*) FROM tasks WHERE job_id = ?1), 'offered', 0)
                     ON CONFLICT DO UPDATE SET state = 'offered', owner = NULL, expires_at = NULL
                         WHERE state = 'leased'",
                )?
                .execute(params![job_id, key])?;
            }
            Ok(())
        })
    }

    /// The first task that nobody holds: its key and its fence.
    pub fn lease(
        &self,
        job_id: &str,
        owner: &str,
        term: Duration,
    ) -> Result<Option<(String, u64)>> {
        self.0.write("lease a task", |tx| {
            tx.prepare_cached(
                "UPDATE tasks SET state = 'leased', owner = ?2, fence = fence + 1, expires_at = ?4
                 WHERE job_id = ?1 AND key = (SELECT key FROM tasks WHERE job_id = ?1
                     AND (state = 'offered' OR (state = 'leased' AND expires_at <= ?3))
                     ORDER BY place LIMIT 1)
                 RETURNING key, fence",
            )?
            .query_row(params![job_id, owner, now(), after(term)], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
            })
            .optional()
        })
    }

    /// `false`: another worker has it.
    pub fn extend(&self, job_id: &str, key: &str, fence: u64, term: Duration) -> Result<bool> {
        self.0.write("extend the lease of a task", |tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE tasks SET expires_at = ?4
                     WHERE job_id = ?1 AND key = ?2 AND fence = ?3 AND state = 'leased'",
                )?
                .execute(params![job_id, key, fence as i64, after(term)])?;
            Ok(changed == 1)
        })
    }

    /// Done, or offered again. `false`: another worker has it.
    pub fn release(&self, job_id: &str, key: &str, fence: u64, done: bool) -> Result<bool> {
        let state = if done { "done" } else { "offered" };
        self.0.write("release a task", |tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE tasks SET state = ?4, owner = NULL, expires_at = NULL
                     WHERE job_id = ?1 AND key = ?2 AND fence = ?3 AND state = 'leased'",
                )?
                .execute(params![job_id, key, fence as i64, state])?;
            Ok(changed == 1)
        })
    }

    /// How many are not done.
    pub fn open(&self, job_id: &str) -> Result<usize> {
        self.0.read("count tasks", |c| {
            c.query_row(
                "SELECT count(*) FROM tasks WHERE job_id = ?1 AND state != 'done'",
                [job_id],
                |row| Ok(row.get::<_, i64>(0)? as usize),
            )
        })
    }
}

/// So much later than now, as the store writes it; for ever, if time does not reach so far.
fn after(term: Duration) -> String {
    time(Timestamp::now().checked_add(term).unwrap_or(Timestamp::MAX))
}
