//! Globs on a host: where they go on behind mounts and links, what a deny follows, what does not fit.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic fails the test that called them"
)]

use aegis_common::glob::GLOB_POSITIONS;
use aegis_common::path::perm;
use aegis_policy::host::FakeHost;
use aegis_policy::path::AbsPath;
use aegis_policy::resolve::MountTable;
use aegis_policy::simulate::{File, Kernel};
use aegis_policy::{CompileError, CompiledImage, HostView, Policy, Resolved, check, compile, resolve};

const KEY: [u64; 2] = [3, 4];

fn policy(permissions: &str) -> Policy {
    let text = format!("version: \"1.0\"\nagent: {{name: x}}\ndefault: allow\nbaseline: none\npermissions: {permissions}\n");
    check(text.as_bytes(), "a.yaml").unwrap_or_else(|e| panic!("{}", e[0]))
}

fn load(permissions: &str, host: &FakeHost) -> (Resolved, CompiledImage) {
    let policy = policy(permissions);
    let resolved = resolve(&policy, host).unwrap();
    let image = compile(&policy, &resolved, 5, KEY, 1).unwrap();
    (resolved, image)
}

fn error(permissions: &str) -> CompileError {
    let policy = policy(permissions);
    compile(&policy, &resolve(&policy, &FakeHost::linux()).unwrap(), 5, KEY, 1).unwrap_err()
}

fn file(host: &FakeHost, path: &str) -> File {
    let path = AbsPath::parse(path.as_bytes()).unwrap();
    let table = MountTable::new(host.mounts().unwrap()).unwrap();
    File { place: table.place(&path).unwrap(), linked: host.linked(&path) }
}

fn reads(image: &CompiledImage, host: &FakeHost, path: &str) -> bool {
    Kernel::new(image, KEY).file(&file(host, path), perm::READ).allowed
}

#[test]
fn a_glob_goes_on_at_the_mounts_below_its_prefix() {
    let mut host = FakeHost::linux();
    host.mount(20, "/", "/work/a", "ext4");
    host.mount(21, "/", "/work/a/.git", "ext4");
    host.mount(22, "/top", "/work/.env", "ext4");
    let (_, image) = load("{fs: {deny: [\"/work/**/.git/hooks\", \"/work/*/key\", \"/work/.en?\"]}}", &host);
    for (path, allowed) in [
        ("/work/a/key", false),
        ("/work/a/b/key", true),
        ("/work/a/.git/hooks/x", false),
        ("/work/a/b/.git/hooks", false),
        ("/work/a/.git/config", true),
        ("/work/.env/x", false),
    ] {
        assert_eq!(reads(&image, &host, path), allowed, "{path}");
    }
}

#[test]
fn a_deny_follows_the_links_that_it_matches_and_no_others() {
    let mut host = FakeHost::linux();
    host.link("/work/x/.git", "/store/git");
    host.directory("/store/git/hooks");
    host.link("/work/k.pem", "/store/k");
    host.file("/store/k", 7);
    host.link("/work/y", "/store/y");
    host.directory("/store/y/.git/hooks");
    let (resolved, image) = load("{fs: {deny: [\"/work/**/.git/hooks\", \"/work/*.pem\"]}}", &host);
    assert!(resolved.notes.is_empty(), "{:?}", resolved.notes);
    assert!(!reads(&image, &host, "/store/git/hooks/x"));
    assert!(reads(&image, &host, "/store/git/config"));
    assert!(!reads(&image, &host, "/store/k"));
    assert!(reads(&image, &host, "/store/y/.git/hooks"), "`**` does not lead through links");
}

#[test]
fn files_and_programs_that_a_deny_matches_are_followed() {
    let mut host = FakeHost::linux();
    host.file("/work/a/.env", 7);
    host.file("/work/other", 7);
    host.file("/work/p", 8);
    host.file("/work/q", 8);
    host.program("/work/a/bin/bad-1", 9, [1; 32]);
    host.program("/work/a/bin/good", 10, [2; 32]);
    let (resolved, _) = load("{fs: {deny: [\"/work/**/.env\"]}, exec: {deny: [\"/work/*/bin/bad-*\"]}}", &host);
    assert_eq!(resolved.inodes.iter().map(|i| i.ino).collect::<Vec<_>>(), [7]);
    assert_eq!(resolved.contents.iter().map(|c| c.sha256).collect::<Vec<_>>(), [[1; 32]]);
}

#[test]
fn a_directory_moves_only_where_globs_say_the_same_of_what_is_below() {
    let host = FakeHost::linux();
    let (_, image) = load(
        "{fs: {deny: [\"/work/**/.git/hooks\", \"/work/lib-*/secret\"]}, exec: {deny: [\"/work/*/bin\"]}}",
        &host,
    );
    let kernel = Kernel::new(&image, KEY);
    for (from, to, allowed) in [
        ("/work/a/.git", "/work/a/git", false),
        ("/work/a/git", "/work/a/.git", false),
        ("/work/a/.git", "/work/b/.git", true),
        ("/work/a/b", "/work/c/d/e", true),
        ("/work/lib-1", "/work/lib-2", true),
        ("/work/lib-1", "/work/lib", false),
        ("/elsewhere", "/work/a/x", false),
        ("/work/a/x", "/elsewhere", false),
        ("/elsewhere/a", "/elsewhere/b", true),
        // Running is denied below `/work/a/bin`; what becomes of that name loses it.
        ("/work/a", "/work/b/c", false),
    ] {
        assert_eq!(kernel.rename(&file(&host, from), &file(&host, to), true).allowed, allowed, "{from} {to}");
    }
}

#[test]
fn what_has_no_positions_left_is_refused_by_the_name_of_its_rule() {
    let many = |rule: &dyn Fn(usize) -> String, n: usize| {
        let rules: Vec<String> = (0..n).map(|n| format!("{:?}", rule(n))).collect();
        format!("{{fs: {{read: [{}]}}}}", rules.join(", "))
    };
    // Three positions each.
    let fits = many(&|n| format!("/d{n}/*/x"), GLOB_POSITIONS / 3);
    load(&fits, &FakeHost::linux());
    let refused = error(&many(&|n| format!("/d{n}/*/x"), GLOB_POSITIONS / 3 + 1));
    assert!(matches!(&refused, CompileError::Globs { rule, needed: 258, .. } if rule == "fs.read:/d85/*/x"), "{refused}");
    let refused = error(&many(&|n| format!("/d/*{n:04}long-name-with-many-bytes"), 10));
    assert!(matches!(&refused, CompileError::Globs { what: "the characters of names", .. }), "{refused}");
    // One wild name in many rules takes its positions once.
    load(&many(&|n| format!("/d{n}/*-long-name-with-many-bytes"), 100), &FakeHost::linux());
}

#[test]
fn an_allow_is_not_carried_through_a_link_that_a_glob_lets_the_agent_make() {
    let mut host = FakeHost::linux();
    host.link("/work/a/out", "/etc");
    let (resolved, _) = load("{fs: {write: [\"/work/*\"], read: [\"/work/a/out/x*\"]}}", &host);
    assert!(resolved.notes.iter().any(|n| n.rule == "fs.read:/work/a/out/x*"), "{:?}", resolved.notes);
    // Where no glob lets it make the link, the operator made it.
    let (resolved, _) = load("{fs: {write: [\"/work/b*\"], read: [\"/work/a/out/x*\"]}}", &host);
    assert!(resolved.notes.is_empty(), "{:?}", resolved.notes);
}
