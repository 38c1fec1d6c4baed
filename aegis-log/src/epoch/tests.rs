use super::*;

fn key(id: u8) -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[id; 16]).unwrap()
}

fn epoch_key(log: &SigningKey) -> SigningKey {
    SigningKey::named(&SigningKey::generate().unwrap(), key_name(log.verifier())).unwrap()
}

/// A folder with three seals, and the log's key.
fn sealed() -> (tempfile::TempDir, SigningKey, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let log = key(7);
    let mut bytes = Vec::new();
    let mut signer: Option<SigningKey> = None;
    for number in 0..3_u64 {
        let next = epoch_key(&log);
        let root = if number == 0 {
            Hash::empty_root()
        } else {
            Hash([3; 32])
        };
        let by = signer.as_ref().unwrap_or(&log);
        let seal = Seal::sign(
            by,
            log.verifier(),
            number,
            (number * 10, root),
            next.verifier().clone(),
        );
        bytes.extend_from_slice(format!("{}\n", seal.note()).as_bytes());
        signer = Some(next);
    }
    std::fs::write(dir.path().join(EPOCHS_FILE), &bytes).unwrap();
    (dir, log, bytes)
}

fn read(dir: &Path, log: &SigningKey) -> Result<Epochs, String> {
    Epochs::read(dir, log.verifier()).map_err(|stop| match stop {
        Stop::Found(finding) => finding.to_string(),
        Stop::Io(error) => error.to_string(),
    })
}

#[test]
fn seals_are_read_each_by_the_key_that_the_one_before_names() {
    let (dir, log, bytes) = sealed();
    let epochs = read(dir.path(), &log).unwrap();
    assert_eq!(
        epochs.seals.iter().map(Seal::size).collect::<Vec<_>>(),
        [0, 10, 20]
    );
    assert_eq!((epochs.len, epochs.torn), (bytes.len() as u64, 0));
    assert_eq!(epochs.sealed(), 20);
    assert!(read(dir.path(), &key(7)).is_err(), "another log's key");
    let kept = Seal::parse_all(&String::from_utf8(bytes).unwrap()).unwrap();
    assert_eq!(
        kept,
        epochs
            .seals
            .iter()
            .map(|seal| seal.note().to_owned())
            .collect::<Vec<_>>()
    );
}

#[test]
fn every_changed_bit_of_a_seal_is_noticed_and_not_taken_for_a_cut() {
    let (dir, log, bytes) = sealed();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            std::fs::write(dir.path().join(EPOCHS_FILE), &changed).unwrap();
            assert!(read(dir.path(), &log).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn seals_cut_anywhere_are_known_as_cut() {
    let (dir, log, bytes) = sealed();
    let whole = read(dir.path(), &log).unwrap();
    for len in 0..bytes.len() {
        std::fs::write(dir.path().join(EPOCHS_FILE), &bytes[..len]).unwrap();
        let epochs = read(dir.path(), &log).unwrap_or_else(|what| panic!("{len}: {what}"));
        assert_eq!(
            epochs.seals[..],
            whole.seals[..epochs.seals.len()],
            "{len} bytes"
        );
        assert_eq!(epochs.len + epochs.torn, len as u64);
    }
}

#[test]
fn a_seal_that_is_missing_or_by_a_later_key_is_noticed() {
    let (dir, log, _) = sealed();
    let notes: Vec<_> = read(dir.path(), &log)
        .unwrap()
        .seals
        .iter()
        .map(|seal| format!("{}\n", seal.note()))
        .collect();
    let without_second = [&notes[0][..], &notes[2]].concat();
    std::fs::write(dir.path().join(EPOCHS_FILE), without_second).unwrap();
    assert!(read(dir.path(), &log).unwrap_err().contains("missing"));
    // The log's own key may seal nothing but the beginning.
    let resealed = Seal::sign(
        &log,
        log.verifier(),
        1,
        (10, Hash([4; 32])),
        epoch_key(&log).verifier().clone(),
    );
    std::fs::write(
        dir.path().join(EPOCHS_FILE),
        format!("{}{}\n", notes[0], resealed.note()),
    )
    .unwrap();
    assert!(read(dir.path(), &log).is_err());
}

#[test]
fn what_is_no_seal_is_refused() {
    for text in [
        "",
        "\n\n",
        "x",
        "aegis/x/epoch\n1\n2\n",
        "a\n\n\u{2014} b c\n",
    ] {
        assert!(Seal::parse_all(text).is_err(), "{text:?}");
    }
}
