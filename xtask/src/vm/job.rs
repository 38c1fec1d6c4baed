//! The archive that carries a job into the machine: command, user, copies. The guest reads it from a raw disk.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tar::{Builder, EntryType, Header};

/// Folder of the job's description in the machine; the guest program has the same constant.
const WORK_DIR: &str = "run/aegis-vm";

/// Something to copy into the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// File or folder of this host.
    pub from: PathBuf,
    /// Absolute path in the machine.
    pub to: PathBuf,
    /// Mode to give instead of the file's own.
    pub mode: Option<u32>,
}

impl Copy {
    /// Parses `SRC:DST`. The last `:/` divides, so that the source may have colons.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        let Some(colon) = bytes
            .windows(2)
            .rposition(|pair| pair == b":/")
            .filter(|place| *place > 0)
        else {
            bail!(
                "--copy {}: expected SRC:DST with an absolute DST",
                text.display()
            );
        };
        let from = PathBuf::from(OsStr::from_bytes(&bytes[..colon]));
        let mut to = PathBuf::from(OsStr::from_bytes(&bytes[colon + 1..]));
        if to.components().any(|part| part == Component::ParentDir) {
            bail!(
                "--copy {}: the destination must not hold `..`",
                text.display()
            );
        }
        if bytes.ends_with(b"/") {
            let name = from
                .file_name()
                .with_context(|| format!("--copy {}: the source has no name", text.display()))?;
            to.push(name);
        }
        Ok(Self {
            from,
            to,
            mode: None,
        })
    }
}

/// What the guest is to do.
pub struct Job<'a> {
    /// The command.
    pub argv: &'a [OsString],
    /// Whom to run it as.
    pub user: &'a str,
    /// A line of shell for after a reboot.
    pub after_reboot: Option<&'a OsStr>,
    /// What to put into the root file system before.
    pub copies: &'a [Copy],
    /// Debian packages to install before.
    pub packages: &'a [PathBuf],
}

/// Writes the archive.
pub fn write(job: &Job<'_>, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut tar = Builder::new(BufWriter::new(file));
    // The description comes first: after a reboot the guest unpacks it alone.
    let argv: Vec<&[u8]> = job.argv.iter().map(|word| word.as_bytes()).collect();
    text(&mut tar, "argv", &argv.join(&0))?;
    text(&mut tar, "user", job.user.as_bytes())?;
    if let Some(line) = job.after_reboot {
        text(&mut tar, "then", line.as_bytes())?;
    }
    for copy in job.copies {
        let inside = copy.to.strip_prefix("/").unwrap_or(&copy.to);
        add(&mut tar, &copy.from, inside, copy.mode)
            .with_context(|| format!("copy {} to {}", copy.from.display(), copy.to.display()))?;
    }
    for package in job.packages {
        let name = package.file_name().context("a package without a name")?;
        add(
            &mut tar,
            package,
            &Path::new("var/cache/aegis-vm").join(name),
            Some(0o644),
        )?;
    }
    let mut writer = tar.into_inner().context("end the archive")?;
    writer
        .flush()
        .with_context(|| format!("write {}", path.display()))
}

fn text(tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o600, 0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, format!("{WORK_DIR}/job/{name}"), bytes)
        .context("describe the job")
}

/// A header owned by root, whoever runs this.
fn header(kind: EntryType, mode: u32, modified: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(modified);
    header.set_size(0);
    header
}

fn add(tar: &mut Builder<impl Write>, from: &Path, to: &Path, mode: Option<u32>) -> Result<()> {
    let context = || format!("read {}", from.display());
    // What is named is followed, so that a link to a folder copies the folder; what is in it is kept as it is.
    let data = fs::metadata(from).with_context(context)?;
    add_entry(tar, from, to, &data, mode)
}

fn add_entry(
    tar: &mut Builder<impl Write>,
    from: &Path,
    to: &Path,
    data: &fs::Metadata,
    mode: Option<u32>,
) -> Result<()> {
    let context = || format!("read {}", from.display());
    let own = mode.unwrap_or_else(|| data.mode());
    let modified = u64::try_from(data.mtime()).unwrap_or(0);
    if data.is_dir() {
        let mut header = header(EntryType::Directory, own, modified);
        tar.append_data(&mut header, to, std::io::empty())?;
        let mut entries: Vec<_> = fs::read_dir(from)
            .with_context(context)?
            .collect::<Result<_, _>>()
            .with_context(context)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let data = entry
                .path()
                .symlink_metadata()
                .with_context(|| format!("read {}", entry.path().display()))?;
            add_entry(tar, &entry.path(), &to.join(entry.file_name()), &data, None)?;
        }
    } else if data.is_symlink() {
        let mut header = header(EntryType::Symlink, 0o777, modified);
        tar.append_link(&mut header, to, fs::read_link(from).with_context(context)?)?;
    } else if data.is_file() {
        let file = File::open(from).with_context(context)?;
        let mut header = header(EntryType::Regular, own, modified);
        header.set_size(data.len());
        // A file that shrinks or grows meanwhile must not shift what follows.
        let exactly = std::io::Read::take(file, data.len());
        let padded = std::io::Read::chain(exactly, std::io::repeat(0));
        tar.append_data(&mut header, to, std::io::Read::take(padded, data.len()))?;
    } else {
        bail!(
            "{} is neither file, folder nor symbolic link",
            from.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn copies_are_parsed_at_the_last_absolute_path() {
        let copy = Copy::parse(OsStr::new("a:b/c:/root/x")).expect("a copy");
        assert_eq!(
            (copy.from.to_str(), copy.to.to_str()),
            (Some("a:b/c"), Some("/root/x"))
        );
        assert_eq!(
            Copy::parse(OsStr::new("./tool:/usr/bin/"))
                .expect("a copy")
                .to,
            Path::new("/usr/bin/tool")
        );
        for bad in ["a", "a:b", ":/x", "a:/x/../y"] {
            assert!(Copy::parse(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_and_links_are_kept_and_root_owns_everything() {
        let folder = tempfile::tempdir().expect("folder");
        let source = folder.path().join("source");
        fs::create_dir(&source).expect("mkdir");
        fs::write(source.join("tool"), "x").expect("write");
        fs::set_permissions(source.join("tool"), fs::Permissions::from_mode(0o4711))
            .expect("chmod");
        symlink("tool", source.join("link")).expect("symlink");
        let archive = folder.path().join("job.tar");
        let copies = [Copy {
            from: source,
            to: "/opt/x".into(),
            mode: None,
        }];
        let argv = ["a".into(), "b c".into()];
        write(
            &Job {
                argv: &argv,
                user: "root",
                after_reboot: None,
                copies: &copies,
                packages: &[],
            },
            &archive,
        )
        .expect("write the job");

        let mut tar = tar::Archive::new(File::open(&archive).expect("open"));
        let mut seen = Vec::new();
        for entry in tar.entries().expect("entries") {
            let entry = entry.expect("entry");
            let header = entry.header();
            assert_eq!(
                (header.uid().expect("uid"), header.gid().expect("gid")),
                (0, 0)
            );
            let path = entry.path().expect("path").display().to_string();
            seen.push((path, header.mode().expect("mode"), header.entry_type()));
        }
        assert!(seen.contains(&("opt/x/tool".to_owned(), 0o4711, EntryType::Regular)));
        assert!(seen.contains(&("opt/x/link".to_owned(), 0o777, EntryType::Symlink)));
        assert_eq!(fs::metadata(&archive).expect("size").len() % 512, 0);
    }
}
