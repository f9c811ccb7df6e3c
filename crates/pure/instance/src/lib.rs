//! The life of a pod's containers as pure state machines.
//!
//! Start at [`Container::step`]: it takes what happened and returns the next state with what the driver must do.
//! [`Probing::step`] does the same for probe results, and [`pod`] derives a pod's phase and conditions from its containers.
//!
//! Invariant: no clock, I/O or randomness. Time arrives as a [`Moment`]; reasons are those of Kubernetes.

mod backoff;
mod container;
pub mod pod;
mod probe;
mod time;

pub use backoff::Schedule;
pub use container::{
    Container, Effect, Event, ExitKind, RestartPolicy, Rules, State, Terminated, Waiting, WaitingReason,
};
pub use probe::{Action, ProbeKind, Probing, Rule, RuleSet};
pub use time::Moment;
