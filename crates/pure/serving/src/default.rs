//! What users need not write. Entry point: [`fill`].

use serde_json::{Map, Value, json};

/// Seconds that a request may take, where nothing is said.
pub(crate) const TIMEOUT_SECONDS: i64 = 300;
/// The container of a revision that has one.
pub(crate) const CONTAINER: &str = "user-container";

/// Fills the defaults of an object of `kind` in; whether anything changed.
pub(crate) fn fill(kind: &str, object: &mut Value) -> bool {
    let before = object.clone();
    match kind {
        "Service" => {
            revision(&mut object["spec"]["template"]["spec"]);
            route(&mut object["spec"], true);
        }
        "Configuration" => revision(&mut object["spec"]["template"]["spec"]),
        "Revision" => revision(&mut object["spec"]),
        "Route" => route(&mut object["spec"], false),
        _ => {}
    }
    *object != before
}

/// What a revision of this template does, whether or not that is written out.
pub(crate) fn filled(mut template: Value) -> Value {
    revision(&mut template["spec"]);
    template
}

fn revision(spec: &mut Value) {
    if spec.is_null() {
        *spec = json!({});
    }
    let Some(fields) = spec.as_object_mut() else { return };
    fields.entry("containerConcurrency").or_insert(0.into());
    let timeout = fields.entry("timeoutSeconds").or_insert(TIMEOUT_SECONDS.into());
    if *timeout == 0 {
        *timeout = TIMEOUT_SECONDS.into();
    }
    fields.entry("enableServiceLinks").or_insert(false.into());
    let Some(containers) = fields.get_mut("containers").and_then(Value::as_array_mut) else { return };
    let single = containers.len() == 1;
    for (at, container) in containers.iter_mut().enumerate() {
        let serves = single || container["ports"].as_array().is_some_and(|it| !it.is_empty());
        let Some(container) = container.as_object_mut() else { continue };
        let unnamed = container.get("name").and_then(Value::as_str).is_none_or(str::is_empty);
        if unnamed {
            let name = if serves { CONTAINER.to_owned() } else { format!("{CONTAINER}-{at}") };
            container.insert("name".into(), name.into());
        }
        container.entry("resources").or_insert_with(|| json!({}));
        if serves {
            probe(container);
        }
    }
}

fn probe(container: &mut Map<String, Value>) {
    let probe = container.entry("readinessProbe").or_insert_with(|| json!({}));
    let Some(probe) = probe.as_object_mut() else { return };
    if !["exec", "grpc", "httpGet", "tcpSocket"].iter().any(|it| probe.contains_key(*it)) {
        probe.insert("tcpSocket".into(), json!({"port": 0}));
    }
    probe.entry("successThreshold").or_insert(1.into());
}

/// Targets that name neither a revision nor whether they follow the latest do follow it, unless they name a revision.
fn route(spec: &mut Value, of_service: bool) {
    if spec.is_null() {
        *spec = json!({});
    }
    let Some(fields) = spec.as_object_mut() else { return };
    if of_service {
        fields.entry("traffic").or_insert_with(|| json!([{"latestRevision": true, "percent": 100}]));
    }
    let Some(traffic) = fields.get_mut("traffic").and_then(Value::as_array_mut) else { return };
    if of_service && traffic.is_empty() {
        traffic.push(json!({"latestRevision": true, "percent": 100}));
    }
    for target in traffic.iter_mut().filter_map(Value::as_object_mut) {
        let named = target.get("revisionName").and_then(Value::as_str).is_some_and(|it| !it.is_empty());
        target.entry("latestRevision").or_insert((!named).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_what_it_left_out_and_no_more_the_second_time() {
        let mut service = json!({"spec": {
            "template": {"spec": {"containers": [{"image": "hello"}], "timeoutSeconds": 0}},
            "traffic": [{"revisionName": "a", "percent": 50}, {"percent": 50}],
        }});
        assert!(fill("Service", &mut service));
        assert_eq!(
            service["spec"],
            json!({
                "template": {"spec": {
                    "containerConcurrency": 0, "timeoutSeconds": 300, "enableServiceLinks": false,
                    "containers": [{"image": "hello", "name": "user-container", "resources": {},
                        "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1}}],
                }},
                "traffic": [
                    {"revisionName": "a", "percent": 50, "latestRevision": false},
                    {"percent": 50, "latestRevision": true},
                ],
            })
        );
        assert!(!fill("Service", &mut service));
        let mut all = json!({"spec": {"template": {"spec": {}}}});
        fill("Service", &mut all);
        assert_eq!(all["spec"]["traffic"], json!([{"latestRevision": true, "percent": 100}]));
    }
}
