//! Witnesses of the log over HTTP, as C2SP tlog-witness says: being one, and asking them.
//!
//! Knows HTTP. What a witness may say, and what its word is worth, is for `aegis_log` to know. Neither runs in
//! the daemon, which has no network.

pub mod ask;
pub mod serve;

/// Largest request or answer: a checkpoint, a proof, and room for the signatures of many witnesses.
const MOST: usize = 64 << 10;
/// The media type of the size in a 409 answer.
const SIZE_TYPE: &str = "text/x.tlog.size";
/// The path below a witness's submission prefix.
const ADD_CHECKPOINT: &str = "/add-checkpoint";
