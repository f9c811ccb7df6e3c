//! Drives the controllers against the real API server in process, with a fake node that plays the kubelet.

mod collecting;
mod cronjobs;
mod daemons;
mod deployments;
mod evictions;
mod jobs;
mod networking;
mod node;
mod restarts;
mod scheduling;
mod speed;
mod stateful;
mod world;
