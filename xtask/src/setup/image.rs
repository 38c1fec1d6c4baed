//! The root file system of the test machines, made by mmdebstrap from `tests/vm/image`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::mirror::Mirrors;
use crate::{host, ui};

/// Changes when this module makes something else of the same files.
const RECIPE: &str = "4";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    suite: String,
    size: String,
    packages: Vec<String>,
    sources: Vec<String>,
}

/// Builds the image unless the cache has one of the same description.
pub fn ensure() -> Result<PathBuf> {
    let source = host::repository().join("tests/vm/image");
    let text =
        fs::read_to_string(source.join("image.toml")).context("read tests/vm/image/image.toml")?;
    let hook = source.join("customize.sh");
    let description: Description =
        toml::from_str(&text).context("parse tests/vm/image/image.toml")?;
    let mut parts = vec![RECIPE.as_bytes().to_vec()];
    files_of(&source, &mut parts).with_context(|| format!("read {}", source.display()))?;
    let key = host::hash(&parts);
    let image = super::cache_folder("images")?.join(format!("root-{}.ext4", host::short(&key)));
    if !image.exists() {
        build(&description, &hook, &image).context("build the root image of the test machines")?;
    }
    Ok(image)
}

fn build(description: &Description, hook: &Path, image: &Path) -> Result<()> {
    ui::step(
        "image",
        format_args!("mmdebstrap {}, some minutes", description.suite),
    );
    let folder = host::staging(&image.with_extension("work"))?;
    let tar = folder.join("root.tar");
    let mirrors = Mirrors::of_host();
    let suite = &description.suite;
    let security = format!("{suite}-security");
    let mut mmdebstrap = host::command("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=minbase", "--architectures=amd64"])
        .arg(format!("--include={}", description.packages.join(",")))
        .args([
            "--aptopt=Acquire::Languages \"none\"",
            "--dpkgopt=path-exclude=/usr/share/man/*",
        ])
        .args([
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
        ])
        // Java's packages link their manual here, whether it is there or not.
        .arg("--essential-hook=mkdir -p \"$1/usr/share/man/man1\"")
        .arg(format!(
            "--customize-hook={} \"$1\" {}",
            quote(&hook.to_string_lossy()),
            description.sources.join(" ")
        ))
        .arg(suite)
        .arg(&tar)
        .arg(format!("deb {} {suite} main", mirrors.of_suite(suite)))
        .arg(format!("deb-src {} {suite} main", mirrors.of_suite(suite)))
        .arg(format!(
            "deb {} {security} main",
            mirrors.of_suite(&security)
        ));
    host::run(&mut mmdebstrap)?;

    ui::step("image", "file system");
    let raw = folder.join("root.ext4");
    // As root, or as the root of a user namespace with the same range of ids that mmdebstrap used.
    let script = format!(
        "set -e; mkdir {tree}; tar --extract --numeric-owner --xattrs --xattrs-include='*' --file {tar} --directory {tree}; \
         mke2fs -q -F -t ext4 -m 0 -L aegis-root -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -d {tree} {raw} {size}; \
         rm -rf {tree}",
        tree = quote(&folder.join("tree").to_string_lossy()),
        tar = quote(&tar.to_string_lossy()),
        raw = quote(&raw.to_string_lossy()),
        size = quote(&description.size),
    );
    let mut shell = if nix::unistd::geteuid().is_root() {
        Command::new("sh")
    } else {
        let mut unshare = host::command("unshare");
        unshare.args(["--map-auto", "--map-root-user", "sh"]);
        unshare
    };
    host::run(
        shell
            .arg("-c")
            .arg(script)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    )?;
    fs::rename(&raw, image).with_context(|| format!("put {} in place", image.display()))?;
    host::remove(&folder)
}

/// The content of all files below a folder, in the order of their names.
fn files_of(folder: &Path, contents: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_of(&path, contents)?;
        } else {
            contents.push(fs::read(&path)?);
        }
    }
    Ok(())
}

/// A word for the shell, whatever is in it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
