//! How much memory this process has had at most.

use anyhow::{Context as _, Result};

/// Forgets the most there was so far.
pub fn reset() -> Result<()> {
    // 5: the peak of the resident set begins anew (proc(5), since Linux 4.0).
    std::fs::write("/proc/self/clear_refs", "5").context("reset the peak of the memory")
}

/// The most since the reset, in MB.
pub fn peak() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("read the peak of the memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel does not tell the peak of the memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("the peak of the memory is no number")?;
    Ok(kib * 1024.0 / 1e6)
}
