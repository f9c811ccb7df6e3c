//! Directories that guests list, read a piece at a time.
//!
//! Start at [`bound`] and [`bound_late`], which stand before wasmtime's functions: those hold every name of a directory for as
//! long as a guest keeps the stream of WASI 0.2, and a thread that waits for its reader for each of WASI 0.3. A [`Listing`] holds
//! one open directory and the names of one piece, and a guest has [`LISTINGS_MAX`] of them. [`crate::readdir`] is for preview 1.

use std::{
    fs::File,
    future::Future,
    io, iter,
    os::fd::OwnedFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawDir},
    io::Errno,
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};
use wasmtime::{
    StoreContextMut,
    component::{
        Destination, FutureReader, Linker, Resource, ResourceType, StreamProducer, StreamReader, StreamResult,
    },
};
use wasmtime_wasi::{
    filesystem::Descriptor, p2::bindings::filesystem::types as early, p3::bindings::filesystem::types as late,
};

use crate::{slot::Slot, state::State};

/// Most that all instances of a guest read at once: a walk holds one for each directory on its way down.
const LISTINGS_MAX: usize = 256;

/// What is asked of the kernel in one go: at most 341 names, which hold some 20 KiB until they are read.
const PIECE_BYTES: usize = 8 << 10;

/// A directory that is being read.
struct Listing {
    directory: Arc<OwnedFd>,
    found: vec::IntoIter<Entry>,
    /// Counts it.
    _slot: Slot,
}

pub(crate) struct Entry {
    kind: FileType,
    /// As text, if it is any.
    name: Option<String>,
}

impl Entry {
    pub(crate) fn name_bytes(&self) -> usize {
        self.name.as_ref().map_or(0, String::len)
    }
}

/// What a guest is told that cannot have one.
enum Refused {
    /// It has too many already.
    TooMany,
    /// It is a file.
    NoDirectory,
    Failed(io::Error),
}

impl Listing {
    /// Begins at the first entry of `of`, whoever else reads it.
    async fn open(state: &mut State, of: &Resource<Descriptor>) -> wasmtime::Result<Result<Listing, Refused>> {
        let directory = match state.files().table.get(of)? {
            Descriptor::Dir(it) => Arc::clone(&it.dir),
            Descriptor::File(_) => return Ok(Err(Refused::NoDirectory)),
        };
        let Some(slot) = Slot::take(&state.guest().listings, LISTINGS_MAX) else { return Ok(Err(Refused::TooMany)) };
        let opened = spawn_blocking(move || open(&directory)).await?;
        Ok(match opened {
            Ok(it) => Ok(Listing { directory: Arc::new(it), found: Vec::new().into_iter(), _slot: slot }),
            Err(error) => Err(Refused::Failed(error)),
        })
    }

    /// Asks for what follows the entries that were found.
    fn go_on(&self) -> JoinHandle<io::Result<Vec<Entry>>> {
        let directory = Arc::clone(&self.directory);
        spawn_blocking(move || Ok(piece(&directory)?))
    }
}

pub(crate) fn open(directory: &File) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, ".", flags, Mode::empty())?)
}

/// The next entries; none at the end.
pub(crate) fn piece(directory: &OwnedFd) -> rustix::io::Result<Vec<Entry>> {
    let mut buffer = Vec::with_capacity(PIECE_BYTES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            // It was removed.
            Err(Errno::NOENT) => break,
            other => other?,
        };
        let name = entry.file_name();
        let kind = match entry.file_type() {
            // The file system does not say.
            FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_or(FileType::Unknown, |it| FileType::from_raw_mode(it.st_mode)),
            kind => kind,
        };
        if !matches!(name.to_bytes(), b"." | b"..") {
            found.push(Entry { kind, name: name.to_str().ok().map(str::to_owned) });
        }
        if entries.is_buffer_empty() && !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

type Cx<'a> = StoreContextMut<'a, State>;

/// Does so for WASI 0.2. `linker` must allow shadowing.
pub(crate) fn bound(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Opened = (Result<Resource<Listing>, early::ErrorCode>,);
    type Read = (Result<Option<early::DirectoryEntry>, early::ErrorCode>,);
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.resource("directory-entry-stream", ResourceType::host::<Listing>(), |mut cx: Cx<'_>, rep| {
        cx.data_mut().table.delete(Resource::<Listing>::new_own(rep))?;
        Ok(())
    })?;
    types.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut cx: Cx<'_>, (directory,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let state = cx.data_mut();
                let opened: Opened = match Listing::open(state, &directory).await? {
                    Ok(listing) => (Ok(state.table.push(listing)?),),
                    Err(Refused::TooMany) => (Err(early::ErrorCode::InsufficientMemory),),
                    Err(Refused::NoDirectory) => (Err(early::ErrorCode::NotDirectory),),
                    Err(Refused::Failed(error)) => (Err(error.into()),),
                };
                Ok(opened)
            })
        },
    )?;
    types.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut cx: Cx<'_>, (listing,): (Resource<Listing>,)| {
            Box::new(async move {
                let listing = cx.data_mut().table.get_mut(&listing)?;
                if listing.found.as_slice().is_empty() {
                    match listing.go_on().await? {
                        Ok(found) => listing.found = found.into_iter(),
                        Err(error) => return Ok::<Read, _>((Err(error.into()),)),
                    }
                }
                let Some(Entry { kind, name }) = listing.found.next() else { return Ok((Ok(None),)) };
                let Some(name) = name else { return Ok((Err(early::ErrorCode::IllegalByteSequence),)) };
                Ok((Ok(Some(early::DirectoryEntry { type_: early_kind(kind), name })),))
            })
        },
    )
}

/// Does so for WASI 0.3.
pub(crate) fn bound_late(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Opened = ((StreamReader<late::DirectoryEntry>, FutureReader<Result<(), late::ErrorCode>>),);
    linker.instance("wasi:filesystem/types@0.3.0")?.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut cx: Cx<'_>, (directory,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let (tell, told) = oneshot::channel();
                let entries = match Listing::open(cx.data_mut(), &directory).await? {
                    Ok(listing) => StreamReader::new(&mut cx, Entries { listing, asked: None, tell: Some(tell) })?,
                    Err(why) => {
                        // The reader is right below.
                        let _ = tell.send(Err(match why {
                            Refused::TooMany => late::ErrorCode::InsufficientMemory,
                            Refused::NoDirectory => late::ErrorCode::NotDirectory,
                            Refused::Failed(error) => error.into(),
                        }));
                        StreamReader::new(&mut cx, iter::empty())?
                    }
                };
                // Who drops the stream has what it wanted.
                let ended = async move { wasmtime::error::Ok(told.await.unwrap_or(Ok(()))) };
                let opened: Opened = ((entries, FutureReader::new(&mut cx, ended)?),);
                Ok(opened)
            })
        },
    )
}

/// A stream of WASI 0.3.
struct Entries {
    listing: Listing,
    /// What was asked for and has not come.
    asked: Option<JoinHandle<io::Result<Vec<Entry>>>>,
    tell: Option<oneshot::Sender<Result<(), late::ErrorCode>>>,
}

impl Entries {
    fn end(&mut self, how: Result<(), late::ErrorCode>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(tell) = self.tell.take() {
            // Nobody may want to know any more.
            let _ = tell.send(how);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl StreamProducer<State> for Entries {
    type Item = late::DirectoryEntry;
    type Buffer = Option<late::DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: Cx<'a>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let me = &mut *self;
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if me.listing.found.as_slice().is_empty() {
            let asked = me.asked.get_or_insert_with(|| me.listing.go_on());
            let found = match Pin::new(asked).poll(cx) {
                // It is there for the next who reads.
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                other => ready!(other),
            };
            me.asked = None;
            match found? {
                Ok(found) => me.listing.found = found.into_iter(),
                Err(error) => return me.end(Err(error.into())),
            }
        }
        match me.listing.found.next() {
            None => me.end(Ok(())),
            Some(Entry { name: None, .. }) => me.end(Err(late::ErrorCode::IllegalByteSequence)),
            Some(Entry { kind, name: Some(name) }) => {
                destination.set_buffer(Some(late::DirectoryEntry { type_: late_kind(kind), name }));
                Poll::Ready(Ok(StreamResult::Completed))
            }
        }
    }
}

fn early_kind(kind: FileType) -> early::DescriptorType {
    match kind {
        FileType::RegularFile => early::DescriptorType::RegularFile,
        FileType::Directory => early::DescriptorType::Directory,
        FileType::Symlink => early::DescriptorType::SymbolicLink,
        FileType::Fifo => early::DescriptorType::Fifo,
        FileType::Socket => early::DescriptorType::Socket,
        FileType::CharacterDevice => early::DescriptorType::CharacterDevice,
        FileType::BlockDevice => early::DescriptorType::BlockDevice,
        FileType::Unknown => early::DescriptorType::Unknown,
    }
}

fn late_kind(kind: FileType) -> late::DescriptorType {
    match kind {
        FileType::RegularFile => late::DescriptorType::RegularFile,
        FileType::Directory => late::DescriptorType::Directory,
        FileType::Symlink => late::DescriptorType::SymbolicLink,
        FileType::Fifo => late::DescriptorType::Fifo,
        FileType::Socket => late::DescriptorType::Socket,
        FileType::CharacterDevice => late::DescriptorType::CharacterDevice,
        FileType::BlockDevice => late::DescriptorType::BlockDevice,
        FileType::Unknown => late::DescriptorType::Other(None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_directory_comes_in_pieces_that_miss_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(piece(&open(&File::open(&directory).unwrap()).unwrap()).unwrap().is_empty());
        let names: BTreeSet<String> = (0..200).map(|it| format!("{it:0>250}")).collect();
        for name in &names {
            File::create(directory.path().join(name)).unwrap();
        }
        let file = File::open(&directory).unwrap();
        for _ in 0..2 {
            let listed = open(&file).unwrap();
            let pieces = iter::repeat_with(|| piece(&listed).unwrap()).take_while(|it| !it.is_empty());
            let pieces: Vec<Vec<Entry>> = pieces.collect();
            assert!(pieces.iter().all(|it| it.len() < 40), "a piece is small");
            let found = pieces.iter().flatten();
            assert_eq!(found.map(|it| it.name.clone().unwrap()).collect::<BTreeSet<_>>(), names);
            assert!(pieces.iter().flatten().all(|it| it.kind == FileType::RegularFile));
        }
    }
}
