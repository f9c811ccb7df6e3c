//! The Rust guests: one cargo workspace, one build.

use std::fs;

use anyhow::{Context, Result};

use crate::{paths, run, stamp::Inputs, tools::rust::WASM};

const GUESTS: &[&str] = &["hello", "relay", "images", "front", "stock", "echo-socket", "kernels"];

pub(super) fn build() -> Result<()> {
    let examples = paths::root().join("examples");
    let rust = WASM.ensure()?;
    let mut inputs = Inputs::default().word(&rust.version).path(&examples.join("Cargo.toml"))?;
    for part in ["Cargo.lock", "hello", "relay", "images", "shop", "echo-socket", "kernels"] {
        inputs = inputs.path(&examples.join(part))?;
    }
    let built = paths::guests().join("rust");
    inputs.unless_done(&built, || {
        let mut cargo = run::cargo();
        cargo.current_dir(&examples).args(["build", "--locked", "--release", "--target", WASM.triple]);
        cargo.arg("--target-dir").arg(&built).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
        rust.used_by(&mut cargo);
        run::step("cargo build of the Rust guests", &mut cargo)?;
        for guest in GUESTS {
            let file = format!("{guest}.wasm");
            let from = built.join(WASM.triple).join("release").join(&file);
            fs::copy(&from, paths::guests().join(&file)).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(())
    })
}
