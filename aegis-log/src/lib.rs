//! The audit log of Aegis: append-only, chained, signed, and checked by strangers.
//!
//! Entries go into segment files; each is chained to the one before and is a leaf of a Merkle tree whose
//! root is signed with every commit, in the formats of C2SP. `docs/audit-format.md` has every byte.
//!
//! - [`Writer`] appends and commits; [`Reader`] reads what is signed; [`verify`] trusts nobody.
//! - The body of an entry is opaque here. What kinds there are is the caller's business.
//!
//! Architecture invariants: this crate knows nothing of the kernel, of agents, of SQLite or of async
//! runtimes. Only `durable` changes files. What `walk` calls tampering, nothing here mends.
#![forbid(unsafe_code)]

mod batch;
mod chain;
mod checkpoint;
mod consistency;
mod cosign;
mod cosigned;
mod day;
mod durable;
mod encrypted;
mod entry;
mod epoch;
mod export;
mod finding;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod hash;
mod key;
mod matcher;
mod merkle;
mod open;
mod policy;
mod proof;
mod pruned;
mod reader;
mod receipt;
mod report;
mod scan;
mod segment;
mod tree;
#[cfg(test)]
mod vectors;
mod verify;
mod walk;
mod witness;
mod writer;

pub use batch::{AppendError, Appended, MAX_STEP_BACK_NS};
pub use checkpoint::{CheckpointError, SignedCheckpoint};
pub use consistency::{Consistency, ConsistencyError};
pub use cosigned::Cosigned;
pub use day::Day;
pub use durable::IoError;
pub use encrypted::{Draft, EncryptError, EraseError, Erased, Keys, KeysError, encrypt_segment};
pub use entry::{Header, HeaderError, MAX_BODY, SALT_LEN};
pub use epoch::{EpochError, Seal};
pub use export::{ExportReport, verify_export};
pub use finding::{Code, Finding};
pub use frame::{FrameError, Unread};
pub use hash::Hash;
pub use key::{CosignerKey, KeyError, VerifierKey};
pub use open::{OpenCheck, OpenError, OpenReport, Recovery, WriterOptions, host_boot_id};
pub use policy::{Cosigners, Policy, PolicyError, PolicyWitness, Unmet};
pub use proof::{ProofError, check_consistency, check_inclusion};
pub use pruned::Pruned;
pub use reader::{
    Disclose, Entries, EntriesBackward, Entry, ExportOptions, Follow, ProveError, ReadError, Reader,
};
pub use receipt::{Proven, Receipt, ReceiptError};
pub use report::{EntryInfo, Report, Unsigned, Verdict, Witnessing};
pub use tree::TreeError;
pub use verify::{VerifyError, VerifyOptions, verify, verify_with};
pub use witness::{Answer, Witness, WitnessError};
pub use walk::UnreadBodies;
pub use writer::{CommitError, EndedSegment, PruneError, Writer};

/// The log's folder on a host where the package put Aegis.
pub const DEFAULT_DIR: &str = "/var/lib/aegis/log";
/// The log's private key there.
pub const DEFAULT_KEY: &str = "/var/lib/aegis/log.key";
