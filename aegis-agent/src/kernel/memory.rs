//! Where the kernel has mapped all of memory: without it no program can read the arguments of another
//! one that has not begun.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

const SYMBOLS: &str = "/proc/kallsyms";

/// What follows where the kernel does not show its symbols.
pub const HIDDEN: &str = "the kernel hides its symbols, so manifests with `argv` or `exec.environment` are refused: set kernel.kptr_restrict to 0 or 1, \
                          then restart aegisd";

/// Addresses of kernel variables; 0 for one that the kernel does not have or does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `page_offset_base`.
    pub page_offset_base: u64,
    /// `sme_me_mask`.
    pub encryption_mask: u64,
}

/// Looks for them in the kernel's list of symbols.
pub fn find() -> Memory {
    File::open(SYMBOLS).map(|file| search(BufReader::new(file))).unwrap_or_default()
}

/// `kernel.kptr_restrict` hides symbols by showing their addresses as zeros.
fn search(mut symbols: impl BufRead) -> Memory {
    let mut memory = Memory::default();
    let mut line = Vec::new();
    let mut wanted = 2;
    while wanted > 0 {
        line.clear();
        if symbols.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        let place = if text.ends_with(b" page_offset_base") {
            &mut memory.page_offset_base
        } else if text.ends_with(b" sme_me_mask") {
            &mut memory.encryption_mask
        } else {
            continue;
        };
        let digits = text.split(|byte| *byte == b' ').next().and_then(|hex| std::str::from_utf8(hex).ok());
        *place = digits.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        wanted -= 1;
    }
    memory
}

/// Whether page tables have five levels: the flag is shown where the kernel uses them.
pub fn five_levels() -> bool {
    let Ok(file) = File::open("/proc/cpuinfo") else { return false };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let flags = lines.find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "la57"))
}

#[cfg(test)]
mod tests {
    use super::{Memory, search};

    #[test]
    fn symbols_are_found_by_their_whole_names() {
        let list: &[u8] = b"ffffffff81000000 T _text\nffffffff82000010 D not_page_offset_base\n\
            ffffffff82000008 D page_offset_base\nffffffffc0000000 t sme_me_mask_user\t[module]\n\
            ffffffff82000020 D sme_me_mask\nffffffff82000030 D page_offset_base\n";
        let found = Memory { page_offset_base: 0xffff_ffff_8200_0008, encryption_mask: 0xffff_ffff_8200_0020 };
        assert_eq!(search(list), found);
    }

    #[test]
    fn hidden_and_missing_symbols_are_none() {
        assert_eq!(search(&b"0000000000000000 D page_offset_base\n"[..]), Memory::default());
        assert_eq!(search(&b"odd page_offset_base\n\xff\n"[..]), Memory::default());
        assert_eq!(search(&b""[..]), Memory::default());
    }
}
