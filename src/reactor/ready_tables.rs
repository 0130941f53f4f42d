//! Chunks of tables, made ready before a reactor needs one. The first touch of a huge page costs
//! the kernel two megabytes of zeroes, and where the host of a virtual machine has not backed them
//! yet, milliseconds: a pause that no reactor may have in the middle of its turn. So a thread of
//! its own maps and touches some ahead of time, and whoever needs one takes it.
//!
//! Where none is ready, the chunk is mapped there and then, as it would be without this: at start,
//! while accounts are loaded faster than memory can be touched, and nobody waits.

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread::{self, Thread};

use crate::table::CHUNK_BYTES;

/// Bytes of a huge page on x86-64, and of the usual one on AArch64.
pub(super) const HUGE: usize = 2 << 20;
/// Most that are ready at a time.
const READY_MAX: usize = 16;
const PAGE: usize = 4096;

const _: () = assert!(CHUNK_BYTES.is_multiple_of(HUGE));

/// Filled by the keeper alone; emptied by anybody.
static READY: [AtomicPtr<u8>; READY_MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; READY_MAX];
static KEEPER: OnceLock<Thread> = OnceLock::new();

/// Starts the thread that keeps up to `tables` chunks ready. Once for a process; a second call does
/// nothing.
///
/// # Errors
/// The kernel gives no thread. Everything works without it, but for the pauses.
pub fn keep_tables_ready(tables: usize) -> io::Result<()> {
    if KEEPER.get().is_some() {
        return Ok(());
    }
    let keep = move || {
        loop {
            for place in READY.iter().take(tables) {
                if place.load(Ordering::Relaxed).is_null() {
                    let table = map();
                    touch(table);
                    place.store(table, Ordering::Release);
                }
            }
            thread::park();
        }
    };
    let keeper = thread::Builder::new().name("aorta-tables".into()).stack_size(128 << 10);
    let _ = KEEPER.set(keeper.spawn(keep)?.thread().clone());
    Ok(())
}

/// How many chunks are ready.
#[must_use]
pub fn tables_ready() -> usize {
    READY.iter().filter(|place| !place.load(Ordering::Relaxed).is_null()).count()
}

/// A chunk of zeroes, on a boundary of huge pages; null if there is no memory.
pub(super) fn take() -> *mut u8 {
    // A glance first: a program without a keeper has none ready.
    let some = READY.iter().filter(|place| !place.load(Ordering::Relaxed).is_null());
    let mut taken = some.map(|place| place.swap(ptr::null_mut(), Ordering::Acquire));
    let table = taken.find(|table| !table.is_null()).unwrap_or_else(map);
    if let Some(keeper) = KEEPER.get() {
        keeper.unpark();
    }
    table
}

/// Gives a chunk back to the kernel.
///
/// # Safety
/// [`take`] gave it, nobody uses it any more, and it has not been given back.
pub(super) unsafe fn give_back(table: *mut u8) {
    // SAFETY: the caller's promise; a chunk is one mapping, or part of one that is otherwise gone.
    unsafe { libc::munmap(table.cast(), CHUNK_BYTES) };
}

fn map() -> *mut u8 {
    const WITH_MARGIN: usize = CHUNK_BYTES + HUGE;
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the kernel's choice touches nobody's memory.
    let start = unsafe { libc::mmap(ptr::null_mut(), WITH_MARGIN, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    let start = start.cast::<u8>();
    let before = start.addr().next_multiple_of(HUGE) - start.addr();
    let behind = HUGE - before;
    // SAFETY: all of it lies within the mapping that has just been made; what is unmapped is
    // before and behind the chunk, in whole pages, and nobody knows of it. The advice changes how
    // the chunk is backed, not what is in it; a kernel that knows none refuses.
    unsafe {
        let table = start.add(before);
        if before > 0 {
            libc::munmap(start.cast(), before);
        }
        if behind > 0 {
            libc::munmap(table.add(CHUNK_BYTES).cast(), behind);
        }
        libc::madvise(table.cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE);
        table
    }
}

/// Has the kernel back every page. By touching them, since that holds no lock over the whole
/// address space as asking for it would.
fn touch(table: *mut u8) {
    if table.is_null() {
        return;
    }
    for at in (0..CHUNK_BYTES).step_by(PAGE) {
        // SAFETY: the chunk is the keeper's alone until it is stored, and zero already.
        unsafe { table.add(at).write_volatile(0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_zero(table: *mut u8) -> bool {
        // SAFETY: the chunk is this test's alone and as long as that.
        unsafe { std::slice::from_raw_parts(table, CHUNK_BYTES) }.iter().all(|&byte| byte == 0)
    }

    #[test]
    fn a_chunk_is_zero_aligned_and_ones_own_whether_it_was_ready_or_not() {
        let cold = take();
        assert!(!cold.is_null() && cold.addr().is_multiple_of(HUGE) && is_zero(cold));
        keep_tables_ready(2).unwrap();
        keep_tables_ready(2).unwrap();
        // SAFETY: the chunk is this test's, and given back once.
        unsafe {
            cold.write(7);
            give_back(take());
        }
        while tables_ready() == 0 {
            thread::yield_now();
        }
        let tables: Vec<*mut u8> = (0..4).map(|_| take()).collect();
        for (at, &table) in tables.iter().enumerate() {
            assert!(table.addr().is_multiple_of(HUGE) && is_zero(table) && table != cold);
            assert!(!tables[..at].contains(&table));
        }
        // SAFETY: as above.
        unsafe {
            assert_eq!(cold.read(), 7);
            tables.into_iter().chain([cold]).for_each(|table| give_back(table));
        }
    }
}
