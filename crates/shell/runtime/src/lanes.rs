//! A pool for each thread that serves, and copies of busy services for them.
//!
//! A pool hands out the slot that was given back last, because its memory is at hand for the processor that used it. Two threads
//! that share a pool take each other's, and each instance begins with waiting for what the other processor has. How much that is
//! depends on the machine: a twentieth of an instance's time where the processors are near each other, two fifths where they are
//! far, so that both together start little more instances than one alone. So a service that a thread is asked for often is mapped once more for it, on
//! an engine of its own. Whatever is not busy, and whoever does not serve, uses the first engine.
//!
//! Start at [`Copies::here`]. There are no more places for it: [`crate::share`] counts the instances of all pools together.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use eyot_dispatch::serving;
use wasmtime::{Engine, component::Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{cache::Cache, link, load, native, program::Code, runtime::Core, state::State};

/// Requests on one thread that make a service busy there: a copy costs as much as some ten of them, and 100 KiB.
const BUSY: u32 = 256;

/// Engines beside the first one.
pub(crate) struct Lanes(Box<[OnceLock<Option<Lane>>]>);

/// What belongs to one of them.
struct Lane {
    engine: Engine,
    components: Linker<State>,
}

impl Lanes {
    /// For so many threads, of which the first needs none.
    pub(crate) fn new(threads: usize) -> Lanes {
        Lanes((1..threads).map(|_| OnceLock::new()).collect())
    }

    /// Maps the compiled service in `file` for a lane, which is made when it is first needed.
    fn copy(&self, core: &Core, at: usize, file: &Path) -> wasmtime::Result<ProxyPre<State>> {
        let make = || {
            let made = core.engines.another().and_then(|engine| {
                let components = link::component_linker(&engine)?;
                core.ticker.add(engine.clone());
                Ok(Lane { engine, components })
            });
            made.inspect_err(|error| tracing::warn!(%error, "no pool for a thread of its own: it shares the first"))
                .ok()
        };
        let lane = self.0.get(at).and_then(|it| it.get_or_init(make).as_ref());
        let Lane { engine, components } = lane.ok_or_else(|| wasmtime::format_err!("there is no such pool"))?;
        ProxyPre::new(components.instantiate_pre(&native::component(engine, file)?)?)
    }
}

/// The copies of one service.
pub(crate) struct Copies {
    /// The optimised code, once it is in a file.
    file: OnceLock<PathBuf>,
    lanes: Box<[Copy]>,
}

#[derive(Default)]
struct Copy {
    requests: AtomicU32,
    code: OnceLock<ProxyPre<State>>,
}

impl Copies {
    pub(crate) fn new(lanes: &Lanes) -> Copies {
        Copies { file: OnceLock::new(), lanes: lanes.0.iter().map(|_| Copy::default()).collect() }
    }

    /// Tells where the optimised code lies.
    pub(crate) fn lies(&self, file: &Path) {
        // It stays where it was first.
        let _ = self.file.set(file.to_owned());
    }

    /// Where that is, if it was told.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.get().map(PathBuf::as_path)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lanes.iter().filter(|it| it.code.get().is_some()).count()
    }

    /// The copy of `code`, whose copies these are, for this thread. Has one made where requests for it come often.
    pub(crate) fn here(&self, code: &Arc<Code>) -> Option<&ProxyPre<State>> {
        // The first lane is the engine that all share.
        let at = (serving::thread() % (self.lanes.len() + 1)).checked_sub(1)?;
        let copy = self.lanes.get(at)?;
        if let Some(code) = copy.code.get() {
            return Some(code);
        }
        if self.file.get().is_some() && copy.requests.fetch_add(1, Relaxed) == BUSY {
            make(code, at);
        }
        None
    }
}

/// Has a copy made behind. If it cannot be, the first engine goes on.
fn make(code: &Arc<Code>, at: usize) {
    let weak = Arc::downgrade(code);
    code.core.background.spawn_blocking(move || {
        let Some(code) = weak.upgrade() else { return };
        // It may have changed since the first engine mapped it.
        let checked = code.copies.file().and_then(Cache::around).and_then(|it| load::find(&it, &code.digest));
        let Some((file, _)) = checked else { return };
        match code.core.lanes.copy(&code.core, at, &file) {
            Ok(copy) => drop(code.copies.lanes[at].code.set(copy)),
            Err(error) => tracing::debug!(digest = %code.digest, %error, "a busy service has no copy for a thread"),
        }
    });
}
