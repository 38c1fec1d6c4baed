//! System calls that the policy bans, refused at their entry.
//!
//! libseccomp builds the filter, for all three entries of an x86-64 kernel. What it refuses is logged by
//! the kernel (`SECCOMP_FILTER_FLAG_LOG`), which is where our programs see it.

use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall, error::SeccompError};
use nix::errno::Errno;

use crate::{cli::failure::Failure, escape};

/// Installs a filter over this process and all it becomes; none where nothing is banned. With
/// `record_only` the calls are logged and go on.
///
/// # Errors
/// A call that this host's libseccomp does not know, or a kernel that takes no filter from us: then
/// nothing may run.
pub fn install(calls: &[String], record_only: bool) -> Result<(), Failure> {
    if calls.is_empty() {
        return Ok(());
    }
    let action = if record_only { ScmpAction::Log } else { ScmpAction::Errno(Errno::EPERM as i32) };
    filter(calls, action)?.load().map_err(|error| failed("the kernel takes no seccomp filter", &error))
}

fn filter(calls: &[String], action: ScmpAction) -> Result<ScmpFilterContext, Failure> {
    let made = || -> Result<ScmpFilterContext, SeccompError> {
        let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
        filter.add_arch(ScmpArch::X86)?;
        filter.add_arch(ScmpArch::X32)?;
        filter.set_ctl_log(true)?;
        // Whether privileges may grow is another question, answered elsewhere.
        filter.set_ctl_nnp(false)?;
        Ok(filter)
    };
    let mut filter = made().map_err(|error| failed("no seccomp filter can be made", &error))?;
    for call in calls {
        let known = ScmpSyscall::from_name(call);
        let known = known.map_err(|_| {
            Failure::Unable(format!(
                "the policy bans {}, which the libseccomp of this host does not know: take a newer libseccomp, or the call out of `syscalls.deny`",
                escape::text(call)
            ))
        })?;
        filter.add_rule(action, known).map_err(|error| failed(&format!("{} cannot be banned", escape::text(call)), &error))?;
    }
    Ok(filter)
}

fn failed(what: &str, error: &SeccompError) -> Failure {
    Failure::Broken(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_a_manifest_may_ban_is_known_or_refused_by_name() {
        let calls = ["mount", "ptrace", "bpf", "setns", "unshare", "io_uring_setup", "keyctl", "socketcall", "umount"];
        let calls = calls.map(str::to_owned);
        assert!(filter(&calls, ScmpAction::Errno(1)).is_ok());
        let Err(Failure::Unable(text)) = filter(&["no_such_call".to_owned()], ScmpAction::Log) else {
            panic!("an unknown call was taken");
        };
        assert!(text.contains("no_such_call") && text.contains("syscalls.deny"), "{text}");
    }
}
