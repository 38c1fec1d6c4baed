//! What goes wrong without stopping: losses, counted and told exactly once.
//!
//! Knows counts. Knows nothing of rings, logs or agents.

mod gaps;
mod loss;

pub use self::{gaps::Gaps, loss::LossBook};
