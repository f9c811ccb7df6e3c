//! The JavaScript guest: componentize-js from npm, which puts a JavaScript engine and the script into one component.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{paths, run, stamp::Inputs, tools::npm};

/// The version is part of what is built: others want other interfaces.
const PACKAGE: &str = "@bytecodealliance/componentize-js@0.23.0";
/// The version of WASI that its engine was built for, and that of the interfaces that come with it.
const WASI: (&str, &str) = ("0.2.10", "0.2.12");
const PACKAGES: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];
const WORLD: &str = "package eyot:guest@0.1.0;\n\nworld service {\n  include wasi:http/proxy@0.2.10;\n}\n";

pub(super) fn build() -> Result<()> {
    let (example, to) = (paths::root().join("examples/hello-js"), paths::guests().join("hello-js.wasm"));
    Inputs::default().word(PACKAGE).path(&example)?.unless_done(&to, || {
        let tools = tools()?;
        let wit = interfaces(&tools)?;
        let mut node = Command::new("node");
        node.arg(example.join("build.mjs")).arg(&tools).arg(example.join("hello.js")).arg(wit).arg(&to);
        run::step("componentize hello.js", &mut node)
    })
}

/// Where npm put the compiler. Wizer, a part of it, takes its program from another package: no script need run.
fn tools() -> Result<PathBuf> {
    npm::installed("js", PACKAGE, "node_modules/@bytecodealliance/componentize-js")
}

/// The interfaces of a `wasi:http` service, in the version that the engine speaks. Python's compiler reads the same.
pub(super) fn interfaces(tools: &Path) -> Result<PathBuf> {
    let (theirs, here) =
        (tools.join("node_modules/@bytecodealliance/jco/lib/wit/builtin").join(WASI.1), tools.join("wit"));
    for package in PACKAGES {
        let from = theirs.join(format!("wasi-{package}/package.wit"));
        let text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
        let into = here.join(format!("deps/wasi-{package}"));
        fs::create_dir_all(&into)?;
        fs::write(into.join("package.wit"), text.replace(WASI.1, WASI.0))?;
    }
    fs::write(here.join("world.wit"), WORLD)?;
    Ok(here)
}

/// Interfaces for whoever comes after.
pub(super) fn service_interfaces() -> Result<PathBuf> {
    interfaces(&tools()?)
}
