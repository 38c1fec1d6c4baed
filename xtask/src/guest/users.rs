//! Users from `/etc/passwd`: a static program must not load NSS modules of the root image.

use std::fs;

use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::{Context as _, Result};

/// The account a command runs as.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Home folder, also the working directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Account {
    /// Looks the name up in the root image.
    pub fn named(name: &str) -> Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let group = fs::read_to_string("/etc/group").context("/etc/group")?;
        Self::find(name, &passwd, &group)
            .ok_or_else(|| format!("no user named {name} in the machine"))
    }

    fn find(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let fields: Vec<&str> = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)?;
        let gid = fields.get(3)?.parse().ok()?;
        let mut groups = vec![gid];
        for line in group.lines() {
            let entry: Vec<&str> = line.split(':').collect();
            let (Some(id), Some(members)) = (entry.get(2), entry.get(3)) else {
                continue;
            };
            if members.split(',').any(|member| member == name) {
                groups.extend(id.parse::<u32>().ok());
            }
        }
        Some(Self {
            name: name.to_owned(),
            home: (*fields.get(5)?).to_owned(),
            shell: (*fields.get(6)?).to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            gid,
            groups,
        })
    }

    /// Becomes this account for good.
    pub fn assume(&self) -> Result<()> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).context("setgroups")?;
        setgid(Gid::from_raw(self.gid)).context("setgid")?;
        setuid(Uid::from_raw(self.uid)).context("setuid")
    }

    /// The environment of a login of this account.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HOME", self.home.clone()),
            ("USER", self.name.clone()),
            ("LOGNAME", self.name.clone()),
            ("SHELL", self.shell.clone()),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
            ("TERM", "linux".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_brings_its_supplementary_groups() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000::/home/agent:/bin/sh\n";
        let group = "root:x:0:\nadm:x:4:syslog,agent\nagent:x:1000:\n";
        let account = Account::find("agent", passwd, group).expect("the account is there");
        assert_eq!((account.uid, account.gid), (1000, 1000));
        assert_eq!(account.groups, [1000, 4]);
        assert_eq!(account.home, "/home/agent");
        assert_eq!(Account::find("agen", passwd, group), None);
    }
}
