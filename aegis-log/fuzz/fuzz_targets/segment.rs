//! A whole folder whose first segment holds these bytes, verified and read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = std::env::temp_dir().join(format!("aegis-log-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary folder");
    let (entries, notes) = bytes.split_at(bytes.len() / 2);
    for (name, bytes) in [
        ("log.vkey", &b"aegis/000102030405060708090a0b0c0d0e0f+935a4ede+ASFS+NGbeR0kRTJC4V8uq2y3z/p7al7TAJeWDgaYgdsS\n"[..]),
        ("00000000000000000000-2026-11-20.seg", entries),
        ("00000000000000000000-2026-11-20.notes", notes),
    ] {
        std::fs::write(dir.join(name), bytes).expect("a written file");
    }
    let report = aegis_log::verify(&dir, &aegis_log::VerifyOptions::default()).expect("a readable folder");
    assert_eq!(report.entries, 0, "nobody has the key to sign any");
    if let Ok(reader) = aegis_log::Reader::open(&dir) {
        assert_eq!(reader.entries(0).count(), 0);
    }
});
