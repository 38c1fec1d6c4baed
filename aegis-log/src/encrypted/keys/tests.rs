//! Keys that are made, changed, destroyed and lost.

use super::*;

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn signing() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap()
}

fn is_here(keys: &Keys, id: KeyId) -> bool {
    matches!(keys.find(id), Found::Here(_))
}

#[test]
fn a_key_is_one_owners_of_one_day_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let one = keys.of(day("2026-11-20"), "coder").unwrap().id;
    assert_eq!(keys.of(day("2026-11-20"), "coder").unwrap().id, one);
    assert_ne!(keys.of(day("2026-11-21"), "coder").unwrap().id, one);
    assert_ne!(keys.of(day("2026-11-20"), "other").unwrap().id, one);
    assert_eq!(KeyId::parse(&one.to_string()), Some(one));
    let again = Keys::open(&folder, &kek).unwrap();
    assert_eq!(again.of(day("2026-11-20"), "coder").unwrap().id, one);
    assert!(is_here(&again, one));
    assert!(!is_here(&Keys::none(), one));
    // Only whoever may read the log may read its keys.
    for path in [&kek, &folder.join(format!("{one}.key"))] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{}", path.display());
    }
}

#[test]
fn keys_that_come_later_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let early = Keys::open(&folder, &kek).unwrap();
    assert!(!early.is_some());
    let keys = Keys::create(&folder, &kek).unwrap();
    let id = keys.of(day("2026-11-20"), "coder").unwrap().id;
    assert!(is_here(&early, id) && early.is_some());
}

#[test]
fn a_wrapped_key_that_was_changed_is_none_nor_is_that_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let one = keys.of(day("2026-11-20"), "one").unwrap().id;
    let two = keys.of(day("2026-11-20"), "two").unwrap().id;
    let path = |id| folder.join(format!("{id}.key"));
    let bytes = std::fs::read(path(one)).unwrap();
    for at in 0..=bytes.len() {
        let mut changed = bytes.clone();
        match changed.get_mut(at) {
            Some(byte) => *byte ^= 1,
            None => changed = std::fs::read(path(two)).unwrap(),
        }
        std::fs::write(path(one), changed).unwrap();
        std::fs::rename(path(two), folder.join("aside")).unwrap();
        let opened = Keys::open(&folder, &kek);
        assert!(matches!(opened, Err(KeysError::Unwrap(_))), "byte {at}");
        std::fs::rename(folder.join("aside"), path(two)).unwrap();
    }
}

#[test]
fn a_destroyed_key_leaves_a_statement_and_what_comes_after_gets_another() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let (day, by) = (day("2026-11-20"), signing());
    let other = keys.of(day, "other").unwrap().id;
    let id = keys.of(day, "coder").unwrap().id;
    keys.erase(day, "coder", 42, &by).unwrap();
    assert!(!folder.join(format!("{id}.key")).exists());
    assert!(matches!(keys.find(id), Found::Erased));
    assert!(is_here(&keys, other));
    assert_eq!(keys.erased(by.verifier()).unwrap(), [Erased { id, told: 42 }]);
    let again = keys.erase(day, "coder", 43, &by);
    assert!(matches!(again, Err(EraseError::Nothing { .. })));
    // The clock was set back.
    let later = keys.of(day, "coder").unwrap().id;
    assert_ne!(later, id);
    keys.erase(day, "coder", 50, &by).unwrap();
    assert!(matches!(keys.find(later), Found::Erased));
    let told: Vec<_> = keys.erased(by.verifier()).unwrap();
    assert_eq!(told.iter().map(|erased| erased.told).sum::<u64>(), 92);
    assert_eq!(told[0].day(), day);
    // The statement is one of this log, about this key.
    let path = folder.join(format!("{id}.erased"));
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        std::fs::write(&path, changed).unwrap();
        assert!(keys.erased(by.verifier()).is_err(), "byte {at}");
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(keys.erased(signing().verifier()).is_err());
}

#[test]
fn an_erasure_that_was_cut_off_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let (day, by) = (day("2026-11-20"), signing());
    let id = keys.of(day, "coder").unwrap().id;
    let path = folder.join(format!("{id}.key"));
    let bytes = std::fs::read(&path).unwrap();
    keys.erase(day, "coder", 42, &by).unwrap();
    // As if the power had gone before the key was wiped.
    std::fs::write(&path, bytes).unwrap();
    let keys = Keys::create(&folder, &kek).unwrap();
    assert!(matches!(keys.find(id), Found::Erased));
    assert!(!path.exists());
}

#[test]
fn keys_of_days_that_are_gone_go_too() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let old = keys.of(day("2026-11-19"), "coder").unwrap().id;
    let new = keys.of(day("2026-11-20"), "coder").unwrap().id;
    assert_eq!(keys.forget_before(day("2026-11-20")).unwrap(), 1);
    assert!(!is_here(&keys, old));
    assert!(is_here(&keys, new));
}

#[test]
fn without_the_key_that_wraps_them_no_new_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, kek) = (dir.path().join("log.keys"), dir.path().join("log.kek"));
    let keys = Keys::create(&folder, &kek).unwrap();
    let id = keys.of(day("2026-11-20"), "coder").unwrap().id;
    std::fs::remove_file(&kek).unwrap();
    let made = Keys::create(&folder, &kek);
    assert!(matches!(made, Err(KeysError::KekMissing(_))));
    let without = Keys::open(&folder, &kek).unwrap();
    assert!(!without.is_some() && !is_here(&without, id));
    std::fs::write(&kek, b"short").unwrap();
    assert!(matches!(Keys::open(&folder, &kek), Err(KeysError::Kek(_))));
    // Another one does not unwrap them.
    std::fs::write(&kek, [1; KEY_LEN]).unwrap();
    let other = Keys::open(&folder, &kek);
    assert!(matches!(other, Err(KeysError::Unwrap(_))));
}
