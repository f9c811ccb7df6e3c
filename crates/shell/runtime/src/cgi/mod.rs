//! Commands that answer requests: a fresh instance each, the body on standard input, the answer on standard output.
//!
//! Start at [`call`]. The request's head is in the environment ([`env`]); what the command writes goes through a bounded
//! [`pipe`] and is the body, or begins with a header block ([`head`]). As with a `wasi:http` component the guest runs where
//! its answer is polled, moves to the background when it takes long, and ends when nobody waits any more.
//!
//! An answer is held until the command has ended, so that its exit code decides the status, as long as it fits into
//! [`HELD_BYTES`]; beyond that it streams.

mod answer;
mod env;
mod head;
mod pipe;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError};
use futures::future::{Either, select};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::oneshot,
};
use wasmtime_wasi::cli::AsyncStdinStream;

use crate::{
    FailureKind, HttpGuest,
    call::{Ended, Exchange},
    guest::Guest,
    meter::Metered,
    process,
    program::Code,
    serve::Admission,
    share::Source,
    trap::Ending,
};
use answer::{Answer, Next, Run};
pub(crate) use pipe::Pipe;

/// Bytes of an answer that are held for the exit code; more are sent as they come.
const HELD_BYTES: usize = 1 << 20;
/// Bytes of a header block.
const HEAD_BYTES: usize = 64 << 10;
/// Bytes of a request's body on their way to the command.
const STDIN_BYTES: usize = 64 << 10;

/// The exit code of a command that failed, in its answer.
const EXIT_CODE: HeaderName = HeaderName::from_static("x-exit-code");
/// How long a command took, as OpenFaaS' watchdog tells it.
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");

/// How a command answers requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerRequest {
    /// What its standard output is.
    pub output: OutputForm,
    /// Content type of every answer; that of the request when absent, as with OpenFaaS' watchdog. A header block names its own.
    pub content_type: Option<HeaderValue>,
    /// Whether standard error goes into the answer too, instead of into the log.
    pub combines_output: bool,
    /// Whether headers are in the environment as OpenFaaS' watchdog names them (`Http_Method`), beside the names of CGI.
    pub has_watchdog_names: bool,
    /// Longest time that one request may take.
    pub timeout: Option<Duration>,
}

impl Default for PerRequest {
    fn default() -> Self {
        Self {
            output: OutputForm::Body,
            content_type: None,
            combines_output: false,
            has_watchdog_names: true,
            timeout: None,
        }
    }
}

/// What a command's standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// The body. Held until the command ends, up to a mebibyte: another exit code than 0 makes it a 500.
    Body,
    /// The body, sent as it is written.
    Stream,
    /// Headers, an empty line and the body, as CGI and WAGI have it.
    Cgi,
}

/// What one request has of its own beside its guest.
pub(crate) struct Invocation {
    /// The whole environment.
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) stdout: Pipe,
    /// The log when absent.
    pub(crate) stderr: Option<Pipe>,
}

/// How a command's run ended, where it was no trap.
enum Outcome {
    Exit(i32),
    TimedOut,
    /// The client's body broke off.
    Broken(String),
}

/// A request inside a command, whose instance comes from no pool that would bound it.
struct Running(Arc<HttpGuest>);

impl Running {
    fn begin(guest: &Arc<HttpGuest>) -> Result<Running, CallError> {
        guest.enter(Source::Memory)?;
        Ok(Running(Arc::clone(guest)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.leave(Source::Memory);
    }
}

/// Runs the command for `request`, and returns its response when the head is known.
pub(crate) async fn call(
    guest: Arc<HttpGuest>,
    terms: Arc<PerRequest>,
    admission: Admission,
    request: Request<Body>,
) -> Result<Response<Body>, CallError> {
    let running = Running::begin(&guest)?;
    let (asked, body) = request.into_parts();
    let (stdout, written) = pipe::pipe();
    let invocation = Invocation {
        env: env::variables(&asked, body.size_hint().exact(), &guest.guest.env, terms.has_watchdog_names).into(),
        stderr: terms.combines_output.then(|| stdout.clone()),
        stdout,
    };
    let (tell, told) = oneshot::channel();
    let work = execute(guest.code.clone(), guest.guest.clone(), invocation, body, terms.timeout, tell, running);
    let metered = Metered::new(work, Arc::clone(&guest.guest));
    let run = Run::new(Exchange::new(Arc::clone(&guest), metered), written, admission);
    let began = Instant::now();
    match terms.output {
        OutputForm::Cgi => with_head(&guest, run, told).await,
        form => {
            let kind = terms.content_type.clone().or_else(|| asked.headers.get(header::CONTENT_TYPE).cloned());
            let held = if form == OutputForm::Body { HELD_BYTES } else { 0 };
            plain(&guest, run, told, kind, held, began).await
        }
    }
}

/// An answer whose head is made here: held whole where it fits into `held` bytes.
async fn plain(
    guest: &Arc<HttpGuest>,
    mut run: Run,
    mut told: oneshot::Receiver<Outcome>,
    content_type: Option<HeaderValue>,
    held: usize,
    began: Instant,
) -> Result<Response<Body>, CallError> {
    let mut text = Vec::new();
    loop {
        match run.next().await {
            Next::Chunk(chunk) => {
                text.extend_from_slice(&chunk);
                if text.len() > held {
                    let kind = content_type.unwrap_or_else(|| sniffed(&text));
                    let answer = Answer::new(guest.clone(), text.into(), run, told);
                    let mut response = Response::new(answer.boxed_unsync());
                    response.headers_mut().insert(header::CONTENT_TYPE, kind);
                    return Ok(response);
                }
            }
            Next::End(ended) => {
                ended?;
                let code = exit_code(guest, told.try_recv().ok())?;
                if code != 0 {
                    failed(guest, code);
                    return Ok(exited(code, &text));
                }
                let kind = content_type.unwrap_or_else(|| sniffed(&text));
                let mut response = Response::new(eyot_dispatch::full(text));
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                if let Ok(took) = HeaderValue::try_from(format!("{:.6}", began.elapsed().as_secs_f64())) {
                    response.headers_mut().insert(DURATION, took);
                }
                return Ok(response);
            }
        }
    }
}

/// An answer that begins with a header block.
async fn with_head(
    guest: &Arc<HttpGuest>,
    mut run: Run,
    mut told: oneshot::Receiver<Outcome>,
) -> Result<Response<Body>, CallError> {
    let mut text = Vec::new();
    loop {
        match run.next().await {
            Next::Chunk(chunk) => {
                text.extend_from_slice(&chunk);
                match head::parse(&text) {
                    Ok(Some((head, length))) => {
                        let rest = Bytes::from(text).slice(length..);
                        let answer = Answer::new(guest.clone(), rest, run, told);
                        return Ok(Response::from_parts(head, answer.boxed_unsync()));
                    }
                    Ok(None) if text.len() <= HEAD_BYTES => {}
                    Ok(None) => return Err(broke(guest, format!("wrote no end of its headers in {HEAD_BYTES} bytes"))),
                    Err(why) => return Err(broke(guest, format!("wrote headers that cannot be sent: {why}"))),
                }
            }
            Next::End(ended) => {
                ended?;
                return match exit_code(guest, told.try_recv().ok())? {
                    0 => Err(broke(guest, "wrote no headers and no empty line after them".into())),
                    code => {
                        failed(guest, code);
                        Ok(exited(code, &[]))
                    }
                };
            }
        }
    }
}

/// The exit code, where the run came to one.
fn exit_code(guest: &HttpGuest, outcome: Option<Outcome>) -> Result<i32, CallError> {
    match outcome {
        Some(Outcome::Exit(code)) => Ok(code),
        Some(Outcome::TimedOut) => {
            guest.guest.say("request failed: the command took longer than exec_timeout");
            guest.fail(FailureKind::Deadline);
            Err(CallError::Deadline)
        }
        Some(Outcome::Broken(why)) => Err(CallError::Broken(why)),
        None => Err(broke(guest, "ended without an exit code".into())),
    }
}

/// Notes that the command itself failed.
fn failed(guest: &HttpGuest, code: i32) {
    let what = format!("exited with code {code}");
    guest.guest.say(&format!("request failed: the guest {what}"));
    guest.fail(FailureKind::Guest(what));
}

fn broke(guest: &HttpGuest, what: String) -> CallError {
    guest.guest.say(&format!("request failed: the guest {what}"));
    guest.fail(FailureKind::Guest(what.clone()));
    CallError::Guest(what)
}

/// The answer of a command that failed before anything of it was sent: what it wrote, as OpenFaaS' watchdog gives it.
fn exited(code: i32, text: &[u8]) -> Response<Body> {
    let mut body = format!("exit status {code}\n").into_bytes();
    body.extend_from_slice(text);
    let mut response = Response::new(eyot_dispatch::full(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(EXIT_CODE, HeaderValue::from(code));
    response
}

/// What an answer probably is, by its beginning.
fn sniffed(text: &[u8]) -> HeaderValue {
    let is_text = std::str::from_utf8(text).map_or_else(|error| error.error_len().is_none(), |_| true);
    HeaderValue::from_static(if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" })
}

/// The command's side: its input is fed while it runs.
async fn execute(
    code: Arc<Code>,
    guest: Arc<Guest>,
    invocation: Invocation,
    body: Body,
    timeout: Option<Duration>,
    tell: oneshot::Sender<Outcome>,
    running: Running,
) -> Ended {
    let _running = running;
    let (near, far) = tokio::io::duplex(STDIN_BYTES);
    let stdin = (!body.is_end_stream()).then(|| AsyncStdinStream::new(far));
    let work = async {
        let run = pin!(process::run_program(&code, guest, stdin, Some(Box::new(invocation))));
        match select(run, pin!(feed(body, near))).await {
            Either::Left((ended, _)) => Ok(ended),
            Either::Right((Ok(()), run)) => Ok(run.await),
            Either::Right((Err(why), _)) => Err(Outcome::Broken(why)),
        }
    };
    let ended = match timeout {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Err(Outcome::TimedOut)),
    };
    let outcome = match ended {
        Err(outcome) => outcome,
        Ok(Ok(code)) => Outcome::Exit(code),
        Ok(Err(error)) => match Ending::new(&error) {
            Ending::Exit(code) => Outcome::Exit(code),
            _ => return Err(error),
        },
    };
    let _ = tell.send(outcome);
    Ok(None)
}

/// Writes a body to the command. Dropping `to` is its end; a command that reads no more ends this without an error.
async fn feed(mut body: Body, mut to: DuplexStream) -> Result<(), String> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the request's body: {error}"))?;
        if let Ok(data) = frame.into_data()
            && to.write_all(&data).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}
