//! The gateway's routing table: routes are compiled once, requests are matched against the result.
//!
//! Entry points: [`Table::compile`] and [`Table::find`]. A [`Route`] says which hosts it serves and, rule by rule, what
//! a request must look like ([`Match`]) and what happens to it ([`Action`]). Precedence is that of the Gateway API's
//! HTTPRoute, which Ingress paths fit into. [`choose`] picks among weighted backends and among endpoints, and
//! [`slices`] tells which endpoints of a Service take requests. [`egress`] tells what a pod may connect to.
//!
//! Deliberately absent: Kubernetes types, clocks, randomness (both come in as arguments) and expressions for paths.
//! `B`, the backend of a rule, is whatever the caller wants to get back.

pub mod choose;
mod conditions;
pub mod egress;
mod filter;
mod host;
mod path;
pub mod slices;
mod spec;
mod table;

pub use conditions::Asked;
pub use filter::{Forwarded, HeaderChange, PathChange, Redirect, Rewrite};
pub use host::{HostError, HostPattern, canonical_host};
pub use path::{PathMatch, replace_prefix};
pub use spec::{Action, Backend, HeaderMatch, HostScope, Match, Mirror, QueryMatch, Route, Rule, Wanted};
pub use table::{Found, Table};
