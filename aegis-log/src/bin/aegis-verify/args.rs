//! The command line. Few options and no dependency: auditors build this themselves.

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
Checks an audit log of Aegis, trusting nothing but its key.

usage: aegis-verify [--dir DIR] [TRUST] [--checkpoint FILE]... [--epoch FILE]... [KEYS] [--json]
       aegis-verify --export DIR [TRUST] [--checkpoint FILE]... [--json]
       aegis-verify --receipt FILE [TRUST] [--json]
       aegis-verify --consistency FILE --checkpoint FILE [TRUST] [--json]
 where TRUST is --key KEY, --policy FILE, or both; KEYS is --keys DIR --kek FILE

  --dir DIR          the log's folder (default /var/lib/aegis/log)
  --key KEY          the log's verifier key, or the file that holds it, from where you trust it;
                     without it the key in the folder is used, which whoever made the folder chose
  --policy FILE      a policy (C2SP tlog-policy): its log's key is used, and its quorum of witnesses must
                     have cosigned a checkpoint that the log extends, or that of the export, receipt or
                     proof. For a log without --checkpoint those in the folder `cosigned` beside it count
  --checkpoint FILE  a checkpoint kept elsewhere: the log must extend it. Finds an end that was cut
                     off and a log that was made anew. May be given several times
  --epoch FILE       seals of epochs kept elsewhere (a copy of log.epochs, or its beginning): the log must
                     have them. With the first one, a past that was written anew with the log's key is
                     found without checkpoints and witnesses. May be given several times
  --keys DIR         the keys of encrypted segments, to check what entries say too (default: the folder
                     `log.keys` beside the log, if it may be read). Chain, tree and signatures are
                     checked without any
  --kek FILE         what those keys are wrapped with (default: `log.kek` beside the log)
  --export DIR       check an export (C2SP tlog-tiles, `aegis log export`) instead of a log
  --receipt FILE     check a receipt (C2SP tlog-proof, `aegis log receipt`)
  --consistency FILE check that the log of the checkpoint in FILE (`aegis log prove`) only grew since
                     the earlier checkpoint that --checkpoint gives
  --json             answer for machines
  --help, --version

exit: 0 intact or proven, 1 tampered, not proven or not witnessed, 2 usage or I/O,
      3 intact, but not closed cleanly or nothing signed yet
";

/// What is to be checked, and with what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) dir: PathBuf,
    pub(crate) key: Option<String>,
    pub(crate) policy: Option<PathBuf>,
    pub(crate) checkpoints: Vec<PathBuf>,
    pub(crate) epochs: Vec<PathBuf>,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) kek: Option<PathBuf>,
    pub(crate) json: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Log(Args),
    Export(Args, PathBuf),
    Receipt(Args, PathBuf),
    Consistency(Args, PathBuf),
}

pub(crate) fn parse(mut from: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut args = Args {
        dir: PathBuf::from(aegis_log::DEFAULT_DIR),
        key: None,
        policy: None,
        checkpoints: Vec::new(),
        epochs: Vec::new(),
        keys: None,
        kek: None,
        json: false,
    };
    let mut instead: Option<(String, PathBuf)> = None;
    while let Some(arg) = from.next() {
        let text = arg.to_str().unwrap_or_default();
        // Both `--dir D` and `--dir=D`.
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (text, None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| from.next())
                .ok_or(format!("{name} needs a value; see --help"))
        };
        match name {
            "--dir" => args.dir = value()?.into(),
            "--key" => args.key = Some(value()?.into_string().map_err(|_| "the key is not text")?),
            "--policy" => args.policy = Some(value()?.into()),
            "--checkpoint" => args.checkpoints.push(value()?.into()),
            "--epoch" => args.epochs.push(value()?.into()),
            "--keys" => args.keys = Some(value()?.into()),
            "--kek" => args.kek = Some(value()?.into()),
            "--export" | "--receipt" | "--consistency" => {
                let file = PathBuf::from(value()?);
                if instead.replace((name.to_owned(), file)).is_some() {
                    return Err(
                        "one thing at a time: --export, --receipt or --consistency".to_owned()
                    );
                }
            }
            "--json" if attached.is_none() => args.json = true,
            "--help" | "-h" if attached.is_none() => return Ok(Command::Help),
            "--version" | "-V" if attached.is_none() => return Ok(Command::Version),
            _ => return Err(format!("{arg:?} is not an option; see --help")),
        }
    }
    match instead
        .as_ref()
        .map(|(what, file)| (what.as_str(), file.clone()))
    {
        Some(_) if !args.epochs.is_empty() => {
            Err("--epoch is for a log: an export, receipt or proof has no seals".to_owned())
        }
        Some(_) if args.keys.is_some() || args.kek.is_some() => Err(
            "--keys and --kek are for a log: in an export, receipt or proof nothing is encrypted"
                .to_owned(),
        ),
        Some(("--receipt", _)) if !args.checkpoints.is_empty() => Err(
            "--receipt and --checkpoint don't go together: a receipt holds its checkpoint"
                .to_owned(),
        ),
        Some(("--consistency", _)) if args.checkpoints.is_empty() => {
            Err("--consistency needs the earlier checkpoint: give it with --checkpoint".to_owned())
        }
        Some(("--export", dir)) => Ok(Command::Export(args, dir)),
        Some(("--receipt", file)) => Ok(Command::Receipt(args, file)),
        Some((_, file)) => Ok(Command::Consistency(args, file)),
        None => Ok(Command::Log(args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn options_are_taken_in_both_spellings() {
        let args = |dir: &str| Args {
            dir: dir.into(),
            key: Some("k+1+x=".into()),
            policy: Some("p".into()),
            checkpoints: vec!["a".into(), "b".into()],
            epochs: vec!["e".into()],
            keys: Some("ks".into()),
            kek: Some("kk".into()),
            json: true,
        };
        let spaced = parsed(&[
            "--dir",
            "d",
            "--key",
            "k+1+x=",
            "--policy",
            "p",
            "--checkpoint",
            "a",
            "--checkpoint",
            "b",
            "--epoch",
            "e",
            "--keys",
            "ks",
            "--kek",
            "kk",
            "--json",
        ]);
        assert_eq!(spaced, Ok(Command::Log(args("d"))));
        let joined = parsed(&[
            "--dir=d",
            "--key=k+1+x=",
            "--policy=p",
            "--checkpoint=a",
            "--checkpoint=b",
            "--epoch=e",
            "--keys=ks",
            "--kek=kk",
            "--json",
        ]);
        assert_eq!(joined, Ok(Command::Log(args("d"))));
        let defaults = Args {
            dir: "/var/lib/aegis/log".into(),
            key: None,
            policy: None,
            checkpoints: vec![],
            epochs: vec![],
            keys: None,
            kek: None,
            json: false,
        };
        assert_eq!(
            parsed(&["--receipt", "r"]),
            Ok(Command::Receipt(defaults, "r".into()))
        );
        assert_eq!(parsed(&["--json", "--help"]), Ok(Command::Help));
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for args in [
            &["x"][..],
            &["--dir"],
            &["--json=1"],
            &["--receipt", "r", "--checkpoint", "c"],
            &["--receipt", "r", "--export", "e"],
            &["--consistency", "p"],
            &["--export", "d", "--epoch", "e"],
            &["--export", "d", "--keys", "k"],
            &["--receipt", "r", "--kek", "k"],
            &["-d"],
        ] {
            assert!(parsed(args).is_err(), "{args:?}");
        }
    }
}
