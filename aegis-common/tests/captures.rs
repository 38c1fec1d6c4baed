//! What real programs send is read as it was meant.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic fails the test that called them")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use aegis_common::dns::{self, HEADER, MAX_STEPS, Reading, Step, labels};
use aegis_common::opening;

/// A question and its answer: name, type, addresses with the seconds that they hold. Without addresses: none is learned.
const DIALOGUES: [(&str, &str, u16, &[(&str, u32)]); 18] = [
    ("dig-dnsmasq-a", "api.aegis.test", 1, &[("192.0.2.10", 0)]),
    ("dig-dnsmasq-aaaa", "api.aegis.test", 28, &[("2001:db8::10", 0)]),
    ("dig-dnsmasq-cname", "www.aegis.test", 1, &[("192.0.2.14", 0)]),
    ("dig-dnsmasq-no-such-name", "nothing.aegis.test", 1, &[]),
    ("dig-dnsmasq-txt", "txt.aegis.test", 16, &[]),
    ("dig-systemd-resolved", "api.aegis.test", 28, &[("2001:db8::10", 0)]),
    ("dig-unbound-a-no-edns", "api.aegis.test", 1, &[("192.0.2.10", 300)]),
    // The other name alone, without its address.
    ("dig-unbound-cname", "www.aegis.test", 1, &[]),
    ("dig-unbound-cookie-padding", "api.aegis.test", 1, &[("192.0.2.10", 300)]),
    ("dig-unbound-cut-short", "many.aegis.test", 1, &[]),
    ("dig-unbound-dnssec-mixed-case", "api.aegis.test", 28, &[("2001:db8::10", 300)]),
    ("dig-unbound-https", "svc.aegis.test", 65, &[]),
    ("dig-unbound-many", "many.aegis.test", 1, MANY),
    ("dig-unbound-no-such-name", "nothing.aegis.test", 1, &[]),
    ("glibc-dnsmasq-a", "api.aegis.test", 1, &[("192.0.2.10", 0)]),
    ("glibc-dnsmasq-aaaa", "api.aegis.test", 28, &[("2001:db8::10", 0)]),
    ("systemd-resolved-dnsmasq-a", "api.aegis.test", 1, &[("192.0.2.10", 0)]),
    ("systemd-resolved-dnsmasq-aaaa", "api.aegis.test", 28, &[("2001:db8::10", 0)]),
];
/// As many as there are: told apart below.
const MANY: &[(&str, u32)] = &[("198.51.100.0", 60); 59];

/// The server that an opening names.
const OPENINGS: [(&str, Option<&str>); 11] = [
    ("curl-http", Some("api.aegis.test")),
    ("curl-https", Some("api.aegis.test")),
    ("curl-https-http1-1", Some("api.aegis.test")),
    ("git-https", Some("api.aegis.test")),
    // An address, which no rule about names covers.
    ("node-fetch-http", Some("127.0.0.1")),
    ("node-https", Some("api.aegis.test")),
    ("openssl", Some("api.aegis.test")),
    ("openssl-no-name", None),
    ("python-urllib-http", Some("api.aegis.test")),
    ("python-urllib-https", Some("api.aegis.test")),
    ("wget-http", Some("api.aegis.test")),
];

/// The parts of every capture by its name.
fn captures(begin: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut out = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_prefix(begin) else { continue };
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            match line {
                "question" | "answer" | "opening" => parts.push(Vec::new()),
                _ => parts.last_mut().unwrap().extend(bytes(line)),
            }
        }
        out.insert(name.to_owned(), parts);
    }
    out
}

fn bytes(line: &str) -> impl Iterator<Item = u8> {
    (0..line.len()).step_by(2).map(move |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
}

/// Name, type and addresses of a message.
fn message(bytes: &[u8], answer: bool) -> (String, u16, Vec<(IpAddr, u32)>) {
    let mut reading = Reading::new();
    assert!(reading.begin(bytes, u32::try_from(bytes.len()).unwrap(), [1, 2]) && reading.is_answer() == answer);
    let mut found = Vec::new();
    for _ in 0..MAX_STEPS {
        match reading.step(bytes) {
            Step::More => {}
            Step::Address => found.push((Ipv6Addr::from(reading.address).to_canonical(), reading.ttl)),
            Step::Bad => panic!("not read"),
            Step::End => break,
        }
    }
    if !reading.is_whole() {
        found.clear();
    }
    let name = name_of(&bytes[HEADER as usize..reading.name_end as usize]);
    (name, reading.kind, found)
}

fn name_of(wire: &[u8]) -> String {
    let labels: Vec<String> = labels(wire).map(|label| String::from_utf8(label.to_ascii_lowercase()).unwrap()).collect();
    labels.join(".")
}

#[test]
fn questions_and_answers_of_real_programs_are_read_to_their_end() {
    let captures = captures("dns-");
    assert_eq!(captures.len(), DIALOGUES.len());
    for (capture, name, kind, addresses) in DIALOGUES {
        let [question, answer] = captures[capture].as_slice() else { panic!("{capture}: not two messages") };
        assert_eq!(message(question, false), (name.to_owned(), kind, Vec::new()), "{capture}");
        let (asked, of, found) = message(answer, true);
        assert_eq!((asked.as_str(), of), (name, kind), "{capture}");
        if capture == "dig-unbound-many" {
            let distinct: std::collections::BTreeSet<IpAddr> = found.iter().map(|(address, _)| *address).collect();
            assert_eq!((found.len(), distinct.len()), (addresses.len(), addresses.len()), "{capture}");
            continue;
        }
        let expected: Vec<(IpAddr, u32)> = addresses.iter().map(|(address, ttl)| (address.parse().unwrap(), *ttl)).collect();
        assert_eq!(found, expected, "{capture}");
    }
}

#[test]
fn servers_that_real_clients_name_are_read() {
    let captures = captures("opening-");
    assert_eq!(captures.len(), OPENINGS.len());
    for (capture, server) in OPENINGS {
        let [bytes] = captures[capture].as_slice() else { panic!("{capture}: not one message") };
        let mut reading = opening::Reading::default();
        let mut message = bytes.clone();
        assert!(reading.begin(&message[..], u32::try_from(bytes.len()).unwrap()), "{capture}");
        let steps = (0..opening::MAX_STEPS).map(|_| reading.step(&message[..])).find(|step| *step != dns::Step::More);
        assert_eq!(steps, Some(Step::End), "{capture}");
        let mut name = None;
        if reading.is_named() {
            let last = (0..1024).map(|_| reading.step_left(&mut message[..])).find(|left| matches!(left, opening::Left::End | opening::Left::Bad));
            if last == Some(opening::Left::End) {
                name = Some(name_of(&message[reading.name_at as usize - 1..reading.name_end as usize]));
            }
        }
        assert_eq!(name.as_deref(), server, "{capture}");
    }
}
