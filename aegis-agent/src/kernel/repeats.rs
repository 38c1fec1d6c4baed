//! The repeat counters: read in place while programs count, given back when none can be counting any more.

use std::{
    mem::offset_of,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use aegis_common::{
    limits::MAX_REPEATS,
    repeat::{Repeat, RepeatKey},
};
use aya::maps::{HashMap, MapData};
use zerocopy::{FromBytes, IntoBytes};

use super::{KernelError, mapped::Mapped, quiesce, tables};

const KEY: usize = size_of::<RepeatKey>();
const WORDS: usize = size_of::<Repeat>() / size_of::<u64>();
const TAKEN: usize = offset_of!(Repeat, taken) / size_of::<u64>();
const SEQ: usize = offset_of!(Repeat, seq) / size_of::<u64>();
const SEEN: usize = offset_of!(Repeat, seen) / size_of::<u64>();

/// The counters and the way to them.
pub struct RepeatCounters {
    counters: Mapped<WORDS>,
    keys: HashMap<MapData, [u8; KEY], u32>,
}

impl RepeatCounters {
    pub(super) fn new(counters: MapData, keys: HashMap<MapData, [u8; KEY], u32>) -> Result<Self, KernelError> {
        Ok(Self { counters: Mapped::new(counters, "REPEATS", MAX_REPEATS)?, keys })
    }

    /// Every counter that programs find, or found: its place and how it stands.
    pub fn each(&self) -> impl Iterator<Item = (u32, Repeat)> {
        (0..MAX_REPEATS).filter_map(|place| {
            // The sequence number comes last when a counter is taken: with it, the rest is there.
            let element = self.counters.element(place)?;
            if element[SEQ].load(Ordering::SeqCst) == 0 {
                return None;
            }
            let counter = Repeat::read_from_bytes(self.counters.load(place)?.as_bytes()).ok()?;
            Some((place, counter))
        })
    }

    /// Notes that the count was looked at when it was `count`.
    pub fn seen(&self, place: u32, count: u64) {
        if let Some(element) = self.counters.element(place) {
            element[SEEN].store(count, Ordering::SeqCst);
        }
    }

    /// No program finds a counter by this key from now on. One that has found it may still be counting.
    ///
    /// # Errors
    /// When the map can't be changed.
    pub fn hide(&mut self, key: &RepeatKey) -> Result<(), KernelError> {
        let mut bytes = [0u8; KEY];
        bytes.copy_from_slice(key.as_bytes());
        tables::ignore_missing(self.keys.remove(&bytes))
            .map_err(|error| tables::failed("remove from", "REPEAT_KEYS", &error))
    }

    /// Is told when every program has ended that runs now; closed without it when that can't be known.
    #[must_use]
    pub fn quiet(&self) -> Receiver<()> {
        let (tell, told) = sync_channel(1);
        let wait = move || match quiesce::wait_for_hooks() {
            Ok(()) => drop(tell.send(())),
            Err(error) => tracing::error!(%error, "repeat counters are not given back"),
        };
        if let Err(error) = thread::Builder::new().name("quiet".into()).spawn(wait) {
            tracing::error!(%error, "repeat counters are not given back");
        }
        told
    }

    /// Gives a counter back that no program finds and none is counting in.
    pub fn give_back(&self, place: u32) {
        if let Some(element) = self.counters.element(place) {
            // Who takes it must find nothing in it.
            element.iter().enumerate().filter(|(at, _)| *at != TAKEN).for_each(|(_, word)| word.store(0, Ordering::SeqCst));
            element[TAKEN].store(0, Ordering::SeqCst);
        }
    }
}
