//! TCP connections that agents open: the first bytes of those to addresses that are reached by a name have to name a server
//! that the same rule allows, what goes over each is counted, and its end is recorded.

use aegis_common::{
    counter::Counter,
    event::{NetworkBody, kind, op, reason, verdict},
    net::{Connection, connection_state},
    policy::image_flag,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    conclude::{self, DROP, GIVE_UP, PASS},
    judge::Decision,
    read::{
        connection,
        kernel::Sock,
        packet::{Headers, Packet, PacketSocket},
        scratch::Claim,
        server, table,
    },
    subject::Subject,
};

const TCP_CLOSE: i32 = 7;

/// What becomes of a segment that leaves: of a connection that the agent opened, the first one that carries something is looked
/// at, and what comes later is not.
#[inline(always)]
pub fn look(packet: Packet, socket: PacketSocket, subject: &Subject, headers: &Headers) -> i32 {
    let Some(segment) = packet.segment(headers) else { return DROP };
    if segment.opens && !connection::begin(socket, subject) {
        return DROP;
    }
    if segment.carried == 0 || !subject.has(image_flag::SERVER_NAMES) {
        return PASS;
    }
    // Without one the other side opened it.
    let Some(connection) = connection::of(socket) else { return PASS };
    match connection.state {
        connection_state::FRESH => {}
        connection_state::CHECKED => return PASS,
        _ => return GIVE_UP,
    }
    let (address, port) = socket.peer();
    // Whether there is a name to speak of.
    let by_address = table::port_rule(subject.image, address, port, headers.protocol).is_some();
    if by_address || subject.default_network == 1 {
        connection.state = connection_state::CHECKED;
        return PASS;
    }
    let Some(mut claim) = Claim::take() else { return DROP };
    claim.set_body(NetworkBody {
        address,
        port,
        protocol: headers.protocol.into(),
        name_len: 0,
        family: 0,
        socket_type: 0,
    });
    claim.dialogue().question.asker = connection.asker;
    let length = packet.opening(&segment, &mut claim);
    server::judge(&mut claim, subject, length, connection.opened);
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
    connection.state = connection_state::CHECKED;
    PASS
}

/// `void inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: a connection is over where its
/// socket is closed to the kernel, which can be some time after the program closed it.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    if context.arg::<i32>(2) != TCP_CLOSE {
        return 0;
    }
    let Some(connection) = connection::at(Sock::new(context.arg(0))) else { return 0 };
    if connection.opened == 0 {
        return 0;
    }
    // The agent's place may be another one's by now.
    if table::slot_of(connection.cgroup) == Some(connection.slot) {
        if connection.destination.port != 0 {
            let subject = Subject::of_slot(connection.cgroup, connection.slot);
            record(&subject, connection);
        }
        connection::count_closed(connection.slot);
    }
    connection.opened = 0;
    0
}

/// Records the end of a connection, by the rule that let it begin.
#[inline(always)]
fn record(subject: &Subject, connection: &Connection) {
    let Some(mut claim) = Claim::take() else {
        table::count(Counter::LostNetwork);
        return;
    };
    let bytes = connection::tell(&mut claim, connection);
    let (image, generation) = (connection.destination.image, connection.destination.generation);
    let subject = Subject { image, generation, ..*subject };
    let decision = Decision::allow(connection.destination.rule, reason::RULE, true);
    conclude::record_packet(&mut claim, &subject, &decision, (kind::NETWORK, op::CLOSE), size_of::<NetworkBody>(), bytes);
    claim.release();
}
