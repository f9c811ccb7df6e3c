//! The Python guest: componentize-py from PyPI, which puts an interpreter and the script into one component.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use super::js;
use crate::{paths, run, stamp::Inputs, tools::wheel};

const PACKAGE: &str = "componentize-py==0.25.1";

pub(super) fn build() -> Result<()> {
    let (example, to) = (paths::root().join("examples/hello-py"), paths::guests().join("hello-py.wasm"));
    Inputs::default().word(PACKAGE).path(&example)?.unless_done(&to, || {
        let (tools, wit) = (wheel::unpacked(PACKAGE)?, js::service_interfaces()?);
        // Compiled in a folder of its own: the interpreter leaves its bytecode beside the source.
        let work = paths::tools().join("hello-py");
        fs::create_dir_all(&work)?;
        fs::copy(example.join("app.py"), work.join("app.py")).context("copying app.py")?;
        let mut python = Command::new("python3");
        python.current_dir(&work).env("PYTHONPATH", &tools);
        python.args(["-c", "from componentize_py import script; script()", "-d"]).arg(wit);
        python.args(["-w", "service", "componentize", "app", "-o"]).arg(&to);
        run::step("componentize app.py", &mut python)
    })
}
