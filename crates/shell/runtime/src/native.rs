//! Loading native code from the cache: with [`crate::linear`] and [`crate::own`] the only unsafe code written in this crate.
//!
//! wasmtime cannot check that a file holds what its compiler wrote; running anything else is undefined behaviour. It is
//! sound here because only files are handed over that [`crate::cache`] found, and that it wrote itself (mode 0600, in a
//! directory of mode 0700), under a name that holds the engine's compatibility hash, whose checksum matched just before,
//! and that are never written again: replacing is by rename, which leaves mapped files alone. Files that this release wrote on
//! another machine ([`crate::ahead`]) are put there by whoever owns the directory, who could as well replace this program.
#![allow(unsafe_code, reason = "mapping code is; what makes it sound stands above")]

use std::path::Path;

use wasmtime::{Config, Engine, Module, component::Component};

/// Maps the module in `file`.
pub(crate) fn module(engine: &Engine, file: &Path) -> wasmtime::Result<Module> {
    // SAFETY: see the module's documentation.
    unsafe { Module::deserialize_file(engine, file) }
}

/// Maps the component in `file`.
pub(crate) fn component(engine: &Engine, file: &Path) -> wasmtime::Result<Component> {
    // SAFETY: see the module's documentation.
    unsafe { Component::deserialize_file(engine, file) }
}

/// Has code that is compiled with `config` use these features of a processor, by the compiler's names.
pub(crate) fn rely_on(config: &mut Config, flags: &[&str]) {
    for flag in flags {
        // SAFETY: what such an engine compiles is not run by it. Who loads the code is refused by wasmtime where the processor has
        // no such feature; `Target` knows only features that it looks for.
        unsafe { config.cranelift_flag_enable(flag) };
    }
}
