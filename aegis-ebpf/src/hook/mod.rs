//! The hooks, one file a family. Each entry says its prototype in the kernel and how it fails.
//!
//! Every enforcing hook fails closed: where it can't decide, it refuses. Tracepoints can't refuse;
//! what they can't do is counted. Tasks that are not governed leave at the first look-up.

mod address;
mod cgroup;
mod connection;
mod create;
mod credentials;
mod exec;
mod guard;
mod ioctl;
mod map;
mod object;
mod open;
mod packet;
mod process;
mod remembered;
mod rename;
mod signal;
mod syscall;
mod unix;
