//! Rust compilers with the standard library of another target than this machine.
//!
//! Tried in this order: the toolchain in use, if it has the target; `rustup target add`; Debian's build of rustc and of
//! that library, unpacked under target/tools, with the linkers of the toolchain in use. The last needs no server of
//! rustup's. `EYOT_RUST=debian` goes straight there.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// What Rust guests are built for.
pub(crate) const WASM: Target =
    Target { triple: "wasm32-wasip2", package: "libstd-rust-dev-wasm32", place: "wasm-rust", is_wasm: true };
/// What boards are.
pub(crate) const BOARD: Target = Target {
    triple: "aarch64-unknown-linux-gnu",
    package: "libstd-rust-dev:arm64",
    place: "board-rust",
    is_wasm: false,
};

/// Debian's suite with the newest rustc that its neighbours can still load.
const SUITE: &str = "forky";

/// What to compile for, and where its library comes from.
pub(crate) struct Target {
    /// Rust's name for it.
    pub(crate) triple: &'static str,
    /// Debian's package of its library.
    package: &'static str,
    /// Where that is unpacked, under target/tools.
    place: &'static str,
    is_wasm: bool,
}

/// A compiler for a target.
pub(crate) struct Rust {
    /// The compiler, when it is not the one cargo would take.
    pub(crate) rustc: Option<PathBuf>,
    /// What it says it is.
    pub(crate) version: String,
}

impl Target {
    /// Finds or installs a compiler.
    pub(crate) fn ensure(&self) -> Result<Rust> {
        if let Some(found) = self.found()? {
            return Ok(found);
        }
        if !of_debian() && self.is_added_by_rustup() {
            return Rust::at(None);
        }
        let unpacked = paths::tools().join(self.place);
        run::timed(&format!("Debian's rustc and its library for {}", self.triple), || self.unpack(&unpacked))?;
        Rust::at(Some(unpacked.join("rustc")))
    }

    /// A compiler that is there already.
    pub(crate) fn found(&self) -> Result<Option<Rust>> {
        if !of_debian() && self.is_in_use()? {
            return Rust::at(None).map(Some);
        }
        let unpacked = paths::tools().join(self.place).join("rustc");
        if unpacked.is_file() { Rust::at(Some(unpacked)).map(Some) } else { Ok(None) }
    }

    fn is_in_use(&self) -> Result<bool> {
        Ok(sysroot()?.join("lib/rustlib").join(self.triple).join("lib").is_dir())
    }

    fn is_added_by_rustup(&self) -> bool {
        // `timeout`, since without a network some proxies never answer.
        let mut add = Command::new("timeout");
        add.args(["120", "rustup", "target", "add", self.triple]).current_dir(paths::root());
        run::has("rustup") && run::output(&mut add).is_ok() && self.is_in_use().unwrap_or(false)
    }

    /// Downloads Debian's packages with an apt of our own (own lists, empty status: nothing of the machine changes) and
    /// unpacks them with a wrapper that runs rustc under its own C library.
    fn unpack(&self, into: &Path) -> Result<()> {
        let partial = into.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        let archives = partial.join("apt/cache/archives");
        for dir in ["apt/lists/partial", "apt/cache/archives/partial", "root"] {
            fs::create_dir_all(partial.join(dir))?;
        }
        let apt = PrivateApt::new(partial.join("apt"), self.package.split_once(':').map(|it| it.1))?;
        run::output(apt.command("apt-get").args(["-qq", "update"]))?;
        let madison = run::output(apt.command("apt-cache").args(["madison", self.package]))?;
        let version = madison.split('|').nth(1).map(str::trim);
        let version = version.with_context(|| format!("Debian has no {}", self.package))?;
        let exactly = |name: &str| format!("{name}={version}");
        let mut install = apt.command("apt-get");
        install.args(["-qq", "-y", "--download-only", "install"]).arg(exactly("libstd-rust-dev"));
        run::step("download Rust's library", &mut install)?;
        // These alone, without the C compiler and the C library that they depend on.
        let mut alone = apt.command("apt-get");
        alone.args(["-qq", "download"]).args(["rustc", self.package].map(exactly)).current_dir(&archives);
        run::step(&format!("download rustc and its library for {}", self.triple), &mut alone)?;

        let root = partial.join("root");
        for entry in fs::read_dir(&archives)? {
            let package = entry?.path();
            if package.extension().is_some_and(|it| it == "deb") {
                extract(&package, &root)?;
            }
        }
        fs::remove_dir_all(partial.join("apt"))?;
        let _ = fs::remove_dir_all(into);
        fs::rename(&partial, into)?;
        if self.is_wasm {
            link_linkers(&into.join("root/usr"))?;
        }
        write_wrapper(into)
    }
}

impl Rust {
    fn at(rustc: Option<PathBuf>) -> Result<Rust> {
        let program = rustc.clone().unwrap_or_else(|| "rustc".into());
        let version = run::output(Command::new(program).arg("-V"))?.trim().to_owned();
        Ok(Rust { rustc, version })
    }

    /// Has `cargo` compile with it.
    pub(crate) fn used_by(&self, cargo: &mut Command) {
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
    }
}

/// Where the toolchain in use keeps `wasm-component-ld`.
pub(crate) fn linkers() -> Result<PathBuf> {
    Ok(sysroot()?.join(own_binaries()))
}

/// Where a toolchain of this machine keeps its own binaries.
fn own_binaries() -> String {
    format!("lib/rustlib/{ARCH}-unknown-linux-gnu/bin")
}

fn of_debian() -> bool {
    std::env::var("EYOT_RUST").is_ok_and(|wanted| wanted == "debian")
}

fn sysroot() -> Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(paths::root()).args(["--print", "sysroot"]);
    Ok(run::output(&mut rustc)?.trim().into())
}

fn extract(package: &Path, root: &Path) -> Result<()> {
    let script = r#"dpkg-deb --fsys-tarfile "$1" | tar -xC "$2" --keep-directory-symlink --exclude=./usr/share --exclude=./etc --exclude=./var"#;
    run::output(Command::new("bash").args(["-o", "pipefail", "-c", script, "-"]).arg(package).arg(root))?;
    Ok(())
}

/// Puts the linkers of the toolchain in use where Debian's rustc looks for them. They find their libraries from where
/// they really lie, so this is a link and not a copy.
fn link_linkers(usr: &Path) -> Result<()> {
    let here = usr.join(own_binaries());
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
    let loaders = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"].map(|it| usr.join(it));
    let loader = loaders.iter().find(|it| it.exists()).context("no loader among Debian's libraries")?;
    let (loader, usr) = (loader.display(), usr.display());
    let script = format!("#!/bin/sh\nexec {loader} --library-path {usr}/lib/{ARCH}-linux-gnu {usr}/bin/rustc \"$@\"\n");
    let wrapper = into.join("rustc");
    fs::write(&wrapper, script)?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(Into::into)
}

/// An apt that sees only one suite of the archive this machine uses, for this machine's architecture and perhaps `other`, and
/// believes that nothing is installed.
struct PrivateApt {
    config: PathBuf,
}

impl PrivateApt {
    fn new(dir: PathBuf, other: Option<&str>) -> Result<Self> {
        let targets = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"];
        let listed = run::output(Command::new("apt-get").args(targets)).unwrap_or_default();
        let archive = listed.lines().find(|uri| !uri.contains("security")).unwrap_or("http://deb.debian.org/debian/");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("list"), format!("deb [signed-by={keyring}] {archive} {SUITE} main\n"))?;
        let own = run::output(Command::new("dpkg").arg("--print-architecture"))?;
        let architectures: String = [own.trim()].into_iter().chain(other).map(|it| format!(" \"{it}\";")).collect();
        let at = dir.display();
        let config = format!(
            "Dir::Etc::sourcelist \"{at}/list\"; Dir::Etc::sourceparts \"/dev/null\"; \
             Dir::Etc::preferencesparts \"/dev/null\"; Dir::State::lists \"{at}/lists\"; \
             Dir::State::status \"{at}/status\"; Dir::Cache \"{at}/cache\"; Debug::NoLocking \"1\"; \
             APT::Sandbox::User \"root\"; APT::Install-Recommends \"0\"; Acquire::Languages \"none\"; \
             Acquire::Retries \"3\"; APT::Architectures {{{architectures} }};\n"
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
