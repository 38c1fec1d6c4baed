//! `aegis log checkpoint`: the newest signed statement of what the log holds.

use std::path::Path;

use aegis_log::Reader;

use super::{
    client::{Client, PATIENCE, socket_path},
    failure::Failure,
    output,
};
use crate::{paths::Layout, proto::control::CheckpointRequest};

/// Prints the checkpoint as a signed note. Kept on another machine, it proves that the log was not
/// cut or rewritten later (`aegis verify --checkpoint`).
///
/// # Errors
/// When neither the daemon nor the log can be asked, or nothing is signed yet.
pub fn checkpoint(socket: Option<&Path>) -> Result<(), Failure> {
    let note = match Client::connect(&socket_path(socket)) {
        Ok(mut client) => {
            let reply = client.ask(PATIENCE, async |control| control.checkpoint(CheckpointRequest {}).await)?;
            String::from_utf8(reply.note).map_err(Failure::broken("the daemon's checkpoint is no text"))?
        }
        // Without a daemon nothing is pending: what lies on disk is the newest.
        Err(Failure::NotRunning(_)) if socket.is_none() => on_disk(&Layout::default().log())?,
        Err(failure) => return Err(failure),
    };
    if note.trim().is_empty() {
        return Err(Failure::NotRunning("the log is empty: there is no checkpoint yet".to_owned()));
    }
    output::print(&note)
}

fn on_disk(dir: &Path) -> Result<String, Failure> {
    let reader = Reader::open(dir).map_err(|error| Failure::NotRunning(format!("aegisd is not running, and: {error}")))?;
    Ok(reader.checkpoint().map(|checkpoint| checkpoint.note().to_owned()).unwrap_or_default())
}
