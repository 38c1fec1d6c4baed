//! Answers Receipt and Prove: from the log's files, once what is pending is signed.

use aegis_log::{Reader, SignedCheckpoint};
use tonic::Status;

use super::view::LogView;
use crate::{
    evidence::{self, EvidenceError, Point},
    proto::control::{LogPoint, ProveRequest, ReceiptRequest, log_point},
};

pub(super) fn receipt(log: &LogView, request: &ReceiptRequest) -> Result<String, Status> {
    let under = if request.checkpoint.is_empty() { None } else { Some(note(&request.checkpoint)?) };
    evidence::receipt(&now(log)?, request.seq, request.body, under.as_ref()).map_err(|error| status(&error))
}

pub(super) fn prove(log: &LogView, request: &ProveRequest) -> Result<String, Status> {
    let missing = || Status::invalid_argument("the earlier checkpoint is not given");
    let old = request.old.as_ref().map(point).transpose()?.flatten().ok_or_else(missing)?;
    let new = request.new.as_ref().map(point).transpose()?.flatten();
    evidence::prove(&now(log)?, &old, new.as_ref()).map_err(|error| status(&error))
}

/// What was asked, as the log keeps it.
pub(super) fn describe(request: &ReceiptRequest) -> String {
    format!("receipt {}{}", request.seq, if request.body { " --body" } else { "" })
}

fn now(log: &LogView) -> Result<Reader, Status> {
    log.now().map_err(|error| status(&error.into()))
}

fn point(asked: &LogPoint) -> Result<Option<Point>, Status> {
    Ok(match &asked.point {
        Some(log_point::Point::Size(size)) => Some(Point::Size(*size)),
        Some(log_point::Point::Note(bytes)) => Some(Point::Note(note(bytes)?)),
        None => None,
    })
}

fn note(bytes: &[u8]) -> Result<SignedCheckpoint, Status> {
    let text = std::str::from_utf8(bytes).map_err(|_| Status::invalid_argument("the checkpoint is no text"))?;
    let mut notes = SignedCheckpoint::parse_all(text).map_err(|error| Status::invalid_argument(error.to_string()))?;
    match (notes.pop(), notes.is_empty()) {
        (Some(note), true) => Ok(note),
        _ => Err(Status::invalid_argument("there is more than one checkpoint")),
    }
}

fn status(error: &EvidenceError) -> Status {
    let text = error.to_string();
    match error {
        EvidenceError::None(_) => Status::not_found(text),
        EvidenceError::Other(_) => Status::failed_precondition(text),
        EvidenceError::Unreadable(_) => Status::data_loss(text),
    }
}

#[cfg(test)]
mod tests {
    use aegis_log::{Consistency, Receipt, Writer, WriterOptions};
    use tonic::Code;

    use super::{LogPoint, LogView, ProveRequest, ReceiptRequest, describe, log_point::Point, prove, receipt};

    fn at(point: Point) -> Option<LogPoint> {
        Some(LogPoint { point: Some(point) })
    }

    #[test]
    fn what_is_handed_out_holds_and_what_is_not_there_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let layout = crate::paths::Layout::new(dir.path(), dir.path());
        let log = LogView::new(layout.log());
        let (mut writer, _) = Writer::open(&WriterOptions::new(layout.log(), layout.log_key(), [7; 16])).unwrap();
        let mut notes = Vec::new();
        for body in [b"one", b"two"] {
            writer.append(1, 1_795_132_800_000_000_000, body).unwrap();
            notes.push(writer.commit().unwrap().clone());
        }
        let key = aegis_log::Reader::open(layout.log()).unwrap().vkey().clone();
        let request = ReceiptRequest { seq: 0, body: true, ..ReceiptRequest::default() };
        let proven = Receipt::parse(&receipt(&log, &request).unwrap()).unwrap().verify(&key).unwrap();
        assert_eq!(proven.body.as_deref(), Some(&b"one"[..]));
        assert_eq!(describe(&request), "receipt 0 --body");
        let beyond = ReceiptRequest { seq: 2, ..ReceiptRequest::default() };
        assert_eq!(receipt(&log, &beyond).unwrap_err().code(), Code::NotFound);
        let garbage = ReceiptRequest { checkpoint: b"garbage".to_vec(), ..ReceiptRequest::default() };
        assert_eq!(receipt(&log, &garbage).unwrap_err().code(), Code::InvalidArgument);

        let old = at(Point::Note(notes[0].note().as_bytes().to_vec()));
        let proof = prove(&log, &ProveRequest { old, new: at(Point::Size(2)) }).unwrap();
        Consistency::parse(&proof).unwrap().verify(&notes[0], &key).unwrap();
        assert_eq!(prove(&log, &ProveRequest::default()).unwrap_err().code(), Code::InvalidArgument);
        let forged = notes[0].note().replacen("\n1\n", "\n2\n", 1);
        let forged = ProveRequest { old: at(Point::Note(forged.into_bytes())), new: None };
        assert_eq!(prove(&log, &forged).unwrap_err().code(), Code::FailedPrecondition);
    }
}
