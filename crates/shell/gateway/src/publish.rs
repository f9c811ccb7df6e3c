//! Writes statuses and events, behind the routing and never in its way.
//!
//! What is to be written waits in a map with one place for each object, so that only the latest is written and nothing
//! piles up.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    attach::Target,
    kinds::{Gateway, GatewayClass, HTTPRoute, Ingress, Name},
};

/// Writes under way at once.
const WRITES_MAX: usize = 8;
/// Pause before a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    statuses: BTreeMap<Target, Value>,
    complaints: BTreeMap<Name, (Option<String>, String)>,
}

impl Publisher {
    /// Has these statuses written.
    pub(crate) fn statuses(&self, statuses: BTreeMap<Target, Value>) {
        if !statuses.is_empty() {
            self.waiting.lock().statuses.extend(statuses);
            self.more.notify_one();
        }
    }

    /// Has an event written that says what is wrong with an Ingress.
    pub(crate) fn complaint(&self, ingress: Name, uid: Option<String>, message: String) {
        tracing::warn!(%ingress, message, "Ingress is not served as written");
        self.waiting.lock().complaints.insert(ingress, (uid, message));
        self.more.notify_one();
    }

    /// Writes for ever.
    pub(crate) async fn run(self: Arc<Self>, client: Client) {
        loop {
            self.more.notified().await;
            let waiting = std::mem::take(&mut *self.waiting.lock());
            let (this, client) = (&self, &client);
            let writes = waiting.statuses.into_iter().map(|(target, status)| async move {
                if let Err(error) = write(client, &target, &status).await {
                    this.failed(target, status, &error);
                }
            });
            futures::stream::iter(writes).buffer_unordered(WRITES_MAX).collect::<()>().await;
            for (ingress, (uid, message)) in waiting.complaints {
                if let Err(error) = complain(client, &ingress, uid, &message).await {
                    tracing::warn!(%ingress, %error, "writing an event");
                }
            }
            let again = !self.waiting.lock().statuses.is_empty();
            if again {
                tokio::time::sleep(RETRY_PAUSE).await;
                self.more.notify_one();
            }
        }
    }

    fn failed(&self, target: Target, status: Value, error: &kube::Error) {
        // An object that is gone needs no status, and one that is refused would be refused again.
        let given_up =
            matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429);
        if given_up {
            tracing::debug!(?target, %error, "status not written");
        } else {
            tracing::warn!(?target, %error, "writing a status failed, trying again");
            self.waiting.lock().statuses.entry(target).or_insert(status);
        }
    }
}

async fn write(client: &Client, target: &Target, status: &Value) -> Result<(), kube::Error> {
    match target {
        Target::Class(name) => patch(&Api::<GatewayClass>::all(client.clone()), &name.name, status).await,
        Target::Gateway(name) => patch(&namespaced::<Gateway>(client, name), &name.name, status).await,
        Target::Route(name) => patch(&namespaced::<HTTPRoute>(client, name), &name.name, status).await,
        Target::Ingress(name) => patch(&namespaced::<Ingress>(client, name), &name.name, status).await,
    }
}

fn namespaced<K>(client: &Client, name: &Name) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &name.namespace)
}

async fn patch<K>(api: &Api<K>, name: &str, status: &Value) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let body = Patch::Merge(json!({ "status": status }));
    api.patch_status(name, &PatchParams::default(), &body).await.map(drop)
}

async fn complain(client: &Client, ingress: &Name, uid: Option<String>, message: &str) -> Result<(), kube::Error> {
    let now = jiff::Timestamp::now();
    let event = json!({
        "metadata": { "namespace": ingress.namespace, "name": format!("{}.{:x}", ingress.name, now.as_nanosecond()) },
        "involvedObject": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "namespace": ingress.namespace,
            "name": ingress.name,
            "uid": uid,
        },
        "type": "Warning",
        "reason": "NotServedAsWritten",
        "message": message,
        "source": { "component": "eyot-gateway" },
        "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "count": 1,
    });
    let event: Event = serde_json::from_value(event).map_err(kube::Error::SerdeError)?;
    let api: Api<Event> = Api::namespaced(client.clone(), &ingress.namespace);
    api.create(&PostParams::default(), &event).await.map(drop)
}
