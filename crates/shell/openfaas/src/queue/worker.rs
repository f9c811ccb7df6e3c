//! Makes the calls that wait, and delivers their answers.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError, Caller};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{CALLS, Ticket, call::Call, callback};
use crate::{HOME, Inner};

/// Calls under way at once.
const RUNNING_MAX: usize = 64;
/// Those of one function among them.
const SHARE: usize = 16;
/// Longest that a call may take, a little more than what a function may.
const CALL_TIMEOUT: Duration = Duration::from_secs(610);
/// Largest answer that is delivered.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest that a callback may take.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses between tries to deliver an answer.
const CALLBACK_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Makes calls until `stop`. What is under way then stays in the queue.
pub(crate) async fn work(inner: &Arc<Inner>, stop: CancellationToken) {
    let queue = &inner.queue;
    let mut running = JoinSet::new();
    loop {
        while running.len() < RUNNING_MAX {
            let Some(ticket) = queue.state.lock().next(SHARE) else { break };
            let inner = inner.clone();
            running.spawn(async move {
                let function = ticket.function.clone();
                make(&inner, ticket).await;
                function
            });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = queue.more.notified() => {}
            Some(ended) = running.join_next() => match ended {
                Ok(function) => queue.state.lock().done(&function),
                // Its function keeps the place until the next start.
                Err(error) => tracing::error!(%error, "an asynchronous call was lost; it is made again at the next start"),
            },
        }
    }
    running.shutdown().await;
}

/// Makes one call and forgets it.
async fn make(inner: &Inner, ticket: Ticket) {
    let queue = &inner.queue;
    let call = match queue.kept.get(CALLS, ticket.key.clone()).await {
        Ok(kept) => kept.and_then(|it| Call::decode(&ticket.function, it)),
        Err(error) => {
            // It stays on disk and is taken up at the next start.
            tracing::error!(error = &error as &dyn std::error::Error, key = ticket.key, "reading an asynchronous call");
            return;
        }
    };
    match call {
        Some(call) => answer(inner, &call).await,
        None => tracing::error!(key = ticket.key, "an asynchronous call is damaged and was left out"),
    }
    if let Err(error) = queue.kept.delete(CALLS, vec![ticket.key]).await {
        tracing::error!(error = &error as &dyn std::error::Error, "an asynchronous call may be made again");
    }
    queue.places.fetch_sub(1, Relaxed);
}

async fn answer(inner: &Inner, call: &Call) {
    let began = Instant::now();
    inner.metrics.began(&call.function);
    let limited = tokio::time::timeout(CALL_TIMEOUT, invoke(inner, call)).await.unwrap_or(Err(CallError::Deadline));
    let (status, headers, body) = limited.unwrap_or_else(|error| {
        tracing::debug!(%error, function = call.function, "an asynchronous call got no answer");
        (error.status().as_u16(), HeaderMap::new(), Bytes::from(format!("{error}\n")))
    });
    let took = began.elapsed();
    inner.metrics.ended(&call.function, status, took);
    let Some(url) = call.callback() else { return };
    let namespace = call.function.rsplit_once('.').map_or("", |it| it.1);
    let url = callback::target(url, namespace, &inner.config.function_domain);
    let headers = callback::headers(&headers, &call.headers(), &call.function, status, took);
    deliver(inner, &call.function, &url, headers, body).await;
}

fn caller() -> Caller {
    Caller { namespace: HOME.into(), pod: "queue-worker".into() }
}

async fn invoke(inner: &Inner, call: &Call) -> Result<(u16, HeaderMap, Bytes), CallError> {
    let request = call.request(&inner.config.function_domain).map_err(|error| CallError::Broken(error.to_string()))?;
    let response = inner.queue.outbound.clone().send(caller(), request).await?;
    let (head, body) = response.into_parts();
    let body = whole(body).await?;
    Ok((head.status.as_u16(), head.headers, body))
}

/// All of an answer's body, up to a bound.
async fn whole(mut body: Body) -> Result<Bytes, CallError> {
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Broken(format!("its answer: {error}")))?;
        let data = frame.into_data().unwrap_or_default();
        if out.len() + data.len() > ANSWER_BYTES_MAX {
            return Err(CallError::Broken(format!("its answer has more than {ANSWER_BYTES_MAX} bytes")));
        }
        out.extend_from_slice(&data);
    }
    Ok(out.into())
}

/// Sends an answer to where it is wanted, a few times if it must be.
async fn deliver(inner: &Inner, function: &str, url: &str, headers: HeaderMap, body: Bytes) {
    for pause in CALLBACK_PAUSES.map(Some).into_iter().chain([None]) {
        let content = if body.is_empty() { eyot_dispatch::empty() } else { eyot_dispatch::full(body.clone()) };
        let request = Request::builder().method(Method::POST).uri(url).body(content);
        let Ok(mut request) = request else { break };
        *request.headers_mut() = headers.clone();
        let sent = tokio::time::timeout(CALLBACK_TIMEOUT, inner.queue.outbound.clone().send(caller(), request)).await;
        match sent.unwrap_or(Err(CallError::Deadline)) {
            Ok(response) if !response.status().is_server_error() => return,
            Ok(response) => tracing::debug!(status = %response.status(), function, "delivering an answer"),
            Err(error) => tracing::debug!(%error, function, "delivering an answer"),
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
    inner.queue.counts.undelivered.fetch_add(1, Relaxed);
    // Without the URL, which may hold a token.
    tracing::warn!(function, "the answer of an asynchronous call could not be delivered");
}
