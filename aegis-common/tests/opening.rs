//! The reader of openings, held to a second one that is written the slow and obvious way.

use aegis_common::dns::{Step, hash_of, label_at, labels};
use aegis_common::hash::PathHasher;
use aegis_common::opening::{Left, MAX_STEPS, Reading};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

const KEY: [u64; 2] = [7, 9];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    Bad,
    Nameless,
    /// A host name, in small letters.
    Named(Vec<Vec<u8>>),
    /// A name that is none of a host.
    Odd,
}

/// By the steps that the kernel takes.
fn read(bytes: &[u8]) -> Read {
    let mut message = bytes.to_vec();
    let mut reading = Reading::default();
    if !reading.begin(&message[..], u32::try_from(bytes.len()).unwrap()) {
        return Read::Bad;
    }
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps <= MAX_STEPS, "no end");
        match reading.step(&message[..]) {
            Step::More => {}
            Step::End => break,
            _ => return Read::Bad,
        }
    }
    if !reading.is_named() {
        return Read::Nameless;
    }
    let mut hasher = PathHasher::new(KEY);
    for step in 0.. {
        assert!(step <= 256, "no end");
        match reading.step_left(&mut message[..]) {
            Left::More => {}
            Left::Label(at) => label_at(&mut hasher, &message[..], at),
            Left::End => break,
            Left::Bad => return Read::Odd,
        }
    }
    let wire = &message[reading.name_at as usize - 1..reading.name_end as usize];
    let name: Vec<Vec<u8>> = labels(wire).map(<[u8]>::to_ascii_lowercase).collect();
    assert_eq!(wire.len(), name.iter().map(|label| label.len() + 1).sum::<usize>());
    assert_eq!(hasher.finish(), hash_of(KEY, name.iter().rev().map(Vec::as_slice)), "as rules hash it");
    Read::Named(name)
}

/// The obvious way.
mod obvious {
    use super::Read;

    pub fn read(bytes: &[u8]) -> Read {
        if bytes.is_empty() || bytes.len() > 4095 {
            return Read::Bad;
        }
        let name = if bytes[0] == 22 { hello(bytes) } else { request(bytes) };
        match name {
            None => Read::Bad,
            Some(None) => Read::Nameless,
            Some(Some(name)) => host(&name),
        }
    }

    fn host(name: &[u8]) -> Read {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let name: Vec<Vec<u8>> = name.to_ascii_lowercase().split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
        let length: usize = name.iter().map(|label| label.len() + 1).sum();
        let fits = name.iter().all(|label| (1..=63).contains(&label.len()) && label.iter().copied().all(good));
        if fits && length <= 254 { Read::Named(name) } else { Read::Odd }
    }

    fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
        let (front, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(front)
    }

    fn number(bytes: &mut &[u8], count: usize) -> Option<usize> {
        Some(take(bytes, count)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn hello(mut bytes: &[u8]) -> Option<Option<Vec<u8>>> {
        let bytes = &mut bytes;
        let front = take(bytes, 3)?;
        if front[..2] != [22, 3] {
            return None;
        }
        let length = number(bytes, 2)?;
        let record = &mut take(bytes, length)?;
        if number(record, 1)? != 1 || number(record, 3)? != record.len() {
            return None;
        }
        take(record, 34)?;
        let session = number(record, 1)?;
        take(record, session)?;
        let ciphers = number(record, 2)?;
        take(record, ciphers)?;
        let compression = number(record, 1)?;
        take(record, compression)?;
        if number(record, 2)? != record.len() {
            return None;
        }
        let mut name = None;
        while !record.is_empty() {
            let kind = number(record, 2)?;
            let length = number(record, 2)?;
            let data = &mut take(record, length)?;
            if kind != 0 {
                continue;
            }
            let list = number(data, 2)?;
            if name.is_some() || list != data.len() || number(data, 1)? != 0 || number(data, 2)? != data.len() {
                return None;
            }
            name = Some(data.to_vec());
        }
        Some(name)
    }

    fn request(bytes: &[u8]) -> Option<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        let mut line = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'\r' {
                at += 1;
                if bytes.get(at) != Some(&b'\n') {
                    return None;
                }
            }
            if bytes[at] == b'\n' {
                if !lines.is_empty() && line.is_empty() {
                    return headers(&lines);
                }
                lines.push(std::mem::take(&mut line));
            } else {
                line.push(bytes[at]);
            }
            at += 1;
            if let [front] = &lines[..] {
                first(front)?;
            }
        }
        None
    }

    fn first(line: &[u8]) -> Option<()> {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let (method, rest) = line.split_at(space);
        let method = (1..=24).contains(&method.len()) && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
        let version = rest.len().checked_sub(9)?;
        let (target, version) = rest.split_at(version);
        let own = target.starts_with(b" /") || target == b" *" || target.starts_with(b" * ");
        (method && own && version.starts_with(b" HTTP/1.") && version[8].is_ascii_digit()).then_some(())
    }

    fn headers(lines: &[Vec<u8>]) -> Option<Option<Vec<u8>>> {
        let mut name = None;
        for line in &lines[1..] {
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                return None;
            }
            let folded = line.to_ascii_lowercase();
            if folded.starts_with(b"host ") || folded.starts_with(b"host\t") {
                return None;
            }
            let Some(_) = folded.strip_prefix(b"host:") else { continue };
            let value = line[5..].trim_ascii_start_blank();
            let end = value.iter().position(|byte| b" \t:".contains(byte)).unwrap_or(value.len());
            let (host, rest) = value.split_at(end);
            if name.is_some() || !rest.iter().all(|byte| b" \t:0123456789".contains(byte)) {
                return None;
            }
            name = Some(host.to_vec());
        }
        Some(name)
    }

    trait Blank {
        fn trim_ascii_start_blank(&self) -> &[u8];
    }

    impl Blank for [u8] {
        fn trim_ascii_start_blank(&self) -> &[u8] {
            let start = self.iter().position(|byte| !b" \t".contains(byte)).unwrap_or(self.len());
            &self[start..]
        }
    }
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec("[a-zA-Z0-9_-]{1,12}", 1..6).prop_map(|labels| labels.join(".").into_bytes()),
        "[a-z.]{0,6}".prop_map(String::into_bytes),
        "(a{60,66}\\.){0,5}b{1,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..9),
    ]
}

fn sized(length: usize, bytes: &[u8]) -> Vec<u8> {
    let number = bytes.len().to_be_bytes();
    [&number[8 - length..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, data)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &sized(2, &[&[0][..], &sized(2, name)].concat()))
}

fn hello(session: &[u8], ciphers: &[u8], extensions: &[u8]) -> Vec<u8> {
    let body = [&[3, 3][..], &[7; 32], &sized(1, session), &sized(2, ciphers), &sized(1, &[0]), &sized(2, extensions)].concat();
    let handshake = [&[1][..], &sized(3, &body)].concat();
    [&[22, 3, 1][..], &sized(2, &handshake)].concat()
}

fn hellos() -> impl Strategy<Value = Vec<u8>> {
    let some = prop_oneof![
        4 => (1u16..60, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, data)| extension(kind, &data)),
        2 => names().prop_map(|name| server_name(&name)),
    ];
    let session = prop_oneof![Just(vec![]), Just(vec![1; 32]), prop::collection::vec(any::<u8>(), 0..255)];
    let extensions = prop::collection::vec(some, 0..6).prop_map(|all| all.concat());
    (session, prop::collection::vec(any::<u8>(), 0..80), extensions).prop_map(|(s, c, e)| hello(&s, &c, &e))
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let front = prop_oneof![
        6 => "(GET|POST|M-SEARCH) /[a-z]{0,30} HTTP/1\\.[01]",
        1 => "[A-Z]{20,28} / HTTP/1\\.1",
        1 => "(GET|OPTIONS) (/|\\*|\\*x|http://b.c/)( /)? HTTP/(1|2)\\.[01x]",
        1 => "[a-zA-Z /]{0,20}",
    ];
    let line = prop_oneof![
        3 => "[a-zA-Z-]{1,12}: [ -~]{0,30}",
        3 => "[hH]ost:[ \\t]{0,2}[a-z.]{0,12}(:[0-9]{0,4})?[ \\t]{0,2}",
        1 => "[ \\t]?[hH]ost[ \\t]?:?[ -~]{0,9}",
        1 => "[ -~]{0,9}",
    ];
    let end = prop_oneof![9 => Just("\r\n"), 3 => Just("\n"), 1 => Just("\r")];
    let lines = prop::collection::vec((line, end.clone()), 0..6);
    (front, end.clone(), lines, end).prop_map(|(front, first, lines, last)| {
        let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
        format!("{front}{first}{lines}{last}").into_bytes()
    })
}

fn openings() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![hellos(), requests()];
    (whole, any::<prop::sample::Index>(), any::<u8>(), 0u8..8).prop_map(|(mut bytes, at, byte, how)| {
        let index = at.index(bytes.len());
        match how {
            0 => bytes.truncate(index),
            1 => bytes[index] = byte,
            2 => bytes.insert(index, byte),
            3 => bytes.extend([byte; 5]),
            _ => {}
        }
        bytes
    })
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(20_000))]
    #[test]
    fn both_readers_say_the_same(bytes in openings()) {
        prop_assert_eq!(read(&bytes), obvious::read(&bytes), "{:?}", bytes.escape_ascii().to_string());
    }
}

fn named(name: &str) -> Read {
    Read::Named(name.split('.').map(|label| label.as_bytes().to_vec()).collect())
}

#[test]
fn names_are_found() {
    assert_eq!(read(&hello(&[], &[], &server_name(b"API.example.org"))), named("api.example.org"));
    assert_eq!(read(b"GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: a.example\r\n\r\n"), named("a.example"));
    assert_eq!(read(b"POST /x?y HTTP/1.0\nhOST:a.example:8080 \n\n"), named("a.example"));
    assert_eq!(read(&hello(&[1; 32], &[0; 2], &extension(43, &[2, 3, 4]))), Read::Nameless);
    assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n"), Read::Nameless);
}

#[test]
fn what_servers_may_read_in_two_ways_is_bad() {
    let two = [server_name(b"a.example"), server_name(b"b.example")].concat();
    let mut split = hello(&[], &[], &server_name(b"a.example"));
    // The handshake goes on in another record.
    split[8] += 4;
    for bytes in [&two[..], &split[..]] {
        assert_eq!(read(bytes), Read::Bad);
    }
    assert_eq!(read(&hello(&[], &[], &two)), Read::Bad);
    for request in [
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : b.example\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\rHost: b.example\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n",
        "GET /\r\nHost: a.example\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "SSH-2.0-x\r\n",
    ] {
        assert_eq!(read(request.as_bytes()), Read::Bad, "{request}");
    }
    for odd in ["a.example.", ".a", "a..b", "[::1]", "a/b", ""] {
        let name = server_name(odd.as_bytes());
        assert_eq!(read(&hello(&[], &[], &name)), Read::Odd, "{odd}");
    }
}
