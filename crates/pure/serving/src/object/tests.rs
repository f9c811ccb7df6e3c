use expect_test::expect;
use serde_json::{Value, json};

use super::*;
use crate::{Assigned, Problem, Told, Truth, label};

fn service() -> Value {
    let mut service = json!({
        "metadata": {"name": "hello", "namespace": "ns", "uid": "u1", "generation": 2, "labels": {"team": "a"},
            "annotations": {"serving.knative.dev/creator": "eve"}},
        "spec": {"template": {
            "metadata": {"labels": {"x": "y"}, "annotations": {"autoscaling.knative.dev/min-scale": "1"}},
            "spec": {"containers": [{"image": "localhost:5000/hello:1", "env": [{"name": "A", "value": "b"}]}]},
        }},
    });
    crate::default::fill("Service", &mut service);
    service
}

fn revision() -> Value {
    let mut configuration = service::configuration(&service());
    (configuration["metadata"]["uid"], configuration["metadata"]["generation"]) = ("u2".into(), 7.into());
    let mut revision = configuration::revision(&configuration, "now");
    revision["metadata"]["uid"] = "u3".into();
    revision
}

#[test]
fn a_service_becomes_a_configuration_and_a_route() {
    let configuration = service::configuration(&service());
    assert_eq!(configuration["spec"]["template"], service()["spec"]["template"]);
    assert_eq!(configuration["metadata"]["labels"], json!({"team": "a", label::SERVICE: "hello"}));
    let route = service::route(&service());
    expect![[r#"[{"configurationName":"hello","latestRevision":true,"percent":100}]"#]]
        .assert_eq(&route["spec"]["traffic"].to_string());
    assert_eq!(route["metadata"]["ownerReferences"][0]["uid"], "u1");
}

#[test]
fn annotations_of_a_template_reach_its_pods_but_for_those_of_knative() {
    let mut revision = revision();
    revision["metadata"]["annotations"]["eyot.io/instance-reuse"] = "100".into();
    let template = &deployment::deployment(&revision, 1)["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], json!({"eyot.io/instance-reuse": "100"}));
}

#[test]
fn an_instance_that_goes_may_end_its_requests() {
    let grace = |change: fn(&mut Value)| {
        let mut revision = revision();
        change(&mut revision["spec"]);
        deployment::deployment(&revision, 1)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].clone()
    };
    assert_eq!(grace(|it| it["timeoutSeconds"] = 42.into()), 42);
    assert_eq!(grace(|it| it["terminationGracePeriodSeconds"] = 5.into()), 5);
}

#[test]
fn a_revision_is_named_by_generation_and_runs_as_a_deployment() {
    let revision = revision();
    assert_eq!(revision["metadata"]["name"], "hello-00007");
    expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "Deployment",
          "metadata": {
            "labels": {
              "app": "hello-00007",
              "serving.knative.dev/configuration": "hello",
              "serving.knative.dev/configurationGeneration": "7",
              "serving.knative.dev/configurationUID": "u2",
              "serving.knative.dev/revision": "hello-00007",
              "serving.knative.dev/revisionUID": "u3",
              "serving.knative.dev/service": "hello",
              "x": "y"
            },
            "name": "hello-00007-deployment",
            "namespace": "ns",
            "ownerReferences": [
              {
                "apiVersion": "serving.knative.dev/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Revision",
                "name": "hello-00007",
                "uid": "u3"
              }
            ]
          },
          "spec": {
            "progressDeadlineSeconds": 600,
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "selector": {
              "matchLabels": {
                "serving.knative.dev/revisionUID": "u3"
              }
            },
            "strategy": {
              "rollingUpdate": {
                "maxSurge": "25%",
                "maxUnavailable": 0
              },
              "type": "RollingUpdate"
            },
            "template": {
              "metadata": {
                "labels": {
                  "app": "hello-00007",
                  "serving.knative.dev/configuration": "hello",
                  "serving.knative.dev/configurationGeneration": "7",
                  "serving.knative.dev/configurationUID": "u2",
                  "serving.knative.dev/revision": "hello-00007",
                  "serving.knative.dev/revisionUID": "u3",
                  "serving.knative.dev/service": "hello",
                  "x": "y"
                }
              },
              "spec": {
                "containers": [
                  {
                    "env": [
                      {
                        "name": "A",
                        "value": "b"
                      },
                      {
                        "name": "PORT",
                        "value": "8080"
                      },
                      {
                        "name": "K_REVISION",
                        "value": "hello-00007"
                      },
                      {
                        "name": "K_CONFIGURATION",
                        "value": "hello"
                      },
                      {
                        "name": "K_SERVICE",
                        "value": "hello"
                      }
                    ],
                    "image": "localhost:5000/hello:1",
                    "name": "user-container",
                    "ports": [
                      {
                        "containerPort": 8080,
                        "name": "user-port",
                        "protocol": "TCP"
                      }
                    ],
                    "resources": {}
                  }
                ],
                "enableServiceLinks": false,
                "runtimeClassName": "wasm",
                "terminationGracePeriodSeconds": 300
              }
            }
          }
        }"#]]
    .assert_eq(&format!("{:#}", deployment::deployment(&revision, 1)));
    expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "annotations": {
              "serving.knative.dev/containerConcurrency": "0",
              "serving.knative.dev/timeoutSeconds": "300"
            },
            "labels": {
              "app": "hello-00007",
              "serving.knative.dev/configuration": "hello",
              "serving.knative.dev/configurationGeneration": "7",
              "serving.knative.dev/configurationUID": "u2",
              "serving.knative.dev/revision": "hello-00007",
              "serving.knative.dev/revisionUID": "u3",
              "serving.knative.dev/service": "hello",
              "x": "y"
            },
            "name": "hello-00007",
            "namespace": "ns",
            "ownerReferences": [
              {
                "apiVersion": "serving.knative.dev/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Revision",
                "name": "hello-00007",
                "uid": "u3"
              }
            ]
          },
          "spec": {
            "ports": [
              {
                "name": "http",
                "port": 80,
                "protocol": "TCP",
                "targetPort": 8080
              }
            ],
            "selector": {
              "serving.knative.dev/revisionUID": "u3"
            },
            "type": "ClusterIP"
          }
        }"#]]
    .assert_eq(&format!("{:#}", deployment::service(&revision)));
}

#[test]
fn probes_without_a_port_are_aimed_at_the_container() {
    let mut revision = revision();
    let container = &mut revision["spec"]["containers"][0];
    container["ports"] = json!([{"containerPort": 9000, "name": "h2c"}]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/ok"}});
    let deployment = deployment::deployment(&revision, 1);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/ok", "port": 9000}));
    assert_eq!(container["env"][1], json!({"name": "PORT", "value": "9000"}));
    assert_eq!(deployment::service(&revision)["spec"]["ports"][0]["appProtocol"], "kubernetes.io/h2c");
}

fn ready(name: &str, generation: i64, truth: &str, message: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {label::GENERATION: generation.to_string()}},
        "status": {"conditions": [{"type": "Ready", "status": truth, "reason": "R", "message": message}]},
    })
}

#[test]
fn a_revision_that_fails_leaves_the_one_before_it_serving() {
    let mut configuration = service::configuration(&service());
    configuration["metadata"]["generation"] = 2.into();
    let revisions = [ready("hello-00001", 1, "True", ""), ready("hello-00002", 2, "False", "no such image")];
    let status = configuration::status(&configuration, &revisions, "now");
    assert_eq!(status["latestReadyRevisionName"], "hello-00001");
    assert_eq!(status["latestCreatedRevisionName"], "hello-00002");
    let told = Told::of(&status, "Ready");
    assert_eq!(told.message, "Revision \"hello-00002\" failed with message: no such image.");
    assert_eq!((told.truth, told.reason.as_str()), (Truth::False, "RevisionFailed"));
}

fn assigned() -> Vec<Assigned> {
    let one = |revision: &str, percent, tag: Option<&str>, is_latest| Assigned {
        revision: revision.into(),
        percent: Some(percent),
        tag: tag.map(Into::into),
        is_latest,
    };
    vec![one("hello-00001", 90, Some("v1"), false), one("hello-00002", 10, None, true)]
}

#[test]
fn a_route_leads_by_weight_and_its_tags_by_name() {
    let route = service::route(&service());
    let site = Site { domain: "localhost".into(), port: 8080 };
    let made = http_routes(&route, &site);
    expect![[r#"
        hello ["hello.ns.localhost","hello.ns.svc.cluster.local"] hello-00001=90 hello-00002=10
        v1-hello ["v1-hello.ns.localhost","v1-hello.ns.svc.cluster.local"] hello-00001=100
    "#]]
    .assert_eq(&made);
    let published = json!({
        "metadata": {"generation": 1},
        "status": {"parents": [{"conditions": [
            {"type": "Accepted", "status": "True", "observedGeneration": 1},
            {"type": "ResolvedRefs", "status": "True", "observedGeneration": 1},
        ]}]},
    });
    let status = route::status(&route, Ok(&assigned()), None, &[published.clone(), published.clone()], &site, "now");
    expect![[r#"
        {
          "address": {
            "url": "http://hello.ns.svc.cluster.local"
          },
          "conditions": [
            {
              "lastTransitionTime": "now",
              "status": "True",
              "type": "AllTrafficAssigned"
            },
            {
              "lastTransitionTime": "now",
              "message": "TLS is not enabled",
              "reason": "TLSNotEnabled",
              "status": "True",
              "type": "CertificateProvisioned"
            },
            {
              "lastTransitionTime": "now",
              "status": "True",
              "type": "IngressReady"
            },
            {
              "lastTransitionTime": "now",
              "status": "True",
              "type": "Ready"
            }
          ],
          "observedGeneration": null,
          "traffic": [
            {
              "latestRevision": false,
              "percent": 90,
              "revisionName": "hello-00001",
              "tag": "v1",
              "url": "http://v1-hello.ns.localhost:8080"
            },
            {
              "latestRevision": true,
              "percent": 10,
              "revisionName": "hello-00002"
            }
          ],
          "url": "http://hello.ns.localhost:8080"
        }"#]]
    .assert_eq(&format!("{status:#}"));
    let late = route::status(&route, Ok(&assigned()), None, &[published, Value::Null], &site, "now");
    assert_eq!(Told::of(&late, "Ready").reason, "IngressNotConfigured", "its tag is not served yet");
}

fn http_routes(route: &Value, site: &Site) -> String {
    let made = route::http_routes(route, &assigned(), site);
    let line = |it: &Value| {
        let backends = it["spec"]["rules"][0]["backendRefs"].as_array().unwrap().iter();
        let backends: Vec<String> = backends.map(|it| format!("{}={}", text(it, "/name"), it["weight"])).collect();
        format!("{} {} {}\n", text(it, "/metadata/name"), it["spec"]["hostnames"], backends.join(" "))
    };
    made.iter().map(line).collect()
}

#[test]
fn a_route_that_finds_no_revision_keeps_what_it_had() {
    let mut route = service::route(&service());
    route["status"] = json!({"traffic": [{"revisionName": "hello-00001", "percent": 100}]});
    let problem = Problem(Told::new(Truth::False, "RevisionMissing", "gone"));
    let status = route::status(&route, Err(&problem), None, &[], &Site::default(), "now");
    assert_eq!(status["traffic"], route["status"]["traffic"]);
    assert_eq!(Told::of(&status, "Ready").message, "gone");
    assert_eq!(status["url"], "http://hello.ns.localhost");
}

#[test]
fn a_service_is_ready_when_traffic_has_reached_the_latest_revision() {
    let service = service();
    let child = |status: Value| {
        let mut status = status;
        status["observedGeneration"] = 1.into();
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        json!({"metadata": {"name": "hello", "generation": 1, "ownerReferences": [{"uid": "u1"}]}, "status": status})
    };
    let configuration = child(json!({"latestReadyRevisionName": "hello-00002"}));
    let route = |revision: &str| {
        child(json!({"url": "http://x", "traffic": [{"revisionName": revision, "latestRevision": true}]}))
    };
    let status = |route: &Value| service::status(&service, &configuration, route, "now");
    let told = Told::of(&status(&route("hello-00001")), "Ready");
    assert_eq!((told.truth, told.reason.as_str()), (Truth::Unknown, "TrafficNotMigrated"));
    assert_eq!(Told::of(&status(&route("hello-00002")), "Ready").truth, Truth::True);
    assert_eq!(Told::of(&status(&Value::Null), "Ready").truth, Truth::Unknown);
    let mut strange = route("hello-00002");
    strange["metadata"]["ownerReferences"] = json!([]);
    assert_eq!(
        Told::of(&status(&strange), "Ready").message,
        "There is an existing Route \"hello\" that we do not own."
    );
}

#[test]
fn a_revision_stays_ready_at_zero_and_says_why_it_never_was() {
    let mut revision = revision();
    let start = revision::Instances { desired: 1, initial: 1, ..Default::default() };
    let status = |revision: &Value, it: &revision::Instances| revision::status(revision, it, "now");
    assert_eq!(Told::of(&status(&revision, &start), "Ready").reason, "Deploying");
    let broken =
        revision::Instances { trouble: Some(("ErrImagePull".into(), "no such image".into())), ..start.clone() };
    assert_eq!(
        Told::of(&status(&revision, &broken), "Ready"),
        Told::new(Truth::False, "ErrImagePull", "Container failed with: no such image")
    );
    let late = revision::Instances { overdue: Some("too slow".into()), ..start.clone() };
    assert_eq!(Told::of(&status(&revision, &late), "Ready").reason, "ProgressDeadlineExceeded");
    revision["status"] = status(&revision, &revision::Instances { ready: 1, ..start });
    let zero = status(&revision, &revision::Instances::default());
    assert_eq!(Told::of(&zero, "Ready").truth, Truth::True);
    assert_eq!(Told::of(&zero, "Active").reason, "NoTraffic");
}

#[test]
fn a_header_leads_to_a_tag_on_the_host_of_all() {
    let route = service::route(&service());
    let main = &route::http_routes(&route, &assigned(), &Site::default())[0];
    let rule = &main["spec"]["rules"][1];
    assert_eq!(rule["matches"][0]["headers"], json!([{"type": "Exact", "name": "Knative-Serving-Tag", "value": "v1"}]));
    assert_eq!(rule["backendRefs"][0]["name"], "hello-00001");
    assert!(main["spec"]["rules"][2].is_null(), "what has no tag has no header");
}

#[test]
fn a_route_that_went_back_says_why() {
    let route = service::route(&service());
    let why = Some("Revision \"hello-00002\" was rolled back".to_owned());
    let status = route::status(&route, Ok(&assigned()), why, &[], &Site::default(), "now");
    let told = Told::of(&status, "Ready");
    assert_eq!((told.truth, told.reason.as_str()), (Truth::False, "RolledBack"));
    assert_eq!(status["traffic"][0]["revisionName"], "hello-00001", "where requests go is still told");
}

#[test]
fn an_autoscaler_goes_by_what_the_annotations_name() {
    let of = |annotations: &[(&str, &str)]| {
        let keys: Vec<_> = annotations.iter().map(|it| (format!("autoscaling.knative.dev/{}", it.0), it.1)).collect();
        let hpa = [("autoscaling.knative.dev/class", "hpa.autoscaling.knative.dev")];
        let all = keys.iter().map(|it| (it.0.as_str(), it.1)).chain(hpa);
        let map: serde_json::Map<String, Value> = all.clone().map(|(key, it)| (key.to_owned(), it.into())).collect();
        let scaling = crate::Scaling::parse(all).unwrap();
        let revision = json!({"metadata": {"name": "r", "namespace": "ns", "annotations": map}});
        deployment::autoscaler(&revision, &scaling)["spec"].clone()
    };
    let cpu = of(&[("min-scale", "2"), ("target", "55.5")]);
    assert_eq!(cpu["metrics"][0]["resource"]["target"], json!({"type": "Utilization", "averageUtilization": 56}));
    assert_eq!((&cpu["minReplicas"], &cpu["maxReplicas"]), (&json!(2), &json!(i32::MAX)));
    let memory = of(&[("metric", "memory"), ("target", "40")]);
    assert_eq!(memory["metrics"][0]["resource"]["target"]["averageValue"], "40Mi");
    let named = of(&[("metric", "http_requests_per_second"), ("target", "2.5"), ("max-scale", "5"), ("window", "30s")]);
    assert_eq!(
        named["metrics"][0]["pods"],
        json!({"metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "2500m"}})
    );
    assert_eq!(named["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 30);
}
