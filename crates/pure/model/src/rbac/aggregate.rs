//! Aggregated ClusterRoles: rules gathered from other ClusterRoles by label. Entry point: [`gathered`].

use serde_json::Value;

use crate::{meta, selector::LabelSelector};

/// Whether its rules are gathered from others.
pub fn is_aggregated(role: &Value) -> bool {
    role.get("aggregationRule").is_some_and(Value::is_object)
}

/// The rules of an aggregated ClusterRole, given all ClusterRoles: those of the roles that each selector in turn selects,
/// in the order of their names, each once. A selector that cannot be read selects nothing.
pub fn gathered(role: &Value, all: &[Value]) -> Vec<Value> {
    let mut others: Vec<&Value> = all.iter().filter(|it| meta::name(it) != meta::name(role)).collect();
    others.sort_by_key(|it| meta::name(it));
    let mut rules: Vec<Value> = Vec::new();
    for selector in meta::list(role.pointer("/aggregationRule/clusterRoleSelectors")) {
        let Ok(selector) = LabelSelector::from_value(selector) else { continue };
        let selected = others.iter().filter(|it| selector.matches_object(it));
        for rule in selected.flat_map(|it| meta::list(it.get("rules"))) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}
