//! Watches: a stream of changes from a revision on. Entry point: [`watch`].
//!
//! Events that are ready together go out together, at most [`CHUNK_BYTES`] at a time. A watcher that does not keep up
//! is cut by the store; its stream then simply ends, and it resumes from the last version it saw.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use eyot_model::status::ApiError;
use eyot_store::{Entry, Event, Page, Revision, Watch};
use futures::{FutureExt, Stream, future::BoxFuture};
use http::Response;
use http_body::Frame;
use tokio::time::{Instant, Interval, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::list::{CHUNK_BYTES, history_error};
use crate::{
    Body, BoxError,
    call::{Call, revision},
    definitions::conversion,
    object, present,
    request::accept::Form,
    respond,
    select::{Seen, Selection},
};

/// Changes that may wait for one watcher, a pointer each, before it is cut. A Deployment of thousands comes in bursts.
const WAITING_MAX: usize = 16_384;
/// How often an idle watcher learns how far it has come.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends after this, and up to as much again, so that watchers do not return together.
const TIMEOUT_MIN_SECONDS: u64 = 1800;

/// Answers a watch of a collection.
pub(crate) async fn watch(mut call: Call) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(&call)?;
    let scope = selection.scope(&call);
    let start = Start::parse(&call)?;
    let store = &call.shared().store;
    let (from, initial) = match start {
        Start::After(from) => (from, Vec::new()),
        Start::State { .. } => {
            let list = store.list(&scope, &Page::default()).map_err(|it| history_error(it, None))?;
            if selection.looks_inside() {
                call.converted.prepare(call.shared(), &call.kind, list.entries.iter().map(|it| &it.value)).await?;
            }
            let matching = list.entries.into_iter().filter(|it| selection.matches(it));
            (list.revision, matching.collect())
        }
    };
    let changes = match store.watch(&scope, from, WAITING_MAX) {
        Ok(changes) => changes,
        Err(error) => {
            let error = history_error(error, None);
            // Clients look for an expired start inside the stream, and for other errors outside it.
            return if error.code == 410 { Ok(error_event(&error)) } else { Err(error) };
        }
    };
    let closing = call.closing.take();
    Ok(respond::stream(Body::new(WatchBody {
        initial: initial.into_iter(),
        initial_end: matches!(start, Start::State { bookmark: true }).then_some(from),
        changes,
        bookmarks: call.query.allow_watch_bookmarks.then(bookmark_timer),
        bookmarked: from,
        deadline: Box::pin(tokio::time::sleep(timeout(call.query.timeout_seconds))),
        closing: closing.map(|it| Box::pin(it.0.cancelled_owned())),
        headers: true,
        waiting: None,
        selection,
        call,
        ended: false,
    })))
}

/// Where a watch begins.
enum Start {
    /// With what exists, then what changes; a bookmark in between when asked for.
    State { bookmark: bool },
    /// With what changes after a revision.
    After(Revision),
}

impl Start {
    fn parse(call: &Call) -> Result<Start, ApiError> {
        let query = &call.query;
        query.check_read()?;
        let asked = revision(&query.resource_version)?;
        let current = call.shared().store.revision();
        match query.send_initial_events {
            None => Ok(asked.map_or(Start::State { bookmark: false }, Start::After)),
            Some(false) => Ok(Start::After(asked.unwrap_or(current))),
            Some(true) => match asked.filter(|it| *it > current) {
                Some(requested) => {
                    let error = eyot_store::HistoryError::Future { requested, current };
                    Err(history_error(error, None))
                }
                None => Ok(Start::State { bookmark: query.allow_watch_bookmarks }),
            },
        }
    }
}

fn timeout(seconds: Option<u64>) -> Duration {
    let seconds = seconds.unwrap_or_else(|| rand::random_range(TIMEOUT_MIN_SECONDS..2 * TIMEOUT_MIN_SECONDS));
    // Longer than a day is as good as a day, and cannot overflow the clock.
    Duration::from_secs(seconds.min(24 * 3600))
}

fn bookmark_timer() -> Interval {
    tokio::time::interval_at(Instant::now() + BOOKMARK_PERIOD, BOOKMARK_PERIOD)
}

fn error_event(error: &ApiError) -> Response<Body> {
    respond::bytes(200, format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", error.to_value()))
}

/// The bytes of a watch, made as changes come.
struct WatchBody {
    call: Call,
    selection: Selection,
    initial: vec::IntoIter<Arc<Entry>>,
    /// The revision of the bookmark that ends the initial events, until it was sent.
    initial_end: Option<Revision>,
    changes: Watch,
    bookmarks: Option<Interval>,
    bookmarked: Revision,
    deadline: Pin<Box<Sleep>>,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Whether the next table event carries the column definitions.
    headers: bool,
    /// The next event, while a webhook converts its object; later ones wait behind it.
    waiting: Option<Waiting>,
    ended: bool,
}

/// An event whose objects are being converted.
struct Waiting {
    next: Next,
    done: BoxFuture<'static, Result<(), ApiError>>,
}

/// What is done when the objects are converted.
enum Next {
    /// An event is shown.
    Show(&'static str, Bytes),
    /// It is found out what a change means to the watcher.
    Judge(Arc<Event>),
}

impl Waiting {
    fn new(call: &Call, next: Next, stored: Vec<Bytes>) -> Waiting {
        let (server, of, converted) = (call.server.clone(), call.kind.clone(), call.converted.clone());
        let done = async move { converted.prepare(&server.0, &of, &stored).await };
        Waiting { next, done: Box::pin(done) }
    }
}

impl WatchBody {
    /// Adds everything that is ready to `chunk`, as far as it has room.
    fn fill(&mut self, chunk: &mut BytesMut, cx: &mut Context<'_>) -> Result<(), ApiError> {
        while chunk.len() < CHUNK_BYTES {
            if !self.resume(chunk, cx)? {
                return Ok(());
            }
            let Some(entry) = self.initial.next() else { break };
            self.event(chunk, "ADDED", &entry.value)?;
        }
        if self.initial.len() > 0 || self.waiting.is_some() {
            return Ok(());
        }
        if let Some(revision) = self.initial_end.take() {
            self.bookmark(chunk, revision, true);
        }
        while chunk.len() < CHUNK_BYTES {
            if !self.resume(chunk, cx)? {
                return Ok(());
            }
            match Pin::new(&mut self.changes).poll_next(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(event))) => self.take(chunk, event)?,
                Poll::Ready(Some(Err(_)) | None) => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes a change in; one that has to be looked into waits for its conversion first.
    fn take(&mut self, chunk: &mut BytesMut, event: Arc<Event>) -> Result<(), ApiError> {
        let sides = || event.previous.iter().chain([&event.entry]).map(|it| &it.value);
        let unknown = |it: &&Bytes| conversion::is_wanted(&self.call.kind, it) && self.call.converted.get(it).is_none();
        if self.selection.looks_inside() && sides().any(|it| unknown(&it)) {
            let stored = sides().cloned().collect();
            self.waiting = Some(Waiting::new(&self.call, Next::Judge(event), stored));
            return Ok(());
        }
        self.change(chunk, &event)
    }

    fn change(&mut self, chunk: &mut BytesMut, event: &Event) -> Result<(), ApiError> {
        match self.selection.seen(event) {
            None => Ok(()),
            Some(Seen::Added) => self.event(chunk, "ADDED", &event.entry.value),
            Some(Seen::Modified) => self.event(chunk, "MODIFIED", &event.entry.value),
            Some(Seen::Deleted) => match (&event.previous, event.kind) {
                // It left the selection: the last version that was in it, at the revision when it left.
                (Some(previous), eyot_store::EventKind::Updated) => {
                    self.event(chunk, "DELETED", &object::restamp(&previous.value, event.revision()))
                }
                _ => self.event(chunk, "DELETED", &event.entry.value),
            },
        }
    }

    /// Adds the event that waited for a webhook; false while it still waits.
    fn resume(&mut self, chunk: &mut BytesMut, cx: &mut Context<'_>) -> Result<bool, ApiError> {
        let Some(waiting) = &mut self.waiting else { return Ok(true) };
        let Poll::Ready(done) = waiting.done.poll_unpin(cx) else { return Ok(false) };
        done?;
        if let Some(Waiting { next, .. }) = self.waiting.take() {
            match next {
                Next::Show(kind, stored) => self.event(chunk, kind, &stored)?,
                Next::Judge(event) => self.change(chunk, &event)?,
            }
            self.call.converted.clear();
        }
        // What is shown may be another object than what was judged, and wait on its own.
        match self.waiting {
            Some(_) => self.resume(chunk, cx),
            None => Ok(true),
        }
    }

    fn event(&mut self, chunk: &mut BytesMut, kind: &'static str, stored: &Bytes) -> Result<(), ApiError> {
        if self.call.needs_preparing(stored) {
            let next = Next::Show(kind, stored.clone());
            self.waiting = Some(Waiting::new(&self.call, next, vec![stored.clone()]));
            return Ok(());
        }
        let headers = std::mem::take(&mut self.headers);
        frame(chunk, kind, &present::one(&self.call, stored, headers)?);
        Ok(())
    }

    fn bookmark(&mut self, chunk: &mut BytesMut, revision: Revision, initial_end: bool) {
        self.bookmarked = revision;
        let kind = &self.call.kind;
        let (kind, api_version) = match self.call.form {
            Form::Table(version) => ("Table", format!("meta.k8s.io/{version}")),
            Form::Partial(version) => ("PartialObjectMetadata", format!("meta.k8s.io/{version}")),
            _ => (kind.kind.as_str(), kind.api_version()),
        };
        let annotations = if initial_end { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
        let rows = if kind == "Table" { r#","columnDefinitions":[],"rows":[]"# } else { "" };
        let object = format!(
            r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}"{annotations}}}{rows}}}"#
        );
        frame(chunk, "BOOKMARK", object.as_bytes());
    }

    /// Adds a bookmark when one is due and says something new.
    fn bookmark_due(&mut self, chunk: &mut BytesMut, cx: &mut Context<'_>) {
        if self.initial.len() > 0 || self.waiting.is_some() {
            return;
        }
        while self.bookmarks.as_mut().is_some_and(|it| it.poll_tick(cx).is_ready()) {
            let progress = self.changes.progress();
            if progress > self.bookmarked {
                self.bookmark(chunk, progress, false);
            }
        }
    }

    fn must_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.poll_unpin(cx).is_ready()
            || self.closing.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready())
    }
}

fn frame(chunk: &mut BytesMut, kind: &str, object: &[u8]) {
    let lead = [r#"{"type":""#, kind, r#"","object":"#];
    chunk.reserve(object.len() + 48);
    lead.iter().for_each(|it| chunk.extend_from_slice(it.as_bytes()));
    chunk.extend_from_slice(object);
    chunk.extend_from_slice(b"}\n");
}

impl http_body::Body for WatchBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let mut chunk = BytesMut::new();
        if let Err(error) = this.fill(&mut chunk, cx) {
            this.ended = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        this.bookmark_due(&mut chunk, cx);
        if !chunk.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        if !this.must_end(cx) {
            return Poll::Pending;
        }
        this.ended = true;
        let progress = this.changes.progress();
        if this.bookmarks.is_none() || progress <= this.bookmarked || this.waiting.is_some() {
            return Poll::Ready(None);
        }
        // So that the watcher resumes from here, however long ago its last event was.
        this.bookmark(&mut chunk, progress, false);
        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
    }
}
