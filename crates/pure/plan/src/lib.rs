//! Controller decisions as pure functions: what was observed goes in, what to do and to report comes out.
//!
//! One module per decision; start at [`rollout::plan`], [`replicaset::plan`], [`statefulset::plan`],
//! [`daemonset::plan`], [`job::plan`], [`cronjob::plan`], [`budget::plan`], [`endpointslice::plan`], [`gc::Graph`], [`schedule::place`], [`lifecycle::taints`] and
//! [`namespace::next`]; which volume a claim gets is [`storage::claim`].
//!
//! Deliberately absent: clocks, randomness, I/O and Kubernetes' object types. Time arrives as [`Seconds`], so a recorded
//! day replays exactly.

pub mod amount;
pub mod autoscale;
pub mod budget;
pub mod condition;
pub mod cronjob;
pub mod daemonset;
pub mod endpoints;
pub mod endpointslice;
pub mod gc;
pub mod job;
pub mod lifecycle;
pub mod namespace;
pub mod replicaset;
pub mod revision;
pub mod rollout;
pub mod schedule;
pub mod selector;
pub mod statefulset;
pub mod storage;
pub mod template;

/// A moment, in whole seconds since the Unix epoch: the resolution of Kubernetes' timestamps.
pub type Seconds = i64;

/// Seconds until what has been ready since then is available; `None` when it is.
fn until_available(since: Seconds, min_ready_seconds: i32, now: Seconds) -> Option<Seconds> {
    let left = since + i64::from(min_ready_seconds) - now;
    Some(left).filter(|it| min_ready_seconds > 0 && *it > 0)
}
