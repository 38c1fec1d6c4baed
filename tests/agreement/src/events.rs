//! The denials in the audit log, as any reader of it gets them: from `aegis events -o json`.

use std::collections::HashSet;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aegis_policy::reference::{Answer, Why};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::question::Question;

/// An agent's last events are in the log within this time.
const WAIT: Duration = Duration::from_secs(30);

/// What a denial's event says of the decision.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Denial {
    operation: String,
    /// Last component of the path: mounted in two places, a file has two paths.
    name: String,
    reason: String,
    rule: String,
}

impl Denial {
    /// That of a question which is to be denied.
    pub fn expected(question: &Question, answer: &Answer) -> Self {
        let reason = match answer.why {
            Why::Rule => "rule",
            Why::SameFile => "same_file",
            Why::SameContent => "same_content",
            Why::Default => "default",
            Why::WouldGrantMore => "would_grant_more",
            Why::HoldsRule => "holds_rule",
            Why::Anonymous => "anonymous",
            Why::TooDeep => "too_deep",
            Why::NotPinned => "not_pinned",
            Why::Environment => "environment",
            Why::ServerName => "server_name",
            Why::NoServerName => "no_server_name",
        };
        Self {
            operation: question.operation.in_events().to_owned(),
            name: last(&question.path).to_owned(),
            reason: reason.to_owned(),
            rule: answer.rule.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// Whether it may be the event of the same question.
    pub fn is_like(&self, other: &Self) -> bool {
        self.operation == other.operation && self.name == other.name
    }

    fn from_event(event: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let file = event.get("file")?;
        Some(Self {
            operation: text(file, "op")?,
            name: last(&text(file, "path")?).to_owned(),
            reason: text(event, "reason")?,
            rule: text(event, "rule")?,
        })
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// All denials of an agent that has ended; waits until its end is in the log.
pub fn of(agent: &str) -> Result<HashSet<Denial>> {
    let begun = Instant::now();
    loop {
        let output = Command::new("aegis").args(["events", "--agent", agent, "-o", "json"]).output().context("aegis events")?;
        if !output.status.success() {
            bail!("aegis events: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let events = String::from_utf8(output.stdout)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<Vec<Value>, _>>()
            .context("an event that is no JSON")?;
        let is = |event: &Value, key: &str, word: &str| event.get(key).and_then(Value::as_str) == Some(word);
        if events.iter().filter(|event| is(event, "kind", "agent")).count() > 1 {
            return Ok(events.iter().filter(|event| is(event, "verdict", "deny")).filter_map(Denial::from_event).collect());
        }
        if begun.elapsed() > WAIT {
            bail!("the end of {agent} is not in the log");
        }
        sleep(Duration::from_millis(200));
    }
}
