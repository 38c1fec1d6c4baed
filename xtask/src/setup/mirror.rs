//! Where Debian packages come from: the operator's word, else the system's apt sources, else Debian's own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{host, ui};

/// Used when the host says nothing better; override with `AEGIS_DEBIAN_MIRROR`.
const DEFAULT_MAIN: &str = "http://deb.debian.org/debian";
/// The same for the security archive; override with `AEGIS_DEBIAN_SECURITY_MIRROR`.
const DEFAULT_SECURITY: &str = "http://deb.debian.org/debian-security";

/// The two archives.
pub struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// Reads the environment and the host's apt sources.
    pub fn of_host() -> Self {
        let sources = apt_sources();
        let pick = |variable: &str, security: bool, default: &str| {
            std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
                .or_else(|| find(&sources, security))
                .unwrap_or_else(|| default.to_owned())
                .trim_end_matches('/')
                .to_owned()
        };
        Self {
            main: pick("AEGIS_DEBIAN_MIRROR", false, DEFAULT_MAIN),
            security: pick("AEGIS_DEBIAN_SECURITY_MIRROR", true, DEFAULT_SECURITY),
        }
    }

    /// The archive that holds this suite.
    pub fn of_suite(&self, suite: &str) -> &str {
        if suite.ends_with("-security") {
            &self.security
        } else {
            &self.main
        }
    }
}

/// Whether a file was there to be downloaded.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is in place now.
    Yes,
    /// The server says that it has no such file: something left the archive. Trouble on the way is an error
    /// instead, so that a bad connection never looks like a removal.
    Gone,
}

/// Downloads to `destination` by way of a partial file.
pub fn download(url: &str, destination: &Path) -> Result<Fetched> {
    let mut partial = destination.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let output = host::command("curl")
        .args([
            "--silent",
            "--show-error",
            "--location",
            "--retry",
            "3",
            "--connect-timeout",
            "20",
        ])
        .args([
            "--speed-limit",
            "1000",
            "--speed-time",
            "60",
            "--write-out",
            "%{http_code}",
            "--output",
        ])
        .arg(partial)
        .arg(url)
        .stdin(std::process::Stdio::null())
        .output()
        .context("run curl")?;
    let code = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.success(), code.trim()) {
        (true, "200") => {
            fs::rename(partial, destination)
                .with_context(|| format!("put {} in place", destination.display()))?;
            Ok(Fetched::Yes)
        }
        (_, "404" | "410") => {
            host::remove(partial)?;
            Ok(Fetched::Gone)
        }
        (_, code) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            bail!(
                "download {url}: {} (HTTP status {code}); is there a network, or is a proxy needed?",
                reason.trim()
            )
        }
    }
}

/// Downloads a file whose hash is known; what is there already with that hash is kept.
pub fn download_verified(url: &str, sha256: &str, destination: &Path) -> Result<()> {
    if destination.exists() && host::hash_file(destination)? == sha256 {
        return Ok(());
    }
    ui::step("download", url.rsplit('/').next().unwrap_or(url));
    if download(url, destination)? == Fetched::Gone {
        bail!(
            "{url} is gone: the mirror is being updated; run `cargo xtask setup --refresh` in some minutes"
        );
    }
    let found = host::hash_file(destination)?;
    if found != sha256 {
        host::remove(destination)?;
        bail!(
            "{url} has SHA-256 {found}, the package index says {sha256}: the mirror is broken or lying"
        );
    }
    Ok(())
}

/// One source: its address and the suites it is used for.
type Source = (String, Vec<String>);

fn apt_sources() -> Vec<Source> {
    // Other distributions' sources have other packages under the same names.
    let debian = fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|line| line == "ID=debian"));
    if !debian {
        return Vec::new();
    }
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(parse_one_line)),
            Some("sources") => sources.extend(text.split("\n\n").flat_map(parse_stanza)),
            _ => {}
        }
    }
    sources
}

fn parse_one_line(line: &str) -> Option<Source> {
    let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
    if rest.starts_with('[') {
        rest = rest.split_once(']')?.1;
    }
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    Some((uri, vec![words.next()?.to_owned()]))
}

fn parse_stanza(stanza: &str) -> Vec<Source> {
    let field = |name: &str| -> Vec<String> {
        let line = stanza
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let disabled = field("Enabled").first().is_some_and(|value| value == "no");
    if disabled || !field("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let suites = field("Suites");
    field("URIs")
        .into_iter()
        .map(|uri| (uri, suites.clone()))
        .collect()
}

/// The first web address used for a suite of Debian's own.
fn find(sources: &[Source], security: bool) -> Option<String> {
    const RELEASES: &[&str] = &[
        "bookworm",
        "trixie",
        "forky",
        "stable",
        "testing",
        "sid",
        "unstable",
        "oldstable",
    ];
    sources.iter().find_map(|(uri, suites)| {
        let fits = suites
            .iter()
            .any(|suite| match suite.strip_suffix("-security") {
                Some(release) => security && RELEASES.contains(&release),
                None => !security && RELEASES.contains(&suite.as_str()),
            });
        (fits && uri.starts_with("http")).then(|| uri.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_apt_sources_are_read() {
        let old = parse_one_line(
            "deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian trixie main",
        );
        let new = parse_stanza(
            "Types: deb\nURIs: http://sec.example/debian-security\nSuites: trixie-security\nComponents: main\n",
        );
        let sources: Vec<Source> = old.into_iter().chain(new).collect();
        assert_eq!(
            find(&sources, false).as_deref(),
            Some("https://mirror.example/debian")
        );
        assert_eq!(
            find(&sources, true).as_deref(),
            Some("http://sec.example/debian-security")
        );
    }

    #[test]
    fn sources_of_others_are_not_taken_for_debians() {
        let sources = [(
            "https://packages.example/apt".to_owned(),
            vec!["nodistro".to_owned()],
        )];
        assert_eq!(find(&sources, false), None);
        assert!(
            parse_stanza("Enabled: no\nTypes: deb\nURIs: http://x\nSuites: trixie\n").is_empty()
        );
        assert!(parse_one_line("# deb http://x trixie main").is_none());
    }
}
