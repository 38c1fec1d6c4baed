//! Following symbolic links, and remembering which were followed.
//!
//! Knows: how a path walk treats links, `.` and `..`. Must not know: mounts, rules.

use crate::host::{Entry, HostError, HostView};
use crate::path::AbsPath;

/// Links followed in one walk, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The path without links, as far as it exists; names that do not exist are literal.
    pub(crate) target: AbsPath,
    /// The links that were followed.
    pub(crate) links: Vec<AbsPath>,
    /// The walk was given up: too many links, most likely a circle. Nothing can be opened by
    /// such a name; `target` is the path as it was given and `links` is empty.
    pub(crate) circular: bool,
}

/// Follows `path` on `host`.
pub(crate) fn follow(host: &dyn HostView, path: &AbsPath) -> Result<Walk, HostError> {
    let mut pending: Vec<Vec<u8>> = path.components().iter().rev().cloned().collect();
    let mut at = AbsPath::root();
    let mut links = Vec::new();
    // Below a name that does not exist (or is no directory) nothing is asked any more.
    let mut exists = true;
    while let Some(component) = pending.pop() {
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at = at.parent();
                continue;
            }
            _ => {}
        }
        let next = at.join(&component);
        match if exists { host.entry(&next)? } else { None } {
            Some(Entry::Symlink(_)) if links.len() >= MAX_LINKS => {
                return Ok(Walk {
                    target: path.clone(),
                    links: Vec::new(),
                    circular: true,
                });
            }
            Some(Entry::Symlink(target)) => {
                links.push(next);
                if target.first() == Some(&b'/') {
                    at = AbsPath::root();
                }
                pending.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
            }
            Some(Entry::Directory) => at = next,
            Some(Entry::File | Entry::Other) | None => {
                exists = false;
                at = next;
            }
        }
    }
    Ok(Walk {
        target: at,
        links,
        circular: false,
    })
}

#[cfg(test)]
mod tests {
    use super::follow;
    use crate::host::FakeHost;
    use crate::path::AbsPath;

    fn lead(host: &FakeHost, path: &str) -> (String, usize, bool) {
        let walk = follow(host, &AbsPath::parse(path.as_bytes()).unwrap()).unwrap();
        (walk.target.to_string(), walk.links.len(), walk.circular)
    }

    #[test]
    fn relative_absolute_and_chained_links_are_followed() {
        let mut host = FakeHost::linux();
        host.directory("/usr");
        host.directory("/etc");
        host.link("/usr/bin/python", "python3");
        host.link("/usr/bin/python3", "/usr/bin/python3.11");
        host.link("/etc/up", "../usr/./lib");
        assert_eq!(
            lead(&host, "/bin/python"),
            ("/usr/bin/python3.11".into(), 3, false)
        );
        assert_eq!(
            lead(&host, "/etc/up/new/name"),
            ("/usr/lib/new/name".into(), 1, false)
        );
        assert_eq!(
            lead(&host, "/nothing/here"),
            ("/nothing/here".into(), 0, false)
        );
    }

    #[test]
    fn a_link_above_the_root_stays_at_the_root() {
        let mut host = FakeHost::new();
        host.link("/up", "../../../x");
        assert_eq!(lead(&host, "/up"), ("/x".into(), 1, false));
    }

    #[test]
    fn a_circle_ends_and_says_so() {
        let mut host = FakeHost::new();
        host.link("/a", "b");
        host.link("/b", "a");
        assert_eq!(lead(&host, "/a/x"), ("/a/x".into(), 0, true));
        host.link("/c", "../c/d");
        assert_eq!(lead(&host, "/c"), ("/c".into(), 0, true));
    }
}
