//! Unix sockets, judged where the kernel has found the peer. Both fail closed.
//!
//! A socket of the same agent may always be talked to. One bound to a file needs permission to
//! write to that file. One with an abstract name belongs to somebody else and is refused: abstract
//! names have no owner that a rule could name.

use aegis_common::{
    event::{UnixBody, kind, op, reason},
    path::perm,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal},
    file, guarded,
    judge::{self, Decision},
    read::{
        kernel::{Sock, Socket},
        scratch::Claim,
        table,
        walk::walk,
    },
    subject::Subject,
};

#[inline(always)]
fn decide(other: Sock, operation: u8) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 {
        return guarded::blocked(&subject, operation);
    }
    let own = other
        .cgroup_id()
        .and_then(table::slot_of)
        .is_some_and(|slot| slot == subject.slot);
    if own {
        return 0;
    }
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let result = decide_in(&mut claim, &subject, other, operation);
    claim.release();
    result
}

#[inline(always)]
fn decide_in(claim: &mut Claim, subject: &Subject, other: Sock, operation: u8) -> i32 {
    let unix = other.unix();
    if unix.is_null() {
        return conclude::refuse(Refusal::Permission);
    }
    let dentry = unix.dentry();
    let (decision, dev, length) = if dentry.is_null() {
        let length = unix.name(claim);
        // An unnamed peer is the other end of a socketpair: it was passed in with the descriptor.
        let decision = if length == 0 {
            Decision::allow(0, reason::DEFAULT, false)
        } else {
            Decision::refuse(reason::OUTSIDE)
        };
        (decision, 0, length)
    } else {
        walk(claim, dentry, subject.image, subject.levels, perm::WRITE, 0);
        let found = claim.found();
        (judge::path(subject, &found), found.dev, found.end)
    };
    if !conclude::is_recorded(&decision) {
        return 0;
    }
    claim.set_body(UnixBody { dev, path_len: length, reserved: [0; 2] });
    conclude::record_once(
        claim,
        subject,
        &decision,
        (kind::UNIX, operation),
        Refusal::Permission,
        0,
        size_of::<UnixBody>(),
        length,
    )
}

/// `int unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)`
#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(context: LsmContext) -> i32 {
    decide(Sock::new(context.arg(1)), op::CONNECT)
}

/// `int unix_may_send(struct socket *sock, struct socket *other)`
#[lsm(hook = "unix_may_send")]
pub fn unix_may_send(context: LsmContext) -> i32 {
    let other = Socket::new(context.arg(1)).sock();
    if other.is_null() {
        return conclude::refuse(Refusal::Permission);
    }
    decide(other, op::SEND)
}
