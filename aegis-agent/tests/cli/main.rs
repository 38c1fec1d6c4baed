//! The `aegis` command as a person meets it: the real binary, talking to a daemon that is only
//! played. What the kernel does is tested elsewhere; here it is words, exit codes and processes.

#[cfg(test)]
mod ask;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod log;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod report;
#[cfg(test)]
mod run;
#[cfg(test)]
mod witness;
