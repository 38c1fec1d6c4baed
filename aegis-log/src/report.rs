//! What a check of the log found, in words and for machines.
//!
//! Knows results, not how they were come by.

use std::fmt;

use serde_json::{Value, json};

use crate::checkpoint::SignedCheckpoint;
use crate::day::Day;
use crate::entry::Header;
use crate::finding::Finding;
use crate::hash::hex;
use crate::policy::Cosigners;
use crate::pruned::Pruned;
use crate::walk::UnreadBodies;

/// Version of the JSON that [`Report::to_json`] makes. Fields are added, never renamed.
const JSON_VERSION: u32 = 1;

/// An entry without its body: enough to hold an index against the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryInfo {
    /// Sequence number.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// What kind of entry.
    pub kind: u32,
    /// The boot during which it was written.
    pub boot_id: [u8; 16],
    /// First sequence number of the segment it lies in.
    pub segment: u64,
    /// Where its frame begins in the segment's file.
    pub offset: u64,
}

impl EntryInfo {
    pub(crate) fn new(header: &Header, segment: u64, offset: u64) -> Self {
        Self {
            seq: header.seq,
            time: header.time,
            kind: header.kind,
            boot_id: header.boot_id,
            segment,
            offset,
        }
    }
}

/// The answer to "is this log intact?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is as it was signed.
    Intact,
    /// All that was signed is intact, but there is more that was not signed, or nothing signed at all.
    Incomplete,
    /// Intact in itself, but too few of the policy's witnesses vouch for any of it.
    Unwitnessed,
    /// Something that was signed was changed, removed or replaced.
    Tampered,
}

impl Verdict {
    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Incomplete => "incomplete",
            Self::Unwitnessed => "unwitnessed",
            Self::Tampered => "tampered",
        }
    }

    /// 0 intact, 1 tampered or without the witnesses asked for, 3 intact but incomplete. (2 is for usage and
    /// I/O errors.)
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Tampered | Self::Unwitnessed => 1,
            Self::Incomplete => 3,
        }
    }
}

/// Whether the witnesses that a policy asks for vouch for what was checked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Witnessing {
    /// No policy was given.
    #[default]
    NotAsked,
    /// A quorum cosigned a checkpoint that the log extends.
    Reached {
        /// Its size.
        size: u64,
        /// Who did, and when.
        by: Cosigners,
    },
    /// No checkpoint that was given has a quorum.
    Unmet(String),
}

impl Witnessing {
    /// Whether it is asked for and missing.
    #[must_use]
    pub fn is_unmet(&self) -> bool {
        matches!(self, Self::Unmet(_))
    }

    /// For machines: what was reached, or null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Reached { size, by } => {
                let by: Vec<_> = by
                    .iter()
                    .map(|(name, time)| json!({ "name": name, "time": time }))
                    .collect();
                json!({ "size": size, "by": by })
            }
            Self::NotAsked | Self::Unmet(_) => Value::Null,
        }
    }
}

/// One line, or nothing where nothing was asked.
impl fmt::Display for Witnessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => Ok(()),
            Self::Unmet(what) => writeln!(f, "  witnesses: {}", what.escape_debug()),
            Self::Reached { size, by } => {
                write!(
                    f,
                    "  witnesses: the first {size} entries are vouched for by"
                )?;
                if by.is_empty() {
                    write!(f, " nobody, as the policy says")?;
                }
                for (index, (name, time)) in by.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let ns = time.saturating_mul(1_000_000_000);
                    let (day, second) = (Day::of(ns), time % 86_400);
                    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
                    let name = name.escape_debug();
                    write!(
                        f,
                        "{comma} {name} ({day} {hour:02}:{minute:02}:{second:02} UTC)"
                    )?;
                }
                writeln!(f)
            }
        }
    }
}

/// What follows the last checkpoint.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned {
    /// Whole entries, signed by nobody.
    pub entries: u64,
    /// Bytes, those of torn entries and checkpoints included.
    pub bytes: u64,
}

/// The result of checking a log.
#[derive(Debug, Clone)]
pub struct Report {
    /// The origin of the log, if its key is known.
    pub origin: Option<String>,
    /// Whether the key came from outside the folder. Otherwise someone who made the whole folder anew,
    /// with a key of their own, would not be found out.
    pub key_trusted: bool,
    /// Whether a writer had the log open meanwhile; what follows the last checkpoint is then its work.
    pub live: bool,
    /// Entries found intact, all covered by a checkpoint.
    pub entries: u64,
    /// Segments walked.
    pub segments: u64,
    /// Checkpoints whose signature and root hold.
    pub checkpoints: u64,
    /// The last of them.
    pub last_checkpoint: Option<SignedCheckpoint>,
    /// Kept checkpoints that the log was held against, all found consistent unless a finding says otherwise.
    pub kept: usize,
    /// Epochs that are over and sealed.
    pub epochs: usize,
    /// Entries in them: nobody can sign others in their place any more.
    pub sealed: u64,
    /// Whether seals kept elsewhere were given: then what is not sealed is not taken for whole.
    pub seals_asked: bool,
    /// Whether witnesses vouch for it.
    pub witnessing: Witnessing,
    /// What follows the last checkpoint.
    pub unsigned: Unsigned,
    /// Whether stored hashes of the tree are missing, as after a crash. The next start makes them anew.
    pub tree_incomplete: bool,
    /// What retention removed: of these entries hashes and checkpoints are here, and hold.
    pub pruned: Option<Pruned>,
    /// Entries whose bodies are encrypted and were not read.
    pub unread: UnreadBodies,
    /// What is wrong; the first is the first bad place in the log.
    pub findings: Vec<Finding>,
    /// What an operator should know though it proves nothing.
    pub remarks: Vec<String>,
}

impl Report {
    /// The answer.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Tampered
        } else if self.witnessing.is_unmet() {
            Verdict::Unwitnessed
        } else if self.entries == 0
            || (!self.live
                && (self.unsigned != Unsigned::default()
                    || self.tree_incomplete
                    || (self.seals_asked && self.sealed < self.entries)))
        {
            Verdict::Incomplete
        } else {
            Verdict::Intact
        }
    }

    /// As [`Verdict::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.verdict().exit_code()
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "version": JSON_VERSION,
            "verdict": self.verdict().name(),
            "origin": self.origin,
            "key_trusted": self.key_trusted,
            "live": self.live,
            "entries": self.entries,
            "segments": self.segments,
            "checkpoints": self.checkpoints,
            "kept_checkpoints": self.kept,
            "epochs": { "sealed": self.epochs, "size": self.sealed },
            "witnessed": self.witnessing.to_json(),
            "size": self.last_checkpoint.as_ref().map(SignedCheckpoint::size),
            "root": self.last_checkpoint.as_ref().map(|checkpoint| hex(&checkpoint.root().0)),
            "checkpoint": self.last_checkpoint.as_ref().map(SignedCheckpoint::note),
            "tree_incomplete": self.tree_incomplete,
            "pruned": pruned_json(self.pruned.as_ref()),
            "unread": { "withheld": self.unread.withheld, "erased": self.unread.erased },
            "unsigned": { "entries": self.unsigned.entries, "bytes": self.unsigned.bytes },
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            "remarks": self.remarks,
        })
    }
}

/// What retention removed, for machines; null where nothing.
pub(crate) fn pruned_json(pruned: Option<&Pruned>) -> Value {
    pruned.map_or(
        Value::Null,
        |pruned| json!({ "entries": pruned.size(), "told_by": pruned.told() }),
    )
}

/// What retention removed, in words.
pub(crate) fn write_pruned(f: &mut fmt::Formatter<'_>, pruned: Option<&Pruned>) -> fmt::Result {
    let Some(pruned) = pruned.filter(|pruned| pruned.size() > 0) else {
        return Ok(());
    };
    let (last, told) = (pruned.size() - 1, pruned.told());
    writeln!(
        f,
        "  removed by retention: entries 0 to {last}, as entry {told} tells; their hashes and checkpoints are here and hold, what they said is gone"
    )
}

/// Which bodies were not read, in words.
fn write_unread(f: &mut fmt::Formatter<'_>, unread: &UnreadBodies) -> fmt::Result {
    if unread.withheld > 0 {
        writeln!(
            f,
            "  encrypted: what {} entries say was not checked, since their keys are not here; that they are the ones that were signed was, and that their encrypted bytes are as they were made",
            unread.withheld
        )?;
    }
    if unread.erased > 0 {
        writeln!(
            f,
            "  erased: what {} entries said; their keys were destroyed, as entries of the log tell",
            unread.erased
        )?;
    }
    Ok(())
}

/// What is wrong, the first bad place first.
pub(crate) fn write_findings(f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
    for (index, finding) in findings.iter().enumerate() {
        let which = if index == 0 { "first bad" } else { "also" };
        writeln!(f, "  {which}: {finding}")?;
    }
    Ok(())
}

/// Which kept checkpoints and witnesses vouch for what was checked.
pub(crate) fn write_vouchers(
    f: &mut fmt::Formatter<'_>,
    kept: usize,
    findings: &[Finding],
    witnessing: &Witnessing,
) -> fmt::Result {
    if kept > 0 && findings.is_empty() {
        writeln!(f, "  kept checkpoints: the log extends all {kept} of them")?;
    }
    write!(f, "{witnessing}")
}

/// The result in words, several lines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = match self.entries {
            0 => "no entries".to_owned(),
            n => format!("{n} entries (0 to {})", n - 1),
        };
        let counts = format!(
            "{last} in {} segments under {} checkpoints",
            self.segments, self.checkpoints
        );
        match self.verdict() {
            Verdict::Intact => writeln!(
                f,
                "INTACT: {counts}. Every byte up to the last checkpoint is as it was signed."
            )?,
            Verdict::Incomplete if self.entries == 0 => writeln!(
                f,
                "INCOMPLETE: nothing is signed yet; there is nothing to vouch for."
            )?,
            Verdict::Incomplete => writeln!(
                f,
                "INCOMPLETE: {counts} are intact, but the log was not closed cleanly."
            )?,
            Verdict::Unwitnessed => writeln!(
                f,
                "UNWITNESSED: {counts} are intact in themselves, but nobody whom the policy asks for says that they are the log."
            )?,
            Verdict::Tampered => writeln!(
                f,
                "TAMPERED: the log is not as it was signed. Intact up to there: {counts}."
            )?,
        }
        write_findings(f, &self.findings)?;
        if let Some(checkpoint) = &self.last_checkpoint {
            writeln!(
                f,
                "  last checkpoint: size {}, root {}",
                checkpoint.size(),
                checkpoint.root()
            )?;
        }
        if self.findings.is_empty() {
            write_pruned(f, self.pruned.as_ref())?;
            write_unread(f, &self.unread)?;
        }
        if self.findings.is_empty() && self.entries > 0 {
            writeln!(
                f,
                "  epochs: {} sealed, with the first {} entries; the keys that could seal others in their place are destroyed",
                self.epochs, self.sealed
            )?;
            if self.sealed < self.entries {
                writeln!(
                    f,
                    "  not sealed: the entries from {} on; whoever had the host and the log's key could have written them",
                    self.sealed
                )?;
            }
        }
        if self.unsigned != Unsigned::default() {
            let why = if self.live {
                "a writer has the log open"
            } else {
                "as a crash leaves them; the next start cuts them off and says so in the log"
            };
            writeln!(
                f,
                "  after it: {} entries, {} bytes without signature ({why})",
                self.unsigned.entries, self.unsigned.bytes
            )?;
        }
        if self.tree_incomplete {
            writeln!(
                f,
                "  stored tree: hashes are missing, as after a crash; the next start makes them anew from the entries"
            )?;
        }
        write_vouchers(f, self.kept, &self.findings, &self.witnessing)?;
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        Ok(())
    }
}
