//! Room that a hook claims for the time of one decision.
//!
//! Hooks run preemptible, so two tasks can be inside hooks on one CPU: each claims its own slot by
//! an atomic exchange. No slot free means the operation is denied and counted.

use core::ptr::{read_volatile, write_volatile};

use aegis_common::{
    argument::Followed,
    counter::Counter,
    event::{EventHeader, NetworkBody},
    hash::PathHasher,
    limits::{MAX_DEPTH, MAX_NAME, MAX_PATH},
    path::PathRule,
    repeat::RepeatKey,
};

use super::{
    dialogue::Dialogue,
    environment, exchange,
    glob::Globs,
    hidden::HiddenDentry,
    memory::{Entry, Verdict},
    program::Said,
    table,
};
use crate::{
    judge::Decision,
    maps::{SCRATCH, SCRATCH_SLOTS},
    subject::Subject,
};

/// Bytes behind a record's header and body: two paths, or a path and arguments.
pub const BYTES: usize = 2 * MAX_PATH;
/// Where in them a DNS message lies while it is read.
pub const MESSAGE: usize = MAX_PATH;
/// Where a component goes that the record has no room for: it is still hashed.
pub const SPILL: usize = BYTES + MAX_NAME;
/// Largest fixed body.
pub const BODY: usize = 24;

/// A record as it goes into the ring.
#[repr(C)]
pub struct Record {
    /// Its header.
    pub header: EventHeader,
    /// Its fixed body.
    pub body: [u64; BODY / 8],
    /// What the body counts.
    pub bytes: [u8; SPILL + MAX_NAME],
}

/// What a walk found. Kept in map memory, like the walk itself: what the verifier does not follow
/// cannot multiply its states.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Found {
    /// How the walk ended, as `walk::outcome`.
    pub outcome: u32,
    /// Filesystem.
    pub dev: u32,
    /// Hash of the whole path.
    pub hash: u64,
    /// `perm::*` wanted.
    pub wanted: u32,
    /// `perm::*` that some rule grants.
    pub allow: u32,
    /// `perm::*` that some rule denies.
    pub deny: u32,
    /// The deepest rule that grants something wanted.
    pub allow_rule: u32,
    /// The shallowest rule that denies something wanted.
    pub deny_rule: u32,
    /// Flags of the rule that grants.
    pub rule_flags: u32,
    /// Where the path ends in the record's bytes.
    pub end: u32,
    /// 1 once the path was cut.
    pub cut: u32,
}

/// Words of a name that fit into a dentry on every kernel.
pub const SHORT_WORDS: usize = 4;

/// The name of one component.
#[repr(C)]
pub struct Component {
    /// A short name, as it lies in the dentry: what is behind its end means nothing.
    pub words: [u64; SHORT_WORDS],
    /// Address of a name that is not short, else 0.
    pub address: u64,
    /// Length in bytes.
    pub length: u32,
    /// Sequence counter of the dentry, read before its name.
    pub sequence: u32,
}

/// State of a path walk.
#[repr(C)]
pub struct WalkState {
    /// Names of the components, the deepest first.
    pub components: [Component; MAX_DEPTH as usize],
    /// Levels at which rules exist.
    pub levels: u64,
    /// Components found.
    pub depth: u32,
    /// No path byte goes at or behind this.
    pub limit: u32,
    /// Image whose rules count.
    pub image: u32,
    /// Odd when one of the sequence counters was: a rename under way.
    pub moving: u32,
    /// 1 once a name could not be read.
    pub unread: u32,
    /// 1 once the chain was walked again and was the same.
    pub same: u32,
    /// Components hashed, from the root.
    pub hashed: u32,
    /// The result.
    pub found: Found,
    /// The result of the walk before, kept by [`Claim::keep`].
    pub kept: Found,
    /// Behind the level of the rule that is told of what is granted.
    pub told: u32,
    /// The chain of names so far.
    pub hasher: PathHasher,
    /// The last name, behind the chain or by itself, while it is hashed.
    pub words: PathHasher,
    /// Where the name of the last component lies in the record's bytes.
    pub name_at: u32,
    /// Its length.
    pub name_length: u32,
    /// The word of it that hashing begins with.
    pub word: u32,
    /// Where the globs stand.
    pub globs: Globs,
    /// 1 where the walk is about what an overlay does in a layer.
    pub below: u32,
    /// 1 where that was let through before.
    pub recalled: u32,
    /// 1 once the way up has ended at the root.
    pub rose: u32,
    /// The dentry that the walk is about, where it is not the one that the hook was given.
    pub hidden: HiddenDentry,
    /// What was decided.
    pub decision: Decision,
}

impl WalkState {
    /// Joins what a rule says at a level. Of several at one level the first is told.
    #[inline(always)]
    pub fn join(&mut self, rule: &PathRule, level: u32) {
        let found = &mut self.found;
        let (allow, deny) = (u32::from(rule.allow), u32::from(rule.deny));
        if deny & found.wanted != 0 && found.deny & found.wanted == 0 {
            found.deny_rule = rule.deny_rule;
        }
        if allow & found.wanted != 0 && self.told <= level {
            self.told = level + 1;
            found.allow_rule = rule.allow_rule;
            found.rule_flags = u32::from(rule.flags);
        }
        found.allow |= allow;
        found.deny |= deny;
    }
}

/// State of a reading of arguments, see `arguments`. The strings pass through the record's bytes.
#[repr(C)]
pub struct Reading {
    /// Address of the page table.
    pub page_table: u64,
    /// Address of the first byte that was not fetched yet.
    pub at: u64,
    /// Where the strings end.
    pub end: u64,
    /// Where in the record's bytes the next word begins, and what was fetched ends.
    pub next: u32,
    /// See `next`.
    pub limit: u32,
    /// Arguments still to come.
    pub left: u32,
    /// Length of the argument so far.
    pub length: u32,
    /// Image whose rules count.
    pub image: u32,
    /// 1 once the program's own name is behind.
    pub named: u32,
    /// Hash of the argument so far.
    pub hasher: PathHasher,
    /// The rules.
    pub followed: Followed,
}

/// Why a program may not run.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Refused {
    /// Number of the rule, 0 for none.
    pub rule: u32,
    /// `reason::*`.
    pub reason: u32,
    /// Bytes of its arguments, where they are the reason.
    pub arguments: u64,
}

/// One slot.
#[repr(C)]
pub struct Scratch {
    busy: u64,
    /// Why a program is refused, while that is recorded.
    refused: Refused,
    /// Who acts.
    subject: Subject,
    /// What rules say of a program.
    pub said: Said,
    /// The walk.
    pub walk: WalkState,
    /// What was allowed and is to be remembered; free where nothing is.
    pub allowed: Verdict,
    /// The entry that it goes into.
    pub entry: Entry,
    /// The reading of arguments.
    pub reading: Reading,
    /// The reading of an environment.
    pub variables: environment::Reading,
    /// A question or its answer.
    pub dialogue: Dialogue,
    /// The record being built.
    pub record: Record,
    /// How it is to be told.
    pub telling: Telling,
}

/// A record on its way: in the ring, or counted as the repetition of one that was.
#[repr(C)]
pub struct Telling {
    /// Bytes of its fixed body.
    pub body: u32,
    /// Bytes behind it.
    pub bytes: u32,
    /// 1 once it was counted.
    pub counted: u32,
    /// 1 once it is in the ring.
    pub sent: u32,
    /// What makes it the same as another.
    pub key: RepeatKey,
    /// The hash in that, under way.
    pub hasher: PathHasher,
}

/// A claimed slot. It must be given back with [`Claim::release`]: Rust's drop glue would make the
/// verifier follow it on every path.
#[derive(Clone, Copy)]
pub struct Claim(*mut Scratch);

impl Claim {
    /// Claims a slot on this CPU.
    #[inline(always)]
    pub fn take() -> Option<Self> {
        let mut index = 0;
        while index < SCRATCH_SLOTS {
            let slot = SCRATCH.get_ptr_mut(index)?;
            // SAFETY: `slot` points at a live map value.
            if unsafe { exchange(&raw mut (*slot).busy, 1) } == 0 {
                return Some(Self(slot));
            }
            index += 1;
        }
        table::count(Counter::ScratchBusy);
        None
    }

    /// The slot of a claim, in the callback of a loop.
    #[inline(always)]
    pub(super) const fn of(slot: *mut Scratch) -> Self {
        Self(slot)
    }

    /// 1 where an overlay acts in a layer, read anew.
    #[inline(always)]
    pub fn below(&mut self) -> u32 {
        // SAFETY: as for `found`.
        unsafe { read_volatile(&raw const (*self.0).walk.below) }
    }

    /// Leaves what was decided in the slot.
    #[inline(always)]
    pub fn decide(&mut self, decision: Decision) {
        self.walk().decision = decision;
    }

    /// What was decided, read anew.
    #[inline(always)]
    pub fn decision(&mut self) -> Decision {
        // SAFETY: as for `found`.
        unsafe { read_volatile(&raw const (*self.0).walk.decision) }
    }

    /// Gives the slot back.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: `self` was made from a live map value.
        unsafe { exchange(&raw mut (*self.0).busy, 0) };
    }

    /// The slot itself.
    #[inline(always)]
    pub const fn as_ptr(self) -> *mut Scratch {
        self.0
    }

    /// The walk.
    #[inline(always)]
    pub fn walk(&mut self) -> &mut WalkState {
        // SAFETY: the slot is live and claimed: nobody else writes to it.
        unsafe { &mut (*self.0).walk }
    }

    /// The result of the last walk, read anew.
    #[inline(always)]
    pub fn found(&mut self) -> Found {
        // SAFETY: as for `walk`; volatile, so that nothing is carried over in registers.
        unsafe { read_volatile(&raw const (*self.0).walk.found) }
    }

    /// Keeps the result of the last walk over the next one.
    #[inline(always)]
    pub fn keep(&mut self) {
        let walk = self.walk();
        walk.kept = walk.found;
        walk.globs.kept = walk.globs.at;
    }

    /// The result that was kept, read anew.
    #[inline(always)]
    pub fn kept(&mut self) -> Found {
        // SAFETY: as for `found`.
        unsafe { read_volatile(&raw const (*self.0).walk.kept) }
    }

    /// Hides from the verifier why a program is refused: it would follow the record once for each reason.
    #[inline(always)]
    pub fn hide(&mut self, refused: &Refused) -> Refused {
        // SAFETY: as for `found`.
        unsafe {
            let place = &raw mut (*self.0).refused;
            write_volatile(place, *refused);
            read_volatile(place)
        }
    }

    /// Hides from the verifier what it knows of a subject: it would follow the rest once for each way to one.
    #[inline(always)]
    pub fn hide_subject(&mut self, subject: &mut Subject) {
        // SAFETY: as for `found`.
        unsafe {
            let place = &raw mut (*self.0).subject;
            write_volatile(place, *subject);
            *subject = read_volatile(place);
        }
    }

    /// How the record is to be told.
    #[inline(always)]
    pub fn telling(&mut self) -> &mut Telling {
        // SAFETY: as for `walk`.
        unsafe { &mut (*self.0).telling }
    }

    /// What the record told last is about; 0 where its like is not counted.
    #[inline(always)]
    pub fn object(&mut self) -> u64 {
        // SAFETY: as for `found`.
        unsafe { read_volatile(&raw const (*self.0).telling.key.object) }
    }

    /// A question or its answer.
    #[inline(always)]
    pub fn dialogue(&mut self) -> &mut Dialogue {
        // SAFETY: as for `walk`.
        unsafe { &mut (*self.0).dialogue }
    }

    /// The header of the record.
    #[inline(always)]
    pub fn header(&mut self) -> &mut EventHeader {
        // SAFETY: as for `walk`.
        unsafe { &mut (*self.0).record.header }
    }

    /// The error number in it, read anew.
    #[inline(always)]
    pub fn errno(&mut self) -> u16 {
        // SAFETY: as for `found`.
        unsafe { read_volatile(&raw const (*self.0).record.header.errno) }
    }

    /// Where the record's bytes begin: room for two paths.
    #[inline(always)]
    pub fn bytes(&mut self) -> *mut u8 {
        // SAFETY: as for `walk`.
        unsafe { (&raw mut (*self.0).record.bytes).cast() }
    }

    /// The record's fixed body, as words.
    #[inline(always)]
    pub fn body(&mut self) -> [u64; BODY / 8] {
        // SAFETY: as for `walk`.
        unsafe { (*self.0).record.body }
    }

    /// The record's fixed body, as that of an operation on an address.
    #[inline(always)]
    pub fn network_body<'a>(&mut self) -> &'a mut NetworkBody {
        const { assert!(size_of::<NetworkBody>() <= BODY) };
        // SAFETY: as for `walk`; the body is that many bytes, and aligned to eight.
        unsafe { &mut *(&raw mut (*self.0).record.body).cast::<NetworkBody>() }
    }

    /// Writes the record's fixed body.
    #[inline(always)]
    pub fn set_body<T: Copy>(&mut self, body: T) {
        const { assert!(size_of::<T>() <= BODY) };
        // SAFETY: as for `walk`; the body fits, and is aligned to eight bytes.
        unsafe { (&raw mut (*self.0).record.body).cast::<T>().write(body) };
    }
}
