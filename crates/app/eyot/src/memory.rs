//! Takes as much memory as is needed, and gives back what only the start needed. The only unsafe code of this binary.
#![allow(unsafe_code, reason = "neither call has a safe wrapper among the dependencies")]

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

/// Returns this thread's free memory to the system. A start parses, signs and links on one thread, which then sleeps: its
/// allocator would keep what that took for ever.
pub(crate) fn give_back() {
    unsafe extern "C" {
        fn mi_collect(force: bool);
    }
    // SAFETY: mimalloc's own function, linked with the allocator that this binary uses. It touches only free memory, and may be
    // called from any thread at any time.
    unsafe { mi_collect(true) }
}
