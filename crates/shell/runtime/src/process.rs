//! A command: one instance that runs to its end.
//!
//! It runs as a task on the runtime's background threads: blocked, it costs its memory and no thread; spinning, it yields
//! every tick. Or it has a thread of its own ([`crate::own`]), or is another process altogether ([`crate::wasmedge`]).

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtxBuilder, cli::AsyncStdinStream, p2::bindings::CommandPre};

use crate::{
    LogStream, StartError,
    cgi::Invocation,
    files,
    guest::Guest,
    meter::{Meter, Metered},
    open::Open,
    own::{self, Alone, Outcome, Unshared},
    p3,
    program::{Code, Linked},
    random,
    state::{CALL_BYTES_MAX, Limits, ModuleState, State, Task},
    trap::Ending,
    wasmedge::Outside,
};

/// The writing end of a command's standard input. Dropping it is end of file.
pub type Stdin = tokio::io::DuplexStream;

/// Bytes of standard input held for a guest that does not read.
const STDIN_BYTES: usize = 64 << 10;

/// A running or ended command. Dropping it kills the guest.
pub struct Process {
    exit: watch::Receiver<Option<Exit>>,
    stdin: parking_lot::Mutex<Option<Stdin>>,
    cancel: CancellationToken,
    place: Place,
}

/// Where it runs.
enum Place {
    /// In this process, on threads that guests share.
    Inside { code: Arc<Code>, meter: Arc<Meter> },
    /// In this process, on a thread of its own.
    Alone { thread: Alone, meter: Arc<Meter> },
    /// In one of its own.
    Outside(Arc<Outside>),
}

/// What whoever looks after a process outside is given.
pub(crate) struct Told {
    /// Cancelled when the process is to be killed.
    pub(crate) stop: CancellationToken,
    /// What is written to its standard input, if that was asked for.
    pub(crate) stdin: Option<Stdin>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code as Kubernetes reports it: the guest's own, 134 for a trap, 137 for a kill or too much memory.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
}

/// Why a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It returned or called exit.
    Completed,
    /// It trapped; the message, with its stack trace, also went to its log.
    Trap(String),
    /// It passed its memory limit.
    OutOfMemory,
    /// [`Process::kill`] ended it.
    Killed,
}

/// What a command has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessStats {
    /// Time spent running guest code and the host calls it made.
    pub cpu: Duration,
    /// Linear memory it has now, in bytes.
    pub memory_bytes: u64,
    /// Most linear memory it has had, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of bodies that came as responses to its `wasi:http` requests; what goes over its sockets is not counted.
    pub received_bytes: u64,
    /// Bytes of bodies of its `wasi:http` requests.
    pub sent_bytes: u64,
}

impl Process {
    pub(crate) fn start(code: Arc<Code>, guest: Arc<Guest>, wants_stdin: bool) -> Self {
        let (tell, exit) = watch::channel(None);
        let (near, far) = wants_stdin.then(|| tokio::io::duplex(STDIN_BYTES)).unzip();
        let cancel = CancellationToken::new();
        let meter = Arc::clone(&guest.meter);
        let stop = cancel.clone();
        let task_code = Arc::clone(&code);
        code.core.background.spawn(async move {
            let work = run(task_code, Arc::clone(&guest), far);
            let metered = Metered::new(work, guest);
            // The work is dropped, and with it all the guest has, before the exit is told.
            let exit = tokio::select! {
                biased;
                () = stop.cancelled() => KILLED,
                exit = metered => exit,
            };
            let _ = tell.send(Some(exit));
        });
        Self { exit, stdin: parking_lot::Mutex::new(near), cancel, place: Place::Inside { code, meter } }
    }

    /// On a thread of its own, which is given back when it has ended.
    pub(crate) fn start_alone(command: Unshared, guest: Arc<Guest>, wants_stdin: bool) -> Result<Self, StartError> {
        let (tell, exit) = watch::channel(None);
        let (near, far) = wants_stdin.then(|| tokio::io::duplex(STDIN_BYTES)).unzip();
        let cancel = CancellationToken::new();
        let meter = Arc::clone(&guest.meter);
        let (task_code, task_guest) = (Arc::clone(&command.code), Arc::clone(&guest));
        let work = async move { run_program(&task_code, task_guest, far.map(AsyncStdinStream::new), None).await };
        let tell = move |outcome| {
            let _ = tell.send(Some(match outcome {
                Outcome::Killed => KILLED,
                Outcome::Done(returned) => exit_of(returned, &guest),
            }));
        };
        let thread = Alone::start(command, cancel.clone(), work, tell)?;
        Ok(Self { exit, stdin: parking_lot::Mutex::new(near), cancel, place: Place::Alone { thread, meter } })
    }

    /// A process of its own, which `work` starts, looks after until its end, and kills when told to.
    pub(crate) fn outside<F: Future<Output = Exit> + Send + 'static>(
        background: &tokio::runtime::Handle,
        outside: Arc<Outside>,
        wants_stdin: bool,
        work: impl FnOnce(Told) -> F,
    ) -> Self {
        let (tell, exit) = watch::channel(None);
        let (near, stdin) = wants_stdin.then(|| tokio::io::duplex(STDIN_BYTES)).unzip();
        let cancel = CancellationToken::new();
        let work = work(Told { stop: cancel.clone(), stdin });
        background.spawn(async move {
            let exit = work.await;
            let _ = tell.send(Some(exit));
        });
        Self { exit, stdin: parking_lot::Mutex::new(near), cancel, place: Place::Outside(outside) }
    }

    /// Waits for the end. Any number of callers may wait, and may come late.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(KILLED),
            // The runtime went away, and the guest with it, or its task panicked.
            Err(_) if self.cancel.is_cancelled() => KILLED,
            Err(_) => Exit { code: 134, reason: ExitReason::Trap("the guest's task was lost".into()) },
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Ends it within milliseconds, whatever it is doing. Killing an ended process does nothing.
    pub fn kill(&self) {
        self.cancel.cancel();
        if let Place::Inside { code, .. } = &self.place {
            code.core.ticker.tick_now();
        }
    }

    /// Whether it has a thread of its own, and can have no less than a core.
    pub fn is_alone(&self) -> bool {
        matches!(self.place, Place::Alone { .. })
    }

    /// Holds it to other limits from now on: a share of a core in thousandths, and bytes of memory; `None` for no bound. A
    /// limit on memory below what it uses now is not taken, nor is less than a core where it has a thread of its own; nor is
    /// then the other: false.
    pub fn limit(&self, cpu_millis: Option<u32>, memory_bytes: Option<u64>) -> bool {
        match &self.place {
            Place::Inside { meter, .. } => meter.limit(cpu_millis, memory_bytes),
            Place::Alone { meter, .. } => {
                cpu_millis.is_none_or(own::is_never_held) && meter.limit(cpu_millis, memory_bytes)
            }
            Place::Outside(it) => it.limit(cpu_millis, memory_bytes),
        }
    }

    /// What it has used so far.
    pub fn stats(&self) -> ProcessStats {
        let (meter, cpu) = match &self.place {
            Place::Inside { meter, .. } => (meter, meter.cpu()),
            Place::Alone { thread, meter } => (meter, thread.used()),
            Place::Outside(it) => return it.stats(),
        };
        let (received_bytes, sent_bytes) = meter.traffic();
        let (memory_bytes, memory_peak_bytes) = (meter.memory_bytes(), meter.memory_peak_bytes());
        ProcessStats { cpu, memory_bytes, memory_peak_bytes, received_bytes, sent_bytes }
    }

    /// The writing end of its standard input, once, when its spec asked for one.
    pub fn take_stdin(&self) -> Option<Stdin> {
        self.stdin.lock().take()
    }
}

pub(crate) const KILLED: Exit = Exit { code: 137, reason: ExitReason::Killed };

impl Drop for Process {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("exit", &self.exit()).finish_non_exhaustive()
    }
}

async fn run(code: Arc<Code>, guest: Arc<Guest>, stdin: Option<Stdin>) -> Exit {
    exit_of(run_program(&code, Arc::clone(&guest), stdin.map(AsyncStdinStream::new), None).await, &guest)
}

/// How a command ended that was not killed.
fn exit_of(returned: wasmtime::Result<i32>, guest: &Guest) -> Exit {
    match returned {
        Ok(code) => Exit { code, reason: ExitReason::Completed },
        Err(error) => explain(&error, guest),
    }
}

/// Runs a command in a fresh instance to its end; an invocation has an environment and output of its own.
pub(crate) async fn run_program(
    code: &Code,
    guest: Arc<Guest>,
    stdin: Option<AsyncStdinStream>,
    invocation: Option<Box<Invocation>>,
) -> wasmtime::Result<i32> {
    match &code.linked {
        Linked::Command(pre) => run_component(pre, guest, stdin, invocation).await,
        Linked::Module(pre) => run_module(pre, &guest, stdin, invocation).await,
        Linked::ConcurrentCommand(pre) => {
            let mut state = State::new(guest, stdin, task(invocation.as_deref()));
            state.invocation = invocation;
            p3::run(pre, state).await
        }
        Linked::Http(_) | Linked::Service(_) => Err(wasmtime::format_err!("a wasi:http component is no command")),
    }
}

/// What an instance is made for that has `invocation`, if it has one.
fn task(invocation: Option<&Invocation>) -> Task {
    invocation.map_or(Task::Command, |_| Task::Request)
}

async fn run_component(
    pre: &CommandPre<State>,
    guest: Arc<Guest>,
    stdin: Option<AsyncStdinStream>,
    invocation: Option<Box<Invocation>>,
) -> wasmtime::Result<i32> {
    let mut state = State::new(guest, stdin, task(invocation.as_deref()));
    state.invocation = invocation;
    let mut store = new_store(pre.engine(), state);
    store.limiter_async(|it| &mut it.limits);
    store.set_hostcall_fuel(CALL_BYTES_MAX);
    let command = pre.instantiate_async(&mut store).await?;
    let returned = command.wasi_cli_run().call_run(&mut store).await?;
    Ok(if returned.is_ok() { 0 } else { 1 })
}

async fn run_module(
    pre: &wasmtime::InstancePre<ModuleState>,
    guest: &Arc<Guest>,
    stdin: Option<AsyncStdinStream>,
    invocation: Option<Box<Invocation>>,
) -> wasmtime::Result<i32> {
    if files::are_seen_by(pre.module()) {
        guest.files.complete(|why| guest.say(why)).await;
    }
    let task = task(invocation.as_deref());
    let mut builder = WasiCtxBuilder::new();
    builder.args(&guest.args).stderr(guest.output(LogStream::Stderr)).max_random_size(random::BYTES_MAX);
    match invocation {
        None => drop(builder.envs(&guest.env).stdout(guest.output(LogStream::Stdout))),
        Some(own) => {
            builder.envs(&own.env).stdout(own.stdout);
            if let Some(stderr) = own.stderr {
                builder.stderr(stderr);
            }
        }
    }
    if let Some(stdin) = stdin {
        builder.stdin(stdin);
    }
    let mut wasi = builder.build_p1();
    let view = wasmtime_wasi::WasiView::ctx(&mut wasi);
    view.table.set_max_capacity(task.resources_max());
    *view.ctx.filesystem() = guest.files.context().clone();
    let mut store =
        new_store(pre.module().engine(), ModuleState { wasi, open: Open::new(task), limits: Limits::new(guest) });
    store.limiter_async(|it| &mut it.limits);
    let instance = pre.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call_async(&mut store, ()).await?;
    Ok(0)
}

pub(crate) fn new_store<T: Send + 'static>(engine: &Engine, state: T) -> Store<T> {
    let mut store = Store::new(engine, state);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

fn explain(error: &wasmtime::Error, guest: &Guest) -> Exit {
    match Ending::new(error) {
        Ending::Exit(code) => Exit { code, reason: ExitReason::Completed },
        Ending::OutOfMemory(why) => {
            guest.say(&why);
            Exit { code: 137, reason: ExitReason::OutOfMemory }
        }
        Ending::NoRoom(why) => trapped(guest, &why, ""),
        Ending::Trap { message, backtrace } => trapped(guest, &message, &backtrace),
    }
}

fn trapped(guest: &Guest, message: &str, backtrace: &str) -> Exit {
    guest.say(&format!("{message}\n{backtrace}"));
    Exit { code: 134, reason: ExitReason::Trap(message.to_owned()) }
}
