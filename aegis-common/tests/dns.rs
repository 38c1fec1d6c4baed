//! The reader of DNS messages, held to a second one that is written the slow and obvious way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aegis_common::dns::{
    HEADER, MAX_MESSAGE, MAX_STEPS, Message, Reading, Step, fold, hash_of, is_private, labels, record,
};
use aegis_common::hash::PathHasher;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

const KEY: [u64; 2] = [7, 9];

/// What reading a message comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    id: u16,
    kind: u16,
    name: Vec<Vec<u8>>,
    /// Addresses with the seconds that they hold.
    found: Vec<(IpAddr, u32)>,
}

/// By the steps that the kernel takes.
fn read(bytes: &[u8]) -> Option<Read> {
    let mut reading = Reading::new();
    if !reading.begin(bytes, u32::try_from(bytes.len()).ok()?, KEY) {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..MAX_STEPS {
        match reading.step(bytes) {
            Step::More => {}
            Step::Address => found.push((Ipv6Addr::from(reading.address).to_canonical(), reading.ttl)),
            Step::Bad => return None,
            Step::End => {
                let wire = &bytes[HEADER as usize..reading.name_end as usize];
                let name: Vec<Vec<u8>> = labels(wire).map(<[u8]>::to_ascii_lowercase).collect();
                assert_eq!(name.len(), reading.labels as usize);
                let starts = &reading.starts[..name.len()];
                for (start, label) in starts.iter().zip(&name) {
                    assert_eq!(usize::from(bytes[usize::from(*start)]), label.len());
                }
                return Some(Read { id: reading.id, kind: reading.kind, name, found });
            }
        }
    }
    None
}

/// The obvious way: names as lists, everything looked at from the beginning.
mod obvious {
    use super::{IpAddr, Ipv4Addr, Ipv6Addr, MAX_MESSAGE, Read};

    fn short(bytes: &[u8], at: usize) -> Option<usize> {
        Some(usize::from(*bytes.get(at)?) << 8 | usize::from(*bytes.get(at + 1)?))
    }

    fn name(bytes: &[u8], mut at: usize) -> Option<(Vec<Vec<u8>>, usize)> {
        let (mut labels, mut after, mut before) = (Vec::new(), None, at);
        loop {
            match *bytes.get(at)? {
                0 => return (labels.iter().map(|l: &Vec<u8>| l.len() + 1).sum::<usize>() < 255)
                    .then(|| (labels, after.unwrap_or(at + 1))),
                first if first >= 0xc0 => {
                    let to = short(bytes, at)? & 0x3fff;
                    after.get_or_insert(at + 2);
                    if to < 12 || to >= before {
                        return None;
                    }
                    (at, before) = (to, to);
                }
                first if first > 63 => return None,
                first => {
                    let end = at + 1 + usize::from(first);
                    labels.push(bytes.get(at + 1..end)?.to_ascii_lowercase());
                    at = end;
                }
            }
        }
    }

    pub fn read(bytes: &[u8]) -> Option<Read> {
        if bytes.len() <= 12 || bytes.len() > MAX_MESSAGE as usize {
            return None;
        }
        let [id, flags, questions, answers, authority, additional] =
            [0, 2, 4, 6, 8, 10].map(|at| short(bytes, at).unwrap_or(0));
        if questions != 1 || flags & 0x7800 != 0 {
            return None;
        }
        let (asked, after) = name(bytes, 12)?;
        let (kind, class) = (short(bytes, after)?, short(bytes, after + 2)?);
        if class != 1 {
            return None;
        }
        let mut at = after + 4;
        let mut found = Vec::new();
        if flags & 0x8000 == 0 {
            let extended = additional == 1
                && bytes.get(at) == Some(&0)
                && short(bytes, at + 1) == Some(41)
                && short(bytes, at + 9).is_some_and(|length| at + 11 + length == bytes.len());
            let plain = additional == 0 && at == bytes.len();
            if flags & 0x20f != 0 || answers != 0 || authority != 0 || bytes.len() > 512 || !(plain || extended) {
                return None;
            }
        } else if flags & 0x20f == 0 && (kind == 1 || kind == 28) {
            let mut wanted = asked.clone();
            for _ in 0..answers {
                let (owner, after) = name(bytes, at)?;
                let (kind_here, class) = (short(bytes, after)?, short(bytes, after + 2)?);
                let ttl = short(bytes, after + 4)? << 16 | short(bytes, after + 6)?;
                let length = short(bytes, after + 8)?;
                let data = bytes.get(after + 10..after + 10 + length)?;
                at = after + 10 + length;
                if class != 1 || owner != wanted {
                    continue;
                }
                match kind_here {
                    5 => {
                        let (alias, end) = name(bytes, after + 10)?;
                        if end != at {
                            return None;
                        }
                        wanted = alias;
                    }
                    _ if kind_here != kind => {}
                    1 => found.push((Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(), u32::try_from(ttl).ok()?)),
                    _ => {
                        let address = Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?);
                        found.push((IpAddr::V6(address).to_canonical(), u32::try_from(ttl).ok()?));
                    }
                }
            }
        }
        Some(Read { id: u16::try_from(id).ok()?, kind: u16::try_from(kind).ok()?, name: asked, found })
    }
}

/// A message under construction.
#[derive(Clone, Debug)]
struct Build(Vec<u8>);

impl Build {
    fn new(flags: u16, counts: [u16; 4]) -> Self {
        let words = [0x1234, flags].into_iter().chain(counts);
        Self(words.flat_map(u16::to_be_bytes).collect())
    }
    fn name(mut self, name: &str) -> Self {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            self.0.push(u8::try_from(label.len()).expect("short"));
            self.0.extend(label.as_bytes());
        }
        self.0.push(0);
        self
    }
    fn pointer(mut self, to: u16) -> Self {
        self.0.extend((0xc000 | to).to_be_bytes());
        self
    }
    fn shorts<const N: usize>(mut self, values: [u16; N]) -> Self {
        self.0.extend(values.into_iter().flat_map(u16::to_be_bytes));
        self
    }
    fn data(self, kind: u16, ttl: u16, data: &[u8]) -> Self {
        let mut out = self.shorts([kind, 1, 0, ttl, u16::try_from(data.len()).expect("short")]);
        out.0.extend(data);
        out
    }
}

const ANSWERS: u16 = 0x8180;
const ASKS: u16 = 0x0100;

fn question(name: &str, kind: u16) -> Build {
    Build::new(ASKS, [1, 0, 0, 0]).name(name).shorts([kind, 1])
}

fn answer(name: &str, kind: u16, records: u16) -> Build {
    Build::new(ANSWERS, [1, records, 0, 0]).name(name).shorts([kind, 1])
}

fn addresses(bytes: &[u8]) -> Option<Vec<String>> {
    read(bytes).map(|read| read.found.iter().map(|(address, ttl)| format!("{address} {ttl}")).collect())
}

#[test]
fn a_question_is_read_and_its_case_does_not_matter() {
    let read_small = read(&question("api.openai.com", record::A).0).expect("question");
    let read_mixed = read(&question("aPi.OpenAI.com", record::A).0).expect("question");
    assert_eq!(read_small, read_mixed);
    assert_eq!(read_small.name, [&b"api"[..], b"openai", b"com"]);
}

#[test]
fn edns_may_follow_a_question_and_nothing_else() {
    let mut asked = question("a.example", record::A);
    asked.0[11] = 1;
    let mut extended = asked.clone();
    extended.0.push(0);
    let extended = extended.shorts([record::OPT, 1232, 0, 0, 4]).shorts([10, 0]);
    assert!(read(&extended.0).is_some());
    assert!(read(&extended.clone().shorts([0]).0).is_none(), "bytes behind it");
    assert!(read(&asked.0).is_none(), "announced and not there");
    assert!(read(&question("a.example", record::A).shorts([0xbeef]).0).is_none());
}

#[test]
fn what_is_no_single_question_is_refused() {
    for (flags, counts) in [
        (ASKS, [0, 0, 0, 0]),
        (ASKS, [2, 0, 0, 0]),
        (ASKS, [1, 1, 0, 0]),
        (ASKS, [1, 0, 1, 0]),
        (ASKS | 0x2800, [1, 0, 0, 0]),
        (ASKS | 0x0200, [1, 0, 0, 0]),
        (ASKS | 0x0003, [1, 0, 0, 0]),
    ] {
        let message = Build::new(flags, counts).name("a.example").shorts([record::A, 1]);
        assert!(read(&message.0).is_none(), "{flags:x} {counts:?}");
    }
    let chaos = Build::new(ASKS, [1, 0, 0, 0]).name("a.example").shorts([record::A, 3]);
    assert!(read(&chaos.0).is_none());
    let pointing = Build::new(ASKS, [1, 0, 0, 0]).pointer(12).shorts([record::A, 1]);
    assert!(read(&pointing.0).is_none());
    let long: String = (0..50).map(|_| "label.").collect();
    assert!(read(&question(&long, record::A).0).is_none(), "a name over 255 bytes");
    assert!(read(&question(&"l".repeat(63), record::A).0).is_some());
    let mut over = question(&"l".repeat(63), record::A);
    over.0[12] = 64;
    assert!(read(&over.0).is_none());
}

#[test]
fn addresses_follow_the_chain_of_names() {
    let chain = answer("www.a.example", record::A, 4)
        .pointer(12)
        .data(record::CNAME, 60, b"\x03cdn\x01b\x07example\0")
        .name("cdn.B.example")
        .data(record::CNAME, 60, b"\x02e1\xc0\x10")
        .name("e1.a.example")
        .data(record::A, 300, &[192, 0, 2, 10])
        .name("other.example")
        .data(record::A, 300, &[192, 0, 2, 66]);
    assert_eq!(addresses(&chain.0).expect("answer"), ["192.0.2.10 300"]);
}

#[test]
fn only_the_type_in_question_counts() {
    let six: [u8; 16] = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
    let both = |kind| answer("a.example", kind, 2)
        .pointer(12).data(record::A, 9, &[192, 0, 2, 1])
        .pointer(12).data(record::AAAA, 9, &six);
    assert_eq!(addresses(&both(record::A).0).expect("answer"), ["192.0.2.1 9"]);
    assert_eq!(addresses(&both(record::AAAA).0).expect("answer"), ["2001:db8::1 9"]);
    assert_eq!(addresses(&both(65).0).expect("answer"), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_cut_or_says_no_teaches_nothing() {
    for flags in [ANSWERS | 0x0200, ANSWERS | 3] {
        let mut message = answer("a.example", record::A, 1).pointer(12).data(record::A, 9, &[192, 0, 2, 1]);
        message.0[2..4].copy_from_slice(&flags.to_be_bytes());
        assert_eq!(addresses(&message.0).expect("read"), Vec::<String>::new(), "{flags:x}");
    }
}

#[test]
fn pointers_lead_to_the_front_alone() {
    let circle = answer("a.example", record::A, 1).pointer(27).data(record::A, 9, &[192, 0, 2, 1]);
    assert_eq!(circle.0[27..29], [0xc0, 27], "it points at itself");
    assert!(read(&circle.0).is_none());
    let forward = answer("a.example", record::A, 1).pointer(40).data(record::A, 9, &[192, 0, 2, 1]);
    assert!(read(&forward.0).is_none());
    let header = answer("a.example", record::A, 1).pointer(4).data(record::A, 9, &[192, 0, 2, 1]);
    assert!(read(&header.0).is_none());
}

#[test]
fn the_hash_of_a_rule_is_met_from_the_right() {
    let mut hasher = PathHasher::new(KEY);
    for label in [&b"com"[..], b"googleapis"] {
        hasher.component(label);
    }
    let rule = hash_of(KEY, [&b"com"[..], b"googleapis"].into_iter());
    assert_eq!(rule, hasher.finish());
    assert_ne!(rule, hash_of(KEY, [&b"googleapis"[..], b"com"].into_iter()));
}

#[test]
fn private_addresses_are_known() {
    let private = |text: &str| {
        let address = match text.parse().expect("address") {
            IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address),
            IpAddr::V6(address) => address,
        };
        is_private(&address.octets())
    };
    for text in [
        "0.0.0.0", "10.1.2.3", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "198.19.255.255", "168.63.129.16", "224.0.0.1",
        "255.255.255.255", "::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fd00:ec2::254", "ff02::1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "100::1",
    ] {
        assert!(private(text), "{text}");
    }
    for text in [
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.2.1",
        "198.17.0.1", "198.20.0.1", "198.51.100.1", "203.0.113.1", "223.255.255.255", "2001:db8::1", "2606:4700::1",
        "64:ff9b::c000:201", "2002:c000:201::1",
    ] {
        assert!(!private(text), "{text}");
    }
}

/// Pieces of which messages are made that are nearly good ones.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"\x03www\x07example\0".to_vec()),
        Just(b"\x03wWw\x07eXample\0".to_vec()),
        Just(b"\x02cd\xc0\x10".to_vec()),
        Just(vec![0xc0, 12]),
        Just(vec![0xc0, 16]),
        Just(vec![0xc0, 45]),
        Just(vec![0]),
        Just(vec![0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]),
        Just(vec![0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        Just([&[0, 5, 0, 1, 0, 0, 0, 60, 0, 5][..], b"\x02cd\xc0\x10"].concat()),
        Just(vec![0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 16]),
        Just(vec![0, 41, 4, 208, 0, 0, 0, 0, 0, 0]),
        prop::collection::vec(any::<u8>(), 0..6),
    ]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(20_000))]

    #[test]
    fn both_readers_agree(
        answers in any::<bool>(),
        counts in (0u16..3, 0u16..6, 0u16..2, 0u16..3),
        asked in prop_oneof![Just("www.example"), Just("a.b.c.example"), Just(""), Just("WWW.example")],
        kind in prop_oneof![Just(record::A), Just(record::AAAA), Just(65u16)],
        odd in prop_oneof![8 => Just(0u16), 1 => any::<u16>()],
        pieces in prop::collection::vec(piece(), 0..14),
    ) {
        let questions = if counts.0 == 2 { 2 } else { 1 };
        let flags = if answers { ANSWERS } else { ASKS } | odd;
        let counts = if answers { [questions, counts.1, counts.2, counts.3] } else { [questions, 0, 0, counts.3] };
        let mut message = Build::new(flags, counts).name(asked).shorts([kind, 1]).0;
        message.extend(pieces.concat());
        prop_assert_eq!(read(&message), obvious::read(&message));
    }

    #[test]
    fn folding_is_of_ascii_capitals_alone(word in any::<u64>()) {
        let bytes = word.to_le_bytes().map(|byte| byte.to_ascii_lowercase());
        prop_assert_eq!(fold(word), u64::from_le_bytes(bytes));
        prop_assert_eq!(word.to_le_bytes()[..].word(0), word);
    }
}
