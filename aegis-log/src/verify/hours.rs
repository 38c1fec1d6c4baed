//! Holding entries against the seals of their epochs: where an entry is of another hour than the one before, a seal stands
//! between them, and each seal is of the entries before it.
//!
//! Seals whose keys are gone cannot be made anew, so entries that were written later in the name of an earlier hour have
//! none, or one that is of other entries.
//!
//! A log that is being written is sealed while it is read: the seals are read once more behind the entries. A seal is there
//! before any entry behind it, so none of those is missing then.

use std::collections::BTreeMap;
use std::path::Path;

use super::VerifyOptions;
use crate::checkpoint::SignedCheckpoint;
use crate::durable::IoError;
use crate::epoch::{Epochs, hour};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::report::{EntryInfo, Report};
use crate::segment::EPOCHS_FILE;
use crate::walk::Stop;

/// What is seen of hours while entries pass.
#[derive(Default)]
pub(super) struct Hours {
    /// The last entry's.
    last: Option<u64>,
    /// The last checkpoint: its size and root.
    signed: Option<(u64, Hash)>,
    /// Sizes at which another hour begins, with the root there where a checkpoint tells it.
    changes: BTreeMap<u64, Option<Hash>>,
}

impl Hours {
    pub(super) fn entry(&mut self, info: &EntryInfo) {
        let now = hour(info.time);
        if self.last.is_some_and(|last| last != now) {
            let root = self.signed.filter(|(size, _)| *size == info.seq);
            self.changes.insert(info.seq, root.map(|(_, root)| root));
        }
        self.last = Some(now);
    }

    pub(super) fn signed(&mut self, checkpoint: &SignedCheckpoint) {
        self.signed = Some((checkpoint.size(), *checkpoint.root()));
    }

    /// What is wrong with the seals, once `size` entries were passed. `roots` has those that are known at other sizes.
    pub(super) fn findings(
        self,
        sealed: &Sealed,
        options: &VerifyOptions,
        roots: &BTreeMap<u64, Option<Hash>>,
        size: u64,
        report: &mut Report,
    ) {
        let seals = &sealed.epochs.seals;
        for seal in seals {
            // Made while the entries were read.
            let is_new = report.live && seal.number() >= sealed.before;
            if is_new && seal.size() > size {
                continue;
            }
            let root = match roots.get(&seal.size()).or(self.changes.get(&seal.size())) {
                Some(root) => *root,
                // Made meanwhile, where the hour is the same before and behind it: a clock that was set back.
                None if is_new => continue,
                None => None,
            };
            if root != Some(*seal.root()) {
                let what = format!(
                    "the first {} entries are not those that epoch {} was sealed with: they were changed or cut off later by someone who has the log's key",
                    seal.size(),
                    seal.number()
                );
                report.findings.push(Finding::new(Code::Epoch, what));
            }
        }
        for kept in &options.seals {
            if !seals.iter().any(|seal| seal.note() == kept) {
                let what = "a seal of an epoch that was kept is not among the log's: the log was cut off or made anew";
                report
                    .findings
                    .push(Finding::new(Code::KeptEpoch, what).in_file(EPOCHS_FILE, 0));
            }
        }
        let is_sealed = |at: &u64| seals.binary_search_by_key(at, |seal| seal.size()).is_ok();
        if let Some(at) = self.changes.keys().find(|at| !is_sealed(at)) {
            let what = format!(
                "entry {at} is of another hour than the one before, and no epoch was sealed between them: a seal was removed, or entries were written without the keys of their hours"
            );
            report
                .findings
                .push(Finding::new(Code::EpochMissing, what).at(*at));
        }
        if seals.first().is_none_or(|first| first.size() > 0) && size > 0 {
            let what = "the first seal, made before the first entry, is not there: the seals of its epochs were removed";
            report
                .findings
                .push(Finding::new(Code::EpochMissing, what).in_file(EPOCHS_FILE, 0));
        }
        report.epochs = seals.len().saturating_sub(1);
        report.sealed = sealed.epochs.sealed().min(size);
        report.unsigned.bytes += sealed.epochs.torn;
    }
}

/// The seals beside a log.
#[derive(Default)]
pub(super) struct Sealed {
    epochs: Epochs,
    /// How many were there before the entries were read.
    before: u64,
}

impl Sealed {
    /// As they are before the entries are read; what is wrong with them in themselves goes into the report.
    pub(super) fn read(
        dir: &Path,
        key: &VerifierKey,
        report: &mut Report,
    ) -> Result<Self, IoError> {
        let epochs = seals(dir, key, report)?;
        let before = epochs.seals.len() as u64;
        Ok(Self { epochs, before })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.epochs.seals.len()
    }

    /// As they are behind them.
    pub(super) fn again(
        &mut self,
        dir: &Path,
        key: &VerifierKey,
        report: &mut Report,
    ) -> Result<(), IoError> {
        self.epochs = seals(dir, key, report)?;
        Ok(())
    }

    /// The sizes that they are of, with the root where it is known before anything is read.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (u64, Option<Hash>)> {
        let root = |size| (size == 0).then(Hash::empty_root);
        let seals = self.epochs.seals.iter();
        seals.map(move |seal| (seal.size(), root(seal.size())))
    }
}

fn seals(dir: &Path, key: &VerifierKey, report: &mut Report) -> Result<Epochs, IoError> {
    match Epochs::read(dir, key) {
        Ok(epochs) => Ok(epochs),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Found(finding)) => {
            report.findings.push(*finding);
            Ok(Epochs::default())
        }
    }
}
