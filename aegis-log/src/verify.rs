//! Checking a whole log, trusting nothing but a key.
//!
//! Reads only; never mends. What it needs to know about an intact log is in `walk`.

mod hours;
pub(crate) mod levels;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use self::hours::{Hours, Sealed};
use self::levels::{Levels, tree_findings};
use crate::chain::Link;
use crate::checkpoint::SignedCheckpoint;
use crate::durable::{IoError, TEMPORARY_PREFIX};
use crate::encrypted::{Erased, Keys};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::merkle::{Frontier, TILE_HEIGHT};
use crate::policy::Policy;
use crate::pruned::{Pruned, TELLING_KIND};
use crate::report::{EntryInfo, Report, Unsigned, Witnessing};
use crate::segment::{CUT_SUFFIX, Catalog, LOCK_FILE, SegmentFiles, VKEY_FILE};
use crate::walk::order::{arrangement, impossible_names, inner_tail};
use crate::walk::{SignedEnd, Stop, UnreadBodies, Visitor, Walk};

/// What to hold the log against.
#[derive(Debug, Default, Clone)]
pub struct VerifyOptions {
    /// The log's key, known from elsewhere. Without it the key in the folder is believed, and the report
    /// says so.
    pub key: Option<VerifierKey>,
    /// Checkpoints kept elsewhere: the log must extend each of them.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// Seals of epochs kept elsewhere ([`crate::Seal::parse_all`]): the log must have each of them.
    pub seals: Vec<String>,
    /// Whose log it must be, and which witnesses must have cosigned one of the checkpoints. Its key stands
    /// for [`Self::key`] where that is not given.
    pub policy: Option<Policy>,
    /// The keys of encrypted segments: with them bodies are checked too, and that none was erased unsaid.
    pub keys: Keys,
}

impl VerifyOptions {
    /// The key known from elsewhere, for a log that claims to have this one.
    pub(crate) fn trusted_key(&self, claimed: Option<&VerifierKey>) -> Option<VerifierKey> {
        let of_policy = || {
            let policy = self.policy.as_ref()?;
            let named = policy.log_key(claimed.map(VerifierKey::name));
            // Of a log that the policy does not name its first key is as wrong as any.
            named.or(policy.logs().first()).cloned()
        };
        self.key.clone().or_else(of_policy)
    }

    /// The largest of the checkpoints, all of which the log extends, that meets the policy.
    pub(crate) fn witnessing(&self, own: Option<&SignedCheckpoint>) -> Witnessing {
        let Some(policy) = &self.policy else {
            return Witnessing::NotAsked;
        };
        let mut all: Vec<_> = self.checkpoints.iter().chain(own).collect();
        all.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size()));
        let mut unmet = None;
        for checkpoint in all {
            match policy.quorum(checkpoint) {
                Ok(by) => {
                    let size = checkpoint.size();
                    return Witnessing::Reached { size, by };
                }
                Err(error) => {
                    unmet.get_or_insert(error.to_string());
                }
            }
        }
        let none = "no checkpoint that witnesses cosigned was given, or lies beside the log";
        Witnessing::Unmet(unmet.unwrap_or_else(|| none.to_owned()))
    }
}

/// Why a log could not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Retention was at work meanwhile.
    #[error(
        "entries were removed by retention while the log was read: nothing is wrong, run it again"
    )]
    PrunedMeanwhile,
    /// The key given is no key of such a log.
    #[error(
        "the key is named {0}, which is not the name of a log of Aegis (aegis/ and 32 hexadecimal digits); give the log's own log.vkey"
    )]
    ForeignKey(String),
}

/// Checks the log in `dir`.
///
/// # Errors
/// [`VerifyError`] when it can't be read. What is wrong with the log itself is in the report.
pub fn verify(dir: &Path, options: &VerifyOptions) -> Result<Report, VerifyError> {
    verify_with(dir, options, |_| {})
}

/// Checks the log in `dir` and shows each signed entry in order, so that an index can be held against it.
///
/// Entries are shown before the checkpoint that covers them is compared: they count only if the report
/// has no finding.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    dir: &Path,
    options: &VerifyOptions,
    entry: impl FnMut(&EntryInfo),
) -> Result<Report, VerifyError> {
    let live = is_live(dir);
    let catalog = Catalog::read(dir)?;
    let mut report = empty_report(live, &catalog, options);
    let Some(key) = find_key(dir, options, &catalog, &mut report)? else {
        return Ok(report);
    };
    let chain_id = key
        .chain_id()
        .ok_or_else(|| VerifyError::ForeignKey(key.name().to_owned()))?;
    report.origin = Some(key.name().to_owned());
    report.pruned = match Pruned::read(dir, &key) {
        Ok(pruned) => pruned,
        Err(Stop::Io(error)) => return Err(error.into()),
        Err(Stop::Found(finding)) => {
            report.findings.push(*finding);
            return Ok(report);
        }
    };
    let pruned = report.pruned.clone();
    let genesis = Link::genesis(chain_id);
    let mut walk = Walk::new(
        dir,
        &key,
        genesis,
        Frontier::default(),
        pruned.as_ref(),
        &options.keys,
    )?;
    let mut sealed = Sealed::read(dir, &key, &mut report)?;
    // Once more: what is sealed must be among what is read.
    let catalog = Catalog::read(dir)?;
    if report.live && Pruned::read(dir, &key).is_ok_and(|now| now != pruned) {
        return Err(VerifyError::PrunedMeanwhile);
    }
    let mut check = Check {
        entry,
        levels: Levels::new(dir),
        roots: kept_sizes(options),
        hours: Hours::default(),
        told: BTreeMap::new(),
    };
    let erased = match options.keys.erased(&key) {
        Ok(erased) => erased,
        Err(Stop::Io(error)) => return Err(error.into()),
        Err(Stop::Found(finding)) => {
            report.findings.push(*finding);
            return Ok(report);
        }
    };
    let telling = erased.iter().map(|erased| erased.told);
    let telling = telling.chain(pruned.as_ref().map(Pruned::told));
    check.told.extend(telling.map(|seq| (seq, None)));
    check.roots.extend(sealed.sizes());
    check.roots.extend(pruned.iter().map(|pruned| (pruned.size(), None)));
    match walk_all(&mut walk, &catalog.segments, &mut check, &mut report) {
        Ok(()) => {
            tree_findings(dir, walk.frontier.size(), &mut check.levels, &mut report)?;
            // A writer may have come meanwhile.
            report.live |= is_live(dir);
            if report.live && report.findings.is_empty() {
                sealed.again(dir, &key, &mut report)?;
            }
            let size = walk.frontier.size();
            if let Some(pruned) = &pruned {
                let root = check.roots.get(&pruned.size()).copied().flatten();
                let told = pruned.check_place(walk.frontier.size());
                let telling = check.told.get(&pruned.told()).copied().flatten();
                let told = told.and_then(|()| pruned.check_telling(telling));
                let findings = [pruned.check_root(root), pruned.check_seals(sealed.count()), told];
                report.findings.extend(findings.into_iter().filter_map(Result::err));
            }
            report.unread = walk.unread;
            unread_findings(&erased, &check.told, &options.keys, &mut report);
            let hours = std::mem::take(&mut check.hours);
            hours.findings(&sealed, options, &check.roots, size, &mut report);
            kept_findings(
                options,
                &key,
                &check.roots,
                walk.frontier.size(),
                &mut report.findings,
            );
        }
        Err(Stop::Found(finding)) => report.findings.push(*finding),
        Err(Stop::Io(error)) => {
            let now = Pruned::read(dir, &key);
            return Err(match now {
                Ok(now) if error.is_not_found() && now != pruned => VerifyError::PrunedMeanwhile,
                _ => error.into(),
            });
        }
    }
    report.entries = walk.note.as_ref().map_or(0, SignedCheckpoint::size);
    report.checkpoints = walk.checkpoints;
    report.last_checkpoint = walk.note;
    report.findings.extend(impossible_names(&catalog));
    report.witnessing = options.witnessing(report.last_checkpoint.as_ref());
    Ok(report)
}

fn empty_report(live: bool, catalog: &Catalog, options: &VerifyOptions) -> Report {
    let foreign = |name: &String| {
        format!(
            "{}: not a file of the log; it is not looked at",
            name.escape_debug()
        )
    };
    let mut remarks: Vec<_> = catalog.foreign.iter().map(foreign).collect();
    if !catalog.cut.is_empty() {
        let count = catalog.cut.len();
        remarks.push(format!("{count} unsigned ends set aside by recovery (*{CUT_SUFFIX}); entries of the log have their hashes"));
    }
    // A writer that is at work may be about to put one in place.
    if !live && !catalog.temporary.is_empty() {
        remarks.push(format!(
            "a write that never finished left {} ({TEMPORARY_PREFIX}*); the next start removes it",
            catalog.temporary.len()
        ));
    }
    Report {
        origin: None,
        key_trusted: false,
        live,
        entries: 0,
        segments: 0,
        checkpoints: 0,
        last_checkpoint: None,
        kept: options.checkpoints.len(),
        epochs: 0,
        sealed: 0,
        seals_asked: !options.seals.is_empty(),
        witnessing: Witnessing::NotAsked,
        unsigned: Unsigned::default(),
        tree_incomplete: false,
        pruned: None,
        unread: UnreadBodies::default(),
        findings: Vec::new(),
        remarks,
    }
}

/// Whether a writer holds the log's lock. One that can't be asked is taken for not there.
fn is_live(dir: &Path) -> bool {
    File::open(dir.join(LOCK_FILE)).is_ok_and(|lock| {
        matches!(
            lock.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}

/// The key to check with; `None` if there is none to go on with.
fn find_key(
    dir: &Path,
    options: &VerifyOptions,
    catalog: &Catalog,
    report: &mut Report,
) -> Result<Option<VerifierKey>, VerifyError> {
    let finding = |what: &str| Finding::new(Code::Vkey, what).in_file(VKEY_FILE, 0);
    let stored = stored_key(dir)?;
    let given = options.trusted_key(stored.iter().flatten().next());
    report.key_trusted = given.is_some();
    if given.is_none() {
        report.remarks.push("the key was taken from the folder itself: someone who made the whole folder anew with another key is not found out; give the key with --key".to_owned());
    }
    match (&given, stored) {
        (Some(key), Some(Some(stored))) if *key != stored => {
            report.findings.push(finding("the key in the folder is not the key given: this is another log, or one made anew with another key"));
            Ok(None)
        }
        (Some(key), Some(Some(_))) => Ok(Some(key.clone())),
        (Some(key), None) => {
            report
                .remarks
                .push(format!("{VKEY_FILE} is missing; the key given was used"));
            Ok(Some(key.clone()))
        }
        (None, Some(Some(stored))) => Ok(Some(stored)),
        (None, None) if catalog.segments.is_empty() => Ok(None),
        (None, None) => {
            report.findings.push(finding(
                "the key is missing from the folder; give it with --key",
            ));
            Ok(None)
        }
        (_, Some(None)) => {
            report.findings.push(finding(
                "the key was altered: it is no verifier key any more",
            ));
            Ok(None)
        }
    }
}

/// The key in the folder: outer `None` if there is no file, inner if the file is not one.
pub(crate) fn stored_key(dir: &Path) -> Result<Option<Option<VerifierKey>>, IoError> {
    let path = dir.join(VKEY_FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| IoError::new("read", &path, source))?,
    };
    let key = String::from_utf8(bytes).ok().and_then(|text| {
        let key = VerifierKey::parse(&text).ok()?;
        // One form only, so that every byte of the file counts.
        (format!("{key}\n") == text).then_some(key)
    });
    Ok(Some(key))
}

pub(crate) fn kept_sizes(options: &VerifyOptions) -> BTreeMap<u64, Option<Hash>> {
    let root = |size| (size == 0).then(Hash::empty_root);
    options
        .checkpoints
        .iter()
        .map(|kept| (kept.size(), root(kept.size())))
        .collect()
}

fn walk_all(
    walk: &mut Walk<'_>,
    segments: &[SegmentFiles],
    check: &mut dyn Visitor,
    report: &mut Report,
) -> Result<(), Stop> {
    for (index, files) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        arrangement(walk.link.next_seq, files, is_last, walk.pruned_size())?;
        let SignedEnd { tail, .. } = walk.segment(files, check)?;
        report.segments += 1;
        if is_last {
            report.unsigned = Unsigned {
                entries: tail.entries,
                bytes: tail.bytes + tail.note_bytes,
            };
        } else {
            inner_tail(files, walk.link.next_seq, tail.is_empty())?;
        }
    }
    Ok(())
}

pub(crate) fn kept_findings(
    options: &VerifyOptions,
    key: &VerifierKey,
    roots: &BTreeMap<u64, Option<Hash>>,
    size: u64,
    findings: &mut Vec<Finding>,
) {
    for kept in &options.checkpoints {
        let finding = |what: String| Finding::new(Code::KeptCheckpoint, what);
        if let Err(error) = kept.verify(key) {
            findings.push(finding(format!(
                "the kept checkpoint of size {}: {error}",
                kept.size()
            )));
        } else if kept.size() > size {
            let what = format!(
                "the end of the log was cut off: a kept checkpoint has {} entries, the log {size}",
                kept.size()
            );
            findings.push(Finding {
                until: Some(kept.size() - 1),
                ..finding(what).at(size)
            });
        } else if roots.get(&kept.size()).copied().flatten() != Some(*kept.root()) {
            let what = format!(
                "the log is not the one that was kept: its first {} entries are others than those the kept checkpoint signed (a fork)",
                kept.size()
            );
            findings.push(finding(what));
        }
    }
}

/// What was erased is told by an entry, and nothing else is missing where its key should be.
fn unread_findings(
    erased: &[Erased],
    told: &BTreeMap<u64, Option<u32>>,
    keys: &Keys,
    report: &mut Report,
) {
    let removed = report.pruned.as_ref().map_or(0, Pruned::size);
    for erased in erased.iter().filter(|erased| erased.told >= removed) {
        if told.get(&erased.told).copied().flatten() != Some(TELLING_KIND) {
            let what = format!(
                "a key of {} was destroyed, and entry {} does not tell of it",
                erased.day(),
                erased.told
            );
            let finding = Finding::new(Code::Erased, what).at(erased.told);
            report.findings.push(finding);
        }
    }
    let withheld = report.unread.withheld;
    if keys.is_some() && withheld > 0 {
        let what = format!(
            "what {withheld} entries say can't be read: their keys are gone, and no statement says that they were destroyed"
        );
        report.findings.push(Finding::new(Code::Erased, what));
    }
}

/// Looks at each entry on behalf of the report.
struct Check<F> {
    entry: F,
    levels: Levels,
    /// Roots at the sizes of kept checkpoints and seals, as they are passed.
    roots: BTreeMap<u64, Option<Hash>>,
    hours: Hours,
    /// The entries that are to tell of what was removed or erased, and their kinds once they were passed.
    told: BTreeMap<u64, Option<u32>>,
}

impl<F: FnMut(&EntryInfo)> Visitor for Check<F> {
    fn entry(&mut self, info: &EntryInfo, _: &Hash) -> Result<(), IoError> {
        (self.entry)(info);
        self.hours.entry(info);
        if let Some(kind) = self.told.get_mut(&info.seq) {
            *kind = Some(info.kind);
        }
        Ok(())
    }

    fn subtree(&mut self, height: u32, hash: &Hash) {
        if height.is_multiple_of(TILE_HEIGHT) {
            self.levels.compare((height / TILE_HEIGHT) as usize, hash);
        }
    }

    fn grown(&mut self, frontier: &Frontier) {
        if let Some(root) = self.roots.get_mut(&frontier.size()) {
            *root = Some(frontier.root());
        }
    }

    fn signed(&mut self, checkpoint: &SignedCheckpoint) {
        self.hours.signed(checkpoint);
    }
}
