//! Which posted documents are known already, and which earlier documents they replace. A post decides within its own
//! transaction, so two posts of one text at the same moment learn it once.

use super::aliases::{line, live};
use super::documents::{DocumentState, NewDocument};
use super::identity::{alike, document_digest, title_key};
use rusqlite::{Row, Transaction, params};
use std::collections::HashSet;

/// Most documents under one title whose texts are compared with a posted one, the newest first; of the same post as many
/// again.
const COMPARED: usize = 50;

/// What a posted document is to its alias.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Identity {
    /// Learned already, or waiting to be learned; holds the id of the earlier document.
    Known(String),
    New {
        /// Id of the document that this one replaces once it is learned.
        replaces: Option<String>,
        external_id: Option<String>,
    },
}

/// Decides on each of the posted documents, in their order. Earlier documents of the same post count too.
pub(super) fn identify(
    tx: &Transaction,
    alias: &str,
    posted: &[NewDocument],
) -> rusqlite::Result<Vec<Identity>> {
    let line = match live(tx, alias)? {
        None => None,
        Some(None) => Some(HashSet::new()),
        Some(Some(live)) => Some(line(tx, alias, live)?),
    };
    let look_up = LookUp { tx, alias, line };
    let mut found: Vec<Identity> = Vec::new();
    let posted: Vec<Incoming> = posted.iter().map(Incoming::new).collect();
    for (nth, document) in posted.iter().enumerate() {
        let before = posted[..nth].iter().zip(&found);
        let identity = look_up.identify(document, before.rev())?;
        found.push(identity);
    }
    Ok(found)
}

/// A posted document with what tells it from others.
struct Incoming<'a> {
    document: &'a NewDocument,
    digest: String,
    title_key: String,
}

impl<'a> Incoming<'a> {
    fn new(document: &'a NewDocument) -> Self {
        Incoming {
            document,
            digest: document_digest(&document.title, &document.text),
            title_key: title_key(&document.title),
        }
    }
}

struct LookUp<'a> {
    tx: &'a Transaction<'a>,
    alias: &'a str,
    /// The live version and the versions that it continues; `None` if the alias has never had a version.
    line: Option<HashSet<u64>>,
}

/// A stored document, as far as its identity matters.
struct Earlier {
    id: String,
    external_id: Option<String>,
    state: DocumentState,
    version: Option<u64>,
    text: String,
}

impl LookUp<'_> {
    /// `before`: the documents before this one in the same post, the nearest first.
    fn identify<'p>(
        &self,
        posted: &Incoming<'_>,
        before: impl Iterator<Item = (&'p Incoming<'p>, &'p Identity)> + Clone,
    ) -> rusqlite::Result<Identity> {
        let Incoming {
            document,
            digest,
            title_key,
        } = posted;
        let mut external_id = document.external_id.clone();
        if !document.again {
            let mut same = before.clone().filter(|(other, _)| {
                other.digest == *digest && may_be_one(&external_id, &other.document.external_id)
            });
            if let Some((other, identity)) = same.next() {
                let id = match identity {
                    Identity::Known(id) => id,
                    Identity::New { .. } => &other.document.id,
                };
                return Ok(Identity::Known(id.clone()));
            }
            if let Some(id) = self.known(digest, &external_id)? {
                return Ok(Identity::Known(id));
            }
        }
        let mut replaces = None;
        if document.replace {
            let mut compared = 0;
            let mut newer = before.filter(|(other, identity)| {
                if !matches!(identity, Identity::New { .. }) {
                    return false;
                }
                let other_id = &other.document.external_id;
                let by_id = external_id.is_some() && *other_id == external_id;
                let comparable = compared < COMPARED
                    && may_take_over(&external_id, other_id)
                    && other.title_key == *title_key;
                compared += usize::from(comparable);
                by_id || (comparable && alike(&other.document.text, &document.text))
            });
            if let Some((other, _)) = newer.next() {
                replaces = Some(other.document.id.clone());
                external_id = external_id.or_else(|| other.document.external_id.clone());
            } else if let Some(old) = self.replaced(document, title_key)? {
                external_id = external_id.or(old.external_id);
                replaces = Some(old.id);
            }
        }
        Ok(Identity::New {
            replaces,
            external_id,
        })
    }

    /// The document with this text that is learned or waits, unless it is about to be replaced or unlearned.
    fn known(
        &self,
        digest: &str,
        external_id: &Option<String>,
    ) -> rusqlite::Result<Option<String>> {
        let same: Vec<Earlier> = self
            .tx
            .prepare_cached(
                "SELECT * FROM documents AS d
                 WHERE alias = ?1 AND digest = ?2 AND state IN ('queued', 'learning', 'learned')
                   AND NOT EXISTS (SELECT 1 FROM documents WHERE replaces = d.id
                                   AND state IN ('queued', 'learning'))
                   AND NOT EXISTS (SELECT 1 FROM jobs WHERE alias = ?1 AND kind = 'unlearn'
                                   AND finished_at IS NULL AND input ->> 'document' = d.id)
                 ORDER BY id DESC",
            )?
            .query_map([self.alias, digest], earlier)?
            .collect::<rusqlite::Result<_>>()?;
        let mut known = same
            .into_iter()
            .filter(|old| self.in_force(old) && may_be_one(external_id, &old.external_id));
        let found = known.next();
        if let (Some(old), Some(external_id)) = (&found, external_id)
            && old.external_id.is_none()
        {
            self.tx.execute(
                "UPDATE documents SET external_id = ?2 WHERE id = ?1",
                [&old.id, external_id],
            )?;
        }
        Ok(found.map(|old| old.id))
    }

    /// The document that a newer text replaces: the newest one with the same external id, else the newest one with the
    /// same title and a text alike.
    fn replaced(&self, document: &NewDocument, key: &str) -> rusqlite::Result<Option<Earlier>> {
        const OPEN: &str = "state IN ('queued', 'learning', 'learned')";
        if let Some(external_id) = &document.external_id {
            let same: Vec<Earlier> = self
                .tx
                .prepare_cached(&format!(
                    "SELECT * FROM documents WHERE alias = ?1 AND external_id = ?2 AND {OPEN}
                     ORDER BY id DESC"
                ))?
                .query_map([self.alias, external_id], earlier)?
                .collect::<rusqlite::Result<_>>()?;
            if let Some(old) = same.into_iter().find(|old| self.in_force(old)) {
                return Ok(Some(old));
            }
        }
        let titled: Vec<Earlier> = self
            .tx
            .prepare_cached(&format!(
                "SELECT * FROM documents WHERE alias = ?1 AND title_key = ?2 AND {OPEN}
                 ORDER BY id DESC LIMIT ?3"
            ))?
            .query_map(params![self.alias, key, COMPARED as i64], earlier)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(titled.into_iter().find(|old| {
            self.in_force(old)
                && may_take_over(&document.external_id, &old.external_id)
                && alike(&old.text, &document.text)
        }))
    }

    /// Whether the document waits to be learned, or the live version knows it.
    fn in_force(&self, document: &Earlier) -> bool {
        match document.state {
            DocumentState::Queued | DocumentState::Learning => true,
            _ => match &self.line {
                Some(line) => document.version.is_some_and(|v| line.contains(&v)),
                None => true,
            },
        }
    }
}

/// Whether documents with these external ids may be one and the same: two different ids name two documents.
fn may_be_one(new: &Option<String>, old: &Option<String>) -> bool {
    new.is_none() || old.is_none() || new == old
}

/// Whether a document may replace another one by its title: an external id is given up only by the same id or none.
fn may_take_over(new: &Option<String>, old: &Option<String>) -> bool {
    new.is_none() || old.is_none()
}

fn earlier(row: &Row) -> rusqlite::Result<Earlier> {
    Ok(Earlier {
        id: row.get("id")?,
        external_id: row.get("external_id")?,
        state: row.get("state")?,
        version: row.get::<_, Option<i64>>("version")?.map(|v| v as u64),
        text: row.get("text")?,
    })
}
