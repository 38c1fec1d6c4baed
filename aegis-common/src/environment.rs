//! Variables of a program's environment, by the longest prefix of `NAME=VALUE`.
//!
//! `LD_PRELOAD=` is the variable of that name, `LD_` every one whose name begins so. A value is never
//! part of a key.

use crate::assert_size;
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a variable that are looked at: its name and `=`, or as much of them as there is.
pub const VARIABLE: usize = 56;

/// Data of a longest-prefix-match key. The prefix length counts the 32 bits of the image too.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct VariablePrefix {
    /// Image, big endian, so that it is the first 32 bits of the prefix; [`EVERY_IMAGE`] for [`KNOWN`].
    pub image: [u8; 4],
    /// How the variable begins.
    pub name: [u8; VARIABLE],
}
assert_size!(VariablePrefix, 4 + VARIABLE);

/// Stands for every image: no index of one.
pub const EVERY_IMAGE: u32 = u32::MAX;

/// Variables that have the loader, a shell or an interpreter run code of the caller's choice, or load
/// libraries from places of its choice. Record them by place: bit n of
/// [`crate::event::ExecBody::environment`] is the n-th. Only ever added to at the end.
pub const KNOWN: [&str; 22] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "GCONV_PATH",
    "BASH_ENV",
    "ENV",
    "ZDOTDIR",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5OPT",
    "PERL5LIB",
    "RUBYOPT",
    "RUBYLIB",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "DOTNET_STARTUP_HOOKS",
    "LUA_INIT",
    "OPENSSL_CONF",
];

/// Bit of [`crate::event::ExecBody::environment`]: the environment was not read to its end.
pub const NOT_ALL_READ: u32 = 1 << 31;

const _: () = assert!(KNOWN.len() < 31);

impl VariablePrefix {
    /// The key of variables that begin with `name`, and its length in bits. `None` for a longer name than
    /// is looked at.
    #[must_use]
    pub fn new(image: u32, name: &[u8]) -> Option<(u32, Self)> {
        let mut prefix = Self { image: image.to_be_bytes(), name: [0; VARIABLE] };
        prefix.name.get_mut(..name.len())?.copy_from_slice(name);
        let bytes = u32::try_from(4 + name.len()).ok()?;
        Some((bytes * 8, prefix))
    }
}

/// The bit of [`crate::event::ExecBody::environment`] that stands for a known variable.
#[must_use]
pub fn known_bit(name: &str) -> Option<u32> {
    let place = KNOWN.iter().position(|known| *known == name)?;
    1u32.checked_shl(u32::try_from(place).ok()?)
}

/// The known variables of an [`crate::event::ExecBody::environment`].
pub fn known(bits: u32) -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().filter(move |name| known_bit(name).is_some_and(|bit| bits & bit != 0))
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, VARIABLE, VariablePrefix, known, known_bit};

    #[test]
    fn every_known_variable_has_a_bit_of_its_own_and_fits_into_a_key() {
        let mut bits = 0;
        for name in KNOWN {
            let bit = known_bit(name).unwrap();
            assert_eq!(bits & bit, 0, "{name}");
            bits |= bit;
            assert!(name.len() < VARIABLE);
            assert!(known(bit).eq([name]));
        }
        assert!(known(bits).eq(KNOWN));
    }

    #[test]
    fn a_name_that_is_too_long_has_no_key() {
        assert!(VariablePrefix::new(1, &[b'A'; VARIABLE + 1]).is_none());
        let (bits, key) = VariablePrefix::new(1, b"LD_").unwrap();
        assert_eq!((bits, key.image, &key.name[..4]), (56, [0, 0, 0, 1], &b"LD_\0"[..]));
    }
}
