//! The HTTP front of a node: requests of clients and of guests find the pods behind Services, in process.
//!
//! Entry points: [`Gateway::new`], [`Gateway::watch`], which keeps the routing table as Gateway API routes, Ingresses,
//! Services and EndpointSlices say, [`Gateway::serve`], which answers clients, and [`eyot_dispatch::Outbound`], which
//! carries what guests send. One request goes `server` → `proxy` → `forward` → a [`eyot_dispatch::Handler`] of this node,
//! or over TCP (`dial`) where no handler is published at the endpoint's address.
//!
//! What scales by its requests, a revision of a function, is marked by labels of its Service: requests to it are counted and,
//! while nothing takes them, held (`hold`).
//!
//! Layers: `attach` is pure and turns objects into routes and conditions; `world` and `watch` feed it; `publish` writes
//! statuses; the rest is the data path, which takes no lock and no part in any of that.
//!
//! What guests send is held to the egress rules of NetworkPolicies (`egress`).
//!
//! Limits: plain HTTP only (no TLS listeners); one port; cluster IPs of Services answer guests in process, not sockets
//! of other programs; HTTPRoute's regular expressions for paths, CORS, retries and session persistence are refused with
//! a condition that names them.
//!
//! Every request is counted in [`eyot_meter::Meters`]; `mirror` sends copies of some to others.

mod arrival;
mod attach;
mod body;
mod bound;
mod config;
mod connection;
mod dial;
mod early;
mod egress;
mod forward;
mod functions;
mod gateway;
mod headers;
mod hold;
mod kinds;
mod limits;
mod mirror;
mod names;
mod node_ports;
mod outbound;
mod proxy;
mod publish;
mod random;
mod resolve;
mod server;
mod services;
mod stats;
mod upgrade;
mod watch;
mod world;

pub use config::{CLASS_NAME, CONTROLLER_NAME, Config, DEFAULT_GATEWAY_NAME, DEFAULT_GATEWAY_NAMESPACE};
pub use gateway::Gateway;
pub use server::{BindError, bind};
pub use stats::{ServiceStats, Stats};
