//! IP addresses: connecting, sending without connecting, listening; and the families of sockets.
//!
//! The task decides, not the cgroup in which the socket was made: a socket passed in is judged
//! like one made here. All fail closed.

use aegis_common::{
    counter::Counter,
    dns,
    event::{NetworkBody, kind, op, reason},
    net::{Actor, PortRule, server_check},
    policy::{RULE_DEFAULT, image_flag},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal},
    guarded::{self, Guarded},
    judge::{self, Decision},
    read::{
        connection,
        kernel::{Address, Message, Sock, Socket},
        names, packet, running,
        scratch::Claim,
        table,
    },
    subject::Subject,
};

const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const NETLINK_ROUTE: u32 = 0;

/// Records what was decided about the address in the slot, gives the slot back, and gives the return value.
#[inline(always)]
fn conclude_network(mut claim: Claim, subject: &Subject, sock: Sock, operation: u8) -> i32 {
    // From memory: what the verifier does not know of it does not make it verify the record once for each case.
    let decision = claim.decision();
    let mut result = 0;
    if conclude::is_recorded(&decision) {
        let name = names::tell_name(&mut claim);
        result = conclude::record_once(
            &mut claim,
            subject,
            &decision,
            (kind::NETWORK, operation),
            Refusal::Permission,
            0,
            size_of::<NetworkBody>(),
            name,
        );
        if result == 0 && operation != op::LISTEN && !sock.is_null() && !connection::note_destination(sock, &mut claim, subject) {
            result = conclude::refuse(Refusal::Permission);
        }
    }
    claim.release();
    result
}

/// Refuses where there is no room to decide in.
#[inline(always)]
fn no_room() -> i32 {
    table::count(Counter::LostNetwork);
    table::count(Counter::LostDenial);
    conclude::refuse(Refusal::Permission)
}

/// Judges sending to an address from a socket.
#[inline(always)]
fn decide(subject: &mut Subject, socket: Socket, address: Address, operation: u8) -> i32 {
    let sock = socket.sock();
    let protocol = if sock.is_null() { 0 } else { sock.protocol() };
    let family = address.family();
    match family {
        // Unix sockets are judged where the kernel has found the peer.
        Some(AF_UNIX) => return 0,
        // To the kernel itself; socket_create let only harmless protocols through.
        Some(AF_NETLINK) => return 0,
        // connect(AF_UNSPEC) dissolves an association. sendto(AF_UNSPEC) on an IPv4 socket sends to
        // the address as if it were AF_INET, so it is judged as that.
        Some(AF_UNSPEC) if operation == op::CONNECT => return 0,
        _ => {}
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    claim.hide_subject(subject);
    claim.set_body(NetworkBody {
        address: [0; 16],
        port: 0,
        protocol,
        name_len: 0,
        family: family.unwrap_or(AF_UNSPEC) as u8,
        socket_type: socket.kind() as u8,
    });
    let body = claim.network_body();
    let mut decision = Decision::refuse(reason::READ_FAILED);
    if let Some(AF_INET | AF_UNSPEC) = family {
        if let Some((port, ipv4)) = address.ipv4() {
            body.port = port;
            body.address = table::mapped(ipv4);
            decision.deny = false;
        }
    } else if let Some(AF_INET6) = family {
        if let Some((port, ipv6)) = address.ipv6() {
            body.port = port;
            body.address = ipv6;
            decision.deny = false;
        }
    }
    claim.decide(decision);
    if !claim.decision().deny {
        let image = running::image(subject);
        let image = claim.dialogue().look_in(image);
        decision = if subject.blocked != 0 {
            Decision::refuse(subject.blocked)
        } else {
            judge::address(subject, table::port_rule(image, body.address, body.port, protocol as u8))
        };
        claim.decide(decision);
    }
    // Where no rule about addresses spoke.
    if claim.decision().reason == reason::DEFAULT && subject.has(image_flag::NAMES) {
        let decision = if body.port == dns::PORT && names::is_resolver(subject.image, &body.address) {
            to_resolver(subject, sock, protocol)
        } else {
            let rule = names::reached(&mut claim, subject);
            by_name(subject, sock, protocol, body.port, rule)
        };
        claim.decide(decision);
    }
    if is_uncounted(&mut claim, subject, sock) {
        claim.decide(Decision::refuse(reason::OUTSIDE));
    }
    if !is_noted(&mut claim, subject, sock) {
        claim.decide(Decision::refuse(reason::NO_ROOM));
    }
    conclude_network(claim, subject, sock, operation)
}

/// Whether what goes over a socket would be neither counted nor bounded, nor stopped with the agent: no packet is looked at of one
/// that was made outside. All from memory.
#[inline(always)]
fn is_uncounted(claim: &mut Claim, subject: &Subject, sock: Sock) -> bool {
    let counted = u32::from(claim.network_body().protocol) == IPPROTO_TCP || subject.has(image_flag::BYTES_OUT);
    counted && !claim.decision().deny && !is_own(subject, sock)
}

/// Notes on the socket that it may send to the resolver in the record's body, if that was decided of one. False where it
/// can't be noted. All from memory: what was found out on the way here would make the verifier go through it each time.
#[inline(always)]
fn is_noted(claim: &mut Claim, subject: &Subject, sock: Sock) -> bool {
    if claim.decision().deny || !subject.has(image_flag::NAMES) {
        return true;
    }
    let body = claim.network_body();
    if body.port != dns::PORT || u32::from(body.protocol) != IPPROTO_UDP {
        return true;
    }
    !names::is_resolver(subject.image, &body.address) || !sock.is_null() && packet::note_asker(sock, &mut body.address)
}

/// Judges reaching an address by a name. Where servers are to be named, that is read in the packets of the agent's own
/// sockets, and in TCP: QUIC hides it.
#[inline(always)]
fn by_name(subject: &Subject, sock: Sock, protocol: u16, port: u16, rule: Option<PortRule>) -> Decision {
    let decision = judge::address(subject, rule);
    let checked = rule.is_some_and(|rule| rule.server_check(port) == server_check::ENFORCE);
    if !checked || decision.deny || subject.default_network == 1 {
        decision
    } else if u32::from(protocol) != IPPROTO_TCP {
        Decision::refuse_by(decision.rule, reason::NO_SERVER_NAME)
    } else if !is_own(subject, sock) {
        Decision::refuse_by(decision.rule, reason::OUTSIDE)
    } else {
        decision
    }
}

/// Whether a socket was made by the agent: then its packets are looked at.
#[inline(always)]
fn is_own(subject: &Subject, sock: Sock) -> bool {
    sock.cgroup_id().and_then(table::slot_of) == Some(subject.slot)
}

/// Judges sending to a resolver: datagrams, from a socket whose packets are looked at when they leave.
#[inline(always)]
fn to_resolver(subject: &Subject, sock: Sock, protocol: u16) -> Decision {
    let by_default = judge::address(subject, None);
    if !by_default.deny {
        return by_default;
    }
    if u32::from(protocol) == IPPROTO_TCP {
        return Decision::refuse(reason::DNS_OVER_TCP);
    }
    if u32::from(protocol) == IPPROTO_UDP && is_own(subject, sock) {
        // The question itself is judged, and recorded.
        Decision::allow(RULE_DEFAULT, reason::RULE, false)
    } else {
        Decision::refuse(reason::OUTSIDE)
    }
}

/// `int socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)`: who has the port of resolvers could
/// answer for one. Fails closed.
#[lsm(hook = "socket_bind")]
pub fn socket_bind(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let socket = Socket::new(context.arg(0));
    let sock = socket.sock();
    if sock.is_null() {
        return conclude::refuse(Refusal::Permission);
    }
    let family = sock.family();
    if family != AF_INET && family != AF_INET6 {
        return 0;
    }
    // Port and address are at the same place in both; what is too short is refused by the kernel.
    let address = Address::new(context.arg(1), context.arg(2));
    match address.port() {
        Some(port) if port != dns::PORT => 0,
        None if address.length < 4 => 0,
        _ => guarded::refuse(&subject, &Guarded {
            op: op::BIND,
            reason: reason::GUARD,
            subject: u64::from(dns::PORT),
            detail: 0,
            refusal: Refusal::Permission,
            silent: false,
        }),
    }
}

/// `int socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)`
#[lsm(hook = "socket_connect")]
pub fn socket_connect(context: LsmContext) -> i32 {
    let Some(mut subject) = Subject::sender() else { return 0 };
    let address = Address::new(context.arg(1), context.arg(2));
    decide(&mut subject, Socket::new(context.arg(0)), address, op::CONNECT)
}

/// `int socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`: `msg_name` is a kernel
/// copy by now, and sendto, sendmmsg and TCP Fast Open come through here too.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(context: LsmContext) -> i32 {
    let Some(mut subject) = Subject::sender() else { return 0 };
    match Message::new(context.arg(1)).address() {
        Some(address) => decide(&mut subject, Socket::new(context.arg(0)), address, op::SEND),
        // The connected address was judged when it was connected; a killed agent sends nothing, nor one that sent all it may.
        None if subject.blocked != 0 => guarded::blocked(&subject, op::SEND),
        None => 0,
    }
}

/// `int socket_listen(struct socket *sock, int backlog)`: where a rule for the address and port that the socket is bound to
/// allows it, since who listens can be asked from outside.
#[lsm(hook = "socket_listen")]
pub fn socket_listen(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let socket = Socket::new(context.arg(0));
    let sock = socket.sock();
    if sock.is_null() {
        return conclude::refuse(Refusal::Permission);
    }
    let family = sock.family();
    if family == AF_UNIX && subject.blocked == 0 {
        return 0;
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    listened(&mut claim, &subject, sock, socket.kind() as u8);
    conclude_network(claim, &subject, sock, op::LISTEN)
}

/// Judges listening where a socket is bound, and fills the record's body.
#[inline(always)]
fn listened(claim: &mut Claim, subject: &Subject, sock: Sock, kind: u8) {
    let address = sock.address();
    let (port, protocol) = (sock.port(), sock.protocol());
    claim.set_body(NetworkBody {
        address: address.unwrap_or([0; 16]),
        port,
        protocol,
        name_len: 0,
        family: sock.family() as u8,
        socket_type: kind,
    });
    claim.decide(if subject.blocked != 0 {
        Decision::refuse(subject.blocked)
    } else {
        let rule = address.and_then(|address| table::listen_rule(subject.image, address, port, protocol as u8));
        judge::address(subject, rule)
    });
}

/// `int inet_conn_request(const struct sock *sk, struct sk_buff *skb, struct request_sock *req)`: somebody asks for a
/// connection. The socket listens where it may: it could be bound anew between the look and the act. And nobody reaches an
/// agent that is killed; that is not recorded for everyone who tries.
#[lsm(hook = "inet_conn_request")]
pub fn inet_conn_request(context: LsmContext) -> i32 {
    let sock = Sock::new(context.arg(0));
    let Some(cgroup) = sock.cgroup_id() else { return 0 };
    let Some(slot) = table::slot_of(cgroup) else { return 0 };
    let subject = Subject::of_slot(cgroup, slot);
    if subject.blocked != 0 {
        return conclude::refuse(Refusal::Permission);
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    listened(&mut claim, &subject, sock, SOCK_STREAM as u8);
    let decision = claim.decision();
    if decision.deny {
        // The current task is whoever the packet came upon.
        claim.dialogue().question.asker = Actor::default();
        let what = (kind::NETWORK, op::LISTEN);
        conclude::record_packet(&mut claim, &subject, &decision, what, size_of::<NetworkBody>(), 0);
    }
    claim.release();
    conclude::answer(&subject, &decision, Refusal::Permission)
}

/// `int socket_create(int family, int type, int protocol, int kern)`: TCP, UDP and Unix sockets, and
/// the netlink family that resolvers ask for interfaces. Everything else, the unknown included, is
/// refused: raw and packet sockets forge what the other hooks look at.
#[lsm(hook = "socket_create")]
pub fn socket_create(context: LsmContext) -> i32 {
    if context.arg::<i32>(3) != 0 {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    let family: u32 = context.arg(0);
    let kind: u32 = context.arg(1);
    let protocol: u32 = context.arg(2);
    let known = match family as u16 {
        AF_UNIX => true,
        AF_INET | AF_INET6 => match kind {
            SOCK_STREAM => protocol == 0 || protocol == IPPROTO_TCP,
            SOCK_DGRAM => protocol == 0 || protocol == IPPROTO_UDP,
            _ => false,
        },
        AF_NETLINK => protocol == NETLINK_ROUTE,
        _ => false,
    };
    if known && subject.blocked == 0 {
        return 0;
    }
    guarded::refuse(&subject, &Guarded {
        op: op::SOCKET,
        reason: reason::GUARD,
        subject: (u64::from(family) << 32) | u64::from(protocol),
        detail: u64::from(kind),
        refusal: Refusal::Permission,
        silent: false,
    })
}
