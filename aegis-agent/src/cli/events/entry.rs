//! One entry of the log as the command sees it, wherever it came from: the daemon, the segment
//! files or a saved log.
//!
//! Knows the names of kinds and verdicts. Knows nothing of how entries are shown or chosen.

use prost::Message as _;

use crate::proto::event::{Event, File, Kind, Network, Verdict, event::Detail};

/// An entry. Sequence, time and kind stand in the log's header, the rest in its body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Sequence number in the log.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// `aegis.event.v1.Kind`, also one that this version does not know.
    pub kind: u32,
    /// The body.
    pub event: Event,
    /// The body as it stands in the log, when it could not be decoded: shown, never dropped.
    pub undecoded: Option<Vec<u8>>,
    /// Why there is no body: it is encrypted and its key is not here, or it was erased. Empty where there is one.
    pub unread: String,
}

impl Entry {
    /// Takes an entry as the log keeps it.
    #[must_use]
    pub fn decode(seq: u64, time: u64, kind: u32, body: &[u8]) -> Self {
        match Event::decode(body) {
            Ok(event) => Self { seq, time, kind, event, ..Self::default() },
            Err(_) => Self { seq, time, kind, undecoded: Some(body.to_vec()), ..Self::default() },
        }
    }

    /// An entry of which only the header can be read.
    #[must_use]
    pub fn unread(seq: u64, time: u64, kind: u32, why: String) -> Self {
        Self { seq, time, kind, unread: why, ..Self::default() }
    }

    /// The word for the kind.
    #[must_use]
    pub fn kind_name(&self) -> String {
        kind_name(self.kind)
    }

    /// The word for the verdict, when there is one.
    #[must_use]
    pub fn verdict_name(&self) -> Option<String> {
        verdict_name(self.event.verdict)
    }

    /// Every path the entry is about: the file, its second name, the program.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let (first, second): (&[u8], &[u8]) = match &self.event.detail {
            Some(Detail::File(File { path, target, .. })) => (path, target),
            Some(Detail::Exec(exec)) => (&exec.path, &[]),
            Some(Detail::Network(Network { address, protocol, .. })) if protocol == "unix" => {
                (address.as_bytes(), &[])
            }
            _ => (&[], &[]),
        };
        [first, second].into_iter().filter(|path| !path.is_empty())
    }
}

/// Kinds that a filter can name, in the order of their numbers.
pub const KINDS: [(&str, Kind); 12] = [
    ("exec", Kind::Exec),
    ("exit", Kind::Exit),
    ("file", Kind::File),
    ("network", Kind::Network),
    ("dns", Kind::Dns),
    ("guard", Kind::Guard),
    ("agent", Kind::Agent),
    ("policy", Kind::Policy),
    ("decision", Kind::Decision),
    ("operator", Kind::Operator),
    ("daemon", Kind::Daemon),
    ("loss", Kind::Loss),
];

/// Verdicts that a filter can name.
pub const VERDICTS: [(&str, Verdict); 6] = [
    ("allow", Verdict::Allow),
    ("audit", Verdict::Audit),
    ("deny", Verdict::Deny),
    ("ask", Verdict::Ask),
    ("throttle", Verdict::Throttle),
    ("kill", Verdict::Kill),
];

/// Names of [`KINDS`].
pub const KIND_NAMES: [&str; KINDS.len()] = names(&KINDS);
/// Names of [`VERDICTS`].
pub const VERDICT_NAMES: [&str; VERDICTS.len()] = names(&VERDICTS);

const fn names<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut out = [""; N];
    let mut at = 0;
    while at < N {
        out[at] = table[at].0;
        at += 1;
    }
    out
}

/// The word for a kind; `kind-N` for one of a newer version.
#[must_use]
pub fn kind_name(kind: u32) -> String {
    KINDS
        .iter()
        .find(|(_, known)| number(*known as i32) == kind)
        .map_or_else(|| format!("kind-{kind}"), |(name, _)| (*name).to_owned())
}

/// The number of a kind, by the word that [`kind_name`] gave.
#[must_use]
pub fn kind_number(name: &str) -> Option<u32> {
    match KINDS.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => Some(number(*kind as i32)),
        None => name.strip_prefix("kind-")?.parse().ok(),
    }
}

/// The word for a verdict; `verdict-N` for one of a newer version, nothing when there is none.
#[must_use]
pub fn verdict_name(verdict: i32) -> Option<String> {
    if verdict == Verdict::Unspecified as i32 {
        return None;
    }
    let known = VERDICTS.iter().find(|(_, known)| *known as i32 == verdict);
    Some(known.map_or_else(|| format!("verdict-{verdict}"), |(name, _)| (*name).to_owned()))
}

/// The number of a verdict, by the word that [`verdict_name`] gave.
#[must_use]
pub fn verdict_number(name: &str) -> Option<i32> {
    match VERDICTS.iter().find(|(known, _)| *known == name) {
        Some((_, verdict)) => Some(*verdict as i32),
        None => name.strip_prefix("verdict-")?.parse().ok(),
    }
}

/// Enum values of ours are never negative.
fn number(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Entry, kind_name, kind_number, verdict_name, verdict_number};

    #[test]
    fn names_and_numbers_go_both_ways_also_for_what_is_not_known() {
        for kind in 0..200 {
            assert_eq!(kind_number(&kind_name(kind)), Some(kind));
        }
        for verdict in 1..20 {
            assert_eq!(verdict_number(&verdict_name(verdict).unwrap()), Some(verdict));
        }
        assert_eq!(verdict_name(0), None);
        assert_eq!(kind_name(20), "file");
        assert_eq!(kind_number("nonsense"), None);
    }

    #[test]
    fn a_body_that_cannot_be_decoded_is_kept() {
        let entry = Entry::decode(7, 8, 20, &[0xff, 0xff]);
        assert_eq!(entry.undecoded.as_deref(), Some(&[0xff, 0xff][..]));
    }
}
