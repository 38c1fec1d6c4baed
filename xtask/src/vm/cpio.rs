//! The archive format of initramfs files ("newc", Documentation/driver-api/early-userspace in the kernel).

use anyhow::{Context as _, Result};

/// An archive under construction.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Cpio {
    /// Adds a folder.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, &[], 0, (0, 0));
    }

    /// Adds a file; fails when it is too long for the format.
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<()> {
        let length =
            u32::try_from(data.len()).with_context(|| format!("{name} is longer than 4 GiB"))?;
        self.entry(name, FILE | mode, data, length, (0, 0));
        Ok(())
    }

    /// Adds a character device.
    pub fn character_device(&mut self, name: &str, numbers: (u32, u32)) {
        self.entry(name, CHARACTER_DEVICE | 0o600, &[], 0, numbers);
    }

    /// The finished archive.
    pub fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], 0, (0, 0));
        self.bytes
    }

    /// The archive without its end, for another one to follow in the same file.
    pub fn without_end(self) -> Vec<u8> {
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8], length: u32, device: (u32, u32)) {
        self.entries += 1;
        let name_length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let (inode, links) = (self.entries, 1);
        self.bytes.extend_from_slice(b"070701");
        let fields = [
            inode,
            mode,
            0,
            0,
            links,
            0,
            length,
            0,
            0,
            device.0,
            device.1,
            name_length,
            0,
        ];
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_end_on_four_bytes() {
        let mut archive = Cpio::default();
        archive.file("ab", 0o644, b"12345").expect("a short file");
        let bytes = archive.end();
        assert_eq!(&bytes[..6], b"070701");
        // 110 bytes of header and 3 of name make 113, padded to 116; 5 of data padded to 8
        assert_eq!(&bytes[116..121], b"12345");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.len().is_multiple_of(4));
    }
}
