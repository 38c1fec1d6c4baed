//! The same rules for AppArmor.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::rules::path_rules;

/// Loads a profile with this many path rules and returns its name.
pub fn load(rules: usize) -> Result<String> {
    let name = format!("aegis-bench-{rules}");
    let text = profile(&name, rules)?;
    let mut parser = Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .spawn()
        .context("start apparmor_parser")?;
    parser
        .stdin
        .take()
        .context("apparmor_parser without input")?
        .write_all(text.as_bytes())
        .context("hand apparmor_parser the profile")?;
    let status = parser.wait().context("wait for apparmor_parser")?;
    if !status.success() {
        bail!("apparmor_parser refused the profile: {status}");
    }
    Ok(name)
}

fn profile(name: &str, rules: usize) -> Result<String> {
    let mut text = format!("abi <abi/3.0>,\nprofile {name} {{\n  network inet stream,\n  network inet dgram,\n");
    for rule in path_rules(rules) {
        let mut modes = String::new();
        if rule.read {
            modes.push('r');
        }
        if rule.write {
            modes.push('w');
        }
        if rule.exec {
            modes.push_str("mix");
        }
        let below = if std::path::Path::new(&rule.path).is_dir() { "/**" } else { "" };
        writeln!(text, "  {}{below} {modes},", rule.path)?;
    }
    text.push_str("}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::profile;

    #[test]
    fn a_profile_has_one_line_for_each_rule() {
        let text = profile("x", 10).expect("a profile");
        assert_eq!(text.lines().filter(|line| line.starts_with("  /")).count(), 10);
    }
}
