//! Directories that modules of preview 1 list.
//!
//! wasmtime's `fd_readdir` gathers a whole directory, twice, to give the guest a piece of it. [`bound`] sees first how much that is,
//! and holds all calls of a guest's that are under way to [`BYTES_MAX`].

use std::{fs::File, iter, sync::Arc};

use tokio::task::spawn_blocking;
use wasmtime::{Caller, Extern, Linker, component::Resource};
use wasmtime_wasi::{
    WasiView,
    filesystem::{Descriptor, WasiFilesystemCtxView},
    p1::{
        WasiP1Ctx,
        wasi_snapshot_preview1::{self, WasiSnapshotPreview1},
    },
    p2::bindings::filesystem::types::HostDescriptor,
};
use wiggle::GuestMemory;

use crate::{
    listings,
    slot::Slot,
    state::{ModuleState, RESOURCES_MAX},
};

/// Most that directories hold which are being listed: some 200,000 entries.
const BYTES_MAX: usize = 64 << 20;

/// What an entry takes beside its name, in lists that may be twice as large as they need to be.
const ENTRY_BYTES: usize = 256;

/// What a guest is told whose directory is too large.
const NOMEM: i32 = 48;

/// Puts itself in front of the function that is already in `linker`.
pub(crate) fn bound(linker: &mut Linker<ModuleState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap_async(
        "wasi_snapshot_preview1",
        "fd_readdir",
        |mut caller: Caller<'_, ModuleState>, (fd, to, bytes, cookie, used): (i32, i32, i32, i64, i32)| {
            Box::new(async move {
                let bytes_held = match directory(caller.data_mut().wasi(), fd).await {
                    Some(directory) => spawn_blocking(move || weigh(&directory)).await?,
                    // The call will say what is wrong.
                    None => 0,
                };
                let Some(_held) = Slot::take_some(&caller.data().limits.guest().held, bytes_held, BYTES_MAX) else {
                    return Ok(NOMEM);
                };
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    wasmtime::bail!("the module exports no memory");
                };
                let (memory, state) = memory.data_and_store_mut(&mut caller);
                let memory = &mut GuestMemory::Unshared(memory);
                wasi_snapshot_preview1::fd_readdir(state.wasi(), memory, fd, to, bytes, cookie, used).await
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The directory that the guest knows as `fd`. Only wasmtime knows which of the guest's that is: it is told by what identifies it.
async fn directory(wasi: &mut WasiP1Ctx, fd: i32) -> Option<Arc<File>> {
    let none = &mut GuestMemory::Unshared(&mut []);
    let identity = WasiSnapshotPreview1::fd_filestat_get(wasi, none, fd.into()).await.ok()?.ino;
    let view = WasiView::ctx(wasi);
    let mut files = WasiFilesystemCtxView { ctx: view.ctx.filesystem(), table: view.table };
    for rep in 0..u32::try_from(RESOURCES_MAX).ok()? {
        let directory = match files.table.get(&Resource::<Descriptor>::new_borrow(rep)) {
            Ok(Descriptor::Dir(it)) => Arc::clone(&it.dir),
            _ => continue,
        };
        let hash = HostDescriptor::metadata_hash(&mut files, Resource::new_borrow(rep)).await;
        if hash.is_ok_and(|it| it.lower == identity) {
            return Some(directory);
        }
    }
    None
}

/// What listing `directory` takes; more than [`BYTES_MAX`] need not be known.
fn weigh(directory: &File) -> usize {
    let Ok(directory) = listings::open(directory) else { return 0 };
    let pieces = iter::repeat_with(|| listings::piece(&directory).unwrap_or_default());
    let pieces = pieces.take_while(|it| !it.is_empty());
    let weights = pieces.map(|it| it.iter().map(|it| ENTRY_BYTES + it.name_bytes()).sum::<usize>());
    let sums = weights.scan(0, |sum, it| {
        let before = *sum;
        *sum += it;
        (before <= BYTES_MAX).then_some(*sum)
    });
    sums.last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_weighs_what_its_entries_do() {
        let directory = tempfile::tempdir().unwrap();
        for name in 0..300 {
            File::create(directory.path().join(format!("{name:0>200}"))).unwrap();
        }
        assert_eq!(weigh(&File::open(&directory).unwrap()), 300 * (ENTRY_BYTES + 200));
    }
}
