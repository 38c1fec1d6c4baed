//! The index of the log: SQLite rows without bodies, made to find entries, never to prove anything.
//!
//! Knows rows and the log's reader. The log is the truth: an index that is missing, broken, of another
//! log or behind is made again from it.

mod sql;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use aegis_log::{Entries, Entry, ReadError, Reader};
use prost::Message as _;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Statement, Transaction, params};

pub use self::writer::IndexWriter;
pub use crate::query::Filter;
use crate::{
    proto::event::Event,
    record::{Mark, Row},
};

/// Raised when the tables change; an index of another version is made again.
const VERSION: i64 = 4;
/// Rows of one transaction while catching up.
const CATCH_UP: usize = 5_000;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, kind INTEGER NOT NULL, verdict INTEGER NOT NULL,
  agent INTEGER NOT NULL, session INTEGER NOT NULL, rule INTEGER NOT NULL, reason INTEGER NOT NULL,
  pid INTEGER NOT NULL, start INTEGER NOT NULL, path BLOB NOT NULL);
CREATE TABLE repeats (of INTEGER PRIMARY KEY, seq INTEGER NOT NULL, total INTEGER NOT NULL);
";
/// What answers questions quickly. Without it they are answered all the same.
const MAKE_WAYS: &str = "
CREATE INDEX IF NOT EXISTS by_agent ON entries (agent, seq);
CREATE INDEX IF NOT EXISTS by_session ON entries (session, seq);
CREATE INDEX IF NOT EXISTS by_denial ON entries (seq) WHERE verdict >= 3;
CREATE INDEX IF NOT EXISTS by_kind ON entries (kind, seq) WHERE kind NOT IN (10, 11, 20, 30);
";
const DROP_WAYS: &str = "
DROP INDEX IF EXISTS by_agent; DROP INDEX IF EXISTS by_session; DROP INDEX IF EXISTS by_denial; DROP INDEX IF EXISTS by_kind;
";
/// Stands for the paths of an entry that is encrypted in the log. No name is empty, so that no entry has these bytes.
const HIDDEN_PATH: &[u8] = &[0];
const INSERT: &str = "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
/// An empty index that has as many entries before it has its ways made when all are there: sorted at once they cost a third of
/// what each entry in its place costs.
const MANY: u64 = 50_000;

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite failed.
    #[error("index {path}: {source}; remove the file, it is made again from the log")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file could not be removed.
    #[error("index {path} cannot be replaced: {source}")]
    Replace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log could not be read.
    #[error("reading the log for the index: {0}")]
    Log(String),
    /// An entry's body is not an event.
    #[error("entry {seq} has a body that is no event: {source}")]
    Body {
        /// Its sequence number.
        seq: u64,
        /// Why.
        source: prost::DecodeError,
    },
}

/// The index, open for writing. One thread owns it.
pub struct Index {
    path: PathBuf,
    connection: Connection,
    names: std::collections::HashMap<String, i64>,
    /// The first entry in it.
    first_seq: u64,
    next_seq: u64,
    /// Entries before it are encrypted in the log, and the index does not say their paths.
    hidden: u64,
    /// Whether it has its ways.
    ways: bool,
}

impl Index {
    /// Opens the index of the log named by `chain`, or makes a new one.
    ///
    /// # Errors
    /// When it can neither be opened nor replaced.
    pub fn open(path: &Path, chain: [u8; 16]) -> Result<Self, IndexError> {
        match Self::try_open(path, chain) {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "the index is made again from the log"),
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(IndexError::Replace { path: name.into(), source });
                }
                _ => {}
            }
        }
        let made = Self::create(path, chain).and_then(|()| Self::try_open(path, chain));
        made.and_then(|index| index.ok_or(rusqlite::Error::QueryReturnedNoRows))
            .map_err(|source| IndexError::Sqlite { path: path.into(), source })
    }

    fn create(path: &Path, chain: [u8; 16]) -> rusqlite::Result<()> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let tx = connection.transaction()?;
        tx.execute_batch(SCHEMA)?;
        let (high, low) = chain_halves(chain);
        put_meta(&tx, "chain_high", high)?;
        put_meta(&tx, "chain_low", low)?;
        tx.pragma_update(None, "user_version", VERSION)?;
        tx.commit()
    }

    /// `None` when the file is not an index of this log and version.
    fn try_open(path: &Path, chain: [u8; 16]) -> rusqlite::Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // What is lost with the machine is found in the log again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
        let (high, low) = chain_halves(chain);
        let same = version == VERSION
            && meta(&connection, "chain_high")? == Some(high)
            && meta(&connection, "chain_low")? == Some(low);
        if !same {
            return Ok(None);
        }
        // Where making it anew was interrupted before it had them.
        connection.execute_batch(MAKE_WAYS)?;
        // What is removed from the log is not to be found in free pages.
        connection.pragma_update(None, "secure_delete", "ON")?;
        let end = |which: &str| -> rusqlite::Result<Option<u64>> {
            let seq = connection.query_row(&format!("SELECT {which}(seq) FROM entries"), [], |r| r.get::<_, Option<i64>>(0))?;
            Ok(seq.map(unsigned))
        };
        let (first_seq, next_seq) = (end("min")?.unwrap_or(0), end("max")?.map_or(0, |seq| seq + 1));
        let names = std::collections::HashMap::new();
        let hidden = meta(&connection, "hidden")?.map_or(0, unsigned);
        Ok(Some(Self { path: path.into(), connection, names, first_seq, next_seq, hidden, ways: true }))
    }

    /// Sequence number of the first entry that is not in the index.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Adds rows that follow on [`Index::next_seq`]; others are left out. Answers whether rows are
    /// missing before them: then [`Index::catch_up`] is due.
    ///
    /// # Errors
    /// SQLite failed; nothing was added.
    pub fn add(&mut self, rows: &[Row]) -> Result<bool, IndexError> {
        let mut next = self.next_seq;
        let mut gap = false;
        let mut kernel_seq = 0;
        let (tx, names) = (self.connection.transaction(), &mut self.names);
        let add = || {
            let tx = tx?;
            let mut entries = tx.prepare_cached(INSERT)?;
            for row in rows {
                if row.seq < next {
                    continue;
                }
                if row.seq > next {
                    gap = true;
                    break;
                }
                kernel_seq = if row.mark == Mark::KernelAnew { 0 } else { kernel_seq.max(row.kernel_seq) };
                insert(&tx, &mut entries, names, row)?;
                next += 1;
            }
            drop(entries);
            if kernel_seq > 0 {
                raise_meta(&tx, "kernel_seq", kernel_seq)?;
            }
            tx.commit()
        };
        if let Err(error) = add() {
            // Names of a transaction that is undone have no number.
            self.names.clear();
            return Err(sqlite(&self.path, error));
        }
        self.next_seq = next;
        Ok(gap)
    }

    /// Adds what the log has and the index has not.
    ///
    /// # Errors
    /// The log cannot be read, or SQLite failed.
    pub fn catch_up(&mut self, log: &mut Reader) -> Result<(), IndexError> {
        let size = log.refresh().map_err(|e| IndexError::Log(e.to_string()))?;
        if self.next_seq > size {
            // More rows than the log has entries: it was cut. Nothing of it can be trusted.
            return Err(IndexError::Log(format!(
                "the index has {} entries and the log {size}: the log was cut, run `aegis verify`",
                self.next_seq
            )));
        }
        self.prune(log.first())?;
        let added = if self.next_seq > log.first() || size - log.first() < MANY {
            Rows::from(log, self.next_seq).try_for_each(|rows| self.add(&rows?).map(|_| ()))
        } else {
            self.batch(DROP_WAYS)?;
            self.ways = false;
            self.add_many_from(log)
        };
        // Also where there was no room for them before.
        if !self.ways {
            self.batch(MAKE_WAYS)?;
            self.ways = true;
        }
        added?;
        let encrypted = log.encrypted_end().map_err(|e| IndexError::Log(e.to_string()))?;
        self.hide_paths(encrypted)
    }

    /// Forgets the paths of entries that are encrypted in the log: whoever asks for one has them decrypted.
    fn hide_paths(&mut self, encrypted: u64) -> Result<(), IndexError> {
        let end = encrypted.min(self.next_seq);
        if end <= self.hidden {
            return Ok(());
        }
        while self.hidden < end {
            let to = end.min(self.hidden.max(self.first_seq) + CATCH_UP as u64);
            let (from, tx) = (self.hidden, self.connection.transaction());
            let hide = || {
                let tx = tx?;
                let which = "UPDATE entries SET path = ?1 WHERE seq >= ?2 AND seq < ?3 AND length(path) > 0";
                tx.execute(which, params![HIDDEN_PATH, signed(from), signed(to)])?;
                raise_meta(&tx, "hidden", to)?;
                tx.commit()
            };
            hide().map_err(|e| sqlite(&self.path, e))?;
            self.hidden = to;
        }
        self.empty_journal()
    }

    /// Takes out what the log has no more.
    fn prune(&mut self, first: u64) -> Result<(), IndexError> {
        if first <= self.first_seq {
            return Ok(());
        }
        while self.first_seq < first.min(self.next_seq) {
            let to = first.min(self.first_seq + CATCH_UP as u64);
            let tx = self.connection.transaction();
            let remove = || {
                let tx = tx?;
                tx.execute("DELETE FROM entries WHERE seq < ?1", [signed(to)])?;
                tx.execute("DELETE FROM repeats WHERE seq < ?1", [signed(to)])?;
                tx.commit()
            };
            remove().map_err(|e| sqlite(&self.path, e))?;
            self.first_seq = to;
        }
        self.first_seq = first;
        self.next_seq = self.next_seq.max(first);
        self.empty_journal()
    }

    /// The journal has rows as they were, too. While somebody reads it stays; it is written over in time.
    fn empty_journal(&self) -> Result<(), IndexError> {
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        done.map_err(|e| sqlite(&self.path, e))
    }

    fn batch(&self, sql: &str) -> Result<(), IndexError> {
        self.connection.execute_batch(sql).map_err(|e| sqlite(&self.path, e))
    }

    /// One thread reads while the other adds.
    fn add_many_from(&mut self, log: &Reader) -> Result<(), IndexError> {
        let from = self.next_seq;
        thread::scope(|scope| {
            let (to, read) = sync_channel(1);
            scope.spawn(move || Rows::from(log, from).try_for_each(|rows| to.send(rows)));
            for rows in read {
                self.add(&rows?)?;
            }
            Ok(())
        })
    }

    /// Greatest kernel sequence number in the log since records began anew.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn kernel_seq(&self) -> Result<u64, IndexError> {
        let value = meta(&self.connection, "kernel_seq").map_err(|e| sqlite(&self.path, e))?;
        Ok(value.map_or(0, unsigned))
    }

    /// The last entry about repetitions of the record with this kernel sequence number, and how many were told by then.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn repeats(&self, of: u64) -> Result<Option<(u64, u64)>, IndexError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, total FROM repeats WHERE of = ?1")
            .map_err(|e| sqlite(&self.path, e))?;
        let found = statement.query_row([signed(of)], |r| Ok((unsigned(r.get(0)?), unsigned(r.get(1)?)))).optional();
        found.map_err(|e| sqlite(&self.path, e))
    }

    /// How often something was lost, as last told in the log.
    ///
    /// # Errors
    /// SQLite failed.
    pub fn loss_total(&self, kind: &str) -> Result<u64, IndexError> {
        let value = meta(&self.connection, &format!("loss:{kind}")).map_err(|e| sqlite(&self.path, e))?;
        Ok(value.map_or(0, unsigned))
    }
}

/// Rows of a log, as many at a time as one transaction takes. After an error there are no more.
struct Rows<'a> {
    entries: Option<Entries<'a>>,
}

impl<'a> Rows<'a> {
    fn from(log: &'a Reader, seq: u64) -> Self {
        Self { entries: Some(log.entries(seq)) }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Vec<Row>, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rows = Vec::with_capacity(CATCH_UP);
        for entry in self.entries.as_mut()?.by_ref().take(CATCH_UP) {
            match row(entry) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    self.entries = None;
                    return Some(Err(error));
                }
            }
        }
        (!rows.is_empty()).then_some(Ok(rows))
    }
}

fn row(entry: Result<Entry, ReadError>) -> Result<Row, IndexError> {
    let entry = entry.map_err(|e| IndexError::Log(e.to_string()))?;
    let seq = entry.header.seq;
    // Of what can't be read, number, time and kind are known.
    let body = entry.body.as_deref().unwrap_or_default();
    let event = Event::decode(body).map_err(|source| IndexError::Body { seq, source })?;
    Ok(Row::new(seq, entry.header.time, entry.header.kind, &event))
}

/// Finds entries. Any number of them beside the writer.
pub struct Finder {
    path: PathBuf,
    connection: Connection,
}

impl Finder {
    /// Opens the index for reading.
    ///
    /// # Errors
    /// There is none, or SQLite failed.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| sqlite(path, e))?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(|e| sqlite(path, e))?;
        Ok(Self { path: path.into(), connection })
    }

    /// Sequence numbers of the entries before `below` that the filter takes, in the filter's order,
    /// at most `limit`. Where the index does not say an entry's path, `in_log` answers whether the filter takes it.
    ///
    /// # Errors
    /// SQLite failed, or the log could not be asked.
    pub fn find(
        &self,
        filter: &Filter,
        below: u64,
        limit: usize,
        in_log: &mut dyn FnMut(u64) -> Result<bool, String>,
    ) -> Result<Vec<u64>, IndexError> {
        let (sql, values) = sql::question(filter, below);
        let mut unasked = None;
        let mut run = || -> rusqlite::Result<Vec<u64>> {
            let mut statement = self.connection.prepare(&sql)?;
            let mut found = Vec::new();
            let mut rows = statement.query(rusqlite::params_from_iter(values.iter()))?;
            while let Some(row) = rows.next()? {
                let seq: i64 = row.get(0)?;
                let path = row.get_ref(1)?.as_blob()?;
                let taken = if path == HIDDEN_PATH && filter.path.is_some() {
                    match in_log(unsigned(seq)) {
                        Ok(taken) => taken,
                        Err(error) => {
                            unasked = Some(error);
                            break;
                        }
                    }
                } else {
                    filter.takes_path(path)
                };
                if taken {
                    found.push(unsigned(seq));
                    if found.len() >= limit {
                        break;
                    }
                }
            }
            Ok(found)
        };
        let found = run().map_err(|e| sqlite(&self.path, e))?;
        unasked.map_or(Ok(found), |error| Err(IndexError::Log(error)))
    }
}

fn insert(
    tx: &Transaction<'_>,
    entries: &mut Statement<'_>,
    names: &mut std::collections::HashMap<String, i64>,
    row: &Row,
) -> rusqlite::Result<()> {
    let agent = name(tx, names, &row.agent)?;
    let session = name(tx, names, &row.session)?;
    let rule = name(tx, names, &row.rule)?;
    let reason = name(tx, names, &row.reason)?;
    entries.execute(params![
        signed(row.seq),
        signed(row.time),
        row.kind,
        row.verdict,
        agent,
        session,
        rule,
        reason,
        row.pid,
        signed(row.start),
        row.path,
    ])?;
    match &row.mark {
        Mark::None => {}
        Mark::Loss { kind, total } => raise_meta(tx, &format!("loss:{kind}"), *total)?,
        Mark::Repeat { of, total } => {
            tx.prepare_cached("INSERT OR REPLACE INTO repeats VALUES (?1, ?2, ?3)")?.execute(params![
                signed(*of),
                signed(row.seq),
                signed(*total)
            ])?;
        }
        Mark::KernelAnew => {
            tx.execute("DELETE FROM repeats", [])?;
            tx.execute("DELETE FROM meta WHERE key = 'kernel_seq' OR key LIKE 'loss:%'", [])?;
        }
    }
    Ok(())
}

fn name(tx: &Transaction<'_>, names: &mut std::collections::HashMap<String, i64>, text: &str) -> rusqlite::Result<i64> {
    if let Some(id) = names.get(text) {
        return Ok(*id);
    }
    let found: Option<i64> = tx
        .prepare_cached("SELECT id FROM names WHERE name = ?1")?
        .query_row([text], |r| r.get(0))
        .optional()?;
    let id = if let Some(id) = found {
        id
    } else {
        tx.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.execute([text])?;
        tx.last_insert_rowid()
    };
    // Rules and agents are few; what a hostile log could grow is bounded.
    if names.len() > 100_000 {
        names.clear();
    }
    names.insert(text.to_owned(), id);
    Ok(id)
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()
}

fn put_meta(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value]).map(|_| ())
}

fn raise_meta(tx: &Transaction<'_>, key: &str, value: u64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
    )?
    .execute(params![key, signed(value)])
    .map(|_| ())
}

fn chain_halves(chain: [u8; 16]) -> (i64, i64) {
    let (high, low) = chain.split_at(8);
    let half = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_be_bytes);
    (half(high), half(low))
}

/// SQLite's integers are signed; sequence numbers and times stay far below the sign.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn sqlite(path: &Path, source: rusqlite::Error) -> IndexError {
    IndexError::Sqlite { path: path.into(), source }
}

#[cfg(test)]
mod tests;
