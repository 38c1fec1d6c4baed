//! Packets of agents. Between them and their resolvers: a question goes out where a rule allows the name, and the addresses
//! of its answer are known before the program reads it. None goes another way than its address says.
//!
//! The socket decides, by the cgroup in which it was made: the hooks on sockets let an agent send to a resolver from its own
//! ones alone, and note which ones do. Their packets are questions, wherever NAT sends them. A question that can't be judged
//! does not leave, and an answer that can't be read does not arrive.

use aegis_common::{
    counter::Counter,
    dns,
    event::{DnsBody, kind, op, reason, verdict},
    net::Question,
    policy::image_flag,
};
use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

use crate::{
    conclude::{self, DROP, PASS, Refusal},
    guarded::{self, Guarded},
    judge::{self, Decision},
    read::{
        connection, names,
        packet::{Headers, Packet},
        ring,
        scratch::Claim,
        table,
    },
    subject::Subject,
};

/// Drops what there is no room to judge.
#[inline(always)]
fn no_room() -> i32 {
    table::count(Counter::LostNetwork);
    table::count(Counter::LostDenial);
    DROP
}

/// What no packet of an agent may be: one that goes another way, or comes from the port of resolvers, however it was come by.
#[inline(always)]
fn guard(headers: &Headers, own_port: u16) -> Option<(u8, u64)> {
    if headers.is_extended() {
        return Some((op::SOURCE_ROUTE, u64::from(headers.protocol)));
    }
    (headers.is_udp() && own_port == dns::PORT).then_some((op::BIND, u64::from(dns::PORT)))
}

/// A packet that leaves a socket.
#[cgroup_skb(egress)]
pub fn packet_egress(context: SkBuffContext) -> i32 {
    let packet = Packet::new(context.skb.skb);
    // `connection_egress` looks at it.
    if packet.is_plain_segment() {
        return PASS;
    }
    let Some(mut subject) = Subject::of_packet(packet) else { return PASS };
    let (Some(socket), Some(mut headers)) = (packet.socket(), packet.headers(true)) else { return no_room() };
    let port = socket.port();
    if let Some((op, what)) = guard(&headers, port) {
        let result = guarded::refuse(&subject, &Guarded {
            op,
            reason: reason::GUARD,
            subject: what,
            detail: 0,
            refusal: Refusal::Permission,
            silent: false,
        });
        return if result == 0 { PASS } else { DROP };
    }
    if !headers.is_udp() || !subject.has(image_flag::NAMES) {
        return PASS;
    }
    let Some(ports) = packet.ports(&headers) else { return no_room() };
    if ports.to != dns::PORT || !names::is_resolver(subject.image, &headers.peer) {
        let Some(asker) = socket.asker() else { return PASS };
        headers.peer = asker.resolver();
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    let mut length = packet.message(&headers, &mut claim, true);
    claim.hide_subject(&mut subject);
    names::hide(&mut claim, &mut headers.peer, &mut length);
    let decision = question(&mut claim, &subject, &headers, port, length);
    claim.decide(decision);
    let decision = claim.decision();
    let mut result = 0;
    if conclude::is_recorded(&decision) {
        let bytes = names::describe(&mut claim, &headers.peer, 0);
        result = conclude::record_once(
            &mut claim,
            &subject,
            &decision,
            (kind::DNS, op::QUESTION),
            Refusal::Permission,
            0,
            size_of::<DnsBody>(),
            bytes,
        );
    }
    claim.release();
    if result == 0 { PASS } else { DROP }
}

/// Judges the message in the slot, and notes it where it may go out.
#[inline(always)]
fn question(claim: &mut Claim, subject: &Subject, headers: &Headers, port: u16, length: u32) -> Decision {
    if !names::read_question(claim, subject, length, false) {
        return Decision::refuse(reason::MALFORMED);
    }
    let rule = names::rule_of_question(claim);
    let decision = judge::question(subject, rule);
    let Some(rule) = rule else { return decision };
    ring::note_asker(&mut claim.dialogue().question.asker);
    if !decision.deny && !names::note_question(claim, &headers.peer, port, rule.rule) {
        return Decision::refuse(reason::NO_ROOM);
    }
    decision
}

/// A packet that reaches a socket.
#[cgroup_skb(ingress)]
pub fn packet_ingress(context: SkBuffContext) -> i32 {
    let packet = Packet::new(context.skb.skb);
    let Some(subject) = Subject::of_packet(packet) else { return PASS };
    connection::arrives(&subject, packet.socket(), packet.length());
    if !subject.has(image_flag::NAMES) || packet.is_plain_segment() {
        return PASS;
    }
    let Some(headers) = packet.headers(false) else { return no_room() };
    if !headers.is_udp() || !names::is_resolver(subject.image, &headers.peer) {
        return PASS;
    }
    let Some(ports) = packet.ports(&headers) else { return no_room() };
    if ports.from != dns::PORT {
        return PASS;
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    let length = packet.message(&headers, &mut claim, false);
    let result = answer(&mut claim, &subject, &headers, ports.to, length);
    claim.release();
    result
}

/// Learns from the message in the slot, where it answers a question under way.
#[inline(always)]
fn answer(claim: &mut Claim, subject: &Subject, headers: &Headers, port: u16, length: u32) -> i32 {
    if !names::read_question(claim, subject, length, true) {
        // Whom it answers is not known.
        claim.dialogue().question = Question::default();
        return tell(claim, subject, headers, Decision::refuse(reason::MALFORMED), false);
    }
    // An answer that nobody waits for teaches nothing. The program may have it: it is no address.
    if !names::match_question(claim, &headers.peer, port) {
        return PASS;
    }
    let whole = names::learn(claim);
    let dialogue = claim.dialogue();
    let decision = if !whole {
        Decision::refuse(reason::MALFORMED)
    } else if dialogue.homeless != 0 {
        Decision::refuse(reason::NO_ROOM)
    } else if dialogue.private != 0 {
        Decision::refuse(reason::PRIVATE_ADDRESS)
    } else if dialogue.new != 0 {
        Decision::allow(dialogue.question.rule, reason::RULE, true)
    } else {
        // Known, or nothing that is learned from.
        return PASS;
    };
    tell(claim, subject, headers, decision, whole)
}

/// Records what was decided about an answer, and drops it if it is not whole.
#[inline(always)]
fn tell(claim: &mut Claim, subject: &Subject, headers: &Headers, decision: Decision, whole: bool) -> i32 {
    claim.decide(decision);
    let decision = claim.decision();
    let taken = names::taken(claim);
    let bytes = names::describe(claim, &headers.peer, taken);
    conclude::record_packet(claim, subject, &decision, (kind::DNS, op::ANSWER), size_of::<DnsBody>(), bytes);
    if whole || conclude::effective(subject, &decision) != verdict::DENY { PASS } else { DROP }
}
