//! Sockets, messages and the addresses in them.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_unix_sock};

use super::{Cgroup, Dentry, Message, Sock, Socket, UnixSock, cgroup_id_at};
use crate::read::{load, offset, probe, scratch::Claim, table};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// An IPv4 address, as it lies in memory, as `::ffff:a.b.c.d`.
#[inline(always)]
fn mapped(address: u32) -> [u8; 16] {
    table::mapped(address.to_ne_bytes())
}

impl Socket {
    /// Its protocol side; null to the verifier.
    #[inline(always)]
    pub fn sock(self) -> Sock {
        Sock(member!(self.socket_sk))
    }
    /// `SOCK_*` type.
    #[inline(always)]
    pub fn kind(self) -> u16 {
        member!(self.socket_type)
    }
}

impl Sock {
    /// Address family.
    #[inline(always)]
    pub fn family(self) -> u16 {
        member!(self.sock_family)
    }
    /// IP protocol.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        member!(self.sock_protocol)
    }
    /// Port that it is bound to, host order; 0 without.
    #[inline(always)]
    pub fn port(self) -> u16 {
        member!(self.sock_port)
    }
    /// IP address that it is bound to, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn address(self) -> Option<[u8; 16]> {
        match self.family() {
            AF_INET => Some(mapped(member!(self.sock_address4))),
            AF_INET6 => probe(self.0 as u64, offset!(sock_address6)),
            _ => None,
        }
    }
    /// Port that it is connected to, host order.
    #[inline(always)]
    pub fn peer_port(self) -> u16 {
        u16::from_be(member!(self.sock_peer_port))
    }
    /// IP address that it is connected to, in the same form.
    #[inline(always)]
    pub fn peer_address(self) -> Option<[u8; 16]> {
        match self.family() {
            AF_INET => Some(mapped(member!(self.sock_peer4))),
            AF_INET6 => probe(self.0 as u64, offset!(sock_peer6)),
            _ => None,
        }
    }
    /// Cgroup in which it was made.
    #[inline(always)]
    pub fn cgroup_id(self) -> Option<u64> {
        if self.is_null() {
            return None;
        }
        Cgroup(member!(self.sock_cgroup)).id()
    }
    /// As a Unix socket; null when it is none.
    #[inline(always)]
    pub fn unix(self) -> UnixSock {
        // SAFETY: the helper takes any socket and checks its family.
        UnixSock(unsafe { bpf_skc_to_unix_sock(self.0.cast_mut().cast()) }.cast_const().cast())
    }
}

/// Cgroup of the socket behind a `sockfs` file's private data.
#[inline(always)]
pub fn socket_cgroup_at(socket: u64) -> Option<u64> {
    let sock: u64 = probe(socket, offset!(socket_sk))?;
    cgroup_id_at(probe(sock, offset!(sock_cgroup))?)
}

impl UnixSock {
    /// The file it is bound to; null when none.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(member!(self.unix_dentry))
    }
    /// Copies its abstract name into the record's bytes and returns the length, 0 when unnamed.
    #[inline(always)]
    pub fn name(self, claim: &mut Claim) -> u32 {
        /// `sizeof(sa_family_t)`, which the stored length counts.
        const FAMILY: u32 = 2;
        let address: u64 = member!(self.unix_addr);
        if address == 0 {
            return 0;
        }
        let Some(length) = probe::<u32>(address, offset!(unix_addr_len)) else { return 0 };
        let length = core::hint::black_box(length.wrapping_sub(FAMILY)) & 127;
        let from = (address as usize)
            .wrapping_add(offset!(unix_addr_name))
            .wrapping_add(FAMILY as usize);
        // SAFETY: `length` is at most 127, and the record has room for a path.
        let result = unsafe {
            bpf_probe_read_kernel(
                claim.bytes().cast(),
                length,
                from as *const c_void,
            )
        };
        if result == 0 { length } else { 0 }
    }
}

/// A socket address that the kernel has copied in.
#[derive(Clone, Copy)]
pub struct Address {
    /// Where it is.
    at: u64,
    /// Its length.
    pub length: u32,
}

impl Message {
    /// The address to send to; `None` for the connected one.
    #[inline(always)]
    pub fn address(self) -> Option<Address> {
        let at: u64 = member!(self.msg_name);
        let length: u32 = member!(self.msg_name_len);
        (at != 0).then_some(Address { at, length })
    }
}

impl Address {
    /// From a hook's arguments.
    #[inline(always)]
    pub const fn new(at: u64, length: u32) -> Self {
        Self { at, length }
    }
    /// Address family.
    #[inline(always)]
    pub fn family(self) -> Option<u16> {
        if self.length < 2 {
            return None;
        }
        probe(self.at, 0)
    }
    /// Port, of either family.
    #[inline(always)]
    pub fn port(self) -> Option<u16> {
        if self.length < 4 {
            return None;
        }
        Some(u16::from_be(probe(self.at, 2)?))
    }
    /// Port and IPv4 address.
    #[inline(always)]
    pub fn ipv4(self) -> Option<(u16, [u8; 4])> {
        if self.length < 16 {
            return None;
        }
        let [port, address] = probe::<[u32; 2]>(self.at, 0)?;
        Some((u16::from_be_bytes([port.to_ne_bytes()[2], port.to_ne_bytes()[3]]), address.to_ne_bytes()))
    }
    /// Port and IPv6 address.
    #[inline(always)]
    pub fn ipv6(self) -> Option<(u16, [u8; 16])> {
        // 24 bytes is the shortest the kernel takes (SIN6_LEN_RFC2133).
        if self.length < 24 {
            return None;
        }
        Some((u16::from_be(probe(self.at, 2)?), probe(self.at, 8)?))
    }
}
