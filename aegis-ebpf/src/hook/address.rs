//! IP addresses: connecting, sending without connecting, listening; and the families of sockets.
//!
//! The task decides, not the cgroup in which the socket was made: a socket passed in is judged
//! like one made here. All fail closed.

use aegis_common::{
    counter::Counter,
    event::{NetworkBody, kind, op, reason},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal, answer},
    guarded::{self, Guarded},
    judge::{self, Decision},
    read::{
        kernel::{Address, Message, Socket},
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

/// Records a decision about an address and gives the return value.
#[inline(always)]
fn conclude_network(subject: &Subject, decision: &Decision, operation: u8, body: NetworkBody) -> i32 {
    if conclude::is_recorded(decision) {
        if let Some(mut claim) = Claim::take() {
            claim.set_body(body);
            let result = conclude::record_once(
                &mut claim,
                subject,
                decision,
                (kind::NETWORK, operation),
                Refusal::Permission,
                0,
                size_of::<NetworkBody>(),
                0,
            );
            claim.release();
            return result;
        }
        table::count(Counter::LostNetwork);
        if decision.deny {
            table::count(Counter::LostDenial);
        }
    }
    answer(subject, decision, Refusal::Permission)
}

/// Judges sending to an address from a socket.
#[inline(always)]
fn decide(subject: &Subject, socket: Socket, address: Address, operation: u8) -> i32 {
    let sock = socket.sock();
    let protocol = if sock.is_null() { 0 } else { sock.protocol() };
    let mut body = NetworkBody {
        address: [0; 16],
        port: 0,
        family: AF_UNSPEC,
        protocol,
        socket_type: socket.kind(),
    };
    let Some(family) = address.family() else {
        return conclude_network(subject, &Decision::refuse(reason::READ_FAILED), operation, body);
    };
    body.family = family;
    let read = match family {
        // Unix sockets are judged where the kernel has found the peer.
        AF_UNIX => return 0,
        // To the kernel itself; socket_create let only harmless protocols through.
        AF_NETLINK => return 0,
        // connect(AF_UNSPEC) dissolves an association. sendto(AF_UNSPEC) on an IPv4 socket sends to
        // the address as if it were AF_INET, so it is judged as that.
        AF_UNSPEC if operation == op::CONNECT => return 0,
        AF_INET | AF_UNSPEC => address.ipv4().map(|(port, ipv4)| (port, table::mapped(ipv4))),
        AF_INET6 => address.ipv6(),
        _ => None,
    };
    let Some((port, bytes)) = read else {
        return conclude_network(subject, &Decision::refuse(reason::READ_FAILED), operation, body);
    };
    body.address = bytes;
    body.port = port;
    let decision = if subject.blocked != 0 {
        Decision::refuse(subject.blocked)
    } else {
        judge::address(subject, table::port_rule(subject.image, bytes, port, protocol as u8))
    };
    conclude_network(subject, &decision, operation, body)
}

/// `int socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)`
#[lsm(hook = "socket_connect")]
pub fn socket_connect(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let address = Address::new(context.arg(1), context.arg(2));
    decide(&subject, Socket::new(context.arg(0)), address, op::CONNECT)
}

/// `int socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`: `msg_name` is a kernel
/// copy by now, and sendto, sendmmsg and TCP Fast Open come through here too.
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    match Message::new(context.arg(1)).address() {
        Some(address) => decide(&subject, Socket::new(context.arg(0)), address, op::SEND),
        // The connected address was judged when it was connected; a killed agent sends nothing.
        None if subject.blocked != 0 => guarded::blocked(&subject, op::SEND),
        None => 0,
    }
}

/// `int socket_listen(struct socket *sock, int backlog)`: refused where the network is, since who
/// listens can be asked from outside.
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
    let decision = if subject.blocked != 0 {
        Decision::refuse(subject.blocked)
    } else {
        judge::address(&subject, None)
    };
    conclude_network(&subject, &decision, op::LISTEN, NetworkBody {
        address: [0; 16],
        port: 0,
        family,
        protocol: sock.protocol(),
        socket_type: socket.kind(),
    })
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
