//! How `aegis run` speaks: on standard error, and under `--audit-only` never without saying that
//! nothing is enforced.

use crate::cli::output;

/// Who speaks.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    audit_only: bool,
}

impl Voice {
    /// For a run that enforces, or for one that only records.
    #[must_use]
    pub const fn new(audit_only: bool) -> Self {
        Self { audit_only }
    }

    /// Says something.
    pub fn say(self, text: &str) {
        output::say_as(self.name(), text);
    }

    const fn name(self) -> &'static str {
        if self.audit_only { "aegis (audit only, nothing is enforced)" } else { "aegis" }
    }
}
