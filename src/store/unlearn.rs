//! Deleting a document with what was learned from it: its row, probes and scores, the versions that hold it, and its
//! traces in lineages, steps, events and the result of its job. One transaction does it all, together with the new version
//! if there is one.

use super::aliases::{Expected, NewVersion, compare, get_version, insert, line, live};
use super::error::Result;
use super::sql::{Figures, Json, RecordText};
use super::{Aliases, Version, now, replacements};
use rusqlite::{Transaction, params};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What goes with a deleted document.
pub struct Removal<'a> {
    /// Id of the document.
    pub document: &'a str,
    /// The versions that go because they hold the document.
    pub versions: &'a BTreeSet<u64>,
    /// Rewrites the lineage of a version that stays; `None` if it does not name the document.
    pub strip: &'a dyn Fn(&Value) -> Option<Value>,
}

impl Aliases<'_> {
    /// Publishes a version without the document and removes the document, in one transaction. Other documents learned
    /// by the removed versions belong to the new version. Fails with a conflict unless the live version is as expected.
    pub fn publish_without(
        &self,
        alias: &str,
        expected: Expected,
        new: NewVersion,
        removal: &Removal,
    ) -> Result<Version> {
        self.0.write("unlearn a document", |tx| {
            let live = live(tx, alias)?.flatten();
            if let Err(conflict) = compare(alias, expected, live) {
                return Ok(Err(conflict));
            }
            let number = insert(tx, alias, live, &new)?;
            tx.execute(
                "UPDATE documents SET version = ?3 WHERE alias = ?1 AND state = 'learned'
                   AND version IN (SELECT value FROM json_each(?2))",
                params![alias, Json(removal.versions), number as i64],
            )?;
            remove(tx, alias, removal)?;
            let version = get_version(tx, alias, number)?;
            Ok(Ok(version.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
        })?
    }

    /// Removes a document that the live version does not know. Fails with a conflict unless the live version is as
    /// expected.
    pub fn remove_document(
        &self,
        alias: &str,
        expected: Expected,
        removal: &Removal,
    ) -> Result<()> {
        self.0.write("delete a document", |tx| {
            let live = live(tx, alias)?.flatten();
            if let Err(conflict) = compare(alias, expected, live) {
                return Ok(Err(conflict));
            }
            remove(tx, alias, removal)?;
            Ok(Ok(()))
        })?
    }
}

fn remove(tx: &Transaction, alias: &str, removal: &Removal) -> rusqlite::Result<()> {
    let live = live(tx, alias)?.flatten();
    let line = live.map(|live| line(tx, alias, live)).transpose()?;
    let line: Vec<u64> = line.into_iter().flatten().collect();
    for version in removal.versions {
        collapse(tx, alias, *version, &line)?;
    }
    strip_lineages(tx, alias, removal)?;
    let id = removal.document;
    tx.execute(
        "DELETE FROM steps WHERE job_id = (SELECT job_id FROM documents WHERE id = ?1)
           AND substr(key, 1, length(?1) + 1) = ?1 || ':'",
        [id],
    )?;
    // The numbers of events have no gap, so an event stays without its text.
    tx.execute(
        "UPDATE events SET data = ?2 WHERE job_id = (SELECT job_id FROM documents WHERE id = ?1)
           AND data ->> 'document_id' = ?1",
        params![id, Json(json!({"document_id": id, "deleted": true}))],
    )?;
    tx.execute(
        "UPDATE jobs SET result = json_set(result, '$.documents',
             json((SELECT json_group_array(json(value)) FROM json_each(result, '$.documents')
                   WHERE value ->> 'id' IS NOT ?1)))
         WHERE id = (SELECT job_id FROM documents WHERE id = ?1)
           AND json_type(result, '$.documents') = 'array'",
        [id],
    )?;
    tx.execute("DELETE FROM documents WHERE id = ?1", [id])?;
    replacements::refresh(tx, alias)
}

/// Deletes a version. The versions made from it follow its parent and inherit its replacements, and one that continues
/// it, of the live `line` before others, its documents.
fn collapse(tx: &Transaction, alias: &str, version: u64, line: &[u64]) -> rusqlite::Result<()> {
    let named = params![alias, version as i64];
    tx.execute(
        "UPDATE documents SET version = coalesce((SELECT number FROM versions AS child
             WHERE child.alias = ?1 AND child.parent = ?2 AND child.continues_parent
             ORDER BY number IN (SELECT value FROM json_each(?3)) DESC, number DESC LIMIT 1), version)
         WHERE alias = ?1 AND version = ?2",
        params![alias, version as i64, Json(line)],
    )?;
    tx.execute(
        "INSERT OR IGNORE INTO replacements (document_id, alias, version, replaced_by)
         SELECT document_id, r.alias, child.number, replaced_by FROM replacements AS r
         JOIN versions AS child ON child.alias = r.alias AND child.parent = r.version
         WHERE r.alias = ?1 AND r.version = ?2 AND child.continues_parent",
        named,
    )?;
    tx.execute(
        "INSERT OR IGNORE INTO retired_probes (probe_id, version, note)
         SELECT probe_id, child.number, note FROM retired_probes AS r
         JOIN probes ON probes.id = probe_id
         JOIN versions AS child ON child.alias = probes.alias AND child.parent = r.version
         WHERE probes.alias = ?1 AND r.version = ?2 AND child.continues_parent",
        named,
    )?;
    for sql in [
        "DELETE FROM replacements WHERE alias = ?1 AND version = ?2",
        "DELETE FROM retired_probes WHERE version = ?2
           AND probe_id IN (SELECT id FROM probes WHERE alias = ?1)",
        "UPDATE versions SET parent = (SELECT parent FROM versions WHERE alias = ?1 AND number = ?2)
         WHERE alias = ?1 AND parent = ?2",
        "DELETE FROM scores WHERE alias = ?1 AND version = ?2",
        "DELETE FROM general_scores WHERE alias = ?1 AND version = ?2",
        "DELETE FROM versions WHERE alias = ?1 AND number = ?2",
    ] {
        tx.execute(sql, named)?;
    }
    Ok(())
}

fn strip_lineages(tx: &Transaction, alias: &str, removal: &Removal) -> rusqlite::Result<()> {
    let lineages: Vec<(i64, RecordText)> = tx
        .prepare("SELECT number, lineage FROM versions WHERE alias = ?1")?
        .query_map([alias], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (number, lineage) in lineages {
        if let Some(stripped) = (removal.strip)(&lineage.0) {
            tx.execute(
                "UPDATE versions SET lineage = ?3 WHERE alias = ?1 AND number = ?2",
                params![alias, number, Figures(&stripped)],
            )?;
        }
    }
    tx.execute(
        "UPDATE aliases SET updated_at = ?2 WHERE name = ?1",
        params![alias, now()],
    )?;
    Ok(())
}
