//! Address rules. IPv4 is written as IPv4-mapped IPv6, so that one trie and one rule answer both
//! spellings of an address.

use crate::{assert_size, limits::MAX_PORT_RULES};
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Data of a longest-prefix-match key. The prefix length counts the 32 bits of the image too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct NetPrefix {
    /// Image, big endian, so that it is the first 32 bits of the prefix.
    pub image: [u8; 4],
    /// Address, network order, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}
assert_size!(NetPrefix, 20);

impl NetPrefix {
    /// In the image: of addresses that are listened at, not of those that are reached.
    pub const LISTEN: u32 = 1 << 31;
}

/// Which rules of an image a look-up sees: they are written once for each program that has rules of its own. In keys it
/// stands above the image.
pub mod view {
    /// Of all programs that have no rules of their own.
    pub const OTHERS: u32 = 0;
    /// Of all programs together: what some program may do.
    pub const ALL: u32 = 0x7fff;
    /// Programs with rules of their own that one image has.
    pub const MOST: u32 = 64;
    /// Bits of an image's index.
    const INDEX_BITS: u32 = 16;

    const _: () = assert!(crate::limits::MAX_IMAGES <= 1 << INDEX_BITS);

    /// The image in a key.
    #[inline(always)]
    #[must_use]
    pub const fn of(image: u32, view: u32) -> u32 {
        image | view << INDEX_BITS
    }

    /// The view in a key of addresses that are reached, or of names.
    #[inline(always)]
    #[must_use]
    pub const fn number(image: u32) -> u32 {
        image >> INDEX_BITS
    }

    /// The index of the image in a key, whatever the view, and of [`NetPrefix::LISTEN`](super::NetPrefix::LISTEN).
    #[inline(always)]
    #[must_use]
    pub const fn index(image: u32) -> u32 {
        image & ((1 << INDEX_BITS) - 1)
    }
}

/// Bits of the key before the address.
pub const IMAGE_BITS: u32 = 32;
/// Bits of an IPv4-mapped address before the IPv4 address.
pub const MAPPED_BITS: u32 = 96;
/// The twelve bytes before an IPv4-mapped address.
pub const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// One port range of one address prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PortRule {
    /// First port, host order.
    pub first: u16,
    /// Last port, host order, included.
    pub last: u16,
    /// IP protocol number (6, 17), 0 for any.
    pub protocol: u8,
    /// 1 allows, 0 denies.
    pub allow: u8,
    /// 1 when allowed connections are recorded.
    pub record: u8,
    /// Of a rule about a name, what becomes of a connection whose first bytes name no server that fits: a
    /// [`server_check`] for the ports of the web, and one for all others, [`server_check::OTHERS`] bits higher.
    pub server: u8,
    /// Number of the rule.
    pub rule: u32,
}
assert_size!(PortRule, 12);

/// What becomes of a connection whose first bytes do not name a server by which its address may be reached.
pub mod server_check {
    /// They are not looked at.
    pub const OFF: u8 = 0;
    /// It is recorded.
    pub const RECORD: u8 = 1;
    /// It is refused.
    pub const ENFORCE: u8 = 2;
    /// Where the one for other ports begins.
    pub const OTHERS: u32 = 4;
    /// Ports of the web, where clients name their server.
    pub const WEB: [u16; 2] = [80, 443];
}

impl PortRule {
    /// None.
    pub const NONE: Self =
        Self { first: 0, last: 0, protocol: 0, allow: 0, record: 0, server: 0, rule: crate::policy::RULE_DEFAULT };

    /// The [`server_check`] of a port.
    #[inline(always)]
    #[must_use]
    pub const fn server_check(&self, port: u16) -> u8 {
        let web = port == server_check::WEB[0] || port == server_check::WEB[1];
        if web { self.server & 0xf } else { self.server >> server_check::OTHERS }
    }
}

/// All that holds for one prefix, the rules of covering prefixes included (the trie answers with
/// the longest prefix alone). Denies stand first: the first match decides; none means the default.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PortRules {
    /// How many of `rules` count.
    pub count: u32,
    /// The rules.
    pub rules: [PortRule; MAX_PORT_RULES],
}
assert_size!(PortRules, 4 + 12 * MAX_PORT_RULES);

/// A name that rules allow: of this length and whole, or of what is below it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct NameKey {
    /// Image the rules belong to.
    pub image: u32,
    /// 1 for all names below it, without itself; 0 for itself.
    pub below: u32,
    /// See [`crate::dns::hash_of`].
    pub value: u64,
}
assert_size!(NameKey, 16);

/// A resolver that an agent asks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ResolverKey {
    /// Image it belongs to.
    pub image: u32,
    /// Address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}
assert_size!(ResolverKey, 20);

/// A place in a table of which every agent has a share: a hash chooses the set, and a set has few places.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PlaceKey {
    /// Slot of the agent.
    pub slot: u32,
    /// Set, times places of a set, plus the place in it.
    pub place: u32,
}
assert_size!(PlaceKey, 8);

/// A question that was let out, and who asked it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Question {
    /// The resolver.
    pub resolver: [u8; 16],
    /// Hash of the name, in reading order.
    pub name: u64,
    /// When, nanoseconds since boot.
    pub asked: u64,
    /// [`NameKey::value`] of the rules that allowed it.
    pub rules: u64,
    /// [`NameKey::below`] of them.
    pub below: u32,
    /// Number of the rule.
    pub rule: u32,
    /// Port of the asker, host order.
    pub port: u16,
    /// Number of the question.
    pub id: u16,
    /// Type in question.
    pub kind: u16,
    /// 1 once it was answered: its place may be taken.
    pub answered: u16,
    /// Who asked.
    pub asker: Actor,
}
assert_size!(Question, 104);

/// A task, for records that are made where it is not the current one. All as in a record's header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Actor {
    /// Start of its process.
    pub start: u64,
    /// Its process.
    pub pid: u32,
    /// Itself.
    pub tid: u32,
    /// The parent.
    pub ppid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Zero.
    pub reserved: u32,
    /// Name.
    pub comm: [u8; 16],
}
assert_size!(Actor, 48);

/// What went over sockets: whole IP packets as the kernel hands them on, headers included, before it cuts them to size.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Traffic {
    /// Bytes that left.
    pub bytes_out: u64,
    /// Packets that left.
    pub packets_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Packets that came in.
    pub packets_in: u64,
}
assert_size!(Traffic, 32);

/// What went over the sockets of an agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct AgentTraffic {
    /// All that passed.
    pub passed: Traffic,
    /// Packets that did not leave because [`Image::most_bytes_out`](crate::policy::Image::most_bytes_out) had. From the first
    /// one on nothing leaves.
    pub refused: u64,
    /// Connections whose end is still to be recorded.
    pub open: u64,
    /// The last second, since boot, in which a connection that is recorded ended or was accepted.
    pub second: u64,
    /// How many did in it, recorded or not.
    pub ended: u64,
    /// Records of that which were not made, since [`ENDS_A_SECOND`](crate::limits::ENDS_A_SECOND) were.
    pub untold: u64,
}
assert_size!(AgentTraffic, 72);

/// A TCP connection of an agent. Kept with its socket, which can outlive the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Connection {
    /// When its first packet left, or when the other side had opened it, nanoseconds since boot; 0 before that.
    pub opened: u64,
    /// A [`connection_state`].
    pub state: u32,
    /// Slot of the agent.
    pub slot: u32,
    /// Cgroup in which the socket was made.
    pub cgroup: u64,
    /// Who opened it, or took it.
    pub asker: Actor,
    /// Port on the agent's side, host order.
    pub local_port: u16,
    /// 1 where the other side opened it.
    pub inbound: u16,
    /// Zero.
    pub reserved: u32,
    /// What went over it.
    pub passed: Traffic,
    /// Where it was let go.
    pub destination: Destination,
}
assert_size!(Connection, 112 + 296);

/// The other side of a connection, by a rule whose decisions are recorded: where a socket that is not connected was last let
/// connect to, or who connected.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Destination {
    /// Address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Port, host order; 0 where the end of the connection is not recorded.
    pub port: u16,
    /// Bytes of the name that the address answered; 0 where no name decided.
    pub name_len: u16,
    /// Number of the rule.
    pub rule: u32,
    /// Index of the image that it is of.
    pub image: u32,
    /// Generation of it.
    pub generation: u32,
    /// [`Image::programs`](crate::policy::Image::programs) of it.
    pub programs: u32,
    /// [`view`] of the program that was let connect.
    pub view: u32,
    /// The name, as it is on the wire, without the root's label.
    pub name: [u8; 256],
}
assert_size!(Destination, 296);

/// How far a connection is.
pub mod connection_state {
    /// Nothing was sent.
    pub const FRESH: u32 = 0;
    /// Its first bytes fit, or need not.
    pub const CHECKED: u32 = 1;
    /// They do not: nothing is sent.
    pub const REFUSED: u32 = 2;
    /// As [`CHECKED`], of an agent that may send only so much: nothing is sent once nobody counts.
    pub const COUNTED: u32 = 3;
}

/// An address that answered an allowed name.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Learned {
    /// Address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Until when, nanoseconds since boot.
    pub until: u64,
    /// [`NameKey::value`] of the rules that allow it.
    pub rules: u64,
    /// [`NameKey::below`] of them.
    pub below: u32,
    /// Bytes of the name that was asked for.
    pub name_len: u32,
    /// That name, as it is on the wire, without the root's label.
    pub name: [u8; 256],
}
assert_size!(Learned, 296);
