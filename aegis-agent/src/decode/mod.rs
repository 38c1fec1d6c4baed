//! Bytes from the ring become a [`KernelEvent`], or are refused.
//!
//! Knows the ABI ([`aegis_common::event`]). Knows nothing of processes, policies or the log. Until this
//! function has checked them the bytes are an allegation: odd ones are an error, never a panic.

use aegis_common::{
    ABI_VERSION,
    event::{
        CgroupBody, ConnectionBody, DnsBody, EventHeader, ExecBody, ExitBody, FileBody, ForkBody, GuardBody, NetworkBody, UnixBody, kind, op, reason,
        verdict,
    },
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::record::{Detail, KernelEvent};

/// Why a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than it must be.
    #[error("the record ends early: {have} bytes of {need}")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes there must be.
        need: usize,
    },
    /// Written by kernel programs of another version.
    #[error("the record has ABI version {0}, this agent speaks {ABI_VERSION}: stop every aegisd and agent, then start one version")]
    Abi(u16),
    /// Not a kind this agent knows.
    #[error("the record has the unknown kind {0}")]
    Kind(u16),
    /// Not a verdict this agent knows.
    #[error("the record has the unknown verdict {0}")]
    Verdict(u8),
}

/// Decodes one record.
///
/// # Errors
/// [`DecodeError`]; the record counts as lost.
pub fn decode(record: &[u8]) -> Result<KernelEvent, DecodeError> {
    let (header, _) = take::<EventHeader>(record)?;
    if header.abi != ABI_VERSION {
        return Err(DecodeError::Abi(header.abi));
    }
    if !(verdict::ALLOW..=verdict::KILL).contains(&header.verdict) {
        return Err(DecodeError::Verdict(header.verdict));
    }
    let len = header.len as usize;
    let Some(record) = record.get(..len) else {
        return Err(DecodeError::Truncated { have: record.len(), need: len });
    };
    let (header, body) = take::<EventHeader>(record)?;
    Ok(KernelEvent { header, detail: detail(&header, body)? })
}

fn detail(header: &EventHeader, body: &[u8]) -> Result<Detail, DecodeError> {
    Ok(match header.kind {
        kind::EXEC => {
            let (b, rest) = take::<ExecBody>(body)?;
            let (path, rest) = split(rest, b.path_len)?;
            let (argv, _) = split(rest, b.argv_len)?;
            Detail::Exec { dev: b.dev, ino: b.ino, path: path.to_vec(), argv: arguments(argv), environment: b.environment }
        }
        kind::EXIT => Detail::Exit { status: take::<ExitBody>(body)?.0.status },
        kind::FORK => {
            let (b, _) = take::<ForkBody>(body)?;
            Detail::Fork { child_pid: b.child_pid, child_start: b.child_start }
        }
        kind::FILE => {
            let (b, rest) = take::<FileBody>(body)?;
            let (path, rest) = split(rest, b.path_len)?;
            let (behind, _) = split(rest, b.target_len)?;
            let none = &[][..];
            let (target, argv, variable) = match (header.op, header.reason) {
                (op::EXEC, reason::ENVIRONMENT) => (none, none, behind),
                (op::EXEC, _) => (none, behind, none),
                _ => (behind, none, none),
            };
            Detail::File {
                dev: b.dev,
                ino: b.ino,
                path: path.to_vec(),
                target_dev: b.target_dev,
                target: target.to_vec(),
                argv: arguments(argv),
                variable: variable.to_vec(),
            }
        }
        kind::NETWORK => {
            let (b, rest) = take::<NetworkBody>(body)?;
            let (connection, rest) = match header.op {
                op::ACCEPT | op::CLOSE => take::<ConnectionBody>(rest).map(|(connection, rest)| (Some(connection), rest))?,
                _ => (None, rest),
            };
            Detail::Network {
                address: b.address,
                port: b.port,
                family: b.family,
                protocol: b.protocol,
                socket_type: b.socket_type,
                name: split(rest, b.name_len.into())?.0.to_vec(),
                connection,
            }
        }
        kind::DNS => {
            let (b, rest) = take::<DnsBody>(body)?;
            let (name, rest) = split(rest, b.name_len.into())?;
            let (addresses, _) = split(rest, u32::from(b.addresses) * 16)?;
            let (addresses, _) = addresses.as_chunks::<16>();
            Detail::Dns { resolver: b.resolver, kind: b.kind, name: name.to_vec(), addresses: addresses.to_vec(), taken_us: b.taken }
        }
        kind::UNIX => {
            let (b, rest) = take::<UnixBody>(body)?;
            Detail::Unix { dev: b.dev, path: split(rest, b.path_len)?.0.to_vec() }
        }
        kind::GUARD => {
            let (b, _) = take::<GuardBody>(body)?;
            Detail::Guard { subject: b.subject, detail: b.detail }
        }
        kind::CGROUP => {
            let (b, _) = take::<CgroupBody>(body)?;
            Detail::Cgroup { id: b.id, parent: b.parent }
        }
        other => return Err(DecodeError::Kind(other)),
    })
}

fn take<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes)
        .map_err(|_| DecodeError::Truncated { have: bytes.len(), need: size_of::<T>() })
}

fn split(bytes: &[u8], len: u32) -> Result<(&[u8], &[u8]), DecodeError> {
    bytes
        .split_at_checked(len as usize)
        .ok_or(DecodeError::Truncated { have: bytes.len(), need: len as usize })
}

/// Arguments, each ended by NUL; a last one that was cut has none.
fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|&b| b == 0).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests;
