//! Where speed could have cost meaning: names of every length and paths of every depth, against rules that
//! name them, with the path in each record compared byte by byte.
//!
//! The walk takes a short name from the dentry and a long one from elsewhere, stops hashing below the deepest
//! rule, and takes several components a turn: each border is crossed here.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use aegis_common::event::{reason, verdict};
use aegis_common::limits::MAX_DEPTH;
use aegis_policy::CompiledImage;
use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;

use crate::client::Client;
use crate::governor::{Governor, Opened};
use crate::stage::{Cgroup, Stage};

/// Longest name of Linux.
const LONGEST: usize = 255;
const NAMES: &str = "/checked-names";
const DEEP: &str = "/checked-depth";
/// Components of a path whose rule is deep.
const DEEP_RULE: usize = 40;

/// What opening a file must come to.
struct Expected {
    path: PathBuf,
    allowed: bool,
    reason: u8,
    /// Path of the rule that decides; none is the default.
    rule: Option<PathBuf>,
}

/// Runs all checks; the number of operations that were checked.
pub fn run() -> Result<usize> {
    let stage = Stage::set(0)?;
    let mut governor = Governor::start()?;
    let expected = [names()?, depths(None)?, depths(Some(DEEP_RULE))?];
    let mut count = 0;
    for (index, expected) in expected.iter().enumerate() {
        let allowed: Vec<_> = match index {
            0 => expected.iter().filter_map(|open| open.rule.clone()).collect(),
            _ => vec![PathBuf::from(DEEP)],
        };
        let denied = if index == 2 { vec![deep(DEEP_RULE)] } else { Vec::new() };
        judge(&stage, &mut governor, &manifest(&allowed, &denied), expected)?;
        count += expected.len();
    }
    count += moves(&stage, &mut governor)?;
    governor.end()?;
    Ok(count)
}

/// Directories that hold a rule stay where they are; all others move, above and below the deepest rule.
fn moves(stage: &Stage, governor: &mut Governor) -> Result<usize> {
    const MOVES: &str = "/checked-moves";
    const HOLDER: &str = "/checked-moves/one/holder";
    const RULE: &str = "/checked-moves/one/holder/inner/secret";
    /// The deepest rule; what lies below it holds none.
    const DEEPEST: &str = "/checked-moves/one/holder/beside/deepest";
    const CASES: [(&str, bool); 9] = [
        ("/checked-moves/one/free", true),
        ("/checked-moves/one/free/two/three", true),
        ("/checked-moves/one/free/two/three/four/five", true),
        ("/checked-moves/one/holder/beside/deepest/below", true),
        ("/checked-moves/one/holder/beside/else", true),
        ("/checked-moves/one/holder/beside", false),
        ("/checked-moves/one", false),
        (HOLDER, false),
        ("/checked-moves/one/holder/inner", false),
    ];
    fs::create_dir_all(RULE).with_context(|| format!("make {RULE}"))?;
    for (folder, _) in CASES {
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    let text = format!(
        "version: \"1.0\"\nagent:\n  name: check\nbaseline: none\npermissions:\n  fs:\n    write:\n      - {MOVES}\n      - {DEEPEST}\n    deny:\n      - {RULE}\n",
    );
    let image = governor.compile_text(&text)?;
    let mut governed = Governed::start(stage, governor, &image)?;
    let worker = &mut governed.worker;
    for (from, free) in CASES {
        let (from, to) = (PathBuf::from(from), PathBuf::from(format!("{from}-moved")));
        let answer = worker.rename(&from, &to)?;
        let records = governor.opened()?;
        let [record] = records.as_slice() else {
            bail!("rename of {}: {} records instead of one", from.display(), records.len());
        };
        let (wanted, said) = if free { (Errno::from_raw(0), reason::RULE) } else { (Errno::EACCES, reason::HOLDS_RULE) };
        ensure!(answer == wanted, "rename of {}: {answer} instead of {wanted}", from.display());
        ensure!(record.reason == said, "rename of {}: reason {} instead of {said}", from.display(), record.reason);
        if free {
            worker.rename(&to, &from)?;
            governor.opened()?;
        }
    }
    governed.end(governor)?;
    Ok(CASES.len())
}

/// A worker under an image.
struct Governed {
    worker: Client,
    cgroup: Cgroup,
    slot: u32,
}

impl Governed {
    fn start(stage: &Stage, governor: &mut Governor, image: &CompiledImage) -> Result<Self> {
        let worker = Client::start(stage, None)?;
        let cgroup = Cgroup::make(&worker.id().to_string(), true)?;
        cgroup.enter(worker.id())?;
        let slot = governor.put_in_force(cgroup.id()?, image)?;
        governor.opened()?;
        Ok(Self { worker, cgroup, slot })
    }

    fn end(self, governor: &mut Governor) -> Result<()> {
        self.worker.end()?;
        governor.release(self.cgroup.id()?, self.slot)?;
        self.cgroup.remove()
    }
}

fn manifest(allowed: &[PathBuf], denied: &[PathBuf]) -> String {
    let list = |paths: &[PathBuf]| paths.iter().map(|path| format!("\n      - {}", path.display())).collect::<String>();
    let deny = if denied.is_empty() { String::new() } else { format!("    deny:{}\n", list(denied)) };
    format!("version: \"1.0\"\nagent:\n  name: check\nbaseline: none\npermissions:\n  fs:\n    read:{}\n{deny}", list(allowed))
}

/// Opens each in a governed process, and holds answer and record against what is expected.
fn judge(stage: &Stage, governor: &mut Governor, manifest: &str, expected: &[Expected]) -> Result<()> {
    let image = governor.compile_text(manifest)?;
    let mut governed = Governed::start(stage, governor, &image)?;
    for open in expected {
        let answer = governed.worker.open(&open.path)?;
        let records = governor.opened()?;
        let shown = open.path.display();
        let [record] = records.as_slice() else {
            bail!("{shown}: {} records instead of one", records.len());
        };
        let wanted = if open.allowed { Errno::from_raw(0) } else { Errno::EACCES };
        ensure!(answer == wanted, "{shown}: {answer} instead of {wanted}");
        compare(record, open, &image).with_context(|| shown.to_string())?;
    }
    governed.end(governor)
}

fn compare(record: &Opened, open: &Expected, image: &CompiledImage) -> Result<()> {
    let said = if open.allowed { verdict::ALLOW } else { verdict::DENY };
    ensure!(record.verdict == said, "verdict {} instead of {said}", record.verdict);
    ensure!(record.reason == open.reason, "reason {} instead of {}", record.reason, open.reason);
    let decided = image.rules.decided(record.rule, aegis_common::path::perm::READ, !open.allowed);
    let rule = decided.map(|rule| rule.text.clone());
    let fits = match (&open.rule, &rule) {
        (Some(path), Some(text)) => text.ends_with(&path.display().to_string()),
        (None, None) => true,
        _ => false,
    };
    ensure!(fits, "decided by {rule:?} instead of {:?}", open.rule);
    // A path that is too deep was not walked to its end.
    if open.reason != reason::TOO_DEEP {
        ensure!(record.path == open.path.as_os_str().as_bytes(), "recorded as {}", record.path.escape_ascii());
    }
    Ok(())
}

/// A name of each length; every second one has a rule.
fn names() -> Result<Vec<Expected>> {
    fs::create_dir_all(NAMES).with_context(|| format!("make {NAMES}"))?;
    (1..=LONGEST)
        .map(|length| {
            let letters = (b'a'..=b'z').cycle().skip(length % 26).take(length);
            let path = Path::new(NAMES).join(String::from_utf8(letters.collect())?);
            fs::write(&path, "x").with_context(|| format!("write {}", path.display()))?;
            let allowed = length % 2 == 0;
            let reason = if allowed { reason::RULE } else { reason::DEFAULT };
            Ok(Expected { rule: allowed.then(|| path.clone()), path, allowed, reason })
        })
        .collect()
}

/// The directory with so many components.
fn deep(components: usize) -> PathBuf {
    let mut path = PathBuf::from(DEEP);
    for index in 1..components {
        // Long names among short ones.
        path.push(if index % 7 == 0 { format!("{index}-{}", "long".repeat(10)) } else { format!("d{index}") });
    }
    path
}

/// A file at each depth up to the deepest that is followed, and beyond.
fn depths(denied_at: Option<usize>) -> Result<Vec<Expected>> {
    let deepest = usize::try_from(MAX_DEPTH)?;
    (2..=deepest + 6)
        .map(|components| {
            let folder = deep(components - 1);
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            let path = folder.join("file");
            fs::write(&path, "x").with_context(|| format!("write {}", path.display()))?;
            let below = denied_at.filter(|at| *at < components);
            let (allowed, reason, rule) = match below {
                _ if components > deepest => (false, reason::TOO_DEEP, None),
                Some(at) => (false, reason::RULE, Some(deep(at))),
                None => (true, reason::RULE, Some(PathBuf::from(DEEP))),
            };
            Ok(Expected { path, allowed, reason, rule })
        })
        .collect()
}
