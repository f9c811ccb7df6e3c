//! The smallest `wasi:http` component in Rust: answers every request with the name of its pod.
//!
//! Bindings are used bare, without an async layer, so that what a benchmark measures is the platform.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl Guest for Hello {
    fn handle(_request: IncomingRequest, outparam: ResponseOutparam) {
        let pod = std::env::var("POD_NAME").unwrap_or_else(|_| "nowhere".to_owned());
        let greeting = std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
        let text = format!("{greeting} from {pod}\n");

        let headers = Fields::new();
        let plain = b"text/plain; charset=utf-8".to_vec();
        headers.append("content-type", &plain).expect("a fresh header map takes a well-formed header");
        let response = OutgoingResponse::new(headers);
        let body = response.body().expect("the body of a fresh response is taken once");
        ResponseOutparam::set(outparam, Ok(response));

        // A client that left early is not this guest's failure, so a broken write is not one either.
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Hello);
