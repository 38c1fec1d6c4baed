//! Waiting until no hook still reads what is about to be removed.
//!
//! A hook takes its image once and then looks up rule after rule. Were the rules of an image removed
//! under it, a deny would be missing in the middle of a decision.

use super::KernelError;

/// Returns once every hook that was running has ended. Hooks run as RCU readers, and
/// `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for a grace period of exactly those.
pub fn wait_for_hooks() -> Result<(), KernelError> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(KernelError::Quiesce(std::io::Error::last_os_error())) }
}
