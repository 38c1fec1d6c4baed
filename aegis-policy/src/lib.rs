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

mod baseline;
pub mod capability;
pub mod compile;
pub mod diagnostic;
pub mod glob;
pub mod host;
pub mod manifest;
pub mod parse;
pub mod path;
pub mod plan;
pub mod policy;
pub mod reference;
pub mod resolve;
pub mod rules;
pub mod simulate;
pub mod syscall;
pub mod validate;

pub use compile::{CompileError, CompiledImage, compile};
use diagnostic::Diagnostics;

pub use diagnostic::{Diagnostic, Position};
pub use host::HostView;
pub use plan::{Operation, PlanError, plan};
pub use policy::Policy;
pub use resolve::{ResolveError, Resolved, resolve, resolve_in_view};
pub use rules::{RuleInfo, RuleTable};

/// Checks a manifest: parse, shapes, values. The host is not asked.
///
/// `file_name` is what messages and the origins of rules call the file.
///
/// # Errors
/// All errors of the file, in its order.
pub fn check(source: &[u8], file_name: &str) -> Result<Policy, Vec<Diagnostic>> {
    let mut errors = Diagnostics::new(file_name);
    let Some(root) = parse::parse(source, &mut errors) else {
        return Err(errors.into_sorted());
    };
    let manifest = manifest::read(&root, &mut errors);
    let policy = validate::validate(&manifest, &mut errors);
    if errors.is_empty() {
        Ok(policy)
    } else {
        Err(errors.into_sorted())
    }
}
