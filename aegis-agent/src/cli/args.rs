//! What a person may write: commands, options, help texts. Completions and man pages are made from
//! the same definitions.
//!
//! Knows words only. What they mean is worked out by the commands; nothing here opens a file, asks
//! a clock or knows of the daemon.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum, ValueHint,
    builder::{
        PossibleValuesParser, Styles,
        styling::{AnsiColor, Style},
    },
};

use super::events::entry::{KIND_NAMES, VERDICT_NAMES};

/// Help without underlines; bold where a person looks first.
const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(Style::new());

const EXIT_CODES: &str = "Exit status: 0 yes; 1 no (denied, invalid, tampered, not found); 2 wrong usage or an I/O error; \
    3 not running, or not complete. `aegis run` exits as the command did, 128+N when signal N ended it, 125 when aegis \
    itself failed, 126 when the command cannot be run, 127 when it is not found.";

/// Run AI agents under a policy that the kernel enforces, and keep a signed log of what they did.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, styles = STYLES, after_help = EXIT_CODES, disable_help_subcommand = true, max_term_width = 110)]
pub struct Cli {
    /// Control socket of the daemon
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command as a governed agent
    Run(Run),
    /// Show what agents did
    Events(Box<Events>),
    /// Tell what each agent ran, read, wrote, contacted, used, and was denied
    Report(Box<Report>),
    /// Check that the log is whole and unchanged
    Verify(Verify),
    /// Stop an agent: deny everything it tries, then freeze it
    Kill(Stop),
    /// Let a killed agent go on
    Thaw(Stop),
    /// List the agents that run
    Agents(Shown),
    /// Show what the daemon enforces and how it is
    Status(Shown),
    /// Find out what this host can enforce, and what is in the way
    Doctor(Shown),
    /// Work with policy files
    #[command(subcommand)]
    Policy(Policy),
    /// Work with the rules by which secrets are kept out of the log
    #[command(subcommand)]
    Redact(Redact),
    /// Work with the audit log
    #[command(subcommand)]
    Log(Log),
    /// Decide about what waits for another person: who may read the log
    #[command(subcommand)]
    Approvals(Approvals),
    /// Be a witness for logs of other hosts: cosign what only grew (C2SP tlog-witness)
    Witness(Witness),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// `aegis run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Policy manifest of the agent [default: /etc/aegis/policies/default.yaml]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Name of the agent, instead of the manifest's
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Record what the policy would deny, deny nothing
    #[arg(long)]
    pub audit_only: bool,
    /// Leave this descriptor open for the command (all others above 2 are closed)
    #[arg(long = "pass-fd", value_name = "N", value_parser = clap::value_parser!(u16).range(3..))]
    pub pass_fd: Vec<u16>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Formats of `aegis events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventFormat {
    /// A line for people
    Short,
    /// An object a line
    Json,
    /// An object over several lines
    JsonPretty,
}

/// `aegis events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Only the last N entries [default with -f: 10]
    #[arg(short = 'n', long, value_name = "N", num_args = 0..=1, default_missing_value = "10")]
    pub lines: Option<u64>,
    /// Go on as entries come
    #[arg(short, long, conflicts_with_all = ["reverse", "until", "input"])]
    pub follow: bool,
    /// Newest first
    #[arg(short, long)]
    pub reverse: bool,
    /// Which time.
    #[command(flatten)]
    pub span: Span,
    /// Only entries after this sequence number
    #[arg(long, value_name = "SEQ")]
    pub after_seq: Option<u64>,
    /// Begin after the entry named in this file, and keep the last one shown in it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["after_seq", "reverse", "input"])]
    pub cursor_file: Option<PathBuf>,
    /// Only this agent, by name or session
    #[arg(short, long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Only these kinds
    #[arg(short, long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(KIND_NAMES))]
    pub kind: Vec<String>,
    /// Only these verdicts
    #[arg(long, value_name = "VERDICT", value_delimiter = ',', value_parser = PossibleValuesParser::new(VERDICT_NAMES))]
    pub verdict: Vec<String>,
    /// Only entries about this path and all below it, or a glob ("/work/**/.env")
    #[arg(long, value_name = "GLOB")]
    pub path: Option<String>,
    /// Only these process ids
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only entries that this rule decided
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// How to show entries
    #[arg(short, long, value_name = "FORMAT", default_value = "short")]
    pub output: EventFormat,
    /// Times in UTC
    #[arg(long)]
    pub utc: bool,
    /// Which log.
    #[command(flatten)]
    pub origin: Origin,
}

/// `aegis report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Name or session; without it one line for each session
    pub agent: Option<String>,
    /// Which time.
    #[command(flatten)]
    pub span: Span,
    /// At most so many rows of each list (-o json has all that are kept)
    #[arg(short = 'n', long, value_name = "N", default_value = "10")]
    pub lines: usize,
    /// Tell the newest N sessions of AGENT whole, the others in one line each
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=20), requires = "agent")]
    pub sessions: u16,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
    /// Times in UTC
    #[arg(long)]
    pub utc: bool,
    /// Which log.
    #[command(flatten)]
    pub origin: Origin,
}

/// A time of the log.
#[derive(Debug, Args)]
pub struct Span {
    /// Not before this time: RFC 3339, "10 min ago", today, yesterday, 13:36
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Not after this time
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
}

/// Where the log is read.
#[derive(Debug, Args)]
pub struct Origin {
    /// Read the segment files in this folder instead of asking the daemon
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "input")]
    pub dir: Option<PathBuf>,
    /// Read a log saved with -o json ("-": standard input; also when one is piped in)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// Why the log is read (reading it is an entry too)
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Formats of everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// JSON
    Json,
}

/// A command with nothing but an output format.
#[derive(Debug, Args)]
pub struct Shown {
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// `aegis verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Folder of the log
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// A checkpoint kept elsewhere (`aegis log checkpoint`) that the log must still agree with
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checkpoint: Vec<PathBuf>,
    /// Seals of epochs kept elsewhere (a copy of log.epochs, or its beginning) that the log must have
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub epoch: Vec<PathBuf>,
    /// The log's public key, kept elsewhere: the key text itself or a file with it
    #[arg(short, long, value_name = "KEY")]
    pub key: Option<String>,
    /// A policy (C2SP tlog-policy): its log's key is used, and its quorum of witnesses must have cosigned a checkpoint given with
    /// --checkpoint or, without any, one kept beside the log
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "key")]
    pub policy: Option<PathBuf>,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// `aegis kill` and `aegis thaw`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Name (all agents of that name) or session
    pub agent: String,
    /// Why; kept in the log
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// `aegis policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Report every error of a manifest, with its place and what to write
    Check {
        /// Manifests
        #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// How to show it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Show what a manifest means on this host: every rule, with its origin
    Show {
        /// Manifest
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// How to show it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
}

/// `aegis redact`.
#[derive(Debug, Subcommand)]
pub enum Redact {
    /// Check the rules, and show what would be kept of each line of standard input
    Test(RedactTest),
}

/// `aegis redact test`.
#[derive(Debug, Args)]
pub struct RedactTest {
    /// Folder of the operator's rules
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/etc/aegis/redact.d")]
    pub rules: PathBuf,
    /// Arguments of one command, instead of standard input
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `aegis log`.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Print the newest signed checkpoint, to be kept on another machine
    Checkpoint,
    /// Print the proof that an entry is in the log, to be checked on its own (aegis-verify --receipt)
    Receipt(Receipt),
    /// Print the proof that the log only grew from one checkpoint to another (aegis-verify --consistency)
    Prove(Prove),
    /// Write the log as files that others can check and publish (aegis-verify --export)
    Export(Export),
    /// Have the newest checkpoint cosigned by witnesses, and keep it beside the log
    Witness(AskWitnesses),
    /// Ask that another person approves of your reading the log, where that is needed (audit.access: two-person)
    Access(Access),
    /// Ask that what entries of a day say about an agent is erased; another person has to approve
    Erase(Erase),
}

/// `aegis log erase`.
#[derive(Debug, Args)]
pub struct Erase {
    /// The agent, by the name that its policy gives it
    #[arg(short, long, value_name = "NAME")]
    pub agent: String,
    /// The day, UTC, such as 2026-11-20; it has to be over
    #[arg(short, long, value_name = "DAY")]
    pub day: String,
    /// Why; kept in the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// `aegis log access`.
#[derive(Debug, Args)]
pub struct Access {
    /// Why you want to read it; kept in the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How long you want to [default: as long as this host allows]
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub span: Option<Duration>,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

fn span(text: &str) -> Result<Duration, String> {
    aegis_policy::validate::duration(text).map_err(|(what, advice)| format!("{what}: {advice}"))
}

/// `aegis approvals`.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List what waits, and what holds
    List(Shown),
    /// Approve a request of somebody else
    Approve(Decision),
    /// Deny a request of somebody else
    Deny(Decision),
}

/// `aegis approvals approve` and `deny`.
#[derive(Debug, Args)]
pub struct Decision {
    /// Number of the request
    #[arg(value_name = "REQUEST")]
    pub id: u64,
    /// Why; kept in the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

/// `aegis log witness`.
#[derive(Debug, Args)]
pub struct AskWitnesses {
    /// Policy (C2SP tlog-policy) with the log, the witnesses with their URLs, and the quorum [default: /etc/aegis/witnesses.policy]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Option<PathBuf>,
    /// Folder of the log; cosigned checkpoints are kept in the folder `cosigned` beside it
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// `aegis witness`.
#[derive(Debug, Args)]
pub struct Witness {
    /// Key of a log to witness: the key text itself or a file with it (log.vkey); may be given several times
    #[arg(long, required = true, value_name = "KEY")]
    pub log: Vec<String>,
    /// Folder of the witness's key and state; made, with a new key, where there is none
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state: PathBuf,
    /// Name of a new witness: a URL without scheme that tells who runs it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7380")]
    pub listen: SocketAddr,
}

/// `aegis log receipt`.
#[derive(Debug, Args)]
pub struct Receipt {
    /// Sequence number of the entry
    pub seq: u64,
    /// Show what the entry says too; without it only when what kind of thing happened
    #[arg(long)]
    pub body: bool,
    /// Make it against this checkpoint [default: the newest cosigned one that covers the entry, else the newest]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checkpoint: Option<PathBuf>,
    /// Read the log in this folder instead of asking the daemon
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// Why it is wanted (asking the daemon is an entry too)
    #[arg(long, value_name = "TEXT", conflicts_with = "dir")]
    pub reason: Option<String>,
}

/// `aegis log prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// The earlier checkpoint: a file with the signed note, or its size
    #[arg(value_name = "OLD", value_hint = ValueHint::FilePath)]
    pub old: String,
    /// The later checkpoint: a file with the signed note, or its size [default: the newest]
    #[arg(value_name = "NEW", value_hint = ValueHint::FilePath)]
    pub new: Option<String>,
    /// Read the log in this folder instead of asking the daemon
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// `aegis log export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Folder to write into; new or empty
    #[arg(value_name = "OUT", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// What the entries say too; without it only when what kinds of things happened
    #[arg(long)]
    pub bodies: bool,
    /// Up to this checkpoint, such as one that witnesses cosigned [default: the newest]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub checkpoint: Option<PathBuf>,
    /// Folder of the log
    #[arg(short = 'D', long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command, EventFormat, Run};

    fn parse(line: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"aegis").chain(line)).map(|cli| cli.command)
    }

    fn run(line: &[&str]) -> Run {
        match parse(line).unwrap() {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let run = run(&["run", "--policy", "p.yaml", "--pass-fd", "3", "--pass-fd", "7", "--", "sh", "-c", "exit 1", "--policy"]);
        assert_eq!(run.command, ["sh", "-c", "exit 1", "--policy"]);
        assert_eq!(run.pass_fd, [3, 7]);
        assert_eq!(run.policy.unwrap().to_str(), Some("p.yaml"));
    }

    #[test]
    fn the_dashes_may_be_left_out_but_a_mistyped_option_is_no_command() {
        assert_eq!(run_of(&["run", "ls", "-l", "--color"]), ["ls", "-l", "--color"]);
        assert!(parse(&["run", "--polcy", "p", "ls"]).is_err());
        assert!(parse(&["run"]).is_err());
        assert!(parse(&["run", "--"]).is_err());
        assert!(parse(&["run", "--pass-fd", "2", "ls"]).is_err());
    }

    fn run_of(line: &[&str]) -> Vec<std::ffi::OsString> {
        run(line).command
    }

    #[test]
    fn filters_parse_as_journalctl_users_expect() {
        let Command::Events(events) =
            parse(&["events", "-n", "-o", "json", "-S", "-10min", "--kind", "file,exec", "--verdict", "deny", "--pid", "1,2"]).unwrap()
        else {
            panic!()
        };
        assert_eq!(events.lines, Some(10));
        assert_eq!(events.output, EventFormat::Json);
        assert_eq!(events.span.since.as_deref(), Some("-10min"));
        assert_eq!(events.kind, ["file", "exec"]);
        assert_eq!(events.pid, [1, 2]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["events", "--kind", "nonsense"][..],
            &["events", "--verdict", "maybe"],
            &["events", "-f", "-r"],
            &["events", "--dir", "x", "--input", "y"],
            &["events", "-o", "xml"],
            &["report", "--dir", "x", "--input", "y"],
            &["report", "-o", "short"],
            &["report", "coder", "--sessions", "0"],
            &["report", "coder", "tester"],
            &["kill"],
            &["log", "receipt", "x"],
            &["log", "receipt", "1", "--reason", "r", "--dir", "d"],
            &["log", "export"],
            &["policy", "check"],
            &["nonsense"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
