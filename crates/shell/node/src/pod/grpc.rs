//! The health check of gRPC (`grpc.health.v1.Health/Check`), as far as a probe needs it. Pure.
//!
//! A request is one message with the name of a service, an answer one message with a number, and whether the call as such went
//! well is told in a header or trailer.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, header};

/// Where the check is answered.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// A service that answers requests.
const SERVING: u64 = 1;

/// The request about `service`, the server as a whole when that is empty.
pub(super) fn request(authority: &str, service: &str) -> Result<Request<eyot_dispatch::Body>, http::Error> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("http://{authority}{PATH}"))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .header(header::TE, HeaderValue::from_static("trailers"))
        .header(header::USER_AGENT, HeaderValue::from_static("kube-probe/1.37"))
        .body(eyot_dispatch::full(message(service)))
}

/// A message with `service` in its first field.
fn message(service: &str) -> Bytes {
    let mut out = BytesMut::new();
    let field = if service.is_empty() { 0 } else { service.len() + 2 };
    // Not compressed, then the length.
    out.put_u8(0);
    out.put_u32(field as u32);
    if field > 0 {
        out.put_u8(0x0a);
        // One byte, as longer names are refused when the pod is admitted.
        out.put_u8(service.len() as u8);
        out.put_slice(service.as_bytes());
    }
    out.freeze()
}

/// What an answer says: nothing when the service is healthy, else why it is not.
pub(super) fn verdict(body: &[u8], headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), String> {
    let status = trailers.get("grpc-status").or_else(|| headers.get("grpc-status"));
    match status.map(HeaderValue::as_bytes) {
        None | Some(b"0") => {}
        Some(b"12") => return Err("this server does not implement the gRPC health protocol".to_owned()),
        Some(code) => return Err(format!("gRPC status {}", String::from_utf8_lossy(code))),
    }
    match status_of(body) {
        Some(SERVING) => Ok(()),
        Some(other) => Err(format!("service unhealthy (status {other})")),
        None => Err("the answer is no health check's".to_owned()),
    }
}

/// The number in the first field of the message in `body`; zero when the field is left out, as zeros are.
fn status_of(body: &[u8]) -> Option<u64> {
    let (head, rest) = body.split_at_checked(5)?;
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    match (head[0], rest.get(..len)?) {
        (0, []) => Some(0),
        (0, [0x08, status @ 0..=0x7f, ..]) => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_one_message_each() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("web")[..], b"\0\0\0\0\x05\x0a\x03web");
        let answer = |body: &[u8], status: &str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_str(status).unwrap());
            verdict(body, &HeaderMap::new(), &trailers)
        };
        assert_eq!(answer(b"\0\0\0\0\x02\x08\x01", "0"), Ok(()));
        assert_eq!(answer(b"\0\0\0\0\x02\x08\x02", "0"), Err("service unhealthy (status 2)".to_owned()));
        assert_eq!(answer(b"\0\0\0\0\0", "0"), Err("service unhealthy (status 0)".to_owned()));
        assert_eq!(answer(b"", "5"), Err("gRPC status 5".to_owned()));
        assert!(answer(b"\0\0\0\0\x09\x08\x01", "0").is_err(), "cut short");
        assert!(answer(b"hello", "0").is_err());
    }
}
