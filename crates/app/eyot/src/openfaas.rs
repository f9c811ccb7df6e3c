//! OpenFaaS' REST API on a listener of its own, which the gateway serves: functions are called there as well.

use std::sync::Arc;

use anyhow::{Context, Result};
use eyot_dispatch::Loads;
use eyot_gateway::Gateway;
use eyot_openfaas::OpenFaas;
use kube::Client;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{flags, publish};

/// Starts the API into `tasks`: requests end with the first token, calls that wait with the second.
pub(crate) async fn start(
    config: &flags::Config,
    listener: TcpListener,
    client: Client,
    gateway: Arc<Gateway>,
    loads: Arc<Loads>,
    stops: (CancellationToken, CancellationToken),
    tasks: &mut JoinSet<Result<()>>,
) -> Result<()> {
    let domain = eyot_gateway::Config::default().function_domain;
    let config = eyot_openfaas::Config {
        data_dir: config.data_dir.join("openfaas"),
        namespace: "default".to_owned(),
        function_domain: domain,
        version: env!("CARGO_PKG_VERSION"),
    };
    let address = listener.local_addr().context("reading the listener's address")?;
    let publishing = client.clone();
    let api = OpenFaas::new(config, client, gateway.clone(), loads).await.context("preparing OpenFaaS' API")?;
    publish::openfaas(&publishing, &format!("http://{address}")).await?;
    let front = api.front();
    let (stop_http, stop) = stops;
    tasks.spawn(async move {
        gateway.serve_front(listener, front, stop_http).await;
        Ok(())
    });
    tasks.spawn(async move {
        api.run(stop).await;
        Ok(())
    });
    Ok(())
}
