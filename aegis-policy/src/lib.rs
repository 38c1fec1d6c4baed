//! Policies: from a manifest to the contents of the kernel's maps.
//!
//! A one-way street, each step a module that knows nothing of the next:
//!
//! ```text
//! bytes -> parse -> manifest -> validate -> resolve -> compile -> plan
//!          nodes    shapes      Policy      places     image      operations
//! ```
//!
//! Beside it stand two answers to the same question, which tests hold together: [`reference`]
//! reads the typed policy and host paths, [`simulate`] does what the kernel does with the image.
//!
//! Architecture invariant: nothing in this crate does I/O. `resolve` asks the host through
//! [`host::HostView`], which the agent implements. Nothing here knows aya, tokio or a map's pin.
#![forbid(unsafe_code)]

pub mod compile;
pub mod diagnostic;
pub mod host;
pub mod path;
pub mod plan;
pub mod policy;
pub mod resolve;
pub mod rules;

pub use compile::{CompileError, CompiledImage, compile};
pub use diagnostic::{Diagnostic, Position};
pub use host::HostView;
pub use plan::{Operation, PlanError, plan};
pub use policy::Policy;
pub use resolve::{ResolveError, Resolved, resolve};
pub use rules::{RuleInfo, RuleTable};
