//! Sessions by id, and the numbers given out to them.
//!
//! Numbers are given out in turn, so that one comes back as late as possible: records of an agent that
//! ended may still be on their way.

use std::collections::{BTreeMap, BTreeSet};

use aegis_common::limits::{MAX_AGENTS, MAX_IMAGES};

use super::session::Session;

/// Numbers from 1 below a bound.
#[derive(Debug)]
pub struct Numbers {
    used: BTreeSet<u32>,
    last: u32,
    bound: u32,
}

impl Numbers {
    const fn new(bound: u32) -> Self {
        Self { used: BTreeSet::new(), last: 0, bound }
    }

    /// The next free number; `None` when all are used.
    pub fn take(&mut self) -> Option<u32> {
        let turn = (self.last + 1..self.bound).chain(1..=self.last.min(self.bound - 1));
        let free = turn.into_iter().find(|n| !self.used.contains(n))?;
        self.used.insert(free);
        self.last = free;
        Some(free)
    }

    /// Takes this number; answers whether it was free.
    pub fn claim(&mut self, number: u32) -> bool {
        let free = number > 0 && number < self.bound && self.used.insert(number);
        if free {
            self.last = self.last.max(number);
        }
        free
    }

    /// Gives a number back.
    pub fn free(&mut self, number: u32) {
        self.used.remove(&number);
    }
}

/// The sessions of one engine.
#[derive(Debug)]
pub struct Registry {
    /// By id.
    pub sessions: BTreeMap<String, Session>,
    /// Slots; 0 is never given out.
    pub slots: Numbers,
    /// Images; 0 is never given out.
    pub images: Numbers,
    /// No more agents: the engine is about to end.
    pub closed: bool,
    /// Agents being made right now.
    pub making: u32,
    /// Whether there has been an agent.
    pub had_agent: bool,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            slots: Numbers::new(MAX_AGENTS),
            images: Numbers::new(MAX_IMAGES),
            closed: false,
            making: 0,
            had_agent: false,
        }
    }
}

impl Registry {
    /// Ids of the sessions of this name, or with this id.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<String> {
        let named = self.sessions.values().filter(|s| s.saved.name == name || s.saved.session == name);
        named.map(|s| s.saved.session.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_as_late_as_possible() {
        let mut numbers = Numbers::new(4);
        assert_eq!(numbers.take(), Some(1));
        numbers.free(1);
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (Some(2), Some(3), Some(1)));
        assert_eq!(numbers.take(), None);
        numbers.free(2);
        assert_eq!(numbers.take(), Some(2));
    }

    #[test]
    fn numbers_in_use_are_not_given_out() {
        let mut numbers = Numbers::new(4);
        assert!(numbers.claim(2) && !numbers.claim(2) && !numbers.claim(0) && !numbers.claim(4));
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (Some(3), Some(1), None), "in turn behind the claimed one");
    }
}
