//! Tells where the API server itself is reached: the `kubernetes` Service with its Endpoints and EndpointSlice. Entry
//! points: [`advertise`] once, and [`stay_advertised`] as long as the server runs.

use std::{net::SocketAddr, time::Duration};

use eyot_model::{defaults, meta, prepare};
use eyot_store::{Key, WriteError};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    ApiServer, BootstrapError, bootstrap,
    commit::{self, Stored},
    object,
};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
/// Between two looks at whether all of it is there, as kube-apiserver's.
const PERIOD: Duration = Duration::from_secs(10);

/// Writes the address at which clients on this host reach the API server; call it at each start, after
/// [`bootstrap`](crate::bootstrap).
///
/// A server that listens on loopback alone is at a loopback address, which nobody else may write into endpoints: so these
/// objects do not go the way of requests.
///
/// # Errors
///
/// When the store cannot take them.
pub async fn advertise(server: &ApiServer, address: SocketAddr) -> Result<(), BootstrapError> {
    let puts = [endpoints(address), slice(address)].map(async |object| {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let fail = |message: String| BootstrapError { object: format!("{kind} {NAMESPACE}/{NAME}"), message };
        put(server, object).await.map_err(fail)
    });
    // Together, since they share a flush of the disk.
    futures::future::try_join_all(puts).await.map(drop)
}

/// Makes the `kubernetes` Service and what [`advertise`] writes again where somebody deletes or changes it, until `stop`.
pub async fn stay_advertised(server: ApiServer, address: SocketAddr, stop: CancellationToken) {
    let mut ticks = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let service = bootstrap::create(&server, bootstrap::kubernetes(&server.0));
        let done = async { service.await.and(advertise(&server, address).await) };
        if let Err(error) = done.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "telling where the API server is");
        }
    }
}

fn endpoints(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            // The slice is made here as well.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": address.ip().to_string()}],
            "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        }],
    })
}

fn slice(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    })
}

/// What of an object says where the server is.
fn content(object: &Value) -> [&Value; 4] {
    ["subsets", "addressType", "endpoints", "ports"].map(|it| &object[it])
}

/// Makes an object, or puts its content right.
async fn put(server: &ApiServer, mut object: Value) -> Result<(), String> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = eyot_model::kinds::builtin().by_api_version(text("apiVersion"), text("kind"));
    let kind = kind.ok_or_else(|| "the kind is not served".to_owned())?;
    let key = Key::new(kind.storage.as_str(), NAMESPACE, NAME);
    defaults::apply(kind, &mut object);
    let written = match server.0.store.get(&key) {
        None => {
            prepare::create(kind, &mut object, &uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
            let stored = Stored::new(kind, object).map_err(|it| it.message)?;
            commit::create(&server.0, key, stored).await
        }
        Some(entry) => {
            let old = object::parse(&entry).map_err(|it| it.message)?;
            if content(&old) == content(&object) {
                return Ok(());
            }
            object["metadata"] = old["metadata"].clone();
            meta::metadata_mut(&mut object).remove("resourceVersion");
            let stored = Stored::new(kind, object).map_err(|it| it.message)?;
            commit::replace(&server.0, key, entry.revision, stored).await
        }
    };
    match written {
        // Somebody may have been faster; the next start looks again.
        Ok(_) | Err(WriteError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
