use super::*;
use crate::checkpoint::SIGNATURE_MARK;
use crate::durable::fault::{self, Disk, Done};
use crate::merkle::{MemoryLevels, range_root};
use crate::proof::prove_consistency;

/// A log in memory, of which a fork is the same up to some entry.
struct Log {
    key: SigningKey,
    levels: MemoryLevels,
}

impl Log {
    fn new(seed: u8) -> Self {
        let key = SigningKey::from_seed(&[seed; 32], &[seed; 16]);
        let levels = MemoryLevels::default();
        Self { key, levels }
    }

    fn grow(&mut self, entries: u64, what: &str) {
        for _ in 0..entries {
            let seq = self.levels.frontier().size();
            self.levels
                .push(Hash::leaf(format!("{what} {seq}").as_bytes()));
        }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        let frontier = self.levels.frontier();
        SignedCheckpoint::sign(&self.key, frontier.size(), frontier.root())
    }

    fn request(&self, old: u64) -> String {
        let checkpoint = self.checkpoint();
        let path = prove_consistency(&self.levels, old, checkpoint.size()).unwrap_or_default();
        Consistency::new(old, path, checkpoint).to_string()
    }

    fn vkey(&self) -> VerifierKey {
        self.key.verifier().clone()
    }
}

fn open(dir: &Path, log: &Log) -> Witness {
    Witness::open(dir, Some("witness.example/w1"), vec![log.vkey()]).unwrap()
}

fn ask(witness: &mut Witness, request: &str) -> (u16, String) {
    let answer = witness.add_checkpoint(request.as_bytes(), 1_700_000_000);
    (answer.status(), answer.body())
}

#[test]
fn a_log_that_grows_is_cosigned_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new(1);
    let mut witness = open(dir.path(), &log);
    assert_eq!(witness.latest(&hash_of(log.vkey().name())), None);
    let mut old = 0;
    for entries in [0, 1, 4, 0, 300] {
        log.grow(entries, "entry");
        let (status, line) = ask(&mut witness, &log.request(old));
        assert_eq!(status, 200, "{line}");
        let key = witness.key().clone();
        let cosigned = log.checkpoint().with_cosignature(&line, &key).unwrap();
        assert_eq!(key.cosigned(&cosigned), Ok(Some(1_700_000_000)));
        old = log.checkpoint().size();
        drop(witness);
        witness = Witness::open(dir.path(), None, vec![log.vkey()]).unwrap();
        let served = witness.latest(&hash_of(log.vkey().name())).unwrap();
        assert_eq!(served, cosigned.note());
    }
    assert_eq!(
        range_root(&log.levels, 0, old),
        Ok(*log.checkpoint().root())
    );
}

#[test]
fn a_shorter_a_forked_and_a_foreign_log_are_refused_as_the_specification_says() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, mut fork) = (Log::new(1), Log::new(1));
    let mut witness = open(dir.path(), &log);
    log.grow(5, "entry");
    fork.grow(5, "entry");
    let early = log.request(0);
    log.grow(4, "entry");
    fork.grow(9, "fork");
    assert_eq!(ask(&mut witness, &log.request(0)).0, 200);

    // Shorter: what the log was before, as after a folder was rolled back.
    assert_eq!(ask(&mut witness, &early), (409, "9\n".to_owned()));
    assert_eq!(ask(&mut witness, &log.request(5)), (409, "9\n".to_owned()));
    // Forked: the proof that its log can make does not hold against what was cosigned.
    assert_eq!(ask(&mut witness, &fork.request(9)).0, 422);
    // The same size with another root.
    let mut same = Log::new(1);
    same.grow(9, "other");
    assert_eq!(ask(&mut witness, &same.request(9)).0, 422);
    let with_proof = log.request(9).replacen(
        "old 9\n",
        "old 9\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        1,
    );
    assert_eq!(ask(&mut witness, &with_proof).0, 422);

    let stranger = Log::new(2);
    assert_eq!(ask(&mut witness, &stranger.request(0)).0, 404);
    // The right origin under a wrong key.
    let forged = SigningKey::from_seed(&[3; 32], &[1; 16]);
    let forged = SignedCheckpoint::sign(&forged, 9, *log.checkpoint().root());
    assert_eq!(
        ask(&mut witness, &format!("old 9\n\n{}", forged.note())).0,
        403
    );
    let altered = log.request(9).replacen("\n9\n", "\n8\n", 1);
    assert_eq!(ask(&mut witness, &altered).0, 403);
    let larger = log.request(9).replacen("old 9", "old 10", 1);
    assert_eq!(ask(&mut witness, &larger).0, 400);
    assert_eq!(ask(&mut witness, "nonsense").0, 400);
    assert_eq!(witness.add_checkpoint(&[0xff; 9], 1).status(), 400);
    // After all that the log itself goes on.
    log.grow(1, "entry");
    assert_eq!(ask(&mut witness, &log.request(9)).0, 200);
}

#[test]
fn an_empty_tree_has_the_root_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(1);
    let mut witness = open(dir.path(), &log);
    let wrong = SignedCheckpoint::sign(&log.key, 0, Hash([1; 32]));
    assert_eq!(
        ask(&mut witness, &format!("old 0\n\n{}", wrong.note())).0,
        422
    );
    assert_eq!(ask(&mut witness, &log.request(0)).0, 200);
}

#[test]
fn nothing_is_cosigned_before_it_is_on_the_disk() {
    let mut log = Log::new(1);
    log.grow(3, "entry");
    let dir = tempfile::tempdir().unwrap();
    let mut witness = open(dir.path(), &log);
    fault::install(Disk {
        record: Some(Vec::new()),
        ..Disk::default()
    });
    assert_eq!(ask(&mut witness, &log.request(0)).0, 200);
    let disk = fault::install(Disk::default());
    let done = disk.record.unwrap();
    let state = state_file(dir.path(), log.vkey().name());
    let new = state.with_file_name(format!(
        ".new-{}",
        state.file_name().unwrap().to_str().unwrap()
    ));
    assert!(
        matches!(&done[..], [Done::Create(_), Done::Write { .. }, Done::Sync(synced), Done::Rename { from, to }, Done::SyncDir(_)]
        if *synced == new && *from == new && *to == state),
        "{done:?}"
    );

    for fail_at in 0..disk.count {
        let dir = tempfile::tempdir().unwrap();
        let mut witness = open(dir.path(), &log);
        fault::install(Disk {
            fail_at: Some(fail_at),
            ..Disk::default()
        });
        let (status, said) = ask(&mut witness, &log.request(0));
        fault::install(Disk::default());
        assert!(
            status == 500 && !said.contains(SIGNATURE_MARK),
            "{fail_at}: {status} {said}"
        );
        drop(witness);
        // Whether it remembers or not, it gave nothing away and goes on.
        let mut again = Witness::open(dir.path(), None, vec![log.vkey()]).unwrap();
        let (status, said) = ask(&mut again, &log.request(0));
        let went_on = status == 200 || (status == 409 && said == "3\n");
        assert!(went_on, "{fail_at}: {status} {said}");
    }
}

#[test]
fn a_witness_that_lost_what_it_said_does_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new(1);
    log.grow(3, "entry");
    let mut witness = open(dir.path(), &log);
    assert!(matches!(
        Witness::open(dir.path(), None, Vec::new()),
        Err(WitnessError::Busy(_))
    ));
    assert_eq!(ask(&mut witness, &log.request(0)).0, 200);
    drop(witness);
    let state = state_file(dir.path(), log.vkey().name());
    let whole = std::fs::read(&state).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&state, changed).unwrap();
        let begun = Witness::open(dir.path(), None, vec![log.vkey()]);
        assert!(
            matches!(begun, Err(WitnessError::State { .. })),
            "byte {at}"
        );
    }
    std::fs::write(&state, log.checkpoint().note()).unwrap();
    assert!(Witness::open(dir.path(), None, vec![log.vkey()]).is_err());
    std::fs::write(&state, &whole).unwrap();
    assert!(matches!(
        Witness::open(dir.path(), Some("another"), vec![log.vkey()]),
        Err(WitnessError::Named(_))
    ));
    drop(Witness::open(dir.path(), None, vec![log.vkey()]).unwrap());
    std::fs::write(dir.path().join(KEY_FILE), SigningKey::generate().unwrap()).unwrap();
    assert!(matches!(
        Witness::open(dir.path(), None, vec![log.vkey()]),
        Err(WitnessError::Key { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    for name in [None, Some("with space"), Some("a+b")] {
        assert!(matches!(
            Witness::open(empty.path(), name, Vec::new()),
            Err(WitnessError::Name(_))
        ));
    }
}
