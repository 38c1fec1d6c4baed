//! Questions to the index, and making it again from the log.

use std::time::Instant;

use aegis_agent::{
    proto::control::EventsRequest,
    store::{Filter, Finder, Index},
};
use aegis_log::Reader;
use anyhow::{Context as _, Result, ensure};

use crate::Place;
use crate::clock::Begun;
use crate::feed::{Feed, RARE, busy_agent, rare_agent};
use crate::table::{Aim, Table};

const QUESTIONS: usize = 50;
const LAST: usize = 100;

/// The last entries of an agent that is busy, and of one that was so long ago.
pub fn questions(place: &Place<'_>, feed: &Feed, table: &mut Table) -> Result<()> {
    for (agent, which) in [(busy_agent(), "a busy agent"), (rare_agent(), "an agent long quiet")] {
        let request = EventsRequest { agent: agent.into(), reverse: true, ..EventsRequest::default() };
        let filter = Filter::new(&request).map_err(|error| anyhow::anyhow!("{error}"))?;
        let (mut found, mut read) = (Vec::new(), Vec::new());
        for _ in 0..QUESTIONS {
            // As the daemon answers: index and log are opened for each question.
            let begun = Instant::now();
            let seqs = Finder::open(&place.index())?.find(&filter, feed.entries, LAST, &mut |_| Ok(true))?;
            found.push(begun.elapsed());
            ensure!(seqs.len() == LAST && RARE == LAST as u64, "{} entries of {agent} were found", seqs.len());
            let log = Reader::open(place.log())?;
            for seq in &seqs {
                log.get(*seq)?.context("an entry is in the index and not in the log")?;
            }
            read.push(begun.elapsed());
        }
        table.times(&format!("last 100 of {which}, by the index"), found, Aim::AtMost(5.0));
        table.times(&format!("last 100 of {which}, with their entries"), read, Aim::AtMost(5.0));
    }
    Ok(())
}

/// The index is gone and made again.
pub fn rebuild(place: &Place<'_>, entries: u64, table: &mut Table) -> Result<()> {
    let path = place.root.join("again.sqlite");
    let mut log = Reader::open(place.log())?;
    let chain = log.vkey().chain_id().context("the log's key has no chain id")?;
    let begun = Begun::now()?;
    let mut index = Index::open(&path, chain)?;
    index.catch_up(&mut log)?;
    let took = begun.took()?;
    ensure!(index.next_seq() == entries, "the index has {} entries, not {entries}", index.next_seq());
    table.rate("index made again", entries, took, Aim::AtLeast(300_000.0));
    Ok(())
}
