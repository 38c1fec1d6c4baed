//! TCP connections of agents to addresses that they reach by a name: their first bytes name a server that the same rule
//! allows. What comes later is not looked at.
//!
//! A program of its own beside those of `packet`: in one, both would be more than the verifier is given.

use aegis_common::{
    counter::Counter,
    event::{NetworkBody, kind, op, verdict},
    net::connection_state,
    policy::image_flag,
};
use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

use crate::{
    conclude::{self, DROP, GIVE_UP, PASS},
    read::{kernel::boottime, packet::Packet, ring, scratch::Claim, server, table},
    subject::Subject,
};

/// A packet that leaves a socket: of a connection that the agent opened, the first one that carries something is looked at.
#[cgroup_skb(egress)]
pub fn connection_egress(context: SkBuffContext) -> i32 {
    let packet = Packet::new(context.skb.skb);
    let Some(subject) = Subject::of_packet(packet) else { return PASS };
    if !subject.has(image_flag::SERVER_NAMES) {
        return PASS;
    }
    let Some(headers) = packet.headers(true) else { return DROP };
    if !headers.is_tcp() {
        return PASS;
    }
    let (Some(segment), Some(socket)) = (packet.segment(&headers), packet.socket()) else { return DROP };
    if segment.opens {
        let Some(connection) = socket.keep_connection() else {
            table::count(Counter::ConnectionUnkept);
            return DROP;
        };
        connection.opened = boottime();
        connection.state = connection_state::FRESH;
        ring::note_asker(&mut connection.asker);
    }
    if segment.carried == 0 {
        return PASS;
    }
    // Without one the other side opened it.
    let Some(connection) = socket.connection() else { return PASS };
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
    server::judge(&mut claim, &subject, length, connection.opened);
    let decision = claim.decision();
    if conclude::is_recorded(&decision) {
        let bytes = server::tell(&mut claim);
        let what = (kind::NETWORK, op::OPENING);
        conclude::record_packet(&mut claim, &subject, &decision, what, size_of::<NetworkBody>(), bytes);
    }
    claim.release();
    if conclude::effective(&subject, &decision) == verdict::DENY {
        connection.state = connection_state::REFUSED;
        return GIVE_UP;
    }
    connection.state = connection_state::CHECKED;
    PASS
}
