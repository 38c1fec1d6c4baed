//! Putting encrypted segments in the place of plain ones, and erasing what entries say.

use super::Writer;
use crate::day::Day;
use crate::durable::{self, AppendFile, PRIVATE};
use crate::encrypted::{Draft, EncryptError, EraseError, Keys, statement};
use crate::segment::{Catalog, SegmentHeader};

impl Writer {
    /// Puts an encrypted segment in the place of the plain one, whole and durably.
    ///
    /// # Errors
    /// [`EncryptError`]; the plain one is then as it was.
    pub fn put_encrypted(&mut self, draft: Draft) -> Result<(), EncryptError> {
        let path = draft.files.entries_path(&self.dir);
        let first = draft.files.first_seq;
        if !path.exists() || SegmentHeader::is_encrypted(&path)? {
            return Err(EncryptError::Gone(first));
        }
        let note = statement(self.batch.key(), &draft.hash);
        let mut file = AppendFile::open(&draft.temporary, PRIVATE)?;
        let at = file.len().saturating_sub(note.len() as u64);
        file.write_again(at, note.as_bytes())?;
        file.sync()?;
        durable::rename(&draft.temporary, &path)?;
        draft.keep();
        Ok(())
    }

    /// Erases what the entries of a day say about `owner`, by destroying their key. `told` is the durable entry that tells of
    /// it.
    ///
    /// # Errors
    /// [`EraseError`].
    pub fn erase(&mut self, keys: &Keys, day: Day, owner: &str, told: u64) -> Result<(), EraseError> {
        if told >= self.durable_size() {
            return Err(EraseError::Untold);
        }
        self.can_erase(day)?;
        keys.erase(day, owner, told, self.batch.key())
    }

    /// Whether the entries of a day are encrypted, so that they can be erased.
    ///
    /// # Errors
    /// [`EraseError::Early`], or [`EraseError::Io`].
    pub fn can_erase(&self, day: Day) -> Result<(), EraseError> {
        let segments = Catalog::read(&self.dir)?.segments;
        for files in segments.iter().filter(|files| files.has_entries && files.day == day) {
            if !SegmentHeader::is_encrypted(&files.entries_path(&self.dir))? {
                return Err(EraseError::Early(day));
            }
        }
        Ok(())
    }
}
