//! `eyot precompile`: compiled code and images for a node that shall start without its network or its compiler's time.
//!
//! It writes where the node reads: images into `DATA-DIR/oci`, code into `DATA-DIR/cache`. The cache holds files by their digest
//! and takes whole files only, so that a node may be running while files are compiled; not while images are pulled.

use std::{os::unix::fs::DirBuilderExt, path::Path};

use anyhow::{Context, Result, bail, ensure};
use eyot_registry::PullPolicy;
use eyot_runtime::{Loaded, LoadedFrom, Runtime, RuntimeConfig};
use eyot_store::DirLock;

use super::{PrecompileFlags, source};

/// Compiles every target, then reads back what was written as the node will.
pub(crate) async fn run(flags: PrecompileFlags) -> Result<()> {
    check_target(flags.target.as_deref())?;
    let cache = flags.data_dir.join("cache");
    let port = flags.registry_listen.port();
    let is_image = |it: &String| !source::is_file(it);
    // The node keeps the names of images in memory too: only one may write them.
    let _lock = match flags.targets.iter().any(is_image) {
        true => Some(lock(&flags.data_dir).context("pulling images into a node's store needs the node to be stopped")?),
        false => None,
    };
    let own_hosts = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), flags.registry_listen.to_string()];
    for target in &flags.targets {
        let source = if source::is_file(target) {
            source::file(target)?
        } else {
            let images = source::images(&flags.data_dir.join("oci"), &own_hosts)?;
            source::image(&images, target, None, PullPolicy::IfNotPresent, &flags.registry).await?
        };
        let loaded = load(&cache, &source).await.with_context(|| target.clone())?;
        // Another runtime has the code in no memory: it reads the file, and its checksum with it.
        let again = load(&cache, &source).await.with_context(|| format!("{target}: reading back what was compiled"))?;
        ensure!(again.from == LoadedFrom::Cache, "{target}: its code is not in {} after compiling", cache.display());
        let how = if loaded.from == LoadedFrom::Cache { "was compiled already" } else { "compiled" };
        println!("{target} {} {how} in {:.1?}, loads in {:.1?}", source.digest, loaded.took, again.took);
    }
    Ok(())
}

fn lock(data_dir: &Path) -> Result<DirLock> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("making {}", data_dir.display()))?;
    Ok(DirLock::take(data_dir)?)
}

async fn load(cache: &Path, source: &source::Source) -> Result<Loaded> {
    let mut config = RuntimeConfig::new(cache);
    // Nothing runs here.
    config.instances_max = Some(1);
    // Nobody waits for an early answer.
    config.early_code_bytes = None;
    let runtime = Runtime::new(config).context("preparing the Wasm runtime")?;
    Ok(runtime.load(&source.wasm, &source.digest).await?.loaded())
}

/// The machine this binary was built for.
fn host() -> String {
    let abi = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-unknown-{}-{abi}", std::env::consts::ARCH, std::env::consts::OS)
}

fn check_target(asked: Option<&str>) -> Result<()> {
    match asked {
        Some(asked) if asked != host() => bail!(
            "--target {asked}: this binary compiles for {} only; run precompile on a machine of that kind and copy DATA-DIR/cache",
            host()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_refused_by_name() {
        check_target(None).unwrap();
        check_target(Some(&host())).unwrap();
        let error = check_target(Some("riscv64gc-unknown-linux-gnu")).unwrap_err().to_string();
        assert!(error.starts_with("--target riscv64gc-unknown-linux-gnu: this binary compiles for "), "{error}");
    }
}
