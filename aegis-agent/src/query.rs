//! Which entries a reader wants.
//!
//! Knows the words that readers use, and rows. The same filter serves the index and a log that is
//! followed. Not a stage: who asks and who looks up know this and not each other.

use std::time::Duration;

use crate::{
    proto::{
        control::EventsRequest,
        event::{Kind, Verdict},
    },
    record::Row,
};

/// Why a filter cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a kind.
    #[error("there is no kind {0:?}; kinds are exec, exit, file, network, dns, guard, agent, policy, decision, operator, daemon, loss")]
    Kind(String),
    /// Not a verdict.
    #[error("there is no verdict {0:?}; verdicts are allow, audit, deny, ask, throttle, kill")]
    Verdict(String),
}

/// A filter: each part that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// First sequence number.
    pub from_seq: u64,
    /// Earliest time, nanoseconds since the Unix epoch; 0 for none.
    pub since: u64,
    /// Latest time, 0 for none.
    pub until: u64,
    /// Numbers of kinds; empty for all.
    pub kinds: Vec<u32>,
    /// Numbers of verdicts; empty for all.
    pub verdicts: Vec<i32>,
    /// Name or session of the agent; empty for all.
    pub agent: String,
    /// Rule that decided; empty for all.
    pub rule: String,
    /// Process ids; empty for all.
    pub pids: Vec<u32>,
    /// Pattern of the path.
    pub path: Option<Vec<u8>>,
    /// Newest first.
    pub reverse: bool,
}

impl Filter {
    /// From a request.
    ///
    /// # Errors
    /// A word that is none.
    pub fn new(request: &EventsRequest) -> Result<Self, FilterError> {
        let kinds = request.kinds.iter().map(|w| kind(w).ok_or_else(|| FilterError::Kind(w.clone())));
        let verdicts = request.verdicts.iter().map(|w| verdict(w).ok_or_else(|| FilterError::Verdict(w.clone())));
        Ok(Self {
            from_seq: request.after_seq.map_or(0, |s| s.saturating_add(1)),
            since: request.since_unix_ns,
            until: request.until_unix_ns,
            kinds: kinds.collect::<Result<_, _>>()?,
            verdicts: verdicts.collect::<Result<_, _>>()?,
            agent: request.agent.clone(),
            rule: request.rule.clone(),
            pids: request.pids.clone(),
            path: (!request.path_glob.is_empty()).then(|| request.path_glob.clone().into_bytes()),
            reverse: request.reverse,
        })
    }

    /// Whether a row passes; an index that asks in another way must agree.
    #[must_use]
    pub fn takes(&self, row: &Row) -> bool {
        row.seq >= self.from_seq
            && (self.since == 0 || row.time >= self.since)
            && (self.until == 0 || row.time <= self.until)
            && (self.kinds.is_empty() || self.kinds.contains(&row.kind))
            && (self.verdicts.is_empty() || self.verdicts.contains(&row.verdict))
            && (self.agent.is_empty() || row.agent == self.agent || row.session == self.agent)
            && (self.rule.is_empty() || row.rule == self.rule)
            && (self.pids.is_empty() || self.pids.contains(&row.pid))
            && self.takes_path(&row.path)
    }

    /// The part about the path: any of the names of a row.
    #[must_use]
    pub fn takes_path(&self, path: &[u8]) -> bool {
        self.path.as_ref().is_none_or(|pattern| path.split(|byte| *byte == 0).any(|name| glob(pattern, name)))
    }
}

/// What was asked, in the names of the options of `aegis events`: the log keeps who read what. Times are
/// nanoseconds since the Unix epoch.
#[must_use]
pub fn describe(request: &EventsRequest) -> String {
    let mut words = Vec::new();
    let mut option = |name: &str, value: String| words.push(format!("--{name} {value}"));
    request.kinds.iter().for_each(|kind| option("kind", kind.clone()));
    request.verdicts.iter().for_each(|verdict| option("verdict", verdict.clone()));
    request.pids.iter().for_each(|pid| option("pid", pid.to_string()));
    for (name, value) in [("agent", &request.agent), ("rule", &request.rule), ("path", &request.path_glob)] {
        if !value.is_empty() {
            option(name, value.clone());
        }
    }
    if let Some(seq) = request.after_seq {
        option("after-seq", seq.to_string());
    }
    for (name, value) in [("since", request.since_unix_ns), ("until", request.until_unix_ns), ("lines", request.last)] {
        if value > 0 {
            option(name, value.to_string());
        }
    }
    for (name, given) in [("follow", request.follow), ("reverse", request.reverse)] {
        if given {
            words.push(format!("--{name}"));
        }
    }
    if words.is_empty() { "all entries".into() } else { words.join(" ") }
}

/// Finds entries of the log by their rows.
pub trait Lookup: Send + Sync {
    /// Waits until it knows all entries before `size`; answers whether it does.
    fn wait_for(&self, size: u64, timeout: Duration) -> bool;
    /// Sequence number of the first entry that it does not know.
    fn reached(&self) -> u64;
    /// Sequence numbers of the entries before `below` that the filter takes, in the filter's order, at most
    /// `limit`. Where it does not know an entry's path, `in_log` answers whether the filter takes it.
    ///
    /// # Errors
    /// Why it cannot tell.
    fn find(
        &self,
        filter: &Filter,
        below: u64,
        limit: usize,
        in_log: &mut dyn FnMut(u64) -> Result<bool, String>,
    ) -> Result<Vec<u64>, String>;
}

/// Number of a kind from its word.
#[must_use]
pub fn kind(word: &str) -> Option<u32> {
    let name = format!("KIND_{}", word.to_ascii_uppercase());
    Kind::from_str_name(&name).filter(|k| *k != Kind::Unspecified).map(|k| k as u32)
}

/// Number of a verdict from its word.
#[must_use]
pub fn verdict(word: &str) -> Option<i32> {
    let name = format!("VERDICT_{}", word.to_ascii_uppercase());
    Verdict::from_str_name(&name).filter(|v| *v != Verdict::Unspecified).map(|v| v as i32)
}

/// `*` stands for any bytes within a component, `**` for any bytes, `?` for one byte that is no slash.
/// In time proportional to pattern times text, whatever the pattern.
#[must_use]
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // reach[i]: the pattern so far matches the first i bytes of the text.
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut rest = pattern;
    while let Some((&token, tail)) = rest.split_first() {
        rest = tail;
        match token {
            b'*' => {
                let across = rest.first() == Some(&b'*');
                if across {
                    rest = &rest[1..];
                }
                for i in 0..text.len() {
                    if reach[i] && (across || text[i] != b'/') {
                        reach[i + 1] = true;
                    }
                }
            }
            _ => {
                for i in (0..text.len()).rev() {
                    let fits = if token == b'?' { text[i] != b'/' } else { text[i] == token };
                    reach[i + 1] = reach[i] && fits;
                }
                reach[0] = false;
            }
        }
    }
    reach[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stay_within_a_component_unless_doubled() {
        assert!(glob(b"/etc/*", b"/etc/shadow"));
        assert!(!glob(b"/etc/*", b"/etc/ssl/key"));
        assert!(glob(b"/etc/**", b"/etc/ssl/key"));
        assert!(glob(b"**/key", b"/etc/ssl/key"));
        assert!(glob(b"/etc/shado?", b"/etc/shadow") && !glob(b"/etc?shadow", b"/etc/shadow"));
        assert!(glob(b"/etc/shadow", b"/etc/shadow") && !glob(b"/etc/shadow", b"/etc/shadow-"));
        assert!(glob(b"", b"") && !glob(b"", b"x") && !glob(b"x", b""));
    }

    #[test]
    fn a_hostile_pattern_is_answered_at_once() {
        let pattern = b"*a".repeat(500);
        let text = b"a".repeat(4000);
        let begin = std::time::Instant::now();
        assert!(!glob(&[&pattern[..], b"b"].concat(), &text));
        assert!(begin.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn a_question_is_told_in_the_words_that_ask_it() {
        assert_eq!(describe(&EventsRequest::default()), "all entries");
        let request = EventsRequest {
            kinds: vec!["file".into()],
            agent: "a".into(),
            after_seq: Some(0),
            last: 5,
            follow: true,
            ..EventsRequest::default()
        };
        assert_eq!(describe(&request), "--kind file --agent a --after-seq 0 --lines 5 --follow");
    }

    #[test]
    fn unknown_words_are_refused_with_the_known_ones() {
        let request = EventsRequest { kinds: vec!["files".into()], ..EventsRequest::default() };
        assert!(Filter::new(&request).expect_err("refused").to_string().contains("file, network"));
        assert_eq!(kind("file"), Some(20));
        assert_eq!(verdict("deny"), Some(3));
        assert_eq!(verdict("unspecified"), None);
    }
}
