//! Counters kept in the kernel: what was lost, and what failed where.

/// Index into the `COUNTERS` map. The agent reads all of them; one that grows becomes an audited
/// entry (losses) or a health finding (failures).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Counter {
    /// Records of process life lost: the ring was full.
    LostProcess = 0,
    /// Records of file operations lost.
    LostFile = 1,
    /// Records of network operations lost.
    LostNetwork = 2,
    /// Records of guards (signals, ptrace, mounts, ...) lost.
    LostGuard = 3,
    /// Denials lost, of any kind; counted in addition to the kind.
    LostDenial = 4,
    /// No scratch buffer was free: the operation was denied.
    ScratchBusy = 16,
    /// A path was deeper than [`crate::limits::MAX_DEPTH`]: denied.
    PathTooDeep = 17,
    /// A path changed while it was read: denied.
    PathChanged = 18,
    /// A path did not end at the root of its filesystem: denied.
    PathDisconnected = 19,
    /// A kernel read failed where it must not: denied.
    ReadFailed = 20,
    /// A cgroup pointed at a slot or an image that is not in use: denied.
    Unconfigured = 21,
    /// A child cgroup could not be entered into the map; the agent's kill flag was raised.
    InheritFailed = 22,
    /// A program's content could not be hashed: denied.
    HashFailed = 23,
    /// A question had no place among those that wait for their answer: refused.
    QuestionsFull = 24,
    /// An address that answered had no place among those that are known: not learned.
    AddressesFull = 25,
    /// A connection could not be kept in mind: refused.
    ConnectionUnkept = 26,
    /// Which program a process begins could not be found out or noted: rules for one program are not for it.
    ProgramUnnoted = 27,
    /// There was no room for the record of what a policy allows that wants all of it recorded: denied.
    Unrecorded = 28,
}

/// Length of the `COUNTERS` map.
pub const COUNTERS: u32 = 64;

impl Counter {
    /// All counters, in order.
    pub const ALL: [Self; 18] = [
        Self::LostProcess,
        Self::LostFile,
        Self::LostNetwork,
        Self::LostGuard,
        Self::LostDenial,
        Self::ScratchBusy,
        Self::PathTooDeep,
        Self::PathChanged,
        Self::PathDisconnected,
        Self::ReadFailed,
        Self::Unconfigured,
        Self::InheritFailed,
        Self::HashFailed,
        Self::QuestionsFull,
        Self::AddressesFull,
        Self::ConnectionUnkept,
        Self::ProgramUnnoted,
        Self::Unrecorded,
    ];

    /// Name in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LostProcess => "lost_process",
            Self::LostFile => "lost_file",
            Self::LostNetwork => "lost_network",
            Self::LostGuard => "lost_guard",
            Self::LostDenial => "lost_denial",
            Self::ScratchBusy => "scratch_busy",
            Self::PathTooDeep => "path_too_deep",
            Self::PathChanged => "path_changed",
            Self::PathDisconnected => "path_disconnected",
            Self::ReadFailed => "read_failed",
            Self::Unconfigured => "unconfigured",
            Self::InheritFailed => "inherit_failed",
            Self::HashFailed => "hash_failed",
            Self::QuestionsFull => "questions_full",
            Self::AddressesFull => "addresses_full",
            Self::ConnectionUnkept => "connection_unkept",
            Self::ProgramUnnoted => "program_unnoted",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// Whether the counter counts lost records (else failures that were denied).
    #[must_use]
    pub const fn is_loss(self) -> bool {
        (self as u32) < 16
    }
}
