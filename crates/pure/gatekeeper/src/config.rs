//! `Config` and `SyncSet`: which kinds make up `data.inventory`, and which namespaces are left alone by whom.

use eyot_model::meta;
use eyot_policy::glob::affix_matches;
use serde_json::Value;

use crate::matching::texts;

/// Group, version and kind.
pub(crate) type Gvk = (String, String, String);

/// Who looks at an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Webhook,
    Mutation,
    Audit,
    Sync,
}

impl Process {
    fn word(self) -> &'static str {
        match self {
            Process::Webhook => "webhook",
            Process::Mutation => "mutation-webhook",
            Process::Audit => "audit",
            Process::Sync => "sync",
        }
    }
}

/// The object `config` of kind `Config`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) sync: Vec<Gvk>,
    excluded: Vec<(Vec<String>, Vec<String>)>,
}

impl Config {
    pub(crate) fn read(object: &Value) -> Config {
        let excluded = meta::list(object.pointer("/spec/match")).iter();
        Config {
            sync: gvks(object.pointer("/spec/sync/syncOnly")),
            excluded: excluded.map(|it| (texts(&it["excludedNamespaces"]), texts(&it["processes"]))).collect(),
        }
    }

    /// Whether `process` leaves a namespace alone.
    pub(crate) fn excludes(&self, process: Process, namespace: &str) -> bool {
        self.excluded.iter().any(|(namespaces, processes)| {
            processes.iter().any(|it| it == "*" || it == process.word())
                && namespaces.iter().any(|pattern| affix_matches(pattern, namespace))
        })
    }
}

/// A list of groups, versions and kinds.
pub(crate) fn gvks(list: Option<&Value>) -> Vec<Gvk> {
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    meta::list(list).iter().map(|it| (text(it, "group"), text(it, "version"), text(it, "kind"))).collect()
}

/// What a template says that it looks up: the annotation `metadata.gatekeeper.sh/requires-sync-data`, all alternatives of
/// it.
pub(crate) fn required(template: &Value) -> Vec<Gvk> {
    let Some(text) = meta::annotation(template, "metadata.gatekeeper.sh/requires-sync-data") else { return Vec::new() };
    let text = text.trim().trim_matches('"').replace("\\\"", "\"");
    let Ok(Value::Array(needs)) = serde_json::from_str(&text) else { return Vec::new() };
    let mut out = Vec::new();
    for one in needs.iter().flat_map(|it| meta::list(Some(it))) {
        for group in texts(&one["groups"]) {
            for version in texts(&one["versions"]) {
                out.extend(texts(&one["kinds"]).into_iter().map(|kind| (group.clone(), version.clone(), kind)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn namespaces_are_left_alone_by_process() {
        let config = Config::read(&json!({"spec": {
            "sync": {"syncOnly": [{"group": "", "version": "v1", "kind": "Service"}]},
            "match": [{"excludedNamespaces": ["kube-*"], "processes": ["*"]},
                {"excludedNamespaces": ["dev"], "processes": ["audit", "sync"]}]}}));
        assert_eq!(config.sync, [(String::new(), "v1".to_owned(), "Service".to_owned())]);
        assert!(config.excludes(Process::Webhook, "kube-system") && config.excludes(Process::Audit, "dev"));
        assert!(!config.excludes(Process::Webhook, "dev") && !config.excludes(Process::Mutation, "shop"));
    }

    #[test]
    fn templates_tell_what_they_look_up() {
        let text = "\"[[{\"groups\":[\"networking.k8s.io\"],\"versions\": [\"v1\"],\"kinds\": [\"Ingress\"]}]]\"";
        let template = json!({"metadata": {"annotations": {"metadata.gatekeeper.sh/requires-sync-data": text}}});
        assert_eq!(required(&template), [("networking.k8s.io".to_owned(), "v1".to_owned(), "Ingress".to_owned())]);
    }
}
