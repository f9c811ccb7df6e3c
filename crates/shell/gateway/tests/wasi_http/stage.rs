//! Where cases are played: a runtime, a gateway, and what guests find outside.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use eyot_bucket::{Bounds, Buckets, Tenant};
use eyot_compose::Part;
use eyot_dispatch::Caller;
use eyot_runtime::{GuestSpec, HttpGuest, LogSink, LogStream, Program, Runtime, RuntimeConfig};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    case::{Case, Play, Speaks},
    servers::{self, World},
    support::Node,
};

/// Whether a case went as it should, or why not.
pub(crate) type Verdict = Result<(), String>;

/// How long a case may take, compiling aside.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a service has to begin its answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// What all cases share.
pub(crate) struct Stage {
    node: Node,
    runtime: Runtime,
    buckets: Arc<Tenant>,
    programs: PathBuf,
    dir: TempDir,
}

/// What the case of a service has.
pub(crate) struct Scene {
    pub(crate) guest: Arc<HttpGuest>,
    pub(crate) log: Arc<Log>,
    pub(crate) world: Arc<World>,
    /// A server that speaks HTTP/1.1.
    pub(crate) server: SocketAddr,
}

impl Stage {
    pub(crate) async fn new(programs: PathBuf) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(dir.path().join("cache"));
        config.instances_max = Some(64);
        let buckets = Buckets::open(dir.path().join("buckets"), Bounds::default()).tenant("one").unwrap();
        buckets.set("", vec![("hello".into(), b"world".to_vec())]).await.unwrap();
        Stage { node: Node::start().await, runtime: Runtime::new(config).unwrap(), buckets, programs, dir }
    }

    /// Plays one case to its end.
    pub(crate) async fn play(&self, case: &Case) -> Verdict {
        let program = self.load(case).await?;
        let speaks = if let Play::Command(it) = case.play { it } else { Speaks::Http1 };
        let server = servers::start(speaks).await;
        let (log, world) = (Arc::<Log>::default(), World::around(self.node.gateway.clone()).await);
        let mut spec = self.spec(&log, &world, server);
        let playing = async {
            match case.play {
                Play::Command(_) => command(&program, spec, (0, ""), &log, &world).await,
                Play::Argument(argument, code, prints) => {
                    spec.args.push(argument.to_owned());
                    command(&program, spec, (code, prints), &log, &world).await
                }
                Play::Service(judge) | Play::Held(_, judge) | Play::Composed(_, judge) => {
                    if let Play::Held(hosts, _) = case.play {
                        spec.allowed_hosts = Some(Arc::new(hosts.parse().map_err(text)?));
                    }
                    let guest = program.serve(spec).map_err(text)?;
                    judge(Scene { guest, log: log.clone(), world: world.clone(), server }).await
                }
            }
        };
        let verdict = timeout(PATIENCE, playing).await.unwrap_or_else(|_| Err("it takes too long".into()));
        verdict.map_err(|why| format!("{why}; it said {:.600}", log.text(LogStream::Stderr)))
    }

    async fn load(&self, case: &Case) -> Result<Program, String> {
        let mut wasm = self.read(case.program())?;
        if let Play::Composed(library, _) = case.play {
            let other = self.read(library)?;
            let parts = [Part { name: case.program(), wasm: &wasm }, Part { name: library, wasm: &other }];
            wasm = eyot_compose::compose(&parts).map_err(text)?;
        }
        let mut hasher = DefaultHasher::new();
        wasm.hash(&mut hasher);
        let path = self.dir.path().join(format!("{:016x}.wasm", hasher.finish()));
        fs::write(&path, &wasm).map_err(text)?;
        self.runtime.load(&path, &format!("sha256:{:016x}", hasher.finish())).await.map_err(text)
    }

    fn read(&self, program: &str) -> Result<Vec<u8>, String> {
        // As wasmtime's build calls components, whose modules lie beside them.
        let component = self.programs.join(format!("{program}.component.wasm"));
        let path = if component.is_file() { component } else { self.programs.join(format!("{program}.wasm")) };
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn spec(&self, log: &Arc<Log>, world: &Arc<World>, server: SocketAddr) -> GuestSpec {
        let caller = Caller { namespace: "ns".into(), pod: "guest".into() };
        let mut spec = GuestSpec::new(caller, world.clone(), log.clone());
        spec.args = vec!["program".into()];
        let env = [("HTTP_SERVER", server.to_string()), ("hello", "world".into())];
        spec.env = env.map(|(name, value)| (name.to_owned(), value)).into();
        spec.buckets = Some(self.buckets.clone());
        spec.request_deadline = DEADLINE;
        spec
    }
}

/// Runs a command, which is to end and print like this, and to ask nobody but its server.
async fn command(program: &Program, spec: GuestSpec, ends: (i32, &str), log: &Log, world: &World) -> Verdict {
    let exit = program.spawn(spec).map_err(text)?.wait().await;
    let (code, prints) = ends;
    if exit.code != code {
        return Err(format!("exit code {} ({:?}) instead of {code}", exit.code, exit.reason));
    }
    if !prints.is_empty() {
        same("what it printed", prints, log.text(LogStream::Stdout).as_str())?;
    }
    match world.taken() {
        None => Ok(()),
        Some(request) => Err(format!("a request for {} was sent", request.uri())),
    }
}

/// Whether `found` is what is wanted of `what`.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, found: T) -> Verdict {
    if wanted == found { Ok(()) } else { Err(format!("{what} is {found:.200?} instead of {wanted:.200?}")) }
}

/// An error in words.
pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Remembers what guests print.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<(LogStream, Vec<u8>)>>);

impl Log {
    pub(crate) fn text(&self, wanted: LogStream) -> String {
        let all = self.0.lock();
        let bytes: Vec<u8> = all.iter().filter(|(it, _)| *it == wanted).flat_map(|(_, it)| it.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl LogSink for Log {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        self.0.lock().push((stream, bytes.to_vec()));
    }
}
