//! The agent: `aegisd` (the daemon) and `aegis` (the command).
//!
//! `kernel event -> decode -> enrich -> decide -> audit -> store`; the stages do not know one
//! another and are wired in [`pipeline`] alone. Only [`kernel`] talks to BPF.

pub mod access;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod decide;
pub mod decode;
pub mod directory;
pub mod engine;
pub mod enrich;
pub mod escape;
pub mod erasure;
pub mod evidence;
pub mod health;
pub mod kernel;
pub mod mountinfo;
pub mod paths;
pub mod pipeline;
pub mod query;
pub mod record;
pub mod redact;
pub mod retention;
pub mod store;
#[cfg(test)]
mod testkit;
pub mod witness;
pub mod words;

/// Generated from `proto/`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_imports,
    reason = "generated code"
)]
pub mod proto {
    /// Bodies of audit entries.
    pub mod event {
        tonic::include_proto!("aegis.event.v1");
    }
    /// The control socket.
    pub mod control {
        tonic::include_proto!("aegis.control.v1");
    }
}
