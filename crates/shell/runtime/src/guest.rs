//! What all instances of one guest share, prepared once from its [`GuestSpec`].

use std::sync::{Arc, atomic::AtomicUsize};

use eyot_bucket::Tenant;
use eyot_dispatch::{Caller, Outbound};
use wasmtime_wasi::sockets::WasiSocketsCtx;

use crate::{
    GuestSpec, LogSink, LogStream, StartError, epoch::Ticker, files::Files, meter::Meter, net::Net, output::Output,
    reuse::Keep, runtime::Core,
};

/// A guest's arguments, files, limits and surroundings.
pub(crate) struct Guest {
    pub(crate) args: Vec<String>,
    /// Shared with every instance that asks: copying it would cost a request as much as answering it.
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) files: Files,
    pub(crate) sockets: WasiSocketsCtx,
    pub(crate) net: Net,
    pub(crate) caller: Caller,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) buckets: Option<Arc<Tenant>>,
    pub(crate) log: Arc<dyn LogSink>,
    pub(crate) meter: Arc<Meter>,
    /// Interrupts its turns.
    pub(crate) ticker: Ticker,
    /// Outgoing requests under way.
    pub(crate) outgoing: Arc<AtomicUsize>,
    /// Contents of objects that are being read or written.
    pub(crate) contents: Arc<AtomicUsize>,
    /// Bytes that calls which are under way hold on the host: those of WASI 0.3, and listings of preview 1.
    pub(crate) held: Arc<AtomicUsize>,
    /// Files and sockets that are open, and what else its instances have as they have those.
    pub(crate) open: Arc<AtomicUsize>,
    /// Directories that are being read.
    pub(crate) listings: Arc<AtomicUsize>,
    /// Bytes that headers hold on the host.
    pub(crate) fields: Arc<AtomicUsize>,
    /// Its idle instances, where they are reused. They hold this guest: whoever ends it closes this.
    pub(crate) keep: Option<Arc<Keep>>,
}

impl Guest {
    /// Opens the mounts of `spec` and checks what WASI can pass.
    pub(crate) fn new(spec: GuestSpec, core: &Core) -> Result<Self, StartError> {
        check_strings(&spec)?;
        let net = Net::new(spec.ip, spec.names, spec.caller.clone(), spec.allowed_hosts, core.lookups.clone());
        Ok(Self {
            args: spec.args,
            env: spec.env.into(),
            files: Files::open(spec.mounts, spec.late_mounts)?,
            sockets: net.context(&spec.log),
            net,
            caller: spec.caller,
            outbound: spec.outbound,
            buckets: spec.buckets,
            log: spec.log,
            meter: Arc::new(Meter::new(spec.cpu_millis, spec.memory_bytes)),
            ticker: core.ticker.clone(),
            outgoing: Arc::default(),
            contents: Arc::default(),
            held: Arc::default(),
            open: Arc::default(),
            listings: Arc::default(),
            fields: Arc::default(),
            keep: None,
        })
    }

    /// One of its output streams.
    pub(crate) fn output(&self, stream: LogStream) -> Output {
        Output::new(Arc::clone(&self.log), stream)
    }

    /// Says something about the guest in its own log.
    pub(crate) fn say(&self, text: &str) {
        self.output(LogStream::Stderr).put(format!("{}\n", text.trim_end()).as_bytes());
    }
}

/// Checks what no system can pass to a program.
pub(crate) fn check_strings(spec: &GuestSpec) -> Result<(), StartError> {
    let bad = |what: String| Err(StartError::Invalid(what));
    if let Some(index) = spec.args.iter().position(|it| it.contains('\0')) {
        return bad(format!("argument {index} holds a NUL character"));
    }
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return bad(format!("environment variable {name:?} has an empty name, an = in it, or a NUL character"));
        }
    }
    Ok(())
}
