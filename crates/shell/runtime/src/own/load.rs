//! Code without checks: its engine, its linkers, its place in the cache.
//!
//! Start at [`Loader::cached_unchecked`] and [`Loader::compile_unchecked`]; both block. The engine is made when the first command
//! with a thread of its own is loaded. Its code differs from that of other commands by wasmtime's settings, so the cache keeps
//! them apart. Every guest has it mapped for itself, because it is written over when the guest is killed.

use std::{path::PathBuf, sync::Arc};

use wasmtime::Linker;

use super::{Bodies, fault};
use crate::{
    LoadError, ProgramKind,
    cache::{Cache, Facts},
    debuginfo,
    inspect::inspect,
    link,
    load::{Loaded, Loader, Side, find, link_with},
    program::Code,
    state::ModuleState,
};

/// What belongs to the engine of commands on threads of their own.
pub(crate) struct Unchecked {
    side: Side,
    modules: Linker<ModuleState>,
}

/// Code that was mapped for one guest alone, and where its functions lie.
pub(crate) struct Private {
    pub(crate) code: Arc<Code>,
    pub(crate) bodies: Arc<Bodies>,
}

/// Whether a program of `kind` can run on a thread of its own.
fn is_fit(kind: ProgramKind) -> bool {
    matches!(kind, ProgramKind::CommandComponent | ProgramKind::CommandModule)
}

impl Loader {
    /// Where the code without checks of `digest` lies or would lie, once there was any.
    pub(crate) fn unchecked_place(&self, digest: &str) -> Option<PathBuf> {
        Some(self.unchecked.get()?.as_ref()?.side.cache.path(digest))
    }

    /// Maps and links the code of `digest` from the cache.
    pub(crate) fn cached_unchecked(&self, digest: &Arc<str>) -> Option<Private> {
        let unchecked = self.unchecked()?;
        let (path, facts) = find(&unchecked.side.cache, digest)?;
        let mapped = unchecked.side.map(&path, facts.kind);
        let linked = mapped.and_then(|it| self.link_unchecked(unchecked, it, facts, digest));
        linked.unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "compiled code in the cache does not load, compiling again");
            unchecked.side.cache.discard(digest);
            None
        })
    }

    /// Compiles and links `wasm`, and puts it into the cache. `None` when it is better compiled as others are: it is no
    /// command for a thread of its own, it needs what this engine has not (garbage collection, exceptions, tail calls), or
    /// it is wrong, which compiling it otherwise will tell.
    pub(crate) fn compile_unchecked(&self, wasm: &[u8], digest: &Arc<str>) -> Option<Private> {
        let inspection = inspect(wasm).ok().filter(|it| is_fit(it.kind))?;
        self.check_imports(&inspection).ok()?;
        let unchecked = self.unchecked()?;
        let facts = inspection.facts();
        let wasm = debuginfo::bounded_to(wasm, debuginfo::ALONE_BYTES_MAX);
        let built = inspection.weight.hold(|| unchecked.side.build(&wasm, digest, facts));
        let linked = built.and_then(|it| self.link_unchecked(unchecked, it, facts, digest));
        linked.inspect_err(|error| tracing::info!(%digest, %error, "not to be compiled without checks")).ok()?
    }

    /// `None` where it is not known where functions lie, or they cannot be written over.
    fn link_unchecked(
        &self,
        unchecked: &Unchecked,
        loaded: Loaded,
        facts: Facts,
        digest: &Arc<str>,
    ) -> Result<Option<Private>, LoadError> {
        let Some(bodies) = loaded.bodies() else { return Ok(None) };
        if let Err(error) = fault::rehearse(&bodies) {
            tracing::warn!(%digest, %error, "code without checks could not be ended here");
            return Ok(None);
        }
        let (linked, keeps_values) = link_with(&unchecked.side.components, &unchecked.modules, loaded, facts.kind)?;
        let code = self.code(linked, facts, keeps_values, digest);
        Ok(Some(Private { code, bodies: Arc::new(bodies) }))
    }

    /// The engine with its linkers, made when it is first asked for.
    fn unchecked(&self) -> Option<&Unchecked> {
        let make = || -> wasmtime::Result<Unchecked> {
            let (engine, layout) = self.core.engines.unchecked()?;
            let cache = Cache::open(&self.cache_dir, &engine).and_then(|it| it.sweep().map(|()| it))?;
            let modules = link::module_linker(&engine)?;
            let components = link::component_linker(&engine)?;
            Ok(Unchecked { side: Side::new(&engine, cache, components, layout), modules })
        };
        let made = self
            .unchecked
            .get_or_init(|| make().inspect_err(|error| tracing::warn!(%error, "preparing code without checks")).ok());
        made.as_ref()
    }
}
