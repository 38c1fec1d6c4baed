//! Receipts of any entries: with a reader that is opened for each, as the daemon and the command do it, and with one that is
//! kept.

use std::time::{Duration, Instant};

use aegis_log::{Disclose, Reader};
use anyhow::{Result, ensure};

use crate::Place;
use crate::table::{Aim, Table};

const RECEIPTS: usize = 500;

pub fn measure(place: &Place<'_>, entries: u64, table: &mut Table) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let kept = Reader::open(place.log())?;
    let receipt = |reader: &Reader, seq: u64| -> Result<()> {
        let proven = reader.receipt(seq, Disclose::Body)?.verify(reader.vkey())?;
        ensure!(proven.header.seq == seq, "the receipt of {seq} is another's");
        Ok(())
    };
    let (mut anew, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RECEIPTS {
        let seq = random.u64(0..entries);
        let begun = Instant::now();
        let reader = Reader::open(place.log())?;
        let made = reader.receipt(seq, Disclose::Body)?.to_string();
        anew.push(begun.elapsed());
        ensure!(!made.is_empty(), "a receipt says nothing");
        receipt(&kept, seq)?;
        again.push(timed(|| kept.receipt(seq, Disclose::Body).map(|receipt| receipt.to_string()))?);
    }
    table.times("receipt, log opened for it", anew, Aim::AtMost(1.0));
    table.times("receipt, reader kept", again, Aim::AtMost(1.0));
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let begun = Instant::now();
    let made = work()?;
    let took = begun.elapsed();
    drop(made);
    Ok(took)
}
