//! The allocator of the programs: the system's, with huge pages asked for where something is large.
//! A million bindings lie in a few tables, and whoever comes next is anywhere in them: with pages
//! of 4 KiB each access walks the page tables, and in a virtual machine those of the host too.
//!
//! It asks, and the kernel decides (`/sys/kernel/mm/transparent_hugepage/enabled`). Chunks of
//! tables are mapped on their boundaries and made ready ahead of time (`ready_tables`). Small
//! things are the system's, told not to put off until later what then takes long.

use std::alloc::{GlobalAlloc, Layout, System};

use crate::reactor::ready_tables::{self, HUGE};
use crate::table::CHUNK_BYTES;

/// What is at least so large is a table. glibc maps it on its own, so nothing else is in its pages.
const TABLE_BYTES_MIN: usize = 4 << 20;
const PAGE: usize = 4096;

/// The system's allocator, with huge pages for tables.
#[derive(Debug)]
pub struct HugePages;

impl HugePages {
    /// Has the system's allocator do its work piece by piece: what is given back is joined with its
    /// neighbours at once instead of a million pieces at a time, and what is free at the end stays,
    /// since whoever comes next needs it. To be called once, before there are threads.
    pub fn no_pauses() {
        #[cfg(target_env = "gnu")]
        // SAFETY: it sets numbers of the allocator. One of them alone would keep the third from
        // rising by itself, and each larger answer would be mapped and unmapped anew.
        unsafe {
            libc::mallopt(libc::M_MXFAST, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
            libc::mallopt(libc::M_MMAP_THRESHOLD, TABLE_BYTES_MIN as libc::c_int);
        }
    }
}

/// Whether this is a chunk of a table, which is mapped on its own.
fn is_chunk(layout: Layout) -> bool {
    layout.size() == CHUNK_BYTES && layout.align() <= HUGE
}

/// Asks for huge pages where `bytes` bytes from `start` on are a table.
fn advise(start: *mut u8, bytes: usize) {
    if start.is_null() || bytes < TABLE_BYTES_MIN {
        return;
    }
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let whole = (bytes - skipped) / PAGE * PAGE;
    // SAFETY: the pages lie wholly within one allocation that has just been made; the advice
    // changes how they are backed, not what is in them. A kernel that knows none refuses.
    unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
}

// SAFETY: memory is the system allocator's or a mapping of its own, as the size alone says, and
// each call hands on what it was given.
unsafe impl GlobalAlloc for HugePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_chunk(layout) {
            return ready_tables::take();
        }
        // SAFETY: the caller's promise is the system's condition.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_chunk(layout) {
            return ready_tables::take();
        }
        // SAFETY: as above.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if is_chunk(layout) {
            // SAFETY: as above; all of this size were taken there.
            return unsafe { ready_tables::give_back(start) };
        }
        // SAFETY: as above; it came from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller promises that it is a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        if is_chunk(layout) || is_chunk(wanted) {
            // SAFETY: both blocks are at least as long as what is copied, and are two.
            return unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    new.copy_from_nonoverlapping(start, bytes.min(layout.size()));
                    self.dealloc(start, layout);
                }
                new
            };
        }
        // SAFETY: as above; it came from the system's allocator.
        let start = unsafe { System.realloc(start, layout, bytes) };
        advise(start, bytes);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of memory that the kernel was asked to back by huge pages, of the mapping `at` is
    /// in; `None` where it says nothing of that.
    fn is_advised(at: *const u8) -> Option<bool> {
        let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut within = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|word| word.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) =
                    (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                within = (from..to).contains(&at.addr());
            } else if within && let Some(flags) = line.strip_prefix("VmFlags:") {
                return Some(flags.split_whitespace().any(|flag| flag == "hg"));
            }
        }
        None
    }

    #[test]
    fn tables_are_advised_whichever_way_they_come_and_keep_what_is_in_them() {
        let layout = |bytes| Layout::from_size_align(bytes, 16).unwrap();
        let (small, table) = (layout(1 << 20), layout(TABLE_BYTES_MIN + 100));
        // SAFETY: sizes are not zero, every block is given back once with the layout it has.
        unsafe {
            let zeroed = HugePages.alloc_zeroed(table);
            let grown = HugePages.alloc(small);
            grown.write(7);
            grown.add(small.size() - 1).write(9);
            let grown = HugePages.realloc(grown, small, table.size());
            assert_eq!((grown.read(), grown.add(small.size() - 1).read()), (7, 9));
            assert_eq!((zeroed.read(), zeroed.add(table.size() - 1).read()), (0, 0));
            let middle = |start: *mut u8| start.add(2 << 20);
            let advised = (is_advised(middle(zeroed)), is_advised(middle(grown)));
            if std::fs::exists("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or(false) {
                assert_eq!(advised, (Some(true), Some(true)));
            } else {
                eprintln!("SKIPPED: this kernel knows no huge pages: {advised:?}");
            }
            HugePages.dealloc(zeroed, table);
            HugePages.dealloc(grown, table);
        }
    }

    #[test]
    fn a_chunk_of_a_table_becomes_one_and_ceases_to_be_one_with_what_is_in_it() {
        let layout = |bytes| Layout::from_size_align(bytes, 64).unwrap();
        let (small, chunk, large) =
            (layout(64 << 10), layout(CHUNK_BYTES), layout(CHUNK_BYTES + 64));
        // SAFETY: sizes are not zero, every block is given back once with the layout it has.
        unsafe {
            let start = HugePages.alloc(small);
            start.write(7);
            start.add(small.size() - 1).write(9);
            let start = HugePages.realloc(start, small, chunk.size());
            assert!(start.addr().is_multiple_of(HUGE));
            start.add(chunk.size() - 1).write(5);
            let start = HugePages.realloc(start, chunk, large.size());
            let read = |at: usize| start.add(at).read();
            assert_eq!((read(0), read(small.size() - 1), read(chunk.size() - 1)), (7, 9, 5));
            HugePages.dealloc(start, large);
            let zeroed = HugePages.alloc_zeroed(chunk);
            assert_eq!((zeroed.read(), zeroed.add(chunk.size() - 1).read()), (0, 0));
            HugePages.dealloc(zeroed, chunk);
        }
    }
}
