//! An agent that sees other files than its governor does.

#![allow(clippy::expect_used, reason = "a test fails by panic")]

use aegis_policy::{check, host::FakeHost, resolve_in_view};

const OWN: u32 = 1;
const VIEW: u32 = 2;

fn host(dev: u32) -> FakeHost {
    let mut host = FakeHost::new();
    host.mount(dev, "/", "/", "ext4");
    for folder in ["/etc/aegis", "/var/lib/aegis", "/work"] {
        host.directory(folder);
    }
    host
}

#[test]
fn what_the_manifest_names_is_the_agents_and_what_is_kept_from_it_both() {
    let manifest = b"version: \"1.0\"\nagent: {name: a}\npermissions: {fs: {write: [/work], deny: [/work/secret]}}\n";
    let policy = check(manifest, "a.yaml").expect("manifest");
    let resolved = resolve_in_view(&policy, &host(VIEW), &host(OWN)).expect("resolved");
    let devices = |path: &[&[u8]]| -> Vec<u32> {
        let at = resolved.places.iter().filter(|p| p.place.components == path);
        let mut found: Vec<u32> = at.map(|p| p.place.dev).collect();
        found.dedup();
        found
    };
    assert_eq!(devices(&[b"work"]), [VIEW]);
    assert_eq!(devices(&[b"work", b"secret"]), [VIEW]);
    assert_eq!(devices(&[b"usr"]), [VIEW], "the baseline's, too");
    assert_eq!(devices(&[b"var", b"lib", b"aegis"]), [OWN, VIEW]);
}
