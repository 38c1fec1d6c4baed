//! `/proc/PID/mountinfo`, as proc(5) describes it.
//!
//! Knows: the format of the lines. Must not know: which mount hides which (`resolve::mounts`).

use super::Mount;
use crate::path::AbsPath;

/// Bits of the minor number in the kernel's own `dev_t`.
const MINOR_BITS: u32 = 20;
/// Largest minor number.
const MINOR_MAX: u32 = (1 << MINOR_BITS) - 1;
/// Largest major number: twelve bits.
const MAJOR_MAX: u32 = (1 << 12) - 1;
/// What the kernel appends to the name of a root that was deleted.
const DELETED: &[u8] = b"//deleted";

/// A line that is not as the kernel writes them. Nothing of the table is used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of mountinfo: {what}; report this with the line")]
pub struct MountInfoError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Reads a whole mountinfo file.
///
/// # Errors
/// The first line that is not as the kernel writes them.
pub fn parse(text: &[u8]) -> Result<Vec<Mount>, MountInfoError> {
    text.split(|b| *b == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(n, line)| parse_line(line).map_err(|what| MountInfoError { line: n + 1, what }))
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
fn parse_line(line: &[u8]) -> Result<Mount, &'static str> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = |what| fields.next().filter(|f| !f.is_empty()).ok_or(what);
    let id = number(next("no mount id")?).ok_or("the mount id is no number")?;
    let parent = number(next("no parent id")?).ok_or("the parent id is no number")?;
    let dev = device(next("no device")?).ok_or("the device is not major:minor")?;
    let (root, root_is_exact) = root(next("no root")?)?;
    let mount_point = AbsPath::parse(&unescape(next("no mount point")?)?)
        .map_err(|_| "the mount point is no absolute path")?;
    next("no options")?;
    // Optional fields end at a lone dash.
    if !fields.by_ref().any(|f| f == b"-") {
        return Err("no separator behind the optional fields");
    }
    let fs_type = fields
        .next()
        .filter(|f| !f.is_empty())
        .ok_or("no filesystem type")?;
    Ok(Mount {
        id,
        parent,
        dev,
        root,
        mount_point,
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        root_is_exact,
    })
}

/// Digits only: `u32::from_str` would take a plus sign.
fn number(field: &[u8]) -> Option<u32> {
    if !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<u32> {
    let colon = field.iter().position(|b| *b == b':')?;
    let (major, minor) = (number(&field[..colon])?, number(&field[colon + 1..])?);
    (major <= MAJOR_MAX && minor <= MINOR_MAX).then_some(major << MINOR_BITS | minor)
}

/// The mounted directory, and whether the name can be relied on.
fn root(field: &[u8]) -> Result<(AbsPath, bool), &'static str> {
    let bytes = unescape(field)?;
    let (name, deleted) = match bytes.strip_suffix(DELETED) {
        Some(name) => (name, true),
        None => (bytes.as_slice(), false),
    };
    if name.is_empty() {
        return Ok((AbsPath::root(), false));
    }
    if name.starts_with(b"/") {
        let path = AbsPath::parse(name).map_err(|_| "the root is no absolute path")?;
        return Ok((path, !deleted));
    }
    // Namespace files (`net:[4026531840]`) are named by no path.
    Ok((AbsPath::from_components(vec![name.to_vec()]), false))
}

/// The kernel writes space, tab, newline, backslash (and `#`) as three octal digits.
fn unescape(field: &[u8]) -> Result<Vec<u8>, &'static str> {
    const ODD: &str = "a backslash is not followed by three octal digits";
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(3).ok_or(ODD)?;
        let mut value = 0u32;
        for digit in digits {
            if !(b'0'..=b'7').contains(digit) {
                return Err(ODD);
            }
            value = value * 8 + u32::from(digit - b'0');
        }
        out.push(u8::try_from(value).map_err(|_| ODD)?);
        rest = tail;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{device, parse, unescape};
    use crate::path::AbsPath;
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    const REAL: &[u8] = b"\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 259:2 /@ / rw,relatime shared:1 - btrfs /dev/nvme0n1p2 rw,subvol=/@
41 28 259:2 /@home /home rw shared:20 master:3 - btrfs /dev/nvme0n1p2 rw
50 28 8:1 /a\\040b/c\\134d /mnt/x\\011y rw - ext4 /dev/sda1 rw
60 28 0:4 net:[4026531840] /run/netns/x rw shared:30 - nsfs nsfs rw
61 28 8:1 /gone//deleted /mnt/gone rw - ext4 /dev/sda1 rw
";

    #[test]
    fn reads_what_the_kernel_writes() {
        let mounts = parse(REAL).unwrap();
        assert_eq!(mounts.len(), 6);
        assert_eq!(
            (mounts[0].id, mounts[0].parent, mounts[0].dev),
            (22, 28, 20)
        );
        assert_eq!(mounts[1].dev, 259 << 20 | 2);
        assert_eq!(mounts[1].root.to_string(), "/@");
        assert_eq!(mounts[2].mount_point.to_string(), "/home");
        assert_eq!(mounts[3].root, AbsPath::parse(b"/a b/c\\d").unwrap());
        assert_eq!(mounts[3].mount_point, AbsPath::parse(b"/mnt/x\ty").unwrap());
        assert!(mounts[3].root_is_exact && !mounts[4].root_is_exact && !mounts[5].root_is_exact);
        assert_eq!(mounts[5].root.to_string(), "/gone");
    }

    #[test]
    fn a_line_that_is_not_understood_fails_the_table() {
        for bad in [
            "x 1 8:1 / / rw - ext4 d rw",
            "1 +1 8:1 / / rw - ext4 d rw",
            "1 1 8 / / rw - ext4 d rw",
            "1 1 4096:1 / / rw - ext4 d rw",
            "1 1 8:1 / mnt rw - ext4 d rw",
            "1 1 8:1 / /\\04 rw - ext4 d rw",
            "1 1 8:1 / /\\777 rw - ext4 d rw",
            "1 1 8:1 / / rw shared:1 ext4 d rw",
            "1 1 8:1 / / rw -",
            "1 1 8:1",
        ] {
            let table = format!("22 28 0:20 / /sys rw - sysfs sysfs rw\n{bad}\n");
            assert_eq!(parse(table.as_bytes()).map_err(|e| e.line), Err(2), "{bad}");
        }
    }

    fn escape(bytes: &[u8]) -> Vec<u8> {
        bytes
            .iter()
            .flat_map(|b| format!("\\{b:03o}").into_bytes())
            .collect()
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn nearly_good_lines_never_panic(line in "[0-9]{0,10} [0-9]{0,10} [0-9:]{0,9} [/\\\\0-9a-c]{0,9} [/\\\\0-9]{0,9} rw [- ]{0,3} [a-z ]{0,9}") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn escaping_is_undone(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escape(&bytes)), Ok(bytes));
        }

        #[test]
        fn every_path_comes_back(parts in proptest::collection::vec("[a-z \\t\\n#\\\\é]{1,6}", 0..5), major in 0u32..4096, minor in 0u32..(1 << 20)) {
            let path = AbsPath::from_components(parts.iter().map(|p| p.as_bytes().to_vec()).collect());
            let field = String::from_utf8(path.to_bytes()).unwrap();
            let field: String = field.chars().map(|c| match c {
                ' ' | '\t' | '\n' | '\\' | '#' => format!("\\{:03o}", u32::from(c)),
                c => c.to_string(),
            }).collect();
            let line = format!("1 2 {major}:{minor} {field} {field} rw a:1 b - t s rw\n");
            let mounts = parse(line.as_bytes()).unwrap();
            prop_assert_eq!(&mounts[0].root, &path);
            prop_assert_eq!(&mounts[0].mount_point, &path);
            prop_assert_eq!(mounts[0].dev, major << 20 | minor);
        }

        #[test]
        fn devices_are_two_bounded_numbers(text in any::<String>().prop_filter("no device", |t| !t.contains(':'))) {
            prop_assert_eq!(device(text.as_bytes()), None);
        }
    }
}
