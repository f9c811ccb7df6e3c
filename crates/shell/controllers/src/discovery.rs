//! Which resources the server has.

use std::collections::HashSet;

use kube::Client;

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

/// Asks the server for all its resources.
pub(crate) async fn discover(client: &Client) -> Result<Discovery, kube::Error> {
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
