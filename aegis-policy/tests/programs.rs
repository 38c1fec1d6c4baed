//! Address rules for one program: whose view has which rules, and what an operator is told.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a panic fails the test that called them")]

use aegis_policy::host::FakeHost;
use aegis_policy::{CompileError, CompiledImage, check, compile, resolve};

const KEY: [u64; 2] = [1, 2];

fn manifest(allow: &[String], write: &str) -> String {
    format!("version: \"1.0\"\nagent: {{name: x}}\npermissions:\n  network:\n    allow: [{}]\n  fs: {{write: [{write}]}}\n", allow.join(", "))
}

fn image(text: &str, host: &FakeHost) -> Result<CompiledImage, CompileError> {
    let policy = check(text.as_bytes(), "agent.yaml").unwrap();
    compile(&policy, &resolve(&policy, host).unwrap(), 7, KEY, 1)
}

fn notes(allow: &str, write: &str) -> Vec<String> {
    let policy = check(manifest(&[allow.to_owned()], write).as_bytes(), "agent.yaml").unwrap();
    resolve(&policy, &FakeHost::linux()).unwrap().notes.iter().map(ToString::to_string).collect()
}

fn entry(target: &str, exe: &str) -> String {
    format!("{{{target}, exe: {exe}}}")
}

#[test]
fn views_mean_the_same_after_a_mount_below_a_program() {
    let allow = [entry("cidr: 10.0.0.0/8", "/opt/b"), entry("cidr: 10.1.0.0/16", "/opt/a/tool"), entry("cidr: 10.2.0.0/16", "/opt")];
    let text = manifest(&allow, "");
    let mut host = FakeHost::linux();
    let before = image(&text, &host).unwrap();
    host.mount(99, "/", "/opt/b/more", "ext4");
    let after = image(&text, &host).unwrap();
    assert_ne!(before.programs, after.programs, "the mount has a place of its own");
    assert_ne!(before.hash, after.hash);
    assert_eq!(before.image.programs, after.image.programs);
    let views = |image: &CompiledImage| image.net.clone();
    assert_eq!(views(&before), views(&after));
    let other = image(&manifest(&allow[..2], ""), &host).unwrap();
    assert_ne!(before.image.programs, other.image.programs);
}

#[test]
fn as_many_programs_as_there_are_views_may_share_a_name() {
    let allow = |count: usize| -> Vec<String> { (0..count).map(|n| entry("host: api.example.org", &format!("/opt/{n}"))).collect() };
    assert!(image(&manifest(&allow(64), ""), &FakeHost::linux()).is_ok());
    let error = image(&manifest(&allow(65), ""), &FakeHost::linux()).unwrap_err();
    assert!(matches!(error, CompileError::TooMany { needed: 65, limit: 64, .. }), "{error}");
}

#[test]
fn who_lets_the_agent_write_a_program_is_told() {
    let told = |exe: &str, write: &str| notes(&entry("cidr: 10.0.0.0/8", exe), write).iter().any(|note| note.contains("any program that it puts there"));
    for (exe, write) in [("/opt/tools", "/opt/tools"), ("/opt/tools/x", "/opt/tools/x"), ("/opt/tools", "/opt/tools/cache"), ("/opt/tools/x", "/opt")] {
        assert!(told(exe, write), "{exe} with {write}");
    }
    assert!(!told("/opt/tools", "/opt/data"));
    assert!(!told("/opt/tools", ""));
}
