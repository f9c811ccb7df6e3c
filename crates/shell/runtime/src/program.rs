//! Programs: compiled code that many guests share.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use crate::{GuestSpec, HttpGuest, LoadError, Process, RuntimeConfig, RuntimeError, StartError};

/// Compiles, caches and links programs. Clones share everything.
#[derive(Clone)]
pub struct Runtime {}

impl Runtime {
    /// Prepares engines, pools and the cache.
    ///
    /// # Errors
    ///
    /// When the engine cannot be configured on this machine or the cache directory cannot be used.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let _ = config;
        Ok(Self {})
    }

    /// Loads the program in file `wasm`, whose content has `digest` (`sha256:…`): from memory, from the cache, or by
    /// compiling it. Calls for one digest share one compilation.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no program this runtime can run.
    pub async fn load(&self, wasm: &Path, digest: &str) -> Result<Program, LoadError> {
        let _ = (wasm, digest);
        Err(LoadError::Compile("not yet".into()))
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// What a program is, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// A component that exports `wasi:http/incoming-handler`.
    HttpComponent,
    /// A component that exports `wasi:cli/run`.
    CommandComponent,
    /// A core module with `_start` (WASI preview 1).
    CommandModule,
}

impl ProgramKind {
    /// Whether the program is a process with an exit code.
    pub fn is_command(self) -> bool {
        self != ProgramKind::HttpComponent
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProgramKind::HttpComponent => "wasi:http component",
            ProgramKind::CommandComponent => "wasi:cli component",
            ProgramKind::CommandModule => "preview-1 module",
        })
    }
}

/// Where one [`Runtime::load`] found the compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedFrom {
    /// Another guest was already using it.
    Memory,
    /// A file in the cache directory.
    Cache,
    /// It was compiled now.
    Compiled,
}

/// How one [`Runtime::load`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where the code came from.
    pub from: LoadedFrom,
    /// How long it took.
    pub took: Duration,
}

/// Compiled and linked code, ready for guests. Clones share it; the code is released with the last of them.
#[derive(Clone)]
pub struct Program {
    shared: Arc<Shared>,
    loaded: Loaded,
}

struct Shared {
    kind: ProgramKind,
    digest: String,
}

impl Program {
    /// What it is.
    pub fn kind(&self) -> ProgramKind {
        self.shared.kind
    }

    /// Digest of the Wasm file, as given to [`Runtime::load`].
    pub fn digest(&self) -> &str {
        &self.shared.digest
    }

    /// How the load that returned this value went.
    pub fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Makes a guest that answers requests, an instance each.
    ///
    /// # Errors
    ///
    /// When the program is a command, or a mount cannot be opened.
    pub fn serve(&self, spec: GuestSpec) -> Result<Arc<HttpGuest>, StartError> {
        let _ = spec;
        Err(StartError::WrongKind { found: self.kind(), wanted: "served" })
    }

    /// Starts a process.
    ///
    /// # Errors
    ///
    /// When the program is not a command, or a mount cannot be opened.
    pub fn spawn(&self, spec: GuestSpec) -> Result<Process, StartError> {
        let _ = spec;
        Err(StartError::WrongKind { found: self.kind(), wanted: "spawned" })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("kind", &self.kind())
            .field("digest", &self.digest())
            .field("loaded", &self.loaded)
            .finish()
    }
}
