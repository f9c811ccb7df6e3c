//! What a guest is started with: arguments, environment, mounts, limits, and where its output goes.

use std::{fmt, net::IpAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use eyot_bucket::Tenant;
pub use eyot_dispatch::Names;
use eyot_dispatch::{Caller, Outbound};
use futures::future::BoxFuture;

use crate::{AllowedHosts, PerRequest, Reuse};

/// Everything a guest is given besides its code. Start from [`GuestSpec::new`].
#[derive(Clone)]
pub struct GuestSpec {
    /// Arguments; the first is the program's name.
    pub args: Vec<String>,
    /// Environment variables, in order.
    pub env: Vec<(String, String)>,
    /// Host directories the guest can open.
    pub mounts: Vec<Mount>,
    /// Makes further directories when an instance first asks for any.
    pub late_mounts: Option<Arc<dyn LateMounts>>,
    /// Most bytes of linear memory of all its instances together, `None` for what the runtime's pool allows each. A request
    /// that finds no room for its instance is refused as overloaded; an instance that asks for more ends out of memory.
    pub memory_bytes: Option<u64>,
    /// Share of one core in thousandths, `None` for no bound.
    pub cpu_millis: Option<u32>,
    /// The only address the guest's sockets may bind; `None` refuses every bind.
    pub ip: Option<IpAddr>,
    /// Who its outgoing requests are sent as.
    pub caller: Caller,
    /// Carries its outgoing `wasi:http` requests.
    pub outbound: Arc<dyn Outbound>,
    /// The only hosts it may connect to; `None` for wherever policies let it.
    pub allowed_hosts: Option<Arc<AllowedHosts>>,
    /// Takes its standard output and error.
    pub log: Arc<dyn LogSink>,
    /// Longest time until a response begins, and between being asked for the next piece of its body and giving it.
    /// Commands ignore it.
    pub request_deadline: Duration,
    /// Most requests inside a `wasi:http` guest at once; the next is refused as overloaded. Commands ignore it.
    pub requests_max: u32,
    /// Cluster names and Service addresses for the guest's sockets, besides what the host resolves.
    pub names: Option<Arc<dyn Names>>,
    /// What its `wasi:keyvalue` buckets and `wasi:blobstore` containers are kept in; `None` denies it access to any.
    pub buckets: Option<Arc<Tenant>>,
    /// Has instances of a `wasi:http` guest answer several requests, one after another; `None` for one each. Commands ignore it.
    pub reuse: Option<Reuse>,
    /// Serves a command: how it answers. `None` for a command that is spawned, and for what answers by itself.
    pub per_request: Option<PerRequest>,
    /// Whether a command's standard input can be written with [`crate::Process::take_stdin`]; else it is empty.
    pub stdin: bool,
}

impl GuestSpec {
    /// A guest with no arguments, mounts or limits.
    pub fn new(caller: Caller, outbound: Arc<dyn Outbound>, log: Arc<dyn LogSink>) -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            late_mounts: None,
            memory_bytes: None,
            cpu_millis: None,
            ip: None,
            caller,
            outbound,
            allowed_hosts: None,
            log,
            request_deadline: Duration::from_secs(60),
            requests_max: 256,
            names: None,
            buckets: None,
            reuse: None,
            per_request: None,
            stdin: false,
        }
    }
}

impl fmt::Debug for GuestSpec {
    /// Leaves out the environment and arguments, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestSpec")
            .field("caller", &self.caller)
            .field("mounts", &self.mounts)
            .field("memory_bytes", &self.memory_bytes)
            .field("cpu_millis", &self.cpu_millis)
            .field("ip", &self.ip)
            .finish_non_exhaustive()
    }
}

/// One host directory shown to a guest.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Directory on the host; it must exist when the guest starts.
    pub host: PathBuf,
    /// The directory itself, where guests could put another or a link in its place: `host` is only its name then.
    pub held: Option<Arc<OwnedFd>>,
    /// Absolute path the guest sees it under.
    pub guest: String,
    /// Whether writes through it are refused.
    pub read_only: bool,
}

/// Makes directories that most guests never look at.
pub trait LateMounts: Send + Sync + 'static {
    /// The directories, which exist then. `None` when they cannot be had now: the instance goes on without, and the next
    /// one asks again, maybe at once. Asked by one instance at a time; whoever waits must not wait long, and may give up.
    fn mounts(self: Arc<Self>) -> BoxFuture<'static, Option<Vec<Mount>>>;
}

/// Which of a guest's two output streams bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error, and what the runtime says about the guest (trap messages).
    Stderr,
}

/// Takes what a guest prints.
pub trait LogSink: Send + Sync + 'static {
    /// Takes some bytes of one stream: not necessarily whole lines or whole characters, at most 64 KiB at once. The guest
    /// waits meanwhile, so a slow sink slows a flood down; it must not wait for ever.
    fn write(&self, stream: LogStream, bytes: &[u8]);

    /// `None` while it takes more. Otherwise what the guest waits for before it prints again: it waits without a thread, so
    /// that may take as long as a slow reader takes.
    fn ready(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
}
