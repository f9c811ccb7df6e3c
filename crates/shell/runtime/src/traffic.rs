//! Bytes of bodies that pass between a guest and others, counted by its [`Meter`].
//!
//! Start at [`received`] and [`sent`]. Heads are not counted, nor what goes over sockets of a guest's own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::meter::Meter;

/// A body for a guest.
pub(crate) fn received(body: Body, meter: &Arc<Meter>) -> Body {
    passing(body, meter, Meter::received)
}

/// A body of a guest.
pub(crate) fn sent(body: Body, meter: &Arc<Meter>) -> Body {
    passing(body, meter, Meter::sent)
}

/// One that is empty stays as it is: most requests have such a body, and wrapping it would cost them something.
fn passing(body: Body, meter: &Arc<Meter>, count: fn(&Meter, u64)) -> Body {
    match http_body::Body::is_end_stream(&body) {
        true => body,
        false => Passing { body, meter: Arc::clone(meter), count }.boxed_unsync(),
    }
}

/// A body that is counted as it is taken.
struct Passing {
    body: Body,
    meter: Arc<Meter>,
    count: fn(&Meter, u64),
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            (self.count)(&self.meter, data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
