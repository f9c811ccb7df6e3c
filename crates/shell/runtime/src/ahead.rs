//! Code for other machines: compiled here, found there.
//!
//! A node compiles for its own processor, with all that it has, and for the address space that it found. Code for other machines
//! relies on nothing of a processor but its architecture, unless more is asked for, and there is one for each way in which their
//! nodes may lay memory out. It lies beside a node's own code, in directories whose names hold the architecture and a hash of all
//! that the code depends on but the processor's features: both sides know these names without knowing each other. wasmtime checks
//! when it loads such code that the processor has the features.
//!
//! Start at [`compile_ahead`]; a node looks by [`prepared`].

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use wasmtime::{Config, Engine};

use crate::{
    LoadError, ProgramKind, RuntimeConfig, Target,
    cache::{Cache, CacheError, Facts},
    compiler::Effort,
    debuginfo, describe, engine,
    inspect::inspect,
    load, native,
};

/// What was compiled for other machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// What the program is.
    pub kind: ProgramKind,
    /// Ways of laying memory out that there is code for now.
    pub layouts: usize,
    /// Size of all that code.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// Why there is no code for other machines.
#[derive(Debug, thiserror::Error)]
pub enum AheadError {
    /// The file is no program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The compiler was not built for it.
    #[error("preparing to compile for {target}: {reason}")]
    Compiler {
        /// The machines.
        target: String,
        /// What the compiler said.
        reason: String,
    },
    /// The code cannot be written.
    #[error("writing below {}", dir.display())]
    Write {
        /// The directory of all code.
        dir: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What was written is not what is there now.
    #[error("reading back: {0}")]
    ReadBack(String),
}

/// Compiles the program in file `wasm`, whose content has `digest`, for `target`, in place of what is there. `cache_dir` is what
/// [`RuntimeConfig::cache_dir`] of the machines' nodes shall be. Imports are looked at by name; whether they have the right types
/// is seen where the program is loaded.
///
/// # Errors
///
/// When the file is no program, or code cannot be made or written.
pub async fn compile_ahead(target: &Target, wasm: &Path, digest: &str, cache_dir: &Path) -> Result<Ahead, AheadError> {
    let (target, wasm, digest, dir) = (target.clone(), wasm.to_owned(), digest.to_owned(), cache_dir.to_owned());
    Effort::Awaited.run(move || Ok(compile(&target, &wasm, &digest, &dir))).await?
}

fn compile(target: &Target, wasm: &Path, digest: &str, dir: &Path) -> Result<Ahead, AheadError> {
    let started = Instant::now();
    let wasm = load::read(wasm, RuntimeConfig::new(dir).wasm_bytes_max)?;
    describe(&wasm)?.kind?;
    let inspection = inspect(&wasm)?;
    let facts = inspection.facts();
    let wasm = debuginfo::bounded(&wasm, facts.kind);
    let layouts = engine::layouts(facts.kind, target.address_bits());
    let mut bytes = 0;
    for layout in &layouts {
        let unfit =
            |error: wasmtime::Error| AheadError::Compiler { target: target.to_string(), reason: format!("{error:#}") };
        let engine = engine_for(layout, target).map_err(unfit)?;
        let code = inspection.weight.hold(|| load::precompile(&engine, &wasm, facts.kind))?;
        // Found by whoever has these features and by whoever has not: each sees whether it can be used.
        let place = Cache::prepared(dir, target.name(), &engine_for(layout, &target.baseline()).map_err(unfit)?);
        let failed = |source| AheadError::Write { dir: dir.to_owned(), source };
        place.make().and_then(|()| place.write(digest, &code, facts)).map_err(failed)?;
        check(&place, digest, facts)?;
        bytes += code.len() as u64;
    }
    Ok(Ahead { kind: facts.kind, layouts: layouts.len(), bytes, took: started.elapsed() })
}

fn check(place: &Cache, digest: &str, facts: Facts) -> Result<(), AheadError> {
    match place.check(digest) {
        Ok(Some((_, found))) if found == facts => Ok(()),
        Ok(_) => Err(AheadError::ReadBack("it is not there".into())),
        Err(CacheError::Read { path, source }) => Err(AheadError::ReadBack(format!("{}: {source}", path.display()))),
        Err(damaged) => Err(AheadError::ReadBack(damaged.to_string())),
    }
}

/// Where others put code for nodes like this one, which lays memory out as `layout` says. `None` where nobody could.
pub(crate) fn prepared(dir: &Path, layout: &Config) -> Option<Cache> {
    let target = Target::own()?;
    let engine = engine_for(layout, &target);
    let engine = engine.inspect_err(|error| tracing::debug!(%error, "looking for code that was compiled elsewhere"));
    Some(Cache::prepared(dir, target.name(), &engine.ok()?))
}

/// An engine to compile with: nothing runs on it.
fn engine_for(layout: &Config, target: &Target) -> wasmtime::Result<Engine> {
    let mut config = layout.clone();
    config.target(target.triple())?;
    native::rely_on(&mut config, target.flags());
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    /// As ELF numbers them.
    const MACHINES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("riscv64", 243)];

    fn command() -> Vec<u8> {
        wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap()
    }

    #[test]
    fn code_for_other_machines_is_theirs_and_is_refused_here_for_that() {
        let dir = tempfile::tempdir().unwrap();
        let wasm = dir.path().join("a.wasm");
        std::fs::write(&wasm, command()).unwrap();
        for (name, machine) in MACHINES {
            let target = Target::parse(name).unwrap();
            let made = compile(&target, &wasm, "sha256:ab", dir.path()).unwrap();
            assert_eq!((made.kind, made.layouts), (ProgramKind::CommandModule, target.address_bits().len()));
            let layouts = engine::layouts(made.kind, target.address_bits());
            for layout in layouts {
                let place = Cache::prepared(dir.path(), name, &engine_for(&layout, &target).unwrap());
                let (path, _) = place.check("sha256:ab").unwrap().unwrap();
                let code = std::fs::read(&path).unwrap();
                assert_eq!(u16::from_le_bytes([code[18], code[19]]), machine, "{name}");
                assert!(path.parent().unwrap().file_name().unwrap().to_str().unwrap().starts_with(name));
                if name == std::env::consts::ARCH {
                    continue;
                }
                let native = Engine::new(&engine::layout(made.kind, Machine::probe(), None)).unwrap();
                let refused = format!("{:#}", native::module(&native, &path).unwrap_err());
                assert!(refused.contains(&format!("compiled for architecture '{name}")), "{name}: {refused}");
            }
        }
    }
}
