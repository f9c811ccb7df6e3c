//! Programs: compiled and linked code that many guests share.

use std::{fmt, sync::Arc, time::Duration};

use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    GuestSpec, HttpGuest, Process, StartError,
    guest::Guest,
    lanes::Copies,
    p3,
    reuse::Keep,
    runtime::Core,
    share::places_of,
    state::{ModuleState, State},
    tier::Tiers,
};

/// What a program is, by what it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// A component that exports `wasi:http/incoming-handler`.
    HttpComponent,
    /// A component that exports `wasi:cli/run`.
    CommandComponent,
    /// A core module with `_start` (WASI preview 1).
    CommandModule,
    /// A component that exports `wasi:http/handler` of WASI 0.3, or `wasi:http/incoming-handler` while it imports something of 0.3.
    ServiceComponent,
    /// A component that exports `wasi:cli/run` of WASI 0.3, or that of 0.2 while it imports something of 0.3.
    ConcurrentCommand,
}

impl ProgramKind {
    /// Whether the program is a process with an exit code.
    pub fn is_command(self) -> bool {
        !matches!(self, ProgramKind::HttpComponent | ProgramKind::ServiceComponent)
    }

    /// Whether it is of WASI 0.3, in which one instance may have several calls under way.
    pub fn is_concurrent(self) -> bool {
        matches!(self, ProgramKind::ServiceComponent | ProgramKind::ConcurrentCommand)
    }
}

impl fmt::Display for ProgramKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProgramKind::HttpComponent => "wasi:http component",
            ProgramKind::CommandComponent => "wasi:cli component",
            ProgramKind::CommandModule => "preview-1 module",
            ProgramKind::ServiceComponent => "wasi:http 0.3 component",
            ProgramKind::ConcurrentCommand => "wasi:cli 0.3 component",
        })
    }
}

/// Where one load found the compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedFrom {
    /// Another guest was already using it.
    Memory,
    /// A file in the cache directory.
    Cache,
    /// It was compiled now.
    Compiled,
    /// It was compiled now, in a hurry; better code replaces it while it answers requests.
    CompiledEarly,
}

/// How one load went.
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
    pub(crate) code: Arc<Code>,
    pub(crate) loaded: Loaded,
}

/// What all loads of one digest share.
pub(crate) struct Code {
    pub(crate) core: Arc<Core>,
    pub(crate) digest: Arc<str>,
    pub(crate) memory_initial_bytes: u64,
    pub(crate) keeps_values: bool,
    /// Places that an instance takes, of its pool or of those of commands.
    pub(crate) places: usize,
    pub(crate) linked: Linked,
    /// The same once more for threads that serve.
    pub(crate) copies: Copies,
}

/// Code whose imports have been resolved, so that an instance is made without looking up names.
pub(crate) enum Linked {
    Http(Tiers<ProxyPre<State>>),
    Command(CommandPre<State>),
    Module(wasmtime::InstancePre<ModuleState>),
    Service(p3::ServicePre),
    ConcurrentCommand(p3::CommandPre),
}

impl Linked {
    /// Places that an instance takes which may hold so many stacks.
    pub(crate) fn places(&self, stacks: u32) -> usize {
        let needed = match self {
            Linked::Http(tiers) => tiers.best().instance_pre().component().resources_required(),
            Linked::Service(pre) => pre.component().resources_required(),
            Linked::Command(_) | Linked::Module(_) | Linked::ConcurrentCommand(_) => None,
        };
        let (memories, tables) = needed.map_or((1, 1), |it| (it.num_memories, it.num_tables));
        places_of(memories, tables, stacks)
    }
}

impl Code {
    pub(crate) fn is_optimised(&self) -> bool {
        match &self.linked {
            Linked::Http(tiers) => tiers.is_optimised(),
            Linked::Command(_) | Linked::Module(_) | Linked::Service(_) | Linked::ConcurrentCommand(_) => true,
        }
    }
}

impl Program {
    /// How many of the threads that serve have code of their own by now, because they were asked for it often.
    pub fn copies(&self) -> usize {
        self.code.copies.count()
    }

    /// What it is.
    pub fn kind(&self) -> ProgramKind {
        match self.code.linked {
            Linked::Http(_) => ProgramKind::HttpComponent,
            Linked::Command(_) => ProgramKind::CommandComponent,
            Linked::Module(_) => ProgramKind::CommandModule,
            Linked::Service(_) => ProgramKind::ServiceComponent,
            Linked::ConcurrentCommand(_) => ProgramKind::ConcurrentCommand,
        }
    }

    /// Digest of the Wasm file, as given to [`crate::Runtime::load`].
    pub fn digest(&self) -> &str {
        &self.code.digest
    }

    /// Whether it imports `wasi:keyvalue` or `wasi:blobstore`, and so needs [`GuestSpec::buckets`].
    pub fn keeps_values(&self) -> bool {
        self.code.keeps_values
    }

    /// Whether it runs its best code. What was compiled in a hurry does so later.
    pub fn is_optimised(&self) -> bool {
        self.code.is_optimised()
    }

    /// How the load that returned this value went.
    pub fn loaded(&self) -> Loaded {
        self.loaded
    }

    /// Makes a guest that answers requests, an instance each unless its spec has them reused ([`GuestSpec::reuse`]). A command
    /// does where its spec says how ([`GuestSpec::per_request`]).
    ///
    /// # Errors
    ///
    /// When the program is a command and its spec says nothing of that, a mount cannot be opened, or the memory limit is below what the program starts with.
    pub fn serve(&self, spec: GuestSpec) -> Result<Arc<HttpGuest>, StartError> {
        let per_request = spec.per_request.clone().filter(|_| self.kind().is_command());
        if self.kind().is_command() && per_request.is_none() {
            return Err(StartError::WrongKind { found: self.kind(), wanted: "served" });
        }
        if let Some(limit) = spec.memory_bytes
            && self.code.memory_initial_bytes > limit
        {
            return Err(StartError::MemoryLimit { needed: self.code.memory_initial_bytes, limit });
        }
        let (deadline, requests_max) = (spec.request_deadline, spec.requests_max);
        let reuse = spec.reuse.filter(|_| !self.kind().is_command());
        let mut guest = Guest::new(spec, &self.code.core)?;
        guest.keep = reuse.map(|it| Keep::new(it, self.code.places, Arc::clone(&self.code.core)));
        Ok(Arc::new(HttpGuest::new(Arc::clone(&self.code), Arc::new(guest), deadline, requests_max, per_request)))
    }

    /// Starts a process on the runtime's own threads.
    ///
    /// # Errors
    ///
    /// When the program is not a command, or a mount cannot be opened. What goes wrong later, too little memory for its
    /// start included, is its [`crate::Exit`].
    pub fn spawn(&self, spec: GuestSpec) -> Result<Process, StartError> {
        if !self.kind().is_command() {
            return Err(StartError::WrongKind { found: self.kind(), wanted: "spawned" });
        }
        let wants_stdin = spec.stdin;
        let guest = Arc::new(Guest::new(spec, &self.code.core)?);
        Ok(Process::start(Arc::clone(&self.code), guest, wants_stdin))
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
