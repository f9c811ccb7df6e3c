//! A function as it is deployed through OpenFaaS' API, and the Knative Service that it becomes.

use std::collections::BTreeMap;

use eyot_model::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{FUNCTION, PROCESS, SECRETS, UPDATED, is_name, is_namespace, scale};
use crate::API_VERSION;

/// Annotations that say how a function is asked whether it lives and is ready.
const HEALTH: &str = "com.openfaas.health.http.";
const READY: &str = "com.openfaas.ready.http.";
/// Annotation that names profiles, which are not there.
const PROFILE: &str = "com.openfaas.profile";

/// What `/system/functions` is given for a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    /// Its name.
    pub service: String,
    /// Its image.
    pub image: String,
    /// Its namespace, where one is named.
    pub namespace: Option<String>,
    /// The command that is run for each request.
    pub env_process: String,
    /// Variables of its environment.
    pub env_vars: BTreeMap<String, String>,
    /// Labels that its node must have.
    pub constraints: BTreeMap<String, String>,
    /// Names of its secrets.
    pub secrets: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Most it may use.
    pub limits: Resources,
    /// What it asks for.
    pub requests: Resources,
    /// Whether it may write nothing but `/tmp`.
    pub read_only_root: bool,
}

/// Memory and processor, as Kubernetes writes quantities; empty where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes.
    pub memory: String,
    /// Cores.
    pub cpu: String,
}

impl Deployment {
    /// Reads what a client sent; the second value warns of what was said without effect.
    ///
    /// # Errors
    ///
    /// What is missing, malformed or cannot be honoured; for the client.
    pub fn read(body: &Value) -> Result<(Deployment, Vec<String>), String> {
        let fields = body.as_object().ok_or("the body is no JSON object")?;
        let (mut it, mut warnings) = (Deployment::default(), Vec::new());
        for (key, value) in fields {
            if value.is_null() {
                continue;
            }
            match key.as_str() {
                "service" => it.service = text(key, value)?,
                "image" => it.image = text(key, value)?,
                "namespace" => it.namespace = Some(text(key, value)?).filter(|it| !it.is_empty()),
                "envProcess" => it.env_process = text(key, value)?,
                "envVars" => it.env_vars = texts(key, value)?,
                "constraints" => it.constraints = constraints(value)?,
                "secrets" => it.secrets = list(key, value)?,
                "labels" => it.labels = texts(key, value)?,
                "annotations" => it.annotations = texts(key, value)?,
                "limits" => it.limits = Resources::read(key, value)?,
                "requests" => it.requests = Resources::read(key, value)?,
                "readOnlyRootFilesystem" => {
                    it.read_only_root =
                        value.as_bool().ok_or_else(|| format!("{key}: it is neither true nor false"))?;
                }
                // Of functions as they are listed: who reads one may send it back.
                "name" | "invocationCount" | "replicas" | "availableReplicas" | "createdAt" | "usage" => {}
                "registryAuth" | "network" if value == "" => {}
                "registryAuth" => {
                    return Err(
                        "registryAuth: use a secret of type kubernetes.io/dockerconfigjson in secrets".to_owned()
                    );
                }
                other => warnings.push(format!("{other} is without effect")),
            }
        }
        it.check()?;
        Ok((it, warnings))
    }

    fn check(&self) -> Result<(), String> {
        if self.service.is_empty() {
            return Err("service: is required".to_owned());
        }
        if !is_name(&self.service) {
            return Err(format!("service: ({}) is invalid, must be a valid DNS entry", self.service));
        }
        if self.image.is_empty() {
            return Err("image: is required".to_owned());
        }
        if let Some(odd) = self.namespace.as_deref().filter(|it| !is_namespace(it)) {
            return Err(format!("namespace: {odd:?} is no namespace's name"));
        }
        if let Some(odd) = self.secrets.iter().find(|it| it.is_empty() || it.contains('/')) {
            return Err(format!("secrets: {odd:?} is no secret's name"));
        }
        if self.annotations.contains_key(PROFILE) {
            return Err(format!(
                "annotation {PROFILE}: there are no profiles here; a Knative Service can say the same"
            ));
        }
        if let Some((key, _)) = self.labels.iter().find(|it| it.0.starts_with("serving.knative.dev/")) {
            return Err(format!("label {key}: it is not for users"));
        }
        Ok(())
    }

    /// The Knative Service in `namespace`. `pulls` knows which of the secrets are for pulling the image; `updated` marks a
    /// template that is to be rolled out even where nothing else of it changed.
    ///
    /// # Errors
    ///
    /// Labels or annotations that cannot be honoured.
    pub fn service(
        &self,
        namespace: &str,
        pulls: impl Fn(&str) -> bool,
        updated: Option<&str>,
    ) -> Result<Value, String> {
        let mut labels: Map<String, Value> =
            self.labels.iter().map(|(key, it)| (key.clone(), it.clone().into())).collect();
        labels.insert(FUNCTION.to_owned(), self.service.clone().into());
        let (scaling, own): (Vec<_>, Vec<_>) =
            self.annotations.iter().partition(|it| it.0.starts_with("autoscaling.knative.dev/"));
        let own: Map<String, Value> = own.into_iter().map(|(key, it)| (key.clone(), it.clone().into())).collect();
        let mut of_template = own.clone();
        of_template.extend(scale::annotations(&self.labels)?);
        of_template.extend(scaling.into_iter().map(|(key, it)| (key.clone(), it.clone().into())));
        if let Some(updated) = updated {
            of_template.insert(UPDATED.to_owned(), updated.into());
        }
        Ok(json!({
            "apiVersion": API_VERSION, "kind": "Service",
            "metadata": { "name": self.service, "namespace": namespace, "labels": labels, "annotations": own },
            "spec": {
                "template": {
                    "metadata": { "labels": labels, "annotations": of_template },
                    "spec": self.pod(pulls)?,
                },
                // A deployment takes over, whatever earlier ones were pinned to.
                "traffic": [{ "latestRevision": true, "percent": 100 }],
            },
        }))
    }

    fn pod(&self, pulls: impl Fn(&str) -> bool) -> Result<Value, String> {
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        let (images, files): (Vec<&String>, Vec<&String>) = self.secrets.iter().partition(|it| pulls(it));
        if !files.is_empty() {
            let name = format!("{}-projected-secrets", self.service);
            let sources: Vec<Value> = files.iter().map(|it| json!({ "secret": { "name": it } })).collect();
            volumes.push(json!({ "name": name, "projected": { "sources": sources } }));
            mounts.push(json!({ "name": name, "mountPath": SECRETS, "readOnly": true }));
        }
        if self.read_only_root {
            volumes.push(json!({ "name": "temp", "emptyDir": {} }));
            mounts.push(json!({ "name": "temp", "mountPath": "/tmp" }));
        }
        let process = (!self.env_process.is_empty()).then(|| (PROCESS.to_owned(), self.env_process.clone()));
        let variables = process
            .into_iter()
            .chain(self.env_vars.clone().into_iter().filter(|it| it.0 != PROCESS || self.env_process.is_empty()));
        let env: Vec<Value> = variables.map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut container = json!({ "image": self.image, "env": env, "volumeMounts": mounts });
        let mut resources = Map::new();
        for (key, it) in [("limits", &self.limits), ("requests", &self.requests)] {
            resources.extend(it.fields().map(|fields| (key.to_owned(), fields)));
        }
        if !resources.is_empty() {
            container["resources"] = resources.into();
        }
        if self.read_only_root {
            container["securityContext"] = json!({ "readOnlyRootFilesystem": true });
        }
        for (prefix, probes) in [(HEALTH, &["livenessProbe", "readinessProbe"][..]), (READY, &["readinessProbe"][..])] {
            if let Some(probe) = self.probe(prefix)? {
                probes.iter().for_each(|it| container[*it] = probe.clone());
            }
        }
        let mut pod = json!({ "containers": [container], "volumes": volumes });
        if !images.is_empty() {
            pod["imagePullSecrets"] = images.iter().map(|it| json!({ "name": it })).collect();
        }
        if !self.constraints.is_empty() {
            pod["nodeSelector"] = json!(self.constraints);
        }
        Ok(pod)
    }

    fn probe(&self, prefix: &str) -> Result<Option<Value>, String> {
        let named = |name: &str| self.annotations.get(&format!("{prefix}{name}"));
        let Some(path) = named("path") else { return Ok(None) };
        let mut probe = json!({ "httpGet": { "path": path } });
        let seconds = |name: &str| -> Result<Option<i64>, String> {
            let Some(text) = named(name) else { return Ok(None) };
            let digits = text.strip_suffix('s').unwrap_or(text);
            let seconds =
                digits.parse().map_err(|_| format!("annotation {prefix}{name}={text}: it is no number of seconds"))?;
            Ok(Some(seconds))
        };
        for (name, field) in [
            ("initialDelay", "initialDelaySeconds"),
            ("initialDelaySeconds", "initialDelaySeconds"),
            ("periodSeconds", "periodSeconds"),
        ] {
            if let Some(number) = seconds(name)? {
                probe[field] = number.into();
            }
        }
        Ok(Some(probe))
    }
}

impl Resources {
    fn read(field: &str, value: &Value) -> Result<Resources, String> {
        let mut it = Resources::default();
        for (key, amount) in texts(field, value)? {
            if amount.is_empty() {
                continue;
            }
            if amount.parse::<Quantity>().is_err() {
                return Err(format!("{field}.{key}: {amount:?} is no quantity"));
            }
            match key.as_str() {
                "memory" => it.memory = amount,
                "cpu" => it.cpu = amount,
                _ => return Err(format!("{field}.{key}: only memory and cpu")),
            }
        }
        Ok(it)
    }

    fn fields(&self) -> Option<Value> {
        let both = [("memory", &self.memory), ("cpu", &self.cpu)];
        let said: Map<String, Value> = both
            .iter()
            .filter(|it| !it.1.is_empty())
            .map(|(key, it)| ((*key).to_owned(), it.as_str().into()))
            .collect();
        (!said.is_empty()).then(|| said.into())
    }
}

fn text(field: &str, value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{field}: it is no text"))
}

fn list(field: &str, value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().ok_or_else(|| format!("{field}: it is no list"))?;
    items.iter().map(|it| text(field, it)).collect()
}

fn texts(field: &str, value: &Value) -> Result<BTreeMap<String, String>, String> {
    let fields = value.as_object().ok_or_else(|| format!("{field}: it is no object"))?;
    let pair = |(key, it): (&String, &Value)| Ok((key.clone(), text(&format!("{field}.{key}"), it)?));
    fields.iter().filter(|it| !it.1.is_null()).map(pair).collect()
}

/// `key=value` or `key == value`.
fn constraints(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let read = |text: String| {
        let (key, value) = text.split_once("==").or_else(|| text.split_once('='))?;
        let (key, value) = (key.trim(), value.trim());
        let fits = !key.is_empty() && !key.ends_with('!') && !value.contains('=');
        fits.then(|| (key.to_owned(), value.to_owned()))
    };
    let each = |text: String| {
        read(text.clone()).ok_or_else(|| format!("constraints: {text:?} is not of the form label=value"))
    };
    list("constraints", value)?.into_iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn refused(body: Value, want: Expect) {
        let got = Deployment::read(&body).and_then(|it| it.0.service("default", |_| false, None));
        want.assert_eq(&got.unwrap_err());
    }

    #[test]
    fn a_deployment_becomes_a_service() {
        let body = json!({
            "service": "hello", "image": "localhost:5000/hello:v1", "namespace": "", "envProcess": "wc -l",
            "envVars": {"A": "1"}, "constraints": ["kubernetes.io/arch=amd64", "zone == a"], "secrets": ["key", "pull"],
            "labels": {"team": "x", "com.openfaas.scale.zero": "true"},
            "annotations": {"topic": "t", "com.openfaas.health.http.path": "/_/health", "com.openfaas.health.http.initialDelay": "5s"},
            "limits": {"memory": "128Mi"}, "requests": null, "readOnlyRootFilesystem": true, "network": "func", "lang": "rust",
        });
        let (deployment, warnings) = Deployment::read(&body).unwrap();
        assert_eq!(warnings, ["lang is without effect", "network is without effect"]);
        let service = deployment.service("default", |it| it == "pull", Some("now")).unwrap();
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "autoscaling.knative.dev/min-scale": "0",
                  "client.knative.dev/updateTimestamp": "now",
                  "com.openfaas.health.http.initialDelay": "5s",
                  "com.openfaas.health.http.path": "/_/health",
                  "topic": "t"
                },
                "labels": {
                  "com.openfaas.scale.zero": "true",
                  "faas_function": "hello",
                  "team": "x"
                }
              },
              "spec": {
                "containers": [
                  {
                    "env": [
                      {
                        "name": "fprocess",
                        "value": "wc -l"
                      },
                      {
                        "name": "A",
                        "value": "1"
                      }
                    ],
                    "image": "localhost:5000/hello:v1",
                    "livenessProbe": {
                      "httpGet": {
                        "path": "/_/health"
                      },
                      "initialDelaySeconds": 5
                    },
                    "readinessProbe": {
                      "httpGet": {
                        "path": "/_/health"
                      },
                      "initialDelaySeconds": 5
                    },
                    "resources": {
                      "limits": {
                        "memory": "128Mi"
                      }
                    },
                    "securityContext": {
                      "readOnlyRootFilesystem": true
                    },
                    "volumeMounts": [
                      {
                        "mountPath": "/var/openfaas/secrets",
                        "name": "hello-projected-secrets",
                        "readOnly": true
                      },
                      {
                        "mountPath": "/tmp",
                        "name": "temp"
                      }
                    ]
                  }
                ],
                "imagePullSecrets": [
                  {
                    "name": "pull"
                  }
                ],
                "nodeSelector": {
                  "kubernetes.io/arch": "amd64",
                  "zone": "a"
                },
                "volumes": [
                  {
                    "name": "hello-projected-secrets",
                    "projected": {
                      "sources": [
                        {
                          "secret": {
                            "name": "key"
                          }
                        }
                      ]
                    }
                  },
                  {
                    "emptyDir": {},
                    "name": "temp"
                  }
                ]
              }
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&service["spec"]["template"]).unwrap());
        assert_eq!(service["metadata"]["annotations"].as_object().unwrap().len(), 3, "none of the autoscaler's");
        assert!(crate::validate::flaws("Service", &service, None).is_empty());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let with = |key: &str, value: Value| json!({"service": "a", "image": "b", key: value});
        refused(json!({"image": "b"}), expect!["service: is required"]);
        refused(json!({"service": "a"}), expect!["image: is required"]);
        refused(json!([]), expect!["the body is no JSON object"]);
        refused(with("service", json!("A_b")), expect!["service: (A_b) is invalid, must be a valid DNS entry"]);
        refused(with("limits", json!({"nvidia.com/gpu": "1"})), expect!["limits.nvidia.com/gpu: only memory and cpu"]);
        refused(with("limits", json!({"memory": "lots"})), expect![[r#"limits.memory: "lots" is no quantity"#]]);
        refused(with("envVars", json!({"A": 1})), expect!["envVars.A: it is no text"]);
        refused(
            with("constraints", json!(["a != b"])),
            expect![[r#"constraints: "a != b" is not of the form label=value"#]],
        );
        refused(
            with("registryAuth", json!("eA==")),
            expect!["registryAuth: use a secret of type kubernetes.io/dockerconfigjson in secrets"],
        );
        refused(
            with("annotations", json!({"com.openfaas.profile": "gpu"})),
            expect!["annotation com.openfaas.profile: there are no profiles here; a Knative Service can say the same"],
        );
        refused(
            with("labels", json!({"com.openfaas.scale.type": "queue"})),
            expect!["label com.openfaas.scale.type=queue: only rps, capacity and cpu"],
        );
    }
}
