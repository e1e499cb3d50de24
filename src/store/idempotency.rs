//! Idempotency keys: a request sent twice with one key makes one job.

use super::now;
use rusqlite::{OptionalExtension, Transaction, params};

/// A client's key with the digest of its request.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    pub key: String,
    /// Digest of all parts of the request that decide the job.
    pub request: String,
}

pub(super) enum Remembered {
    Fresh,
    /// The key was seen with the same request; holds the id of its job.
    Same(String),
    /// The key was seen with another request.
    Different,
}

pub(super) fn look_up(tx: &Transaction, key: &IdempotencyKey) -> rusqlite::Result<Remembered> {
    let seen = tx
        .prepare_cached("SELECT request, job_id FROM idempotency WHERE key = ?1")?
        .query_row([&key.key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    Ok(match seen {
        None => Remembered::Fresh,
        Some((request, job_id)) if request == key.request => Remembered::Same(job_id),
        Some(_) => Remembered::Different,
    })
}

pub(super) fn remember(
    tx: &Transaction,
    key: &IdempotencyKey,
    job_id: &str,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO idempotency (key, request, job_id, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![key.key, key.request, job_id, now()],
    )?;
    Ok(())
}
