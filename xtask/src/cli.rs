//! The command line of `cargo xtask`: only shapes, no behaviour.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds, tests and shows Aegis.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Task,
}

/// The tasks.
#[derive(Subcommand)]
pub enum Task {
    /// Get what building and testing need: toolchain sources, bpf-linker, QEMU, kernels, the root image
    Setup(SetupOptions),
    /// Build the kernel object and the programs
    Build(BuildOptions),
    /// Run a command in a disposable virtual machine
    Vm(VmOptions),
    /// Run every test: crates, walls between parts, and the scenarios on each kernel
    Test(TestOptions),
    /// Take out one kernel program after the other: a scenario must notice
    Mutate(MutateOptions),
    /// Show an agent being hijacked, stopped, frozen and its log verified
    Demo(DemoOptions),
    /// Measure what governing costs, in guest instructions, or how fast the log is
    Bench(BenchOptions),
    /// Check the walls between the parts of the source
    Tidy,
}

/// Options of `setup`.
#[derive(Args, Default)]
pub struct SetupOptions {
    /// Ask the package index again, even if it was asked in the last days
    #[arg(long)]
    pub refresh: bool,
    /// Only these kernel series (all by default)
    #[arg(long = "kernel", value_name = "SERIES")]
    pub kernels: Vec<String>,
}

/// Options of `build`.
#[derive(Args, Clone, Default)]
pub struct BuildOptions {
    /// Optimise as the package does
    #[arg(long)]
    pub release: bool,
    /// Features of the kernel object, such as debug-log
    #[arg(long, value_delimiter = ',')]
    pub features: Vec<String>,
    /// The tests of the crates as well
    #[arg(skip)]
    pub tests: bool,
}

/// Options of `vm`.
#[derive(Args)]
pub struct VmOptions {
    /// Kernel series, or `list` to print the matrix
    #[arg(long, value_name = "SERIES")]
    pub kernel: String,
    /// Boot systemd as PID 1 and install the package
    #[arg(long)]
    pub systemd: bool,
    /// With --systemd: copy the last build in instead of installing the package
    #[arg(long, requires = "systemd")]
    pub no_package: bool,
    /// Make guest time equal the instructions executed, on one processor
    #[arg(long)]
    pub icount: bool,
    /// Security modules, in order
    #[arg(long, value_name = "LIST", default_value = crate::vm::DEFAULT_LSM)]
    pub lsm: String,
    /// More words for the kernel command line
    #[arg(long, value_name = "KARGS", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Run the command as this user of the machine (`agent` is there)
    #[arg(long, value_name = "NAME", default_value = "root")]
    pub user: String,
    /// Copy a file or folder of this host to the absolute path DST, with its modes
    #[arg(long, value_name = "SRC:DST")]
    pub copy: Vec<OsString>,
    /// Seconds until the machine is stopped and 124 returned
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
    /// Memory of the machine
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    pub memory: u32,
    /// Processors of the machine
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Reboot the same disk after the command and run this line of shell
    #[arg(long, value_name = "CMD")]
    pub reboot_then: Option<OsString>,
    /// Stream the kernel's console to standard error
    #[arg(long)]
    pub console: bool,
    /// Take what was built last instead of building first
    #[arg(long)]
    pub no_build: bool,
    /// Put the release build into the machine
    #[arg(long)]
    pub release: bool,
    /// Say on standard error how long each step took
    #[arg(long, short)]
    pub verbose: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Options of `test`.
#[derive(Args)]
pub struct TestOptions {
    /// Also the long suites (those in machines whole on 6.12 and a tenth elsewhere), and every program missing once
    #[arg(long)]
    pub full: bool,
    /// Only these kernel series (all by default)
    #[arg(long = "kernel", value_name = "SERIES")]
    pub kernels: Vec<String>,
    /// Only the scenarios, not the tests of the crates
    #[arg(long)]
    pub scenarios_only: bool,
    /// Put the release build into the machines
    #[arg(long)]
    pub release: bool,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
}

/// Options of `mutate`.
#[derive(Args)]
pub struct MutateOptions {
    /// Kernel series
    #[arg(long, value_name = "SERIES", default_value = REFERENCE)]
    pub kernel: String,
    /// Only these programs
    #[arg(long = "hook", value_name = "NAME")]
    pub hooks: Vec<String>,
    /// Run every scenario without each program and print what fails: to find what could catch it
    #[arg(long)]
    pub all: bool,
    /// Run nothing; print the table of docs/mutations.md
    #[arg(long)]
    pub markdown: bool,
    /// Take what was built last instead of building first
    #[arg(long)]
    pub no_build: bool,
}

/// The kernel series for what is done on one alone: the long suites, and programs taken out unless told otherwise.
pub const REFERENCE: &str = "6.12";

/// Options of `demo`.
#[derive(Args)]
pub struct DemoOptions {
    /// Use a virtual machine with this kernel series even if this host could run the demo
    #[arg(long, value_name = "SERIES")]
    pub kernel: Option<String>,
    /// Arguments of the demo itself
    #[arg(last = true)]
    pub arguments: Vec<OsString>,
}

/// Options of `bench`.
#[derive(Args)]
pub struct BenchOptions {
    /// Kernel series
    #[arg(long, value_name = "SERIES", default_value = "6.12")]
    pub kernel: String,
    /// Only this operation, by the head of its column; repeatable
    #[arg(long = "operation", value_name = "NAME", conflicts_with_all = ["hooks", "network"])]
    pub operations: Vec<String>,
    /// Instead of the table: what each hook adds to each operation
    #[arg(long)]
    pub hooks: bool,
    /// With --hooks: for a process that is not governed
    #[arg(long, requires = "hooks")]
    pub ungoverned: bool,
    /// Instead of the table: real clients, beside those of a sandbox with a proxy (needs npm)
    #[arg(long, conflicts_with = "hooks")]
    pub network: bool,
    /// Instead of the table: the audit log beside a bare file, in time of this machine and its disk
    #[arg(long, conflicts_with_all = ["hooks", "network", "operations"])]
    pub log: bool,
    /// With --log: entries of the log
    #[arg(long, value_name = "N", default_value_t = 1_000_000, requires = "log")]
    pub entries: u64,
    /// With --log: a folder on the disk to be measured
    #[arg(long, value_name = "FOLDER", requires = "log")]
    pub dir: Option<PathBuf>,
    /// Write the report to this file as well
    #[arg(long)]
    pub output: Option<PathBuf>,
}
