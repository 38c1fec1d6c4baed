//! The lines that the guest program sends on its status port.

/// A line of the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A command starts: 1 before, 2 after the reboot.
    Start {
        /// Which one.
        stage: u32,
    },
    /// A command ended.
    End(End),
    /// There will be no command.
    Fail(String),
}

/// How a command ended, and how much it wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// Which one.
    pub stage: u32,
    /// Status as a shell has it.
    pub status: u8,
    /// Bytes of standard output.
    pub out: u64,
    /// Bytes of standard error.
    pub err: u64,
}

/// Reads a line; nothing when it is not one of ours.
pub fn parse(line: &str) -> Option<Line> {
    let (word, rest) = line.split_once(' ')?;
    match word {
        "start" => Some(Line::Start {
            stage: rest.parse().ok()?,
        }),
        "fail" => Some(Line::Fail(rest.to_owned())),
        "end" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let [stage, how, code, "out", out, "err", err] = words.as_slice() else {
                return None;
            };
            let code: u8 = code.parse().ok()?;
            let status = match *how {
                "exit" => code,
                "signal" => code.checked_add(128)?,
                _ => return None,
            };
            Some(Line::End(End {
                stage: stage.parse().ok()?,
                status,
                out: out.parse().ok()?,
                err: err.parse().ok()?,
            }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_becomes_the_shells_status() {
        let end = |status| {
            Some(Line::End(End {
                stage: 1,
                status,
                out: 10,
                err: 0,
            }))
        };
        assert_eq!(parse("end 1 exit 3 out 10 err 0"), end(3));
        assert_eq!(parse("end 1 signal 9 out 10 err 0"), end(137));
    }

    #[test]
    fn odd_lines_are_refused() {
        for line in [
            "",
            "end",
            "end 1 exit 300 out 1 err 1",
            "end 1 left 3 out 1 err 1",
            "end 1 exit 3 out 1",
            "hello world",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
