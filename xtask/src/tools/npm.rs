//! Packages from the npm registry, installed under target/tools. Their scripts are never run.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{paths, run};

/// The folder of `target/tools` into which npm put `package`, which may name a version, as `holds` in it shows.
pub(crate) fn installed(folder: &str, package: &str, holds: &str) -> Result<PathBuf> {
    let into = paths::tools().join(folder);
    if into.join(holds).exists() {
        return Ok(into);
    }
    ensure!(run::has("npm") && run::has("node"), "npm and node are not installed");
    fs::create_dir_all(&into)?;
    fs::write(into.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.current_dir(&into).args(["install", "--no-audit", "--no-fund", "--ignore-scripts", package]);
    run::step(&format!("npm install {package}"), &mut npm)?;
    ensure!(into.join(holds).exists(), "{package} holds no {holds}");
    Ok(into)
}
