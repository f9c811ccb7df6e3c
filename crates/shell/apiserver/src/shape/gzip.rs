//! Compresses a body while it streams. Entry point: [`Compressed::new`].

use std::{
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body::{Body as HttpBody, Frame};

use crate::{Body, BoxError};

/// A body as gzip.
pub(super) struct Compressed {
    body: Body,
    /// `None` when the end has been written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Compressed {
    pub(super) fn new(body: Body) -> Self {
        Compressed { body, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    /// What has come together; the rest too, at the end.
    fn end(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        let finished = self.encoder.take()?.finish();
        Some(finished.map(|it| Frame::data(it.into())).map_err(Into::into))
    }
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            if let Err(error) = encoder.write_all(&data) {
                return Poll::Ready(Some(Err(error.into())));
            }
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(ready.into()))));
            }
        }
    }
}
