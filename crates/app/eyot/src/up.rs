//! `eyot up`: control plane, node, gateway and registry in one process.
//!
//! Order matters twice. At start the listeners come first, so that a taken port is told before anything else happens,
//! and the `ready` line last. At the end requests drain first and the store closes last.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use eyot_apiserver::{ApiServer, Identity, pki};
use eyot_audit::Violations;
use eyot_controllers::Controllers;
use eyot_dispatch::{Endpoints, Loads, Lookups};
use eyot_gatekeeper::Gatekeeper;
use eyot_gateway::Gateway;
use eyot_kyverno::Kyverno;
use eyot_meter::Meters;
use eyot_node::{Node, NodeConfig};
use eyot_opa::Opa;
use eyot_registry::{Blobs, Images, ImagesConfig, Registry};
use eyot_runtime::{Runtime, RuntimeConfig};
use eyot_serving::object::Site;
use eyot_store::Store;
use kube::Client;
use rustix::process::{Resource, getrlimit};
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    flags::{Config, UpFlags},
    manifests, memory, openfaas, policies, publish, telemetry, turns,
};

/// By how much the threads that keep objects give way to those that serve requests, as `nice` counts: a Deployment that goes
/// to hundreds of pods is not to be felt by who asks another.
const GIVES_WAY: i32 = 2;

/// How long the turns are of threads that serve requests, a few answers, and of those that keep objects: the former need not wait
/// until the latter have had theirs.
const REQUESTS_TURN: Duration = Duration::from_micros(500);
const OBJECTS_TURN: Duration = Duration::from_millis(3);

/// Runs a node until SIGTERM or SIGINT.
pub(crate) fn run(flags: UpFlags) -> Result<()> {
    let began = Instant::now();
    telemetry::init(flags.log_format);
    let config = Config::try_from(flags)?;
    let usual = rustix::process::getpriority_process(None).unwrap_or_default();
    tokio::runtime::Builder::new_multi_thread()
        // Set and not added: a thread begins with the priority of the one that started it.
        .on_thread_start(move || {
            let _ = rustix::process::setpriority_process(None, usual + GIVES_WAY);
            turns::last(OBJECTS_TURN);
        })
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(up(config, began))
}

async fn up(config: Config, began: Instant) -> Result<()> {
    let listeners = Listeners::bind(&config).await?;
    let island = Island::raise(&config, &listeners).await?;
    let store = island.store.clone();
    let (stop_http, stop) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    let ready = island.start(&config, listeners, &stop_http, &stop, &mut tasks).await;
    let ended = match ready {
        Ok(line) => {
            println!("{line} ms={}", began.elapsed().as_millis());
            memory::give_back();
            tokio::select! {
                signal = terminated() => { tracing::info!("{signal}: draining"); Ok(()) }
                Some(ended) = tasks.join_next() => flat(ended),
            }
        }
        Err(error) => {
            stop.cancel();
            Err(error)
        }
    };
    // Requests end first; that stops the rest, on which they depend.
    stop_http.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = flat(ended) {
            tracing::error!("while stopping: {error:#}");
        }
    }
    store.close().await;
    ended
}

fn flat(ended: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.context("a part of the node ended unexpectedly").and_then(|it| it)
}

/// The sockets, bound before anything else is touched.
struct Listeners {
    api: (TcpListener, SocketAddr),
    /// One for each core: connections then stay on theirs.
    http: (Vec<TcpListener>, SocketAddr),
    registry: (TcpListener, SocketAddr),
    opa: Option<(TcpListener, SocketAddr)>,
    openfaas: Option<(TcpListener, SocketAddr)>,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Listeners> {
        Ok(Listeners {
            api: bind("--api-listen", config.api_listen).await?,
            http: bind_http(config.http_listen)?,
            registry: bind("--registry-listen", config.registry_listen).await?,
            opa: match config.opa_listen {
                Some(address) => Some(bind("--opa-listen", address).await?),
                None => None,
            },
            openfaas: match config.openfaas_listen {
                Some(address) => Some(bind("--openfaas-listen", address).await?),
                None => None,
            },
        })
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| taken(flag, address))?;
    let address = listener.local_addr().with_context(|| taken(flag, address))?;
    Ok((listener, address))
}

fn bind_http(address: SocketAddr) -> Result<(Vec<TcpListener>, SocketAddr)> {
    const FLAG: &str = "--http-listen";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = eyot_gateway::bind(address, cores).map_err(|error| error.source);
    let listeners = bound.with_context(|| taken(FLAG, address))?;
    let address = listeners[0].local_addr().with_context(|| taken(FLAG, address))?;
    Ok((listeners, address))
}

fn taken(flag: &str, address: SocketAddr) -> String {
    format!("{flag} {address}: cannot listen there; free the port or choose another")
}

/// The parts of a node, built and joined but not running.
struct Island {
    store: Store,
    api: ApiServer,
    kyverno: Arc<Kyverno>,
    tls: pki::Tls,
    kubeconfig: PathBuf,
    registry: Registry,
    controllers: Controllers,
    gateway: Arc<Gateway>,
    loads: Arc<Loads>,
    node: Node,
    opa: Opa,
    audit: Violations,
}

impl Island {
    async fn raise(config: &Config, listeners: &Listeners) -> Result<Island> {
        let dir = &config.data_dir;
        let (api_address, http_address, registry_address) = (listeners.api.1, listeners.http.1, listeners.registry.1);
        let store = Store::open(dir, eyot_store::Options::new(eyot_apiserver::attributes))
            .with_context(|| format!("--data-dir {}", dir.display()))?;
        let server = eyot_apiserver::Config { service_cidr: config.service_cidr, api_port: api_address.port() };
        let gatekeeper = Arc::new(Gatekeeper::new());
        let kyverno = Arc::new(Kyverno::with(config.kyverno.clone()));
        let blobs = Blobs::open(dir.join("oci")).context("opening the image store")?;
        let port = registry_address.port();
        let own_hosts = [format!("localhost:{port}"), format!("127.0.0.1:{port}"), registry_address.to_string()];
        let images = Images::new(blobs.clone(), ImagesConfig::new(own_hosts));
        // Guests' own threads for what blocks are few.
        let lookups = Arc::new(Lookups::on(Handle::current()));
        let runtime_config = RuntimeConfig { lookups: lookups.clone(), ..RuntimeConfig::new(dir.join("cache")) };
        let runtime = Runtime::new(runtime_config).context("preparing the Wasm runtime")?;
        let opa_config = eyot_opa::Config { data_dir: dir.join("opa"), node: config.node_name.clone() };
        let opa = Opa::new(opa_config, runtime.clone(), images.clone());
        let api = ApiServer::with_engines(store.clone(), server, policies::engines(&gatekeeper, &kyverno, &opa));
        let names = pki::ServerNames {
            dns: [config.node_name.clone()].into(),
            ips: [Some(api_address.ip()), config.service_cidr.nth(1).map(Into::into)].into_iter().flatten().collect(),
        };
        let pki = pki::Pki::open(&dir.join("pki"), &names).context("preparing certificates")?;
        let kubeconfig = dir.join("kubeconfig");
        pki.write_kubeconfig(&kubeconfig, &format!("https://{}", reachable(api_address)))?;
        let mut credentials = pki.credentials().context("preparing keys")?;
        if let Some(file) = &config.token_auth_file {
            credentials = credentials.with_token_file(file).context("--token-auth-file")?;
        }
        api.set_credentials(credentials);
        eyot_apiserver::bootstrap(&api).await.context("creating the first objects")?;
        let api_server = advertised(api_address);
        eyot_apiserver::advertise(&api, api_server).await.context("telling where the API server is")?;

        let (endpoints, loads) = (Arc::new(Endpoints::new()), Arc::new(Loads::default()));
        let meters = Arc::new(Meters::default());
        api.set_meters(meters.clone());
        let client = |name: &str| Client::new(api.service(Identity::component(name)), "default");
        let gateway_config = eyot_gateway::Config {
            http_port: http_address.port(),
            addresses: vec![reachable(http_address).ip()],
            node_ports: Some(http_address.ip()),
            pod_networks: vec![(config.cluster_cidr.base().into(), config.cluster_cidr.prefix())],
            api_server: Some(api_server),
            loads: loads.clone(),
            meters: meters.clone(),
            lookups,
            connections_max: connections_max(getrlimit(Resource::Nofile).current),
            function_body_max: config.function_body_max,
            ..Default::default()
        };
        let functions = Site { domain: gateway_config.function_domain.clone(), port: http_address.port() };
        let gateway = Gateway::new(client("gateway"), endpoints.clone(), gateway_config);
        gateway.set_authorizer(Arc::new(opa.clone()));
        let mut node_config = NodeConfig::new(&config.node_name, dir, config.cluster_cidr);
        node_config.pods_max = config.max_pods.unwrap_or(node_config.pods_max);
        let node_client = client(&format!("node:{}", config.node_name));
        let node = Node::new(node_config, node_client, runtime, images, endpoints, gateway.clone(), gateway.clone())
            .await
            .context("preparing the node")?;
        gateway.set_early(node.early());
        // Where the range asked for cannot be routed, pods have addresses of another.
        gateway.set_pod_networks(vec![(node.pod_cidr().base().into(), node.pod_cidr().prefix())]);
        let controllers_config = eyot_controllers::Config {
            cluster_ca: Some(pki.ca_pem().to_owned()),
            functions,
            loads: loads.clone(),
            meters,
            ..Default::default()
        };
        let controllers = Controllers::new(client("kube-controller-manager"), controllers_config);
        let registry = Registry::new(blobs);
        let tls = pki.tls().context("preparing TLS")?;
        let audit_config = eyot_audit::Config { interval: config.audit_interval, ..Default::default() };
        let audit = Violations::new(client("gatekeeper"), gatekeeper, Arc::new(api.clone()), audit_config);
        Ok(Island { store, api, kyverno, tls, kubeconfig, registry, controllers, gateway, loads, node, opa, audit })
    }
}

impl Island {
    /// Starts every part into `tasks` and returns the `ready` line once all of them serve. When `stop_http` has ended
    /// the HTTP listener and all that was under way there, `stop` is cancelled.
    async fn start(
        self,
        config: &Config,
        listeners: Listeners,
        stop_http: &CancellationToken,
        stop: &CancellationToken,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<String> {
        let Island { api, kyverno, tls, kubeconfig, registry, controllers, gateway, loads, node, opa, audit, .. } =
            self;
        let (api_listener, api_address) = listeners.api;
        let (http_listeners, http_address) = listeners.http;
        let (registry_listener, registry_address) = listeners.registry;
        let opa_address = listeners.opa.as_ref().map(|it| it.1);
        let openfaas_address = listeners.openfaas.as_ref().map(|it| it.1);
        let client = Client::new(api.service(Identity::component("eyot")), "default");
        let opa_client = Client::new(api.service(Identity::component("opa")), "default");
        let openfaas_client = Client::new(api.service(Identity::component("openfaas")), "default");

        api.set_kubelet(&config.node_name, node.kubelet());
        let auditor = Client::new(api.service(Identity::component("kyverno-background-controller")), "default");
        let look = Arc::new(api.clone());
        tasks.spawn(unit(eyot_audit::run(auditor, kyverno, look, stop.clone())));
        let token = stop.clone();
        tasks.spawn(unit(eyot_apiserver::stay_advertised(api.clone(), advertised(api_address), stop.clone())));
        tasks.spawn(async move { api.serve(api_listener, tls, token).await.context("serving the API") });
        let token = stop.clone();
        tasks.spawn(async move {
            let served =
                axum::serve(registry_listener, registry.router()).with_graceful_shutdown(token.cancelled_owned());
            served.await.context("serving the registry")
        });
        let (following, token) = (opa.clone(), stop.clone());
        tasks.spawn(unit(async move { following.follow(opa_client, token).await }));
        let (logging, token) = (opa.clone(), stop.clone());
        tasks.spawn(unit(async move { logging.logs().run(token).await }));
        if let Some((listener, _)) = listeners.opa {
            let token = stop.clone();
            tasks.spawn(async move {
                let served = axum::serve(listener, eyot_opa::rest::router(opa));
                served.with_graceful_shutdown(token.cancelled_owned()).await.context("serving OPA's REST API")
            });
        }
        let synced = controllers.synced();
        tasks.spawn(unit(controllers.run(stop.clone())));
        let mut running = node.synced();
        let token = stop.clone();
        tasks.spawn(unit(async move { node.run(token).await }));
        let (watching, token) = (gateway.clone(), stop.clone());
        tasks.spawn(unit(async move { watching.watch(token).await }));
        publish::registry(&client, &format!("localhost:{}", registry_address.port())).await?;
        publish::gateway(&client, http_address.port()).await?;

        synced.wait().await;
        // The sender lives as long as the node; when that has ended, its task says why.
        let _ = running.wait_for(|running| *running).await;
        gateway.synced().await;
        tasks.spawn(unit(audit.run(stop.clone())));
        if let Some((listener, _)) = listeners.openfaas {
            let stops = (stop_http.clone(), stop.clone());
            openfaas::start(config, listener, openfaas_client, gateway.clone(), loads, stops, tasks).await?;
        }
        let (token, drained) = (stop_http.clone(), stop.clone().drop_guard());
        // Begun on this thread, which gives way to nobody and starts no others from here on.
        turns::last(REQUESTS_TURN);
        let served = gateway.serve_on_threads(http_listeners, token);
        tasks.spawn(unit(async move {
            served.await;
            drop(drained);
        }));
        if let Some(dir) = config.manifests.clone() {
            tasks.spawn(manifests::keep_applied(client, dir, stop.clone()));
        }
        let opa = opa_address.map_or_else(String::new, |it| format!(" opa=http://{it}"));
        let openfaas = openfaas_address.map_or_else(String::new, |it| format!(" openfaas=http://{it}"));
        Ok(format!(
            "ready api=https://{} http=http://{} registry=http://{} kubeconfig={}{opa}{openfaas}",
            reachable(api_address),
            reachable(http_address),
            reachable(registry_address),
            kubeconfig.display(),
        ))
    }
}

/// Connections that the gateway may hold in each of its two ways under a limit on open files. With the second file that each
/// may need this is half the limit at most: what is left is for the API, images, logs and the store.
fn connections_max(files_max: Option<u64>) -> usize {
    let usual = eyot_gateway::Config::default().connections_max;
    files_max.and_then(|it| usize::try_from(it / 8).ok()).map_or(usual, |it| it.clamp(1, usual))
}

async fn unit(part: impl Future<Output = ()>) -> Result<()> {
    part.await;
    Ok(())
}

async fn terminated() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        // Without handlers the default action ends the process, which loses nothing that was acknowledged.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// The address that the cluster is told of for a listener: of a wildcard the one by which this machine would leave for
/// others, if it can.
fn advertised(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    // Connecting a datagram socket sends nothing, but makes the system choose an address.
    let chosen = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|it| {
        it.connect("192.0.2.1:9")?;
        it.local_addr()
    });
    chosen.map_or_else(|_| reachable(address), |it| SocketAddr::new(it.ip(), address.port()))
}

/// Where a client on this machine reaches `address`: a wildcard listens on loopback too.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(it) if it.ip().is_unspecified() => ([127, 0, 0, 1], it.port()).into(),
        SocketAddr::V6(it) if it.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, it.port()).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_open_files_to_the_rest_of_the_node() {
        assert_eq!([Some(20_000), Some(4096), Some(1 << 20), None].map(connections_max), [2500, 512, 20_000, 20_000]);
    }
}
