//! Events as `aegis events -o json` prints them, and what a scenario expects of them.

use crate::pattern;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long an event may take from the act to the log.
pub const LATEST: Duration = Duration::from_secs(5);

/// One event that must be there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The try it belongs to, for the report.
    pub name: String,
    /// Dotted path in the JSON and the text (or pattern) it must have.
    pub fields: Vec<(String, String)>,
}

impl Expected {
    /// From a scenario's table: keys that belong to the kind's own object may be written short.
    pub fn from_table(name: &str, table: &toml::Table, fill: impl Fn(&str) -> String) -> Result<Self> {
        let kind = table.get("kind").and_then(|k| k.as_str()).with_context(|| format!("{name}: an event needs its kind"))?;
        let mut fields = Vec::new();
        for (key, value) in table {
            let text = match value {
                toml::Value::String(s) => fill(s),
                toml::Value::Integer(n) => n.to_string(),
                toml::Value::Boolean(b) => b.to_string(),
                _ => bail!("{name}: {key} must be a text, a number or a truth value"),
            };
            fields.push((full_key(kind, key), text));
        }
        Ok(Self { name: name.to_owned(), fields })
    }

    /// Adds what every event of the case must have, where the scenario says nothing else.
    pub fn or_else(&mut self, key: &str, text: &str) {
        if !self.fields.iter().any(|(k, _)| k == key) {
            self.fields.push((key.to_owned(), text.to_owned()));
        }
    }

    /// Whether events of this kind name the process that acted; the others are the engine's own.
    pub fn has_process(&self) -> bool {
        let kind = self.fields.iter().find(|(key, _)| key == "kind").map(|(_, kind)| kind.as_str());
        matches!(kind, Some("exec" | "exit" | "file" | "network" | "dns" | "guard"))
    }

    /// The fields that `event` does not have as expected; empty when it matches.
    pub fn differences(&self, event: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, expected) in &self.fields {
            let found = text_at(event, key);
            if !found.as_deref().is_some_and(|f| pattern::matches(expected, f)) {
                wrong.push(format!("{key} is {}, not {expected:?}", found.map_or("missing".to_owned(), |f| format!("{f:?}"))));
            }
        }
        wrong
    }
}

fn full_key(kind: &str, key: &str) -> String {
    const COMMON: [&str; 7] = ["seq", "kind", "verdict", "agent", "rule", "reason", "generation"];
    // The name `agent` is taken by the agent's own name.
    let object = if kind == "agent" { "agent_state" } else { kind };
    if COMMON.contains(&key) || key.contains('.') { key.to_owned() } else { format!("{object}.{key}") }
}

/// Text of the value at a dotted path; lists are joined by blanks.
fn text_at(event: &Value, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(event, |v, key| v.get(key))?;
    Some(match value {
        Value::String(s) => s.clone(),
        Value::Null => return None,
        Value::Array(items) => {
            items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    })
}

/// An event that is not there.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// The try it belongs to.
    pub name: String,
    /// One sentence.
    pub text: String,
}

/// Finds one event of its own for each expectation, in order. An entry that counts repetitions is that many events.
pub fn missing(expected: &[Expected], events: &[Value]) -> Vec<Missing> {
    let mut left: Vec<u64> = events.iter().map(|e| e.get("count").and_then(Value::as_u64).unwrap_or(1)).collect();
    let mut wrong = Vec::new();
    for one in expected {
        let hit = events.iter().enumerate().find(|(i, e)| left[*i] > 0 && one.differences(e).is_empty());
        if let Some((index, _)) = hit {
            left[index] -= 1;
            continue;
        }
        let nearest = events
            .iter()
            .zip(&left)
            .filter(|(_, left)| **left > 0)
            .map(|(e, _)| (one.differences(e), e))
            .min_by_key(|(d, _)| d.len());
        let text = match nearest {
            Some((differences, event)) => format!(
                "{}: no event; nearest is seq {}: {}",
                one.name,
                event.get("seq").map_or_else(|| "?".to_owned(), Value::to_string),
                differences.join(", ")
            ),
            None => format!("{}: no event, and none that is left over", one.name),
        };
        wrong.push(Missing { name: one.name.clone(), text });
    }
    wrong
}

/// The last of the events that were more than allowed work, for the reader of a failure.
pub fn digest(events: &[Value]) -> String {
    const MOST: usize = 25;
    let telling: Vec<_> = events.iter().filter(|e| text_at(e, "verdict").as_deref() != Some("allow")).collect();
    let mut text = format!("\n{} events, {} of them not simply allowed; the last of these:\n", events.len(), telling.len());
    for event in &telling[telling.len().saturating_sub(MOST)..] {
        text.push_str(&summary(event));
    }
    text
}

/// One line.
fn summary(event: &Value) -> String {
    let field = |path| text_at(event, path).unwrap_or_default();
    let kind = field("kind");
    let object = full_key(&kind, "x");
    let detail = event.get(object.trim_end_matches(".x")).map_or_else(String::new, Value::to_string);
    let detail: String = detail.chars().take(200).collect();
    format!(
        "  #{} {kind} {} rule {:?} reason {:?} uid {} exe {} {detail}\n",
        field("seq"),
        field("verdict"),
        field("rule"),
        field("reason"),
        field("process.uid"),
        field("process.exe"),
    )
}

/// Highest sequence number in the log.
pub fn last_seq() -> Result<Option<u64>> {
    let events = query(&["-n", "1"])?;
    Ok(events.last().and_then(|e| e.get("seq")).and_then(Value::as_u64))
}

/// Events of `agent` after `seq`.
pub fn of_agent(agent: &str, after: Option<u64>) -> Result<Vec<Value>> {
    let after = after.map(|a| a.to_string());
    let mut arguments = vec!["--agent", agent];
    if let Some(after) = &after {
        arguments.extend(["--after-seq", after]);
    }
    query(&arguments)
}

/// Waits until all expected events are there, or it is too late; then what is missing, and all
/// events seen.
pub fn wait_for(agent: &str, after: Option<u64>, expected: &[Expected]) -> Result<(Vec<Missing>, Vec<Value>)> {
    let begun = Instant::now();
    loop {
        let events = of_agent(agent, after)?;
        let wrong = missing(expected, &events);
        if wrong.is_empty() || begun.elapsed() > LATEST {
            return Ok((wrong, events));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn query(arguments: &[&str]) -> Result<Vec<Value>> {
    let output = Command::new("aegis").args(["events", "-o", "json"]).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("aegis events {}: {}: {}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    parse(&output.stdout)
}

fn parse(bytes: &[u8]) -> Result<Vec<Value>> {
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line).with_context(|| format!("aegis events printed no JSON: {:?}", String::from_utf8_lossy(line)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Expected, Missing, missing, parse};
    use serde_json::{Value, json};

    fn denied(seq: u64, path: &str) -> Value {
        json!({"seq": seq, "kind": "file", "verdict": "deny", "rule": "fs.deny.1", "agent": "a",
               "process": {"pid": 7, "exe": "/usr/bin/python3.11", "argv": ["python3", "x.py"]},
               "file": {"op": "open_read", "path": path}})
    }

    fn texts(wrong: &[Missing]) -> Vec<&str> {
        wrong.iter().map(|m| m.text.as_str()).collect()
    }

    fn expected(name: &str, table: &str) -> Expected {
        Expected::from_table(name, &table.parse().unwrap(), |s| s.replace("$T", "/t")).unwrap()
    }

    #[test]
    fn short_keys_belong_to_the_kind() {
        let e = expected("x", "kind='file'\nop='open_read'\npath='$T/s'\n'process.argv'='python3 *'");
        assert!(e.differences(&denied(1, "/t/s")).is_empty());
        assert_eq!(e.differences(&denied(1, "/t/other")), ["file.path is \"/t/other\", not \"/t/s\""]);
    }

    #[test]
    fn one_event_serves_one_try_only() {
        let twice = [expected("a", "kind='file'\npath='/t/s'"), expected("b", "kind='file'\npath='/t/s'")];
        assert!(missing(&twice, &[denied(1, "/t/s"), denied(2, "/t/s")]).is_empty());
        let wrong = missing(&twice, &[denied(1, "/t/s")]);
        assert_eq!(texts(&wrong), ["b: no event, and none that is left over"]);
        assert_eq!(wrong[0].name, "b");
    }

    #[test]
    fn a_counted_repetition_serves_as_many_tries() {
        let one = || expected("a", "kind='file'\npath='/t/s'");
        let mut again = denied(2, "/t/s");
        again["count"] = 2.into();
        assert!(missing(&[one(), one(), one()], &[denied(1, "/t/s"), again.clone()]).is_empty());
        assert_eq!(missing(&[one(), one(), one()], &[again]).len(), 1);
    }

    #[test]
    fn the_nearest_event_is_named() {
        let e = expected("a", "kind='file'\nverdict='deny'\nrule='fs.deny.2'\npath='/t/s'");
        let wrong = missing(&[e], &[denied(9, "/t/s")]);
        assert_eq!(texts(&wrong), ["a: no event; nearest is seq 9: rule is \"fs.deny.1\", not \"fs.deny.2\""]);
    }

    #[test]
    fn a_field_that_is_missing_never_matches() {
        let e = expected("a", "kind='file'\ntarget='*'");
        assert_eq!(e.differences(&denied(1, "/t/s")), ["file.target is missing, not \"*\""]);
    }

    #[test]
    fn defaults_do_not_override() {
        let mut e = expected("a", "kind='file'\nverdict='audit'");
        e.or_else("verdict", "deny");
        e.or_else("rule", "fs.deny.1");
        assert_eq!(e.differences(&denied(1, "/x")), ["verdict is \"deny\", not \"audit\""]);
    }

    #[test]
    fn output_that_is_no_json_is_an_error() {
        assert_eq!(parse(b"{\"seq\":1}\n\n{\"seq\":2}\n").unwrap().len(), 2);
        assert!(parse(b"{\"seq\":1}\nNov 20 deny\n").is_err());
    }
}
