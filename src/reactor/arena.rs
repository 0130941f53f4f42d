//! Page-aligned memory that the kernel fills: mapped, so that pages cost nothing until they are
//! touched, and held by pointer, because the kernel writes to it behind the compiler's back.

use std::io;
use std::ptr::{self, NonNull};
use std::slice;

/// A private mapping, zeroed at first and unmapped when dropped.
pub(super) struct Arena {
    base: NonNull<u8>,
    len: usize,
}

impl Arena {
    /// Maps `len` bytes.
    pub(super) fn new(len: usize) -> io::Result<Arena> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
        // memory of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Arena { base, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The address of byte `at`; valid for the rest of the mapping.
    pub(super) fn pointer(&self, at: usize) -> *mut u8 {
        assert!(at < self.len, "offset {at} outside an arena of {} bytes", self.len);
        // SAFETY: `at` was just checked to be inside the mapping.
        unsafe { self.base.as_ptr().add(at) }
    }

    /// `len` bytes from `at`.
    ///
    /// # Safety
    /// While the slice lives the kernel must not have been told to write to these bytes.
    pub(super) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len && len <= self.len - at, "range outside the arena");
        // SAFETY: the range is inside the mapping (checked), which is initialised (zero pages) and
        // lives as long as `self`; the caller keeps writers away.
        unsafe { slice::from_raw_parts(self.base.as_ptr().add(at), len) }
    }

    /// `len` bytes from `at`, to be written.
    pub(super) fn bytes_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        assert!(at <= self.len && len <= self.len - at, "range outside the arena");
        // SAFETY: as in `bytes`, and `&mut self` excludes other slices. Arenas that are written
        // through this are never given to the kernel to fill.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr().add(at), len) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; whoever told the kernel to write to it has
        // ended that before (field order of the owners).
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_zeroed_and_writable() {
        let mut arena = Arena::new(8192).unwrap();
        arena.bytes_mut(4000, 200).fill(7);
        // SAFETY: no kernel operation knows this arena.
        let bytes = unsafe { arena.bytes(3999, 202) };
        assert_eq!((bytes[0], bytes[1], bytes[200], bytes[201]), (0, 7, 7, 0));
    }

    #[test]
    #[should_panic(expected = "outside the arena")]
    fn a_range_past_the_end_is_refused() {
        let mut arena = Arena::new(4096).unwrap();
        arena.bytes_mut(4090, 7);
    }
}
