//! One message: reading it ends, stays inside, and what is found lies in it.
#![no_main]

use aegis_common::dns::{HEADER, MAX_LABELS, MAX_NAME, MAX_STEPS, Reading, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reading = Reading::new();
    let Ok(length) = u32::try_from(bytes.len()) else { return };
    if !reading.begin(bytes, length, [1, 2]) {
        return;
    }
    for _ in 0..MAX_STEPS {
        match reading.step(bytes) {
            Step::More | Step::Address => {}
            Step::End => {
                assert!(reading.name_end <= length && reading.name_end - HEADER <= MAX_NAME);
                assert!((reading.labels as usize) < MAX_LABELS);
                return;
            }
            Step::Bad => return,
        }
    }
});
