//! How many events a second become durable, and how many a verifier checks.
//!
//! `cargo run --release -p aegis-log --example throughput [EVENTS [BATCH [BODY [DIR]]]]`

use std::error::Error;
use std::io::Write as _;
use std::time::{Instant, SystemTime};

use aegis_log::{VerifyOptions, Writer, WriterOptions, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(Ok(default), |text| text.parse());
    let (events, batch, body) = (
        number(1_000_000)?,
        number(1000)?,
        usize::try_from(number(300)?)?,
    );
    let dir = args
        .next()
        .unwrap_or_else(|| format!("target/throughput-{}", std::process::id()));
    let dir = std::path::Path::new(&dir);
    let mut out = std::io::stdout().lock();

    let options = WriterOptions::new(dir.join("log"), dir.join("log.key"), [1; 16]);
    let (mut writer, _) = Writer::open(&options)?;
    let body: Vec<u8> = (0..body)
        .map(|n| u8::try_from(n % 251).unwrap_or(0))
        .collect();
    let start = Instant::now();
    let mut slowest = std::time::Duration::ZERO;
    for seq in 0..events {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        writer.append(1, u64::try_from(now.as_nanos())?, &body)?;
        if (seq + 1) % batch == 0 {
            let began = Instant::now();
            writer.commit()?;
            slowest = slowest.max(began.elapsed());
        }
    }
    writer.close()?;
    let seconds = start.elapsed().as_secs_f64();
    let rate = |seconds: f64| f64::from(u32::try_from(events).unwrap_or(u32::MAX)) / seconds;
    writeln!(
        out,
        "appended, signed and durable: {events} events of {} bytes in batches of {batch}: {seconds:.2} s, {:.0}/s, slowest commit {slowest:.1?}",
        body.len(),
        rate(seconds)
    )?;

    let start = Instant::now();
    let report = verify(&dir.join("log"), &VerifyOptions::default())?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        out,
        "verified: {seconds:.2} s, {:.0}/s\n{report}",
        rate(seconds)
    )?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
