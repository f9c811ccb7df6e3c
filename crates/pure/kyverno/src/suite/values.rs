//! Values that a test gives to variables.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// `cli.kyverno.io/v1alpha1 Values`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Values {
    #[serde(default)]
    pub(super) global_values: Map<String, Value>,
    #[serde(default)]
    pub(super) policies: Vec<PolicyValues>,
    #[serde(default)]
    namespace_selector: Vec<NamespaceLabels>,
    #[serde(default)]
    namespaces: Vec<Value>,
    #[serde(default)]
    pub(super) subresources: Vec<Subresource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyValues {
    name: String,
    #[serde(default)]
    rules: Vec<RuleValues>,
    #[serde(default)]
    resources: Vec<ResourceValues>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleValues {
    name: String,
    #[serde(default)]
    values: Map<String, Value>,
    #[serde(default)]
    foreach_values: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct ResourceValues {
    name: String,
    #[serde(default)]
    values: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct NamespaceLabels {
    name: String,
    #[serde(default)]
    labels: Map<String, Value>,
}

/// A kind that stands for a subresource of another.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subresource {
    pub(super) subresource: Resource,
    pub(super) parent_resource: Resource,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Resource {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) group: String,
    #[serde(default)]
    pub(super) version: String,
    #[serde(default)]
    pub(super) kind: String,
}

impl Values {
    /// Values for a resource under a policy, by dotted path.
    pub(super) fn of(&self, policy: &str, resource: &str) -> BTreeMap<String, Value> {
        let mut all: BTreeMap<String, Value> = self.global_values.clone().into_iter().collect();
        let own = self.policies.iter().filter(|it| it.name == policy).flat_map(|it| &it.resources);
        for it in own.filter(|it| it.name == resource) {
            all.extend(it.values.clone());
        }
        all.entry("request.operation".to_owned()).or_insert_with(|| "CREATE".into());
        all
    }

    /// Values for a rule, by dotted path; of those for loops, the first.
    pub(super) fn of_rule(&self, policy: &str, rule: &str) -> Vec<(String, Value)> {
        let found = self.policies.iter().filter(|it| it.name == policy).flat_map(|it| &it.rules);
        let Some(found) = found.into_iter().find(|it| it.name == rule || it.name == crate::autogen::origin(rule))
        else {
            return Vec::new();
        };
        let each = found.foreach_values.iter().map(|(key, it)| (key.clone(), it[0].clone()));
        found.values.clone().into_iter().chain(each).collect()
    }

    /// A namespace with its labels.
    pub(super) fn namespace(&self, name: &str) -> Value {
        if let Some(found) = self.namespaces.iter().find(|it| it["metadata"]["name"] == name) {
            return found.clone();
        }
        let labels = self.namespace_selector.iter().find(|it| it.name == name).map(|it| it.labels.clone());
        serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": labels.unwrap_or_default() },
        })
    }
}
