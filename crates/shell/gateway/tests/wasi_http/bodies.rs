//! Cases of services that are about bodies and trailers.

use std::{
    collections::VecDeque,
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use eyot_dispatch::{Body, BoxError, CallError, Handler};
use flate2::{
    Compression,
    write::{DeflateDecoder, DeflateEncoder},
};
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    servers::{Whole, whole},
    services::get,
    stage::{DEADLINE, Scene, Verdict, same, text},
};

const VERSE: &[u8] = b"All at once, and then in turn";

async fn ask(scene: &Scene, request: Request<Body>) -> Result<Whole, CallError> {
    let response = scene.guest.clone().handle(request).await?;
    whole(response).await.map_err(CallError::Broken)
}

/// A megabyte there and back, in pieces, perhaps by way of the server.
pub(crate) async fn megabyte(scene: Scene, path: &str) -> Verdict {
    let body: Vec<u8> = (0..1 << 20).map(|it: u32| it.wrapping_mul(251).to_le_bytes()[0]).collect();
    let frames: Vec<_> =
        body.chunks(16 << 10).map(|it| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(it)))).collect();
    let request = Request::post(format!("http://example.com:8080{path}"))
        .header("content-type", "application/octet-stream")
        .header("url", format!("http://{}/echo", scene.server))
        .body(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
        .map_err(text)?;
    let (head, back) = ask(&scene, request).await.map_err(text)?;
    same("the status", 200, head.status.as_u16())?;
    let kind = head.headers.get("content-type").and_then(|it| it.to_str().ok());
    same("the type", Some("application/octet-stream"), kind)?;
    let back = back.to_bytes();
    same("the length", body.len(), back.len())?;
    same("whether the body is the same", true, body == *back)
}

/// A request with a header, `body` and a trailer; `how` is `host` for what the guest is not to touch, `deflate` for compressed.
fn verse(how: &str) -> Result<Request<Body>, String> {
    let mut headers = vec![("foo", "bar")];
    let mut body = Bytes::from_static(VERSE);
    match how {
        "host" => headers.push(("x-host-to-host", "true")),
        "deflate" => {
            headers.extend([("content-encoding", "deflate"), ("accept-encoding", "nonexistent-encoding, deflate")]);
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(VERSE).map_err(text)?;
            body = encoder.finish().map_err(text)?.into();
        }
        _ => {}
    }
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("fizz"), HeaderValue::from_static("buzz"))]);
    let frames = [Ok::<_, BoxError>(Frame::data(body)), Ok(Frame::trailers(trailers))];
    Ok(get("http://localhost/", &headers).map(|_| StreamBody::new(futures::stream::iter(frames)).boxed_unsync()))
}

pub(crate) async fn echo(scene: Scene, how: &str) -> Verdict {
    let (head, back) = ask(&scene, verse(how)?).await.map_err(text)?;
    let header = |name: &str| head.headers.get(name).and_then(|it| it.to_str().ok());
    same("the status", 200, head.status.as_u16())?;
    same("the header", Some("bar"), header("foo"))?;
    let trailer = back.trailers().and_then(|it| it.get("fizz")).map(HeaderValue::as_bytes);
    same("the trailer", Some(&b"buzz"[..]), trailer)?;
    let mut body = back.to_bytes().to_vec();
    if how == "deflate" {
        same("the encoding", Some("deflate"), header("content-encoding"))?;
        same("the announced length", None, header("content-length"))?;
        let mut decoder = DeflateDecoder::new(Vec::new());
        decoder.write_all(&body).map_err(text)?;
        body = decoder.finish().map_err(text)?;
    }
    same("the body", VERSE, &body[..])
}

pub(crate) async fn unreadable(scene: Scene) -> Verdict {
    let mut request = verse("deflate")?;
    request.headers_mut().insert("x-host-to-host", HeaderValue::from_static("true"));
    let Err(error) = ask(&scene, request).await else { return Err("it answered".into()) };
    let said = "cannot read from and write to intra-component future/stream with non-numeric payload";
    let log = scene.log.text(eyot_runtime::LogStream::Stderr);
    same("whether it says so", true, error.to_string().contains(said) || log.contains(said))
}

pub(crate) async fn pieces(scene: Scene, pieces: &'static [&'static str]) -> Verdict {
    let body = Pieces(pieces.iter().map(|it| Bytes::from_static(it.as_bytes())).collect());
    let request = get("http://localhost/", &[]).map(|_| body.boxed_unsync());
    let (head, back) = ask(&scene, request).await.map_err(text)?;
    same("the status", 200, head.status.as_u16())?;
    same("the body", pieces.concat().as_bytes(), &back.to_bytes()[..])
}

/// A body that says that it is at its end as soon as its last piece, which may be empty, was taken.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(|it| Ok(Frame::data(it))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// The guest hands its request's body on; only when its response is there does that begin to come.
pub(crate) async fn after_the_guest(scene: Scene) -> Verdict {
    let (send, receive) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let stream = futures::stream::unfold(receive, |mut it| async { it.recv().await.map(|frame| (frame, it)) });
    let request = get("http://localhost/", &[("url", "http://p3-test/")]);
    let (head, _) = ask(&scene, request.map(|_| StreamBody::new(stream).boxed_unsync())).await.map_err(text)?;
    same("the status", 200, head.status.as_u16())?;
    let handed = scene.world.taken().ok_or("nobody was asked")?;
    let sending = async move {
        // Nobody takes it when the other side has failed.
        let _ = send.send(Ok(Frame::data(Bytes::from_static(VERSE)))).await;
    };
    let (_, body) =
        timeout(DEADLINE, futures::future::join(sending, handed.into_body().collect())).await.map_err(text)?;
    same("the body", VERSE, &body.map_err(text)?.to_bytes()[..])
}
