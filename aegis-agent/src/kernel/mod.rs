//! The kernel side: load, attach, pin, apply.
