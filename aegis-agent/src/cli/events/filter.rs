//! Which entries are wanted. One filter for every source: the daemon is asked with it, and what the
//! segment files or a saved log give passes through it.
//!
//! Knows entries; knows nothing of options, sources or output.

use crate::cli::glob::Glob;
use crate::proto::control::EventsRequest;

use super::entry::Entry;

/// Conditions, all of which an entry must meet. An empty list is no condition; a list is met by any one of it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only entries after this sequence number.
    pub after_seq: Option<u64>,
    /// Not before, nanoseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Not after.
    pub until: Option<u64>,
    /// Name or session.
    pub agent: Option<String>,
    /// Kinds by number.
    pub kinds: Vec<u32>,
    /// Verdicts by number.
    pub verdicts: Vec<i32>,
    /// Process ids.
    pub pids: Vec<u32>,
    /// A path of the entry.
    pub path: Option<Glob>,
    /// Id of the rule that decided.
    pub rule: Option<String>,
}

impl Filter {
    /// Whether an entry is wanted.
    #[must_use]
    pub fn wants(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        self.after_seq.is_none_or(|seq| entry.seq > seq)
            && self.since.is_none_or(|time| entry.time >= time)
            && self.until.is_none_or(|time| entry.time <= time)
            && self.agent.as_ref().is_none_or(|agent| *agent == event.agent || *agent == event.session)
            && among(&self.kinds, &entry.kind)
            && among(&self.verdicts, &event.verdict)
            && (self.pids.is_empty() || event.process.as_ref().is_some_and(|p| self.pids.contains(&p.pid)))
            && self.path.as_ref().is_none_or(|glob| entry.paths().any(|path| glob.matches(path)))
            && self.rule.as_ref().is_none_or(|rule| *rule == event.rule)
    }

    /// Whether the daemon's answer to [`Filter::request`] is exactly what is wanted.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.path.is_none()
    }

    /// Whether nothing that comes later can be wanted: entries never go back in time.
    #[must_use]
    pub fn is_past(&self, entry: &Entry) -> bool {
        self.until.is_some_and(|time| entry.time > time)
    }

    /// The same conditions as a question to the daemon, which knows plainer globs: its answer can hold
    /// more than is wanted.
    #[must_use]
    pub fn request(&self) -> EventsRequest {
        EventsRequest {
            after_seq: self.after_seq,
            since_unix_ns: self.since.unwrap_or(0),
            until_unix_ns: self.until.unwrap_or(0),
            agent: self.agent.clone().unwrap_or_default(),
            kinds: self.kinds.iter().map(|kind| super::entry::kind_name(*kind)).collect(),
            verdicts: self.verdicts.iter().filter_map(|v| super::entry::verdict_name(*v)).collect(),
            pids: self.pids.clone(),
            path_glob: self.path.as_ref().map(Glob::wider).unwrap_or_default(),
            rule: self.rule.clone().unwrap_or_default(),
            ..EventsRequest::default()
        }
    }
}

fn among<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::cli::{events::sample, glob::Glob};

    #[test]
    fn no_condition_wants_everything() {
        assert!(sample::all().iter().all(|entry| Filter::default().wants(entry)));
    }

    #[test]
    fn each_condition_alone_tells_entries_apart() {
        let entry = sample::denied_open();
        let yes = |filter: Filter| assert!(filter.wants(&entry), "{filter:?}");
        let no = |filter: Filter| assert!(!filter.wants(&entry), "{filter:?}");
        let base = Filter::default;
        yes(Filter { after_seq: Some(entry.seq - 1), ..base() });
        no(Filter { after_seq: Some(entry.seq), ..base() });
        yes(Filter { since: Some(entry.time), until: Some(entry.time), ..base() });
        no(Filter { since: Some(entry.time + 1), ..base() });
        no(Filter { until: Some(entry.time - 1), ..base() });
        yes(Filter { agent: Some("coder".to_owned()), ..base() });
        yes(Filter { agent: Some("coder-1".to_owned()), ..base() });
        no(Filter { agent: Some("code".to_owned()), ..base() });
        yes(Filter { kinds: vec![10, 20], ..base() });
        no(Filter { kinds: vec![10], ..base() });
        yes(Filter { verdicts: vec![3], ..base() });
        no(Filter { verdicts: vec![1, 2], ..base() });
        yes(Filter { pids: vec![1, 4242], ..base() });
        no(Filter { pids: vec![1], ..base() });
        yes(Filter { path: Some(Glob::new("/etc").unwrap()), ..base() });
        no(Filter { path: Some(Glob::new("/srv/**").unwrap()), ..base() });
        yes(Filter { rule: Some("fs.deny.1".to_owned()), ..base() });
        no(Filter { rule: Some("default".to_owned()), ..base() });
    }

    #[test]
    fn a_rename_is_found_by_either_name() {
        let entry = sample::rename();
        for glob in ["/work/a", "/work/b"] {
            assert!(Filter { path: Some(Glob::new(glob).unwrap()), ..Filter::default() }.wants(&entry));
        }
    }

    #[test]
    fn an_entry_without_a_process_or_path_never_meets_such_a_condition() {
        let entry = sample::daemon_start();
        assert!(!Filter { pids: vec![0], ..Filter::default() }.wants(&entry));
        assert!(!Filter { path: Some(Glob::new("**").unwrap()), ..Filter::default() }.wants(&entry));
    }

    #[test]
    fn the_daemon_is_asked_in_words() {
        let filter = Filter { kinds: vec![20], verdicts: vec![3], path: Some(Glob::new("/a").unwrap()), ..Filter::default() };
        let request = filter.request();
        assert_eq!(request.kinds, ["file"]);
        assert_eq!(request.verdicts, ["deny"]);
        assert_eq!(request.path_glob, "/a**");
        assert_eq!(request.after_seq, None);
    }
}
