//! Drives the controllers against the real API server in process, with a fake node that plays the kubelet.

mod autoscaling;
mod collecting;
mod cronjobs;
mod daemons;
mod deployments;
mod evictions;
mod functions;
mod indexes;
mod jobs;
mod measuring;
mod networking;
mod node;
mod owners;
mod ports;
mod restarts;
mod revisions;
mod rollouts;
mod scheduling;
mod speed;
mod stateful;
mod world;
