//! Runs WebAssembly guests: the only crate that knows wasmtime.
//!
//! Start at [`Runtime::load`]: it turns a file into a [`Program`], compiled once per digest. [`Program::serve`] makes a
//! [`HttpGuest`] (a `wasi:http` component, a fresh instance per request unless its spec has it reuse them, [`Reuse`]) and [`Program::spawn`] a [`Process`] (a
//! `wasi:cli` command or preview-1 module with an exit code). [`Runtime::opa_policy`] loads what OPA compiled, and [`describe`]
//! tells what a file is without loading it, as [`compile_ahead`] compiles one for other machines. A command may be served too, an
//! instance for each request ([`PerRequest`]), or have a thread of its own ([`Unshared`]).
//!
//! Deliberately absent: Kubernetes, images and registries, log files, probes and restarts; those are the node's. Requests
//! that leave a guest go to [`eyot_dispatch::Outbound`].

mod ahead;
mod blobstore;
mod cache;
mod call;
mod cgi;
mod checksum;
mod collect;
mod compiler;
mod config;
mod debuginfo;
mod describe;
mod early;
mod engine;
mod epoch;
mod error;
mod fields;
mod files;
mod foreground;
mod guest;
mod hosts;
mod inspect;
mod keyvalue;
mod lanes;
mod linear;
mod link;
mod listings;
mod load;
mod lookup;
mod machine;
mod meter;
mod native;
mod net;
mod opa;
mod open;
mod outgoing;
mod output;
mod own;
mod p3;
mod process;
mod program;
mod queue;
mod random;
mod readdir;
mod request;
mod resolve;
mod response;
mod reuse;
mod runtime;
mod serve;
mod settings;
mod share;
mod slot;
mod spec;
mod stacks;
mod state;
mod target;
mod tier;
mod traffic;
mod trap;
mod turn;
mod wasmedge;
mod weigh;

pub use ahead::{Ahead, AheadError, compile_ahead};
pub use cgi::{OutputForm, PerRequest};
pub use config::RuntimeConfig;
pub use describe::{Description, Import, describe, validate};
pub use error::{LoadError, RuntimeError, StartError};
pub use hosts::{AllowedHosts, HostsError};
pub use opa::{OpaBounds, OpaBuiltins, OpaError, OpaPolicy};
pub use own::{NoOwnThread, OwnThread, Unshared};
pub use process::{Exit, ExitReason, Process, ProcessStats, Stdin};
pub use program::{Loaded, LoadedFrom, Program, ProgramKind};
pub use reuse::Reuse;
pub use runtime::Runtime;
pub use serve::{FailureKind, Failures, HttpGuest, HttpStats};
pub use spec::{GuestSpec, LateMounts, LogSink, LogStream, Mount, Names};
pub use target::{Target, TargetError};
pub use wasmedge::{WasmEdge, WasmEdgeError};
