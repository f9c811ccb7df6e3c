//! A Rust compiler with the standard library for `wasm32-wasip2`.
//!
//! Tried in this order: the toolchain in use, if it has the target; `rustup target add`; Debian's build of rustc and of
//! its Wasm library, unpacked under target/tools and linked with the linkers of the toolchain in use. The last needs no
//! server of rustup's. `EYOT_WASM_RUST=debian` goes straight there.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// The target that Rust guests are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";
/// Debian's suite with the newest rustc that its neighbours can still load.
const SUITE: &str = "forky";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// A compiler to build guests with.
pub(crate) struct WasmRust {
    /// The compiler, when it is not the one cargo would take.
    pub(crate) rustc: Option<PathBuf>,
    /// What it says it is.
    pub(crate) version: String,
}

/// Finds or installs a compiler.
pub(crate) fn ensure() -> Result<WasmRust> {
    let of_debian = std::env::var("EYOT_WASM_RUST").is_ok_and(|wanted| wanted == "debian");
    let unpacked = paths::tools().join("wasm-rust");
    if !of_debian && (has_target()? || (!unpacked.is_dir() && added_by_rustup())) {
        return found(None);
    }
    if !unpacked.is_dir() {
        run::timed("Debian's rustc and Wasm standard library", || unpack(&unpacked))?;
    }
    found(Some(unpacked.join("rustc")))
}

/// Where the toolchain in use keeps `wasm-component-ld`.
pub(crate) fn linkers() -> Result<PathBuf> {
    Ok(sysroot()?.join("lib/rustlib").join(HOST).join("bin"))
}

fn found(rustc: Option<PathBuf>) -> Result<WasmRust> {
    let program = rustc.clone().unwrap_or_else(|| "rustc".into());
    let version = run::output(Command::new(program).arg("-V"))?.trim().to_owned();
    Ok(WasmRust { rustc, version })
}

fn sysroot() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(paths::root()).args(["--print", "sysroot"]);
    Ok(run::output(&mut rustc)?.trim().into())
}

fn has_target() -> Result<bool> {
    Ok(sysroot()?.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn added_by_rustup() -> bool {
    // `timeout`, since without a network some proxies never answer.
    let mut add = Command::new("timeout");
    add.args(["120", "rustup", "target", "add", TARGET]).current_dir(paths::root());
    run::has("rustup") && run::output(&mut add).is_ok() && has_target().unwrap_or(false)
}

/// Downloads Debian's packages with an apt of our own (own lists, empty status: nothing of the machine changes) and
/// unpacks them with a wrapper that runs rustc under its own C library.
fn unpack(into: &Path) -> Result<()> {
    let partial = into.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let archives = partial.join("apt/cache/archives");
    for dir in ["apt/lists/partial", "apt/cache/archives/partial", "root"] {
        fs::create_dir_all(partial.join(dir))?;
    }
    let apt = PrivateApt::new(partial.join("apt"))?;
    run::output(apt.command("apt-get").args(["-qq", "update"]))?;
    let madison = run::output(apt.command("apt-cache").args(["madison", "libstd-rust-dev-wasm32"]))?;
    let version = madison.split('|').nth(1).map(str::trim).context("Debian has no libstd-rust-dev-wasm32")?.to_owned();
    let exactly = |name: &str| format!("{name}={version}");
    let mut install = apt.command("apt-get");
    install.args(["-qq", "-y", "--download-only", "install"]);
    run::step(
        "download Rust's Wasm library",
        install.args(["libstd-rust-dev", "libstd-rust-dev-wasm32"].map(exactly)),
    )?;
    // rustc alone, without the C compiler that it depends on.
    let mut rustc = apt.command("apt-get");
    run::step("download rustc", rustc.args(["-qq", "download"]).arg(exactly("rustc")).current_dir(&archives))?;

    let root = partial.join("root");
    for entry in fs::read_dir(&archives)? {
        let package = entry?.path();
        if package.extension().is_some_and(|it| it == "deb") {
            extract(&package, &root)?;
        }
    }
    fs::remove_dir_all(partial.join("apt"))?;
    fs::rename(&partial, into)?;
    link_linkers(&into.join("root/usr"))?;
    write_wrapper(into)
}

fn extract(package: &Path, root: &Path) -> Result<()> {
    let script = r#"dpkg-deb --fsys-tarfile "$1" | tar -xC "$2" --keep-directory-symlink --exclude=./usr/share --exclude=./etc --exclude=./var"#;
    run::output(Command::new("bash").args(["-o", "pipefail", "-c", script, "-"]).arg(package).arg(root))?;
    Ok(())
}

/// Puts the linkers of the toolchain in use where Debian's rustc looks for them. They find their libraries from where
/// they really lie, so this is a link and not a copy.
fn link_linkers(usr: &Path) -> Result<()> {
    let here = usr.join("lib/rustlib").join(HOST).join("bin");
    if here.exists() {
        fs::remove_dir_all(&here).or_else(|_| fs::remove_file(&here))?;
    }
    let linkers = linkers()?;
    if !linkers.join("wasm-component-ld").is_file() {
        bail!("no wasm-component-ld in {}: Rust guests need a toolchain from rustup, 1.82 or later", linkers.display());
    }
    symlink(linkers, here).map_err(Into::into)
}

fn write_wrapper(into: &Path) -> Result<()> {
    let usr = into.join("root/usr");
    let loader = if into.join("root/lib64").exists() { into.join("root/lib64") } else { usr.join("lib64") };
    let script = format!(
        "#!/bin/sh\nexec {}/ld-linux-x86-64.so.2 --library-path {}/lib/x86_64-linux-gnu {}/bin/rustc \"$@\"\n",
        loader.display(),
        usr.display(),
        usr.display()
    );
    let wrapper = into.join("rustc");
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(Into::into)
}

/// An apt that sees only one suite of the archive this machine uses and believes that nothing is installed.
struct PrivateApt {
    config: PathBuf,
}

impl PrivateApt {
    fn new(dir: PathBuf) -> Result<Self> {
        let targets = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"];
        let listed = run::output(Command::new("apt-get").args(targets)).unwrap_or_default();
        let archive = listed.lines().find(|uri| !uri.contains("security")).unwrap_or("http://deb.debian.org/debian/");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("list"), format!("deb [signed-by={keyring}] {archive} {SUITE} main\n"))?;
        let at = dir.display();
        let config = format!(
            "Dir::Etc::sourcelist \"{at}/list\"; Dir::Etc::sourceparts \"/dev/null\"; \
             Dir::Etc::preferencesparts \"/dev/null\"; Dir::State::lists \"{at}/lists\"; \
             Dir::State::status \"{at}/status\"; Dir::Cache \"{at}/cache\"; Debug::NoLocking \"1\"; \
             APT::Sandbox::User \"root\"; APT::Install-Recommends \"0\"; Acquire::Languages \"none\"; \
             Acquire::Retries \"3\";\n"
        );
        fs::write(dir.join("conf"), config)?;
        Ok(PrivateApt { config: dir.join("conf") })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config);
        command
    }
}
