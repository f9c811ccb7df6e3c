//! What a store holds for one instance, and the limits on its memory.

use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use wasmtime::{ResourceLimiterAsync, component::ResourceTable};
use wasmtime_wasi::{
    WasiCtxBuilder, WasiView,
    cli::{AsyncStdinStream, IsTerminal, StdinStream, WasiCliCtx, WasiCliCtxView},
    clocks::{WasiClocksCtx, WasiClocksCtxView},
    filesystem::{WasiFilesystemCtx, WasiFilesystemCtxView},
    p1::WasiP1Ctx,
    p2::DynInputStream,
    random::WasiRandomCtx,
    sockets::{WasiSocketsCtx, WasiSocketsCtxView},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    LogStream,
    cgi::Invocation,
    fields::{FIELDS_BYTES_MAX, Fields},
    foreground,
    guest::Guest,
    open::{self, Open},
    outgoing::Hooks,
};

/// Most resources (streams, bodies, sockets, descriptors) that a command may hold at once.
pub(crate) const RESOURCES_MAX: usize = 16_384;

/// Most that an instance may hold which answers a request: enough for all the outgoing requests that a guest may have under way.
const REQUEST_RESOURCES_MAX: usize = 2_048;

/// What an instance is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// To answer a request; there may be a thousand of them.
    Request,
    /// To run until it ends.
    Command,
}

impl Task {
    /// Most resources that an instance for it may hold at once.
    pub(crate) fn resources_max(self) -> usize {
        self.share(open::files_max())
    }

    /// Each resource may be a file or a socket of the node's process: the 256 requests that a pod may have inside hold half of
    /// them at most, and a command a sixteenth, where there are as many as usual.
    fn share(self, open_files: usize) -> usize {
        const LEAST: usize = 256;
        match self {
            Task::Request => (open_files / 512).clamp(LEAST, REQUEST_RESOURCES_MAX),
            Task::Command => (open_files / 16).clamp(LEAST, RESOURCES_MAX),
        }
    }
}

/// Most bytes that a component may hand over in one call: they are copied, and not counted with its memory.
pub(crate) const CALL_BYTES_MAX: usize = 16 << 20;

/// Most elements one table may have.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// Elements that all tables of an instance may have before they count as memory: more than most programs have functions.
const TABLE_ELEMENTS_FREE: u64 = 32_768;

/// Most core instances that one instance may consist of.
pub(crate) const CORE_INSTANCES_MAX: u32 = 1_000;

/// What an element costs the host.
const ELEMENT_BYTES: u64 = 8;

/// An instance of a component. What a request does not use is never made.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) open: Open,
    pub(crate) stdin: Option<Input>,
    /// What one request to a command has of its own.
    pub(crate) invocation: Option<Box<Invocation>>,
    /// Bodies of WASI 0.3 that it took to read.
    pub(crate) bodies_taken: u32,
    /// And those that it gave.
    pub(crate) bodies_given: u32,
    pub(crate) fields: Fields,
    hooks: Hooks,
    http: WasiHttpCtx,
    cli: WasiCliCtx,
    /// Arguments, environment and streams once more, as WASI 0.3 wants them.
    whole_cli: Option<Box<WasiCliCtx>>,
    clocks: Option<WasiClocksCtx>,
    random: Option<WasiRandomCtx>,
    files: Option<WasiFilesystemCtx>,
    sockets: Option<WasiSocketsCtx>,
}

impl State {
    pub(crate) fn new(guest: Arc<Guest>, stdin: Option<AsyncStdinStream>, task: Task) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(task.resources_max());
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            table,
            limits: Limits::new(&guest),
            open: Open::new(task),
            stdin: stdin.map(|it| Input(Arc::new(it))),
            invocation: None,
            bodies_taken: 0,
            bodies_given: 0,
            fields: Fields::default(),
            hooks: Hooks::new(guest),
            http,
            cli: WasiCliCtx::default(),
            whole_cli: None,
            clocks: None,
            random: None,
            files: None,
            sockets: None,
        }
    }

    /// Gets ready for another request.
    pub(crate) fn begin(&mut self) {
        (self.bodies_taken, self.bodies_given) = (0, 0);
        self.settle_fields();
        self.hooks.begin();
    }

    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.hooks.guest
    }

    pub(crate) fn cli(&mut self) -> WasiCliCtxView<'_> {
        WasiCliCtxView { ctx: &mut self.cli, table: &mut self.table }
    }

    /// With arguments, environment and streams, which [`State::cli`] has not.
    pub(crate) fn whole_cli(&mut self) -> WasiCliCtxView<'_> {
        let (guest, stdin, invocation) = (&self.hooks.guest, &self.stdin, &self.invocation);
        let ctx = self.whole_cli.get_or_insert_with(|| {
            let mut builder = WasiCtxBuilder::new();
            builder.args(&guest.args).stderr(guest.output(LogStream::Stderr));
            match invocation {
                None => drop(builder.envs(&guest.env).stdout(guest.output(LogStream::Stdout))),
                Some(own) => {
                    builder.envs(&own.env).stdout(own.stdout.clone());
                    if let Some(stderr) = &own.stderr {
                        builder.stderr(stderr.clone());
                    }
                }
            }
            if let Some(stdin) = stdin {
                builder.stdin(stdin.clone());
            }
            Box::new(std::mem::take(builder.build().cli()))
        });
        WasiCliCtxView { ctx, table: &mut self.table }
    }

    pub(crate) fn clocks(&mut self) -> WasiClocksCtxView<'_> {
        WasiClocksCtxView { ctx: self.clocks.get_or_insert_default(), table: &mut self.table }
    }

    pub(crate) fn random(&mut self) -> &mut WasiRandomCtx {
        self.random.get_or_insert_default()
    }

    pub(crate) fn files(&mut self) -> WasiFilesystemCtxView<'_> {
        self.open.call(&self.hooks.guest, &mut self.table);
        let ctx = self.files.get_or_insert_with(|| self.hooks.guest.files.context().clone());
        WasiFilesystemCtxView { ctx, table: &mut self.table }
    }

    /// Its directories once more, with those that came since.
    pub(crate) fn all_files(&mut self) -> WasiFilesystemCtxView<'_> {
        self.files = None;
        self.files()
    }

    pub(crate) fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        self.open.call(&self.hooks.guest, &mut self.table);
        let ctx = self.sockets.get_or_insert_with(|| self.hooks.guest.sockets.clone());
        WasiSocketsCtxView { ctx, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Standard input, which every stream that a guest makes of it reads on.
#[derive(Clone)]
pub(crate) struct Input(Arc<AsyncStdinStream>);

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        self.0.async_stream()
    }

    fn p2_stream(&self) -> DynInputStream {
        self.0.p2_stream()
    }
}

/// An instance of a preview-1 module.
pub(crate) struct ModuleState {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) open: Open,
    pub(crate) limits: Limits,
}

impl ModuleState {
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        self.open.call(&self.limits.guest, WasiView::ctx(&mut self.wasi).table);
        &mut self.wasi
    }
}

/// Holds one instance to its guest's memory limit, which all instances of the guest share, and counts what it has. One that
/// comes to have much leaves the threads that serve before it touches it.
pub(crate) struct Limits {
    guest: Arc<Guest>,
    /// Of its memories, and of tables beyond what is free.
    memory_bytes: u64,
    /// Of those, how many it has gained since it began.
    grown_bytes: u64,
    table_elements: u64,
}

/// The guest asked for more memory than its limit.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {limit} bytes exceeded: {asked} bytes asked for")]
pub(crate) struct MemoryExceeded {
    limit: u64,
    asked: u64,
}

/// The guest's other instances leave too little of its memory limit for another one to start.
#[derive(Debug, thiserror::Error)]
#[error("other requests take up the memory limit of {limit} bytes")]
pub(crate) struct MemoryTaken {
    limit: u64,
}

impl Limits {
    pub(crate) fn new(guest: &Arc<Guest>) -> Self {
        Self { guest: Arc::clone(guest), memory_bytes: 0, grown_bytes: 0, table_elements: 0 }
    }

    pub(crate) fn guest(&self) -> &Arc<Guest> {
        &self.guest
    }

    /// Whether it has so much memory that no thread that serves should touch it.
    fn are_heavy(&self) -> bool {
        foreground::is_heavy(self.memory_bytes, self.grown_bytes, &self.guest.meter.trust)
    }

    /// The instance begins anew: what it has is old now. One with much goes on elsewhere than on a thread that serves.
    pub(crate) async fn begin(&mut self) {
        self.grown_bytes = 0;
        if self.are_heavy() {
            foreground::leave().await;
        }
    }

    /// Counts `by` more bytes for an instance that runs, or one that `is_new` and has not run yet.
    fn charge(&mut self, by: u64, is_new: bool) -> wasmtime::Result<()> {
        let asked = self.memory_bytes.saturating_add(by);
        let limit = self.guest.meter.memory_bytes_max();
        if asked <= limit && self.take_room(by, asked, limit) {
            self.memory_bytes = asked;
            return Ok(());
        }
        if asked <= limit && is_new {
            // Not its fault, and another time or place may do.
            return Err(MemoryTaken { limit }.into());
        }
        let asked = asked.max(self.guest.meter.memory_bytes().saturating_add(by));
        Err(MemoryExceeded { limit, asked }.into())
    }

    /// Counts `by` more bytes of memory. Idle instances of the guest make room.
    fn take_room(&self, by: u64, asked: u64, limit: u64) -> bool {
        loop {
            if self.guest.meter.grow_memory(by, asked, limit) {
                return true;
            }
            if !self.guest.keep.as_ref().is_some_and(|it| it.give_up(|_| true)) {
                return false;
            }
        }
    }

    /// Takes the memory that the instance asks for, if it may have it.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|it| desired > it) {
            // The module's own maximum: growing fails as the guest expects.
            return Ok(false);
        }
        let by = desired.saturating_sub(current) as u64;
        self.charge(by, current == 0)?;
        if current > 0 {
            self.grown_bytes += by;
        }
        Ok(true)
    }

    /// Lets a table grow, if it may: what all tables have beyond what is free counts as memory.
    fn grow_table(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > maximum.unwrap_or(usize::MAX).min(TABLE_ELEMENTS_MAX) {
            return Ok(false);
        }
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current) as u64);
        let counted = |elements: u64| elements.saturating_sub(TABLE_ELEMENTS_FREE).saturating_mul(ELEMENT_BYTES);
        let by = counted(elements) - counted(self.table_elements);
        if by > 0 {
            self.charge(by, current == 0)?;
        }
        self.table_elements = elements;
        Ok(true)
    }
}

/// That a guest may grow. Of no size, so that boxing it costs nothing.
struct Granted;

impl Future for Granted {
    type Output = wasmtime::Result<bool>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<wasmtime::Result<bool>> {
        Poll::Ready(Ok(true))
    }
}

/// What `async fn` returns in a trait of wasmtime's.
type Growing<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<bool>> + Send + 'a>>;

// Its functions are asked at every start of an instance. Written out, they allocate nothing where there is nothing to wait for.
impl ResourceLimiterAsync for Limits {
    fn memory_growing<'a, 'async_trait>(
        &'a mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Growing<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        match self.grow(current, desired, maximum) {
            Ok(true) if self.are_heavy() => Box::pin(async {
                foreground::leave().await;
                Ok(true)
            }),
            Ok(true) => Box::pin(Granted),
            refused => Box::pin(ready(refused)),
        }
    }

    fn table_growing<'a, 'async_trait>(
        &'a mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Growing<'async_trait>
    where
        'a: 'async_trait,
        Self: 'async_trait,
    {
        match self.grow_table(current, desired, maximum) {
            Ok(true) => Box::pin(Granted),
            refused => Box::pin(ready(refused)),
        }
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        1_000
    }

    fn memories(&self) -> usize {
        100
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.guest.meter.memory_released(self.memory_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_commands_leave_files_for_the_node() {
        let usual = 1 << 20;
        assert_eq!((Task::Request.share(usual), Task::Command.share(usual)), (2_048, 16_384));
        assert_eq!(256 * Task::Request.share(usual), usual / 2);
        assert_eq!((Task::Request.share(65_536), Task::Command.share(65_536)), (256, 4_096));
        assert_eq!((Task::Request.share(1_024), Task::Command.share(1_024)), (256, 256));
    }
}
