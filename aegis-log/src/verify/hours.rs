//! Holding entries against the seals of their epochs: an epoch has entries of one hour, and its seal is of those entries.
//!
//! Seals whose keys are gone cannot be made anew, so entries that were written later in the name of an earlier hour have
//! none, or one that is of other entries.

use std::collections::BTreeMap;

use super::VerifyOptions;
use crate::epoch::{Epochs, hour};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::report::{EntryInfo, Report};
use crate::segment::EPOCHS_FILE;

/// The hours of the entries passed, by their epoch.
pub(super) struct Hours {
    epochs: Epochs,
    /// The epoch of the last entry, its first entry, and their hour.
    last: Option<(usize, u64, u64)>,
    missing: Option<Finding>,
}

impl Hours {
    pub(super) fn new(epochs: Epochs) -> Self {
        Self {
            epochs,
            last: None,
            missing: None,
        }
    }

    /// The sizes that seals are of, with the root where it is known before anything is read.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (u64, Option<Hash>)> {
        let root = |size| (size == 0).then(Hash::empty_root);
        self.epochs
            .seals
            .iter()
            .map(move |seal| (seal.size(), root(seal.size())))
    }

    pub(super) fn entry(&mut self, info: &EntryInfo) {
        let epoch = self.epochs.of(info.seq);
        if self.missing.is_some() {
            return;
        }
        let now = hour(info.time);
        match self.last {
            Some((last, first, hour)) if last == epoch => {
                if hour != now {
                    let what = format!(
                        "entries from {first} to {} are of different hours, and no epoch was sealed between them: a seal was removed, or entries were written without the keys of their hours",
                        info.seq
                    );
                    self.missing = Some(Finding::new(Code::EpochMissing, what).at(info.seq));
                }
            }
            _ => self.last = Some((epoch, info.seq, now)),
        }
    }

    /// What is wrong with the seals, once all entries were passed.
    pub(super) fn findings(
        self,
        options: &VerifyOptions,
        roots: &BTreeMap<u64, Option<Hash>>,
        size: u64,
        report: &mut Report,
    ) {
        let seals = &self.epochs.seals;
        for seal in seals {
            if roots.get(&seal.size()).copied().flatten() == Some(*seal.root()) {
                continue;
            }
            let what = format!(
                "the first {} entries are not those that epoch {} was sealed with: they were changed or cut off later by someone who has the log's key",
                seal.size(),
                seal.number()
            );
            report.findings.push(Finding::new(Code::Epoch, what));
        }
        for kept in &options.seals {
            if !seals.iter().any(|seal| seal.note() == kept) {
                let what = "a seal of an epoch that was kept is not among the log's: the log was cut off or made anew";
                report
                    .findings
                    .push(Finding::new(Code::KeptEpoch, what).in_file(EPOCHS_FILE, 0));
            }
        }
        report.findings.extend(self.missing);
        report.epochs = seals.len().saturating_sub(1);
        report.sealed = self.epochs.sealed();
        report.unsigned.bytes += self.epochs.torn;
        if seals.first().is_none_or(|first| first.size() > 0) && size > 0 {
            let what = "the first seal, made before the first entry, is not there: the seals of its epochs were removed";
            report
                .findings
                .push(Finding::new(Code::EpochMissing, what).in_file(EPOCHS_FILE, 0));
        }
    }
}
