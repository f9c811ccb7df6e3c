//! Debian packages, installed on this machine.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::run;

/// Installs those packages whose telltale path is missing.
pub(crate) fn ensure(packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(_, path)| !Path::new(path).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !run::has("apt-get") {
        bail!("missing: {}. This is not a Debian machine: install them its way", missing.join(" "));
    }
    let install =
        || run::step(&format!("apt-get install {}", missing.join(" ")), get(&["install", "-y"]).args(&missing));
    // The list of packages may be older than the archive, or absent on a bare image.
    install().or_else(|_| {
        run::step("apt-get update", &mut get(&["update"]))?;
        install().with_context(|| format!("by hand: apt-get install {}", missing.join(" ")))
    })
}

/// `apt-get` as root, without questions.
fn get(args: &[&str]) -> Command {
    let is_root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root {
        command.args(["-n", "apt-get"]);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]);
    command.args(args);
    command
}
