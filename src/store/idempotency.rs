//! Idempotency keys: a request sent twice with one key makes one job.

use super::sql::Json;
use super::{Posted, now};
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
    /// The key was seen with the same request. Holds the id of its job, and the posted documents if some were known.
    Same(String, Option<Vec<Posted>>),
    /// The key was seen with another request.
    Different,
}

pub(super) fn look_up(tx: &Transaction, key: &IdempotencyKey) -> rusqlite::Result<Remembered> {
    let seen = tx
        .prepare_cached("SELECT request, job_id, posted FROM idempotency WHERE key = ?1")?
        .query_row([&key.key], |row| {
            let posted = row.get::<_, Option<Json<_>>>(2)?.map(|json| json.0);
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, posted))
        })
        .optional()?;
    Ok(match seen {
        None => Remembered::Fresh,
        Some((request, job_id, posted)) if request == key.request => {
            Remembered::Same(job_id, posted)
        }
        Some(_) => Remembered::Different,
    })
}

pub(super) fn remember(
    tx: &Transaction,
    key: &IdempotencyKey,
    job_id: &str,
    posted: &[Posted],
) -> rusqlite::Result<()> {
    let some_known = posted.iter().any(|p| p.known);
    tx.execute(
        "INSERT INTO idempotency (key, request, job_id, created_at, posted)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            key.key,
            key.request,
            job_id,
            now(),
            some_known.then_some(Json(posted))
        ],
    )?;
    Ok(())
}
