//! Pods: their first status. Deletion of pods is in [`crate::verbs::delete`].

use eyot_model::meta;
use serde_json::{Value, json};

/// Gives a new pod the status `Pending` and its quality-of-service class.
pub(super) fn create(pod: &mut Value) {
    let class = qos_class(pod);
    meta::as_map(pod).insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
}

/// `Guaranteed` when every container's limits of cpu and memory equal its requests, `BestEffort` when none has any.
fn qos_class(pod: &Value) -> &'static str {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|it| meta::list(pod["spec"].get(it)));
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        for resource in ["cpu", "memory"] {
            let (limit, request) = (resources["limits"].get(resource), resources["requests"].get(resource));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_requests_and_limits() {
        let class = |resources: Value| qos_class(&json!({"spec": {"containers": [{"resources": resources}]}}));
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
        assert_eq!(class(json!({"limits": {"memory": "1Gi"}})), "Burstable");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    }
}
