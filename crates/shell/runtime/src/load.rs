//! From a file or the cache to linked code. Blocking; [`crate::Runtime::load`] calls it on threads of its own.

use std::{
    collections::HashSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use wasmtime::{Module, Store, component::Component};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    LoadError, ProgramKind,
    cache::{Cache, Facts},
    debuginfo,
    inspect::{Inspection, inspect},
    keyvalue, link, native,
    program::{Code, Linked},
    runtime::Core,
    state::{ModuleState, State},
};

/// Linkers and caches of both engines.
pub(crate) struct Loader {
    core: Arc<Core>,
    http: Side,
    command: Side,
    modules: wasmtime::Linker<ModuleState>,
    /// What `modules` defines, to name what it does not before anything is compiled.
    module_imports: HashSet<(String, String)>,
}

/// What belongs to one engine.
struct Side {
    cache: Cache,
    components: wasmtime::component::Linker<State>,
}

/// Code that is not linked yet.
enum Loaded {
    Component(Component),
    Module(Module),
}

/// Reads the file at `path`, which may have `limit` bytes at most.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let failed =
        |error: std::io::Error| LoadError::Read { path: path.display().to_string(), reason: error.to_string() };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut content = Vec::new();
    if bytes <= limit {
        // The file may grow meanwhile.
        file.take(limit + 1).read_to_end(&mut content).map_err(failed)?;
    }
    let bytes = bytes.max(content.len() as u64);
    if bytes > limit { Err(LoadError::TooLarge { bytes, max: limit }) } else { Ok(content) }
}

impl Loader {
    pub(crate) fn new(core: Arc<Core>, http_cache: Cache, command_cache: Cache) -> wasmtime::Result<Self> {
        let modules = link::module_linker(&core.engines.command)?;
        // The linker lists its names through a store; nothing in it is ever used.
        let module_imports = preview1_names(&core.engines.command)?;
        let http = Side { cache: http_cache, components: link::component_linker(&core.engines.http)? };
        let command = Side { cache: command_cache, components: link::component_linker(&core.engines.command)? };
        Ok(Self { core, http, command, modules, module_imports })
    }

    /// Code for the engine of commands, which policies share.
    pub(crate) fn command_cache(&self) -> &Cache {
        &self.command.cache
    }

    /// Whether [`Loader::cached`] takes no longer than a turn of a guest: the file is small and was read before.
    pub(crate) fn is_quick(&self, digest: &str) -> bool {
        const BYTES_MAX: u64 = 8 << 20;
        [&self.http, &self.command].iter().any(|it| it.cache.is_checked(digest, BYTES_MAX))
    }

    /// Where the code of `digest` lies or would lie.
    pub(crate) fn places(&self, digest: &str) -> [PathBuf; 2] {
        [self.http.cache.path(digest), self.command.cache.path(digest)]
    }

    /// Links the code of `digest` from the cache. Damaged code is discarded with a warning, as if it were not there.
    pub(crate) fn cached(&self, digest: &Arc<str>) -> Option<Arc<Code>> {
        [&self.http, &self.command].into_iter().find_map(|side| self.cached_by(side, digest))
    }

    fn cached_by(&self, side: &Side, digest: &Arc<str>) -> Option<Arc<Code>> {
        let found = match side.cache.check(digest) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code in the cache is unusable, compiling again");
                side.cache.discard(digest);
                None
            }
        };
        let (path, facts) = found?;
        match self.map(&path, facts.kind).and_then(|code| self.link(code, facts, digest)) {
            Ok(code) => Some(code),
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code in the cache does not load, compiling again");
                side.cache.discard(digest);
                None
            }
        }
    }

    /// Compiles and links `wasm`, and puts it into the cache.
    pub(crate) fn compile(&self, wasm: &[u8], digest: &Arc<str>) -> Result<Arc<Code>, LoadError> {
        let inspection = inspect(wasm)?;
        self.check_imports(&inspection)?;
        let Inspection { kind, memory_initial_bytes, .. } = inspection;
        let facts = Facts { kind, memory_initial_bytes };
        let engines = &self.core.engines;
        let wasm = &*debuginfo::bounded(wasm, kind);
        let code = match kind {
            ProgramKind::HttpComponent => engines.http.precompile_component(wasm),
            ProgramKind::CommandComponent => engines.command.precompile_component(wasm),
            ProgramKind::CommandModule => engines.command.precompile_module(wasm),
        };
        let code = code.map_err(|error| explain_compile(&error))?;
        let side = if kind == ProgramKind::HttpComponent { &self.http } else { &self.command };
        let loaded = match side.cache.write(digest, &code, facts) {
            Ok(path) => self.map(&path, kind)?,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code cannot be cached and will be compiled again next time");
                self.compile_in_memory(wasm, kind)?
            }
        };
        self.link(loaded, facts, digest).inspect_err(|_| side.cache.discard(digest))
    }

    /// For a cache that cannot be written. Compiles once more: code in memory that skipped a file is not worth more unsafe.
    fn compile_in_memory(&self, wasm: &[u8], kind: ProgramKind) -> Result<Loaded, LoadError> {
        let engines = &self.core.engines;
        match kind {
            ProgramKind::HttpComponent => Component::from_binary(&engines.http, wasm).map(Loaded::Component),
            ProgramKind::CommandComponent => Component::from_binary(&engines.command, wasm).map(Loaded::Component),
            ProgramKind::CommandModule => Module::from_binary(&engines.command, wasm).map(Loaded::Module),
        }
        .map_err(|error| explain_compile(&error))
    }

    fn map(&self, path: &Path, kind: ProgramKind) -> Result<Loaded, LoadError> {
        let engines = &self.core.engines;
        match kind {
            ProgramKind::HttpComponent => native::component(&engines.http, path).map(Loaded::Component),
            ProgramKind::CommandComponent => native::component(&engines.command, path).map(Loaded::Component),
            ProgramKind::CommandModule => native::module(&engines.command, path).map(Loaded::Module),
        }
        .map_err(|error| LoadError::Compile(format!("mapping {}: {error:#}", path.display())))
    }

    fn link(&self, loaded: Loaded, facts: Facts, digest: &Arc<str>) -> Result<Arc<Code>, LoadError> {
        let keeps_values = match &loaded {
            Loaded::Component(it) => keyvalue::is_imported(it),
            Loaded::Module(_) => false,
        };
        let linked = match (loaded, facts.kind) {
            (Loaded::Component(it), ProgramKind::HttpComponent) => {
                self.http.components.instantiate_pre(&it).and_then(ProxyPre::new).map(Linked::Http)
            }
            (Loaded::Component(it), _) => {
                self.command.components.instantiate_pre(&it).and_then(CommandPre::new).map(Linked::Command)
            }
            (Loaded::Module(it), _) => self.modules.instantiate_pre(&it).map(Linked::Module),
        };
        let linked = linked.map_err(|error| explain_link(&error))?;
        let core = Arc::clone(&self.core);
        let memory_initial_bytes = facts.memory_initial_bytes;
        Ok(Arc::new(Code { core, digest: Arc::clone(digest), memory_initial_bytes, keeps_values, linked }))
    }

    fn check_imports(&self, inspection: &Inspection) -> Result<(), LoadError> {
        for (module, name, sort) in &inspection.module_imports {
            if !self.module_imports.contains(&(module.clone(), name.clone())) {
                return Err(LoadError::UnknownImport(format!("module {module:?} {sort} {name:?}")));
            }
        }
        for name in &inspection.component_imports {
            if !link::offers(name) {
                return Err(LoadError::UnknownImport(format!("interface {name:?}")));
            }
        }
        Ok(())
    }
}

/// What preview 1 consists of: module and name of each function.
pub(crate) fn preview1_names(engine: &wasmtime::Engine) -> wasmtime::Result<HashSet<(String, String)>> {
    let mut linker = wasmtime::Linker::<Option<wasmtime_wasi::p1::WasiP1Ctx>>::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |it| it.as_mut().expect("never called"))?;
    let mut store = Store::new(engine, None);
    Ok(linker.iter(&mut store).map(|(module, name, _)| (module.to_owned(), name.to_owned())).collect())
}

/// The compiler's message names what is wrong; what is merely switched off is told apart by its wording.
fn explain_compile(error: &wasmtime::Error) -> LoadError {
    let text = format!("{error:#}");
    if text.contains("not enabled") || text.contains("support is disabled") || text.contains("requires the `") {
        LoadError::UnsupportedProposal(text)
    } else if text.contains("exceeds the limit") || text.contains("exceeds the maximum") {
        LoadError::TooManyResources(text)
    } else if error.downcast_ref::<wasmparser::Error>().is_some() || text.contains("Invalid input WebAssembly") {
        LoadError::Invalid(text)
    } else {
        LoadError::Compile(text)
    }
}

fn explain_link(error: &wasmtime::Error) -> LoadError {
    if let Some(unknown) = error.downcast_ref::<wasmtime::UnknownImportError>() {
        return LoadError::UnknownImport(format!("module {:?} name {:?}", unknown.module(), unknown.name()));
    }
    let text = format!("{error:#}");
    if text.contains("exceeds the limit") || text.contains("exceeds the configured maximum") {
        return LoadError::TooManyResources(text);
    }
    LoadError::UnknownImport(text)
}
