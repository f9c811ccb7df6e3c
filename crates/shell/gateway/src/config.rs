//! What a gateway is told when it starts.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use eyot_dispatch::{Loads, Lookups};
use eyot_meter::Meters;

/// `spec.controllerName` of the GatewayClasses served here.
pub const CONTROLLER_NAME: &str = "eyot.io/gateway";

/// The IngressClass, and the GatewayClass of the default Gateway.
pub const CLASS_NAME: &str = "eyot";

/// Namespace of the default Gateway.
pub const DEFAULT_GATEWAY_NAMESPACE: &str = "eyot-system";

/// Name of the default Gateway. Its listeners answer on the HTTP listener whatever port they name.
pub const DEFAULT_GATEWAY_NAME: &str = "default";

/// Settings and bounds. [`Config::default`] suits a node; the port has to be given.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of the HTTP listener, as clients see it.
    pub http_port: u16,
    /// Addresses of the HTTP listener, published in the status of Gateways and Ingresses.
    pub addresses: Vec<IpAddr>,
    /// Where ports of the node are opened that Services ask for; nowhere when there is none.
    pub node_ports: Option<IpAddr>,
    /// Networks of pods. Guests may reach loopback and link-local addresses only inside them, and Services lead to no others.
    pub pod_networks: Vec<(IpAddr, u8)>,
    /// Where Service `default/kubernetes` leads. It may be a loopback address: the API server asks whom it talks to.
    pub api_server: Option<SocketAddr>,
    /// Domain of Service names.
    pub cluster_domain: String,
    /// Domain under which functions have names: `NAME.NAMESPACE.DOMAIN`.
    pub function_domain: String,
    /// Where requests to functions are counted.
    pub loads: Arc<Loads>,
    /// Where requests to Services and routes are counted.
    pub meters: Arc<Meters>,
    /// Who looks names outside up, for guests that ask there.
    pub lookups: Arc<Lookups>,
    /// Connections that the listener holds at once, and as many that all ports of the node hold; further ones wait in the
    /// listen queue. Bounds memory, a connection costs about 20 KiB, and open files: an upgraded stream is two of them, and so
    /// is a connection to a port.
    pub connections_max: usize,
    /// Requests under way beside the first of their connection, over all connections; further ones are answered with 503.
    /// Bounds memory: each may have some tens of KiB of its response waiting for the client.
    pub streams_max: usize,
    /// Longest time from the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// Longest time that a connection may be open without a request.
    pub idle_timeout: Duration,
    /// Longest time without a byte moving while a request or response body is under way; and that a client may take less than
    /// 16 KiB in while a response waits for it.
    pub stall_timeout: Duration,
    /// Longest time that requests in flight are waited for when the gateway stops.
    pub drain_timeout: Duration,
    /// Longest time a request to a Service without endpoints waits for one that may be on its way.
    pub arrival_timeout: Duration,
    /// Longest time a request waits for an endpoint when those it knows have just gone away.
    pub retry_timeout: Duration,
    /// Requests that one pod may have under way through [`eyot_dispatch::Outbound`].
    pub outbound_per_pod_max: usize,
    /// Largest body of a request to a function, in bytes. It streams, so this bounds time and traffic rather than memory.
    pub function_body_max: u64,
    /// Whether `X-Forwarded-Proto` and `X-Forwarded-Host` of clients are believed: for a gateway behind a proxy.
    pub trust_forwarded: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http_port: 8080,
            addresses: Vec::new(),
            node_ports: None,
            pod_networks: vec![(IpAddr::from([10, 42, 0, 0]), 16)],
            api_server: None,
            cluster_domain: "cluster.local".to_owned(),
            function_domain: "localhost".to_owned(),
            loads: Arc::default(),
            meters: Arc::default(),
            lookups: Arc::default(),
            connections_max: 20_000,
            streams_max: 20_000,
            head_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(25),
            arrival_timeout: Duration::from_millis(500),
            retry_timeout: Duration::from_secs(2),
            outbound_per_pod_max: 256,
            function_body_max: 256 << 20,
            trust_forwarded: false,
        }
    }
}
