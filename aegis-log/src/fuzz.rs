//! Doors for the fuzz targets into what is private. Only there with the feature of that name.

use crate::checkpoint::stored::match_stored;
use crate::entry::Header;
use crate::key::VerifierKey;

/// Reads a frame.
pub fn frame(bytes: &[u8]) {
    let _ = crate::frame::parse(bytes);
    let _ = crate::frame::frame_len(bytes);
}

/// Reads a header; what is accepted must be its one encoding.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        let mut again = Vec::new();
        header.encode(&mut again);
        assert_eq!(again, bytes);
    }
}

/// Reads a stored note.
pub fn stored_note(bytes: &[u8]) {
    let vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    if let Ok(key) = VerifierKey::parse(vkey) {
        let _ = match_stored(bytes, &key);
    }
}
