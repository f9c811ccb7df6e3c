//! Linear memories of commands: reserved whole, opened as they grow, given back piece by piece.
//!
//! Start at [`Memories`]. Unmapping a large memory in one call keeps the memory map of the process, which all guests share,
//! locked until its last page is freed: tens of milliseconds in which no request can start where its instance needs the map.
//! Here the pages go first, a piece at a time, and what is unmapped then is empty. It happens on the thread that ran the guest
//! and counts as its time.
//!
//! Deliberately absent: images that instances share copy-on-write. wasmtime makes them for its own mappings only; a command's
//! data is copied when it starts.
#![allow(unsafe_code, reason = "mapping memory is; each block says what makes it sound")]

use std::{io, mem::ManuallyDrop, ptr::NonNull};

use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// Bytes freed at once: some 50 µs of the kernel's time.
const PIECE: usize = 1 << 20;

/// Least capacity that a memory gets beyond what it asks for when it has to move.
const ROOM_MIN: usize = 64 << 20;

/// Makes the memories of an engine.
pub(crate) struct Memories;

// SAFETY: memories are zero when made and where they grow, stay where they are within their capacity, and have inaccessible
// bytes of the guard's length on both sides.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.unwrap_or(0).max(minimum);
        let mut linear = Linear { mapping: Mapping::reserve(capacity, guard).map_err(|it| it.to_string())?, len: 0 };
        linear.grow(minimum).map_err(|it| it.to_string())?;
        Ok(Box::new(linear))
    }
}

/// One memory.
struct Linear {
    mapping: Mapping,
    /// Bytes the guest has, from the first after the guard.
    len: usize,
}

/// Reserved address space: a guard, the capacity, a guard.
struct Mapping {
    start: NonNull<u8>,
    /// Whole length, guards included. A multiple of the page size, like the others.
    bytes: usize,
    guard: usize,
    /// Accessible bytes after the first guard.
    open: usize,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference changes nothing; what the guest writes is wasmtime's business.
unsafe impl Sync for Mapping {}

impl Linear {
    fn grow(&mut self, len: usize) -> io::Result<()> {
        if len > self.mapping.capacity() {
            self.mapping.move_to(len.saturating_add(ROOM_MIN.max(len / 2)))?;
        }
        self.mapping.open(len)?;
        self.len = len;
        Ok(())
    }
}

// SAFETY: see `Memories`.
unsafe impl LinearMemory for Linear {
    fn byte_size(&self) -> usize {
        self.len
    }

    fn byte_capacity(&self) -> usize {
        self.mapping.capacity()
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        Ok(self.grow(new_size)?)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.mapping.base()
    }
}

impl Mapping {
    fn reserve(capacity: usize, guard: usize) -> io::Result<Self> {
        let (capacity, guard) = (pages(capacity)?, pages(guard)?);
        let bytes = guard.checked_mul(2).and_then(|it| it.checked_add(capacity)).filter(|it| *it > 0);
        let bytes = bytes.ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the kernel chooses where; nothing else is there.
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::empty(), flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes, guard, open: 0 })
    }

    fn capacity(&self) -> usize {
        self.bytes - 2 * self.guard
    }

    fn base(&self) -> *mut u8 {
        // SAFETY: the guard is part of the mapping.
        unsafe { self.start.as_ptr().add(self.guard) }
    }

    /// Makes the first `len` bytes accessible, which the capacity holds.
    fn open(&mut self, len: usize) -> io::Result<()> {
        let open = pages(len)?;
        if open > self.open {
            // SAFETY: within this mapping; nobody can have had a reference to what was not accessible.
            let from = unsafe { self.base().add(self.open) };
            let flags = MprotectFlags::READ | MprotectFlags::WRITE;
            // SAFETY: as above.
            unsafe { rustix::mm::mprotect(from.cast(), open - self.open, flags) }?;
            self.open = open;
        }
        Ok(())
    }

    /// Moves to a place with so much capacity: the pages themselves, not what they hold.
    fn move_to(&mut self, capacity: usize) -> io::Result<()> {
        let mut new = Self::reserve(capacity, self.guard)?;
        new.open = self.open;
        if self.open > 0 {
            let (from, to) = (self.base().cast(), new.base().cast());
            // SAFETY: both ranges belong to these two mappings, and the new one is the larger.
            unsafe { rustix::mm::mremap_fixed(from, self.open, self.open, MremapFlags::MAYMOVE, to) }?;
        }
        let old = ManuallyDrop::new(std::mem::replace(self, new));
        // Not in one: what is between them is no longer this mapping's, and may be another's already.
        unmap(old.start.as_ptr(), old.guard);
        let before = old.guard + old.open;
        // SAFETY: within the mapping, or its end.
        unmap(unsafe { old.start.as_ptr().add(before) }, old.bytes - before);
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        for at in (0..self.open).step_by(PIECE) {
            // SAFETY: within what is accessible. Whoever owned the memory is gone, so nobody reads it any more.
            let piece = unsafe { self.base().add(at) };
            // SAFETY: as above. Where it fails, unmapping frees the pages.
            let _ = unsafe { rustix::mm::madvise(piece.cast(), PIECE.min(self.open - at), Advice::LinuxDontNeed) };
        }
        unmap(self.start.as_ptr(), self.bytes);
    }
}

/// Unmaps what belongs to a mapping that is gone.
fn unmap(from: *mut u8, bytes: usize) {
    // SAFETY: as said.
    if bytes > 0
        && let Err(error) = unsafe { rustix::mm::munmap(from.cast(), bytes) }
    {
        tracing::error!(%error, bytes, "unmapping a guest's memory");
    }
}

/// Rounds up to whole pages.
fn pages(bytes: usize) -> io::Result<usize> {
    bytes.checked_next_multiple_of(rustix::param::page_size()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn memory(minimum: usize, reserved: usize) -> Box<dyn LinearMemory> {
        Memories.new_memory(MemoryType::new(1, None), minimum, None, Some(reserved), MIB).unwrap()
    }

    fn bytes(memory: &mut Box<dyn LinearMemory>) -> &mut [u8] {
        // SAFETY: what the memory says of itself.
        unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.byte_size()) }
    }

    /// Of this process, in bytes.
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
    }

    /// What the kernel allows at an address: `rw-p`, `---p`, or nothing.
    fn allowed(address: usize) -> Option<String> {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (from, to) = range.split_once('-')?;
            let number = |it| usize::from_str_radix(it, 16).unwrap();
            (number(from)..number(to)).contains(&address).then(|| rest[..4].to_owned())
        })
    }

    #[test]
    fn a_memory_grows_in_its_place_and_is_zero_where_it_does() {
        let mut memory = memory(65_536, 8 * MIB);
        let place = memory.as_ptr();
        bytes(&mut memory).fill(7);
        memory.grow_to(2 * MIB).unwrap();
        assert_eq!((memory.as_ptr(), memory.byte_size(), memory.byte_capacity()), (place, 2 * MIB, 8 * MIB));
        assert_eq!((bytes(&mut memory)[65_535], bytes(&mut memory)[65_536]), (7, 0));
        assert!(bytes(&mut memory)[65_536..].iter().all(|it| *it == 0));
    }

    #[test]
    fn beyond_its_capacity_it_moves_with_what_it_holds() {
        let mut memory = memory(MIB, MIB);
        let place = memory.as_ptr();
        bytes(&mut memory).fill(7);
        memory.grow_to(3 * MIB).unwrap();
        assert_ne!(memory.as_ptr(), place);
        assert!(memory.byte_capacity() >= 3 * MIB + ROOM_MIN);
        assert!(bytes(&mut memory)[..MIB].iter().all(|it| *it == 7));
        assert!(bytes(&mut memory)[MIB..].iter().all(|it| *it == 0));
        assert!(memory.grow_to(usize::MAX).is_err(), "more than there is");
        assert_eq!(memory.byte_size(), 3 * MIB);
    }

    #[test]
    fn nothing_beside_a_memory_can_be_reached() {
        let memory = memory(65_536, MIB);
        let base = memory.as_ptr().addr();
        assert_eq!(allowed(base).as_deref(), Some("rw-p"));
        assert_eq!(allowed(base + 65_535).as_deref(), Some("rw-p"));
        for beside in [base - MIB, base - 1, base + 65_536, base + 2 * MIB - 1] {
            assert_eq!(allowed(beside).as_deref(), Some("---p"), "{beside:x}, {base:x}");
        }
    }

    #[test]
    fn all_that_was_touched_is_given_back() {
        let mut memory = memory(64 * MIB + 65_536, 128 * MIB);
        let before = resident();
        bytes(&mut memory).fill(7);
        assert!(resident() >= before + 64 * MIB);
        let place = memory.as_ptr().addr();
        drop(memory);
        assert!(resident() < before + 8 * MIB);
        assert_eq!(allowed(place), None);
    }
}
