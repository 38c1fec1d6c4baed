//! Absolute paths as lists of components.
//!
//! Knows: what an absolute path is made of. Must not know: what a manifest may write (that is
//! `validate`), nor whether a path exists (that is `resolve`).

use std::fmt;

/// An absolute path: its components, as bytes, none empty, none holding `/` or NUL.
///
/// `/` has no components. Paths that come from a host (mount points, targets of links) need not be
/// UTF-8, so components are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsPath {
    components: Vec<Vec<u8>>,
}

/// Why bytes are no absolute path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is empty.
    #[error("the path is empty")]
    Empty,
    /// It does not begin with `/`.
    #[error("the path is relative")]
    Relative,
    /// It holds a NUL byte, which no file name can.
    #[error("the path holds a NUL character")]
    Nul,
    /// It has `//`, or ends in `/`.
    #[error("the path has an empty component")]
    EmptyComponent,
    /// It has a component `.` or `..`.
    #[error("the path has a `.` or `..` component")]
    Dots,
}

impl AbsPath {
    /// The root directory.
    #[must_use]
    pub const fn root() -> Self {
        Self {
            components: Vec::new(),
        }
    }

    /// Reads a path in its one normal spelling: nothing is cleaned up, what is odd is an error.
    ///
    /// # Errors
    /// [`PathError`] says what is odd.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.contains(&0) {
            return Err(PathError::Nul);
        }
        let Some(rest) = path.strip_prefix(b"/") else {
            return Err(PathError::Relative);
        };
        if rest.is_empty() {
            return Ok(Self::root());
        }
        let components: Vec<Vec<u8>> = rest.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        if components.iter().any(Vec::is_empty) {
            return Err(PathError::EmptyComponent);
        }
        if components.iter().any(|c| c == b"." || c == b"..") {
            return Err(PathError::Dots);
        }
        Ok(Self { components })
    }

    /// From components that are known to be good (not empty, no `/`, no NUL, no dots).
    #[must_use]
    pub fn from_components(components: Vec<Vec<u8>>) -> Self {
        Self { components }
    }

    /// The components, outermost first.
    #[must_use]
    pub fn components(&self) -> &[Vec<u8>] {
        &self.components
    }

    /// How many components: `/` has none.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// The path with one more component.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut components = self.components.clone();
        components.push(name.to_vec());
        Self { components }
    }

    /// The directory that holds the last component; `/` for `/`.
    #[must_use]
    pub fn parent(&self) -> Self {
        let mut components = self.components.clone();
        components.pop();
        Self { components }
    }

    /// The last component, none for `/`.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.components.last().map(Vec::as_slice)
    }

    /// Whether `self` is `other` or a directory above it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.components.starts_with(&self.components)
    }

    /// The components of `self` below `above`, which must cover it.
    #[must_use]
    pub fn below<'a>(&'a self, above: &Self) -> &'a [Vec<u8>] {
        self.components.get(above.depth()..).unwrap_or_default()
    }

    /// The path as the kernel takes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.components.is_empty() {
            return b"/".to_vec();
        }
        let mut out = Vec::new();
        for component in &self.components {
            out.push(b'/');
            out.extend_from_slice(component);
        }
        out
    }
}

/// Safe to print: control characters and bytes that are not UTF-8 are escaped.
impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.to_bytes().utf8_chunks() {
            f.write_str(&crate::diagnostic::escape(chunk.valid()))?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{AbsPath, PathError};

    #[test]
    fn odd_spellings_are_errors_not_guesses() {
        for (path, error) in [
            (&b""[..], PathError::Empty),
            (b"data", PathError::Relative),
            (b"/a//b", PathError::EmptyComponent),
            (b"/a/", PathError::EmptyComponent),
            (b"//", PathError::EmptyComponent),
            (b"/a/../b", PathError::Dots),
            (b"/.", PathError::Dots),
            (b"/a\0b", PathError::Nul),
        ] {
            assert_eq!(AbsPath::parse(path), Err(error), "{path:?}");
        }
        assert_eq!(AbsPath::parse(b"/").map(|p| p.depth()), Ok(0));
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below_but_no_sibling_with_the_same_start() {
        let p = |s: &str| AbsPath::parse(s.as_bytes()).unwrap();
        assert!(p("/a").covers(&p("/a")));
        assert!(p("/a").covers(&p("/a/b")));
        assert!(p("/").covers(&p("/a")));
        assert!(!p("/a").covers(&p("/ab")));
        assert!(!p("/a/b").covers(&p("/a")));
    }

    #[test]
    fn printing_escapes_what_a_terminal_would_obey() {
        let path = AbsPath::from_components(vec![b"a\x1b[2J".to_vec(), vec![0xff, b'z']]);
        assert_eq!(path.to_string(), "/a\\u{1b}[2J/\\xffz");
    }
}
