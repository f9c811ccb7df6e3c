//! The runtime: engines, threads, and loading programs.
//!
//! Start at [`Runtime::load`]: from memory, else from the cache, else by compiling. One digest is loaded by one caller at a
//! time; the others wait for it and share.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    time::Instant,
};

use eyot_dispatch::Lookups;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    LoadError, Loaded, LoadedFrom, NoOwnThread, OwnThread, Program, RuntimeConfig, RuntimeError, Unshared,
    cache::Cache,
    collect,
    compiler::Effort,
    engine::Engines,
    epoch::Ticker,
    lanes::Lanes,
    load::{self, Loader},
    machine::Machine,
    own::Private,
    program::Code,
    queue::Queue,
    reuse::Shelf,
    share::{Crowds, Rooms},
};

/// Compiles, caches and links programs, and runs commands. Clones share everything.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What programs and guests need of the runtime.
pub(crate) struct Core {
    pub(crate) engines: Engines,
    pub(crate) ticker: Ticker,
    /// Where commands run, and requests that take long: apart from the threads that serve, so that a spinning guest
    /// competes with them only through the kernel's scheduler.
    pub(crate) background: tokio::runtime::Handle,
    /// Instances that guests keep.
    pub(crate) shelf: Shelf,
    /// Requests that failed, of all guests.
    pub(crate) failures: AtomicU64,
    /// Places for instances that answer requests, and who has them.
    pub(crate) rooms: Rooms,
    pub(crate) crowds: Crowds,
    /// Who looks names up for guests' sockets.
    pub(crate) lookups: Arc<Lookups>,
    /// Engines of threads that serve.
    pub(crate) lanes: Lanes,
    /// Commands that may have a thread of their own yet.
    own_threads: Arc<Semaphore>,
    threads: Mutex<Option<tokio::runtime::Runtime>>,
}

struct Inner {
    core: Arc<Core>,
    loader: Loader,
    compiles: Queue,
    /// Turns of compilations that nobody waits for.
    improvements: Arc<Semaphore>,
    /// Whether there are such turns.
    improves: bool,
    early_code_bytes: Option<u64>,
    programs: Mutex<HashMap<Arc<str>, Arc<Entry>>>,
    wasm_bytes_max: u64,
    cache_dir: PathBuf,
    cache_bytes_max: u64,
}

/// One digest.
#[derive(Default)]
struct Entry {
    /// Held by whoever loads it.
    loading: tokio::sync::Mutex<()>,
    /// How many wait for it.
    waiting: AtomicUsize,
    code: Mutex<Weak<Code>>,
    /// Without checks, as it was loaded last: only to know whether that is in use.
    unchecked: Mutex<Weak<Code>>,
    /// Whether it is known that it cannot do without.
    is_unfit: AtomicBool,
}

impl Entry {
    fn is_used(&self) -> bool {
        [&self.code, &self.unchecked].iter().any(|it| it.lock().strong_count() > 0)
    }

    /// Fails when nobody waits any more: what has not begun is left then.
    fn check_wanted(&self) -> Result<(), LoadError> {
        match self.waiting.load(Acquire) {
            0 => Err(LoadError::Compile("nobody waits for it any more".into())),
            _ => Ok(()),
        }
    }
}

/// Somebody who waits for an entry.
struct Waiting(Arc<Entry>);

impl Waiting {
    fn new(entry: &Arc<Entry>) -> Waiting {
        entry.waiting.fetch_add(1, AcqRel);
        Waiting(Arc::clone(entry))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, AcqRel);
    }
}

impl Runtime {
    /// Prepares engines, pools, threads and the cache. Raises this process's limit on open files as far as it may: every
    /// program that is loaded and every mount of every guest holds one open.
    ///
    /// # Errors
    ///
    /// When the engine cannot be configured on this machine or the cache directory cannot be used.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let machine = Machine::probe();
        raise_open_files();
        let engine_error = |error: wasmtime::Error| RuntimeError::Engine(format!("{error:#}"));
        let engines = Engines::new(machine, config.instances_max).map_err(engine_error)?;
        tracing::debug!(?machine, pool = ?engines.pool, "engines ready");
        let cache_error = |source| RuntimeError::CacheDir { path: config.cache_dir.clone(), source };
        let open = |engine| {
            let cache = Cache::open(&config.cache_dir, engine)?;
            cache.sweep()?;
            Ok(cache)
        };
        let http_cache = open(&engines.http).map_err(cache_error)?;
        let command_cache = open(&engines.command).map_err(cache_error)?;
        let ticker =
            Ticker::start(vec![engines.http.clone(), engines.command.clone()]).map_err(RuntimeError::Thread)?;
        let threads = background_threads(machine.cores).map_err(RuntimeError::Thread)?;
        let background = threads.handle().clone();
        let slots = engines.pool.map(|it| it.instances);
        let core = Arc::new(Core {
            lanes: Lanes::new(engines.lanes()),
            engines,
            ticker,
            background,
            shelf: Shelf::new(slots),
            rooms: Rooms::new(slots),
            crowds: Crowds::default(),
            failures: AtomicU64::new(0),
            lookups: config.lookups,
            own_threads: Arc::new(Semaphore::new(machine.cores)),
            threads: Mutex::new(Some(threads)),
        });
        let loader =
            Loader::new(Arc::clone(&core), &config.cache_dir, http_cache, command_cache).map_err(engine_error)?;
        let inner = Inner {
            core,
            loader,
            compiles: Queue::new(config.compiles_max.max(1)),
            improvements: Arc::new(Semaphore::new(config.improvements_max)),
            improves: config.improvements_max > 0,
            early_code_bytes: config.early_code_bytes,
            programs: Mutex::default(),
            wasm_bytes_max: config.wasm_bytes_max,
            cache_bytes_max: config.cache_bytes_max,
            cache_dir: config.cache_dir,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Loads the program in file `wasm`, whose content has `digest` (`sha256:…`): from memory, from the cache, or by
    /// compiling it. Calls for one digest share one compilation, and dropping a call does not waste what it began; what waits for its
    /// turn is given up with the last call.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is no program this runtime can run.
    pub async fn load(&self, wasm: &Path, digest: &str) -> Result<Program, LoadError> {
        let started = Instant::now();
        let entry = self.inner.entry(digest);
        let found = entry.code.lock().upgrade();
        let found = found.map(|it| (it, LoadedFrom::Memory)).or_else(|| self.inner.load_here(&entry, digest));
        let (code, from) = match found {
            Some(found) => found,
            None => {
                let _waiting = Waiting::new(&entry);
                let work = Arc::clone(&self.inner).load(entry, wasm.to_owned(), digest.into());
                tokio::spawn(work).await.map_err(|error| LoadError::Compile(format!("loading failed: {error}")))??
            }
        };
        Ok(Program { code, loaded: Loaded { from, took: started.elapsed() } })
    }

    /// Who looks names up for guests, and for whoever asks in their place.
    pub fn lookups(&self) -> Arc<Lookups> {
        self.inner.core.lookups.clone()
    }

    /// How many requests failed so far, of all guests: while it stands still, none of them has to be asked.
    pub fn failures(&self) -> u64 {
        self.inner.core.failures.load(Acquire)
    }

    /// A thread for one command, to load it for: see [`Runtime::load_unchecked`].
    ///
    /// # Errors
    ///
    /// When there is none left, or this machine has no way to end what runs there.
    pub fn own_thread(&self) -> Result<OwnThread, NoOwnThread> {
        OwnThread::take(&self.inner.core.own_threads)
    }

    /// Loads a command for `thread` as [`Runtime::load`] does, but without the checks by which guests that share a thread take
    /// turns, and for one start alone. `None` for what has to have them: services, commands of WASI 0.3, and what uses garbage
    /// collection, exceptions or tail calls; and for what does not load at all, which [`Runtime::load`] explains.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub async fn load_unchecked(
        &self,
        thread: OwnThread,
        wasm: &Path,
        digest: &str,
    ) -> Result<Option<Unshared>, LoadError> {
        let started = Instant::now();
        let entry = self.inner.entry(digest);
        let _waiting = Waiting::new(&entry);
        let work = Arc::clone(&self.inner).load_unchecked(entry, wasm.to_owned(), digest.into());
        let found =
            tokio::spawn(work).await.map_err(|error| LoadError::Compile(format!("loading failed: {error}")))??;
        Ok(found.map(|(Private { code, bodies }, from)| {
            let loaded = Loaded { from, took: started.elapsed() };
            Unshared { thread, code, bodies, loaded }
        }))
    }

    /// Where what runs long runs.
    pub(crate) fn background(&self) -> tokio::runtime::Handle {
        self.inner.core.background.clone()
    }

    /// What policies run on.
    pub(crate) fn opa_parts(&self) -> (Arc<Core>, &Cache) {
        (Arc::clone(&self.inner.core), self.inner.loader.command_cache())
    }
}

impl Inner {
    fn entry(&self, digest: &str) -> Arc<Entry> {
        let mut programs = self.programs.lock();
        if let Some(entry) = programs.get(digest) {
            return Arc::clone(entry);
        }
        // Programs that no guest uses any more leave an empty entry; drop them when the map changes anyway.
        programs.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.is_used());
        Arc::clone(programs.entry(digest.into()).or_default())
    }

    /// Loads what takes less time than handing it to another thread would.
    fn load_here(&self, entry: &Entry, digest: &str) -> Option<(Arc<Code>, LoadedFrom)> {
        let _turn = entry.loading.try_lock().ok()?;
        if let Some(code) = entry.code.lock().upgrade() {
            return Some((code, LoadedFrom::Memory));
        }
        let code = self.loader.is_quick(digest).then(|| self.loader.cached(&digest.into())).flatten()?;
        *entry.code.lock() = Arc::downgrade(&code);
        Some((code, LoadedFrom::Cache))
    }

    /// Removes compiled code that was not used for long, when there is too much of it. Blocks.
    fn collect(&self) {
        let in_use = {
            let programs = self.programs.lock();
            let live = programs.iter().filter(|(_, it)| it.is_used());
            live.flat_map(|(digest, _)| self.loader.places(digest)).collect()
        };
        match collect::collect(&self.cache_dir, self.cache_bytes_max, &in_use) {
            Ok(gone) if gone.files > 0 => tracing::info!(?gone, "removed compiled code that was not used for long"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "removing compiled code that was not used for long"),
        }
    }

    /// Runs as a task of its own: whoever gives up waiting leaves the next caller something to wait for.
    async fn load(
        self: Arc<Self>,
        entry: Arc<Entry>,
        wasm: PathBuf,
        digest: Arc<str>,
    ) -> Result<(Arc<Code>, LoadedFrom), LoadError> {
        let _turn = entry.loading.lock().await;
        if let Some(code) = entry.code.lock().upgrade() {
            return Ok((code, LoadedFrom::Memory));
        }
        let (code, from) = match self.from_cache(&digest).await? {
            Some(code) => (code, LoadedFrom::Cache),
            None => self.compile(&entry, wasm, &digest).await?,
        };
        *entry.code.lock() = Arc::downgrade(&code);
        Ok((code, from))
    }

    /// As [`Inner::load`], of code without checks, which is never shared.
    async fn load_unchecked(
        self: Arc<Self>,
        entry: Arc<Entry>,
        wasm: PathBuf,
        digest: Arc<str>,
    ) -> Result<Option<(Private, LoadedFrom)>, LoadError> {
        let _turn = entry.loading.lock().await;
        if entry.is_unfit.load(Relaxed) {
            return Ok(None);
        }
        let (inner, name) = (Arc::clone(&self), Arc::clone(&digest));
        let cached = tokio::task::spawn_blocking(move || inner.loader.cached_unchecked(&name)).await;
        let found =
            match cached.map_err(|error| LoadError::Compile(format!("loading from the cache failed: {error}")))? {
                Some(code) => Some((code, LoadedFrom::Cache)),
                None => self.compile_unchecked(&entry, wasm, digest).await?.map(|it| (it, LoadedFrom::Compiled)),
            };
        match &found {
            Some((it, _)) => *entry.unchecked.lock() = Arc::downgrade(&it.code),
            None => entry.is_unfit.store(true, Relaxed),
        }
        Ok(found)
    }

    async fn compile_unchecked(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        wasm: PathBuf,
        digest: Arc<str>,
    ) -> Result<Option<Private>, LoadError> {
        let entry = Arc::clone(entry);
        let (inner, bytes) = (Arc::clone(self), size(&wasm).await);
        let work = move || {
            entry.check_wanted()?;
            Ok(inner.loader.compile_unchecked(&load::read(&wasm, inner.wasm_bytes_max)?, &digest))
        };
        let code = self.compiles.run(bytes, Effort::Awaited.run(work)).await?;
        self.collect_behind();
        Ok(code)
    }

    async fn from_cache(self: &Arc<Self>, digest: &Arc<str>) -> Result<Option<Arc<Code>>, LoadError> {
        let (inner, digest) = (Arc::clone(self), Arc::clone(digest));
        let work = tokio::task::spawn_blocking(move || inner.loader.cached(&digest));
        work.await.map_err(|error| LoadError::Compile(format!("loading from the cache failed: {error}")))
    }

    /// Compiles the file `wasm`: well, or in a hurry and then well behind its back.
    async fn compile(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        wasm: PathBuf,
        digest: &Arc<str>,
    ) -> Result<(Arc<Code>, LoadedFrom), LoadError> {
        let entry = Arc::clone(entry);
        let (inner, digest, file, bytes) = (Arc::clone(self), Arc::clone(digest), wasm.clone(), size(&wasm).await);
        let work = move || {
            entry.check_wanted()?;
            let wasm = load::read(&file, inner.wasm_bytes_max)?;
            match inner.loader.compile_early(&wasm, &digest, inner.early_code_bytes) {
                Some(code) => Ok((code, LoadedFrom::CompiledEarly)),
                None => inner.loader.compile(&wasm, &digest),
            }
        };
        let (code, from) = self.compiles.run(bytes, Effort::Awaited.run(work)).await?;
        match from {
            LoadedFrom::CompiledEarly if self.improves => {
                self.core.background.spawn(improve(Arc::downgrade(self), Arc::downgrade(&code), wasm));
            }
            LoadedFrom::CompiledEarly => {}
            _ => self.collect_behind(),
        }
        Ok((code, from))
    }

    fn collect_behind(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        self.core.background.spawn_blocking(move || inner.collect());
    }
}

/// How large a file is. What cannot be read is told when it is.
async fn size(file: &Path) -> u64 {
    tokio::fs::metadata(file).await.map_or(0, |it| it.len())
}

/// Has code that was compiled in a hurry replaced, when it is its turn and somebody still uses it.
async fn improve(inner: Weak<Inner>, code: Weak<Code>, wasm: PathBuf) {
    let Some(turns) = inner.upgrade().map(|it| Arc::clone(&it.improvements)) else { return };
    let Ok(_turn) = turns.acquire().await else { return };
    let (Some(inner), Some(code)) = (inner.upgrade(), code.upgrade()) else { return };
    let (started, digest, all) = (Instant::now(), Arc::clone(&code.digest), Arc::clone(&inner));
    let work = move || inner.loader.optimise(&code, || load::read(&wasm, inner.wasm_bytes_max));
    match Effort::Behind.run(work).await {
        Ok(()) => tracing::info!(%digest, took = ?started.elapsed(), "optimised code answers from now on"),
        Err(error) => tracing::warn!(%digest, %error, "optimising failed: what was compiled in a hurry stays"),
    }
    all.collect_behind();
}

/// Raises the limit on open files as far as this process may: to the kernel's own usual bound where it is privileged.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const KERNEL_USUAL: u64 = 1 << 20;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map(|it| it.max(KERNEL_USUAL));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted });
    if raised.is_err()
        && current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(?current, %error, "raising the limit on open files");
    }
}

/// Threads for guests that may run long: as many as cores, at lower priority than those that serve.
fn background_threads(cores: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .max_blocking_threads(64)
        .thread_name("eyot-guest")
        .on_thread_start(|| {
            let _ = rustix::process::nice(5);
        })
        // Guests take turns of a tick; look at sockets and timers after every few of them.
        .event_interval(4)
        .enable_all()
        .build()
}

impl Drop for Core {
    fn drop(&mut self) {
        self.ticker.stop();
        if let Some(threads) = self.threads.get_mut().take() {
            // Must not block: the last owner may go on a thread of an async runtime, even this one.
            threads.shutdown_background();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("pool", &self.inner.core.engines.pool).finish_non_exhaustive()
    }
}
