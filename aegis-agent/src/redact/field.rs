//! Every text of an event.
//!
//! Each message is taken apart without `..`: a field that is added does not compile until it is decided here what may
//! stand in it. A field that is passed over holds a number, or a word that the daemon itself chose.

use aegis_common::limits::MAX_ARGV;

use super::{Place, Redactor, mark::Tally};
use crate::proto::event::{
    Agent, Daemon, Dns, Event, Exec, Exit, File, Guard, InAgent, Loss, Network, Operator, Policy, Process, Repeat, Traffic, Usage,
    event::Detail,
};

/// Bytes of a process's name, as many as the kernel keeps.
const COMM: usize = 15;

pub(super) struct Fields<'r, 't> {
    pub redactor: &'r Redactor,
    pub tally: &'t mut Tally<'r>,
}

impl Fields<'_, '_> {
    pub(super) fn event(&mut self, event: &mut Event) {
        let Event {
            verdict: _,
            agent,
            session: _, // random, made by the daemon
            rule,
            generation: _,
            image: _, // a digest
            reason,
            process,
            kernel_seq: _,
            repeat,
            in_agent,
            redacted: _, // what was noted here before
            detail,
        } = event;
        self.text(agent);
        self.text(rule);
        self.text(reason);
        if let Some(Repeat { of: _, count: _, total: _, start_time: _, end_time: _ }) = repeat {}
        if let Some(process) = process {
            self.process(process);
        }
        if let Some(detail) = detail {
            let cut = self.detail(detail);
            if let Some(InAgent { path, target }) = in_agent {
                self.bytes(path, cut);
                self.bytes(target, cut);
            }
        }
    }

    fn process(&mut self, process: &mut Process) {
        let Process {
            pid: _,
            tid: _,
            ppid: _,
            uid: _,
            gid: _,
            start: _,
            comm,
            exe,
            argv,
            user,
            cgroup,
            ancestors: _,
            login_uid: _,
        } = process;
        let cut = comm.len() >= COMM;
        self.bytes(comm, cut);
        self.bytes(exe, false);
        let size: usize = argv.iter().map(|argument| argument.len() + 1).sum();
        self.list(argv, size >= MAX_ARGV - 2);
        self.text(user);
        self.text(cgroup);
    }

    /// Answers whether the path was cut off.
    fn detail(&mut self, detail: &mut Detail) -> bool {
        match detail {
            Detail::Exec(exec) => self.exec(exec),
            Detail::Exit(Exit { code: _, signal: _, duration_ns: _ }) => {}
            Detail::File(file) => return self.file(file),
            Detail::Network(network) => self.network(network),
            Detail::Guard(Guard { op, subject, errno: _ }) => {
                self.text(op);
                self.text(subject);
            }
            Detail::AgentState(agent) => self.agent(agent),
            Detail::Policy(policy) => self.policy(policy),
            Detail::Operator(operator) => self.operator(operator),
            Detail::Daemon(daemon) => self.daemon(daemon),
            Detail::Loss(Loss { kind, count: _, total: _, r#where }) => {
                self.text(kind);
                self.text(r#where);
            }
            Detail::Dns(dns) => self.dns(dns),
        }
        false
    }

    fn exec(&mut self, exec: &mut Exec) {
        let Exec { path, argv, argv_cut, dev: _, ino: _, environment, environment_cut: _ } = exec;
        self.bytes(path, false);
        self.list(argv, *argv_cut);
        for name in environment {
            self.bytes(name, false);
        }
    }

    fn file(&mut self, file: &mut File) -> bool {
        let File { op, path, target, dev: _, ino: _, errno: _, path_cut, argv, argv_cut, variable } = file;
        self.text(op);
        self.bytes(path, *path_cut);
        self.bytes(target, *path_cut);
        self.list(argv, *argv_cut);
        self.bytes(variable, false);
        *path_cut
    }

    fn network(&mut self, network: &mut Network) {
        let Network { op, address, port: _, protocol, name, errno: _, traffic, start_time: _, local_port: _, direction } = network;
        self.text(op);
        self.text(direction);
        self.text(address);
        self.text(protocol);
        self.host(name);
        if let Some(Traffic { bytes_out: _, packets_out: _, bytes_in: _, packets_in: _ }) = traffic {}
    }

    fn dns(&mut self, dns: &mut Dns) {
        let Dns { op, name, r#type, resolver, answers, errno: _, duration_ns: _ } = dns;
        self.text(op);
        self.host(name);
        self.text(r#type);
        self.text(resolver);
        for answer in answers {
            self.host(answer);
        }
    }

    fn agent(&mut self, agent: &mut Agent) {
        let Agent { state, argv, exit_code: _, exit_signal: _, duration_ns: _, usage, text, cgroup } = agent;
        self.text(state);
        self.list(argv, false);
        self.text(text);
        self.text(cgroup);
        if let Some(usage) = usage {
            let Usage {
                cpu_usec: _,
                memory_peak: _,
                pids_peak: _,
                io_read: _,
                io_write: _,
                oom_kills: _,
                traffic,
                packets_refused: _,
                connections_open: _,
                connections_untold: _,
            } = usage;
            if let Some(Traffic { bytes_out: _, packets_out: _, bytes_in: _, packets_in: _ }) = traffic {}
        }
    }

    fn policy(&mut self, policy: &mut Policy) {
        let Policy { name, image: _, generation: _, mode, manifest, rules: _ } = policy;
        self.text(name);
        self.text(mode);
        self.bytes(manifest, false);
    }

    fn operator(&mut self, operator: &mut Operator) {
        let Operator { action, uid: _, login_uid: _, exe, pid: _, target, outcome, duration_ns: _, tasks: _, reason } = operator;
        self.text(action);
        self.bytes(exe, false);
        self.text(target);
        self.text(outcome);
        self.text(reason);
    }

    fn daemon(&mut self, daemon: &mut Daemon) {
        let Daemon { state, version, kernel, text, abi: _ } = daemon;
        self.text(state);
        self.text(version);
        self.text(kernel);
        self.text(text);
    }

    fn bytes(&mut self, bytes: &mut Vec<u8>, cut: bool) {
        let place = Place { cut, ..Place::default() };
        if let Some(kept) = self.redactor.replaced(bytes, place, self.tally) {
            *bytes = kept;
        }
    }

    fn list(&mut self, argv: &mut [Vec<u8>], cut: bool) {
        self.redactor.list(argv, cut, self.tally);
    }

    fn text(&mut self, text: &mut String) {
        self.string(text, Place::default());
    }

    fn host(&mut self, name: &mut String) {
        self.string(name, Place { fold: true, ..Place::default() });
    }

    fn string(&mut self, text: &mut String, place: Place) {
        if let Some(kept) = self.redactor.replaced(text.as_bytes(), place, self.tally) {
            // A rule of the operator's may end inside a character.
            *text = String::from_utf8_lossy(&kept).into_owned();
        }
    }
}
