//! `cargo xtask lint`: what a reviewer should not have to look for.

use anyhow::Result;

use super::board;
use crate::{paths, run};

pub(crate) fn run() -> Result<()> {
    run::step("rustfmt", run::cargo().args(["fmt", "--all", "--check"]))?;
    run::step(
        "rustfmt of the guests",
        run::cargo().args(["fmt", "--all", "--check"]).current_dir(paths::root().join("examples")),
    )?;
    run::step("clippy", run::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run::step("crate map", run::cargo().args(["test", "-p", "eyot-testkit", "--test", "architecture"]))?;
    if !board::check()? {
        println!("- no compiler for aarch64 (`cargo xtask board` installs one): code for boards was not checked");
    }
    if run::has("cargo-deny") {
        run::step("cargo deny", run::cargo().args(["deny", "check"]))?;
    } else {
        println!(
            "- no cargo-deny (`cargo install --locked cargo-deny`): licences, sources and advisories were not checked"
        );
    }
    Ok(())
}
