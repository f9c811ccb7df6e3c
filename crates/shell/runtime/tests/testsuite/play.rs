//! Plays one case: starts it, does to it what its file says, and judges.

use std::{collections::HashMap, fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use eyot_dispatch::Handler;
use eyot_runtime::{GuestSpec, HttpGuest, LogStream, Mount, Process, Program, Stdin};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    case::{Case, text_of},
    common::Bench,
    servers::{self, Servers},
};

/// How long a step may take; the longest case takes a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where its sockets are: a case connects to itself.
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Runs `case`; says what is not as it should be.
pub(crate) async fn run(case: &Case) -> Result<(), String> {
    let bench = Bench::new();
    let program = bench.load(&fs::read(&case.wasm).unwrap()).await.map_err(|error| error.to_string())?;
    let mut playing =
        Playing { bench, case, running: Running::Nothing, stdin: None, read: [0; 2], sockets: HashMap::new() };
    for operation in &case.operations {
        let what = text_of(&operation["type"]);
        let done = timeout(PATIENCE, playing.step(&program, &what, operation)).await;
        let done = done.unwrap_or_else(|_| Err("it takes too long".to_owned()));
        done.map_err(|why| format!("{what}: {why}; it said {:.300}", playing.said(LogStream::Stderr)))?;
    }
    for (stream, wanted) in [LogStream::Stdout, LogStream::Stderr].into_iter().zip(&case.prints) {
        let found = playing.said(stream);
        if wanted.as_ref().is_some_and(|it| *it != found) {
            return Err(format!("{stream:?} is {found:?} instead of {:?}", wanted.as_deref().unwrap_or_default()));
        }
    }
    Ok(())
}

struct Playing<'a> {
    bench: Bench,
    case: &'a Case,
    running: Running,
    stdin: Option<Stdin>,
    /// Bytes of its output that were looked at.
    read: [usize; 2],
    sockets: HashMap<String, TcpStream>,
}

enum Running {
    Nothing,
    Command(Process),
    Service(Arc<HttpGuest>),
}

impl Playing<'_> {
    fn said(&self, stream: LogStream) -> String {
        self.bench.log.text(stream)
    }

    async fn step(&mut self, program: &Program, what: &str, said: &Value) -> Result<(), String> {
        match what {
            "run" => self.start(program, said),
            "wait" => self.wait(said).await,
            "kill" => {
                if let Running::Command(process) = &self.running {
                    process.kill();
                }
                Ok(())
            }
            "read" => self.expect_output(&text_of(&said["id"]), &text_of(&said["payload"])).await,
            "write" => {
                let stdin = self.stdin.as_mut().ok_or("it has no standard input")?;
                stdin.write_all(text_of(&said["payload"]).as_bytes()).await.map_err(|error| error.to_string())
            }
            "connect" => self.connect(text_of(&said["id"])).await,
            "send" => {
                let socket = self.socket(said)?;
                socket.write_all(text_of(&said["payload"]).as_bytes()).await.map_err(|error| error.to_string())
            }
            "recv" => {
                let wanted = text_of(&said["payload"]);
                let mut got = vec![0; wanted.len()];
                self.socket(said)?.read_exact(&mut got).await.map_err(|error| error.to_string())?;
                same(&wanted, &String::from_utf8_lossy(&got))
            }
            "request" => self.request(said).await,
            other => Err(format!("an operation {other:?} is not known")),
        }
    }

    fn start(&mut self, program: &Program, said: &Value) -> Result<(), String> {
        let spec = self.spec(said);
        let failed = |error: eyot_runtime::StartError| error.to_string();
        if self.case.is_service {
            self.running = Running::Service(program.serve(spec).map_err(failed)?);
            return Ok(());
        }
        let process = program.spawn(spec).map_err(failed)?;
        self.stdin = process.take_stdin();
        self.running = Running::Command(process);
        Ok(())
    }

    fn spec(&self, said: &Value) -> GuestSpec {
        let case = self.case;
        let mut spec = self.bench.spec();
        let args = said["args"].as_array().into_iter().flatten().map(text_of);
        let name = case.wasm.file_name().unwrap_or_default().to_string_lossy().into_owned();
        spec.args = std::iter::once(name).chain(args).collect();
        let env = said["env"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text_of(value)));
        spec.env = env.chain(servers::variables(&case.servers)).collect();
        spec.stdin = case.operations.iter().any(|it| it["type"] == "write");
        spec.ip = Some(ADDRESS);
        spec.outbound = Arc::new(Servers(case.servers.clone()));
        if let Some(root) = said["root"].as_str() {
            // Cases change what they find.
            let host = self.bench.dir.path().join("root");
            copy(&case.wasm.with_file_name(root), &host);
            spec.mounts = vec![Mount { host, held: None, guest: "/".into(), read_only: false }];
        }
        spec
    }

    async fn wait(&mut self, said: &Value) -> Result<(), String> {
        self.stdin = None;
        let Running::Command(process) = &self.running else { return Ok(()) };
        let exit = process.wait().await;
        let wanted = said["exit_code"].as_i64().unwrap_or(0);
        match i64::from(exit.code) == wanted {
            true => Ok(()),
            false => Err(format!("exit code {} ({:?}) instead of {wanted}", exit.code, exit.reason)),
        }
    }

    async fn expect_output(&mut self, id: &str, wanted: &str) -> Result<(), String> {
        let (stream, at) = if id == "stderr" { (LogStream::Stderr, 1) } else { (LogStream::Stdout, 0) };
        loop {
            let all = self.said(stream);
            if let Some(got) = all.get(self.read[at]..self.read[at] + wanted.len()) {
                self.read[at] += wanted.len();
                return same(wanted, got);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn connect(&mut self, id: String) -> Result<(), String> {
        let line = loop {
            let all = self.said(LogStream::Stdout);
            if let Some((line, _)) = all[self.read[0]..].split_once('\n') {
                self.read[0] += line.len() + 1;
                break line.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let socket = TcpStream::connect(&line).await.map_err(|error| format!("connecting to {line}: {error}"))?;
        self.sockets.insert(id, socket);
        Ok(())
    }

    fn socket(&mut self, said: &Value) -> Result<&mut TcpStream, String> {
        self.sockets.get_mut(&text_of(&said["id"])).ok_or_else(|| "no such connection".to_owned())
    }

    async fn request(&self, said: &Value) -> Result<(), String> {
        let Running::Service(guest) = &self.running else { return Err("it serves nothing".into()) };
        let method = said["method"].as_str().unwrap_or("GET");
        let uri = format!("http://guest.test{}", said["path"].as_str().unwrap_or("/"));
        let mut request =
            Request::builder().method(method).uri(uri).body(eyot_dispatch::full(text_of(&said["body"]))).unwrap();
        *request.headers_mut() = servers::fields(&said["headers"]);
        let response = guest.clone().handle(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let wanted = &said["response"];
        same(&wanted["status"].to_string(), &head.status.as_u16().to_string())?;
        for (name, value) in &servers::fields(&wanted["headers"]) {
            same(&format!("{:?}", Some(value)), &format!("{:?}", head.headers.get(name)))?;
        }
        same(&text_of(&wanted["body"]), &String::from_utf8_lossy(&body))
    }
}

fn same(wanted: &str, got: &str) -> Result<(), String> {
    if wanted == got { Ok(()) } else { Err(format!("{got:?} instead of {wanted:?}")) }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
