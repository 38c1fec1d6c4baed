//! The daemon's own messages: to standard error, without secrets, one line each.
//!
//! Errors carry paths, and those are chosen by agents and manifests. What is said of them passes here as entries
//! pass through `audit`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{escape, redact::Redactor};

/// Writes messages to standard error.
#[derive(Clone, Debug)]
pub struct Messages {
    redactor: Arc<Redactor>,
}

impl Messages {
    /// With this redactor.
    #[must_use]
    pub const fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor }
    }

    /// A message as it is written.
    fn shown(&self, message: &[u8]) -> String {
        let message = message.strip_suffix(b"\n").unwrap_or(message);
        let kept = self.redactor.text(message).map(|(kept, _)| kept);
        let mut line = escape::line(&String::from_utf8_lossy(kept.as_deref().unwrap_or(message)));
        line.push('\n');
        line
    }
}

impl<'a> MakeWriter<'a> for Messages {
    type Writer = Message<'a>;

    fn make_writer(&'a self) -> Message<'a> {
        Message(self)
    }
}

/// Takes one message, which comes whole.
pub struct Message<'a>(&'a Messages);

impl Write for Message<'_> {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(self.0.shown(message).as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;
    use crate::redact::Redactor;

    #[test]
    fn a_message_has_no_secret_and_no_second_line() {
        let messages = Messages::new(Redactor::built_in());
        let path = "ERROR /tmp/ghp_0123456789abcdefghij0123456789abcdef\n2026 INFO forged \x1b[2J \u{202e}\n";
        assert_eq!(messages.shown(path.as_bytes()), "ERROR /tmp/[redacted:github-token]\\n2026 INFO forged \\x1b[2J \\u{202e}\n");
    }

    #[test]
    fn what_tracing_writes_passes_here_whole() {
        let messages = Messages::new(Redactor::built_in());
        // The premise of `write`: one call for a message.
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || tracing::error!(path = "a\nb", "one {}", "two"));
        let calls = lines.0.lock().expect("lines").clone();
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert!(messages.shown(&calls[0]).ends_with('\n'));
    }

    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<Vec<u8>>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, message: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lines").push(message.to_vec());
            Ok(message.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
}
