//! Why a runtime, a program or a guest could not be had.

use std::path::PathBuf;

/// Why [`crate::Runtime::new`] failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refused the configuration on this machine.
    #[error("configuring the WebAssembly engine: {0}")]
    Engine(String),
    /// The cache directory cannot be made or written.
    #[error("preparing the compiled-code cache {}", path.display())]
    CacheDir {
        /// The directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The epoch thread could not be started.
    #[error("starting the epoch thread")]
    Thread(#[source] std::io::Error),
}

/// Why a file is no program of ours. Its text is fit for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("reading {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is larger than the runtime accepts.
    #[error("the file has {bytes} bytes, more than the {max} accepted")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The file does not start as WebAssembly does.
    #[error("not WebAssembly: the file starts with {found}")]
    NotWasm {
        /// What it starts with.
        found: String,
    },
    /// The file ends in the middle.
    #[error("truncated WebAssembly: the file ends at byte {offset} inside {inside}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// What was being read.
        inside: String,
    },
    /// The file uses a proposal that is off.
    #[error("needs a WebAssembly proposal that is not supported: {0}")]
    UnsupportedProposal(String),
    /// The file is WebAssembly but not valid.
    #[error("invalid WebAssembly: {0}")]
    Invalid(String),
    /// The program imports what no host here offers.
    #[error("unknown import: {0}")]
    UnknownImport(String),
    /// The program exports nothing that can be called.
    #[error("no entry point: {0}")]
    NoEntryPoint(String),
    /// The program asks for more than an instance may have (memories, tables, initial memory).
    #[error("needs more than one instance may have: {0}")]
    TooManyResources(String),
    /// A function, or all of them, would take the compiler more memory or time than it is given.
    #[error("too much to compile: {0}")]
    TooHeavy(String),
    /// Compilation failed.
    #[error("compiling: {0}")]
    Compile(String),
}

/// Why a guest could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The program is of another kind than was asked for.
    #[error("a {found} cannot be {wanted}")]
    WrongKind {
        /// What the program is.
        found: crate::ProgramKind,
        /// What was asked: "served" or "spawned".
        wanted: &'static str,
    },
    /// A mount's directory cannot be opened.
    #[error("mounting {host} at {guest}: {reason}")]
    Mount {
        /// Directory on the host.
        host: String,
        /// Path in the guest.
        guest: String,
        /// What the system said.
        reason: String,
    },
    /// An argument or variable holds what WASI cannot pass, or the spec what the program cannot be given.
    #[error("{0}")]
    Invalid(String),
    /// There is no thread for it.
    #[error("starting a thread: {0}")]
    Thread(String),
    /// The program needs more memory at its start than the limit allows.
    #[error("the program starts with {needed} bytes of memory, more than its limit of {limit}")]
    MemoryLimit {
        /// What it starts with.
        needed: u64,
        /// The limit.
        limit: u64,
    },
}
