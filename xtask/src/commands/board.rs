//! `cargo xtask board`: the node for machines with ARM's 64-bit processors, built on another.
//!
//! The C compiler is Debian's for that architecture, so the binary runs where the C library is as new as this machine's.

use std::process::Command;

use anyhow::Result;

use crate::{
    paths,
    profile::Profile,
    run,
    tools::{
        apt,
        rust::{BOARD, Rust},
    },
};

/// Compiles C and links.
const CC: &str = "aarch64-linux-gnu-gcc";
const PACKAGES: &[(&str, &str)] = &[
    ("gcc-aarch64-linux-gnu", "/usr/bin/aarch64-linux-gnu-gcc"),
    ("libc6-dev-arm64-cross", "/usr/aarch64-linux-gnu/include"),
];

/// Flags of `cargo xtask board`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// Build what is to be run, which takes much longer.
    #[arg(long)]
    dist: bool,
}

pub(crate) fn run(flags: &Flags) -> Result<()> {
    if !run::has(CC) {
        apt::ensure(PACKAGES)?;
    }
    let rust = BOARD.ensure()?;
    let mut build = cargo(&rust, "build");
    let profile = if flags.dist { Profile::Dist } else { Profile::Dev };
    build.args(["--profile", profile.name()]);
    run::step("build of the node for aarch64", &mut build)?;
    println!("{}", paths::target().join(BOARD.triple).join(profile.folder()).join("eyot").display());
    Ok(())
}

/// Checks that the node compiles for boards, with what is installed. `false` where that does not suffice.
pub(crate) fn check() -> Result<bool> {
    let Some(rust) = BOARD.found()?.filter(|_| run::has(CC)) else { return Ok(false) };
    run::step("check for aarch64", &mut cargo(&rust, "check"))?;
    Ok(true)
}

fn cargo(rust: &Rust, what: &str) -> Command {
    let mut cargo = run::cargo();
    cargo.args([what, "-p", "eyot", "--target", BOARD.triple]);
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", CC);
    rust.used_by(&mut cargo);
    cargo
}
