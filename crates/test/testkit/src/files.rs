//! Where the binary, the guests and the samples lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The `eyot` binary: `$EYOT_BIN`, else the one built beside this test.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("EYOT_BIN") {
        Some(path) => path.into(),
        None => profile_dir()?.join("eyot"),
    };
    ensure!(path.is_file(), "no eyot binary at {}: `cargo xtask test` builds it", path.display());
    Ok(path)
}

/// A built guest: `NAME.wasm` in `$EYOT_GUESTS`, else in `target/guests`.
pub fn guest(name: &str) -> Result<PathBuf> {
    let dir = match std::env::var_os("EYOT_GUESTS") {
        Some(dir) => dir.into(),
        None => profile_dir()?.parent().context("the target directory")?.join("guests"),
    };
    let path = dir.join(format!("{name}.wasm"));
    ensure!(path.is_file(), "no guest at {}: `cargo xtask guests` builds it", path.display());
    Ok(path)
}

/// A path under `examples/`.
pub fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(path)
}

/// The text of a file under `examples/`.
pub fn read_example(path: &str) -> Result<String> {
    std::fs::read_to_string(example(path)).with_context(|| format!("reading examples/{path}"))
}

/// `target/debug` or `target/release`: where the running executable (`…/deps/NAME-HASH`, or `…/NAME`) lies.
fn profile_dir() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("finding this executable")?;
    let dir = executable.parent().context("the executable's directory")?;
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}
