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
    /// Zero.
    pub reserved: u8,
    /// Number of the rule.
    pub rule: u32,
}
assert_size!(PortRule, 12);

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
