//! A Knative Service in OpenFaaS' words, whoever made it.

use serde_json::{Map, Value, json};

use super::{FUNCTION, PROCESS, UPDATED, scale};
use crate::object::revision::serving;

/// What is known of a function besides its object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Instances asked for.
    pub replicas: i64,
    /// Instances that are ready.
    pub available: i64,
    /// Requests so far.
    pub invocations: i64,
}

/// Keys that say nothing to a user of OpenFaaS.
fn is_inner(key: &str) -> bool {
    key.starts_with("serving.knative.dev/")
        || key == "kubectl.kubernetes.io/last-applied-configuration"
        || key == UPDATED
}

/// The status of the function that `service` is.
pub fn status(service: &Value, counted: Counted) -> Value {
    let name = &service["metadata"]["name"];
    let template = &service["spec"]["template"];
    let container = serving(&template["spec"]);
    let variables = container["env"].as_array().into_iter().flatten();
    let variables = variables.filter_map(|it| Some((it["name"].as_str()?, it["value"].as_str()?)));
    let (process, own): (Vec<_>, Vec<_>) = variables.partition(|it| it.0 == PROCESS);
    let mut labels = together("labels", [service, template]);
    labels.entry(FUNCTION).or_insert_with(|| name.clone());
    let mut out = json!({
        "name": name, "image": container["image"], "namespace": service["metadata"]["namespace"],
        "labels": labels, "annotations": own_annotations(service, template),
        "invocationCount": counted.invocations, "replicas": counted.replicas, "availableReplicas": counted.available,
        "createdAt": service["metadata"]["creationTimestamp"],
    });
    let mut set = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(it) => it.is_empty(),
            Value::Array(it) => it.is_empty(),
            Value::Object(it) => it.is_empty(),
            _ => value == false,
        };
        if !empty {
            out[key] = value;
        }
    };
    set("envProcess", process.last().map_or(Value::Null, |it| it.1.into()));
    set("envVars", own.into_iter().map(|(key, it)| (key.to_owned(), Value::from(it))).collect::<Map<_, _>>().into());
    set("secrets", secrets(&template["spec"]).into());
    let selector = template["spec"]["nodeSelector"].as_object().into_iter().flatten();
    set("constraints", selector.map(|(key, it)| format!("{key}={}", it.as_str().unwrap_or_default())).collect());
    for key in ["limits", "requests"] {
        let said = container["resources"][key].as_object().into_iter().flatten();
        let said: Map<_, _> = said
            .filter(|it| ["memory", "cpu"].contains(&it.0.as_str()))
            .map(|(key, it)| (key.clone(), it.clone()))
            .collect();
        set(key, said.into());
    }
    set("readOnlyRootFilesystem", container["securityContext"]["readOnlyRootFilesystem"].clone());
    out
}

/// The annotations that somebody wrote. Those that follow from labels are not told: who sends a status back with other labels
/// means these, and would otherwise have said both.
fn own_annotations(service: &Value, template: &Value) -> Map<String, Value> {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.filter_map(|(key, it)| Some((key.clone(), it.as_str()?.to_owned()))).collect();
    let following = scale::annotations(&labels).unwrap_or_default();
    let mut out = together("annotations", [service, template]);
    out.retain(|key, it| following.get(key) != Some(it));
    out
}

/// Labels or annotations of several objects; later ones win.
fn together<const N: usize>(field: &str, of: [&Value; N]) -> Map<String, Value> {
    let all = of.into_iter().flat_map(|it| it["metadata"][field].as_object().into_iter().flatten());
    all.filter(|it| !is_inner(it.0)).map(|(key, it)| (key.clone(), it.clone())).collect()
}

/// The secrets that a pod is given as files or pulls its image with.
fn secrets(spec: &Value) -> Vec<String> {
    let pulls = spec["imagePullSecrets"].as_array().into_iter().flatten().map(|it| &it["name"]);
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let files = volumes.flat_map(|it| {
        let projected = it["projected"]["sources"].as_array().into_iter().flatten().map(|it| &it["secret"]["name"]);
        projected.chain([&it["secret"]["secretName"]])
    });
    let mut names: Vec<String> = pulls.chain(files).filter_map(|it| it.as_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::openfaas::Deployment;

    #[test]
    fn what_was_deployed_is_told_again() {
        let body = json!({
            "service": "hello", "image": "i:v1", "envProcess": "wc", "envVars": {"A": "1"}, "constraints": ["zone=a"],
            "secrets": ["b", "a"], "labels": {"team": "x"}, "annotations": {"topic": "t"}, "limits": {"cpu": "100m"},
            "readOnlyRootFilesystem": true,
        });
        let (deployment, _) = Deployment::read(&body).unwrap();
        let mut service = deployment.service("shop", |it| it == "a", Some("t")).unwrap();
        service["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let told = status(&service, Counted { replicas: 2, available: 1, invocations: 7 });
        expect![[r#"{"annotations":{"topic":"t"},"availableReplicas":1,"constraints":["zone=a"],"createdAt":"2026-01-01T00:00:00Z","envProcess":"wc","envVars":{"A":"1"},"image":"i:v1","invocationCount":7,"labels":{"faas_function":"hello","team":"x"},"limits":{"cpu":"100m"},"name":"hello","namespace":"shop","readOnlyRootFilesystem":true,"replicas":2,"secrets":["a","b"]}"#]]
        .assert_eq(&told.to_string());
        assert_eq!(Deployment::read(&told).unwrap_err(), "service: is required", "a status names it otherwise");
    }

    #[test]
    fn labels_that_are_sent_back_changed_are_not_overruled_by_what_followed_from_the_old_ones() {
        let deploy = |body: &Value| Deployment::read(body).unwrap().0.service("default", |_| false, None).unwrap();
        let scaling = |service: &Value| {
            let all = service["spec"]["template"]["metadata"]["annotations"].as_object().unwrap().clone();
            let named = |name: &str| all.get(&format!("autoscaling.knative.dev/{name}")).cloned().unwrap_or_default();
            (named("min-scale"), named("max-scale"), named("window"))
        };
        let first = deploy(&json!({
            "service": "hello", "image": "i", "labels": {"com.openfaas.scale.min": "2", "com.openfaas.scale.max": "8"},
            "annotations": {"autoscaling.knative.dev/window": "30s", "autoscaling.knative.dev/max-scale": "9"},
        }));
        assert_eq!(
            scaling(&first),
            (json!("2"), json!("9"), json!("30s")),
            "what is said in both ways is said last here"
        );
        let mut told = status(&first, Counted::default());
        told["service"] = told["name"].clone();
        told["labels"]["com.openfaas.scale.min"] = "5".into();
        assert_eq!(scaling(&deploy(&told)), (json!("5"), json!("9"), json!("30s")));
    }

    #[test]
    fn a_service_of_anybody_else_is_a_function_too() {
        let service = json!({
            "metadata": {"name": "plain", "namespace": "default", "annotations": {"serving.knative.dev/creator": "me"}},
            "spec": {"template": {"spec": {"containers": [{"image": "i"}]}}},
        });
        expect![[r#"{"annotations":{},"availableReplicas":0,"createdAt":null,"image":"i","invocationCount":0,"labels":{"faas_function":"plain"},"name":"plain","namespace":"default","replicas":0}"#]]
        .assert_eq(&status(&service, Counted::default()).to_string());
    }
}
