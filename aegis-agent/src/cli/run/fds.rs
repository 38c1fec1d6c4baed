//! Descriptors that the caller left open: the command gets none of them by chance.

use std::{io, path::PathBuf};

use crate::cli::failure::Failure;

/// Ranges of descriptors above 2 without those that are to stay, lowest first.
#[must_use]
pub fn gaps(keep: &[u16]) -> Vec<(u32, u32)> {
    let mut sorted: Vec<u32> = keep.iter().copied().map(u32::from).filter(|fd| *fd > 2).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges = Vec::with_capacity(sorted.len() + 1);
    let mut first = 3;
    for fd in sorted {
        if fd > first {
            ranges.push((first, fd - 1));
        }
        first = fd + 1;
    }
    ranges.push((first, u32::MAX));
    ranges
}

/// Has all descriptors above 2 but those closed by the next exec. An exec that fails finds them open.
///
/// # Errors
/// When the kernel cannot; then nothing may be executed.
pub fn close_on_exec_all_but(keep: &[u16]) -> io::Result<()> {
    gaps(keep).into_iter().try_for_each(close_on_exec)
}

/// Has all descriptors above 2 closed by the next exec. Allocates nothing: made for the moment
/// between fork and exec.
///
/// # Errors
/// As [`close_on_exec_all_but`].
pub fn close_on_exec_all() -> io::Result<()> {
    close_on_exec((3, u32::MAX))
}

fn close_on_exec((first, last): (u32, u32)) -> io::Result<()> {
    // SAFETY: touches no memory, and closes nothing that anybody owns: it sets a flag that exec
    // looks at. There is no safe wrapper for a range.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes sure that descriptors to be passed on are open. To be called before anything else is
/// opened, or a descriptor of our own would pass for one.
///
/// # Errors
/// Names the first that is not.
pub fn check_open(keep: &[u16]) -> Result<(), Failure> {
    for fd in keep {
        if std::fs::symlink_metadata(PathBuf::from(format!("/proc/self/fd/{fd}"))).is_err() {
            return Err(Failure::Usage(format!("--pass-fd {fd}: descriptor {fd} is not open (in a shell: {fd}<FILE)")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::gaps;

    #[test]
    fn everything_but_the_kept_is_closed() {
        assert_eq!(gaps(&[]), [(3, u32::MAX)]);
        assert_eq!(gaps(&[3]), [(4, u32::MAX)]);
        assert_eq!(gaps(&[9, 5, 5, 4]), [(3, 3), (6, 8), (10, u32::MAX)]);
        assert_eq!(gaps(&[u16::MAX]), [(3, 65_534), (65_536, u32::MAX)]);
    }
}
