//! Consistency proofs, which witnesses take from strangers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(proof) = aegis_log::Consistency::parse(text) {
        let key = aegis_log::VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k");
        assert!(proof.verify(proof.checkpoint(), &key.expect("a valid key")).is_err());
    }
});
