//! Entries through the log's writer, and as many bytes in the same batches into a bare file.
//!
//! Both take turns, some batches each: a disk that is slow for a while is slow for both.

use std::fs::File;
use std::io::Write as _;

use aegis_agent::clock;
use aegis_log::{Writer, WriterOptions, host_boot_id};
use anyhow::{Result, ensure};

use crate::Place;
use crate::clock::{Begun, Took};
use crate::feed::Feed;
use crate::memory;
use crate::table::{Aim, Table};

/// How often they take turns.
const TURNS: u64 = 20;
const KIND: u32 = 10;

/// Bytes of a frame beside the body: prefix, header, salt.
const FRAME: usize = 16 + 122 + 16;

pub fn measure(place: &Place<'_>, feed: &Feed, batch: u64, table: &mut Table) -> Result<()> {
    let mut bare = File::create(place.root.join("bare"))?;
    let (mut writer, _) = Writer::open(&WriterOptions::new(place.log(), place.key(), host_boot_id()?))?;
    let (mut of_bare, mut of_log) = (Took::default(), Took::default());
    let batches = feed.entries.div_ceil(batch);
    memory::reset()?;
    for turn in 0..TURNS {
        let mine = batches * turn / TURNS..batches * (turn + 1) / TURNS;
        let bounds = |n: u64| (n * batch, ((n + 1) * batch).min(feed.entries));
        of_bare += timed(|| {
            mine.clone().try_for_each(|n| {
                let (from, to) = bounds(n);
                // What a bare writer does as well: bring the entries together and write them at once.
                let mut bytes = Vec::new();
                for n in from..to {
                    bytes.extend_from_slice(&[0; FRAME]);
                    bytes.extend_from_slice(feed.body(n));
                }
                bare.write_all(&bytes)?;
                Ok(bare.sync_data()?)
            })
        })?;
        of_log += timed(|| {
            mine.clone().try_for_each(|n| {
                let (from, to) = bounds(n);
                for n in from..to {
                    writer.append(KIND, clock::wall(), feed.body(n))?;
                }
                writer.commit()?;
                Ok(())
            })
        })?;
    }
    ensure!(writer.durable_size() == feed.entries, "{} entries are durable, not {}", writer.durable_size(), feed.entries);
    let peak = memory::peak()?;
    writer.close()?;
    table.rate(&format!("a bare file, {batch} a batch"), feed.entries, of_bare, Aim::None);
    table.rate(&format!("signed and durable, {batch} a commit"), feed.entries, of_log, Aim::None);
    table.figure(format!("ratio of these, {batch}"), of_bare.wall.as_secs_f64() / of_log.wall.as_secs_f64(), 2, Aim::AtLeast(0.6));
    table.figure(format!("peak memory meanwhile, {batch}, MB"), peak, 1, Aim::None);
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Took> {
    let begun = Begun::now()?;
    work()?;
    begun.took()
}
