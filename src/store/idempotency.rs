//! Idempotency keys: a request sent twice under one key makes one job.

use super::now;
use rusqlite::{OptionalExtension, Transaction, params};

/// A client's key with the digest of the request it came with.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    pub key: String,
    /// Digest of everything in the request that matters.
    pub request: String,
}

pub(super) enum Remembered {
    Fresh,
    /// Seen with the same request: the job it made.
    Same(String),
    /// Seen with another request.
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
