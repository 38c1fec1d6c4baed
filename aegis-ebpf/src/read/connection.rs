//! What is kept of connections and counted of agents' traffic.

use core::{ffi::c_void, ptr};

use aegis_common::{
    counter::Counter,
    event::{ConnectionBody, NetworkBody},
    limits::ENDS_A_SECOND,
    net::{Actor, AgentTraffic, Connection, Traffic, connection_state, view},
    policy::image_flag,
};
use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::{bpf_probe_read_kernel, bpf_sk_storage_get},
};

use super::{
    fetch_add,
    kernel::{Sock, Task, boottime},
    names::same,
    packet::PacketSocket,
    ring, running,
    scratch::Claim,
    table,
};
use crate::{
    maps::{CONNECTIONS, TRAFFIC},
    subject::Subject,
};

const TCP: u16 = 6;
/// Of a record's bytes, where the name of a connection lies.
const HOW: usize = size_of::<ConnectionBody>();

/// What is kept with a socket. None without, or, if it is to be made, where there is no memory for it.
#[inline(always)]
fn kept(socket: *mut c_void, flags: u64) -> Option<&'static mut Connection> {
    // SAFETY: the helper takes any socket. What it answers lives until the program ends, and of two packets of one socket
    // that run at once either may have the last word.
    unsafe {
        let map = (&raw const CONNECTIONS).cast_mut().cast();
        bpf_sk_storage_get(map, socket, ptr::null_mut(), flags).cast::<Connection>().as_mut()
    }
}

/// The connection that a packet's socket opened, if it did.
#[inline(always)]
pub fn of(socket: PacketSocket) -> Option<&'static mut Connection> {
    kept(socket.as_ptr().cast(), 0)
}

/// The same of a socket.
#[inline(always)]
pub fn at(sock: Sock) -> Option<&'static mut Connection> {
    kept(sock.as_ptr().cast_mut().cast(), 0)
}

/// Notes where a socket is let connect to, by the record in the slot. One that is connected already stays so, whatever its
/// program asks for. False where that can't be noted.
#[inline(always)]
pub fn note_destination(sock: Sock, claim: &mut Claim, subject: &Subject) -> bool {
    let body = claim.network_body();
    if body.protocol != TCP {
        return true;
    }
    let Some(connection) = kept(sock.as_ptr().cast_mut().cast(), BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        table::count(Counter::ConnectionUnkept);
        return false;
    };
    if connection.opened != 0 {
        return true;
    }
    let view = view::number(claim.dialogue().image);
    let header = claim.header();
    let destination = &mut connection.destination;
    // Whoever connects to no address is led to the host itself.
    let nowhere = same(&body.address, &table::mapped([0; 4]));
    destination.address = if nowhere { table::mapped([127, 0, 0, 1]) } else { body.address };
    destination.port = body.port;
    destination.name_len = body.name_len;
    destination.rule = header.rule;
    destination.image = header.image;
    destination.programs = running::meaning(subject.image);
    destination.view = view;
    destination.generation = header.generation;
    if body.name_len != 0 {
        // SAFETY: the record's bytes are more than a name's.
        unsafe {
            let (to, from) = ((&raw mut destination.name).cast(), claim.bytes().cast_const().cast());
            bpf_probe_read_kernel(to, destination.name.len() as u32, from);
        }
    }
    true
}

/// A connection begins with the packet that asks for it; the same packet may leave more than once. False where there is no
/// memory to keep it in.
#[inline(always)]
pub fn begin(socket: PacketSocket, subject: &Subject) -> bool {
    let Some(connection) = kept(socket.as_ptr().cast(), BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        table::count(Counter::ConnectionUnkept);
        return false;
    };
    connection.state = if subject.has(image_flag::SERVER_NAMES) { connection_state::FRESH } else { looked_at(subject) };
    if connection.opened != 0 {
        return true;
    }
    is_open(connection, subject);
    connection.inbound = 0;
    connection.local_port = socket.port();
    ring::note_asker(&mut connection.asker);
    let (address, port) = socket.peer();
    let destination = &mut connection.destination;
    if destination.port != port || !same(&destination.address, &address) {
        destination.port = 0;
    }
    true
}

/// Notes that a connection of an agent is open from now on.
#[inline(always)]
fn is_open(connection: &mut Connection, subject: &Subject) {
    connection.opened = boottime();
    connection.slot = subject.slot;
    connection.cgroup = subject.cgroup;
    connection.passed = Traffic::default();
    if let Some(agent) = traffic_of(subject.slot) {
        // SAFETY: a live map value.
        unsafe { fetch_add(&raw mut (*agent).open, 1) };
    }
}

/// Keeps a connection that the other side has opened, by the rule for listening where its decisions are recorded. Who takes it
/// is not known yet.
#[inline(always)]
pub fn arrived(sock: Sock, subject: &Subject, rule: Option<u32>) {
    let Some(connection) = kept(sock.as_ptr().cast_mut().cast(), BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        table::count(Counter::ConnectionUnkept);
        return;
    };
    // Both sides can ask at once; then the agent did.
    if connection.opened != 0 {
        return;
    }
    is_open(connection, subject);
    connection.state = looked_at(subject);
    connection.inbound = 1;
    connection.local_port = sock.port();
    connection.asker = Actor::default();
    let destination = &mut connection.destination;
    destination.name_len = 0;
    destination.rule = rule.unwrap_or_default();
    destination.image = subject.image;
    destination.generation = subject.generation;
    destination.port = 0;
    if let (Some(address), true) = (sock.peer_address(), rule.is_some()) {
        destination.address = address;
        destination.port = sock.peer_port();
    }
}

/// The image that rules about a connection are looked up in: as the program sees it that opened the connection.
#[inline(always)]
pub fn image(connection: &Connection, subject: &Subject) -> u32 {
    let of = &connection.destination;
    if of.port != 0 && of.programs == running::meaning(subject.image) { view::of(subject.image, of.view) } else { subject.image }
}

/// The state of a connection whose beginning was looked at, or need not be.
#[inline(always)]
pub fn looked_at(subject: &Subject) -> u32 {
    if subject.has(image_flag::BYTES_OUT) { connection_state::COUNTED } else { connection_state::CHECKED }
}

/// Keeps a connection that the other side opened and of which nothing is known, as it was open before the agent was governed:
/// what the agent has to send over it may outlive it. False where there is no memory to keep it in.
#[inline(always)]
pub fn keep_incoming(socket: PacketSocket, subject: &Subject) -> bool {
    let Some(connection) = kept(socket.as_ptr().cast(), BPF_SK_STORAGE_GET_F_CREATE.into()) else {
        table::count(Counter::ConnectionUnkept);
        return false;
    };
    connection.cgroup = subject.cgroup;
    connection.state = looked_at(subject);
    true
}

/// Counts that a connection of an agent is over.
#[inline(always)]
pub fn count_closed(slot: u32) {
    if let Some(agent) = traffic_of(slot) {
        // SAFETY: a live map value.
        unsafe {
            // Where the agent was brought into force anew, it is not counted.
            if (&raw const (*agent).open).read_volatile() != 0 {
                fetch_add(&raw mut (*agent).open, 1u64.wrapping_neg());
            }
        }
    }
}

/// Whether the end of another connection of an agent, or the beginning of one that others opened, is recorded: a loop of
/// connections does not fill the log. Two at once, on two processors, when a second begins can be recorded beyond the bound.
#[inline(always)]
pub fn is_told(slot: u32) -> bool {
    let Some(agent) = traffic_of(slot) else { return true };
    let now = boottime() / 1_000_000_000;
    // SAFETY: a live map value; each field is read and written whole.
    unsafe {
        if (&raw const (*agent).second).read_volatile() != now {
            (&raw mut (*agent).second).write_volatile(now);
            (&raw mut (*agent).ended).write_volatile(0);
        }
        if fetch_add(&raw mut (*agent).ended, 1) < ENDS_A_SECOND {
            return true;
        }
        fetch_add(&raw mut (*agent).untold, 1);
    }
    false
}

/// Puts the record of a connection into the slot. Returns how many bytes are behind its body.
#[inline(always)]
pub fn tell(claim: &mut Claim, connection: &Connection) -> u32 {
    let destination = &connection.destination;
    claim.set_body(NetworkBody {
        address: destination.address,
        port: destination.port,
        protocol: TCP,
        name_len: destination.name_len,
        family: 0,
        socket_type: 0,
    });
    claim.dialogue().question.asker = connection.asker;
    let bytes = claim.bytes();
    // SAFETY: the record's bytes are aligned to eight, and more than these and a name.
    unsafe {
        bytes.cast::<ConnectionBody>().write(ConnectionBody {
            opened: connection.opened,
            passed: connection.passed,
            local_port: connection.local_port,
            inbound: connection.inbound,
            reserved: 0,
        });
        let name = &destination.name;
        bpf_probe_read_kernel(bytes.add(HOW).cast(), name.len() as u32, name.as_ptr().cast());
    }
    HOW as u32 + (u32::from(destination.name_len) & 0xff)
}

/// What went over the sockets of an agent.
#[inline(always)]
fn traffic_of(slot: u32) -> Option<*mut AgentTraffic> {
    TRAFFIC.get_ptr_mut(slot)
}

/// Whether an agent has sent all that it may.
#[inline(always)]
pub fn is_spent(slot: u32) -> bool {
    // SAFETY: a live map value; read anew each time.
    traffic_of(slot).is_none_or(|agent| unsafe { (&raw const (*agent).refused).read_volatile() } != 0)
}

/// Bytes that an image lets leave.
#[inline(always)]
fn most(image: u32) -> u64 {
    table::image(image).map_or(0, |image| image.most_bytes_out)
}

/// What becomes of a packet by the bytes that its agent may send. In audit mode what is refused leaves, and is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It may leave, and is counted.
    Free,
    /// It is one too many, the first that is.
    FirstRefused,
    /// So are all after it.
    Refused,
}

/// Counts a packet that is to leave, if it may.
#[inline(always)]
pub fn leaves(subject: &Subject, socket: PacketSocket, length: u32) -> Passage {
    let length = u64::from(length);
    let Some(agent) = traffic_of(subject.slot) else { return Passage::Refused };
    // SAFETY: a live map value, here and below.
    let passed = unsafe { &raw mut (*agent).passed };
    let before = unsafe { fetch_add(&raw mut (*passed).bytes_out, length) };
    let mut passage = Passage::Free;
    if subject.has(image_flag::BYTES_OUT) && (is_spent(subject.slot) || before.wrapping_add(length) > most(subject.image)) {
        passage = match unsafe { fetch_add(&raw mut (*agent).refused, 1) } {
            0 => Passage::FirstRefused,
            _ => Passage::Refused,
        };
        if !subject.has(image_flag::AUDIT) {
            unsafe { fetch_add(&raw mut (*passed).bytes_out, length.wrapping_neg()) };
            return passage;
        }
        if passage == Passage::Refused {
            passage = Passage::Free;
        }
    }
    unsafe { fetch_add(&raw mut (*passed).packets_out, 1) };
    if let Some(connection) = of(socket) {
        count_out(&mut connection.passed, length);
    }
    passage
}

/// Counts a packet of a connection that leaves. False where there is nowhere to count it.
#[inline(always)]
pub fn passes(connection: &mut Connection, length: u32) -> bool {
    let Some(agent) = traffic_of(connection.slot) else { return false };
    // SAFETY: a live map value.
    unsafe { count_out(&raw mut (*agent).passed, length.into()) };
    count_out(&mut connection.passed, length.into());
    true
}

/// Adds one packet that leaves.
#[inline(always)]
fn count_out(passed: *mut Traffic, length: u64) {
    // SAFETY: part of a live map value.
    unsafe {
        fetch_add(&raw mut (*passed).bytes_out, length);
        fetch_add(&raw mut (*passed).packets_out, 1);
    }
}

/// Takes back what was counted of a packet that does not leave.
#[inline(always)]
pub fn stays(subject: &Subject, socket: PacketSocket, length: u32) {
    let less = u64::from(length).wrapping_neg();
    if let Some(agent) = traffic_of(subject.slot) {
        // SAFETY: a live map value.
        unsafe {
            fetch_add(&raw mut (*agent).passed.bytes_out, less);
            fetch_add(&raw mut (*agent).passed.packets_out, 1u64.wrapping_neg());
        }
    }
    if let Some(connection) = of(socket) {
        // SAFETY: a live map value.
        unsafe {
            fetch_add(&raw mut connection.passed.bytes_out, less);
            fetch_add(&raw mut connection.passed.packets_out, 1u64.wrapping_neg());
        }
    }
}

/// Puts who sends a packet into the slot: who opened its connection, or else the current task where it is of the agent.
#[inline(always)]
pub fn note_sender(claim: &mut Claim, socket: PacketSocket, subject: &Subject) {
    let asker = &mut claim.dialogue().question.asker;
    if let Some(connection) = of(socket) {
        *asker = connection.asker;
    } else if Task::current().cgroup_id().and_then(table::slot_of) == Some(subject.slot) {
        ring::note_asker(asker);
    } else {
        *asker = Actor::default();
    }
}

/// Counts a packet that comes in.
#[inline(always)]
pub fn arrives(subject: &Subject, socket: Option<PacketSocket>, length: u32) {
    let length = u64::from(length);
    if let Some(agent) = traffic_of(subject.slot) {
        // SAFETY: a live map value.
        unsafe {
            fetch_add(&raw mut (*agent).passed.bytes_in, length);
            fetch_add(&raw mut (*agent).passed.packets_in, 1);
        }
    }
    let Some(connection) = socket.and_then(of) else { return };
    // SAFETY: a live map value.
    unsafe {
        fetch_add(&raw mut connection.passed.bytes_in, length);
        fetch_add(&raw mut connection.passed.packets_in, 1);
    }
}
