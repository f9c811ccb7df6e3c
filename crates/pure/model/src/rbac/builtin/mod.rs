//! The roles and bindings that every cluster begins with, as Kubernetes names them. Entry point: [`objects`].
//!
//! `cluster-admin`, `admin`, `edit` and `view` for people, `system:*` for components and for what everyone may see.
//! The parts of this server need none of them: they are trusted.

mod controllers;
mod data;

use serde_json::{Map, Value, json};

use super::{GROUP, Rule, aggregate};

/// A role in short form: each rule is `verbs : groups : resources : names`, or `verbs : paths`.
///
/// `read` and `write` stand for the usual verbs, `core` for the core group.
struct Role {
    name: &'static str,
    /// Into which roles it is gathered: `admin`, `edit`, `view`.
    gathered_into: &'static str,
    /// Whether its rules are gathered from those that name it.
    gathers: bool,
    rules: &'static [&'static str],
}

/// A binding of a ClusterRole of the same name, unless another is given.
struct Binding {
    name: &'static str,
    role: &'static str,
    /// `Group NAME`, `User NAME`, `ServiceAccount NAMESPACE/NAME`.
    subjects: &'static [&'static str],
}

/// Every built-in ClusterRole, ClusterRoleBinding, Role and RoleBinding, with aggregated rules filled in.
pub fn objects() -> Vec<Value> {
    let mut roles: Vec<Value> = data::CLUSTER_ROLES.iter().map(cluster_role).collect();
    for at in 0..roles.len() {
        // A role may gather from one that gathers; each is listed after its parts.
        if aggregate::is_aggregated(&roles[at]) {
            roles[at]["rules"] = aggregate::gathered(&roles[at], &roles).into();
        }
    }
    roles.extend(data::CLUSTER_ROLE_BINDINGS.iter().map(cluster_role_binding));
    roles.extend(controllers::CONTROLLERS.iter().flat_map(|(name, rules)| controller(name, rules)));
    roles.extend(data::ROLES.iter().map(|(namespace, role)| {
        let mut value = cluster_role(role);
        value["kind"] = "Role".into();
        value["metadata"]["namespace"] = (*namespace).into();
        value
    }));
    roles.extend(data::ROLE_BINDINGS.iter().map(|(namespace, binding)| {
        let mut value = cluster_role_binding(binding);
        value["kind"] = "RoleBinding".into();
        value["metadata"]["namespace"] = (*namespace).into();
        value["roleRef"]["kind"] = "Role".into();
        value
    }));
    roles
}

/// What every node may, beside what has to do with itself and its pods.
pub fn node_rules() -> Vec<Rule> {
    let role = data::CLUSTER_ROLES.iter().find(|it| it.name == "system:node");
    role.map(|it| Rule::of_role(&cluster_role(it))).unwrap_or_default()
}

/// The role of a controller, and the binding of its account.
fn controller(name: &str, rules: &[&str]) -> [Value; 2] {
    let role = format!("system:controller:{name}");
    let rules = rules.iter().map(|it| rule(it)).collect::<Vec<_>>();
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"});
    let reference = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
    let api_version = format!("{GROUP}/v1");
    [
        json!({"apiVersion": api_version, "kind": "ClusterRole", "metadata": metadata(&role), "rules": rules}),
        json!({"apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": metadata(&role),
            "roleRef": reference, "subjects": [subject]}),
    ]
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn cluster_role(role: &Role) -> Value {
    let mut metadata = metadata(role.name);
    for target in role.gathered_into.split_whitespace() {
        metadata["labels"][aggregation_label(target)] = "true".into();
    }
    let mut value = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": metadata,
        "rules": role.rules.iter().map(|it| rule(it)).collect::<Vec<_>>(),
    });
    if role.gathers {
        let labels = json!({aggregation_label(role.name): "true"});
        value["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    }
    value
}

fn aggregation_label(target: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{target}")
}

fn rule(text: &str) -> Value {
    let parts: Vec<Vec<String>> =
        text.split(" : ").map(|it| it.split_whitespace().map(str::to_owned).collect()).collect();
    let verbs: Vec<&str> = parts.first().into_iter().flatten().flat_map(|it| verbs(it)).collect();
    let fields: &[&str] =
        if parts.len() == 2 { &["nonResourceURLs"] } else { &["apiGroups", "resources", "resourceNames"] };
    let mut rule = Map::from_iter([("verbs".to_owned(), json!(verbs))]);
    for (field, words) in fields.iter().zip(parts.iter().skip(1)) {
        let words: Vec<&str> = words.iter().map(|it| if it == "core" { "" } else { it }).collect();
        rule.insert((*field).to_owned(), json!(words));
    }
    rule.into()
}

fn verbs(word: &str) -> Vec<&str> {
    match word {
        "read" => vec!["get", "list", "watch"],
        "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
        word => vec![word],
    }
}

fn cluster_role_binding(binding: &Binding) -> Value {
    let subjects: Vec<Value> = binding.subjects.iter().filter_map(|it| subject(it)).collect();
    let mut value = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata(binding.name),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": binding.role},
    });
    if !subjects.is_empty() {
        value["subjects"] = subjects.into();
    }
    value
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(' ')?;
    Some(match name.split_once('/') {
        Some((namespace, name)) => json!({"kind": kind, "namespace": namespace, "name": name}),
        None => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
    })
}
