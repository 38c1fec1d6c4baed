//! What goes over agents' sockets is counted, and too much is refused. Of TCP connections that they open to addresses that are
//! reached by a name, the first bytes have to name a server that the same rule allows. The end of each is recorded,
//! and the beginning of those that others open.
//!
//! A program of its own beside those of `packet`: in one, both would be more than the verifier is given. So what that one
//! refuses is counted as well.

use aegis_common::{
    counter::Counter,
    event::{NetworkBody, kind, op, reason, verdict},
    net::{Connection, connection_state},
    policy::image_flag,
};
use aya_ebpf::{
    macros::{btf_tracepoint, cgroup_skb, lsm},
    programs::{BtfTracePointContext, LsmContext, SkBuffContext},
};

use crate::{
    conclude::{self, DROP, GIVE_UP, PASS},
    judge::{self, Decision},
    read::{
        connection::{self, Passage},
        kernel::Sock,
        packet::{Packet, PacketSocket, Segment},
        ring,
        scratch::Claim,
        server, table,
    },
    subject::Subject,
};

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const IPPROTO_TCP: u8 = 6;

/// A packet that leaves a socket.
#[cgroup_skb(egress)]
pub fn connection_egress(context: SkBuffContext) -> i32 {
    let packet = Packet::new(context.skb.skb);
    let Some(socket) = packet.socket() else { return PASS };
    if counted_at_once(packet, socket) {
        return PASS;
    }
    let cgroup = packet.cgroup();
    let Some(slot) = table::slot_of(cgroup) else { return after_end(packet, socket) };
    let subject = Subject::of_slot(cgroup, slot);
    // What a killed agent's connections still have to send waits until it is thawed.
    if subject.blocked != 0 {
        return DROP;
    }
    let Some(headers) = packet.headers(true) else { return DROP };
    let mut segment = None;
    if headers.is_tcp() {
        segment = packet.segment(&headers);
        let Some(segment) = segment else { return DROP };
        if segment.opens && !connection::begin(socket, &subject) {
            return DROP;
        }
    }
    // Before it is looked at: behind all ways through that, the verifier would go through the counting once for each.
    match connection::leaves(&subject, socket, packet.length()) {
        Passage::Refused => return GIVE_UP,
        Passage::FirstRefused if tell_spent(packet, socket, &subject) => return GIVE_UP,
        _ => {}
    }
    let Some(segment) = segment else { return PASS };
    let result = look(packet, socket, &subject, headers.protocol, &segment);
    if result != PASS {
        connection::stays(&subject, socket, packet.length());
    }
    result
}

/// Counts a packet of a connection whose beginning was looked at, while its agent may send: nothing has to be found out about
/// it, so that it costs a third of what others do. False of all others, and of all that ask for a connection: with them it begins
/// anew, also where the kernel did not tell that the one before was over (it passes over a program that it came upon at work).
#[inline(always)]
fn counted_at_once(packet: Packet, socket: PacketSocket) -> bool {
    if socket.is_asking() {
        return false;
    }
    let Some(connection) = connection::of(socket) else { return false };
    if connection.opened == 0 || connection.state != connection_state::CHECKED || !of_its_agent(connection) {
        return false;
    }
    let subject = Subject::of_slot(connection.cgroup, connection.slot);
    if subject.blocked != 0 || subject.has(image_flag::BYTES_OUT) {
        return false;
    }
    connection::passes(connection, packet.length())
}

/// What becomes of a packet that nobody governs. The kernel keeps the connections of a process that is gone, with what they
/// still have to send: of an agent that has ended that goes out where its beginning was looked at, and where the agent was not
/// killed and could not have sent more than it may.
#[inline(always)]
fn after_end(packet: Packet, socket: PacketSocket) -> i32 {
    let Some(connection) = connection::of(socket) else { return PASS };
    if connection.state == connection_state::CHECKED && !table::is_cut(connection.cgroup) {
        return PASS;
    }
    let Some(headers) = packet.headers(true) else { return DROP };
    let Some(segment) = packet.segment(&headers) else { return DROP };
    if segment.carried == 0 && !segment.opens { PASS } else { GIVE_UP }
}

/// Records that an agent has sent all that it may, with the first packet that is too much. False where that is all that
/// becomes of it.
#[inline(always)]
fn tell_spent(packet: Packet, socket: PacketSocket, subject: &Subject) -> bool {
    let decision = Decision::refuse(reason::BYTES_OUT);
    let refused = conclude::effective(subject, &decision) == verdict::DENY;
    let Some(mut claim) = Claim::take() else {
        table::count(Counter::LostNetwork);
        table::count(Counter::LostDenial);
        return refused;
    };
    // Read anew: nothing of it stays on the stack for this.
    let Some(headers) = packet.headers(true) else { return refused };
    claim.set_body(NetworkBody {
        address: headers.peer,
        port: packet.ports(&headers).map_or(0, |ports| ports.to),
        protocol: headers.protocol.into(),
        name_len: 0,
        family: 0,
        socket_type: 0,
    });
    connection::note_sender(&mut claim, socket, subject);
    let what = (kind::NETWORK, op::SEND);
    conclude::record_packet(&mut claim, subject, &decision, what, size_of::<NetworkBody>(), 0);
    claim.release();
    refused
}

/// What becomes of a segment that leaves: of a connection that the agent opened, the first one that carries something is looked
/// at, and what comes later is not.
#[inline(always)]
fn look(packet: Packet, socket: PacketSocket, subject: &Subject, protocol: u8, segment: &Segment) -> i32 {
    if segment.carried == 0 {
        return PASS;
    }
    let Some(connection) = connection::of(socket) else {
        return if connection::keep_incoming(socket, subject) { PASS } else { DROP };
    };
    match connection.state {
        connection_state::FRESH => {}
        connection_state::REFUSED => return GIVE_UP,
        _ => return PASS,
    }
    let (address, port) = socket.peer();
    // Whether there is a name to speak of.
    let image = connection::image(connection, subject);
    let by_address = table::port_rule(image, address, port, protocol).is_some();
    if by_address || subject.default_network == 1 {
        connection.state = connection::looked_at(subject);
        return PASS;
    }
    let Some(mut claim) = Claim::take() else { return DROP };
    claim.set_body(NetworkBody {
        address,
        port,
        protocol: protocol.into(),
        name_len: 0,
        family: 0,
        socket_type: 0,
    });
    claim.dialogue().question.asker = connection.asker;
    let length = packet.opening(segment, &mut claim);
    server::judge(&mut claim, subject, image, length, connection.opened);
    let decision = claim.decision();
    if conclude::is_recorded(&decision) {
        let bytes = server::tell(&mut claim);
        let what = (kind::NETWORK, op::OPENING);
        conclude::record_packet(&mut claim, subject, &decision, what, size_of::<NetworkBody>(), bytes);
    }
    claim.release();
    if conclude::effective(subject, &decision) == verdict::DENY {
        connection.state = connection_state::REFUSED;
        return GIVE_UP;
    }
    connection.state = connection::looked_at(subject);
    PASS
}

/// `void inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: a connection that the other side
/// asked for begins with the last of three packets; one is over where its socket is closed to the kernel, which can be some
/// time after the program closed it.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    let sock = Sock::new(context.arg(0));
    match (context.arg::<i32>(1), context.arg::<i32>(2)) {
        (TCP_SYN_RECV, TCP_ESTABLISHED) => arrived(sock),
        (_, TCP_CLOSE) => over(sock),
        _ => {}
    }
    0
}

/// Keeps a connection that somebody opened to an agent. Whether it may come was decided when it was asked for.
#[inline(always)]
fn arrived(sock: Sock) {
    let Some(cgroup) = sock.cgroup_id() else { return };
    let Some(slot) = table::slot_of(cgroup) else { return };
    let subject = Subject::of_slot(cgroup, slot);
    let rule = sock.address().and_then(|address| table::listen_rule(subject.image, address, sock.port(), IPPROTO_TCP));
    let decision = judge::address(&subject, rule);
    connection::arrived(sock, &subject, conclude::is_recorded(&decision).then_some(decision.rule));
}

/// Records and counts that a connection is over.
#[inline(always)]
fn over(sock: Sock) {
    let Some(connection) = connection::at(sock) else { return };
    if connection.opened == 0 {
        return;
    }
    if of_its_agent(connection) {
        tell(connection, op::CLOSE);
        connection::count_closed(connection.slot);
    }
    connection.opened = 0;
}

/// `void sock_graft(struct sock *sk, struct socket *parent)`: a program takes a connection that the other side opened.
#[lsm(hook = "sock_graft")]
pub fn sock_graft(context: LsmContext) -> i32 {
    let Some(connection) = connection::at(Sock::new(context.arg(0))) else { return 0 };
    if connection.opened != 0 && connection.inbound != 0 && of_its_agent(connection) {
        ring::note_asker(&mut connection.asker);
        tell(connection, op::ACCEPT);
    }
    0
}

/// Whether the place of a connection's agent is not another one's by now.
#[inline(always)]
fn of_its_agent(connection: &Connection) -> bool {
    table::slot_of(connection.cgroup) == Some(connection.slot)
}

/// Records the beginning or the end of a connection, by the rule that let it begin.
#[inline(always)]
fn tell(connection: &Connection, operation: u8) {
    if connection.destination.port == 0 || !connection::is_told(connection.slot) {
        return;
    }
    let subject = Subject::of_slot(connection.cgroup, connection.slot);
    let Some(mut claim) = Claim::take() else {
        table::count(Counter::LostNetwork);
        return;
    };
    let bytes = connection::tell(&mut claim, connection);
    let (image, generation) = (connection.destination.image, connection.destination.generation);
    let subject = Subject { image, generation, ..subject };
    let decision = Decision::allow(connection.destination.rule, reason::RULE, true);
    conclude::record_packet(&mut claim, &subject, &decision, (kind::NETWORK, operation), size_of::<NetworkBody>(), bytes);
    claim.release();
}
