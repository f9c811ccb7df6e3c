//! Takes as much memory as is needed, and gives back what only the start needed.
#![allow(unsafe_code, reason = "none of these calls has a safe wrapper among the dependencies")]

use std::fs;
use std::ptr;

/// Has the kernel give memory out by the page of 4 KiB. Its huge pages of 2 MiB, which the allocator asks for where it
/// may, are made for few large heaps: here many threads and guests touch a little of much, and a node at rest would hold
/// 29 MiB where 7 are in use.
pub(crate) fn take_small_pages() {
    // The call is variadic: each number must be as wide as the kernel reads it.
    let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: the call takes integers and changes how this process's memory is backed, not what is in it. A kernel
    // without huge pages refuses it, which is as well.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, yes, none, none, none);
    }
}

/// Gives back what the start took: this thread's free memory, and the pages of code that ran once.
pub(crate) fn give_back() {
    free_heap();
    unmap_code();
}

/// Returns this thread's free memory to the system. A start parses, signs and links on one thread, which then sleeps: its
/// allocator would keep what that took for ever.
fn free_heap() {
    unsafe extern "C" {
        fn mi_collect(force: bool);
    }
    // SAFETY: mimalloc's own function, linked with the allocator that this binary uses. It touches only free memory, and may be
    // called from any thread at any time.
    unsafe { mi_collect(true) }
}

/// Takes this binary's code out of this process's memory; the kernel puts back what runs, from its cache, by 64 KiB at a
/// touch. A start runs through 34 MiB of it, a node at rest through 14.
fn unmap_code() {
    let (Ok(program), Ok(maps)) = (fs::read_link("/proc/self/exe"), fs::read_to_string("/proc/self/maps")) else {
        return;
    };
    let Some(program) = program.to_str() else { return };
    for (start, length) in maps.lines().filter(|line| line.ends_with(program)).filter_map(code) {
        // SAFETY: the range is a mapping of this program's file that nobody may write to, so what is dropped is what the
        // file holds, and what comes back is the same.
        unsafe {
            libc::madvise(ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED);
        }
    }
}

/// Where a line of `/proc/self/maps` shows code that cannot be written: its first address and its length.
fn code(line: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-xp ") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    Some((start, usize::from_str_radix(end, 16).ok()?.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_nobody_writes_is_unmapped() {
        let line = |access| format!("55d0c8a00000-55d0c8a01000 {access} 00001000 fe:00 42   /usr/bin/eyot");
        assert_eq!(code(&line("r-xp")), Some((0x55d0_c8a0_0000, 0x1000)));
        assert_eq!(["r--p", "rw-p", "rwxp", "r-xs"].map(|access| code(&line(access))), [None; 4]);
    }

    #[test]
    fn a_process_runs_on_without_its_code() {
        unmap_code();
        assert!(!fs::read_to_string("/proc/self/maps").unwrap().is_empty());
    }
}
