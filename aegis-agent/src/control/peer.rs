//! Who may ask: by user, by group, and by cgroup.

use nix::unistd::{Gid, Group, Uid, User};

use crate::engine::{Peer, process};

/// Why a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its credentials are not known.
    #[error("the socket tells no credentials: {0}")]
    Unknown(String),
    /// Neither root nor a member of the group.
    #[error("user {uid} may not control Aegis: ask as root, or become a member of group {group}")]
    NotAllowed {
        /// User.
        uid: u32,
        /// Group whose members may.
        group: String,
    },
    /// It runs in a governed cgroup.
    #[error("agents may not control Aegis, whoever they run as")]
    Governed,
}

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Access {
    group: String,
}

impl Access {
    /// Root and the members of this group.
    #[must_use]
    pub fn new(group: &str) -> Self {
        Self { group: group.to_owned() }
    }

    /// The peer, if it may ask. `governed` answers for a cgroup path.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn admit(
        &self,
        credentials: Option<(u32, u32, Option<i32>)>,
        governed: impl Fn(&str) -> bool,
    ) -> Result<Peer, Denied> {
        let unknown = |why: &str| Denied::Unknown(why.to_owned());
        let (uid, gid, pid) = credentials.ok_or_else(|| unknown("no peer"))?;
        // A process of another pid namespace is 0 here.
        let pid = pid.and_then(|p| u32::try_from(p).ok()).filter(|p| *p > 0).ok_or_else(|| unknown("no process id"))?;
        let cgroup = process::cgroup(pid).or_else(|e| without_cgroup2(&e));
        if governed(&cgroup.map_err(|e| unknown(&e.to_string()))?) {
            return Err(Denied::Governed);
        }
        if uid != 0 && !self.is_member(uid, gid) {
            return Err(Denied::NotAllowed { uid, group: self.group.clone() });
        }
        Ok(Peer { uid, gid, pid, login_uid: process::login_uid(pid), exe: process::exe(pid) })
    }

    fn is_member(&self, uid: u32, gid: u32) -> bool {
        let Ok(Some(group)) = Group::from_name(&self.group) else { return false };
        if group.gid == Gid::from_raw(gid) {
            return true;
        }
        User::from_uid(Uid::from_raw(uid)).ok().flatten().is_some_and(|u| group.mem.contains(&u.name) || u.gid == group.gid)
    }
}

/// On a host without cgroup v2 there is no governed cgroup. Any other failure refuses the peer.
fn without_cgroup2(error: &std::io::Error) -> std::io::Result<String> {
    match crate::mountinfo::read() {
        Ok(mounts) if crate::mountinfo::cgroup2(&mounts).is_none() => Ok(String::new()),
        _ => Err(std::io::Error::new(error.kind(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Option<(u32, u32, Option<i32>)> {
        let pid = i32::try_from(std::process::id()).expect("pid");
        Some((0, 0, Some(pid)))
    }

    #[test]
    fn root_is_let_in_and_a_governed_root_is_not() {
        let access = Access::new("aegis-no-such-group");
        assert_eq!(access.admit(me(), |_| false).expect("root").pid, std::process::id());
        assert_eq!(access.admit(me(), |_| true), Err(Denied::Governed));
    }

    #[test]
    fn strangers_and_peers_without_a_process_are_refused() {
        let access = Access::new("aegis-no-such-group");
        let stranger = me().map(|(_, _, pid)| (54_321, 54_321, pid));
        assert!(matches!(access.admit(stranger, |_| false), Err(Denied::NotAllowed { uid: 54_321, .. })));
        assert!(matches!(access.admit(None, |_| false), Err(Denied::Unknown(_))));
        assert!(matches!(access.admit(Some((0, 0, Some(0))), |_| false), Err(Denied::Unknown(_))));
        assert!(matches!(access.admit(Some((0, 0, Some(-5))), |_| false), Err(Denied::Unknown(_))));
    }

    #[test]
    fn members_by_primary_group_are_let_in() {
        let access = Access::new("root");
        let member = me().map(|(_, _, pid)| (54_321, 0, pid));
        assert!(access.admit(member, |_| false).is_ok());
    }
}
