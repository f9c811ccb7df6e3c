//! Renders the kind table as discovery documents, in the older and in the aggregated form.

use eyot_model::kinds::{Kind, Subresource, Table, api_version};
use serde_json::{Map, Value, json};

/// `APIVersions`: the versions of the core group.
pub(super) fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `APIGroupList`: every named group.
pub(super) fn all(table: &Table) -> Value {
    let groups: Vec<Value> = table
        .groups()
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| api_group(group, &versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `APIGroup`: one named group.
pub(super) fn one(table: &Table, group: &str) -> Option<Value> {
    let (group, versions) = table.groups().into_iter().find(|it| it.0 == group && !group.is_empty())?;
    let mut value = api_group(group, &versions);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> =
        versions.iter().map(|it| json!({"groupVersion": api_version(group, it), "version": it})).collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions.first()})
}

/// `APIResourceList`: resources and subresources of a group and version.
pub(super) fn resources(table: &Table, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds(table, group, version) {
        let mut main = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs,
        });
        lists(&mut main, kind);
        // An object's metrics are subresources of nothing that could be asked for by itself.
        if !kind.verbs.is_empty() {
            resources.push(main);
        }
        resources.extend(kind.subresources.iter().map(|it| subresource_entry(kind, it)));
    }
    if resources.is_empty() {
        return None;
    }
    let group_version = api_version(group, version);
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

fn subresource_entry(kind: &Kind, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, sub.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if (&sub.group, &sub.version) != (&kind.group, &kind.version) {
        entry["group"] = sub.group.as_str().into();
        entry["version"] = sub.version.as_str().into();
    }
    entry
}

/// `APIGroupDiscoveryList` of the groups that `wanted` picks.
pub(super) fn aggregated(table: &Table, list_version: &str, wanted: impl Fn(&str) -> bool) -> Value {
    let items: Vec<Value> = table
        .groups()
        .into_iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> =
                versions.iter().map(|version| aggregated_version(table, group, version)).collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{list_version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version(table: &Table, group: &str, version: &str) -> Value {
    let resources: Vec<Value> = kinds(table, group, version).map(aggregated_resource).collect();
    json!({"version": version, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    lists(&mut resource, kind);
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|it| {
            json!({
                "subresource": it.name,
                "responseKind": {"group": it.group, "version": it.version, "kind": it.kind},
                "verbs": it.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}

fn lists(value: &mut Value, kind: &Kind) {
    let entries = [("shortNames", &kind.short_names), ("categories", &kind.categories)];
    let entries = entries.into_iter().filter(|it| !it.1.is_empty());
    let entries: Map<String, Value> = entries.map(|(key, list)| (key.to_owned(), list.clone().into())).collect();
    if let Some(map) = value.as_object_mut() {
        map.extend(entries);
    }
}

fn kinds<'t>(table: &'t Table, group: &str, version: &str) -> impl Iterator<Item = &'t Kind> {
    table.iter().map(|it| &**it).filter(move |it| it.group == group && it.version == version)
}
