//! Policies, which a person writes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = aegis_log::Policy::parse(bytes);
});
