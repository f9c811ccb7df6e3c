//! What is judged: each case, its program, and what program and host are to do.

use futures::future::BoxFuture;

use crate::{
    bodies, services,
    stage::{Scene, Verdict},
};

/// One behaviour.
pub(crate) struct Case {
    /// The program's name, and after a colon which of its behaviours, where it has several.
    pub(crate) name: &'static str,
    /// What is to happen.
    pub(crate) is_to: &'static str,
    pub(crate) play: Play,
}

/// How a case goes.
pub(crate) enum Play {
    /// Run as a command, which asks a server that speaks this, judges by itself, and ends with exit code 0.
    Command(Speaks),
    /// Run as a command with this argument; the exit code, and what it prints.
    Argument(&'static str, i32, &'static str),
    /// Called as a service.
    Service(fn(Scene) -> BoxFuture<'static, Verdict>),
    /// Called as a service that may connect to these hosts only.
    Held(&'static str, fn(Scene) -> BoxFuture<'static, Verdict>),
    /// Called as a service that is composed of the program and another, from which it takes what it imports.
    Composed(&'static str, fn(Scene) -> BoxFuture<'static, Verdict>),
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    /// From the first byte on.
    Http2,
}

impl Case {
    /// The file that it runs, without its ending.
    pub(crate) fn program(&self) -> &'static str {
        self.name.split(':').next().unwrap_or(self.name)
    }
}

/// Cases that do not pass, each with the reason. Whoever repairs one takes it from this list.
pub(crate) const FAILING: &[(&str, &str)] = &[
    ("p2_http_outbound_request_invalid_header", FORBIDDEN_THERE),
    ("p3_http_outbound_request_invalid_header", FORBIDDEN_THERE),
    (
        "p3_http_outbound_request_missing_path_and_query",
        "no path is the root here, as WASI 0.3 says and the WASI testsuite wants it",
    ),
];

const FORBIDDEN_THERE: &str = "it wants a header refused that only the host of wasmtime's tests forbids, by name";

use Play::{Argument, Command, Composed, Held, Service};
use Speaks::{Http1, Http2};

/// A case, in the words of the table below.
const fn case(name: &'static str, play: Play, is_to: &'static str) -> Case {
    Case { name, is_to, play }
}

/// All cases; names begin with what they are of, WASI 0.2 or 0.3.
pub(crate) const CASES: &[Case] = &[
    // Commands that ask. The server tells in headers what it was asked and gives the body back.
    case("p2_http_outbound_request_get", Command(Http1), "find method, path and query as it set them"),
    case("p2_http_outbound_request_post", Command(Http1), "get its body back"),
    case("p2_http_outbound_request_large_post", Command(Http1), "get a body of more than a megabyte back"),
    case("p2_http_outbound_request_put", Command(Http1), "send a body of no bytes"),
    case(
        "p2_http_outbound_request_content_length",
        Command(Http1),
        "be told when it writes fewer or more bytes than it announced",
    ),
    case(
        "p2_http_outbound_request_invalid_dnsname",
        Command(Http1),
        "be told that a name does not resolve, or nobody is there",
    ),
    case(
        "p2_http_outbound_request_invalid_header",
        Command(Http2),
        "be told of header names and values that are none, forbidden, or of others'",
    ),
    case("p2_http_outbound_request_invalid_port", Command(Http1), "be told that a port is none"),
    case(
        "p2_http_outbound_request_invalid_version",
        Command(Http2),
        "be told that the other side does not speak the protocol, or waits for ever",
    ),
    case(
        "p2_http_outbound_request_missing_path_and_query",
        Command(Http1),
        "be told that a request without a path cannot be sent",
    ),
    case(
        "p2_http_outbound_request_response_build",
        Command(Http1),
        "make requests and responses it never sends, and be told of parts that are none",
    ),
    case(
        "p2_http_outbound_request_timeout",
        Command(Http1),
        "give up connecting after the fifth of a second that it allows",
    ),
    case("p2_http_outbound_request_unknown_method", Command(Http1), "be told that a method is none"),
    case("p2_http_outbound_request_unsupported_scheme", Command(Http1), "be told that a scheme is not known"),
    case("p3_http_outbound_request_get", Command(Http1), "find method, path and query as it set them"),
    case("p3_http_outbound_request_post", Command(Http1), "get its body back"),
    case("p3_http_outbound_request_large_post", Command(Http1), "get a body of more than a megabyte back"),
    case("p3_http_outbound_request_put", Command(Http1), "send a body of no bytes"),
    case(
        "p3_http_outbound_request_content_length",
        Command(Http1),
        "be told, by request or response, of fewer or more bytes than it announced",
    ),
    case(
        "p3_http_outbound_request_invalid_dnsname",
        Command(Http1),
        "be told that a name does not resolve, or nobody is there",
    ),
    case(
        "p3_http_outbound_request_invalid_header",
        Command(Http2),
        "be told of header names and values that are none, forbidden, or of others'",
    ),
    case("p3_http_outbound_request_invalid_port", Command(Http1), "be told that a port is none"),
    case(
        "p3_http_outbound_request_invalid_version",
        Command(Http2),
        "be told that the other side does not speak the protocol, or waits for ever",
    ),
    case(
        "p3_http_outbound_request_missing_path_and_query",
        Command(Http1),
        "be told that a request without a path cannot be sent",
    ),
    case(
        "p3_http_outbound_request_response_build",
        Command(Http1),
        "make requests and responses it never sends, and be told of parts that are none",
    ),
    case(
        "p3_http_outbound_request_timeout",
        Command(Http1),
        "give up connecting after the fifth of a second that it allows",
    ),
    case("p3_http_outbound_request_unknown_method", Command(Http1), "be told that a method is none"),
    case("p3_http_outbound_request_unsupported_scheme", Command(Http1), "be told that a scheme is not known"),
    case(
        "p3_http_outbound_request_chunk_size",
        Command(Http1),
        "write pieces that double in size until the host takes only a part of one",
    ),
    // Commands that fill a set of headers without end.
    case("p2_cli_http_headers: p2-append", Argument("p2-append", 134, ""), "trap"),
    case("p2_cli_http_headers: p2-append-empty", Argument("p2-append-empty", 134, ""), "trap"),
    case("p2_cli_http_headers: p2-append-same", Argument("p2-append-same", 134, ""), "trap"),
    case("p2_cli_http_headers: p2-append-same-empty", Argument("p2-append-same-empty", 134, ""), "trap"),
    case("p2_cli_http_headers: p3-append", Argument("p3-append", 0, FULL), "be told"),
    case("p2_cli_http_headers: p3-append-empty", Argument("p3-append-empty", 0, FULL), "be told"),
    case("p2_cli_http_headers: p3-append-same", Argument("p3-append-same", 0, FULL), "be told"),
    case("p2_cli_http_headers: p3-append-same-empty", Argument("p3-append-same-empty", 0, FULL), "be told"),
    // Services of WASI 0.2.
    case("p2_api_proxy", Service(|it| Box::pin(services::proxy(it))), "see no host header, no file, and answer"),
    case(
        "p2_api_proxy: client that leaves",
        Service(|it| Box::pin(services::client_that_leaves(it))),
        "not fail when nobody takes its response",
    ),
    case(
        "p2_api_proxy: large headers",
        Service(|it| Box::pin(services::large_headers(it))),
        "be given any headers that came, and end when it makes more than 128 KiB of them",
    ),
    case(
        "p2_api_proxy_streaming: hash-all",
        Service(|it| Box::pin(services::hash_all(it))),
        "ask four servers at once and stream a hash of each answer",
    ),
    case(
        "p2_api_proxy_streaming: rejected host",
        Held("localhost", |it| Box::pin(services::rejected_host(it))),
        "be told that one host is denied, and of another only that it is not there",
    ),
    case("p2_api_proxy_streaming: echo", Service(|it| Box::pin(bodies::megabyte(it, "/echo"))), "stream a body back"),
    case(
        "p2_api_proxy_streaming: double-echo",
        Service(|it| Box::pin(bodies::megabyte(it, "/double-echo"))),
        "stream a body to a server and its answer back",
    ),
    case(
        "p2_api_proxy_forward_request",
        Service(|it| Box::pin(services::forward(it))),
        "ask a host without a port, by https as it was asked",
    ),
    case("p2_cli_serve_hello_world", Service(|it| Box::pin(services::hello(it))), "greet"),
    case("p2_cli_serve_echo_env", Service(|it| Box::pin(services::environment(it))), "see its environment"),
    case("p2_cli_serve_with_print", Service(|it| Box::pin(services::prints(it))), "print to both streams"),
    case(
        "p2_cli_serve_authority_and_scheme",
        Service(|it| Box::pin(services::authority(it))),
        "find scheme and host of relative and absolute targets",
    ),
    case("p2_cli_serve_config", Service(|it| Box::pin(services::world(it))), "read a setting"),
    case("p2_cli_serve_keyvalue", Service(|it| Box::pin(services::world(it))), "read a key of a bucket"),
    case("p2_cli_serve_return_before_set", Service(|it| Box::pin(services::fails(it))), "be a failure, not a hang"),
    case("p2_cli_serve_trap_before_set", Service(|it| Box::pin(services::fails(it))), "be a failure, not a hang"),
    case("p2_cli_serve_sleep", Service(|it| Box::pin(services::late(it))), "meet its deadline"),
    // Services of WASI 0.3.
    case("p3_api_proxy", Service(|it| Box::pin(services::proxy(it))), "see no forbidden header and answer"),
    case("p3_cli_serve_hello_world", Service(|it| Box::pin(services::hello(it))), "greet"),
    case("p3_cli_serve_sleep", Service(|it| Box::pin(services::late(it))), "meet its deadline"),
    case(
        "p3_cli_serve_post_return",
        Service(|it| Box::pin(services::goes_on(it))),
        "print after its response was taken",
    ),
    case("p3_http_echo", Service(|it| Box::pin(bodies::echo(it, ""))), "give headers, body and trailers back"),
    case(
        "p3_http_echo: host to host",
        Service(|it| Box::pin(bodies::echo(it, "host"))),
        "give headers, body and trailers back without touching them",
    ),
    case(
        "p3_http_echo: empty piece at the end",
        Service(|it| Box::pin(bodies::pieces(it, &["test", ""]))),
        "be given no empty piece",
    ),
    case(
        "p3_http_echo: piece with the end",
        Service(|it| Box::pin(bodies::pieces(it, &["test", " final"]))),
        "be given the last piece although the end is known",
    ),
    case(
        "p3_http_echo: empty pieces between",
        Service(|it| Box::pin(bodies::pieces(it, &["", "", "hello ", "", "", "world"]))),
        "be given no empty piece",
    ),
    case(
        "p3_http_middleware",
        Composed("p3_http_echo", |it| Box::pin(bodies::echo(it, "deflate"))),
        "inflate the request and deflate the response of what it is composed with",
    ),
    case(
        "p3_http_middleware: host to host",
        Composed("p3_http_echo", |it| Box::pin(bodies::unreadable(it))),
        "end with wasmtime's word about streams that one component reads and writes",
    ),
    case(
        "p3_http_proxy",
        Service(|it| Box::pin(bodies::after_the_guest(it))),
        "hand on a body that comes when it has ended",
    ),
    case(
        "p3_http_forbidden_headers",
        Service(|it| Box::pin(services::forbidden_headers(it))),
        "hand on a request without host and connection of whoever asked",
    ),
];

const FULL: &str = "error received\n";
