//! Aliases and their versions. An alias is a name for a line of adapters.
//!
//! A version never changes. An alias has at most one live version. One compare-and-swap moves the alias, in the same
//! transaction that inserts the new version.

use super::error::{Error, Result};
use super::replacements::{self, Replaced};
use super::sql::{Figures, RecordText, page_limit};
use super::{JobState, Page, Store, now};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alias {
    pub name: String,
    /// `None` after an unload; requests may still name a version by number.
    pub live: Option<u64>,
    /// Digest of the live version.
    pub digest: Option<String>,
    /// Number of versions.
    pub versions: u64,
    /// Number of documents learned by the live version and by the versions that it continues.
    pub documents: u64,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Version {
    pub alias: String,
    pub number: u64,
    /// Digest of the adapter as a whole.
    pub digest: String,
    /// Digest of the base model that the version was made for. On another base it would answer nonsense.
    pub base_digest: String,
    pub config_blob: String,
    pub weights_blob: String,
    /// Size of the files in bytes.
    pub bytes: u64,
    /// The version that was live before this one was published.
    pub parent: Option<u64>,
    /// The record of how the version was made: documents, self-edits, settings, scores.
    pub lineage: Value,
    pub created_at: String,
}

#[derive(Debug, Clone)]
pub struct NewVersion {
    pub digest: String,
    pub base_digest: String,
    pub config_blob: String,
    pub weights_blob: String,
    pub bytes: u64,
    pub lineage: Value,
    /// Whether the version keeps the knowledge of its parent, as after an ingest. An upload does not.
    pub continues_parent: bool,
    /// Documents that become `learned` in the same transaction, so that no document is learned twice after a crash.
    pub documents: Vec<String>,
    /// Documents whose place the learned ones take, in the same transaction.
    pub replaced: Vec<Replaced>,
}

/// The live version that the caller expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Anything,
    /// Exactly this version; `None`: no alias yet, or no live version.
    Exactly(Option<u64>),
}

impl From<Option<u64>> for Expected {
    /// An optional condition of a request; `None` skips the check.
    fn from(version: Option<u64>) -> Self {
        version.map_or(Expected::Anything, |v| Expected::Exactly(Some(v)))
    }
}

pub struct Aliases<'a>(pub(super) &'a Store);

const SELECT: &str = "SELECT aliases.*, (SELECT digest FROM versions
           WHERE alias = name AND number = live) AS digest,
       (SELECT count(*) FROM versions WHERE alias = name) AS versions
     FROM aliases";

/// The common table `line(number)`: version ?2 of the alias ?1 and the versions that it continues. After a rollback
/// these are not all versions.
const LINE: &str = "WITH RECURSIVE line(number) AS (
         SELECT ?2
         UNION SELECT parent FROM versions JOIN line USING (number)
         WHERE alias = ?1 AND parent IS NOT NULL AND continues_parent)";

impl Aliases<'_> {
    pub fn get(&self, name: &str) -> Result<Option<Alias>> {
        self.0.read("read an adapter", |c| {
            c.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?
                .query_row([name], |row| alias(c, row))
                .optional()
        })
    }

    /// The aliases, sorted by name.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Result<Page<Alias>> {
        let limit = page_limit(limit);
        let rows = self.0.read("list adapters", |c| {
            c.prepare_cached(&format!(
                "{SELECT} WHERE ?1 IS NULL OR name > ?1 ORDER BY name LIMIT ?2"
            ))?
            .query_map(params![after, limit as i64 + 1], |row| alias(c, row))?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::cut(rows, limit, |a| a.name.clone()))
    }

    pub fn version(&self, alias: &str, number: u64) -> Result<Option<Version>> {
        self.0
            .read("read a version", |c| get_version(c, alias, number))
    }

    /// The live version. One query reads it, so that the alias cannot move in between.
    pub fn live_version(&self, alias: &str) -> Result<Option<Version>> {
        self.0.read("read the live version", |c| {
            c.prepare_cached(
                "SELECT versions.* FROM versions JOIN aliases ON alias = name AND number = live
                 WHERE alias = ?1",
            )?
            .query_row([alias], version)
            .optional()
        })
    }

    /// The versions, newest first. The cursor `after` is a version number.
    pub fn versions(&self, alias: &str, after: Option<u64>, limit: usize) -> Result<Page<Version>> {
        let limit = page_limit(limit);
        let rows = self.0.read("list versions", |c| {
            c.prepare_cached(
                "SELECT * FROM versions WHERE alias = ?1 AND (?2 IS NULL OR number < ?2)
                 ORDER BY number DESC LIMIT ?3",
            )?
            .query_map(
                params![alias, after.map(|n| n as i64), limit as i64 + 1],
                version,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::cut(rows, limit, |v| v.number.to_string()))
    }

    /// Numbers of the version and of the versions that it continues.
    pub fn line(&self, alias: &str, number: u64) -> Result<HashSet<u64>> {
        self.0
            .read("read what a version continues", |c| line(c, alias, number))
    }

    /// The versions with a digest that starts with `prefix`, newest first.
    pub fn versions_by_digest(&self, alias: &str, prefix: &str) -> Result<Vec<Version>> {
        self.0.read("look a digest up", |c| {
            c.prepare_cached(
                "SELECT * FROM versions WHERE alias = ?1 AND substr(digest, 1, length(?2)) = ?2
                 ORDER BY number DESC",
            )?
            .query_map([alias, prefix], version)?
            .collect()
        })
    }

    /// Inserts the next version and makes it live. Fails with a conflict unless the live version is as expected. The
    /// blobs must be stored already (see `Blobs::guard`).
    pub fn publish(&self, alias: &str, expected: Expected, new: NewVersion) -> Result<Version> {
        self.0.write("publish a version", |tx| {
            let live = live(tx, alias)?;
            if let Err(conflict) = compare(alias, expected, live.flatten()) {
                return Ok(Err(conflict));
            }
            let number = insert(tx, alias, live.flatten(), &new)?;
            replacements::refresh(tx, alias)?;
            let version = get_version(tx, alias, number)?;
            Ok(Ok(version.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
        })?
    }

    /// Points the alias at one of its versions, or at none.
    pub fn move_live(&self, alias: &str, expected: Expected, to: Option<u64>) -> Result<()> {
        self.0.write("move an adapter", |tx| {
            let Some(live) = live(tx, alias)? else {
                return Ok(Err(Error::NoAlias {
                    alias: alias.into(),
                }));
            };
            if let Err(conflict) = compare(alias, expected, live) {
                return Ok(Err(conflict));
            }
            if let Some(number) = to
                && get_version(tx, alias, number)?.is_none()
            {
                return Ok(Err(Error::NoVersion {
                    alias: alias.into(),
                    number,
                }));
            }
            tx.execute(
                "UPDATE aliases SET live = ?2, updated_at = ?3 WHERE name = ?1",
                params![alias, to.map(|n| n as i64), now()],
            )?;
            replacements::refresh(tx, alias)?;
            Ok(Ok(()))
        })?
    }

    /// Deletes the alias with its versions, documents, probes and scores. Its finished jobs stay as a record, but lose
    /// their steps and events, which hold texts. A later alias of the same name starts from nothing. Fails while a job
    /// of the alias is unfinished.
    pub fn delete(&self, alias: &str, expected: Expected) -> Result<()> {
        self.0.write("delete an adapter", |tx| {
            let live = live(tx, alias)?;
            // An alias without any learned document has no version, but it may have documents to delete.
            if live.is_none() && !has_documents(tx, alias)? {
                return Ok(Err(Error::NoAlias {
                    alias: alias.into(),
                }));
            }
            if let Err(conflict) = compare(alias, expected, live.flatten()) {
                return Ok(Err(conflict));
            }
            if let Some((job, state)) = unfinished_job(tx, alias)? {
                return Ok(Err(Error::AliasBusy {
                    alias: alias.into(),
                    job,
                    state,
                }));
            }
            for table in ["steps", "events"] {
                tx.execute(
                    &format!(
                        "DELETE FROM {table} WHERE job_id IN (SELECT id FROM jobs WHERE alias = ?1)"
                    ),
                    [alias],
                )?;
            }
            tx.execute("DELETE FROM documents WHERE alias = ?1", [alias])?;
            tx.execute("DELETE FROM general_scores WHERE alias = ?1", [alias])?;
            tx.execute("DELETE FROM aliases WHERE name = ?1", [alias])?;
            Ok(Ok(()))
        })?
    }
}

/// Inserts the next version, makes it live and marks its documents. Returns its number.
pub(super) fn insert(
    tx: &Transaction,
    alias: &str,
    live: Option<u64>,
    new: &NewVersion,
) -> rusqlite::Result<u64> {
    let at = now();
    let number: i64 = tx.query_row(
        "SELECT 1 + coalesce(max(number), 0) FROM versions WHERE alias = ?1",
        [alias],
        |row| row.get(0),
    )?;
    tx.execute(
        "INSERT INTO aliases (name, live, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (name) DO UPDATE SET live = ?2, updated_at = ?3",
        params![alias, number, at],
    )?;
    tx.execute(
        "INSERT INTO versions (alias, number, digest, base_digest, config_blob, weights_blob,
                               bytes, parent, lineage, continues_parent, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            alias,
            number,
            new.digest,
            new.base_digest,
            new.config_blob,
            new.weights_blob,
            new.bytes as i64,
            live.map(|n| n as i64),
            Figures(&new.lineage),
            new.continues_parent,
            at
        ],
    )?;
    for id in &new.documents {
        tx.execute(
            "UPDATE documents SET state = 'learned', version = ?2, updated_at = ?3 WHERE id = ?1",
            params![id, number, at],
        )?;
    }
    for replaced in &new.replaced {
        replacements::insert(tx, alias, number as u64, replaced)?;
    }
    Ok(number as u64)
}

/// Numbers of the version and of the versions that it continues.
pub(super) fn line(c: &Connection, alias: &str, number: u64) -> rusqlite::Result<HashSet<u64>> {
    c.prepare_cached(&format!("{LINE} SELECT number FROM line"))?
        .query_map(params![alias, number as i64], |row| {
            Ok(row.get::<_, i64>(0)? as u64)
        })?
        .collect()
}

/// Whether a version names the blob, or a step of an unfinished job.
pub(super) fn blob_is_used(c: &Connection, digest: &str) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM versions WHERE config_blob = ?1)
             OR EXISTS (SELECT 1 FROM versions WHERE weights_blob = ?1)
             OR EXISTS (SELECT 1 FROM steps JOIN jobs ON jobs.id = job_id
                        WHERE finished_at IS NULL AND instr(value, ?1) > 0)
             OR EXISTS (SELECT 1 FROM jobs WHERE finished_at IS NULL AND instr(input, ?1) > 0)",
    )?
    .query_row([digest], |row| row.get(0))
}

/// `None`: no such alias; `Some(None)`: an alias with nothing live.
pub(super) fn live(tx: &Transaction, alias: &str) -> rusqlite::Result<Option<Option<u64>>> {
    tx.prepare_cached("SELECT live FROM aliases WHERE name = ?1")?
        .query_row([alias], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.map(|n| n as u64))
        })
        .optional()
}

pub(super) fn compare(alias: &str, expected: Expected, live: Option<u64>) -> Result<()> {
    match expected {
        Expected::Exactly(expected) if expected != live => Err(Error::Conflict {
            alias: alias.into(),
            expected,
            live,
        }),
        _ => Ok(()),
    }
}

fn has_documents(tx: &Transaction, alias: &str) -> rusqlite::Result<bool> {
    tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM documents WHERE alias = ?1)",
        [alias],
        |row| row.get(0),
    )
}

fn unfinished_job(tx: &Transaction, alias: &str) -> rusqlite::Result<Option<(String, JobState)>> {
    tx.query_row(
        "SELECT id, state FROM jobs WHERE alias = ?1 AND finished_at IS NULL ORDER BY id LIMIT 1",
        [alias],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .optional()
}

pub(super) fn get_version(
    c: &Connection,
    alias: &str,
    number: u64,
) -> rusqlite::Result<Option<Version>> {
    c.prepare_cached("SELECT * FROM versions WHERE alias = ?1 AND number = ?2")?
        .query_row(params![alias, number as i64], version)
        .optional()
}

fn alias(c: &Connection, row: &Row) -> rusqlite::Result<Alias> {
    let name: String = row.get("name")?;
    let live: Option<i64> = row.get("live")?;
    Ok(Alias {
        documents: live.map_or(Ok(0), |live| count_documents(c, &name, live))?,
        name,
        live: live.map(|n| n as u64),
        digest: row.get("digest")?,
        versions: row.get::<_, i64>("versions")? as u64,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// A separate query, because within the alias's query SQLite would walk the line again for every document.
fn count_documents(c: &Connection, alias: &str, live: i64) -> rusqlite::Result<u64> {
    let mut count = c.prepare_cached(&format!(
        "{LINE} SELECT count(*) FROM documents
         WHERE alias = ?1 AND state = 'learned' AND version IN line"
    ))?;
    let documents = count.query_row(params![alias, live], |row| row.get::<_, i64>(0))?;
    Ok(documents as u64)
}

fn version(row: &Row) -> rusqlite::Result<Version> {
    Ok(Version {
        alias: row.get("alias")?,
        number: row.get::<_, i64>("number")? as u64,
        digest: row.get("digest")?,
        base_digest: row.get("base_digest")?,
        config_blob: row.get("config_blob")?,
        weights_blob: row.get("weights_blob")?,
        bytes: row.get::<_, i64>("bytes")? as u64,
        parent: row.get::<_, Option<i64>>("parent")?.map(|n| n as u64),
        lineage: row.get::<_, RecordText>("lineage")?.0,
        created_at: row.get("created_at")?,
    })
}
