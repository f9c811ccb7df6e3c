//! Tells of stored policies that an earlier version of the server took and this one would refuse: in their status, where the kind
//! has a place for it, and in an Event. Entry point: [`tell`], once after a start.

use eyot_model::meta;
use eyot_store::{Key, Write, WriteError};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    ApiServer, bootstrap, commit,
    object::{self, Encoded},
    server::Shared,
};

/// Longest message of an Event, as in Kubernetes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A stored policy that would be refused now.
pub(super) struct Doubt {
    pub(super) key: Key,
    pub(super) stored: Value,
    /// What its status is to say.
    pub(super) status: Option<Value>,
    /// What is wrong with it.
    pub(super) causes: String,
}

/// Tells of everything that was found while stored policies were put in force. What cannot be told is in the log.
pub(crate) async fn tell(server: &ApiServer) {
    let doubts = std::mem::take(&mut *server.0.policies.doubts.lock());
    for doubt in doubts {
        if let Err(why) = note(&server.0, &doubt).await {
            tracing::warn!(policy = %doubt.key, why, "writing the status of a policy that would be refused now");
        }
        if let Err(error) = bootstrap::create(server, event(&doubt, Timestamp::now())).await {
            tracing::warn!(policy = %doubt.key, %error, "telling of a policy that would be refused now");
        }
    }
}

/// Writes the status, unless it says the same already or somebody wrote the policy anew.
async fn note(server: &Shared, doubt: &Doubt) -> Result<(), String> {
    let (Some(status), Some(entry)) = (&doubt.status, server.store.get(&doubt.key)) else { return Ok(()) };
    let mut object = object::parse(&entry).map_err(|it| it.message)?;
    if object["status"] == *status || object["spec"] != doubt.stored["spec"] {
        return Ok(());
    }
    object["status"] = status.clone();
    // Not as a request: the policy would be refused.
    let encoded = Encoded::new(&object).map_err(|it| it.message)?;
    let attributes = commit::attributes(&entry.key.resource, &entry.value);
    let write = Write::update(doubt.key.clone(), entry.revision, move |it| encoded.at(it)).with_attributes(attributes);
    match server.store.write(write).await {
        Ok(_) | Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// One Event for each policy, however often the server starts.
fn event(doubt: &Doubt, now: Timestamp) -> Value {
    let stored = &doubt.stored;
    let namespace = meta::namespace(stored).filter(|it| !it.is_empty());
    let mut about = json!({
        "apiVersion": stored["apiVersion"], "kind": stored["kind"], "name": stored["metadata"]["name"],
        "uid": stored["metadata"]["uid"],
    });
    if let Some(namespace) = namespace {
        about["namespace"] = namespace.into();
    }
    let mut message = format!("The policy would be refused now, and may not be in force: {}", doubt.causes);
    while message.len() > MESSAGE_BYTES_MAX {
        message.pop();
    }
    let now = meta::format_time(now);
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {
            "name": format!("policy-unreadable.{}", meta::uid(stored).unwrap_or_default()),
            "namespace": namespace.unwrap_or("default"),
        },
        "involvedObject": about, "type": "Warning", "reason": "PolicyUnreadable", "message": message,
        "source": {"component": "eyot"}, "count": 1, "firstTimestamp": now, "lastTimestamp": now,
    })
}
