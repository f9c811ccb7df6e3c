//! The fields of each kind that a field selector can name.

use serde_json::Value;

use crate::{kinds::Kind, meta, selector::FieldSelector, status::ApiError};

/// The selectable fields of a kind beyond name and namespace: path, and value when the object has none.
fn extra(kind: &Kind) -> &'static [(&'static str, &'static str)] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &[
            ("spec.nodeName", ""),
            ("spec.restartPolicy", ""),
            ("spec.schedulerName", ""),
            ("spec.serviceAccountName", ""),
            ("spec.hostNetwork", "false"),
            ("status.phase", ""),
            ("status.podIP", ""),
            ("status.nominatedNodeName", ""),
        ],
        ("", "Event") => &[
            ("involvedObject.kind", ""),
            ("involvedObject.namespace", ""),
            ("involvedObject.name", ""),
            ("involvedObject.uid", ""),
            ("involvedObject.apiVersion", ""),
            ("involvedObject.resourceVersion", ""),
            ("involvedObject.fieldPath", ""),
            ("reason", ""),
            ("reportingComponent", ""),
            ("source", ""),
            ("type", ""),
        ],
        ("events.k8s.io", "Event") => &[
            ("regarding.kind", ""),
            ("regarding.namespace", ""),
            ("regarding.name", ""),
            ("regarding.uid", ""),
            ("regarding.apiVersion", ""),
            ("regarding.resourceVersion", ""),
            ("regarding.fieldPath", ""),
            ("reason", ""),
            ("reportingController", ""),
            ("type", ""),
        ],
        ("", "Namespace") => &[("status.phase", "")],
        ("", "Node") => &[("spec.unschedulable", "false")],
        ("", "Secret") => &[("type", "")],
        ("", "Service") => &[("spec.clusterIP", ""), ("spec.type", "")],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &[("status.replicas", "0")],
        ("batch", "Job") => &[("status.successful", "0")],
        ("certificates.k8s.io", "CertificateSigningRequest") => &[("spec.signerName", "")],
        ("certificates.k8s.io", "ClusterTrustBundle") => &[("spec.signerName", "")],
        ("certificates.k8s.io", "PodCertificateRequest") => &[("spec.signerName", ""), ("spec.nodeName", "")],
        ("networking.k8s.io", "IPAddress") => &[("spec.parentRef", "")],
        ("resource.k8s.io", "ResourceSlice") => &[("spec.nodeName", ""), ("spec.driver", "")],
        _ => &[],
    }
}

/// The selectable fields of an object of that kind, each with its value as text.
pub fn of(kind: &Kind, object: &Value) -> Vec<(&'static str, String)> {
    let mut fields = vec![("metadata.name", meta::name(object).unwrap_or("").to_owned())];
    if kind.namespaced {
        fields.push(("metadata.namespace", meta::namespace(object).unwrap_or("").to_owned()));
    }
    fields.extend(extra(kind).iter().map(|&(path, absent)| (path, value(object, path, absent))));
    fields
}

/// Whether a field selector can name that field of the kind.
pub fn supports(kind: &Kind, field: &str) -> bool {
    field == "metadata.name"
        || (kind.namespaced && field == "metadata.namespace")
        || extra(kind).iter().any(|(path, _)| *path == field)
        || kind.custom.as_ref().is_some_and(|it| it.version().details().selectable.iter().any(|it| it == field))
}

/// A field of a custom object as text; empty when it has none.
pub fn of_custom(object: &Value, field: &str) -> String {
    value(object, field, "")
}

/// Refuses a selector that names a field which the kind does not offer.
pub fn check(kind: &Kind, selector: &FieldSelector) -> Result<(), ApiError> {
    let Some(unknown) = selector.requirements().iter().find(|it| !supports(kind, &it.field)) else {
        return Ok(());
    };
    Err(ApiError::bad_request(format!("field label not supported: {}", unknown.field)))
}

fn value(object: &Value, path: &str, absent: &str) -> String {
    let found = match path {
        // Two of Kubernetes' names differ from where the value lives.
        "source" => object.pointer("/source/component"),
        "status.successful" => object.pointer("/status/succeeded"),
        "spec.hostNetwork" => object.pointer("/spec/hostNetwork"),
        _ => path.split('.').try_fold(object, |it, segment| it.get(segment)),
    };
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => absent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::builtin;

    #[test]
    fn pods_are_selectable_by_node_and_phase() {
        let pods = builtin().by_plural("", "v1", "pods").expect("known");
        let pod = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"nodeName": "n"}});
        let selects = |text: &str| {
            let selector = FieldSelector::parse(text).expect("parses");
            check(pods, &selector).expect("supported");
            let fields = of(pods, &pod);
            selector.matches(|field| fields.iter().find(|it| it.0 == field).map(|it| it.1.as_str()))
        };
        assert!(selects("spec.nodeName=n,metadata.namespace=d,status.phase!=Failed,spec.hostNetwork=false"));
        assert!(!selects("metadata.name=b"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let pods = builtin().by_plural("", "v1", "pods").expect("known");
        let error = check(pods, &FieldSelector::parse("spec.x=1").expect("parses")).expect_err("unknown");
        assert_eq!(error.message, "field label not supported: spec.x");
    }
}
