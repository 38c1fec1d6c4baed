//! `aegis log`: what others can check without trusting this host.
//!
//! Asks the daemon, so that what is pending is signed first and who asked is recorded; reads the files
//! of a log where there is no daemon, or a folder is named. An export always reads files.

pub mod witness;

use std::{fs, path::Path};

use aegis_log::{ExportOptions, Reader, SignedCheckpoint};

use super::{
    args::{Export, Prove, Receipt},
    client::{Client, PATIENCE, socket_path},
    events::files,
    failure::Failure,
    output,
    progress::Progress,
};
use crate::{
    evidence::{self, EvidenceError, Point},
    paths::Layout,
    proto::control::{CheckpointRequest, LogPoint, ProveRequest, ReceiptRequest, log_point},
};

impl From<EvidenceError> for Failure {
    fn from(error: EvidenceError) -> Self {
        let text = error.to_string();
        match error {
            EvidenceError::None(_) | EvidenceError::Other(_) => Self::No(text),
            EvidenceError::Unreadable(_) => Self::Broken(text),
        }
    }
}

/// Who is asked.
enum Source {
    Daemon(Client),
    Files(Reader),
}

impl Source {
    fn find(dir: Option<&Path>, socket: Option<&Path>) -> Result<Self, Failure> {
        if let Some(dir) = dir {
            return Ok(Self::Files(files::open(dir)?));
        }
        match Client::connect(&socket_path(socket)) {
            Ok(client) => Ok(Self::Daemon(client)),
            // Without a daemon nothing is pending: what lies on disk is the newest.
            Err(Failure::NotRunning(_)) if socket.is_none() => {
                let reader = Reader::open(Layout::default().log());
                Ok(Self::Files(reader.map_err(|error| Failure::NotRunning(format!("aegisd is not running, and: {error}")))?))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Prints the checkpoint as a signed note. Kept on another machine, it proves that the log was not
/// cut or rewritten later (`aegis verify --checkpoint`).
///
/// # Errors
/// When neither the daemon nor the log can be asked, or nothing is signed yet.
pub fn checkpoint(socket: Option<&Path>) -> Result<(), Failure> {
    let note = match Source::find(None, socket)? {
        Source::Daemon(mut client) => {
            let reply = client.ask(PATIENCE, async |control| control.checkpoint(CheckpointRequest {}).await)?;
            String::from_utf8(reply.note).map_err(Failure::broken("the daemon's checkpoint is no text"))?
        }
        Source::Files(reader) => reader.checkpoint().map(|checkpoint| checkpoint.note().to_owned()).unwrap_or_default(),
    };
    if note.trim().is_empty() {
        return Err(Failure::NotRunning("the log is empty: there is no checkpoint yet".to_owned()));
    }
    output::print(&note)
}

/// Prints the receipt of an entry.
///
/// # Errors
/// When there is no such entry, or nobody can be asked.
pub fn receipt(args: &Receipt, socket: Option<&Path>) -> Result<(), Failure> {
    let under = args.checkpoint.as_deref().map(note).transpose()?;
    let text = match Source::find(args.dir.as_deref(), socket)? {
        Source::Daemon(mut client) => {
            let request = ReceiptRequest {
                seq: args.seq,
                body: args.body,
                checkpoint: under.map(|note| note.note().to_owned().into_bytes()).unwrap_or_default(),
                reason: args.reason.clone().unwrap_or_default(),
            };
            let reply = client.ask(PATIENCE, async |control| control.receipt(request).await)?;
            String::from_utf8(reply.receipt).map_err(Failure::broken("the daemon's receipt is no text"))?
        }
        Source::Files(reader) => evidence::receipt(&reader, args.seq, args.body, under.as_ref())?,
    };
    output::print(&text)
}

/// Prints the proof that the log only grew.
///
/// # Errors
/// When it did not, there are no such checkpoints, or nobody can be asked.
pub fn prove(args: &Prove, socket: Option<&Path>) -> Result<(), Failure> {
    let old = point(&args.old)?;
    let new = args.new.as_deref().map(point).transpose()?;
    let text = match Source::find(args.dir.as_deref(), socket)? {
        Source::Daemon(mut client) => {
            let request = ProveRequest { old: Some(asked(&old)), new: new.as_ref().map(asked) };
            let reply = client.ask(PATIENCE, async |control| control.prove(request).await)?;
            String::from_utf8(reply.proof).map_err(Failure::broken("the daemon's proof is no text"))?
        }
        Source::Files(reader) => evidence::prove(&reader, &old, new.as_ref())?,
    };
    output::print(&text)
}

/// Writes the log as C2SP tlog-tiles, and says what was written.
///
/// # Errors
/// When the log cannot be read or is damaged, or the folder cannot be written.
pub fn export(args: &Export) -> Result<(), Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| Layout::default().log());
    let checkpoint = args.checkpoint.as_deref().map(note).transpose()?;
    let reader = files::open(&dir)?;
    let mut progress = Progress::new("exporting");
    let options = ExportOptions { bodies: args.bodies, checkpoint };
    let written = reader.export_tiles(&args.out, &options, &mut |done, all| progress.at(done, all));
    drop(progress);
    let written = written.map_err(EvidenceError::from)?;
    let shown = if args.bodies { "with their bodies" } else { "their headers only" };
    output::say(&format!("{} entries, {shown}, are in {}", written.size(), args.out.display()));
    Ok(())
}

fn point(given: &str) -> Result<Point, Failure> {
    match given.parse() {
        Ok(size) => Ok(Point::Size(size)),
        Err(_) => note(Path::new(given)).map(Point::Note),
    }
}

/// The one checkpoint in a file.
fn note(path: &Path) -> Result<SignedCheckpoint, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io("cannot read the checkpoint", path))?;
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", path.display()));
    let mut notes = SignedCheckpoint::parse_all(&text).map_err(|error| wrong(&error.to_string()))?;
    match (notes.pop(), notes.is_empty()) {
        (Some(note), true) => Ok(note),
        _ => Err(wrong("there is more than one checkpoint in it")),
    }
}

fn asked(point: &Point) -> LogPoint {
    let point = match point {
        Point::Size(size) => log_point::Point::Size(*size),
        Point::Note(note) => log_point::Point::Note(note.note().to_owned().into_bytes()),
    };
    LogPoint { point: Some(point) }
}
