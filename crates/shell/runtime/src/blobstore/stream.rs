//! Content as WASI streams: a [`Writer`] that fills pieces, a [`Reader`] that goes through them.

use std::sync::Arc;

use bytes::Bytes;
use eyot_bucket::{BucketError, PIECE_BYTES, Tenant, Upload};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use wasmtime_wasi::{
    async_trait,
    p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult},
};

use super::types::Incoming;
use crate::slot::Slot;

/// Most contents that a guest reads and writes at once; each holds two pieces in the host's memory.
pub(super) const CONTENTS_MAX: usize = 128;

/// Content that a guest writes. Clones are the same: one is the guest's stream, one is kept to finish it.
#[derive(Clone)]
pub(super) struct Writer {
    tenant: Arc<Tenant>,
    state: Arc<Mutex<Filling>>,
}

#[derive(Default)]
struct Filling {
    /// Absent where nothing is written but an empty object.
    _slot: Option<Slot>,
    /// What is less than a piece.
    rest: Vec<u8>,
    /// The piece on its way into the store; the next is filled when it is there.
    storing: Option<Storing>,
    /// What was stored before.
    upload: Option<Upload>,
    failed: Option<String>,
}

/// Ends when the piece is stored or refused. What came of it is in [`Filling`] then.
type Storing = Shared<BoxFuture<'static, ()>>;

impl Writer {
    pub(super) fn new(tenant: Arc<Tenant>, slot: Option<Slot>) -> Writer {
        Writer { tenant, state: Arc::new(Mutex::new(Filling { _slot: slot, ..Filling::default() })) }
    }

    /// Starts storing what there is.
    fn store(&self, state: &mut Filling) {
        let piece = std::mem::take(&mut state.rest);
        let (upload, tenant, shared) = (state.upload.take(), self.tenant.clone(), self.state.clone());
        let work = tokio::spawn(async move {
            let stored = async {
                let mut upload = match upload {
                    Some(upload) => upload,
                    None => tenant.upload().await?,
                };
                upload.append(piece).await.map(|()| upload)
            };
            let stored = stored.await;
            let mut state = shared.lock();
            match stored {
                Ok(upload) => state.upload = Some(upload),
                Err(error) => state.failed = Some(error.to_string()),
            }
            state.storing = None;
        });
        state.storing = Some(work.map(drop).boxed().shared());
    }

    /// Waits until nothing is on its way into the store.
    async fn settle(&self) {
        let storing = self.state.lock().storing.clone();
        if let Some(storing) = storing {
            storing.await;
        }
    }

    /// Gives the content its name.
    pub(super) async fn finish(self, container: &str, name: String) -> Result<(), BucketError> {
        self.settle().await;
        {
            let mut state = self.state.lock();
            if state.failed.is_none() && !state.rest.is_empty() {
                self.store(&mut state);
            }
        }
        self.settle().await;
        let (failed, upload) = {
            let mut state = self.state.lock();
            (state.failed.take(), state.upload.take())
        };
        match (failed, upload) {
            (Some(why), _) => Err(BucketError::Unwritten(why)),
            (None, Some(upload)) => upload.finish(container, name).await,
            (None, None) => self.tenant.upload().await?.finish(container, name).await,
        }
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut state = self.state.lock();
        if state.storing.is_some() || bytes.len() > PIECE_BYTES - state.rest.len() {
            return Err(StreamError::trap("more was written than was permitted"));
        }
        state.rest.extend_from_slice(&bytes);
        if state.rest.len() == PIECE_BYTES {
            self.store(&mut state);
        }
        Ok(())
    }

    /// Nothing is seen of the content before it is finished, which is when it is durable.
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let state = self.state.lock();
        match &state.failed {
            Some(why) => Err(StreamError::LastOperationFailed(wasmtime::format_err!("{why}"))),
            None if state.storing.is_some() => Ok(0),
            None => Ok(PIECE_BYTES - state.rest.len()),
        }
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.settle().await;
    }
}

/// Content that a guest reads.
pub(super) struct Reader {
    value: Incoming,
    piece: Bytes,
    failed: Option<BucketError>,
    _slot: Slot,
}

impl Reader {
    pub(super) fn new(value: Incoming, slot: Slot) -> Reader {
        Reader { value, piece: Bytes::new(), failed: None, _slot: slot }
    }

    /// Reads the next piece.
    async fn fill(&mut self) -> Result<(), BucketError> {
        let mut piece = self.value.content.read(self.value.start).await?;
        piece.truncate(usize::try_from(self.value.size()).unwrap_or(usize::MAX));
        if piece.is_empty() {
            return Err(BucketError::Unwritten("a part of the object is missing".to_owned()));
        }
        self.value.start += piece.len() as u64;
        self.piece = piece.into();
        Ok(())
    }

    /// All that is left.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, BucketError> {
        let mut out = Vec::new();
        while self.value.size() > 0 {
            self.fill().await?;
            out.extend_from_slice(&self.piece);
        }
        Ok(out)
    }
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if let Some(error) = self.failed.take() {
            return Err(StreamError::LastOperationFailed(wasmtime::format_err!("{error}")));
        }
        if self.piece.is_empty() && self.value.size() == 0 {
            return Err(StreamError::Closed);
        }
        Ok(self.piece.split_to(size.min(self.piece.len())))
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        if self.piece.is_empty() && self.value.size() > 0 && self.failed.is_none() {
            self.failed = self.fill().await.err();
        }
    }
}
