//! How far something long is: one line on standard error, on a terminal only, and gone at the end.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// What takes less than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);
/// Time from one picture to the next.
const PACE: Duration = Duration::from_millis(100);
/// Characters of the bar.
const WIDTH: u64 = 30;

/// The line.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    next: Option<Instant>,
    drawn: bool,
}

impl Progress {
    /// A line that begins with this word.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, next: io::stderr().is_terminal().then(|| Instant::now() + PATIENCE), drawn: false }
    }

    /// So much of all is done.
    pub fn at(&mut self, done: u64, all: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + PACE);
        self.drawn = true;
        // When standard error is gone there is nobody to tell.
        let _ = write!(io::stderr(), "\r\x1b[K{}", picture(self.what, done, all));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn picture(what: &str, done: u64, all: u64) -> String {
    let parts = |of: u64| u64::try_from(u128::from(done.min(all)) * u128::from(of) / u128::from(all.max(1))).unwrap_or(of);
    let bar: String = (0..WIDTH).map(|at| if at < parts(WIDTH) { '#' } else { '.' }).collect();
    format!("{what} [{bar}] {:>3} % of {all} entries", parts(100))
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn the_bar_fills() {
        assert_eq!(picture("x", 0, 0), "x [..............................]   0 % of 0 entries");
        assert_eq!(picture("x", 5, 10), "x [###############...............]  50 % of 10 entries");
        assert!(picture("x", u64::MAX, u64::MAX).contains("100 %"));
    }
}
