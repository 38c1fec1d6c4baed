//! Checkpoints, stored and from elsewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    aegis_log::fuzz::stored_note(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = aegis_log::SignedCheckpoint::parse_all(text);
        let _ = aegis_log::VerifierKey::parse(text);
    }
});
