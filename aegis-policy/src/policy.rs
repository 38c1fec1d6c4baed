//! A policy: a manifest that was understood and found good.
//!
//! Knows: what is allowed, denied and limited, by host path and address. Must not know: how that was
//! written (`manifest`), what the host's names stand for (`resolve`), nor what the kernel's maps
//! look like (`compile`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use aegis_common::net::server_check;

use crate::glob::{self, Pattern};
use crate::path::{AbsPath, PathError};

/// All that holds for one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name of the agent: letters, digits, `.`, `_` and `-`, at most 63.
    pub name: String,
    /// What runs it; told to readers, not enforced.
    pub runtime: Option<String>,
    /// Labels; told to readers.
    pub labels: BTreeMap<String, String>,
    /// Deny, or only record.
    pub mode: Mode,
    /// What holds where no rule speaks.
    pub default: Default,
    /// Which of the shipped rule sets was added.
    pub baseline: Baseline,
    /// All rules, the manifest's first, in file order, then the built-in ones and the baseline's.
    pub rules: Vec<Rule>,
    /// Whether programs without a name (memfd, deleted files) may run.
    pub anonymous_exec: bool,
    /// Whether memory may be written and run as code; each process that does is recorded.
    pub write_execute: bool,
    /// Whether set-uid programs and file capabilities give nothing, for root too.
    pub no_new_privileges: bool,
    /// Bounds on resources.
    pub limits: Limits,
    /// What the kill switch does behind the kernel flag.
    pub kill: KillAction,
    /// Whether what is allowed and to be recorded is refused while there is no room for the record.
    pub record_or_deny: bool,
    /// How names become addresses.
    pub dns: Dns,
    /// What becomes of connections to names that do not name a server that fits.
    pub sni: ServerCheck,
}

/// How names become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers that may be asked. Empty in a manifest that leaves them to the host's `resolv.conf`.
    pub resolvers: Vec<IpAddr>,
    /// Seconds that an answer holds at least.
    pub least_ttl: u32,
    /// Seconds that an answer holds at most.
    pub most_ttl: u32,
    /// Whether answers may hold addresses that are not public.
    pub private_answers: bool,
}

impl Dns {
    /// Seconds that an answer holds at least, where the manifest says nothing: programs keep addresses about as long
    /// (curl a minute, Java half of one), also where a name server says that they hold for none.
    pub const LEAST_TTL: u32 = 60;
    /// Seconds that an answer holds at most, where the manifest says nothing.
    pub const MOST_TTL: u32 = 3600;
}

impl std::default::Default for Dns {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            least_ttl: Self::LEAST_TTL,
            most_ttl: Self::MOST_TTL,
            private_answers: false,
        }
    }
}

/// Whether verdicts are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is denied fails.
    Enforce,
    /// What would be denied is recorded and goes on.
    Audit,
}

/// What holds where no rule speaks, for files, programs and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Denied.
    Deny,
    /// Allowed.
    Allow,
}

/// The shipped rule sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// No rules but the built-in ones.
    None,
    /// The system's own programs and files.
    Linux,
}

/// What the kill switch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillAction {
    /// Freeze the agent's tasks; they can be looked at and thawed.
    Freeze,
    /// End them.
    Kill,
}

/// Bounds on resources, as cgroup v2 and the agent's timer enforce them.
#[derive(Clone, Copy, Debug, std::default::Default, PartialEq, Eq)]
pub struct Limits {
    /// Most memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Most CPU time, in thousandths of one CPU.
    pub cpu_millis: Option<u32>,
    /// Most tasks at one time.
    pub pids: Option<u32>,
    /// Most bytes that leave over the network.
    pub bytes_out: Option<u64>,
    /// Longest run.
    pub execution_time: Option<Duration>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable, unique in the policy: given in the manifest or made from the rule's content.
    pub id: String,
    /// Where it was written.
    pub origin: Origin,
    /// The rule as a person would write it.
    pub text: String,
    /// Whether operations that it allows are recorded.
    pub record: bool,
    /// What it says.
    pub effect: Effect,
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a manifest.
    Manifest {
        /// File as it was named to `check`.
        file: Arc<str>,
        /// Line, from 1.
        line: u32,
    },
    /// A shipped rule set.
    Baseline(&'static str),
    /// Holds for every agent, whatever its manifest says.
    BuiltIn,
    /// Added by the daemon for one run (its TMPDIR, its terminal).
    Runtime,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest { file, line } => {
                write!(f, "{}:{line}", crate::diagnostic::escape(file))
            }
            Self::Baseline(name) => write!(f, "baseline:{name}"),
            Self::BuiltIn => f.write_str("built-in"),
            Self::Runtime => f.write_str("runtime"),
        }
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// About a path and all below it.
    Path(PathEffect),
    /// About addresses.
    Network(NetworkEffect),
    /// Allows a name, and the addresses that answer to it.
    Name(NameEffect),
    /// Listening at an address.
    Listen(ListenEffect),
    /// Bans a system call.
    Syscall(SyscallEffect),
    /// Denies programs whose environment has a variable that begins so: `LD_`, or `LD_PRELOAD=` for the one
    /// of that name.
    Variable(String),
    /// Takes capabilities away: bit n stands for capability n.
    Capabilities(u64),
}

/// A banned system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallEffect {
    /// Its name.
    pub name: String,
    /// Its numbers, see [`crate::syscall::numbers`].
    pub numbers: Vec<u32>,
}

/// A rule about a path and all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEffect {
    /// The host path or glob, as a glob.
    pub written: Vec<u8>,
    /// What it stands for (links in their prefixes are followed by `resolve`).
    pub patterns: Vec<Pattern>,
    /// `perm::*` granted.
    pub allow: u8,
    /// `perm::*` denied.
    pub deny: u8,
    /// Whether the content of programs at or below the path is banned too, under every name.
    pub ban_content: bool,
    /// What else must be so.
    pub condition: Condition,
}

/// What else must be so for a rule about programs to hold.
#[derive(Clone, Debug, std::default::Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// Of a deny: these arguments occur, whole and in this order, behind the program's name.
    Arguments(Vec<String>),
    /// Of an allow: the program has this SHA-256. With another one it does not run from the path, whatever
    /// other rules allow.
    Content([u8; 32]),
}

impl PathEffect {
    /// Permissions at one path and below it.
    #[must_use]
    pub fn at(path: AbsPath, allow: u8, deny: u8) -> Self {
        Self {
            written: glob::quoted(&path),
            patterns: vec![Pattern::plain(path)],
            allow,
            deny,
            ban_content: false,
            condition: Condition::None,
        }
    }
}

impl Effect {
    /// The program that the rule is for, where it is for one alone.
    #[must_use]
    pub const fn exe(&self) -> Option<&AbsPath> {
        match self {
            Self::Network(effect) => effect.exe.as_ref(),
            Self::Name(effect) => effect.exe.as_ref(),
            _ => None,
        }
    }
}

/// A rule about addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEffect {
    /// Allow or deny.
    pub allow: bool,
    /// Destination addresses.
    pub net: Cidr,
    /// Destination ports; empty means every port.
    pub ports: Vec<PortRange>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The program that the rule is for, or what is below a directory; every program without it.
    pub exe: Option<AbsPath>,
}

/// A rule about listening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenEffect {
    /// Addresses: `::` stands for every one of both families.
    pub nets: Vec<Cidr>,
    /// Ports.
    pub ports: PortRange,
}

/// A rule about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEffect {
    /// The name.
    pub name: HostName,
    /// Destination ports.
    pub ports: Vec<PortRange>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// What becomes of connections that do not name a server that fits, on any of the ports. None: as the policy says, on
    /// the ports of the web.
    pub sni: Option<ServerCheck>,
    /// As [`NetworkEffect::exe`].
    pub exe: Option<AbsPath>,
}

/// What becomes of a connection that does not name a server by which its address may be reached, in its first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerCheck {
    /// They are not looked at.
    Off,
    /// What it says is recorded.
    Record,
    /// It is refused.
    #[default]
    Enforce,
}

impl ServerCheck {
    /// As a person writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Record => "record",
            Self::Enforce => "enforce",
        }
    }

    /// As the kernel has it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Off => server_check::OFF,
            Self::Record => server_check::RECORD,
            Self::Enforce => server_check::ENFORCE,
        }
    }
}

/// A host name in small letters, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName {
    /// Names below it, one label or more; never itself.
    pub below: bool,
    /// Its labels as they are written, the root's left out.
    pub labels: Vec<String>,
}

impl HostName {
    /// Whether all names that `other` stands for are among those that this one does.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let longer = other.labels.len() > self.labels.len();
        let ends = other.labels.ends_with(&self.labels);
        if self.below { ends && (longer || other.below) } else { self == other }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.below { "*." } else { "" };
        write!(f, "{below}{}", self.labels.join("."))
    }
}

/// An address prefix without host bits. IPv4 and IPv6 are apart: `::/0` holds no IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// Why an address and a length are no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Longer than the address.
    #[error("the prefix length is above {0}")]
    Length(u8),
    /// Bits below the prefix are set; the network that was meant.
    #[error("the address has host bits; the network is {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// Makes a prefix.
    ///
    /// # Errors
    /// A length above the address's, or bits set below the prefix.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, CidrError> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most {
            return Err(CidrError::Length(most));
        }
        let network = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        let cidr = Self {
            address: network,
            length,
        };
        if network == address {
            Ok(cidr)
        } else {
            Err(CidrError::HostBits(cidr))
        }
    }

    /// The network's address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Transport protocol of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Every protocol.
    Any,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The IP protocol number, 0 for any.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// As a manifest writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Why the daemon's own rule could not be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeRuleError {
    /// The path is not in normal form.
    #[error("runtime rule {id}: {source}; give an absolute path without `.`, `..` or `//`")]
    Path {
        /// Id of the rule.
        id: String,
        /// What is wrong.
        source: PathError,
    },
    /// The id is taken.
    #[error("runtime rule {id}: the policy has a rule of this id; choose another")]
    Duplicate {
        /// Id of the rule.
        id: String,
    },
}

impl Policy {
    /// Adds a rule that the daemon needs for one run: the agent's TMPDIR, its terminal, a state
    /// folder that is not in its usual place. `id` begins with `session:` or `runtime:`, which
    /// no manifest can give.
    ///
    /// # Errors
    /// The path is not in normal form, or the id is taken.
    pub fn add_runtime_rule(
        &mut self,
        id: &str,
        path: &[u8],
        allow: u8,
        deny: u8,
        record: bool,
    ) -> Result<(), RuntimeRuleError> {
        let path = AbsPath::parse(path).map_err(|source| RuntimeRuleError::Path {
            id: id.to_owned(),
            source,
        })?;
        if self.rules.iter().any(|r| r.id == id) {
            return Err(RuntimeRuleError::Duplicate { id: id.to_owned() });
        }
        let text = format!("runtime: {path}");
        self.rules.push(Rule {
            id: id.to_owned(),
            origin: Origin::Runtime,
            text,
            record,
            effect: Effect::Path(PathEffect::at(path, allow, deny)),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cidr, CidrError};

    #[test]
    fn host_bits_are_an_error_that_names_the_network() {
        let host = Cidr::new("10.1.2.3".parse().unwrap(), 8);
        assert_eq!(
            host,
            Err(CidrError::HostBits(
                Cidr::new("10.0.0.0".parse().unwrap(), 8).unwrap()
            ))
        );
        assert!(Cidr::new("0.0.0.0".parse().unwrap(), 0).is_ok());
        assert!(Cidr::new("::".parse().unwrap(), 0).is_ok());
        assert!(Cidr::new("10.1.2.3".parse().unwrap(), 32).is_ok());
        assert_eq!(
            Cidr::new("10.0.0.0".parse().unwrap(), 33),
            Err(CidrError::Length(32))
        );
        assert!(matches!(
            Cidr::new("fe80::1".parse().unwrap(), 10),
            Err(CidrError::HostBits(_))
        ));
    }
}
