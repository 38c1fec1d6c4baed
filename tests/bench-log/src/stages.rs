//! The same through the daemon's log thread, with the index behind it: redacted, encoded, chained, signed, durable, indexed.

use std::sync::Arc;
use std::time::Duration;

use aegis_agent::{
    audit::{AuditLog, Batching},
    query::Lookup as _,
    redact::Redactor,
    store::{Index, IndexWriter},
};
use aegis_log::{Writer, WriterOptions, host_boot_id};
use anyhow::{Result, anyhow, ensure};

use crate::Place;
use crate::clock::Begun;
use crate::feed::Feed;
use crate::memory;
use crate::table::{Aim, Table};

/// Entries handed over at once.
const PART: u64 = 256;
const LIMIT: Duration = Duration::from_secs(3600);

pub fn measure(place: &Place<'_>, feed: &Feed, table: &mut Table) -> Result<()> {
    let (writer, _) = Writer::open(&WriterOptions::new(place.log(), place.key(), host_boot_id()?))?;
    let index = Index::open(&place.index(), writer.chain_id())?;
    let (index, rows, index_thread) = IndexWriter::start(index, place.log())?;
    let redactor = Arc::new(Redactor::new(Vec::new())?);
    let (audit, audit_thread) = AuditLog::start(writer, redactor, Batching::default(), rows)?;
    memory::reset()?;
    let begun = Begun::now()?;
    for from in (0..feed.entries).step_by(usize::try_from(PART)?) {
        audit.send(feed.drafts(from, (from + PART).min(feed.entries)))?;
    }
    while audit.progress().durable_size() < feed.entries {
        ensure!(!audit_thread.is_finished(), "the log's thread ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    let durable = begun.took()?;
    ensure!(index.wait_for(feed.entries, LIMIT), "the index did not catch up");
    let indexed = begun.took()?;
    let peak = memory::peak()?;
    audit.stop();
    drop(audit);
    audit_thread.join().map_err(|_| anyhow!("the log's thread panicked"))??;
    index_thread.join().map_err(|_| anyhow!("the index's thread panicked"))?;
    table.rate("through the daemon's log thread", feed.entries, durable, Aim::None);
    table.rate("the same, until indexed too", feed.entries, indexed, Aim::None);
    table.figure("peak memory meanwhile, log and index, MB", peak, 1, Aim::AtMost(40.0));
    Ok(())
}
