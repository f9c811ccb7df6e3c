//! Reads: one object, or a page of a consistent snapshot. Entry points: [`get`], [`list`].
//!
//! A list streams stored bytes in chunks; nothing is parsed unless a selector or the form asked for needs it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use eyot_model::status::{ApiError, Cause, CauseReason};
use eyot_store::{Entry, HistoryError, Key, List, Page, Revision, Scope, Store};
use http::Response;
use http_body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Body, BoxError,
    call::{Call, revision},
    present,
    request::accept::Form,
    respond,
    select::Selection,
};

/// Bytes of a list that are copied together before they are handed to the connection.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// Objects among which selected ones are looked for at a time, at least.
const PIECE_MIN: usize = 256;

/// Answers `GET` of one object.
pub(crate) async fn get(call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
    if let Some(asked) = revision(&call.query.resource_version)? {
        check_reached(asked, call.shared().store.revision())?;
    }
    let entry = call.get(name)?;
    call.prepare([&entry.value]).await?;
    present::respond(call, 200, &entry.value)
}

/// Where the next page of a list begins: the snapshot, and the last object seen.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    /// Absent when the snapshot has been forgotten and the client goes on regardless.
    rv: Option<u64>,
    ns: String,
    name: String,
    /// How many objects of the snapshot come after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<usize>,
}

/// What a list comes to.
pub(crate) struct Found {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) revision: Revision,
    next: Option<String>,
    remaining: Option<usize>,
}

/// Answers `GET` of a collection.
pub(crate) async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    let selection = Selection::of(&call)?;
    let found = find(&call, &selection).await?;
    call.prepare(found.entries.iter().map(|it| &it.value)).await?;
    match call.form {
        Form::Table(version) => table(&call, &found, version),
        _ => Ok(respond::stream(Body::new(ListBody::new(call, found)))),
    }
}

/// Finds the objects of one page.
pub(crate) async fn find(call: &Call, selection: &Selection) -> Result<Found, ApiError> {
    let query = &call.query;
    let from = position(call)?;
    let scope = selection.scope(call);
    let store = &call.shared().store;
    let resume = from.after.clone();
    if selection.is_everything() {
        let list = store.list(&scope, &from.page(query.limit)).map_err(|it| history_error(it, resume))?;
        let last = list.entries.last().filter(|_| list.remaining > 0);
        let next = last.and_then(|it| token(Some(list.revision), &it.key, Some(list.remaining)));
        let remaining = next.is_some().then_some(list.remaining);
        return Ok(Found { entries: list.entries, revision: list.revision, next, remaining });
    }
    if let Some(limit) = query.limit.filter(|_| !selection.looks_inside()) {
        return search(store, &scope, selection, from, limit).map_err(|it| history_error(it, resume));
    }
    let list = store.list(&scope, &from.page(None)).map_err(|it| history_error(it, resume))?;
    if selection.looks_inside() {
        call.converted.prepare(call.shared(), &call.kind, list.entries.iter().map(|it| &it.value)).await?;
    }
    Ok(select(list, selection, query.limit.unwrap_or(usize::MAX)))
}

/// The first objects of a list that are selected.
fn select(list: List, selection: &Selection, limit: usize) -> Found {
    let mut matching = list.entries.into_iter().filter(|it| selection.matches(it));
    let entries: Vec<_> = matching.by_ref().take(limit).collect();
    let next = matching.next().and_then(|_| entries.last().and_then(|it| token(Some(list.revision), &it.key, None)));
    Found { entries, revision: list.revision, next, remaining: None }
}

/// Looks for selected objects in pieces of the list, so that a page of a long one costs what it shows and little more.
fn search(
    store: &Store,
    scope: &Scope,
    selection: &Selection,
    from: Position,
    limit: usize,
) -> Result<Found, HistoryError> {
    let mut size = limit.max(PIECE_MIN);
    let (mut entries, mut left): (Vec<Arc<Entry>>, _) = (Vec::new(), 0);
    let mut at = from.clone();
    loop {
        let list = match store.list(scope, &at.page(Some(size))) {
            // More was written meanwhile than history holds: all at once is of one state as well.
            Err(_) if at.after != from.after => {
                return Ok(select(store.list(scope, &from.page(None))?, selection, limit));
            }
            other => other?,
        };
        let last = list.entries.last().map(|it| (it.key.namespace.clone(), it.key.name.clone()));
        let mut piece = list.entries.into_iter();
        while let Some(entry) = piece.next() {
            if !selection.matches(&entry) {
                continue;
            }
            if entries.len() == limit {
                let next = entries.last().and_then(|it| token(Some(list.revision), &it.key, Some(left)));
                return Ok(Found { entries, revision: list.revision, next, remaining: None });
            }
            entries.push(entry);
            left = piece.len() + list.remaining;
        }
        if list.remaining == 0 {
            return Ok(Found { entries, revision: list.revision, next: None, remaining: None });
        }
        at = Position { after: last, at: Some(list.revision), left: Some(list.remaining) };
        // Few are selected, it seems.
        size = size.saturating_mul(2);
    }
}

/// Where a page begins.
#[derive(Clone, Default)]
struct Position {
    after: Option<(Arc<str>, Arc<str>)>,
    at: Option<Revision>,
    /// How many come after, where that is known.
    left: Option<usize>,
}

impl Position {
    fn page(&self, limit: Option<usize>) -> Page {
        Page { limit, after: self.after.clone(), at: self.at, left: self.left }
    }
}

/// Where to start and on which snapshot, from `continue`, `resourceVersion` and `resourceVersionMatch`.
fn position(call: &Call) -> Result<Position, ApiError> {
    let query = &call.query;
    query.check_read()?;
    let asked = revision(&query.resource_version)?;
    if !query.continue_token.is_empty() {
        if asked.is_some() {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        let token = URL_SAFE_NO_PAD.decode(&query.continue_token).ok();
        let token: Option<Continue> = token.and_then(|it| serde_json::from_slice(&it).ok());
        let token = token.ok_or_else(|| ApiError::bad_request("continue key is not valid"))?;
        // Of another state than the token's there may be more or less.
        let left = token.left.filter(|_| token.rv.is_some());
        let after = Some((token.ns.into(), token.name.into()));
        return Ok(Position { after, at: token.rv.map(Revision), left });
    }
    // A page of a version means exactly that one; a whole list means any that is not older.
    let exact = query.resource_version_match == "Exact"
        || (query.resource_version_match.is_empty() && query.limit.is_some() && asked.is_some());
    if let Some(asked) = asked.filter(|_| !exact) {
        check_reached(asked, call.shared().store.revision())?;
    }
    Ok(Position { at: asked.filter(|_| exact), ..Position::default() })
}

fn token(revision: Option<Revision>, last: &Key, left: Option<usize>) -> Option<String> {
    let (ns, name) = (last.namespace.to_string(), last.name.to_string());
    let token = Continue { rv: revision.map(|it| it.0), ns, name, left };
    serde_json::to_vec(&token).ok().map(|it| URL_SAFE_NO_PAD.encode(it))
}

fn check_reached(asked: Revision, current: Revision) -> Result<(), ApiError> {
    if asked > current { Err(too_large(asked, current)) } else { Ok(()) }
}

/// The error for a snapshot or a start of watch that cannot be served. A list that was at `resume` may go on from
/// there on a newer snapshot, with the token that the error carries.
pub(crate) fn history_error(error: HistoryError, resume: Option<(Arc<str>, Arc<str>)>) -> ApiError {
    match (error, resume) {
        (HistoryError::Future { requested, current }, _) => too_large(requested, current),
        (HistoryError::Compacted { .. }, Some((namespace, name))) => {
            let mut error = ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You can start a new list without the continue parameter, or use the continue token in this \
                 response to retrieve the remainder of the results. Continuing with the provided token results in \
                 an inconsistent list: objects that were created, changed or deleted since the first page may or \
                 may not be in it.",
            );
            let last = Key::new("", &*namespace, &*name);
            error.details.continue_token = token(None, &last, None).unwrap_or_default();
            error
        }
        (HistoryError::Compacted { requested, oldest }, None) => {
            ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
    }
}

fn too_large(asked: Revision, current: Revision) -> ApiError {
    let mut error = ApiError::timeout(format!("Too large resource version: {asked}, current: {current}"), 1);
    let reason = CauseReason::ResourceVersionTooLarge;
    error.details.causes = vec![Cause { reason, message: "Too large resource version".into(), field: String::new() }];
    error
}

fn table(call: &Call, found: &Found, version: &str) -> Result<Response<Body>, ApiError> {
    let values: Vec<Value> =
        found.entries.iter().map(|it| present::parse(call, &it.value)).collect::<Result<_, _>>()?;
    let values: Vec<&Value> = values.iter().collect();
    let mut table = present::rows(call, &values, true)?;
    table["apiVersion"] = format!("meta.k8s.io/{version}").into();
    table["metadata"] = metadata(found);
    Ok(respond::json(200, &table))
}

/// `ListMeta`.
fn metadata(found: &Found) -> Value {
    let mut metadata = json!({"resourceVersion": found.revision.to_string()});
    if let Some(next) = &found.next {
        metadata["continue"] = next.as_str().into();
    }
    if let Some(remaining) = found.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// The bytes of a list, made chunk by chunk.
struct ListBody {
    call: Call,
    head: Option<Bytes>,
    entries: vec::IntoIter<Arc<Entry>>,
    first: bool,
    ended: bool,
    /// Known when stored bytes are passed on unchanged.
    bytes_left: Option<u64>,
}

impl ListBody {
    fn new(call: Call, found: Found) -> ListBody {
        let (kind, api_version) = match call.form {
            Form::Partial(version) => ("PartialObjectMetadataList".to_owned(), format!("meta.k8s.io/{version}")),
            _ => (call.kind.list_kind(), call.kind.api_version()),
        };
        let metadata = metadata(&found);
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
        let unchanged =
            matches!(call.form, Form::Object) && found.entries.iter().all(|it| call.is_as_stored(&it.value));
        let items: usize = found.entries.iter().map(|it| it.value.len()).sum();
        let total = head.len() + items + found.entries.len().saturating_sub(1) + 2;
        ListBody {
            call,
            head: Some(Bytes::from(head)),
            entries: found.entries.into_iter(),
            first: true,
            ended: false,
            bytes_left: unchanged.then_some(total as u64),
        }
    }

    /// The next chunk; `None` at the end.
    fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.ended {
            return Ok(None);
        }
        let expected = self.bytes_left.and_then(|it| usize::try_from(it).ok()).unwrap_or(CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(expected.min(CHUNK_BYTES + 4096));
        chunk.extend_from_slice(&self.head.take().unwrap_or_default());
        while chunk.len() < CHUNK_BYTES {
            let Some(entry) = self.entries.next() else {
                chunk.extend_from_slice(b"]}");
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                chunk.extend_from_slice(b",");
            }
            chunk.extend_from_slice(&present::one(&self.call, &entry.value, false)?);
        }
        if let Some(left) = &mut self.bytes_left {
            *left = left.saturating_sub(chunk.len() as u64);
        }
        Ok(Some(chunk.freeze()))
    }
}

impl http_body::Body for ListBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.chunk().map(|it| it.map(Frame::data)).map_err(Into::into).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes_left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
