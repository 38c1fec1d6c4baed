//! User ids as names, from /etc/passwd alone: a name service that hangs must not stop the pipeline.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant, SystemTime},
};

const FILE: &str = "/etc/passwd";
/// How long the file is trusted unlooked at.
const TRUSTED: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Users {
    names: HashMap<u32, String>,
    checked: Option<Instant>,
    modified: Option<SystemTime>,
}

impl Users {
    /// Name of a user, empty where /etc/passwd has none.
    pub(super) fn name(&mut self, uid: u32) -> String {
        if self.checked.is_none_or(|at| at.elapsed() > TRUSTED) {
            self.checked = Some(Instant::now());
            let modified = fs::metadata(FILE).and_then(|m| m.modified()).ok();
            if modified.is_none() || modified != self.modified {
                self.modified = modified;
                self.names = fs::read(FILE).map(|text| parse(&text)).unwrap_or_default();
            }
        }
        self.names.get(&uid).cloned().unwrap_or_default()
    }
}

fn parse(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_user_counts() {
        let names = parse(b"root:x:0:0:r:/:/bin/sh\ntoor:x:0:0::/:\nbad line\nu:x:1000:1000::/:\n");
        assert_eq!(names[&0], "root");
        assert_eq!(names[&1000], "u");
        assert_eq!(names.len(), 2);
    }
}
