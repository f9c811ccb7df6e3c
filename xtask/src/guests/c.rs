//! The C guests: clang, Debian's WASI libc, and for components the linker that ships with Rust.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    paths, run,
    stamp::Inputs,
    tools::{self, rust},
};

const CLANG: &str = "clang-19";
const FLAGS: &[&str] = &["--target=wasm32-wasi", "-Os", "-Wall", "-Wextra", "-Werror"];
const LIBC: &str = "/usr/lib/wasm32-wasi";

pub(super) fn build() -> Result<()> {
    tools::c_wasm()?;
    let hello = paths::guests().join("hello-c.wasm");
    let inputs = |name: &str| Inputs::default().path(&paths::root().join("examples").join(name));
    let root = paths::root();
    for name in ["wordcount", "shout"] {
        let source = root.join(format!("examples/{name}/{name}.c"));
        let module = paths::guests().join(format!("{name}.wasm"));
        inputs(name)?.unless_done(&module, || command_module(&source, &module))?;
    }
    // Tests ask it what a guest sees.
    let (source, toolbox) = (root.join("crates/test/testkit/guests/toolbox.c"), paths::guests().join("toolbox.wasm"));
    Inputs::default().path(&source)?.unless_done(&toolbox, || command_module(&source, &toolbox))?;
    inputs("hello-c")?.unless_done(&hello, || component("hello-c/hello.c", "hello-c/hello.wit", &hello))
}

/// A preview-1 command.
fn command_module(source: &Path, to: &Path) -> Result<()> {
    let mut clang = Command::new(CLANG);
    clang.args(FLAGS).args(["-s", "-o"]).arg(to).arg(source);
    run::output(&mut clang).map(drop)
}

/// A component of the world that a WIT file names, from C that speaks the canonical ABI.
fn component(source: &str, world: &str, to: &PathBuf) -> Result<()> {
    let examples = paths::root().join("examples");
    let object = paths::guests().join("hello-c.o");
    let mut clang = Command::new(CLANG);
    clang.args(FLAGS).args(["-c", "-o"]).arg(&object).arg(examples.join(source));
    run::output(&mut clang)?;
    let builtins = run::output(Command::new(CLANG).args([FLAGS[0], "-print-libgcc-file-name"]))?;

    let mut linker = Command::new(rust::linkers()?.join("wasm-component-ld"));
    linker.args(["--wasm-ld-path", "/usr/bin/wasm-ld-19", "--no-entry", "--strip-all", "--gc-sections"]);
    linker.arg("--component-type").arg(examples.join(world)).arg("-o").arg(to).arg(&object);
    linker.arg(format!("{LIBC}/crt1-reactor.o")).args(["-L", LIBC, "-lc", builtins.trim()]);
    run::output(&mut linker).map(drop)
}
