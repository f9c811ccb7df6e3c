//! Hooks as their configurations describe them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use eyot_model::{meta, selector::LabelSelector};
use eyot_policy::rule::Rule;
use eyot_store::Entry;
use serde_json::Value;

use super::conditions::Condition;
use crate::{
    object,
    webhook::{self, Client, Target},
};

/// One webhook of one configuration.
pub(super) struct Hook {
    /// Configuration and name: what tells it from all others.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    /// Whether rules also match other versions of the same objects.
    pub(super) equivalent: bool,
    pub(super) namespaces: LabelSelector,
    pub(super) objects: LabelSelector,
    pub(super) conditions: Vec<Condition>,
    pub(super) ignores_failures: bool,
    /// Whether it wants to see what later hooks changed.
    pub(super) reinvoked: bool,
    /// Whether it may be asked about what will not be stored.
    pub(super) rehearses: bool,
    pub(super) timeout: Duration,
    /// `v1` or `v1beta1`, of `admission.k8s.io`.
    pub(super) version: &'static str,
    pub(super) target: Target,
    /// PEM certificates of the authorities that it may be signed by; the system's when empty.
    pub(super) authorities: Vec<u8>,
    /// Made at the first call; keeps connections open.
    pub(super) client: OnceLock<Result<Client, String>>,
}

/// Reads the hooks of all configurations, in the order of their names.
pub(super) fn read(entries: &[Arc<Entry>]) -> Vec<Arc<Hook>> {
    let mut hooks = Vec::new();
    for entry in entries {
        let Ok(configuration) = object::parse(entry) else { continue };
        for hook in meta::list(configuration.get("webhooks")) {
            hooks.push(Arc::new(Hook::read(&entry.key.name, hook)));
        }
    }
    hooks
}

impl Hook {
    fn read(configuration: &str, hook: &Value) -> Hook {
        let text = |field: &str| hook[field].as_str().unwrap_or_default();
        // What is stored was checked; a selector that cannot be read would select everything rather than nothing.
        let selector = |field: &str| LabelSelector::from_value(&hook[field]).unwrap_or_default();
        let selector = |field: &str| if hook[field].is_object() { selector(field) } else { LabelSelector::default() };
        let versions = texts(hook.get("admissionReviewVersions"));
        let config = &hook["clientConfig"];
        let name = text("name").to_owned();
        Hook {
            id: format!("{configuration}/{name}"),
            rules: meta::list(hook.get("rules")).iter().map(Rule::read).collect(),
            equivalent: text("matchPolicy") != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            conditions: meta::list(hook.get("matchConditions")).iter().map(Condition::read).collect(),
            ignores_failures: text("failurePolicy") == "Ignore",
            reinvoked: text("reinvocationPolicy") == "IfNeeded",
            rehearses: matches!(text("sideEffects"), "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
            version: if versions
                .iter()
                .find(|it| matches!(it.as_str(), "v1" | "v1beta1"))
                .is_some_and(|it| it == "v1beta1")
            {
                "v1beta1"
            } else {
                "v1"
            },
            target: Target::read(config),
            authorities: webhook::authorities(config),
            client: OnceLock::new(),
            name,
        }
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    meta::list(list).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
