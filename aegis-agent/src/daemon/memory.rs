//! The daemon's memory stays out of files: it holds what was not redacted yet.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::DaemonError;

/// From here on the kernel writes no core of this process, and none but root may look into it.
///
/// Two switches, as neither is enough: a limit of zero does not hold for cores that are piped to a program
/// (`kernel.core_pattern` that begins with `|`), and what may not be dumped could be made so again by a library.
///
/// # Errors
/// The kernel refused: the daemon does not start.
pub fn leave_no_core() -> Result<(), DaemonError> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(DaemonError::Core)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(DaemonError::Core)
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    use super::leave_no_core;

    #[test]
    fn neither_a_file_nor_a_pipe_gets_a_core() {
        leave_no_core().expect("switched off");
        assert_eq!(dumpable_behavior().expect("known"), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
