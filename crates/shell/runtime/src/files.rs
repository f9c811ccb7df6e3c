//! The directories of a guest: those that are there from the start, and those that are made when it first asks for any.
//!
//! Start at [`Files::open`] and [`Files::complete`]. What comes late costs a guest nothing that never looks at a file:
//! components ask for their directories by one function ([`ask_late`] stands before it), modules are told apart by what
//! they import.

use std::{
    borrow::Cow,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    FsPerms, WasiCtxBuilder,
    filesystem::WasiFilesystemCtx,
    p2::bindings::filesystem::{preopens, types::Descriptor},
};

use crate::{LateMounts, Mount, StartError, state::State};

/// Opened once; an instance takes a copy of the handles, not of the files.
pub(crate) struct Files {
    early: WasiFilesystemCtx,
    late: Option<Box<Late>>,
}

struct Late {
    maker: Arc<dyn LateMounts>,
    /// To be opened once more, beside those that came late: as they were found first, since a guest that shares a volume
    /// may have put a link in a directory's place.
    early: Vec<Mount>,
    all: tokio::sync::OnceCell<WasiFilesystemCtx>,
}

/// The directories cannot be had now.
struct NotYet;

impl Files {
    /// Opens what is there.
    ///
    /// # Errors
    /// Names the mount that cannot be opened.
    pub(crate) fn open(mounts: Vec<Mount>, late: Option<Arc<dyn LateMounts>>) -> Result<Files, StartError> {
        let Some(maker) = late else { return Ok(Files { early: open(&mounts)?, late: None }) };
        let held = mounts.into_iter().map(hold).collect::<Result<Vec<_>, _>>()?;
        let early = open(&held)?;
        Ok(Files { early, late: Some(Box::new(Late { maker, early: held, all: tokio::sync::OnceCell::new() })) })
    }

    /// The directories there are now.
    pub(crate) fn context(&self) -> &WasiFilesystemCtx {
        self.late.as_ref().and_then(|it| it.all.get()).unwrap_or(&self.early)
    }

    /// Waits for those that come late, if they were not made yet. When they cannot be had the guest goes on without, and
    /// the next one asks again; `say` is told what cannot be opened.
    pub(crate) async fn complete(&self, say: impl Fn(&str)) {
        let Some(late) = &self.late else { return };
        let made = late.all.get_or_try_init(|| async {
            let mounts = Arc::clone(&late.maker).mounts().await.ok_or(NotYet)?;
            let all: Vec<Mount> = late.early.iter().cloned().chain(mounts).collect();
            open(&all).map_err(|error| {
                say(&error.to_string());
                NotYet
            })
        });
        let _ = made.await;
    }
}

/// Holds on to a mount's directory, whatever its path will lead to later.
fn hold(mount: Mount) -> Result<Mount, StartError> {
    if mount.held.is_some() {
        return Ok(mount);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(&mount.host, flags, Mode::empty()) {
        Ok(held) => Ok(Mount { held: Some(Arc::new(held)), ..mount }),
        Err(error) => Err(StartError::Mount {
            host: mount.host.display().to_string(),
            guest: mount.guest,
            reason: error.to_string(),
        }),
    }
}

/// Where to open a mount: what is held is opened once more, by no path that could lead elsewhere.
fn place(mount: &Mount) -> Cow<'_, Path> {
    match &mount.held {
        Some(held) => PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).into(),
        None => mount.host.as_path().into(),
    }
}

fn open(mounts: &[Mount]) -> Result<WasiFilesystemCtx, StartError> {
    if mounts.is_empty() {
        return Ok(WasiFilesystemCtx::default());
    }
    let mut builder = WasiCtxBuilder::new();
    for mount in mounts {
        let failed = |reason: String| StartError::Mount {
            host: mount.host.display().to_string(),
            guest: mount.guest.clone(),
            reason,
        };
        if !Path::new(&mount.guest).is_absolute() {
            return Err(failed("the guest's path is not absolute".into()));
        }
        let perms = if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        builder
            .preopened_dir(place(mount), &mount.guest, perms)
            .map_err(|error| failed(error.root_cause().to_string()))?;
    }
    Ok(builder.build().filesystem().clone())
}

/// Lets a component that asks for its directories wait for those that come late. No other function of `wasi:filesystem`
/// works without a directory to begin with.
pub(crate) fn ask_late(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Directories = (Vec<(Resource<Descriptor>, String)>,);
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/preopens@0.2.12")?.func_wrap_async(
        "get-directories",
        |mut store: StoreContextMut<'_, State>, (): ()| {
            Box::new(async move {
                let guest = Arc::clone(store.data().guest());
                guest.files.complete(|why| guest.say(why)).await;
                let directories: Directories = (preopens::Host::get_directories(&mut store.data_mut().all_files())?,);
                Ok(directories)
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Whether a module can see files at all.
pub(crate) fn are_seen_by(module: &wasmtime::Module) -> bool {
    module.imports().any(|it| it.name().starts_with("path_") || it.name() == "fd_prestat_get")
}
