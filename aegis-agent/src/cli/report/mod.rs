//! `aegis report`: what an agent did, on one screen.
//!
//! Reads the same sources as `aegis events`, adds their entries up ([`collect`]) and shows the sums. A report that
//! cannot be whole says so, in every format and by its exit status.

mod collect;
mod detail;
mod json;
mod rows;
mod session;
mod sums;
mod tally;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;

use jiff::Zoned;

use self::collect::Collector;
use super::{
    args::{Format, Report as Args},
    events::{self, filter::Filter, short::Style, source::Source},
    failure::Failure,
    output,
};

/// What was asked, and what there is to say.
pub struct Report {
    /// Name or session.
    pub agent: Option<String>,
    /// Not before, nanoseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Not after.
    pub until: Option<u64>,
    /// Why it is not whole; empty when it is.
    pub gaps: Vec<String>,
    /// The sums.
    pub collected: Collector,
}

/// Shows a report.
///
/// # Errors
/// When an option makes no sense, the log cannot be read, there is no such agent, or the report is not whole.
pub fn run(args: &Args, socket: Option<&Path>) -> Result<(), Failure> {
    let span = events::span(&args.span, &Zoned::now())?;
    let source = Source::choose(&args.origin, socket, socket.is_none())?;
    let detailed = if args.agent.is_some() { args.sessions.into() } else { 0 };
    let mut collected = Collector::new(args.agent.clone(), detailed);
    let reason = args.origin.reason.as_deref().unwrap_or_default();
    let walked = source.walk(socket, &filters(args.agent.as_ref(), &span), reason, &mut collected);
    if collected.is_empty()
        && let Err(failure) = walked
    {
        return Err(failure);
    }
    let report = Report { agent: args.agent.clone(), since: span.since, until: span.until, gaps: gaps(&collected, walked.as_ref().err()), collected };
    show(&report, args)?;
    walked?;
    match (report.collected.is_empty(), &report.agent) {
        (true, Some(agent)) => Err(Failure::No(format!("the log has nothing of an agent or session {agent:?} in that time; `aegis report` lists those it has"))),
        _ if !report.gaps.is_empty() => Err(Failure::NotRunning(format!("this report is not complete: {}", report.gaps.join("; ")))),
        _ => Ok(()),
    }
}

fn show(report: &Report, args: &Args) -> Result<(), Failure> {
    match args.output {
        Format::Json => output::print_json(&json::report(report)),
        Format::Text if report.collected.is_empty() => {
            if report.agent.is_none() {
                output::say("the log has nothing of any agent in that time");
            }
            Ok(())
        }
        Format::Text => output::print(&text::report(report, args.lines, &Style::of_reader(args.utc))),
    }
}

/// What is asked of the daemon: the agent's entries, and the losses, which are nobody's.
fn filters(agent: Option<&String>, span: &Filter) -> Vec<Filter> {
    match agent {
        None => vec![span.clone()],
        Some(agent) => {
            vec![Filter { agent: Some(agent.clone()), ..span.clone() }, Filter { kinds: vec![collect::LOSS], ..span.clone() }]
        }
    }
}

/// Why the sums may be too small.
fn gaps(collected: &Collector, failed: Option<&Failure>) -> Vec<String> {
    let mut gaps = Vec::new();
    let lost = collected.lost_of_sessions();
    if lost > 0 {
        gaps.push(format!("{} records of this host were lost meanwhile, and whose they were is not known", output::grouped(lost)));
    }
    let unread = collected.unread();
    if unread > 0 {
        gaps.push(format!("{} entries tell what this version of aegis cannot read", output::grouped(unread)));
    }
    if let Some(failure) = failed {
        gaps.push(format!("the log could not be read to its end: {failure}"));
    }
    gaps
}
