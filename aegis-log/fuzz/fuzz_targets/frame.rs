//! One frame; and whatever is taken for a header is its only encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    aegis_log::fuzz::frame(bytes);
    aegis_log::fuzz::header(bytes);
});
