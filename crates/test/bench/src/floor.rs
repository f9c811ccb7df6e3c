//! The same components on wasmtime alone: no admission, limits, metering, deadline, moving, log or trap report.
//!
//! What is left of a call then is wasmtime's and the machine's; the difference is Eyot's. Start at [`run`]; [`crate::bare`] puts it
//! behind a socket.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use eyot_dispatch::{Body, BoxError};
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::BodyExt;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2::bindings::{ProxyPre, http::types::Scheme},
};

use crate::runtime::{histogram, nanos};

/// Environment variables.
pub(crate) type Environment = &'static [(&'static str, &'static str)];

/// What a pod of the samples has: its own variable, and those that every pod has. Each instance is handed all of them.
pub(crate) const POD: Environment = &[
    ("POD_NAME", "hello-5c8ff5d7d4-2kqxz"),
    ("HOSTNAME", "hello-5c8ff5d7d4-2kqxz"),
    ("KUBERNETES_SERVICE_HOST", "10.43.0.1"),
    ("KUBERNETES_SERVICE_PORT", "443"),
    ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
    ("KUBERNETES_PORT", "tcp://10.43.0.1:443"),
    ("KUBERNETES_PORT_443_TCP", "tcp://10.43.0.1:443"),
    ("KUBERNETES_PORT_443_TCP_PROTO", "tcp"),
    ("KUBERNETES_PORT_443_TCP_PORT", "443"),
    ("KUBERNETES_PORT_443_TCP_ADDR", "10.43.0.1"),
];

/// Instances the pool has room for; one is used at a time, behind sockets one for each connection.
const INSTANCES: u32 = 64;

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

/// Sends nothing.
struct Hooks;

type Work = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(Response<WasiBody>, Work), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(&mut self, _: Request<WasiBody>, _: Option<RequestOptions>, _: Work) -> Sent {
        Box::new(async { Err(Error::ConnectionRefused) })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// A component that is ready to be called.
pub(crate) struct Floor {
    engine: Engine,
    pre: ProxyPre<State>,
    environment: Environment,
}

impl Floor {
    /// Compiles the component in `file`, whose instances have this environment.
    pub(crate) fn new(file: &Path, environment: Environment) -> Result<Floor> {
        let engine = Engine::new(&config()).map_err(said).context("making an engine")?;
        let component = Component::from_file(&engine, file).map_err(said).context("compiling")?;
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(said)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).map_err(said)?;
        let pre = ProxyPre::new(linker.instantiate_pre(&component).map_err(said)?).map_err(said)?;
        Ok(Floor { engine, pre, environment })
    }

    /// What a fresh instance answers. It is gone by then, so that what it did not write is lost: enough for the samples.
    pub(crate) async fn call<B>(&self, request: Request<B>) -> wasmtime::Result<Response<WasiBody>>
    where
        B: hyper::body::Body<Data = Bytes, Error = Error> + Send + 'static,
    {
        let wasi = WasiCtxBuilder::new().envs(self.environment).build();
        let state = State { table: ResourceTable::new(), wasi, http: WasiHttpCtx::new(), hooks: Hooks };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(1 << 40);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let (tell, told) = tokio::sync::oneshot::channel();
        let outparam = store.data_mut().http().new_response_outparam(tell)?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, outparam).await?;
        told.await?.map_err(|code| wasmtime::format_err!("answered with {code:?}"))
    }
}

/// Calls the component in `file`, a fresh instance each time.
pub(crate) async fn run(file: &Path, count: u64) -> Result<Histogram<u64>> {
    let floor = Floor::new(file, &[])?;
    let mut times = histogram();
    for index in 0..count + count / 10 {
        let started = Instant::now();
        once(&floor).await.map_err(said).context("calling")?;
        if index >= count / 10 {
            times.saturating_record(nanos(started.elapsed()));
        }
    }
    Ok(times)
}

async fn once(floor: &Floor) -> wasmtime::Result<()> {
    let failed: fn(BoxError) -> Error = |error| Error::InternalError(Some(error.to_string()));
    let body: Body = eyot_dispatch::empty();
    let request = Request::get("http://bench.test/").header("host", "bench.test").body(body.map_err(failed))?;
    let response = floor.call(request).await?;
    response.into_body().collect().await.map_err(|error| wasmtime::format_err!("{error}"))?;
    Ok(())
}

pub(crate) fn said(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// Pool and interruption as the node has them.
fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 3)
        .total_stacks(INSTANCES)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_tables_per_module(4)
        .table_elements(32_768)
        .linear_memory_keep_resident(384 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config.epoch_interruption(true).concurrency_support(false).native_unwind_info(false);
    config
}
