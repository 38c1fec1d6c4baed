//! Packets of sockets that agents made: who made the socket, and what is in them.

use core::ptr;

use aegis_common::dns::{MAX_MESSAGE, MAX_QUESTION};
use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, __sk_buff, bpf_sock},
    helpers::generated::{bpf_sk_storage_get, bpf_skb_cgroup_id, bpf_skb_load_bytes},
};

use super::{
    kernel::Sock,
    offset, probe,
    scratch::{Claim, MESSAGE},
    table,
    walk::{load_word, store_word},
};
use crate::maps::ASKERS;

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
const TCP_HEADER: usize = 20;
/// Flags of TCP.
const SYN: u8 = 1 << 1;
const ACK: u8 = 1 << 4;
const URG: u8 = 1 << 5;
/// Flag of a packet whose pages others may write to: of a file, or of the sender (`SKBFL_SHARED_FRAG`).
const SHARED: u8 = 1 << 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const AF_INET: u32 = 2;
/// Third word of an IPv4-mapped address.
const MAPPED: u32 = 0xffff;

/// What is known of a socket that asks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Asker {
    /// The halves of the resolver's address, in network order.
    resolver: [u64; 2],
}

impl Asker {
    /// Its resolver.
    #[inline(always)]
    pub fn resolver(&self) -> [u8; 16] {
        let mut address = [0u8; 16];
        // SAFETY: twice eight of sixteen bytes.
        unsafe {
            store_word(address.as_mut_ptr(), self.resolver[0]);
            store_word(address.as_mut_ptr().add(8), self.resolver[1]);
        }
        address
    }
}

/// Notes that a socket may send to a resolver, whose address lies in map memory: from now on all its datagrams are
/// questions. False where that can't be noted.
#[inline(always)]
pub fn note_asker(sock: Sock, resolver: &mut [u8; 16]) -> bool {
    // SAFETY: the helper takes any socket, and copies sixteen bytes.
    let asker = unsafe {
        bpf_sk_storage_get(
            (&raw const ASKERS).cast_mut().cast(),
            sock.as_ptr().cast_mut().cast(),
            resolver.as_mut_ptr().cast(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
    }
    .cast::<Asker>();
    if asker.is_null() {
        return false;
    }
    // SAFETY: a live map value. Of two tasks that send from one socket, either's resolver is one.
    unsafe {
        (*asker).resolver = [load_word(resolver.as_ptr()), load_word(resolver.as_ptr().add(8))];
    }
    true
}

/// The socket of a packet.
#[derive(Clone, Copy)]
pub struct PacketSocket(*mut bpf_sock);

impl PacketSocket {
    /// For a helper.
    #[inline(always)]
    pub const fn as_ptr(self) -> *mut bpf_sock {
        self.0
    }

    /// Its port, host order, whatever NAT makes of it.
    #[inline(always)]
    pub fn port(self) -> u16 {
        // SAFETY: a live socket.
        unsafe { (*self.0).src_port as u16 }
    }

    /// Whom it is connected to: address, IPv4 as `::ffff:a.b.c.d`, and port in host order; whatever NAT makes of them.
    #[inline(always)]
    pub fn peer(self) -> ([u8; 16], u16) {
        // SAFETY: a live socket. All is loaded before it is chosen from: the verifier takes no place in a socket that is
        // worked out.
        let (family, port, v4, v6) = unsafe {
            let sock = self.0;
            (
                (&raw const (*sock).family).read_volatile(),
                (&raw const (*sock).dst_port).read_volatile(),
                (&raw const (*sock).dst_ip4).read_volatile(),
                [
                    (&raw const (*sock).dst_ip6[0]).read_volatile(),
                    (&raw const (*sock).dst_ip6[1]).read_volatile(),
                    (&raw const (*sock).dst_ip6[2]).read_volatile(),
                    (&raw const (*sock).dst_ip6[3]).read_volatile(),
                ],
            )
        };
        let mut words = v6;
        if family == AF_INET {
            words = [0, 0, MAPPED.to_be(), v4];
        }
        let mut address = [0u8; 16];
        // SAFETY: twice eight of sixteen bytes.
        unsafe {
            store_word(address.as_mut_ptr(), u64::from(words[1]) << 32 | u64::from(words[0]));
            store_word(address.as_mut_ptr().add(8), u64::from(words[3]) << 32 | u64::from(words[2]));
        }
        (address, u16::from_be(port))
    }

    /// Whether it asks for a connection and has no answer yet.
    #[inline(always)]
    pub fn is_asking(self) -> bool {
        const TCP_SYN_SENT: u32 = 2;
        // SAFETY: a live socket.
        unsafe { (*self.0).state == TCP_SYN_SENT }
    }

    /// The resolver that it was last let send to, where it was.
    #[inline(always)]
    pub fn asker(self) -> Option<Asker> {
        // SAFETY: the helper takes any socket.
        let asker = unsafe {
            bpf_sk_storage_get((&raw const ASKERS).cast_mut().cast(), self.0.cast(), ptr::null_mut(), 0)
        }
        .cast::<Asker>();
        // SAFETY: a live map value.
        (!asker.is_null()).then(|| unsafe { *asker })
    }
}

/// A packet on its way out of a socket, or into one.
#[derive(Clone, Copy)]
pub struct Packet(*mut __sk_buff);

/// What the headers say. Aligned, since the address is read by words.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Headers {
    /// Address of the other side, IPv4 as `::ffff:a.b.c.d`.
    pub peer: [u8; 16],
    /// Protocol; of an IPv6 header, what stands behind it.
    pub protocol: u8,
    /// Length of an IPv4 header, 0 of the other.
    length: u8,
    /// Behind the IP header.
    at: u32,
}

impl Headers {
    /// Whether it is a datagram of UDP.
    #[inline(always)]
    pub const fn is_udp(&self) -> bool {
        self.protocol == UDP
    }
    /// Whether it is a segment of TCP.
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }
    /// Whether the header has options, or is followed by another one of IP: these can have the packet go another way than
    /// its address says.
    #[inline(always)]
    pub const fn is_extended(&self) -> bool {
        let known = matches!(self.protocol, TCP | UDP | ICMP | ICMPV6);
        !known || self.length != 0 && self.length as u32 != IPV4_HEADER
    }
}

/// The ports of a datagram.
#[derive(Clone, Copy)]
pub struct Ports {
    /// Of the sender, host order.
    pub from: u16,
    /// Of the receiver.
    pub to: u16,
}

/// A segment of TCP.
#[derive(Clone, Copy)]
pub struct Segment {
    /// Whether it asks for a connection.
    pub opens: bool,
    /// Bytes that it carries.
    pub carried: u32,
    /// Whether one of them is urgent: the other side may take it out of the rest.
    urgent: bool,
    /// Where they begin.
    at: u32,
}

impl Packet {
    /// From a program's context.
    #[inline(always)]
    pub const fn new(skb: *mut __sk_buff) -> Self {
        Self(skb)
    }

    /// The cgroup in which its socket was made.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        // SAFETY: the context is live.
        unsafe { bpf_skb_cgroup_id(self.0) }
    }

    /// How long it is, headers included.
    #[inline(always)]
    pub fn length(self) -> u32 {
        // SAFETY: the context is live.
        unsafe { (*self.0).len }
    }

    /// Whether it is several datagrams that part later.
    #[inline(always)]
    fn is_several(self) -> bool {
        // SAFETY: the context is live.
        unsafe { (*self.0).gso_size != 0 }
    }

    /// Whether all of it is memory of the kernel's own: pages that it only refers to may be a program's, and change.
    #[inline(always)]
    fn is_own(self) -> bool {
        // SAFETY: the context is live.
        let (start, end) = unsafe { ((*self.0).data, (*self.0).data_end) };
        u64::from(end).wrapping_sub(u64::from(start)) >= u64::from(self.length())
    }

    /// Whether it is a segment of TCP that goes where its address says. Known without a helper: every packet is asked.
    #[inline(always)]
    pub fn is_plain_segment(self) -> bool {
        const VERSION_4: u8 = 0x45;
        const VERSION_6: u8 = 6;
        // SAFETY: the context is live, and what is read lies between the two.
        unsafe {
            let (start, end) = ((*self.0).data as usize, (*self.0).data_end as usize);
            if start + IPV4_HEADER as usize > end {
                return false;
            }
            let ip = start as *const u8;
            match *ip {
                VERSION_4 => *ip.add(9) == TCP,
                first => first >> 4 == VERSION_6 && *ip.add(6) == TCP,
            }
        }
    }

    /// Its socket. To be called once: the compiler would keep a place in the context for later, which the verifier refuses.
    #[inline(always)]
    pub fn socket(self) -> Option<PacketSocket> {
        // SAFETY: the context is live.
        let socket = unsafe { (*self.0).__bindgen_anon_2.sk };
        (!socket.is_null()).then_some(PacketSocket(socket))
    }

    /// Copies bytes; false where there are not as many.
    #[inline(always)]
    fn load<const N: usize>(self, at: u32, to: &mut [u8; N]) -> bool {
        // SAFETY: the helper writes N bytes, or none.
        unsafe { bpf_skb_load_bytes(self.0.cast(), at, to.as_mut_ptr().cast(), N as u32) == 0 }
    }

    /// Its IP header, the peer being whom it goes to (`out`) or comes from.
    #[inline(always)]
    pub fn headers(self, out: bool) -> Option<Headers> {
        let mut ip = [0u8; IPV4_HEADER as usize];
        if !self.load(0, &mut ip) {
            return None;
        }
        if ip[0] >> 4 == 4 {
            let peer = if out { [ip[16], ip[17], ip[18], ip[19]] } else { [ip[12], ip[13], ip[14], ip[15]] };
            let length = (ip[0] & 15) * 4;
            return Some(Headers { peer: table::mapped(peer), protocol: ip[9], length, at: u32::from(length) });
        }
        let mut peer = [0u8; 16];
        if !self.load(if out { 24 } else { 8 }, &mut peer) {
            return None;
        }
        Some(Headers { peer, protocol: ip[6], length: 0, at: IPV6_HEADER })
    }

    /// The ports of a datagram.
    #[inline(always)]
    pub fn ports(self, headers: &Headers) -> Option<Ports> {
        let mut ports = [0u8; 4];
        self.load(headers.at, &mut ports).then_some(Ports {
            from: u16::from_be_bytes([ports[0], ports[1]]),
            to: u16::from_be_bytes([ports[2], ports[3]]),
        })
    }

    /// Copies what the datagram carries to where messages lie, and returns its length; 0 where it is none that is read, or
    /// what is read need not be what leaves.
    #[inline(always)]
    pub fn message(self, headers: &Headers, claim: &mut Claim, out: bool) -> u32 {
        let at = headers.at + UDP_HEADER;
        let length = self.length().wrapping_sub(at);
        if length == 0 || length > if out { MAX_QUESTION } else { MAX_MESSAGE } {
            return 0;
        }
        if self.is_several() || out && !self.is_own() {
            return 0;
        }
        self.copy(at, length, claim)
    }

    /// Copies 1 to [`MAX_MESSAGE`] bytes to where messages lie; 0 where there are not as many.
    #[inline(always)]
    fn copy(self, at: u32, length: u32, claim: &mut Claim) -> u32 {
        // The barrier keeps the bounds in the form that the verifier follows: at least one, at most MAX_MESSAGE + 1.
        let length = (core::hint::black_box(length - 1) & MAX_MESSAGE) + 1;
        // SAFETY: behind MESSAGE there is room for more bytes than that.
        let result = unsafe {
            bpf_skb_load_bytes(self.0.cast(), at, claim.bytes().add(MESSAGE).cast(), length)
        };
        if result == 0 { length } else { 0 }
    }

    /// Its header of TCP.
    #[inline(always)]
    pub fn segment(self, headers: &Headers) -> Option<Segment> {
        let mut tcp = [0u8; TCP_HEADER];
        if !self.load(headers.at, &mut tcp) {
            return None;
        }
        let at = headers.at + u32::from(tcp[12] >> 4) * 4;
        Some(Segment {
            opens: tcp[13] & (SYN | ACK) == SYN,
            carried: self.length().saturating_sub(at),
            urgent: tcp[13] & URG != 0,
            at,
        })
    }

    /// Whether others may write to what it carries after it was looked at.
    #[inline(always)]
    fn is_shared(self) -> bool {
        // The context is the packet's own struct.
        let (head, end) = (self.member::<u64>(offset!(skb_head)), self.member::<u32>(offset!(skb_end)));
        let (Some(head), Some(end)) = (head, end) else { return true };
        probe::<u8>(head + u64::from(end), offset!(shared_flags)).is_none_or(|flags| flags & SHARED != 0)
    }

    #[inline(always)]
    fn member<T: Copy + Default>(self, offset: usize) -> Option<T> {
        probe(self.0 as u64, offset)
    }

    /// Copies the front of what a segment carries to where messages lie, and returns its length; 0 where that can't be
    /// looked at.
    #[inline(always)]
    pub fn opening(self, segment: &Segment, claim: &mut Claim) -> u32 {
        if segment.carried == 0 || segment.urgent || self.is_shared() {
            return 0;
        }
        let length = if segment.carried > MAX_MESSAGE { MAX_MESSAGE } else { segment.carried };
        self.copy(segment.at, length, claim)
    }
}
