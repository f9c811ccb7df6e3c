//! From bytes to code: through the same cache as programs, under names of their own.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::{ExternType, Module};

use super::OpaError;
use crate::{
    ProgramKind, Runtime,
    cache::{Cache, Facts},
    native,
    runtime::Core,
    weigh::weigh,
};

/// Largest policy module, in bytes: a hundred times what real ones have.
const WASM_BYTES_MAX: usize = 32 << 20;

impl Runtime {
    /// The code of a policy module, from the cache or compiled now.
    pub(super) fn opa_module(&self, wasm: &[u8]) -> Result<(Arc<Core>, Module), OpaError> {
        let bad = |what: String| OpaError::Module(what);
        if wasm.len() > WASM_BYTES_MAX {
            return Err(bad(format!("it has {} bytes, more than {WASM_BYTES_MAX}", wasm.len())));
        }
        if !wasm.starts_with(b"\0asm\x01\0\0\0") {
            return Err(bad("it is no WebAssembly module".into()));
        }
        let (core, cache) = self.opa_parts();
        let engine = &core.engines.command;
        let digest = format!("opa-sha256-{}", hex::encode(Sha256::digest(wasm)));
        if let Some(module) = cached(cache, engine, &digest) {
            check(&module)?;
            return Ok((core, module));
        }
        let weight = weigh(wasm).map_err(|error| bad(error.to_string()))?;
        let code = weight.hold(|| engine.precompile_module(wasm)).map_err(|error| bad(format!("{error:#}")))?;
        // Policies are told from programs by their names; the facts are those of a plain module.
        let facts = Facts { kind: ProgramKind::CommandModule, memory_initial_bytes: 0, stacks: 1 };
        let module = match cache.write(&digest, &code, facts) {
            Ok(path) => native::module(engine, &path),
            Err(error) => {
                tracing::warn!(%digest, %error, "a compiled policy cannot be cached and will be compiled again next time");
                weight.hold(|| Module::from_binary(engine, wasm))
            }
        };
        let module = module.map_err(|error| bad(format!("{error:#}")))?;
        check(&module)?;
        Ok((core, module))
    }
}

fn cached(cache: &Cache, engine: &wasmtime::Engine, digest: &str) -> Option<Module> {
    let found = cache.check(digest).inspect_err(|error| {
        tracing::warn!(%digest, %error, "a compiled policy in the cache is unusable, compiling again");
        cache.discard(digest);
    });
    let (path, _) = found.ok()??;
    native::module(engine, &path).inspect_err(|_| cache.discard(digest)).ok()
}

/// Refuses what is no policy before any of it runs.
fn check(module: &Module) -> Result<(), OpaError> {
    for import in module.imports() {
        let known = import.module() == "env"
            && match import.ty() {
                ExternType::Memory(memory) => !memory.is_shared() && !memory.is_64(),
                ExternType::Func(_) => super::imports::FUNCTIONS.contains(&import.name()),
                _ => false,
            };
        if !known {
            return Err(OpaError::Import(format!("{:?} of {:?}", import.name(), import.module())));
        }
    }
    for name in ["opa_wasm_abi_version", "opa_wasm_abi_minor_version"] {
        if !matches!(module.get_export(name), Some(ExternType::Global(_))) {
            return Err(OpaError::Module(format!("it is none of OPA's: it exports no {name}")));
        }
    }
    Ok(())
}
