//! aegisd
fn main() {}
