//! `tests/vm/kernels.toml`, and which kernel of the archive stands for each of its series.

use std::cmp::{Ordering, Reverse};
use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::archive::Package;
use super::version;
use crate::host;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Suites to look in.
    pub suites: Vec<String>,
    /// Debian's kernel flavour.
    pub flavour: String,
    /// The series, oldest first.
    #[serde(rename = "kernel")]
    pub kernels: Vec<Entry>,
}

/// One series of the matrix.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `6.12`.
    pub series: String,
    /// Why it is in the matrix.
    pub claims: String,
    /// Whom it runs a scenario for both users as, except in the full suite.
    #[serde(default)]
    pub brief_user: Option<String>,
}

impl Matrix {
    /// The names of the series.
    pub fn series(&self) -> Vec<String> {
        self.kernels
            .iter()
            .map(|entry| entry.series.clone())
            .collect()
    }
}

/// Reads the file.
pub fn load() -> Result<Matrix> {
    let path = host::repository().join("tests/vm/kernels.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

/// Major and minor number of a kernel.
pub type Series = (u32, u32);

/// `6.12` or `6.12.117+deb12` as a series.
pub fn series_of(text: &str) -> Option<Series> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A kernel of the archive with every package that makes it up.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its series.
    pub series: Series,
    /// Version of its packages.
    pub version: String,
    /// The packages to unpack.
    pub packages: Vec<Package>,
}

/// All complete kernels of the flavour in the index. Up to 6.18 a kernel is one package; later ones are split,
/// and the image package names its parts.
pub fn candidates(index: &[Package], flavour: &str) -> Vec<Candidate> {
    let suffix = format!("-{flavour}");
    index
        .iter()
        .filter_map(|image| {
            let abi = image
                .name
                .strip_prefix("linux-image-")?
                .strip_suffix(&suffix)?;
            // `linux-image-6.12-cloud-amd64` only points at the newest one
            abi.split(['.', '-', '+']).nth(2)?;
            let names = parts(&image.depends);
            let split = names.iter().any(|name| name.starts_with("linux-binary-"));
            let mut packages = vec![image.clone()];
            for name in names {
                match index
                    .iter()
                    .find(|package| package.name == name && package.version == image.version)
                {
                    Some(part) => packages.push(part.clone()),
                    // 6.18 has everything in the image; its base package only carries a bug script, and leaves
                    // the archive before the image does.
                    None if !split && name.starts_with("linux-base-") => {}
                    None => return None,
                }
            }
            Some(Candidate {
                series: series_of(abi)?,
                version: image.version.clone(),
                packages,
            })
        })
        .collect()
}

/// The parts of a split kernel among the dependencies.
fn parts(depends: &str) -> Vec<&str> {
    const PARTS: &[&str] = &["linux-base-", "linux-binary-", "linux-modules-"];
    depends
        .split([',', '|'])
        .filter_map(|dependency| dependency.split_whitespace().next())
        .filter(|name| PARTS.iter().any(|part| name.starts_with(part)))
        .collect()
}

/// The newest kernel of the wanted series, else the newest of the nearest series that there is.
pub fn choose(wanted: Series, candidates: &[Candidate]) -> Option<&Candidate> {
    let mut all: Vec<Series> = candidates
        .iter()
        .map(|candidate| candidate.series)
        .collect();
    all.push(wanted);
    all.sort_unstable();
    all.dedup();
    // Distance in releases as they followed each other, so that 6.19 is one step from 7.0; a newer one wins a tie.
    let place = |series: Series| {
        all.iter()
            .position(|other| *other == series)
            .unwrap_or_default()
    };
    let distance = |series: Series| (place(series).abs_diff(place(wanted)), Reverse(series));
    candidates.iter().min_by(|a, b| {
        let nearer = distance(a.series).cmp(&distance(b.series));
        nearer.then_with(|| match version::compare(&a.version, &b.version) {
            Ordering::Less => Ordering::Greater,
            Ordering::Greater => Ordering::Less,
            Ordering::Equal => Ordering::Equal,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, depends: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            depends: depends.to_owned(),
            url: String::new(),
            sha256: String::new(),
        }
    }

    fn archive() -> Vec<Candidate> {
        let split = "linux-base-7.2.12+deb13-cloud-amd64 (= 7.2.12-1), linux-binary-7.2.12+deb13-cloud-amd64 (= 7.2.12-1)";
        let torn = "linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)";
        let index = [
            package(
                "linux-image-6.1.0-56-cloud-amd64",
                "6.1.192-2",
                "kmod, linux-base (>= 4.3~)",
            ),
            package("linux-image-6.12.9+deb13-cloud-amd64", "6.12.9-1", ""),
            package("linux-image-6.12.117+deb13-cloud-amd64", "6.12.117-1", ""),
            package(
                "linux-image-6.12.117+deb12-cloud-amd64",
                "6.12.117-1~deb12u1",
                "",
            ),
            package(
                "linux-image-6.12.117+deb13-cloud-amd64-dbg",
                "6.12.117-1",
                "",
            ),
            package("linux-image-6.12-cloud-amd64", "6.12.117-1", ""),
            package(
                "linux-image-6.18.15+deb13-cloud-amd64",
                "6.18.15-1",
                "linux-base-6.18.15+deb13-cloud-amd64 (= 6.18.15-1)",
            ),
            package("linux-image-7.2.12+deb13-cloud-amd64", "7.2.12-1", split),
            package("linux-base-7.2.12+deb13-cloud-amd64", "7.2.12-1", ""),
            package("linux-binary-7.2.12+deb13-cloud-amd64", "7.2.12-1", ""),
            package("linux-image-7.3.4+deb13-cloud-amd64", "7.3.4-1", torn),
        ];
        candidates(&index, "cloud-amd64")
    }

    #[test]
    fn the_newest_patch_of_a_series_is_taken() {
        let archive = archive();
        assert_eq!(
            choose((6, 12), &archive).expect("6.12").version,
            "6.12.117-1"
        );
        assert_eq!(choose((6, 1), &archive).expect("6.1").version, "6.1.192-2");
    }

    #[test]
    fn a_split_kernel_is_taken_whole_or_not_at_all() {
        let archive = archive();
        assert_eq!(choose((7, 2), &archive).expect("7.2").packages.len(), 3);
        assert_eq!(choose((6, 18), &archive).expect("6.18").packages.len(), 1);
        assert!(archive.iter().all(|candidate| candidate.series != (7, 3)));
    }

    #[test]
    fn a_series_that_left_is_replaced_by_its_neighbour() {
        let archive = archive();
        assert_eq!(choose((6, 19), &archive).expect("neighbour").series, (7, 2));
        assert_eq!(
            choose((6, 17), &archive).expect("neighbour").series,
            (6, 18)
        );
        assert_eq!(choose((6, 2), &archive).expect("neighbour").series, (6, 12));
        assert_eq!(choose((5, 10), &archive).expect("neighbour").series, (6, 1));
        assert!(choose((6, 1), &[]).is_none());
    }

    #[test]
    fn the_shipped_matrix_is_valid() {
        let matrix = load().expect("kernels.toml");
        assert!(
            matrix
                .kernels
                .iter()
                .all(|entry| series_of(&entry.series).is_some() && !entry.claims.is_empty())
        );
    }
}
