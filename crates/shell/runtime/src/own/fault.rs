//! Ends guest code that asks nobody: its functions become traps.
//!
//! Start at [`Faults::get`]. A thread that runs a guest holds an [`Entered`]; [`Target::end`] ends the guest's code from any other.
//! Each guest has its code for itself, as private pages of a file in the cache or of memory, so this concerns nobody else.
//!
//! # How
//!
//! [`Target::end`] takes from the guest's code the right to be run, writes an instruction that no processor knows over the bodies of
//! all functions that the guest's author wrote ([`Bodies`]), and lets code run again. Where the guest's thread is inside a body,
//! or comes back to one from the host, it faults. The handler of that fault ([`on_fault`]) has the thread go on at an
//! instruction that traps (an `unreachable` of a module of ours, which stays loaded). What follows is wasmtime's own business and
//! nothing new to it: a trap in guest code. So a guest ends within its next instruction when it computes, and with its
//! return when it is in the host, be it that it never computes for longer than between two calls.
//!
//! # Why it is sound
//!
//! The handler changes something only on a thread that runs a guest which is to end, and only if the next instruction lies in
//! one of its bodies. Read against wasmtime 48:
//!
//! - *No code is changed while it runs.* When `mprotect` returns, no processor runs the guest's code any more: it faults at the
//!   border of an instruction. In a body it is led away, and never comes back. Elsewhere (trampolines) it tries again until
//!   code may run; that is as it was, because only bodies are written to, whose places wasmtime's tables tell
//!   (`Module::functions`, `Component::functions`: what it calls `DefinedWasmFunction`). The instruction has one byte,
//!   so that there is no wrong place to come back to.
//! - *The trap is taken for one of the guest's.* `traphandlers.rs` (`test_if_trap`) looks the address up in a registry of all
//!   code of the process, finds that the instruction traps, and goes to the handler that the entry trampoline of the guest's
//!   innermost activation left in its store. That activation is this guest's: a body runs only inside one, and nobody else has
//!   this code.
//! - *Nothing is left half done.* No Rust frame is skipped: whatever the host does, it does outside of bodies, and there the
//!   handler does nothing. All calls from a body to the host go through trampolines of their own
//!   (`compile_wasm_to_builtin`, `compile_wasm_to_array_trampoline`, those of components), which are no bodies; what a host call
//!   reports as a trap is noted and raised in there too, so no other trap is under way when a body goes on
//!   (`record_unwind` would say so in a debug build). The thread that faults holds no lock, not that of the allocator either,
//!   which wasmtime's handler uses.
//! - *Registers do not matter.* wasmtime sets program counter, stack and frame pointer to those of the entry trampoline, whose
//!   landing pad expects nothing of the others; that is how a fault at any load or store is dealt with.
//! - *The stack can be walked.* For the trap's backtrace wasmtime follows frame pointers from the one that the guest had. At
//!   every instruction of a body the frame pointer is the function's own, or, in its first and last instructions, its
//!   caller's (`gen_prologue_frame_setup`, `gen_epilogue_frame_restore`); compiled code uses that register for
//!   nothing else (`preserve_frame_pointers`). If the caller is the entry trampoline, the walk has no frames, which it allows.
//!   The exception is a tail call, which moves its own frame: the engine has tail calls off. The address of our instruction belongs
//!   to no module of the store, and is left out of the backtrace.
//! - *What the guest was about to do to the runtime's data is not looked at.* Compiled code changes such data by itself only for
//!   garbage collection (counts, lists of roots) and exceptions, which the engine has off; references from outside, which would
//!   be counted too, no import of ours gives. The store is dropped without running guest code, and never entered again.
//! - *Stacks suffice.* The handlers run on the alternate stack that Rust gives each thread and wasmtime enlarges, never on the
//!   guest's.
//! - *wasmtime does not look at what is written over.* It hands out its image of the code by reference, but reads there only
//!   what it has compiled besides code, and nothing of this crate keeps such a reference.
//!
//! The handler stands before wasmtime's and passes on to it all that it has no word in. Elsewhere than on x86-64 there is none:
//! one would have to write instructions of four bytes and to tell the processor's caches, and nobody has tried that. Guests
//! run code with checks there.
#![allow(unsafe_code, reason = "signals and pages are; each block says what makes it sound")]

use std::{
    cell::Cell,
    io,
    marker::PhantomData,
    mem::{self, MaybeUninit},
    ops::Range,
    ptr,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
            compiler_fence,
        },
    },
    time::Duration,
};

use libc::{c_int, c_void, siginfo_t, ucontext_t};
use parking_lot::Mutex;
use rustix::mm::{MprotectFlags, mprotect};
use wasmtime::{Config, Engine, Module};

use super::bodies::Bodies;
use crate::program::Code;

/// Whether this module knows the processor.
const IS_KNOWN: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// The instruction that `unreachable` becomes.
const TRAP: [u8; 2] = [0x0f, 0x0b];

/// An instruction of one byte that does not exist.
const UNKNOWN: u8 = 0x06;

/// A module of one function, which is `unreachable`.
const TRAPPING: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x05\x01\x03\0\0\x0b";

/// What guests end in, in this process.
pub(super) struct Faults {
    /// Address of an instruction that traps.
    trap: usize,
    /// What it belongs to.
    _module: Module,
}

/// Why guests cannot be ended this way.
#[derive(Debug, thiserror::Error)]
enum FaultsError {
    #[error("this processor's code is not known")]
    Processor,
    #[error("compiling a trap: {0}")]
    Compile(wasmtime::Error),
    #[error("a trap does not look as expected")]
    Trap,
    #[error("handling faults: {0}")]
    Handle(io::Error),
}

impl Faults {
    /// Prepared when it is first asked for, for the rest of the process's life; `None` where that is not possible.
    pub(super) fn get() -> Option<&'static Faults> {
        static FAULTS: OnceLock<Option<Faults>> = OnceLock::new();
        let prepare = || {
            let made = Faults::new();
            made.inspect_err(|error| tracing::info!(%error, "no command can have a thread of its own")).ok()
        };
        FAULTS.get_or_init(prepare).as_ref()
    }

    fn new() -> Result<Self, FaultsError> {
        if !IS_KNOWN {
            return Err(FaultsError::Processor);
        }
        let mut config = Config::new();
        config.concurrency_support(false).native_unwind_info(false);
        // wasmtime handles faults from its first engine on, which is this one or was before.
        let engine = Engine::new(&config).map_err(FaultsError::Compile)?;
        let module = Module::new(&engine, TRAPPING).map_err(FaultsError::Compile)?;
        let trap = trap_in(&module).ok_or(FaultsError::Trap)?;
        Before::stand_in_front().map_err(FaultsError::Handle)?;
        Ok(Self { trap, _module: module })
    }
}

/// Where the one function of `module` traps.
fn trap_in(module: &Module) -> Option<usize> {
    let function = module.functions().next()?;
    let body = module.text().get(function.offset..function.offset.checked_add(function.len)?)?;
    // Such a function sets up its frame and has no numbers in it that could look like an instruction. Whatever else traps in it
    // does so by the same instruction.
    let at = body.windows(TRAP.len()).position(|it| it == TRAP)?;
    Some(body.as_ptr().addr() + at)
}

/// Those who handled faults before.
struct Before {
    segv: libc::sigaction,
    ill: libc::sigaction,
}

static BEFORE: OnceLock<Before> = OnceLock::new();

impl Before {
    fn stand_in_front() -> io::Result<()> {
        let before = Before { segv: handler(libc::SIGSEGV)?, ill: handler(libc::SIGILL)? };
        // There before the first fault that may need them.
        if BEFORE.set(before).is_ok() {
            handle(libc::SIGSEGV)?;
            handle(libc::SIGILL)?;
        }
        Ok(())
    }
}

fn handler(signal: c_int) -> io::Result<libc::sigaction> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks only; there is room for the answer.
    if unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written, because the call succeeded.
    Ok(unsafe { now.assume_init() })
}

fn handle(signal: c_int) -> io::Result<()> {
    // SAFETY: all zeros are a value of it: no flags, an empty mask.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    action.sa_sigaction = (on_fault as *const ()).addr();
    // As wasmtime's own.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
    // SAFETY: the handler does only what a handler may: see there.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A guest that may be ended, wherever it is.
pub(super) struct Target {
    faults: &'static Faults,
    bodies: Arc<Bodies>,
    /// What the bodies belong to. It is gone when the guest is.
    code: Weak<Code>,
    is_to_end: AtomicBool,
    was_ended: AtomicBool,
    /// Whether its bodies are written over already; held by whoever does that.
    is_done: Mutex<bool>,
    thread: Mutex<Thread>,
}

/// The thread of a guest.
#[derive(Clone, Copy)]
enum Thread {
    /// Not yet.
    Before,
    Now(libc::pid_t),
    /// It has ended, or has no more to do with the guest, and took so long.
    After(Duration),
}

thread_local! {
    /// The guest of this thread. It has no destructor and is there before any code runs: a handler may read it at any time.
    static HERE: Cell<*const Target> = const { Cell::new(ptr::null()) };
}

impl Target {
    /// A guest whose code is `code`, and nobody else's, with these bodies.
    pub(super) fn new(faults: &'static Faults, bodies: Arc<Bodies>, code: &Arc<Code>) -> Self {
        let (is_to_end, was_ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let (is_done, thread) = (Mutex::new(false), Mutex::new(Thread::Before));
        Self { faults, bodies, code: Arc::downgrade(code), is_to_end, was_ended, is_done, thread }
    }

    /// Has its code end, for good. Takes up to some milliseconds for much code.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to change what its pages allow; asked again, this goes on.
    pub(super) fn end(&self) -> io::Result<()> {
        let Some(_loaded) = self.code.upgrade() else { return Ok(()) };
        let mut is_done = self.is_done.lock();
        if *is_done {
            return Ok(());
        }
        self.is_to_end.store(true, SeqCst);
        rewrite(&self.bodies, |body| {
            // SAFETY: these are pages of the guest's code, loaded as long as `_loaded` is, private to it, and writable now. No
            // processor runs them, and nobody reads them as anything else (see this module's documentation).
            unsafe { ptr::with_exposed_provenance_mut::<u8>(body.start).write_bytes(UNKNOWN, body.len()) };
        })?;
        *is_done = true;
        Ok(())
    }

    /// Whether its code was ended: what it returned is no word of its own then.
    pub(super) fn was_ended(&self) -> bool {
        self.was_ended.load(Relaxed)
    }

    /// Processor time that the thread has taken for it.
    pub(super) fn used(&self) -> Duration {
        match *self.thread.lock() {
            Thread::Before => Duration::ZERO,
            // It cannot end while the lock is held.
            Thread::Now(id) => thread_time(id),
            Thread::After(used) => used,
        }
    }
}

/// Tries whether the kernel lets code be written over, as it must when its guest is killed: some security modules forbid it.
pub(super) fn rehearse(bodies: &Bodies) -> io::Result<()> {
    let mut is_first = true;
    rewrite(bodies, |body| {
        if mem::take(&mut is_first) {
            let at = ptr::with_exposed_provenance_mut::<u8>(body.start);
            // SAFETY: code that whoever asks keeps loaded, writable now, and run by nobody yet. It stays what it was.
            unsafe { at.write_volatile(at.read_volatile()) };
        }
    })
}

/// Has `write` called for each body while they can be written to, and not run.
fn rewrite(bodies: &Bodies, write: impl FnMut(Range<usize>)) -> io::Result<()> {
    let code = bodies.code();
    if code.is_empty() {
        return Ok(());
    }
    protect(code.clone(), MprotectFlags::READ | MprotectFlags::WRITE)?;
    bodies.each().for_each(write);
    protect(code, MprotectFlags::READ | MprotectFlags::EXEC)
}

/// Says what may be done with the pages of `code`, which begin where it does.
fn protect(code: Range<usize>, flags: MprotectFlags) -> io::Result<()> {
    let start = ptr::with_exposed_provenance_mut::<c_void>(code.start);
    // SAFETY: the pages of a guest's code, whose owner keeps them loaded. What may be done with them concerns this guest only:
    // those who read may always do so, and those who run them wait.
    Ok(unsafe { mprotect(start, code.len(), flags) }?)
}

/// The guest runs on this thread until this is dropped.
pub(super) struct Entered {
    target: Arc<Target>,
    /// It stays on its thread.
    _here: PhantomData<*const ()>,
}

impl Entered {
    pub(super) fn new(target: Arc<Target>) -> Self {
        // SAFETY: it only tells.
        *target.thread.lock() = Thread::Now(unsafe { libc::gettid() });
        HERE.set(Arc::as_ptr(&target));
        // The handler reads it on this thread: that no processor reorders, only a compiler may.
        compiler_fence(SeqCst);
        Self { target, _here: PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(ptr::null());
        compiler_fence(SeqCst);
        let mut thread = self.target.thread.lock();
        if let Thread::Now(id) = *thread {
            *thread = Thread::After(thread_time(id));
        }
    }
}

/// Processor time of a thread of this process, which must not have ended.
fn thread_time(id: libc::pid_t) -> Duration {
    // How Linux numbers the clocks of threads: the lowest bits say that it is one's, and that it counts what the scheduler gave.
    let clock = (!id << 3) | 0b110;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer; a clock that is none gives none.
    let asked = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    if asked == 0 { Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0)) } else { Duration::ZERO }
}

/// Reads what is in memory already, and writes two words: no lock, no allocation. What it has no word in goes to those who were
/// asked before.
unsafe extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: set to a guest that whoever set it keeps until it is taken away, on this very thread.
    let target = unsafe { HERE.get().as_ref() };
    if let Some(target) = target.filter(|it| it.is_to_end.load(Relaxed))
        // SAFETY: the kernel hands this to handlers that ask for it, and reads it back when they return.
        && let Some(context) = unsafe { context.cast::<ucontext_t>().as_mut() }
    {
        let at = next(context);
        if target.bodies.contain(at) {
            target.was_ended.store(true, Relaxed);
            // This module's documentation says why the thread may go on there.
            return lead(context, target.faults.trap);
        }
        // SAFETY: what came with a fault of this kind, which has an address.
        if signal == libc::SIGSEGV && target.bodies.code().contains(&at) && unsafe { (*info).si_addr() }.addr() == at {
            // A trampoline, while nothing of the code may run: again, until it may.
            return;
        }
    }
    // SAFETY: with what this handler was called with.
    unsafe { pass_on(signal, info, context) };
}

/// Has whoever handled `signal` before do so now.
unsafe fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Plain = extern "C" fn(c_int);
    type Informed = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    let Some(before) = BEFORE.get() else { return };
    let before = if signal == libc::SIGILL { &before.ill } else { &before.segv };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: puts back what was there: the instruction faults again and ends the process, as it would have without us.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: its flags say that the function there is called so.
        let handler = unsafe { mem::transmute::<usize, Informed>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: as above.
        let handler = unsafe { mem::transmute::<usize, Plain>(handler) };
        handler(signal);
    }
}

/// The address of the instruction that is next.
#[cfg(target_arch = "x86_64")]
fn next(context: &ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RIP as usize].cast_unsigned() as usize
}

/// Has the thread go on at `address`.
#[cfg(target_arch = "x86_64")]
fn lead(context: &mut ucontext_t, address: usize) {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = (address as u64).cast_signed();
}

#[cfg(not(target_arch = "x86_64"))]
fn next(_: &ucontext_t) -> usize {
    0
}

#[cfg(not(target_arch = "x86_64"))]
fn lead(_: &mut ucontext_t, _: usize) {}
