//! Putting one question to both sides.

use std::cell::RefCell;

use aegis_common::event::reason;
use aegis_common::path::perm;
use aegis_policy::host::FakeHost;
use aegis_policy::path::AbsPath;
use aegis_policy::reference::{Answer, Reference, Why};
use aegis_policy::resolve::MountTable;
use aegis_policy::simulate::{Decision, File, Kernel};
use aegis_policy::{CompiledImage, HostView, Policy, compile, resolve};

use crate::generate::Question;

pub const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// Both sides of one policy on one host.
pub struct Pair<'p> {
    host: &'p FakeHost,
    table: MountTable,
    reference: RefCell<Reference<'p>>,
}

/// Compiles a policy for a host.
pub fn image(policy: &Policy, host: &FakeHost) -> CompiledImage {
    let resolved = resolve(policy, host).unwrap();
    compile(policy, &resolved, 7, KEY, 3).unwrap()
}

impl<'p> Pair<'p> {
    pub fn new(policy: &'p Policy, host: &'p FakeHost) -> Self {
        let table = MountTable::new(host.mounts().unwrap()).unwrap();
        Self {
            host,
            table,
            reference: RefCell::new(Reference::new(policy, host).unwrap()),
        }
    }

    fn file(&self, path: &str) -> File {
        let path = AbsPath::parse(path.as_bytes()).unwrap();
        File {
            place: self.table.place(&path).unwrap(),
            linked: self.host.linked(&path),
        }
    }

    /// Both sides, asked by a program.
    fn run_by<'i>(&self, kernel: Kernel<'i>, program: &Option<String>) -> Kernel<'i> {
        self.reference.borrow_mut().run_by(program.as_deref());
        kernel.run_by(program.as_ref().map(|path| self.file(path).place).as_ref())
    }

    fn named<'q>(&self, path: &'q str) -> (&'q str, Option<u64>) {
        (path, self.file(path).linked)
    }

    /// Whether it is allowed, or how the two sides differ.
    pub fn ask(&self, image: &CompiledImage, question: &Question) -> Result<bool, String> {
        let kernel = Kernel::new(image, KEY);
        let (decision, answer, wanted) = match question {
            Question::File { path, wanted } => {
                let linked = self.file(path).linked;
                (
                    kernel.file(&self.file(path), *wanted),
                    self.reference.borrow().file(path, linked, *wanted),
                    *wanted,
                )
            }
            Question::Exec { path, content, argv } => {
                let (file, sha) = (self.file(path), [*content; 32]);
                let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
                (
                    kernel.exec(&file, sha, &argv),
                    self.reference.borrow().exec(path, file.linked, sha, &argv),
                    perm::EXEC,
                )
            }
            Question::Variable { name, value } => {
                let variable = format!("{name}={value}");
                match (kernel.variable(variable.as_bytes()), self.reference.borrow().variable(name, value)) {
                    (None, None) => return Ok(true),
                    (Some(decision), Some(answer)) => (decision, answer, 0),
                    other => return Err(format!("{question:?}: {other:?}")),
                }
            }
            Question::Link { from, to } => {
                let answer = self.reference.borrow().link(self.named(from), self.named(to));
                (
                    kernel.link(&self.file(from), &self.file(to)),
                    answer,
                    perm::NAME,
                )
            }
            Question::Rename {
                from,
                to,
                directory,
            } => {
                let answer = self.reference.borrow().rename(self.named(from), self.named(to), *directory);
                (
                    kernel.rename(&self.file(from), &self.file(to), *directory),
                    answer,
                    perm::NAME,
                )
            }
            Question::Name { name } => (kernel.question(name), self.reference.borrow().question(name), 0),
            Question::Named { program, name, address, port, protocol } => (
                self.run_by(kernel, program).named(name, *address, *port, *protocol),
                self.reference.borrow().named(name, *address, *port, *protocol),
                0,
            ),
            Question::Opening { program, name, said, address, port } => (
                self.run_by(kernel, program).opening(name, *said, *address, *port),
                self.reference.borrow().opening(name, *said, *address, *port),
                0,
            ),
            Question::Listen { address, port } => (kernel.listen(*address, *port), self.reference.borrow().listen(*address, *port), 0),
            Question::Network {
                program,
                address,
                port,
                protocol,
            } => (
                self.run_by(kernel, program).network(*address, *port, *protocol),
                self.reference.borrow().network(*address, *port, *protocol),
                0,
            ),
        };
        difference(image, &decision, &answer, wanted)
            .map_or(Ok(answer.allowed), |d| Err(format!("{question:?}: {d}")))
    }
}

fn difference(
    image: &CompiledImage,
    kernel: &Decision,
    reference: &Answer,
    wanted: u8,
) -> Option<String> {
    let why = match kernel.reason {
        reason::RULE => Why::Rule,
        reason::SAME_FILE => Why::SameFile,
        reason::SAME_CONTENT => Why::SameContent,
        reason::NOT_PINNED => Why::NotPinned,
        reason::ENVIRONMENT => Why::Environment,
        reason::DEFAULT => Why::Default,
        reason::SERVER_NAME => Why::ServerName,
        reason::NO_SERVER_NAME => Why::NoServerName,
        reason::WOULD_GRANT_MORE => Why::WouldGrantMore,
        reason::HOLDS_RULE => Why::HoldsRule,
        reason::TOO_DEEP => Why::TooDeep,
        other => return Some(format!("the kernel gives reason {other}")),
    };
    let rule = image
        .rules
        .decided(kernel.rule, wanted, !kernel.allowed)
        .map(|r| r.id.clone());
    let same =
        kernel.allowed == reference.allowed && why == reference.why && rule == reference.rule;
    (!same).then(|| format!("kernel {kernel:?} ({rule:?}), reference {reference:?}"))
}
