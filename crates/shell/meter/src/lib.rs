//! What is counted where requests are carried, for those who scale by it, judge by it or watch it.
//!
//! Entry points: [`Meters::of`] and [`Meter::begin`] for whoever carries requests; [`Meter::read`] for whoever asks what there
//! was; [`Meters::raised`] for whoever wants to be told when a meter passes an [`Alarm`]; [`Meters::expose`] for Prometheus.
//!
//! Counting takes no lock and starts no task, and nobody polls: rates come from seconds that the requests themselves mark off,
//! alarms from a comparison beside the count. A meter whose subject was never asked anything is a hundred bytes.
//!
//! Deliberately absent: what a Service or a route is, and Kubernetes.

mod exposition;
mod latency;
mod meter;
mod recent;
mod scale;

pub use latency::Latencies;
pub use meter::{Alarm, Exchange, Meter, Meters, Reading, Subject, Waiting};
pub use recent::WINDOW_SECONDS;
pub use scale::{Scale, Scales};
