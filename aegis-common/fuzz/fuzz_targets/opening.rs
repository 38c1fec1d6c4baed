//! The first bytes of a connection: reading them ends, stays inside, and a name that is found is one of a host.
#![no_main]

use aegis_common::dns::{MAX_MESSAGE, MAX_NAME, Step, labels};
use aegis_common::opening::{Left, MAX_STEPS, Reading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut message = bytes.to_vec();
    let mut reading = Reading::default();
    let Ok(length) = u32::try_from(bytes.len()) else { return };
    if !reading.begin(&message[..], length) {
        return;
    }
    assert!(length <= MAX_MESSAGE);
    let end = (0..MAX_STEPS).map(|_| reading.step(&message[..])).find(|step| *step != Step::More);
    assert!(end.is_some(), "no end");
    if end != Some(Step::End) || !reading.is_named() {
        return;
    }
    let (from, to) = (reading.name_at as usize, reading.name_end as usize);
    assert!(from > 0 && from <= to && to <= bytes.len());
    let said = bytes[from..to].to_vec();
    let last = (0..=said.len()).map(|_| reading.step_left(&mut message[..])).find(|left| matches!(left, Left::End | Left::Bad));
    if last == Some(Left::End) {
        assert!(from < to && to - from <= MAX_NAME as usize);
        // The same labels as in the text, in their own spelling.
        let wire: Vec<&[u8]> = labels(&message[from - 1..to]).collect();
        let text: Vec<&[u8]> = said.split(|byte| *byte == b'.').collect();
        assert_eq!(wire, text);
    }
});
