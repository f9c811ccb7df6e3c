//! `eyot precompile`: compiled code and images for a node that shall start without its network or its compiler's time.
//!
//! It writes where the node reads: images into `DATA-DIR/oci`, code into `DATA-DIR/cache`. The cache holds files by their digest
//! and takes whole files only, so that a node may be running while files are compiled; not while images are pulled. With a target the
//! directory is one that is brought to other machines.

use std::{os::unix::fs::DirBuilderExt, path::Path};

use anyhow::{Context, Result, ensure};
use eyot_registry::PullPolicy;
use eyot_runtime::{Loaded, LoadedFrom, Runtime, RuntimeConfig, Target, compile_ahead};
use eyot_store::DirLock;

use super::{
    PrecompileFlags,
    source::{self, Source},
};

/// Compiles every program: for this machine and reads back what was written as the node will, or for others. One that fails does not
/// keep the others from it.
pub(crate) async fn run(flags: PrecompileFlags) -> Result<()> {
    let machines = machines(&flags)?;
    let cache = flags.data_dir.join("cache");
    let port = flags.registry_listen.port();
    let is_image = |it: &String| !source::is_file(it);
    // The node keeps the names of images in memory too: only one may write them.
    let _lock = match flags.programs.iter().any(is_image) {
        true => Some(lock(&flags.data_dir).context("pulling images into a node's store needs the node to be stopped")?),
        false => None,
    };
    let own_hosts = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), flags.registry_listen.to_string()];
    let mut failed = 0;
    for program in &flags.programs {
        match one(&flags, machines.as_ref(), &cache, &own_hosts, program).await {
            Ok(done) => println!("{program} {done}"),
            Err(error) if flags.programs.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("eyot: {error:#}");
                failed += 1;
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} programs failed", flags.programs.len());
    Ok(())
}

/// Compiles `program`, and tells its digest and how it went.
async fn one(
    flags: &PrecompileFlags,
    machines: Option<&Target>,
    cache: &Path,
    own_hosts: &[String],
    program: &str,
) -> Result<String> {
    let source = if source::is_file(program) {
        source::file(program)?
    } else {
        let images = source::images(&flags.data_dir.join("oci"), own_hosts)?;
        source::image(&images, program, None, PullPolicy::IfNotPresent, &flags.registry).await?
    };
    let done = match machines {
        Some(machines) => for_others(machines, cache, &source).await,
        None => for_this(cache, &source).await,
    };
    Ok(format!("{} {}", source.digest, done.with_context(|| program.to_owned())?))
}

/// The machines to compile for, if not for this one.
fn machines(flags: &PrecompileFlags) -> Result<Option<Target>> {
    let Some(name) = &flags.target else { return Ok(None) };
    let mut target = Target::parse(name).context("--target")?;
    target = target.with_features(&flags.cpu_features).context("--cpu-features")?;
    if !flags.address_bits.is_empty() {
        target = target.with_address_bits(&flags.address_bits).context("--address-bits")?;
    }
    Ok(Some(target))
}

fn lock(data_dir: &Path) -> Result<DirLock> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("making {}", data_dir.display()))?;
    Ok(DirLock::take(data_dir)?)
}

async fn for_others(machines: &Target, cache: &Path, source: &Source) -> Result<String> {
    let made = compile_ahead(machines, &source.wasm, &source.digest, cache).await?;
    let layouts = if made.layouts == 1 { "layout" } else { "layouts" };
    let kib = made.bytes.div_ceil(1024);
    Ok(format!("compiled for {machines}, {} {layouts} of memory, {kib} KiB, in {:.1?}", made.layouts, made.took))
}

async fn for_this(cache: &Path, source: &Source) -> Result<String> {
    let loaded = load(cache, source).await?;
    // Another runtime has the code in no memory: it reads the file, and its checksum with it.
    let again = load(cache, source).await.context("reading back what was compiled")?;
    ensure!(again.from == LoadedFrom::Cache, "its code is not in {} after compiling", cache.display());
    let how = if loaded.from == LoadedFrom::Cache { "was compiled already" } else { "compiled" };
    Ok(format!("{how} in {:.1?}, loads in {:.1?}", loaded.took, again.took))
}

async fn load(cache: &Path, source: &Source) -> Result<Loaded> {
    let mut config = RuntimeConfig::new(cache);
    // Nothing runs here.
    config.instances_max = Some(1);
    // Nobody waits for an early answer.
    config.early_code_bytes = None;
    let runtime = Runtime::new(config).context("preparing the Wasm runtime")?;
    Ok(runtime.load(&source.wasm, &source.digest).await?.loaded())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::flags::{Cli, Command};

    #[track_caller]
    fn check(args: &str, want: Expect) {
        let words = ["eyot", "precompile", "app.wasm"].into_iter().chain(args.split_whitespace());
        let got = match Cli::try_parse_from(words).map(|it| it.command) {
            Ok(Command::Precompile(flags)) => match machines(&flags) {
                Ok(target) => format!("{} {target:?}", flags.data_dir.display()),
                Err(error) => format!("{error:#}"),
            },
            Ok(_) => unreachable!("it precompiles"),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn machines_are_this_one_or_those_that_are_named() {
        check("", expect!["/var/lib/eyot None"]);
        check(
            "-o out --target aarch64-unknown-linux-gnu --cpu-features lse,fp16 --address-bits 39",
            expect![[
                r#"out Some(Target { architecture: Aarch64, flags: ["has_fp16", "has_lse"], address_bits: [39] })"#
            ]],
        );
    }

    #[tokio::test]
    async fn a_program_that_fails_keeps_no_other_from_being_compiled() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        // A module whose `_start` does nothing.
        let good = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
        std::fs::write(path("good.wasm"), good).unwrap();
        std::fs::write(path("bad.wasm"), &good[..good.len() - 3]).unwrap();
        let (bad, fine, out) = (path("bad.wasm"), path("good.wasm"), path("out"));
        let words = ["eyot", "precompile", "-o", &out, "--target", "x86_64", &bad, &fine];
        let Ok(Command::Precompile(flags)) = Cli::try_parse_from(words).map(|it| it.command) else {
            unreachable!("it precompiles");
        };
        assert_eq!(run(flags).await.unwrap_err().to_string(), "1 of 2 programs failed");
        assert!(std::fs::read_dir(dir.path().join("out/cache")).unwrap().count() > 0, "the other one is there");
    }

    #[test]
    fn what_no_machine_has_is_refused() {
        check(
            "--target sparc-sun-solaris",
            expect![[
                r#"--target: "sparc-sun-solaris": code is compiled for x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu and riscv64gc-unknown-linux-gnu"#
            ]],
        );
        check(
            "--target riscv64gc-unknown-linux-gnu --cpu-features v",
            expect![[r#"--cpu-features: "v" is no feature that nodes of riscv64 look for; known are: none"#]],
        );
        check("--cpu-features lse", expect!["error: the following required arguments were not provided:"]);
    }
}
