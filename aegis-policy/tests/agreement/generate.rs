//! Random hosts, manifests and questions.
//!
//! Names come from a small alphabet, so that rules, mounts, links and questions meet often.

use aegis_policy::host::FakeHost;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question.
#[derive(Clone, Debug)]
pub enum Question {
    /// One name.
    File { path: String, wanted: u8 },
    /// A program with a content and arguments.
    Exec { path: String, content: u8, argv: Vec<&'static str> },
    /// A program with a variable in its environment.
    Variable { name: &'static str, value: &'static str },
    /// A hard link.
    Link { from: String, to: String },
    /// A rename.
    Rename {
        from: String,
        to: String,
        directory: bool,
    },
    /// An address.
    Name {
        name: &'static str,
    },
    Listen {
        address: IpAddr,
        port: u16,
    },
    Opening {
        program: Option<String>,
        name: &'static str,
        said: Option<&'static str>,
        address: IpAddr,
        port: u16,
    },
    Named {
        program: Option<String>,
        name: &'static str,
        address: IpAddr,
        port: u16,
        protocol: u8,
    },
    Network {
        program: Option<String>,
        address: IpAddr,
        port: u16,
        protocol: u8,
    },
}

/// A path of up to four small names, sometimes one that the baseline speaks of.
pub fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("c"), 1 => Just("d")];
    let depth = prop_oneof![2 => Just(1usize), 4 => Just(2), 3 => Just(3), 1 => Just(4)];
    let small = depth
        .prop_flat_map(move |n| vec(name.clone(), n))
        .prop_map(|p| format!("/{}", p.join("/")));
    let known = prop_oneof![
        Just("/etc/shadow"),
        Just("/etc/passwd"),
        Just("/etc/ssl"),
        Just("/usr/bin/a"),
        Just("/bin/b"),
        Just("/bin"),
        Just("/proc/1/a"),
        Just("/sys/fs/bpf/a"),
        Just("/sys/fs/cgroup/a"),
        Just("/dev/null"),
        Just("/"),
    ]
    .prop_map(str::to_owned);
    prop_oneof![6 => small, 1 => known]
}

/// A glob over the same small names: literal, wild and `**` components.
pub fn glob() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        5 => prop_oneof![2 => Just("a"), 2 => Just("b"), 1 => Just("c")],
        3 => Just("*"),
        4 => Just("**"),
        3 => prop_oneof![Just("[ab]"), Just("[!a]"), Just("?"), Just("[!b-c]"), Just("*[a]"), Just("[ac]*"), Just("*?*")],
        2 => prop_oneof![Just("{a,b}"), Just("{a/b,[c-d]}"), Just("{**/a,b*}"), Just("[b]")],
    ];
    let top = prop_oneof![6 => Just(""), 1 => Just("/usr"), 1 => Just("/bin"), 1 => Just("/etc")];
    (top, vec(part, 1..5)).prop_map(|(top, mut parts)| {
        // At the end it says nothing, and the rule would be there twice.
        while parts.last() == Some(&"**") {
            parts.pop();
        }
        let path = format!("{top}/{}", parts.join("/"));
        if parts.is_empty() && !top.is_empty() { top.to_owned() } else { path }
    })
}

/// A path, or a glob.
fn path_or_glob() -> impl Strategy<Value = String> {
    prop_oneof![3 => path(), 2 => glob()]
}

/// One step of making a host.
#[derive(Clone, Debug)]
pub enum Step {
    /// A filesystem (or a part of one that is mounted elsewhere too).
    Mount { dev: u32, root: String, at: String },
    /// A symbolic link.
    Link { at: String, target: String },
    /// A file with two names, if both are on one device.
    File { at: String, also: String, ino: u64 },
    /// A program.
    Program { at: String, ino: u64, content: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let root = prop_oneof![Just("/".to_owned()), path()];
    let target = prop_oneof![
        3 => path(),
        1 => path().prop_map(|p| p.trim_start_matches('/').to_owned()),
        1 => path().prop_map(|p| format!("..{p}")),
        1 => path().prop_map(|p| format!(".{p}/../a/")),
    ];
    prop_oneof![
        3 => (prop_oneof![Just(1u32), 10..14u32], root, path()).prop_map(|(dev, root, at)| Step::Mount { dev, root, at }),
        2 => (path(), target).prop_map(|(at, target)| Step::Link { at, target }),
        2 => (path(), path(), 1..4u64).prop_map(|(at, also, ino)| Step::File { at, also, ino }),
        2 => (path(), 4..7u64, 0..3u8).prop_map(|(at, ino, content)| Step::Program { at, ino, content }),
    ]
}

/// Steps of making a host.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 0..9)
}

/// Makes the host. Parents of what is put in exist as directories.
pub fn host(steps: &[Step]) -> FakeHost {
    let mut host = FakeHost::linux();
    for step in steps {
        match step {
            Step::Mount { dev, root, at } if at != "/" => host.mount(*dev, root, at, "ext4"),
            Step::Mount { .. } => {}
            Step::Link { at, target } => {
                parents(&mut host, at);
                host.link(at, target);
            }
            Step::File { at, also, ino } => {
                for name in [at, also] {
                    parents(&mut host, name);
                    host.file(name, *ino);
                }
            }
            Step::Program { at, ino, content } => {
                parents(&mut host, at);
                host.program(at, *ino, [*content; 32]);
            }
        }
    }
    host
}

/// Makes the parents directories; a link, file or program that stood there is gone.
fn parents(host: &mut FakeHost, at: &str) {
    for (end, _) in at.match_indices('/').skip(1) {
        host.directory(&at[..end]);
    }
}

fn list(paths: &[String]) -> String {
    let mut seen = Vec::new();
    for path in paths {
        if !seen.contains(path) {
            seen.push(path.clone());
        }
    }
    format!("{seen:?}")
}

fn net_entry() -> impl Strategy<Value = String> {
    let v4 = (
        0..3u8,
        0..3u8,
        prop_oneof![Just(0u8), Just(8), Just(16), Just(24), Just(31), Just(32)],
    )
        .prop_map(|(b, d, length)| {
            let bits = Ipv4Addr::new(10, b, 0, d).to_bits();
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            format!("{}/{length}", Ipv4Addr::from_bits(bits & mask))
        });
    let v6 = (
        0..3u16,
        prop_oneof![Just(0u8), Just(16), Just(32), Just(64), Just(128)],
    )
        .prop_map(|(d, length)| {
            let bits = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, d).to_bits();
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            format!("{}/{length}", Ipv6Addr::from_bits(bits & mask))
        });
    let other = prop_oneof![
        Just("127.0.0.0/8"),
        Just("127.0.0.1"),
        Just("::1"),
        Just("::/0"),
        Just("0.0.0.0/0")
    ];
    let cidr = prop_oneof![4 => v4, 2 => v6, 2 => other.prop_map(str::to_owned)];
    let ports = option::of(prop_oneof![
        Just("[1]"),
        Just("[2, \"5-9\"]"),
        Just("[\"1-6\"]")
    ]);
    let protocol = option::of(prop_oneof![Just("tcp"), Just("udp")]);
    (cidr, ports, protocol).prop_map(|(cidr, ports, protocol)| {
        let mut out = format!("cidr: \"{cidr}\"");
        for (key, value) in [("ports", ports), ("protocol", protocol)] {
            out.extend(value.map(|v| format!(", {key}: {v}")));
        }
        format!("{{{out}}}")
    })
}

/// The program that asks; some have no name.
fn program() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.8, path())
}

/// The program that an address rule is for.
fn exe() -> impl Strategy<Value = Option<String>> {
    option::weighted(0.3, path().prop_map(|path| format!("{path:?}")))
}

/// An address that a rule allows.
fn allowed_entry() -> impl Strategy<Value = String> {
    (net_entry(), exe()).prop_map(|(entry, exe)| for_program(entry, exe))
}

fn for_program(entry: String, exe: Option<String>) -> String {
    match (entry.strip_suffix('}'), exe) {
        (Some(entry), Some(exe)) => format!("{entry}, exe: {exe}}}"),
        _ => entry,
    }
}

/// A host name that a rule allows.
fn host_entry() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("a.example"), Just("b.a.example"), Just("*.a.example"), Just("*.example"), Just("example"), Just("A.Example"),
        Just("*.b.a.example"),
    ];
    let ports = option::of(prop_oneof![Just("[1]"), Just("[2, \"5-9\"]"), Just("[\"1-6\"]"), Just("[80, 443]")]);
    let protocol = prop_oneof![Just("tcp"), Just("udp")].prop_map(Some);
    let sni = option::of(prop_oneof![Just("off"), Just("record"), Just("enforce")]);
    (name, ports, protocol, sni).prop_map(|(name, ports, protocol, sni)| {
        let mut out = format!("host: \"{name}\"");
        for (key, value) in [("ports", ports), ("protocol", protocol), ("sni", sni)] {
            out.extend(value.map(|v| format!(", {key}: {v}")));
        }
        format!("{{{}}}", out.to_ascii_lowercase())
    })
}

/// An address that is listened at.
fn listen_entry() -> impl Strategy<Value = String> {
    let address = prop_oneof![
        Just("0.0.0.0"), Just("::"), Just("127.0.0.1"), Just("10.0.0.0/16"), Just("10.0.0.1"), Just("2001:db8::/64"), Just("::1"), Just("10.1.0.2"),
    ];
    let port = prop_oneof![Just("1"), Just("\"2-6\""), Just("\"1-9\""), Just("8")];
    (address, port).prop_map(|(address, port)| format!("{{address: \"{address}\", port: {port}}}"))
}

/// A name that is asked for.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a.example"), Just("B.A.example"), Just("c.b.a.example"), Just("x.example"), Just("example"),
        Just("aa.example"), Just("c.a.example"), Just("other"),
    ]
}

/// An argument.
fn word() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("x"), Just("y"), Just("delete it"), Just("")]
}

/// Variables that a manifest denies.
fn variables() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop_oneof![Just("LD_PRELOAD"), Just("LD_*"), Just("L*"), Just("X"), Just("XY*")], 0..3)
}

/// Entries of `exec.allow` that pin a content, and of `exec.deny` that name arguments.
fn conditions() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let pin = (path(), 0..3u8)
        .prop_map(|(path, content)| format!("{{path: {path:?}, sha256: {:?}}}", format!("{content:02x}").repeat(32)));
    let argv = (path(), vec(word(), 1..3)).prop_map(|(path, argv)| format!("{{path: {path:?}, argv: {argv:?}}}"));
    (vec(pin, 0..2), vec(argv, 0..3))
}

/// A list with entries that are mappings behind its paths.
fn with(paths: &[String], more: Vec<String>) -> String {
    let mut all: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    all.extend(more);
    format!("[{}]", dedup(all).join(", "))
}

/// A manifest.
pub fn manifest() -> impl Strategy<Value = String> {
    let paths = |n| vec(path_or_glob(), 0..n);
    let unix = option::weighted(0.2, path_or_glob());
    let hosts = (host_entry(), exe()).prop_map(|(entry, exe)| for_program(entry, exe));
    let nets = (vec(allowed_entry(), 0..4), vec(hosts, 0..4), vec(net_entry(), 0..3), vec(listen_entry(), 0..4), unix, any::<bool>());
    let files = (paths(4), paths(5), paths(3), paths(4), paths(3));
    let words = (
        prop_oneof![2 => Just("deny"), 1 => Just("allow")],
        prop_oneof![3 => Just("none"), 1 => Just("linux")],
        any::<bool>(),
    );
    (nets, files, conditions(), variables(), words).prop_map(|((mut allow, hosts, deny, listen, unix, private), (read, write, no, run, ban), (pins, arguments), mut variables, (default, baseline, anonymous))| {
        allow.extend(hosts);
        let mut allow = dedup(allow);
        variables.sort_unstable();
        variables.dedup();
        allow.extend(unix.map(|p| format!("{{unix: {p:?}}}")));
        format!(
            "version: \"1.0\"\nagent: {{name: x}}\ndefault: {default}\nbaseline: {baseline}\npermissions:\n  network:\n    allow: [{}]\n    deny: [{}]\n    listen: [{}]\n    dns: {{private_answers: {}}}\n    sni: {}\n  fs:\n    read: {}\n    write: {}\n    deny: {}\n  exec:\n    allow: {}\n    deny: {}\n    environment: {{deny: {variables:?}}}\n    anonymous: {}\n",
            allow.join(", "),
            dedup(deny).join(", "),
            dedup(listen).join(", "),
            if private { "allow" } else { "deny" },
            // From what is random already.
            ["enforce", "record", "off"][(read.len() + no.len()) % 3],
            list(&read),
            list(&write),
            list(&no),
            with(&run, pins),
            with(&ban, arguments),
            if anonymous { "allow" } else { "deny" },
        )
    })
}

fn dedup(mut entries: Vec<String>) -> Vec<String> {
    entries.sort();
    entries.dedup();
    entries
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        6 => (0..3u8, 0..3u8).prop_map(|(b, d)| IpAddr::V4(Ipv4Addr::new(10, b, 0, d))),
        2 => (0..3u8, 0..3u8).prop_map(|(b, d)| IpAddr::V6(Ipv4Addr::new(10, b, 0, d).to_ipv6_mapped())),
        2 => (0..3u16, 0..2u16).prop_map(|(c, d)| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, c, d))),
        1 => prop_oneof![Just("127.0.0.1"), Just("127.9.9.9"), Just("::1"), Just("0.0.0.0"), Just("::"), Just("192.0.2.1"), Just("::ffff:0.0.0.0")]
            .prop_map(|a| a.parse().unwrap()),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    prop_oneof![
        6 => (path(), prop_oneof![4 => Just(1u8), 2 => Just(2), 2 => Just(4), 2 => Just(8), 1 => 1..16u8]).prop_map(|(path, wanted)| Question::File { path, wanted }),
        6 => (path(), 0..3u8, vec(word(), 0..5)).prop_map(|(path, content, argv)| Question::Exec { path, content, argv }),
        1 => (prop_oneof![Just("LD_PRELOAD"), Just("LD_"), Just("L"), Just("X"), Just("XY"), Just("HOME")], prop_oneof![Just(""), Just("LD_")])
            .prop_map(|(name, value)| Question::Variable { name, value }),
        1 => (path(), path()).prop_map(|(from, to)| Question::Link { from, to }),
        5 => (path(), path(), prop_oneof![3 => Just(true), 2 => Just(false)]).prop_map(|(from, to, directory)| Question::Rename { from, to, directory }),
        4 => (program(), address(), 0..11u16, prop_oneof![Just(6u8), Just(17), Just(1)])
            .prop_map(|(program, address, port, protocol)| Question::Network { program, address, port, protocol }),
        2 => name().prop_map(|name| Question::Name { name }),
        4 => (program(), name(), address(), prop_oneof![3 => 0..11u16, 1 => Just(443)], prop_oneof![Just(6u8), Just(17)])
            .prop_map(|(program, name, address, port, protocol)| Question::Named { program, name, address, port, protocol }),
        3 => (address(), 0..11u16).prop_map(|(address, port)| Question::Listen { address, port }),
        4 => (program(), name(), prop_oneof![1 => Just(None), 5 => name().prop_map(Some)], address(), prop_oneof![2 => 0..11u16, 1 => Just(80), 2 => Just(443)])
            .prop_map(|(program, name, said, address, port)| Question::Opening { program, name, said, address, port }),
    ]
}

/// Questions.
pub fn questions() -> impl Strategy<Value = Vec<Question>> {
    vec(question(), 40)
}
