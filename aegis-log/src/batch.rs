//! Entries that wait for a commit: framed, chained and, group by group, signed. No I/O.
//!
//! A group is what one checkpoint covers. A group ends at a commit, and before every new segment, so
//! that each segment ends with a checkpoint and a day's last checkpoint covers that day and no more.
//!
//! Knows how the log grows; not where it is stored.

use std::collections::VecDeque;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::chain::Link;
use crate::checkpoint::SignedCheckpoint;
use crate::day::Day;
use crate::entry::{Header, MAX_BODY, SALT_LEN};
use crate::epoch;
use crate::frame;
use crate::hash::Hash;
use crate::key::SigningKey;
use crate::merkle::{Frontier, TILE_HEIGHT};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentFiles, SegmentHeader};

/// An entry may be this much earlier than the one before and is then logged with the time of that one:
/// events from several processors arrive a little out of order. A larger step is a clock that was set
/// back; it begins a new segment, where time may be earlier.
pub const MAX_STEP_BACK_NS: u64 = 60_000_000_000;

/// More bytes than a frame has besides its body.
const FRAME_OVERHEAD: u64 = 320;

/// Where an appended entry will lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its sequence number.
    pub seq: u64,
    /// Its time as logged: the one given, or that of the entry before if that was a little later.
    pub time: u64,
    /// First sequence number of its segment.
    pub segment: u64,
    /// Where its frame begins in the segment's file.
    pub offset: u64,
}

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The body is too large for one entry.
    #[error("the entry's body has {len} bytes, at most {max} fit: split it into several entries")]
    BodyTooLarge {
        /// Bytes of the body.
        len: usize,
        /// The most an entry takes.
        max: usize,
    },
    /// The system's random number generator failed.
    #[error("the system's random number generator failed; the entry was not taken")]
    Random,
    /// An earlier failure left the files in an unknown state.
    #[error(
        "the log takes no more entries since this happened: {0}; restart, so that it is opened and checked anew"
    )]
    Poisoned(String),
}

/// The log at one point: all that is needed to go on from there.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) frontier: Frontier,
    /// The last checkpoint.
    pub(crate) checkpoint: SignedCheckpoint,
    /// The segment in progress; `None` if the next entry begins one.
    pub(crate) segment: Option<SegmentTip>,
    /// The hour of the epoch's entries; `None` while it has none.
    pub(crate) hour: Option<u64>,
}

/// How far a segment is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentTip {
    pub(crate) first_seq: u64,
    pub(crate) day: Day,
    pub(crate) len: u64,
}

/// How a new segment begins.
pub(crate) struct SegmentStart {
    pub(crate) files: SegmentFiles,
    pub(crate) header: SegmentHeader,
    /// The checkpoint with which the segment before ended.
    pub(crate) opening: SignedCheckpoint,
}

/// Entries under one checkpoint, ready to be written.
pub(crate) struct Group {
    /// Set if a new segment begins with this group.
    pub(crate) start: Option<SegmentStart>,
    /// Set if an epoch ended before this group, with this checkpoint.
    pub(crate) seal: Option<SignedCheckpoint>,
    /// The frames.
    pub(crate) bytes: Vec<u8>,
    /// Hashes that the group adds to the stored tree, each with its level.
    pub(crate) hashes: Vec<(usize, Hash)>,
    /// The log once the group is written; its checkpoint is the group's.
    pub(crate) after: State,
}

/// Entries not yet under a checkpoint.
#[derive(Default)]
struct OpenGroup {
    start: Option<SegmentStart>,
    seal: Option<SignedCheckpoint>,
    bytes: Vec<u8>,
    leaves: Vec<Hash>,
}

/// Everything that waits for a commit.
pub(crate) struct Batch {
    key: SigningKey,
    boot_id: [u8; 16],
    segment_bytes: u64,
    /// The end of the log with everything that waits; its frontier and checkpoint without the open group.
    tip: State,
    closed: VecDeque<Group>,
    open: OpenGroup,
    salts: Salts,
}

impl Batch {
    pub(crate) fn new(key: SigningKey, boot_id: [u8; 16], segment_bytes: u64, tip: State) -> Self {
        Self {
            key,
            boot_id,
            segment_bytes,
            tip,
            closed: VecDeque::new(),
            open: OpenGroup::default(),
            salts: Salts::default(),
        }
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.tip.link.next_seq
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.closed
            .iter()
            .map(|group| group.bytes.len())
            .sum::<usize>()
            + self.open.bytes.len()
    }

    pub(crate) fn append(
        &mut self,
        kind: u32,
        time: u64,
        body: &[u8],
    ) -> Result<Appended, AppendError> {
        if body.len() > MAX_BODY {
            return Err(AppendError::BodyTooLarge {
                len: body.len(),
                max: MAX_BODY,
            });
        }
        let salt = self.salts.next()?;
        let (time, segment) = self.place(time, body.len() as u64);
        self.enter_hour(epoch::hour(time));
        let link = self.tip.link;
        let header = Header {
            seq: link.next_seq,
            time,
            kind,
            chain_id: link.chain_id,
            prev: link.prev,
            boot_id: self.boot_id,
            commitment: Hash::of_parts(&[&salt, body]),
            checkpoint: self
                .open
                .leaves
                .is_empty()
                .then(|| self.tip.checkpoint.note_hash()),
        };
        let before = self.open.bytes.len();
        let leaf = frame::encode(&header, &salt, body, &mut self.open.bytes);
        self.open.leaves.push(leaf);
        let frame_len = (self.open.bytes.len() - before) as u64;
        self.tip.segment = Some(SegmentTip {
            len: segment.len + frame_len,
            ..segment
        });
        self.tip.link = Link {
            next_seq: link.next_seq + 1,
            prev: leaf,
            floor: time,
            ..link
        };
        Ok(Appended {
            seq: header.seq,
            time,
            segment: segment.first_seq,
            offset: segment.len,
        })
    }

    /// The time an entry gets and the segment it goes into, which is begun if need be.
    fn place(&mut self, time: u64, body_len: u64) -> (u64, SegmentTip) {
        let floor = self.tip.link.floor;
        if let Some(segment) = self.tip.segment
            && time.saturating_add(MAX_STEP_BACK_NS) >= floor
        {
            let time = time.max(floor);
            let fits = segment.len + FRAME_OVERHEAD + body_len <= self.segment_bytes;
            // A segment has at least one entry, however small segments are asked to be.
            let is_empty = segment.first_seq == self.tip.link.next_seq;
            if segment.day == Day::of(time) && (fits || is_empty) {
                return (time, segment);
            }
            return (time, self.begin_segment(time));
        }
        (time, self.begin_segment(time))
    }

    /// An epoch has entries of one hour, whichever way the clock went.
    fn enter_hour(&mut self, hour: u64) {
        if self.tip.hour.is_some_and(|before| before != hour) {
            if !self.open.leaves.is_empty() {
                self.close();
            }
            self.open.seal = Some(self.tip.checkpoint.clone());
        }
        self.tip.hour = Some(hour);
    }

    /// Notes that the epoch ended here. Nothing may be waiting.
    pub(crate) fn sealed(&mut self) {
        self.tip.hour = None;
    }

    fn begin_segment(&mut self, time: u64) -> SegmentTip {
        self.close();
        let Link {
            next_seq,
            chain_id,
            prev,
            ..
        } = self.tip.link;
        let files = SegmentFiles::new(next_seq, Day::of(time));
        let tip = SegmentTip {
            first_seq: next_seq,
            day: files.day,
            len: SEGMENT_HEADER_LEN as u64,
        };
        let header = SegmentHeader::new(next_seq, chain_id, prev);
        self.open.start = Some(SegmentStart {
            files,
            header,
            opening: self.tip.checkpoint.clone(),
        });
        tip
    }

    /// Signs a checkpoint over the entries that have none yet.
    pub(crate) fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.leaves.is_empty() {
            return;
        }
        let mut hashes = Vec::with_capacity(open.leaves.len() + open.leaves.len() / 128);
        for leaf in open.leaves {
            self.tip.frontier.push(leaf, |height, hash| {
                if height.is_multiple_of(TILE_HEIGHT) {
                    hashes.push(((height / TILE_HEIGHT) as usize, *hash));
                }
            });
        }
        let (size, root) = (self.tip.frontier.size(), self.tip.frontier.root());
        self.tip.checkpoint = SignedCheckpoint::sign(&self.key, size, root);
        self.closed.push_back(Group {
            start: open.start,
            seal: open.seal,
            bytes: open.bytes,
            hashes,
            after: self.tip.clone(),
        });
    }

    /// The next group to write.
    pub(crate) fn take(&mut self) -> Option<Group> {
        self.closed.pop_front()
    }

    /// Puts back a group that could not be written.
    pub(crate) fn put_back(&mut self, group: Group) {
        self.closed.push_front(group);
    }

    /// Forgets everything that waits and goes on from `durable`.
    pub(crate) fn discard(&mut self, durable: &State) {
        self.closed.clear();
        self.open = OpenGroup::default();
        self.tip = durable.clone();
    }
}

/// Random salts, fetched from the system many at once.
struct Salts {
    random: SystemRandom,
    pool: Vec<u8>,
    used: usize,
}

impl Default for Salts {
    fn default() -> Self {
        Self {
            random: SystemRandom::new(),
            pool: vec![0; 256 * SALT_LEN],
            used: 256 * SALT_LEN,
        }
    }
}

impl Salts {
    fn next(&mut self) -> Result<[u8; SALT_LEN], AppendError> {
        if self.used == self.pool.len() {
            self.random
                .fill(&mut self.pool)
                .map_err(|_| AppendError::Random)?;
            self.used = 0;
        }
        let salt = self.pool[self.used..]
            .first_chunk()
            .copied()
            .ok_or(AppendError::Random)?;
        self.used += SALT_LEN;
        Ok(salt)
    }
}
