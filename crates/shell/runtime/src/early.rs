//! Large guests answer early: compiled in a hurry first, optimised behind their back.
//!
//! [`Loader::compile_early`] makes code with wasmtime's baseline compiler, in memory only, on an engine of its own.
//! [`Loader::optimise`] puts the optimised code in its place, which is what the cache keeps. Both block; who calls them when
//! is [`crate::Runtime`]'s to say.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use wasmtime::{Engine, component::Component};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::{
    LoadError, blobstore, compiler, debuginfo,
    inspect::inspect,
    keyvalue, link,
    load::Loader,
    program::{Code, Linked},
    share::Source,
    state::State,
    tier::Tiers,
};

/// What belongs to the baseline compiler's engine.
pub(crate) type EarlyLinker = wasmtime::component::Linker<State>;

impl Loader {
    /// Compiles and links `wasm` in a hurry. `None` when it had better be compiled well at once: it is small, it is no service,
    /// it is wrong (the compiler that takes its time says how), the baseline compiler does not know what it uses, or the pool of early
    /// code has too few places for an instance.
    pub(crate) fn compile_early(
        &self,
        wasm: &[u8],
        digest: &Arc<str>,
        early_code_bytes: Option<u64>,
    ) -> Option<Arc<Code>> {
        let inspection = inspect(wasm).ok()?;
        if !compiler::is_hurried(inspection.kind, inspection.code_bytes, early_code_bytes) {
            return None;
        }
        self.check_imports(&inspection).ok()?;
        let (engine, linker) = self.early()?;
        let bounded = debuginfo::bounded(wasm, inspection.kind);
        let component = inspection.weight.hold(|| baseline(engine, &bounded, digest))?;
        let pre = linker.instantiate_pre(&component).and_then(ProxyPre::new).ok()?;
        let keeps_values = keyvalue::is_imported(&component) || blobstore::is_imported(&component);
        let code = self.code(Linked::Http(Tiers::early(pre)), inspection.facts(), keeps_values, digest);
        self.core.rooms.of(Source::EarlyPool).fits(code.places).then_some(code)
    }

    /// Has `code` run what is optimised: from the cache, or else compiled from the file that `read` gives.
    ///
    /// # Errors
    ///
    /// When the file is gone or does not compile; what there is goes on to be used then.
    pub(crate) fn optimise(
        &self,
        code: &Code,
        read: impl FnOnce() -> Result<Vec<u8>, LoadError>,
    ) -> Result<(), LoadError> {
        let better = match self.cached(&code.digest) {
            Some(better) => better,
            None => self.compile(&read()?, &code.digest)?.0,
        };
        if let (Linked::Http(tiers), Linked::Http(best)) = (&code.linked, &better.linked) {
            tiers.improve(ProxyPre::clone(&best.best()));
        }
        if let Some(file) = better.copies.file() {
            code.copies.lies(file);
        }
        Ok(())
    }

    /// The baseline compiler's engine and linker, made when they are first asked for.
    fn early(&self) -> Option<(&Engine, &EarlyLinker)> {
        let engine = self.core.engines.early(|it| self.core.ticker.add(it.clone()))?;
        let linker = self.early.get_or_init(|| {
            let made = link::component_linker(engine);
            made.inspect_err(|error| tracing::warn!(%error, "linking for the baseline compiler")).ok()
        });
        Some((engine, linker.as_ref()?))
    }
}

/// The baseline compiler refuses what it does not know: garbage collection, tail calls, exceptions, some vector instructions.
fn baseline(engine: &Engine, wasm: &[u8], digest: &str) -> Option<Component> {
    match catch_unwind(AssertUnwindSafe(|| Component::from_binary(engine, wasm))) {
        Ok(Ok(component)) => Some(component),
        Ok(Err(error)) => {
            tracing::info!(%digest, %error, "not for the baseline compiler: the guest answers when it is optimised");
            None
        }
        Err(_) => {
            tracing::warn!(%digest, "the baseline compiler panicked: the guest answers when it is optimised");
            None
        }
    }
}
