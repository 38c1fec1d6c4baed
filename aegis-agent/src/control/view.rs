//! The log's files as they are when a question comes.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use aegis_log::{ReadError, Reader};

/// Hands out readers. What one finds out about where entries lie the next ones know.
pub(super) struct LogView {
    folder: PathBuf,
    newest: Mutex<Option<Reader>>,
}

impl LogView {
    /// Of the log in `folder`; nothing is read yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, newest: Mutex::default() }
    }

    /// The log as it is now.
    pub(super) fn now(&self) -> Result<Reader, ReadError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // A view that can't go on is not what the log is now: it is looked at anew, and that says what is wrong.
        let going_on = newest.take().and_then(|mut reader| reader.refresh().ok().map(|_| reader));
        let reader = going_on.map_or_else(|| Reader::open(&self.folder), Ok)?;
        Ok(newest.insert(reader).clone())
    }
}

#[cfg(test)]
mod tests {
    use aegis_log::{Writer, WriterOptions};

    use super::*;

    #[test]
    fn each_question_sees_what_is_signed_by_then_also_in_another_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let view = LogView::new(log.clone());
        assert!(view.now().is_err(), "there is no log");
        let (mut writer, _) = Writer::open(&WriterOptions::new(&log, dir.path().join("key"), [7; 16])).unwrap();
        for size in 1..4 {
            writer.append(1, 1_795_132_800_000_000_000, b"body").unwrap();
            writer.commit().unwrap();
            let reader = view.now().unwrap();
            assert_eq!(reader.size(), size);
            assert!(reader.get(size - 1).unwrap().is_some() && reader.get(size).unwrap().is_none());
        }
        drop(writer);
        std::fs::rename(&log, dir.path().join("old")).unwrap();
        let (mut writer, _) = Writer::open(&WriterOptions::new(&log, dir.path().join("key2"), [8; 16])).unwrap();
        writer.append(1, 1_795_132_800_000_000_000, b"other").unwrap();
        writer.commit().unwrap();
        assert_eq!(view.now().unwrap().get(0).unwrap().unwrap().body.unwrap(), b"other");
    }
}
