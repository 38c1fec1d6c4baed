//! Who may ask: by user, by group, and by cgroup.

use nix::unistd::{Gid, Group, Uid, User};

use super::connection::Credentials;
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
    pub fn admit(&self, peer: Option<Credentials>, governed: impl Fn(&str) -> bool) -> Result<Peer, Denied> {
        let unknown = |why: &str| Denied::Unknown(why.to_owned());
        let Credentials { uid, gid, process } = peer.ok_or_else(|| unknown("no peer"))?;
        let process = process.ok_or_else(|| unknown("its process cannot be seen"))?;
        let pid = process.pid;
        let cgroup = process::cgroup(pid).or_else(|e| without_cgroup2(&e));
        let governed = governed(&cgroup.map_err(|e| unknown(&e.to_string()))?);
        let (login_uid, exe) = (process::login_uid(pid), process::exe(pid));
        // Asked after all was read: it was this process's then.
        if !process.is_alive() {
            return Err(unknown("the process that connected has ended"));
        }
        if governed {
            return Err(Denied::Governed);
        }
        if uid != 0 && !self.is_member(uid, gid) {
            return Err(Denied::NotAllowed { uid, group: self.group.clone() });
        }
        Ok(Peer { uid, gid, pid, login_uid, exe })
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

    use crate::engine::process::ProcessId;

    fn me() -> Credentials {
        let process = ProcessId::of(std::process::id()).expect("own process");
        Credentials { uid: 0, gid: 0, process: Some(process) }
    }

    #[test]
    fn root_is_let_in_and_a_governed_root_is_not() {
        let access = Access::new("aegis-no-such-group");
        assert_eq!(access.admit(Some(me()), |_| false).expect("root").pid, std::process::id());
        assert_eq!(access.admit(Some(me()), |_| true), Err(Denied::Governed));
    }

    #[test]
    fn strangers_and_peers_without_a_process_are_refused() {
        let access = Access::new("aegis-no-such-group");
        let stranger = Credentials { uid: 54_321, gid: 54_321, ..me() };
        assert!(matches!(access.admit(Some(stranger), |_| false), Err(Denied::NotAllowed { uid: 54_321, .. })));
        assert!(matches!(access.admit(None, |_| false), Err(Denied::Unknown(_))));
        let hidden = Credentials { process: None, ..me() };
        assert!(matches!(access.admit(Some(hidden), |_| false), Err(Denied::Unknown(_))));
    }

    #[test]
    fn a_process_id_that_was_used_again_is_refused() {
        let access = Access::new("aegis-no-such-group");
        let process = me().process.expect("process");
        let another = Credentials { process: Some(ProcessId { start: process.start + 1, ..process }), ..me() };
        assert!(matches!(access.admit(Some(another), |_| false), Err(Denied::Unknown(_))));
    }

    #[test]
    fn members_by_primary_group_are_let_in() {
        let access = Access::new("root");
        assert!(access.admit(Some(Credentials { uid: 54_321, gid: 0, ..me() }), |_| false).is_ok());
    }
}
