//! Absolute counts of losses become entries: one for each growth, with how much and how much in all.

use std::collections::BTreeMap;

use crate::{
    clock,
    proto::event::Kind,
    record::{self, Draft},
};

/// What has been told of each kind of loss.
#[derive(Debug, Default)]
pub struct LossBook {
    told: BTreeMap<String, u64>,
}

impl LossBook {
    /// The log has told this much already.
    pub fn begin_at(&mut self, kind: &str, total: u64) {
        self.told.insert(kind.to_owned(), total);
    }

    /// How much has been told.
    #[must_use]
    pub fn told(&self, kind: &str) -> u64 {
        self.told.get(kind).copied().unwrap_or(0)
    }

    /// A count as it stands now. The entry for its growth, if it grew; `kernel_seq` is the greatest
    /// number that had come by then.
    pub fn count(&mut self, kind: &str, total: u64, place: &str, kernel_seq: u64) -> Option<Draft> {
        let told = self.told.entry(kind.to_owned()).or_default();
        let grown = total.checked_sub(*told).filter(|n| *n > 0)?;
        *told = total;
        let mut event = record::loss(kind, grown, total, place);
        event.kernel_seq = kernel_seq;
        tracing::warn!(kind, grown, total, place, "records were lost");
        Some(Draft { kind: Kind::Loss as u32, time: clock::wall(), event, urgent: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::event::Detail;

    #[test]
    fn each_growth_is_told_once_with_both_counts() {
        let mut book = LossBook::default();
        book.begin_at("lost_file", 5);
        assert!(book.count("lost_file", 5, "ring", 1).is_none());
        let draft = book.count("lost_file", 8, "ring", 9).expect("grown");
        let Some(Detail::Loss(loss)) = draft.event.detail else { panic!("loss") };
        assert_eq!((loss.count, loss.total), (3, 8));
        assert_eq!(draft.event.kernel_seq, 9);
        assert!(book.count("lost_file", 8, "ring", 9).is_none());
        assert!(book.count("lost_file", 2, "ring", 9).is_none(), "a count never falls");
    }
}
