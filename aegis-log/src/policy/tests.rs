use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::key::{Cosigner, SigningKey};

fn cosigner(name: &str) -> Cosigner {
    Cosigner::from_pkcs8(&SigningKey::generate().unwrap(), name).unwrap()
}

fn log() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap()
}

fn cosigned(log: &SigningKey, by: &[&Cosigner]) -> SignedCheckpoint {
    let checkpoint = SignedCheckpoint::sign(log, 20, Hash([9; 32]));
    by.iter().fold(checkpoint, |checkpoint, cosigner| {
        let line = cosigner.cosign(&checkpoint, 1_700_000_000);
        checkpoint.with_cosignature(&line, cosigner.key()).unwrap()
    })
}

#[test]
fn the_example_of_the_specification_is_met_by_two_of_three_and_one_of_three() {
    let log = log();
    let w: Vec<Cosigner> = ["x1", "x2", "x3", "y1", "y2", "y3"].map(cosigner).into();
    let mut text = format!("# two organisations\n\nlog {}\n", log.verifier());
    for (name, cosigner) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().zip(&w) {
        text += &format!(
            "witness\t{name}  {} https://{name}.example/w \n",
            cosigner.key()
        );
    }
    text += "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
             group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    assert_eq!(
        policy.witnesses()[3].url.as_deref(),
        Some("https://Y1.example/w")
    );
    for by in 0_u32..64 {
        let chosen: Vec<&Cosigner> = (0..6)
            .filter(|at| by >> at & 1 == 1)
            .map(|at| &w[at])
            .collect();
        let enough = (by & 0b111).count_ones() >= 2 && by & 0b11_1000 != 0;
        let answer = policy.check(&cosigned(&log, &chosen));
        assert_eq!(answer.is_ok(), enough, "{by:b}: {answer:?}");
        if let Ok(cosigners) = answer {
            assert_eq!(cosigners.len(), chosen.len());
        }
    }
    let Err(unmet) = policy.check(&cosigned(&log, &[&w[0], &w[4]])) else {
        panic!()
    };
    assert_eq!(
        unmet.to_string(),
        "the quorum \"X-and-Y\" is not reached: cosigned by X1, Y2 alone"
    );
}

#[test]
fn only_the_policys_logs_and_witnesses_count() {
    let (one, other) = (log(), log());
    let (own, stranger) = (cosigner("w"), cosigner("w"));
    let text = format!(
        "log {}\nwitness w {}\nquorum w\n",
        one.verifier(),
        own.key()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert!(policy.check(&cosigned(&one, &[&own])).is_ok());
    assert!(matches!(
        policy.check(&cosigned(&one, &[&stranger])),
        Err(Unmet::Quorum { .. })
    ));
    // The same origin under another key.
    assert!(matches!(
        policy.check(&cosigned(&other, &[&own])),
        Err(Unmet::Log(_))
    ));
    let elsewhere = SigningKey::from_seed(&[1; 32], &[8; 16]);
    assert!(matches!(
        policy.check(&cosigned(&elsewhere, &[&own])),
        Err(Unmet::UnknownLog(_))
    ));
    let forged = cosigned(&one, &[&own])
        .note()
        .replacen("\n20\n", "\n21\n", 1);
    let forged = SignedCheckpoint::parse_all(&forged).unwrap();
    assert!(matches!(policy.quorum(&forged[0]), Err(Unmet::Forged(_))));
    let nobody = Policy::parse(format!("log {}\nquorum none", one.verifier()).as_bytes()).unwrap();
    assert_eq!(nobody.check(&cosigned(&one, &[])), Ok(Vec::new()));
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_its_line() {
    let (log, a, b) = (log(), cosigner("a"), cosigner("b"));
    let (log, a, b) = (
        log.verifier().to_string(),
        a.key().to_string(),
        b.key().to_string(),
    );
    let begin = format!("log {log}\nwitness A {a}\nwitness B {b}\n");
    for (rest, line, part) in [
        ("", 4, "no quorum line"),
        ("quorum C\n", 4, "not defined above"),
        ("quorum A\nquorum A\n", 5, "more than one quorum"),
        ("group G 3 A B\nquorum G\n", 4, "3 of 2"),
        ("group G 0 A B\n", 4, "0 of 2"),
        ("group G any\n", 4, "1 of 0"),
        ("group G 01 A\n", 4, "not all, any or a number"),
        ("group G any A A\n", 4, "a member already"),
        ("group G any A\ngroup H any A B\n", 5, "a member already"),
        ("group G any H\ngroup H any A\n", 4, "not defined above"),
        ("group A any B\n", 4, "taken"),
        ("group none any B\n", 4, "taken"),
        ("group G any none\n", 4, "not defined above"),
        ("quorum A B\n", 4, "too few or too many"),
        ("quorums A\n", 4, "is not log"),
        ("quorum A\r\n", 4, "control characters"),
    ] {
        let error = Policy::parse(format!("{begin}{rest}").as_bytes()).unwrap_err();
        assert!(
            error.line == line && error.what.contains(part),
            "{rest:?}: {error}"
        );
    }
    for (line, part) in [
        (format!("log {log}"), "another line too"),
        (format!("witness C {a}"), "another line too"),
        (format!("log {a}"), "type 1"),
        (format!("witness C {log}"), "type 4"),
        (format!("witness A {}", cosigner("c").key()), "taken"),
        (format!("witness none {}", cosigner("c").key()), "taken"),
    ] {
        let error = Policy::parse(format!("{begin}{line}\nquorum A").as_bytes()).unwrap_err();
        assert!(
            error.line == 4 && error.what.contains(part),
            "{line:?}: {error}"
        );
    }
    // Names are bytes, and a quorum may stand before lines that it does not need.
    let text = [
        begin.as_bytes(),
        b"group \xff\xfe any A\nquorum \xff\xfe\ngroup G any B\n",
    ]
    .concat();
    assert!(Policy::parse(&text).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&text);
    }
}
