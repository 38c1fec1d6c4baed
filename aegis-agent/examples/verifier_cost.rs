//! Loads every kernel program, prints what the verifier made of each, and detaches again.
//!
//! `cargo xtask vm --kernel 6.12 --copy target/debug/examples/verifier_cost:/tmp/ -- /tmp/verifier_cost`
#![allow(clippy::print_stdout, reason = "a command-line example")]

use aegis_agent::kernel::{HookState, Kernel, Options};

/// What a program may cost at most.
const BUDGET: u32 = 50_000;

fn main() -> anyhow::Result<()> {
    let kernel = Kernel::start(&Options::default())?;
    let hooks = kernel.hooks();
    kernel.detach_all()?;
    let mut over = 0;
    for hook in &hooks {
        match &hook.state {
            HookState::Attached => println!("{:<28} {:>7}", hook.name, hook.verified_instructions),
            HookState::Unavailable(why) => println!("{:<28} {why}", hook.name),
        }
        over += u32::from(hook.verified_instructions > BUDGET);
    }
    anyhow::ensure!(over == 0, "{over} programs cost the verifier more than {BUDGET} instructions");
    Ok(())
}
