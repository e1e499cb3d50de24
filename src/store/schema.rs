//! The tables, as a list of migrations. `PRAGMA user_version` counts the applied migrations. A released migration is
//! never edited; a new one is appended.

use super::error::{Error, Result};
use super::identity;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

const MIGRATIONS: &[&str] = &[INITIAL, TASKS, RETENTION, GONE, RECORDS, LIFE];

/// The migration after which the identities of the documents of earlier builds are computed.
const IDENTITIES: usize = 6;

const INITIAL: &str = "
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    alias TEXT NOT NULL,
    state TEXT NOT NULL,
    input TEXT NOT NULL,
    progress TEXT NOT NULL,
    result TEXT,
    error TEXT,
    attempt INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    pause_requested INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    heartbeat_at TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_by_alias ON jobs (alias, id);
-- Two running jobs of one alias are impossible, whatever the code above does.
CREATE UNIQUE INDEX one_running_job_per_alias ON jobs (alias) WHERE state = 'running';

CREATE TABLE steps (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (job_id, key)
) STRICT;

CREATE TABLE events (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    alias TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    questions TEXT NOT NULL,
    state TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    version INTEGER,
    report TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX documents_by_alias ON documents (alias, id);
CREATE INDEX documents_by_job ON documents (job_id, id);

CREATE TABLE probes (
    id TEXT PRIMARY KEY,
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    origin TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX probes_by_document ON probes (document_id, id);
CREATE INDEX probes_by_alias ON probes (alias, id);

CREATE TABLE scores (
    probe_id TEXT NOT NULL REFERENCES probes (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    correct INTEGER NOT NULL,
    logprob REAL,
    answer TEXT NOT NULL,
    PRIMARY KEY (probe_id, version)
) STRICT;
CREATE INDEX scores_by_alias ON scores (alias, version);

CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    live INTEGER,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (name, live) REFERENCES versions (alias, number) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE versions (
    alias TEXT NOT NULL REFERENCES aliases (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    base_digest TEXT NOT NULL,
    config_blob TEXT NOT NULL,
    weights_blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    parent INTEGER,
    lineage TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (alias, number)
) STRICT;
CREATE INDEX versions_by_digest ON versions (alias, digest);
CREATE INDEX versions_by_config ON versions (config_blob);
CREATE INDEX versions_by_weights ON versions (weights_blob);
";

const TASKS: &str = "
CREATE TABLE tasks (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    part TEXT NOT NULL,
    key TEXT NOT NULL,
    place INTEGER NOT NULL,
    state TEXT NOT NULL,
    owner TEXT,
    fence INTEGER NOT NULL,
    expires_at TEXT,
    PRIMARY KEY (job_id, part, key)
) STRICT;
";

/// The gate's verdict on each document, for the metrics, and each version's score on general probes.
const RETENTION: &str = "
ALTER TABLE documents ADD COLUMN verdict TEXT;

CREATE TABLE general_scores (
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    probes INTEGER NOT NULL,
    base_correct INTEGER NOT NULL,
    correct INTEGER NOT NULL,
    PRIMARY KEY (alias, version)
) STRICT;
";

/// Numbers of deleted documents by outcome, because a counter of past events must never fall.
const GONE: &str = "
CREATE TABLE gone_documents (
    state TEXT NOT NULL,
    verdict TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (state, verdict)
) STRICT;
CREATE TRIGGER count_gone_documents AFTER DELETE ON documents BEGIN
    INSERT INTO gone_documents VALUES (old.state, coalesce(old.verdict, ''), 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
END;
";

/// Columns for the fields of records that queries need, so that no query looks inside a record.
const RECORDS: &str = "
ALTER TABLE versions ADD COLUMN continues_parent INTEGER NOT NULL DEFAULT 0;
UPDATE versions SET continues_parent = 1
    WHERE CASE WHEN json_valid(lineage) THEN lineage ->> 'source' = 'ingest' END;

ALTER TABLE documents ADD COLUMN score_before REAL;
ALTER TABLE documents ADD COLUMN score_after REAL;
UPDATE documents SET score_before = report ->> 'score_before', score_after = report ->> 'score_after'
    WHERE CASE WHEN json_valid(report) THEN json_type(report) = 'object' END;
";

/// The life of a document: who it is, what it replaces, and since which version it is replaced. A replacement holds for
/// the versions that continue its version, so a rollback undoes it. `documents.replaced_by` and `probes.retired` show the
/// live version's view.
const LIFE: &str = "
ALTER TABLE documents ADD COLUMN external_id TEXT;
ALTER TABLE documents ADD COLUMN digest TEXT NOT NULL DEFAULT '';
ALTER TABLE documents ADD COLUMN title_key TEXT NOT NULL DEFAULT '';
ALTER TABLE documents ADD COLUMN replaces TEXT;
ALTER TABLE documents ADD COLUMN replaced_by TEXT;
CREATE INDEX documents_by_external_id ON documents (external_id, alias, id)
    WHERE external_id IS NOT NULL;
CREATE INDEX documents_by_digest ON documents (alias, digest);
CREATE INDEX documents_by_title ON documents (alias, title_key);
CREATE INDEX documents_by_replaced ON documents (replaces) WHERE replaces IS NOT NULL;

ALTER TABLE probes ADD COLUMN retired TEXT;

ALTER TABLE idempotency ADD COLUMN posted TEXT;

CREATE TABLE replacements (
    document_id TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    replaced_by TEXT NOT NULL,
    PRIMARY KEY (document_id, version)
) STRICT;
CREATE INDEX replacements_by_alias ON replacements (alias, version);

CREATE TABLE retired_probes (
    probe_id TEXT NOT NULL REFERENCES probes (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (probe_id, version)
) STRICT;
";

/// Opens a connection with durable commits: a commit is on the disk when it returns.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|source| Error::OpenDatabase {
        path: path.into(),
        source,
    })
}

pub(super) fn migrate(connection: &mut Connection) -> Result<()> {
    let known = MIGRATIONS.len();
    let found = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(|source| Error::Migrate {
            version: known,
            source,
        })? as usize;
    if found > known {
        return Err(Error::Newer { found, known });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let version = index + 1;
        let mut apply = || {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(sql)?;
            if version == IDENTITIES {
                identity::fill(&tx)?;
            }
            tx.pragma_update(None, "user_version", version as i64)?;
            tx.commit()
        };
        apply().map_err(|source| Error::Migrate { version, source })?;
    }
    Ok(())
}
