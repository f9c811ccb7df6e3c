//! A service of WASI 0.3 (`wasi:http/handler`): its response begins before its request has ended.
//!
//! `POST /` gives the body back in capitals, piece by piece as it arrives, and tells in a trailer how many bytes it was.
//! `GET /fetch?URL` asks another server, by http unless the URL says https, and passes the answer on without looking at it.

use wasip3::{
    http::{
        client,
        types::{ErrorCode, Fields, Request, Response, Scheme},
    },
    wit_bindgen::{self, StreamResult},
    wit_future, wit_stream,
};

/// Bytes that are asked for at once.
const PIECE_BYTES: usize = 64 << 10;

struct Relay;

impl wasip3::exports::http::handler::Guest for Relay {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        match path.strip_prefix("/fetch?") {
            Some(target) => fetch(target).await,
            None => Ok(capitals(request)),
        }
    }
}

wasip3::http::service::export!(Relay);

fn capitals(request: Request) -> Response {
    // Whoever drops the writing end of a future leaves what it was made with.
    let (_, taken) = wit_future::new(|| Ok(()));
    let (mut body, _trailers) = Request::consume_body(request, taken);
    let (mut out, contents) = wit_stream::new();
    let (end, trailers) = wit_future::new(|| Ok(None));
    let headers = Fields::new();
    let _ = headers.append("content-type", b"text/plain; charset=utf-8");
    let _ = headers.append("trailer", b"x-bytes");
    let (response, _sent) = Response::new(headers, Some(contents), trailers);
    wit_bindgen::spawn_local(async move {
        let mut bytes = 0;
        loop {
            let (result, mut piece) = body.read(Vec::with_capacity(PIECE_BYTES)).await;
            bytes += piece.len();
            piece.make_ascii_uppercase();
            if !piece.is_empty() && !out.write_all(piece).await.is_empty() {
                // The client has left.
                return;
            }
            if matches!(result, StreamResult::Dropped) {
                break;
            }
        }
        drop(out);
        let fields = Fields::new();
        let _ = fields.append("x-bytes", bytes.to_string().as_bytes());
        let _ = end.write(Ok(Some(fields))).await;
    });
    response
}

async fn fetch(url: &str) -> Result<Response, ErrorCode> {
    let (scheme, target) = match url.strip_prefix("https://") {
        Some(target) => (Scheme::Https, target),
        None => (Scheme::Http, url.strip_prefix("http://").unwrap_or(url)),
    };
    let (authority, path) = target.split_at(target.find('/').unwrap_or(target.len()));
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, trailers, None);
    let invalid = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&scheme)).map_err(invalid)?;
    request.set_authority(Some(authority)).map_err(invalid)?;
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).map_err(invalid)?;
    client::send(request).await
}
