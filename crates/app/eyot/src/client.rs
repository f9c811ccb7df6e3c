//! What the client commands share: a small runtime and a connection to a cluster.

use std::{future::Future, path::Path};

use anyhow::{Context, Result};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Runs a client command to its end on one thread.
pub(crate) fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(command)
}

/// Connects to the cluster that `kubeconfig` names, or that the environment does.
pub(crate) async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
        }
        None => kube::Config::from_kubeconfig(&KubeConfigOptions::default()).await,
    };
    let config = config.context("choosing a cluster: give --kubeconfig or set KUBECONFIG")?;
    Client::try_from(config).context("preparing the API client")
}
