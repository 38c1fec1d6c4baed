//! An array map in our memory: its words are read and changed without a system call, while programs use them.

use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::KernelError;

/// The mapping of an array whose elements are `WORDS` words long.
pub struct Mapped<const WORDS: usize> {
    base: NonNull<AtomicU64>,
    elements: u32,
    // The mapping keeps the map alive by itself; held for clarity about who owns it.
    _map: MapData,
}

// SAFETY: the mapping is process-wide memory and every access to it is atomic.
unsafe impl<const WORDS: usize> Send for Mapped<WORDS> {}

impl<const WORDS: usize> Mapped<WORDS> {
    /// Maps all `elements` of a map that was made with `BPF_F_MMAPABLE`.
    pub fn new(map: MapData, name: &'static str, elements: u32) -> Result<Self, KernelError> {
        let fail = |detail: String| KernelError::Map { action: "map into memory", map: name, detail };
        let length = NonZeroUsize::new(length::<WORDS>(elements)).ok_or_else(|| fail("it is empty".into()))?;
        // SAFETY: a new shared mapping of a map of this length; nothing else in the process refers to that memory.
        let base = unsafe {
            mmap(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map.fd().as_fd(),
                0,
            )
        }
        .map_err(|error| fail(error.to_string()))?;
        Ok(Self { base: base.cast(), elements, _map: map })
    }

    /// The words of an element; `None` when there is no such one.
    pub fn element(&self, index: u32) -> Option<&[AtomicU64; WORDS]> {
        if index >= self.elements {
            return None;
        }
        // SAFETY: the element is inside the mapping, which lives as long as `self`; it is made of aligned words.
        Some(unsafe { self.base.add(index as usize * WORDS).cast().as_ref() })
    }

    /// An element as it stands, word by word.
    pub fn load(&self, index: u32) -> Option<[u64; WORDS]> {
        let element = self.element(index)?;
        Some(std::array::from_fn(|word| element[word].load(Ordering::SeqCst)))
    }
}

const fn length<const WORDS: usize>(elements: u32) -> usize {
    elements as usize * WORDS * size_of::<u64>()
}

impl<const WORDS: usize> Drop for Mapped<WORDS> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, and no reference into it outlives `self`.
        // A failure would leave a mapping behind in a process that is ending.
        let _ = unsafe { munmap(self.base.cast(), length::<WORDS>(self.elements)) };
    }
}
