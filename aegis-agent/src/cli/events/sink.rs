//! Where chosen entries go: standard output in the wanted format, and the cursor behind them.

use std::io::{BufWriter, Write};

use super::{
    cursor::{Cursor, CursorError},
    entry::Entry,
    json,
    short::{self, Style},
};
use crate::cli::{args::EventFormat, failure::Failure};

/// What takes the entries that a source gives.
pub trait Outlet {
    /// Takes an entry.
    ///
    /// # Errors
    /// When there is no use in going on.
    fn put(&mut self, entry: &Entry) -> Result<(), Failure>;

    /// Takes an entry that was JSON already.
    ///
    /// # Errors
    /// As [`Outlet::put`].
    fn put_saved(&mut self, entry: &Entry, line: &str) -> Result<(), Failure>;

    /// Nothing more is here yet, or at all.
    ///
    /// # Errors
    /// As [`Outlet::put`].
    fn flush(&mut self) -> Result<(), Failure>;

    /// Sequence of the last entry put: where to go on after an interruption.
    fn last(&self) -> Option<u64>;
}

/// The output of one run of `aegis events`.
pub struct Sink<'a> {
    out: BufWriter<Box<dyn Write + 'a>>,
    format: EventFormat,
    style: Style,
    cursor: Option<Cursor>,
    last: Option<u64>,
}

impl<'a> Sink<'a> {
    /// Writes to `out`.
    pub fn new(out: Box<dyn Write + 'a>, format: EventFormat, style: Style) -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, out), format, style, cursor: None, last: None }
    }

    /// Keeps this cursor from now on.
    pub fn follow(&mut self, cursor: Cursor) {
        self.cursor = Some(cursor);
    }
}

impl Outlet for Sink<'_> {
    fn put(&mut self, entry: &Entry) -> Result<(), Failure> {
        match self.format {
            EventFormat::Short => writeln!(self.out, "{}", short::line(entry, &self.style))?,
            EventFormat::Json => {
                json::write_line(&mut self.out, entry)?;
                writeln!(self.out)?;
            }
            EventFormat::JsonPretty => {
                json::write_pretty(&mut self.out, entry)?;
                writeln!(self.out)?;
            }
        }
        self.last = Some(entry.seq);
        Ok(())
    }

    /// Writes an entry that was JSON already: as a line of JSON it stays as it is, with the fields
    /// that this version does not know.
    fn put_saved(&mut self, entry: &Entry, line: &str) -> Result<(), Failure> {
        if self.format != EventFormat::Json {
            return self.put(entry);
        }
        writeln!(self.out, "{}", json::safe_line(line))?;
        self.last = Some(entry.seq);
        Ok(())
    }

    /// Hands over what was put so far, then moves the cursor.
    fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()?;
        if let (Some(cursor), Some(last)) = (&mut self.cursor, self.last) {
            cursor.keep(last)?;
        }
        Ok(())
    }

    fn last(&self) -> Option<u64> {
        self.last
    }
}

impl From<CursorError> for Failure {
    fn from(error: CursorError) -> Self {
        Self::Broken(error.to_string())
    }
}
