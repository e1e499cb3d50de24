//! A newer text of a document takes its place. A replacement belongs to the version that learned the newer text, and
//! holds for the live version if that version is the live one or one that it continues. So a rollback brings the earlier
//! text back, and going forward replaces it again.

use super::aliases::{line, live};
use super::error::Result;
use super::sql::Json;
use super::{Aliases, now};
use rusqlite::{Transaction, params};
use std::collections::HashSet;

/// A document that a newer text replaces.
#[derive(Debug, Clone, PartialEq)]
pub struct Replaced {
    /// Id of the earlier document.
    pub document: String,
    /// Id of the document with the newer text.
    pub by: String,
    /// The probes of the earlier document that are not asked any more: their ids, and why.
    pub retired: Vec<(String, String)>,
}

impl Aliases<'_> {
    /// The versions that learned a newer text of the document.
    pub fn replacing(&self, alias: &str, document: &str) -> Result<HashSet<u64>> {
        self.0.read("read what replaced a document", |c| {
            c.prepare_cached(
                "SELECT version FROM replacements WHERE alias = ?1 AND document_id = ?2",
            )?
            .query_map([alias, document], |row| Ok(row.get::<_, i64>(0)? as u64))?
            .collect()
        })
    }
}

pub(super) fn insert(
    tx: &Transaction,
    alias: &str,
    version: u64,
    replaced: &Replaced,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO replacements (document_id, alias, version, replaced_by)
         SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM documents WHERE id = ?1)",
        params![replaced.document, alias, version as i64, replaced.by],
    )?;
    for (probe, note) in &replaced.retired {
        tx.execute(
            "INSERT OR REPLACE INTO retired_probes (probe_id, version, note)
             SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM probes WHERE id = ?1)",
            params![probe, version as i64, note],
        )?;
    }
    Ok(())
}

/// Brings the states of the alias's documents, and the notes on their retired probes, in line with the live version.
/// Without a live version they stay as they are.
pub(super) fn refresh(tx: &Transaction, alias: &str) -> rusqlite::Result<()> {
    let Some(live) = live(tx, alias)?.flatten() else {
        return Ok(());
    };
    let line = line(tx, alias, live)?;
    let line = Json(line.into_iter().collect::<Vec<u64>>());
    tx.prepare_cached(
        "UPDATE documents SET replaced_by = coalesce((SELECT replaced_by FROM replacements AS r
             WHERE r.document_id = documents.id AND r.version IN (SELECT value FROM json_each(?2))
             ORDER BY r.version DESC LIMIT 1), CASE
                 -- The live version knows neither text.
                 WHEN version NOT IN (SELECT value FROM json_each(?2)) THEN replaced_by END)
         WHERE alias = ?1 AND state IN ('learned', 'replaced')
           AND id IN (SELECT document_id FROM replacements WHERE alias = ?1)",
    )?
    .execute(params![alias, line])?;
    tx.prepare_cached(
        "UPDATE documents SET updated_at = ?2,
                state = CASE WHEN replaced_by IS NULL THEN 'learned' ELSE 'replaced' END
         WHERE alias = ?1 AND state = CASE WHEN replaced_by IS NULL THEN 'replaced' ELSE 'learned' END",
    )?
    .execute(params![alias, now()])?;
    tx.prepare_cached(
        "UPDATE probes SET retired = (SELECT note FROM retired_probes AS r
             WHERE r.probe_id = probes.id AND r.version IN (SELECT value FROM json_each(?2))
             ORDER BY r.version DESC LIMIT 1)
         WHERE id IN (SELECT probe_id FROM retired_probes)
           AND alias = ?1",
    )?
    .execute(params![alias, line])?;
    Ok(())
}
