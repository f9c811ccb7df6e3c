//! What a LimitRange adds to pods and asks of pods and claims.
//!
//! Start at [`complete`] for the defaults of a new pod, and [`check_pod`] and [`check_claim`] for what is refused.
//! Messages are those of Kubernetes.

use serde_json::{Map, Value};

use crate::{
    meta,
    quantity::Quantity,
    resources::{self, Amounts, Bound},
};

/// The annotation that tells what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Gives the containers of a pod the requests and limits they lack.
pub fn complete(range: &Value, pod: &mut Value) {
    let mut defaults = [Map::new(), Map::new()];
    for item in items(range, "Container") {
        for (field, all) in ["defaultRequest", "default"].into_iter().zip(&mut defaults) {
            all.extend(item.get(field).and_then(Value::as_object).cloned().unwrap_or_default());
        }
    }
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut("/spec").and_then(|it| it.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (bound, defaults) in [Bound::Requests, Bound::Limits].into_iter().zip(&defaults) {
                let filled = fill(container, bound, defaults);
                if !filled.is_empty() {
                    let (word, name) = (&bound.field()[..bound.field().len() - 1], container["name"].as_str());
                    notes.push(format!("{} {word} for {what} {}", filled.join(", "), name.unwrap_or_default()));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        let annotations = meta::metadata_mut(pod).entry("annotations").or_insert(Value::Null);
        meta::as_map(annotations).insert(ANNOTATION.into(), note.into());
    }
}

/// Fills one list of a container, and says which resources it got.
fn fill(container: &mut Value, bound: Bound, defaults: &Map<String, Value>) -> Vec<String> {
    if defaults.is_empty() {
        return Vec::new();
    }
    let resources = meta::entry(container, "resources");
    let list = meta::as_map(resources.entry(bound.field()).or_insert(Value::Null));
    let mut filled = Vec::new();
    for (name, amount) in defaults.iter().filter(|it| !it.1.is_null()) {
        if !list.contains_key(name) {
            list.insert(name.clone(), amount.clone());
            filled.push(name.clone());
        }
    }
    filled.sort_unstable();
    filled
}

/// Everything in which a pod breaks a range.
pub fn check_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for item in items(range, "Container") {
        for list in ["containers", "initContainers"] {
            for container in meta::list(pod.pointer("/spec").and_then(|it| it.get(list))) {
                let of = |bound| resources::of_container(container, bound);
                check(item, "Container", &of(Bound::Requests), &of(Bound::Limits), &mut found);
            }
        }
    }
    for item in items(range, "Pod") {
        let of = |bound| resources::of_pod(pod, bound);
        check(item, "Pod", &of(Bound::Requests), &of(Bound::Limits), &mut found);
    }
    once(found)
}

/// Everything in which a PersistentVolumeClaim breaks a range.
pub fn check_claim(range: &Value, claim: &Value) -> Vec<String> {
    const TYPE: &str = "PersistentVolumeClaim";
    let requests = resources::amounts(claim.pointer("/spec/resources/requests"));
    let mut found = Vec::new();
    for item in items(range, TYPE) {
        for (name, least) in resources::amounts(item.get("min")) {
            let usage = Usage { of_type: TYPE, request: requests.get(&name).copied(), limit: None };
            found.extend(usage.below(&name, least));
        }
        for (name, most) in resources::amounts(item.get("max")) {
            let lead = format!("maximum {name} usage per {TYPE} is {most}");
            match requests.get(&name) {
                None => found.push(format!("{lead}.  No request is specified")),
                Some(request) if *request > most => found.push(format!("{lead}, but request is {request}")),
                Some(_) => {}
            }
        }
    }
    once(found)
}

fn check(item: &Value, of_type: &str, requests: &Amounts, limits: &Amounts, found: &mut Vec<String>) {
    let usage = |name: &str| Usage { of_type, request: requests.get(name).copied(), limit: limits.get(name).copied() };
    for (name, least) in resources::amounts(item.get("min")) {
        found.extend(usage(&name).below(&name, least));
    }
    for (name, most) in resources::amounts(item.get("max")) {
        found.extend(usage(&name).above(&name, most));
    }
    for (name, ratio) in resources::amounts(item.get("maxLimitRequestRatio")) {
        found.extend(usage(&name).apart(&name, ratio));
    }
}

/// What something asks of one resource.
struct Usage<'a> {
    of_type: &'a str,
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

impl Usage<'_> {
    /// Why it is less than allowed.
    fn below(&self, name: &str, least: Quantity) -> Option<String> {
        let lead = format!("minimum {name} usage per {} is {least}", self.of_type);
        match (self.request, self.limit) {
            (None, _) => Some(format!("{lead}.  No request is specified")),
            (Some(request), _) if request < least => Some(format!("{lead}, but request is {request}")),
            (_, Some(limit)) if limit < least => Some(format!("{lead}, but limit is {limit}")),
            _ => None,
        }
    }

    /// Why it is more than allowed.
    fn above(&self, name: &str, most: Quantity) -> Option<String> {
        let lead = format!("maximum {name} usage per {} is {most}", self.of_type);
        match (self.request, self.limit) {
            (_, None) => Some(format!("{lead}.  No limit is specified")),
            (_, Some(limit)) if limit > most => Some(format!("{lead}, but limit is {limit}")),
            (Some(request), _) if request > most => Some(format!("{lead}, but request is {request}")),
            _ => None,
        }
    }

    /// Why limit and request are further apart than allowed.
    fn apart(&self, name: &str, most: Quantity) -> Option<String> {
        let lead = format!("{name} max limit to request ratio per {} is {most}, but", self.of_type);
        let Some(request) = self.request.filter(|it| !it.is_zero()) else {
            return Some(format!("{lead} no request is specified or request is 0"));
        };
        let Some(limit) = self.limit.filter(|it| !it.is_zero()) else {
            return Some(format!("{lead} no limit is specified or limit is 0"));
        };
        let ratio = limit.ratio(request);
        (ratio > most.ratio(Quantity::from_units(1))).then(|| format!("{lead} provided ratio is {ratio:.6}"))
    }
}

fn items<'a>(range: &'a Value, of_type: &'static str) -> impl Iterator<Item = &'a Value> {
    meta::list(range.pointer("/spec/limits")).iter().filter(move |it| it["type"] == of_type)
}

/// Containers that break the same rule in the same way are told once.
fn once(mut found: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    found.retain(|it| seen.insert(it.clone()));
    found
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[track_caller]
    fn check(item: Value, pod: &Value, want: Expect) {
        want.assert_eq(&check_pod(&json!({"spec": {"limits": [item]}}), pod).join("\n"));
    }

    #[test]
    fn fills_in_what_containers_lack_and_says_so() {
        let range = json!({"spec": {"limits": [{
            "type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"},
        }]}});
        let mut pod = pod(json!({"limits": {"memory": "2Gi"}}));
        complete(&range, &mut pod);
        let resources = json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "500m"}});
        assert_eq!(pod["spec"]["containers"][0]["resources"], resources);
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
        );
        let once = pod.clone();
        complete(&range, &mut pod);
        assert_eq!(pod, once);
    }

    #[test]
    fn bounds_are_kept() {
        let item = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}});
        check(item.clone(), &pod(json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}})), expect![""]);
        check(
            item.clone(),
            &pod(json!({"requests": {"cpu": "50m"}, "limits": {"cpu": "2"}})),
            expect![[r#"
                minimum cpu usage per Container is 100m, but request is 50m
                maximum cpu usage per Container is 1, but limit is 2"#]],
        );
        check(
            item,
            &pod(json!({})),
            expect![[r#"
                minimum cpu usage per Container is 100m.  No request is specified
                maximum cpu usage per Container is 1.  No limit is specified"#]],
        );
    }

    #[test]
    fn pods_are_bound_as_a_whole() {
        let item = json!({"type": "Pod", "max": {"memory": "1Gi"}});
        let container = json!({"resources": {"limits": {"memory": "600Mi"}}});
        check(
            item,
            &json!({"spec": {"containers": [container, container]}}),
            expect!["maximum memory usage per Pod is 1Gi, but limit is 1200Mi"],
        );
    }

    #[test]
    fn ratios_are_kept() {
        let item = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "1500m"}});
        check(item.clone(), &pod(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1500m"}})), expect![""]);
        check(
            item.clone(),
            &pod(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})),
            expect!["cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000"],
        );
        check(
            item,
            &pod(json!({"requests": {"cpu": "0"}})),
            expect![
                "cpu max limit to request ratio per Container is 1500m, but no request is specified or request is 0"
            ],
        );
    }

    #[test]
    fn claims_are_bound() {
        let range = json!({"spec": {"limits": [
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
        ]}});
        let of = |size: &str| check_claim(&range, &json!({"spec": {"resources": {"requests": {"storage": size}}}}));
        assert!(of("1Gi").is_empty());
        assert_eq!(of("3Gi"), ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"]);
        assert_eq!(of("1Mi"), ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"]);
    }
}
