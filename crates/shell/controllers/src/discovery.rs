//! Which resources the server has.

use std::collections::HashSet;

use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::api::Resource;

/// A resource and what can be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) resource: Resource,
    verbs: Vec<String>,
}

impl Found {
    pub(crate) fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|it| it == verb))
    }
}

/// What discovery came to.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    /// Every resource once, in the version its group prefers.
    pub(crate) found: Vec<Found>,
    /// Group versions that did not answer, with the reason.
    pub(crate) failed: Vec<String>,
}

/// Asks the server for all its resources: in two requests where it can tell all at once, else group by group.
pub(crate) async fn discover(client: &Client) -> Result<Discovery, kube::Error> {
    match aggregated(client).await? {
        Some(discovery) => Ok(discovery),
        None => group_by_group(client).await,
    }
}

/// `apidiscovery.k8s.io/v2 APIGroupDiscoveryList`.
#[derive(Deserialize)]
struct Groups {
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupMeta,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
struct GroupMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: String,
}

/// What a server tells of all groups at once; `None` when it does not know how.
async fn aggregated(client: &Client) -> Result<Option<Discovery>, kube::Error> {
    const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let mut discovery = Discovery::default();
    let mut seen = HashSet::new();
    for path in ["/api", "/apis"] {
        let request = http::Request::get(path).header(http::header::ACCEPT, ACCEPT).body(Vec::new());
        let value: Value = client.request(request.map_err(kube::Error::HttpError)?).await?;
        let groups = serde_json::from_value::<Groups>(value).ok().filter(|it| it.kind == "APIGroupDiscoveryList");
        let Some(groups) = groups else { return Ok(None) };
        groups.items.into_iter().for_each(|it| discovery.take_group(it, &mut seen));
    }
    Ok(Some(discovery))
}

async fn group_by_group(client: &Client) -> Result<Discovery, kube::Error> {
    let mut discovery = Discovery::default();
    let mut seen = HashSet::new();
    let core = client.list_core_api_resources("v1").await?;
    discovery.take("v1", core.resources, &mut seen);
    for group in client.list_api_groups().await?.groups {
        let preferred = group.preferred_version.iter().map(|it| &it.group_version);
        let all = group.versions.iter().map(|it| &it.group_version);
        let mut asked = HashSet::new();
        for version in preferred.chain(all).filter(|it| asked.insert(it.as_str())) {
            match client.list_api_group_resources(version).await {
                Ok(list) => discovery.take(version, list.resources, &mut seen),
                Err(error) => discovery.failed.push(format!("{version}: {error}")),
            }
        }
    }
    Ok(discovery)
}

impl Discovery {
    /// Versions come in the order of preference.
    fn take_group(&mut self, group: Group, seen: &mut HashSet<String>) {
        for version in group.versions {
            let api_version = match group.metadata.name.as_str() {
                "" => version.version,
                name => format!("{name}/{}", version.version),
            };
            if version.freshness == "Stale" {
                self.failed.push(format!("{api_version}: its server does not answer"));
            }
            for it in version.resources {
                let Some(kind) = it.response_kind.map(|it| it.kind) else { continue };
                let resource = Resource {
                    api_version: api_version.clone().into(),
                    kind: kind.into(),
                    plural: it.resource.into(),
                    namespaced: it.scope == "Namespaced",
                };
                if seen.insert(resource.qualified()) {
                    self.found.push(Found { resource, verbs: it.verbs });
                }
            }
        }
    }

    fn take(
        &mut self,
        version: &str,
        resources: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource>,
        seen: &mut HashSet<String>,
    ) {
        for it in resources.into_iter().filter(|it| !it.name.contains('/')) {
            let resource = Resource {
                api_version: version.to_owned().into(),
                kind: it.kind.into(),
                plural: it.name.into(),
                namespaced: it.namespaced,
            };
            if seen.insert(resource.qualified()) {
                self.found.push(Found { resource, verbs: it.verbs });
            }
        }
    }
}
