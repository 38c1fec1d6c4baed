//! Links and renames: the two operations that give a file another name.
//!
//! Both names must be the agent's to change, and the new one may not grant more than the old one did. A
//! directory with a rule at or below it does not move at all, nor does another take its place:
//! rules are written for names. Both fail closed.

use aegis_common::{
    event::{FileBody, flag, kind, op, reason},
    path::{PathKey, perm},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal},
    file,
    judge::{self, Decision},
    read::{
        glob,
        kernel::Dentry,
        overlay,
        scratch::{Claim, Found},
        table,
        walk::walk,
    },
    subject::Subject,
};

/// The key under which an anchor of this name would stand.
#[inline(always)]
const fn key(subject: &Subject, found: &Found) -> PathKey {
    PathKey { image: subject.image, dev: found.dev, hash: found.hash }
}

/// Judges giving the file at `from` the name `to`.
#[inline(always)]
fn decide(from: Dentry, to: Dentry, operation: u8) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 {
        return file::blocked(&subject, operation);
    }
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    overlay::note_acting(&mut claim);
    walk(&mut claim, from, subject.image, subject.levels, perm::NAME, 0);
    claim.keep();
    let start = claim.found().end;
    walk(&mut claim, to, subject.image, subject.levels, perm::NAME, start);
    let (source, target) = (claim.kept(), claim.found());

    let below = claim.below() != 0;
    let mut decision = judge::name(&subject, &source, below);
    if !decision.deny {
        decision = judge::name(&subject, &target, below);
    }
    if !decision.deny {
        let more = if below {
            // What is allowed by the overlay's names was compared by them; a deny is not left behind.
            source.deny & !target.deny
        } else {
            judge::granted(&subject, &target) & !judge::granted(&subject, &source)
        };
        let moves_directory = operation == op::RENAME && (from.inode().is_directory() || to.inode().is_directory());
        // A symbolic link at a rule's own name would choose where the next load of the policy leads.
        let places_link = from.inode().is_symlink();
        let (at_source, at_target) = (key(&subject, &source), key(&subject, &target));
        if more != 0 {
            decision = Decision::refuse(reason::WOULD_GRANT_MORE);
        } else if (moves_directory && table::holds_rule(&at_source))
            || ((moves_directory || places_link) && table::holds_rule(&at_target))
            || (moves_directory && glob::change_below(&mut claim, subject.image, source.deny & !target.deny))
            || (places_link && glob::is_step(&mut claim, subject.image))
        {
            decision = Decision::refuse(reason::HOLDS_RULE);
        } else if let Some(other) =
            file::same_file(&subject, source.dev, from.inode(), perm::ALL & !perm::EXEC)
        {
            decision = other;
        } else if let Some(other) = file::same_file(&subject, target.dev, to.inode(), perm::NAME) {
            // The name that would go is another name of a denied file.
            decision = other;
        }
    }
    let mut result = 0;
    if conclude::is_recorded(&decision) {
        claim.set_body(FileBody {
            ino: from.inode().number(),
            dev: source.dev,
            target_dev: target.dev,
            path_len: source.end,
            target_len: target.end.wrapping_sub(source.end),
        });
        let flags = if source.cut | target.cut == 0 { 0 } else { flag::PATH_CUT };
        result = conclude::record_once(
            &mut claim,
            &subject,
            &decision,
            (kind::FILE, operation),
            Refusal::Access,
            flags,
            size_of::<FileBody>(),
            target.end,
        );
    }
    claim.release();
    if result == 0 {
        overlay::enter(to.superblock());
    }
    result
}

/// `int inode_link(struct dentry *old_dentry, struct inode *dir, struct dentry *new_dentry)`
#[lsm(hook = "inode_link")]
pub fn inode_link(context: LsmContext) -> i32 {
    decide(Dentry::new(context.arg(0)), Dentry::new(context.arg(2)), op::LINK)
}

/// `int inode_rename(struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir,
/// struct dentry *new_dentry)`: the kernel calls it once each way for an exchange.
#[lsm(hook = "inode_rename")]
pub fn inode_rename(context: LsmContext) -> i32 {
    decide(Dentry::new(context.arg(1)), Dentry::new(context.arg(3)), op::RENAME)
}
