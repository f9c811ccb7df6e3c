//! What calls that are under way hold on the host.
//!
//! An instance of WASI 0.3 may have thousands of calls under way, and what it hands over in each is the host's until the call
//! ends: nobody counts it as the guest's memory. Three kinds of calls can hold much and wait: those with paths, datagrams that are
//! sent, and those that are received, which have room for the largest. Paths are as long as the kernel takes them at most, and
//! all of a guest's calls together hold [`BYTES_MAX`]. Names that are looked up are bounded by [`crate::lookup`]. Whatever else may
//! wait is handed numbers and handles.

use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem},
    p3::bindings::{
        filesystem::types::{
            DescriptorFlags, DescriptorStat, ErrorCode, HostDescriptorWithStore, MetadataHashValue, NewTimestamp,
            OpenFlags, PathFlags,
        },
        sockets::types::{ErrorCode as SocketError, HostUdpSocketWithStore, IpSocketAddress, UdpSocket},
    },
    sockets::WasiSockets,
};

use crate::{open::Open, slot::Slot, state::State};

/// Most that calls under way hold for one guest: paths of ten thousand calls, or 256 datagrams of the largest size.
const BYTES_MAX: usize = 16 << 20;

/// The longest path: Linux takes no longer one.
const PATH_BYTES_MAX: usize = 4096;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Counts `bytes` until what it gives is dropped, unless there are too many.
fn hold(accessor: &Accessor<State>, bytes: usize) -> Option<Slot> {
    accessor.with(|mut store| {
        Open::note_streams(&mut store);
        Slot::take_some(&store.get().guest().held, bytes, BYTES_MAX)
    })
}

/// Counts paths, unless they are too long or too many.
fn hold_paths(accessor: &Accessor<State>, paths: &[&str]) -> Result<Slot, ErrorCode> {
    if paths.iter().any(|it| it.len() > PATH_BYTES_MAX) {
        return Err(ErrorCode::NameTooLong);
    }
    hold(accessor, paths.iter().map(|it| it.len()).sum()).ok_or(ErrorCode::InsufficientMemory)
}

/// Bounds what the functions of directories hold whose arguments after `of` are paths.
macro_rules! bound_paths {
    ($types:ident: $(
        $name:literal $method:ident($($argument:ident: $type:ty),*) of $($path:ident)+ => $result:ty;
    )*) => {$(
        $types.func_wrap_concurrent(
            concat!("[method]descriptor.", $name),
            |accessor: &Accessor<State>, (fd, $($argument),*): (Resource<Descriptor>, $($type),*)| {
                Box::pin(async move {
                    let _held = match hold_paths(accessor, &[$($path.as_str()),+]) {
                        Ok(held) => held,
                        Err(code) => return Ok::<(Result<$result, ErrorCode>,), _>((Err(code),)),
                    };
                    let files = accessor.with_getter::<WasiFilesystem>(State::files);
                    let done = <WasiFilesystem as HostDescriptorWithStore<State>>::$method(&files, fd, $($argument),*);
                    match done.await {
                        Ok(done) => Ok((Ok(done),)),
                        Err(error) => Ok((Err(error.downcast()?),)),
                    }
                })
            },
        )?;
    )*};
}

/// Puts the bounds in front of the functions already in `linker`, which must allow shadowing.
pub(super) fn bound(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    bound_paths! { types:
        "create-directory-at" create_directory_at(path: String) of path => ();
        "stat-at" stat_at(flags: PathFlags, path: String) of path => DescriptorStat;
        "set-times-at" set_times_at(flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp)
            of path => ();
        "link-at" link_at(flags: PathFlags, from: String, directory: Resource<Descriptor>, to: String) of from to => ();
        "open-at" open_at(follow: PathFlags, path: String, how: OpenFlags, flags: DescriptorFlags)
            of path => Resource<Descriptor>;
        "readlink-at" readlink_at(path: String) of path => String;
        "remove-directory-at" remove_directory_at(path: String) of path => ();
        "rename-at" rename_at(from: String, directory: Resource<Descriptor>, to: String) of from to => ();
        "symlink-at" symlink_at(from: String, to: String) of from to => ();
        "unlink-file-at" unlink_file_at(path: String) of path => ();
        "metadata-hash-at" metadata_hash_at(flags: PathFlags, path: String) of path => MetadataHashValue;
    }
    bound_datagrams(linker)
}

fn bound_datagrams(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Sent = (Result<(), SocketError>,);
    type Received = (Result<(Vec<u8>, IpSocketAddress), SocketError>,);
    let mut types = linker.instance("wasi:sockets/types@0.3.0")?;
    types.func_wrap_concurrent(
        "[method]udp-socket.send",
        |accessor: &Accessor<State>, (socket, data, to): (Resource<UdpSocket>, Vec<u8>, Option<IpSocketAddress>)| {
            Box::pin(async move {
                // What is larger is refused at once.
                let Some(_held) = hold(accessor, data.len().min(DATAGRAM_BYTES_MAX)) else {
                    return Ok::<Sent, _>((Err(SocketError::OutOfMemory),));
                };
                let sockets = accessor.with_getter::<WasiSockets>(State::sockets);
                match <WasiSockets as HostUdpSocketWithStore<State>>::send(&sockets, socket, data, to).await {
                    Ok(()) => Ok((Ok(()),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )?;
    types.func_wrap_concurrent(
        "[method]udp-socket.receive",
        |accessor: &Accessor<State>, (socket,): (Resource<UdpSocket>,)| {
            Box::pin(async move {
                let Some(_held) = hold(accessor, DATAGRAM_BYTES_MAX) else {
                    return Ok::<Received, _>((Err(SocketError::OutOfMemory),));
                };
                let sockets = accessor.with_getter::<WasiSockets>(State::sockets);
                match <WasiSockets as HostUdpSocketWithStore<State>>::receive(&sockets, socket).await {
                    Ok(received) => Ok((Ok(received),)),
                    Err(error) => Ok((Err(error.downcast()?),)),
                }
            })
        },
    )
}
