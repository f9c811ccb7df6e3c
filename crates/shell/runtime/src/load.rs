//! From a file or the cache to linked code. Blocking; [`crate::Runtime::load`] calls it on threads of its own.

use std::{
    collections::HashSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use wasmtime::{
    Config, Engine, Module, Store,
    component::{Component, Linker},
};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    LoadError, LoadedFrom, ProgramKind, ahead, blobstore,
    cache::{Cache, Facts},
    debuginfo,
    early::EarlyLinker,
    inspect::{Inspection, inspect},
    keyvalue,
    lanes::Copies,
    link, native,
    own::{Bodies, Unchecked},
    p3,
    program::{Code, Linked},
    runtime::Core,
    share::Source,
    state::{ModuleState, State},
    tier::Tiers,
};

/// Linkers and caches of all engines.
pub(crate) struct Loader {
    pub(crate) core: Arc<Core>,
    pub(crate) cache_dir: PathBuf,
    http: Side,
    command: Side,
    /// Services and commands of WASI 0.3, made when the first is loaded.
    concurrent: OnceLock<[Side; 2]>,
    /// Held by whoever makes them.
    making: Mutex<()>,
    modules: wasmtime::Linker<ModuleState>,
    /// What `modules` defines, to name what it does not before anything is compiled.
    module_imports: HashSet<(String, String)>,
    /// Of the baseline compiler, once it was needed.
    pub(crate) early: OnceLock<Option<EarlyLinker>>,
    /// Of commands on threads of their own, once there was one.
    pub(crate) unchecked: OnceLock<Option<Unchecked>>,
}

/// What belongs to one engine.
pub(crate) struct Side {
    pub(crate) engine: Engine,
    pub(crate) cache: Cache,
    pub(crate) components: Linker<State>,
    /// What the engine's code depends on but its processor.
    layout: Config,
    /// Code that was compiled elsewhere, once it was looked for.
    prepared: OnceLock<Option<Cache>>,
}

impl Side {
    pub(crate) fn new(engine: &Engine, cache: Cache, components: Linker<State>, layout: Config) -> Side {
        Side { engine: engine.clone(), cache, components, layout, prepared: OnceLock::new() }
    }

    /// Where code lies that this engine's was compiled or mapped from, as far as anybody looked.
    fn caches(&self) -> impl Iterator<Item = &Cache> {
        [&self.cache].into_iter().chain(self.prepared.get().into_iter().flatten())
    }

    /// Compiles `wasm` into the cache.
    pub(crate) fn build(&self, wasm: &[u8], digest: &str, facts: Facts) -> Result<Loaded, LoadError> {
        let code = precompile(&self.engine, wasm, facts.kind)?;
        match self.cache.write(digest, &code, facts) {
            Ok(path) => self.map(&path, facts.kind),
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code cannot be cached and will be compiled again next time");
                self.build_in_memory(wasm, facts.kind)
            }
        }
    }

    /// For a cache that cannot be written. Compiles once more: code in memory that skipped a file is not worth more unsafe.
    fn build_in_memory(&self, wasm: &[u8], kind: ProgramKind) -> Result<Loaded, LoadError> {
        let compiled = match kind {
            ProgramKind::CommandModule => Module::from_binary(&self.engine, wasm).map(Loaded::Module),
            _ => Component::from_binary(&self.engine, wasm).map(Loaded::Component),
        };
        compiled.map_err(|error| explain_compile(&error))
    }

    pub(crate) fn map(&self, path: &Path, kind: ProgramKind) -> Result<Loaded, LoadError> {
        let mapped = match kind {
            ProgramKind::CommandModule => native::module(&self.engine, path).map(Loaded::Module),
            _ => native::component(&self.engine, path).map(Loaded::Component),
        };
        mapped.map_err(|error| LoadError::Compile(format!("mapping {}: {error:#}", path.display())))
    }
}

/// Code that is not linked yet.
pub(crate) enum Loaded {
    Component(Component),
    Module(Module),
}

impl Loaded {
    /// Where its functions lie, if that is known.
    pub(crate) fn bodies(&self) -> Option<Bodies> {
        match self {
            Loaded::Component(it) => Bodies::new(it.text(), it.functions()),
            Loaded::Module(it) => Bodies::new(it.text(), it.functions()),
        }
    }
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
    pub(crate) fn new(
        core: Arc<Core>,
        cache_dir: &Path,
        http_cache: Cache,
        command_cache: Cache,
    ) -> wasmtime::Result<Self> {
        let modules = link::module_linker(&core.engines.command)?;
        // The linker lists its names through a store; nothing in it is ever used.
        let module_imports = preview1_names(&core.engines.command)?;
        let side = |engine: &Engine, cache, kind| -> wasmtime::Result<Side> {
            let layout = core.engines.layout(kind, core.engines.pool);
            Ok(Side::new(engine, cache, link::component_linker(engine)?, layout))
        };
        let http = side(&core.engines.http, http_cache, ProgramKind::HttpComponent)?;
        let command = side(&core.engines.command, command_cache, ProgramKind::CommandComponent)?;
        let (concurrent, making, cache_dir) = (OnceLock::new(), Mutex::new(()), cache_dir.to_owned());
        let (early, unchecked) = (OnceLock::new(), OnceLock::new());
        Ok(Self { core, cache_dir, http, command, concurrent, making, modules, module_imports, early, unchecked })
    }

    /// What belongs to the engine that runs programs of `kind`.
    fn side(&self, kind: ProgramKind) -> Result<&Side, LoadError> {
        Ok(match kind {
            ProgramKind::HttpComponent => &self.http,
            ProgramKind::CommandComponent | ProgramKind::CommandModule => &self.command,
            ProgramKind::ServiceComponent => &self.concurrent()?[0],
            ProgramKind::ConcurrentCommand => &self.concurrent()?[1],
        })
    }

    fn concurrent(&self) -> Result<&[Side; 2], LoadError> {
        let _turn = self.concurrent.get().is_none().then(|| self.making.lock());
        if let Some(made) = self.concurrent.get() {
            return Ok(made);
        }
        let failed = |error: wasmtime::Error| LoadError::Compile(format!("preparing for WASI 0.3: {error:#}"));
        let engines = self.core.engines.concurrent().map_err(failed)?;
        let side = |engine: &Engine, kind| {
            let cache = Cache::open(&self.cache_dir, engine).and_then(|it| it.sweep().map(|()| it));
            let layout = self.core.engines.layout(kind, engines.pool);
            Ok(Side::new(engine, cache?, p3::component_linker(engine)?, layout))
        };
        let http = side(&engines.http, ProgramKind::ServiceComponent).map_err(failed)?;
        let sides = [http, side(&engines.command, ProgramKind::ConcurrentCommand).map_err(failed)?];
        for engine in [engines.http, engines.command] {
            self.core.ticker.add(engine);
        }
        Ok(self.concurrent.get_or_init(|| sides))
    }

    /// The sides there are.
    fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.http, &self.command].into_iter().chain(self.concurrent.get().into_iter().flatten())
    }

    /// Code for the engine of commands, which policies share.
    pub(crate) fn command_cache(&self) -> &Cache {
        &self.command.cache
    }

    /// Whether [`Loader::cached`] takes no longer than a turn of a guest: the file is small and was read before.
    pub(crate) fn is_quick(&self, digest: &str) -> bool {
        const BYTES_MAX: u64 = 8 << 20;
        self.sides().flat_map(|it| it.caches()).any(|it| it.is_checked(digest, BYTES_MAX))
    }

    /// Where the code of `digest` lies or would lie.
    pub(crate) fn places(&self, digest: &str) -> Vec<PathBuf> {
        let made_or_found = self.sides().flat_map(|it| it.caches()).map(|it| it.path(digest));
        made_or_found.chain(self.unchecked_place(digest)).collect()
    }

    /// Links the code of `digest` from the cache: that which was compiled here, else that which was compiled elsewhere for machines
    /// like this one. Damaged code is discarded with a warning, as if it were not there. Code for WASI 0.3 is found here once any was
    /// loaded, and else by [`Loader::compile`], which knows that it is some.
    pub(crate) fn cached(&self, digest: &Arc<str>) -> Option<Arc<Code>> {
        let own = self.sides().find_map(|side| self.cached_in(&side.cache, digest));
        own.or_else(|| self.sides().find_map(|side| self.prepared(side, digest)))
    }

    /// Links code that was compiled elsewhere.
    fn prepared(&self, side: &Side, digest: &Arc<str>) -> Option<Arc<Code>> {
        let cache = side.prepared.get_or_init(|| ahead::prepared(&self.cache_dir, &side.layout));
        self.cached_in(cache.as_ref()?, digest)
    }

    fn cached_in(&self, cache: &Cache, digest: &Arc<str>) -> Option<Arc<Code>> {
        let (path, facts) = find(cache, digest)?;
        // Engines whose code is alike share a directory: its kind tells whose this is.
        let mapped = self.side(facts.kind).and_then(|side| side.map(&path, facts.kind));
        match mapped.and_then(|code| self.link(code, facts, digest)) {
            Ok(code) => {
                code.copies.lies(&path);
                Some(code)
            }
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code in the cache does not load, compiling again");
                cache.discard(digest);
                None
            }
        }
    }

    /// Compiles and links `wasm`, and puts it into the cache.
    pub(crate) fn compile(&self, wasm: &[u8], digest: &Arc<str>) -> Result<(Arc<Code>, LoadedFrom), LoadError> {
        let inspection = inspect(wasm)?;
        self.check_imports(&inspection)?;
        let (kind, facts) = (inspection.kind, inspection.facts());
        let side = self.side(kind)?;
        let known = || self.cached_in(&side.cache, digest).or_else(|| self.prepared(side, digest));
        if kind.is_concurrent()
            && let Some(code) = known()
        {
            return Ok((code, LoadedFrom::Cache));
        }
        let bounded = debuginfo::bounded(wasm, kind);
        let loaded = inspection.weight.hold(|| side.build(&bounded, digest, facts))?;
        let code = self.link(loaded, facts, digest).inspect_err(|_| side.cache.discard(digest))?;
        code.copies.lies(&side.cache.path(digest));
        Ok((code, LoadedFrom::Compiled))
    }

    fn link(&self, loaded: Loaded, facts: Facts, digest: &Arc<str>) -> Result<Arc<Code>, LoadError> {
        let components = &self.side(facts.kind)?.components;
        let (linked, keeps_values) = link_with(components, &self.modules, loaded, facts.kind)?;
        let source = match linked {
            Linked::Service(_) => Source::ConcurrentPool,
            Linked::Http(_) => Source::Pool,
            Linked::Command(_) | Linked::Module(_) | Linked::ConcurrentCommand(_) => Source::Memory,
        };
        let code = self.code(linked, facts, keeps_values, digest);
        if !self.core.rooms.of(source).fits(code.places) {
            let needed = format!("an instance takes {} places, of which there are too few", code.places);
            return Err(LoadError::TooManyResources(needed));
        }
        Ok(code)
    }

    /// Linked code with what is known about it.
    pub(crate) fn code(&self, linked: Linked, facts: Facts, keeps_values: bool, digest: &Arc<str>) -> Arc<Code> {
        let (core, digest) = (Arc::clone(&self.core), Arc::clone(digest));
        let (memory_initial_bytes, places) = (facts.memory_initial_bytes, linked.places(facts.stacks));
        let copies = Copies::new(&core.lanes);
        Arc::new(Code { core, digest, memory_initial_bytes, keeps_values, places, linked, copies })
    }

    pub(crate) fn check_imports(&self, inspection: &Inspection) -> Result<(), LoadError> {
        for (module, name, sort) in &inspection.module_imports {
            if !self.module_imports.contains(&(module.clone(), name.clone())) {
                return Err(LoadError::UnknownImport(format!("module {module:?} {sort} {name:?}")));
            }
        }
        for name in &inspection.component_imports {
            if !offers(inspection.kind, name) {
                return Err(LoadError::UnknownImport(format!("interface {name:?}")));
            }
        }
        Ok(())
    }
}

/// Whether a component of `kind` can import the interface `name`.
pub(crate) fn offers(kind: ProgramKind, name: &str) -> bool {
    link::offers(name) || (kind.is_concurrent() && p3::offers(name))
}

/// The code of `digest` in `cache`, and what it is. Damaged code is discarded with a warning, as if it were not there.
pub(crate) fn find(cache: &Cache, digest: &str) -> Option<(PathBuf, Facts)> {
    match cache.check(digest) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%digest, %error, "compiled code in the cache is unusable, compiling again");
            cache.discard(digest);
            None
        }
    }
}

/// Compiles `wasm`, a program of `kind`, for what `engine` compiles for.
pub(crate) fn precompile(engine: &Engine, wasm: &[u8], kind: ProgramKind) -> Result<Vec<u8>, LoadError> {
    let code = match kind {
        ProgramKind::CommandModule => engine.precompile_module(wasm),
        _ => engine.precompile_component(wasm),
    };
    code.map_err(|error| explain_compile(&error))
}

/// Resolves the imports of `loaded` by linkers of its engine, and tells whether it keeps values.
pub(crate) fn link_with(
    components: &Linker<State>,
    modules: &wasmtime::Linker<ModuleState>,
    loaded: Loaded,
    kind: ProgramKind,
) -> Result<(Linked, bool), LoadError> {
    let (linked, keeps_values) = match loaded {
        Loaded::Module(it) => (modules.instantiate_pre(&it).map(Linked::Module), false),
        Loaded::Component(it) => {
            let keeps_values = keyvalue::is_imported(&it) || blobstore::is_imported(&it);
            let linked = components.instantiate_pre(&it).and_then(|it| match kind {
                ProgramKind::HttpComponent => ProxyPre::new(it).map(Tiers::optimised).map(Linked::Http),
                ProgramKind::ServiceComponent => p3::ServicePre::new(it).map(Linked::Service),
                ProgramKind::ConcurrentCommand => p3::CommandPre::new(it).map(Linked::ConcurrentCommand),
                _ => CommandPre::new(it).map(Linked::Command),
            });
            (linked, keeps_values)
        }
    };
    Ok((linked.map_err(|error| explain_link(&error))?, keeps_values))
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
