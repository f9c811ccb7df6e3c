//! What ready guests are made of, followed in the API.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{key, table::Seen};
use crate::{
    pod::Shared,
    watch::{self, Change},
};

#[derive(Deserialize)]
struct Deployment<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    spec: Spec<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Labels<'a> {
    #[serde(borrow, rename = "serving.knative.dev/revision")]
    revision: Cow<'a, str>,
    #[serde(borrow, rename = "serving.knative.dev/revisionUID")]
    uid: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Spec<'a> {
    #[serde(default)]
    replicas: Option<i64>,
    #[serde(borrow)]
    template: &'a RawValue,
}

/// Follows the Deployments of revisions.
pub(super) async fn deployments(shared: &Arc<Shared>) {
    let mut listing: Option<HashSet<Arc<str>>> = None;
    let query = "labelSelector=serving.knative.dev%2FrevisionUID";
    let (table, token) = (&shared.early, shared.token.clone());
    watch::follow(shared.client.clone(), "/apis/apps/v1/deployments", query, token, |change| match change {
        Change::Relisting => listing = Some(HashSet::new()),
        Change::Synced => {
            if let Some(present) = listing.take() {
                table.retain(&present);
            }
        }
        Change::Seen(json) => {
            let Some((seen, is_deleting)) = read(json) else { return };
            if let Some(listing) = &mut listing {
                listing.insert(seen.key.clone());
            }
            if is_deleting { table.gone(&seen.key) } else { table.seen(seen) }
        }
        Change::Gone(json) => {
            if let Some((seen, _)) = read(json) {
                table.gone(&seen.key);
            }
        }
    })
    .await;
}

/// The revision of a Deployment, and whether it is being deleted.
fn read(json: &str) -> Option<(Seen, bool)> {
    let Deployment { metadata, spec } = serde_json::from_str(json).ok()?;
    let mut hasher = DefaultHasher::new();
    spec.template.get().hash(&mut hasher);
    let seen = Seen {
        key: key(&metadata.namespace, &metadata.labels.revision, &metadata.labels.uid),
        deployment: metadata.name.as_ref().into(),
        template: hasher.finish(),
        is_at_zero: spec.replicas == Some(0),
    };
    Some((seen, metadata.deletion_timestamp.is_some()))
}

/// Follows what of this node decides which pods it takes.
pub(super) async fn node(shared: &Arc<Shared>) {
    #[derive(Deserialize)]
    struct Node<'a> {
        #[serde(borrow, default)]
        spec: NodeSpec<'a>,
    }
    #[derive(Default, Deserialize)]
    struct NodeSpec<'a> {
        #[serde(default)]
        unschedulable: Option<bool>,
        #[serde(borrow, default)]
        taints: Option<&'a RawValue>,
    }
    let query = format!("fieldSelector=metadata.name%3D{}", watch::escape(&shared.config.name));
    let mut before = None;
    watch::follow(shared.client.clone(), "/api/v1/nodes", &query, shared.token.clone(), |change| {
        let now = match change {
            Change::Seen(json) => {
                let Ok(Node { spec }) = serde_json::from_str(json) else { return };
                let taints = spec.taints.map(|it| it.get().to_owned()).unwrap_or_default();
                Some((spec.unschedulable == Some(true), taints))
            }
            Change::Gone(_) => None,
            Change::Relisting | Change::Synced => return,
        };
        if before != now {
            before = now;
            shared.early.spoil_all();
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_tells_its_revision_and_whether_it_is_at_zero() {
        let json = |replicas: u32, image: &str| {
            serde_json::json!({
                "metadata": {"name": "a-00001-deployment", "namespace": "ns", "labels": {
                    "app": "x", "serving.knative.dev/revision": "a-00001", "serving.knative.dev/revisionUID": "u"}},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"image": image}]}}},
            })
            .to_string()
        };
        let (one, is_deleting) = read(&json(0, "x")).unwrap();
        assert_eq!((&*one.key, &*one.deployment, one.is_at_zero), ("ns/a-00001/u", "a-00001-deployment", true));
        assert!(!is_deleting);
        let (two, three) = (read(&json(3, "x")).unwrap().0, read(&json(0, "y")).unwrap().0);
        assert_eq!((one.template == two.template, two.is_at_zero), (true, false), "its size is no change");
        assert_ne!(one.template, three.template);
        assert!(
            read(r#"{"metadata": {"name": "a", "namespace": "ns", "labels": {}}, "spec": {"template": {}}}"#).is_none()
        );
    }
}
