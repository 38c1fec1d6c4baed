//! The package index of the Debian archive: signature, hashes, stanzas.
//!
//! The chain is the one apt uses: `InRelease` is signed, it has the hash of `Packages.xz`, which has the hash of
//! every package. Nothing is taken from a file before the link to it has been checked.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::mirror::{self, Fetched, Mirrors};
use crate::{host, ui};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const INDEX: &str = "main/binary-amd64/Packages.xz";

/// A package of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it depends on, as written.
    pub depends: String,
    /// Where to get it.
    pub url: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// The packages of all these suites whose name is wanted. A suite that the mirror no longer has is left out
/// with a warning.
pub fn packages(suites: &[String], wanted: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
    let mirrors = Mirrors::of_host();
    let mut found = Vec::new();
    for suite in suites {
        let base = mirrors.of_suite(suite);
        match index(base, suite)? {
            Some(text) => found.extend(
                text.split("\n\n")
                    .filter_map(|stanza| parse(stanza, base, &wanted)),
            ),
            None => ui::warn(format_args!("suite {suite} is no longer at {base}")),
        }
    }
    if found.is_empty() {
        bail!(
            "none of the suites {} has what is looked for",
            suites.join(", ")
        );
    }
    Ok(found)
}

/// The text of the suite's index, verified; nothing when the mirror has no such suite.
fn index(base: &str, suite: &str) -> Result<Option<String>> {
    let folder = super::cache_folder("index")?;
    let release = folder.join(format!("{suite}.InRelease"));
    ui::step("index", suite);
    if mirror::download(&format!("{base}/dists/{suite}/InRelease"), &release)? == Fetched::Gone {
        return Ok(None);
    }
    let signed =
        signed_text(&release).with_context(|| format!("signature of suite {suite} at {base}"))?;
    let sha256 = hash_of(&signed, INDEX).with_context(|| format!("{suite} lists no {INDEX}"))?;
    let file = folder.join(format!("{suite}.Packages.xz"));
    // By its hash, so that an update of the mirror in between can't mix two states of the archive.
    let by_hash = format!("{base}/dists/{suite}/main/binary-amd64/by-hash/SHA256/{sha256}");
    mirror::download_verified(&by_hash, sha256, &file).or_else(|_| {
        mirror::download_verified(&format!("{base}/dists/{suite}/{INDEX}"), sha256, &file)
    })?;
    let text = host::output(
        host::command("xz")
            .args(["--decompress", "--stdout"])
            .arg(&file),
    )?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// What the signature covers, and nothing around it.
fn signed_text(release: &Path) -> Result<String> {
    let Some(gpgv) = host::program("gpgv").filter(|_| Path::new(KEYRING).exists()) else {
        ui::warn("gpgv or Debian's keyring is missing: the package index is taken unverified");
        return std::fs::read_to_string(release).context("read InRelease");
    };
    let text = release.with_extension("signed");
    host::remove(&text)?;
    let output = std::process::Command::new(gpgv)
        .args(["--keyring", KEYRING, "--status-fd", "1", "--output"])
        .arg(&text)
        .arg(release)
        .stdin(Stdio::null())
        .output()
        .context("run gpgv")?;
    // The exit status is no use: it is not 0 when one of several signatures is by a key newer than the keyring.
    if !accepted(&String::from_utf8_lossy(&output.stdout)) {
        bail!(
            "the signature is not good: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    std::fs::read_to_string(&text).context("read what gpgv verified")
}

/// At least one signature is valid, and none is bad.
fn accepted(status: &str) -> bool {
    let has = |word: &str| {
        status.lines().any(|line| {
            line.strip_prefix("[GNUPG:] ")
                .is_some_and(|rest| rest.starts_with(word))
        })
    };
    has("VALIDSIG ") && !has("BADSIG ") && !has("EXPKEYSIG ") && !has("REVKEYSIG ")
}

fn hash_of<'a>(release: &'a str, file: &str) -> Option<&'a str> {
    let section = release.split_once("\nSHA256:")?.1;
    section
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let hash = words.next()?;
            (words.nth(1)? == file).then_some(hash)
        })
}

fn parse(stanza: &str, base: &str, wanted: &impl Fn(&str) -> bool) -> Option<Package> {
    let name = stanza
        .trim_start()
        .strip_prefix("Package: ")?
        .lines()
        .next()?;
    if !wanted(name) {
        return None;
    }
    let field = |field: &str| {
        stanza
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(": "))
    };
    Some(Package {
        name: name.to_owned(),
        version: field("Version")?.to_owned(),
        depends: field("Depends").unwrap_or_default().to_owned(),
        url: format!("{base}/{}", field("Filename")?),
        sha256: field("SHA256")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_gives_address_and_hash() {
        let stanza = "Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\nDepends: kmod\n\
                      Filename: pool/l.deb\nSHA256: abc\n";
        let package = parse(stanza, "http://m/debian", &|name| {
            name.starts_with("linux-")
        })
        .expect("a package");
        assert_eq!(
            (package.url.as_str(), package.sha256.as_str()),
            ("http://m/debian/pool/l.deb", "abc")
        );
        assert_eq!(
            parse(stanza, "http://m/debian", &|name| name == "other"),
            None
        );
    }

    #[test]
    fn the_hash_is_taken_from_the_sha256_section_only() {
        let release = "Suite: x\nMD5Sum:\n aaa 1 main/binary-amd64/Packages.xz\nSHA256:\n bbb 9 main/x\n ccc 1 main/binary-amd64/Packages.xz\n";
        assert_eq!(hash_of(release, INDEX), Some("ccc"));
        assert_eq!(
            hash_of("MD5Sum:\n aaa 1 main/binary-amd64/Packages.xz\n", INDEX),
            None
        );
    }

    #[test]
    fn one_bad_signature_spoils_the_good_ones() {
        assert!(accepted(
            "[GNUPG:] GOODSIG 1 x\n[GNUPG:] VALIDSIG 1 x\n[GNUPG:] ERRSIG 2\n"
        ));
        assert!(!accepted("[GNUPG:] VALIDSIG 1 x\n[GNUPG:] BADSIG 2 y\n"));
        assert!(!accepted("[GNUPG:] ERRSIG 2\n"));
    }
}
