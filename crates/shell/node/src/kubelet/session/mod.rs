//! `kubectl attach`, `kubectl run -i` and `kubectl exec`: a client joined to a guest, or to a program beside it.
//!
//! Start at [`attach`] and [`exec`]. Both find what to join first, so that a refusal is an ordinary answer, and then turn the
//! connection into the client's streams: over SPDY/3.1 ([`streams`]) or WebSocket messages ([`messages`]). The last thing a
//! client hears is a `Status`.
//!
//! Deliberately absent: terminals. A guest has none, so sizes that a client sends mean nothing.

mod messages;
mod streams;

use std::sync::Arc;

use axum::{
    extract::{Path, Query, Request, State},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use eyot_runtime::LogStream;
use futures::future::{BoxFuture, FutureExt};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Context, Failure,
    spdy::connection::{self, Ends},
    upgrade::{self, Asked},
};
use crate::pod::{
    Owner,
    session::{Extra, InputPipe, SessionError, Watched},
};

/// The newest first: the fifth adds only the end of a client's input, and the first has no `Status` at the end.
const MESSAGES: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", PLAIN];
const PLAIN: &str = "channel.k8s.io";
const STREAMS: &str = "v4.channel.k8s.io";
/// Chunks of output on their way to a client.
const OUT_MAX: usize = 16;

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    /// It will also send sizes.
    tty: bool,
}

impl Wanted {
    fn of(query: &[(String, String)]) -> Result<Wanted, Failure> {
        let is = |name: &str| query.iter().any(|(it, value)| it == name && matches!(value.as_str(), "true" | "1"));
        let wanted = Wanted { stdin: is("stdin"), stdout: is("stdout"), stderr: is("stderr"), tty: is("tty") };
        match wanted.stdin || wanted.stdout || wanted.stderr {
            true => Ok(wanted),
            false => Err(Failure::bad_request("you must specify at least one of stdin, stdout, stderr")),
        }
    }

    /// Whether output of `stream` goes to the client.
    fn takes(self, stream: LogStream) -> bool {
        match stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        }
    }
}

/// A client, once its streams are there.
struct Client {
    /// What it sends; ends when it has no more.
    stdin: Option<mpsc::Receiver<Bytes>>,
    /// What it is to see.
    out: mpsc::Sender<(LogStream, Bytes)>,
}

/// Serves a client; comes to the `Status` that it hears last.
type Work = Box<dyn FnOnce(Client) -> BoxFuture<'static, Value> + Send>;

/// Answers a request to attach.
pub(super) async fn attach(
    State(context): State<Context>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&query)?;
    let session = context.session()?;
    let owner = owner(&context, &namespace, &pod)?;
    let Watched { output, input } = owner.watch_guest(&container).map_err(refusal)?;
    if wanted.stdin && input.is_none() {
        let message = format!("container {container} reads no standard input: its spec does not say stdin: true");
        return Err(Failure::bad_request(message));
    }
    let work: Work = Box::new(move |client| watch(output, input, client).boxed());
    upgrade(&mut request, wanted, work, session)
}

/// Answers a request to run a command.
pub(super) async fn exec(
    State(context): State<Context>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&query)?;
    let session = context.session()?;
    let owner = owner(&context, &namespace, &pod)?;
    // Whether the connection can be upgraded is seen before anything runs.
    upgrade::asked(request.headers())?;
    let command = query.iter().filter(|(name, _)| name == "command").map(|(_, value)| value.clone()).collect();
    let extra = owner.exec(&container, command, wanted.stdin).await.map_err(refusal)?;
    let work: Work = Box::new(move |client| run(extra, client).boxed());
    upgrade(&mut request, wanted, work, session)
}

fn owner(context: &Context, namespace: &str, pod: &str) -> Result<Arc<Owner>, Failure> {
    let owner = context.pods.get(namespace, pod);
    owner.ok_or_else(|| Failure::not_found(format!("pod \"{pod}\" is not known to this node")))
}

fn refusal(error: SessionError) -> Failure {
    match error {
        SessionError::NoContainer(_) => Failure::not_found(error.to_string()),
        SessionError::Pod(_) => Failure::internal(error.to_string()),
        _ => Failure::bad_request(error.to_string()),
    }
}

/// Joins a client to a guest until the guest's run ends or the client leaves.
async fn watch(mut output: crate::logs::tap::Reader, input: Option<Arc<InputPipe>>, client: Client) -> Value {
    let Client { stdin, out } = client;
    let inward = async {
        if let (Some(input), Some(stdin)) = (input, stdin) {
            input.feed(stdin).await;
        }
        std::future::pending::<()>().await;
    };
    let outward = async {
        while let Some(chunk) = output.next().await {
            if out.send(chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
    success()
}

/// Joins a client to a program of its own until that ends or the client leaves.
async fn run(extra: Extra, client: Client) -> Value {
    let Extra { process, mut output, tap, input } = extra;
    let Client { stdin, out } = client;
    let inward = async {
        if let (Some(mut input), Some(mut stdin)) = (input, stdin) {
            while let Some(bytes) = stdin.recv().await {
                if tokio::io::AsyncWriteExt::write_all(&mut input, &bytes).await.is_err() {
                    // The program reads no more.
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    let outward = async {
        while let Some(chunk) = output.next().await {
            if out.send(chunk).await.is_err() {
                process.kill();
                break;
            }
        }
    };
    let end = async {
        let exit = process.wait().await;
        // All it printed was put into the tap before its end was told.
        tap.close();
        exit
    };
    tokio::select! {
        () = inward => success(),
        (exit, ()) = async { tokio::join!(end, outward) } => exit_status(exit.code),
    }
}

fn success() -> Value {
    json!({ "metadata": {}, "status": "Success" })
}

/// What kubectl reads a command's exit code from.
fn exit_status(code: i32) -> Value {
    if code == 0 {
        return success();
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// Switches the connection to the dialect that the client asks for, and serves it there.
fn upgrade(
    request: &mut Request,
    wanted: Wanted,
    work: Work,
    session: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    let upgrade = upgrade::take(request)?;
    let headers = request.headers();
    match upgrade::asked(headers)? {
        Asked::Spdy => to_spdy(headers, upgrade, wanted, work, session),
        Asked::WebSocket => to_messages(headers, upgrade, wanted, work, session),
    }
}

fn to_spdy(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    wanted: Wanted,
    work: Work,
    session: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    upgrade::choose(headers, "x-stream-protocol-version", &[STREAMS])
        .ok_or_else(|| Failure::bad_request(format!("the streams must speak {STREAMS}")))?;
    tokio::spawn(async move {
        let Some(stream) = upgrade::wait(upgrade).await else { return };
        let ended = connection::run(stream, streams::Streams::new(wanted, work), Ends::WithWork).await;
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "a SPDY session broke");
        }
        drop(session);
    });
    Ok(upgrade::to_spdy(STREAMS))
}

fn to_messages(
    headers: &HeaderMap,
    upgrade: OnUpgrade,
    wanted: Wanted,
    work: Work,
    session: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    let protocol = upgrade::choose(headers, "sec-websocket-protocol", &MESSAGES)
        .ok_or_else(|| Failure::bad_request(format!("the websocket must speak one of {}", MESSAGES.join(", "))))?;
    let response = upgrade::to_websocket(headers, protocol)?;
    tokio::spawn(async move {
        let Some(socket) = upgrade::wait_websocket(upgrade).await else { return };
        if let Err(error) = messages::run(socket, wanted, work, protocol == PLAIN).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a websocket session broke");
        }
        drop(session);
    });
    Ok(response)
}
