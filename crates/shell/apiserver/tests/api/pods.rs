//! Pods: defaults, binding, deletion in steps, and the way to their node.

use echo::Echo;
use serde_json::{Value, json};

use crate::server::{PODS, Server, pod};

/// A kubelet that answers with what it was asked.
mod echo {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use eyot_apiserver::Body;
    use http::{Request, Response};

    #[derive(Clone)]
    pub(crate) struct Echo;

    impl tower::Service<Request<Body>> for Echo {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            std::future::ready(Ok(Response::new(Body::full(request.uri().to_string()))))
        }
    }
}

async fn node(server: &Server, name: &str, ready: &str) {
    let created = server.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
    let patched = server.merge(&format!("/api/v1/nodes/{name}/status"), status).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
}

#[tokio::test]
async fn a_new_pod_is_pending_with_an_account() {
    let server = Server::start().await;
    let created = server.post(PODS, pod("a")).await.body;
    assert_eq!(
        (&created["status"]["phase"], &created["status"]["qosClass"]),
        (&"Pending".into(), &"BestEffort".into())
    );
    assert_eq!(created["spec"]["serviceAccountName"], "default");
    assert_eq!(created["spec"]["nodeName"], Value::Null);
}

#[tokio::test]
async fn the_only_ready_node_takes_undemanding_pods_at_once() {
    let server = Server::start().await;
    node(&server, "one", "False").await;
    assert_eq!(server.post(PODS, pod("a")).await.body["spec"]["nodeName"], Value::Null);
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    server.merge("/api/v1/nodes/one/status", ready).await;
    let bound = server.post(PODS, pod("b")).await.body;
    assert_eq!(bound["spec"]["nodeName"], "one");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let mut choosy = pod("c");
    choosy["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    assert_eq!(server.post(PODS, choosy).await.body["spec"]["nodeName"], Value::Null);
    node(&server, "two", "True").await;
    assert_eq!(server.post(PODS, pod("d")).await.body["spec"]["nodeName"], Value::Null);
}

async fn takes(server: &Server, name: &str, pods: &str) {
    let status = json!({"status": {"allocatable": {"pods": pods}}});
    assert_eq!(server.merge(&format!("/api/v1/nodes/{name}/status"), status).await.code, 200);
}

#[tokio::test]
async fn the_last_pods_that_a_node_takes_are_the_schedulers_to_give() {
    let server = Server::start().await;
    node(&server, "one", "True").await;
    takes(&server, "one", "4").await;
    for (name, want) in [("a", json!("one")), ("b", json!("one")), ("c", json!("one")), ("d", Value::Null)] {
        assert_eq!(server.post(PODS, pod(name)).await.body["spec"]["nodeName"], want, "{name}");
    }
    takes(&server, "one", "400").await;
    assert_eq!(server.post(PODS, pod("e")).await.body["spec"]["nodeName"], "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_not_given_more_pods_than_it_takes_however_many_come_at_once() {
    let server = Server::start().await;
    node(&server, "one", "True").await;
    takes(&server, "one", "12").await;
    let created = (0..40).map(|it| {
        let (server, pod) = (&server, pod(&format!("p{it}")));
        async move { server.post(PODS, pod).await.body["spec"]["nodeName"] == "one" }
    });
    let placed = futures::future::join_all(created).await.into_iter().filter(|it| *it).count();
    assert!((1..=9).contains(&placed), "{placed} of 12");
}

#[tokio::test]
async fn a_binding_places_a_pod_once() {
    let server = Server::start().await;
    server.post(PODS, pod("a")).await;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n"}});
    let bound = server.post(&format!("{PODS}/a/binding"), binding.clone()).await;
    assert_eq!(bound.code, 201, "{}", bound.body);
    let object = server.get(&format!("{PODS}/a")).await.body;
    assert_eq!(object["spec"]["nodeName"], "n");
    assert_eq!(object["status"]["conditions"][0]["status"], "True");
    assert_eq!(object["status"]["phase"], "Pending");
    assert_eq!(server.post(&format!("{PODS}/a/binding"), binding).await.code, 409);
    let selected = server.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn")).await.body;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_running_pod_ends_when_its_node_says_so() {
    let server = Server::start().await;
    server.post(PODS, pod("a")).await;
    server.post(&format!("{PODS}/a/binding"), json!({"target": {"name": "n"}})).await;
    let uri = format!("{PODS}/a");
    let marked = server.delete(&uri, json!({"gracePeriodSeconds": 5})).await.body;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 5);
    assert_eq!(server.get(&uri).await.code, 200);
    let last = server.delete(&uri, json!({"gracePeriodSeconds": 0})).await;
    assert_eq!((last.code, &last.body["kind"]), (200, &"Pod".into()));
    assert_eq!(server.get(&uri).await.code, 404);
    server.post(PODS, pod("b")).await;
    server.delete(&format!("{PODS}/b"), Value::Null).await;
    assert_eq!(server.get(&format!("{PODS}/b")).await.code, 404);
}

#[tokio::test]
async fn an_eviction_deletes() {
    let server = Server::start().await;
    server.post(PODS, pod("a")).await;
    let evicted = server.post(&format!("{PODS}/a/eviction"), json!({"metadata": {"name": "a"}})).await;
    assert_eq!(evicted.code, 201, "{}", evicted.body);
    assert_eq!(server.get(&format!("{PODS}/a")).await.code, 404);
}

#[tokio::test]
async fn logs_and_sessions_go_to_the_pods_node() {
    let server = Server::start().await;
    server.post(PODS, pod("a")).await;
    assert_eq!(server.get(&format!("{PODS}/a/log")).await.code, 400);
    server.post(&format!("{PODS}/a/binding"), json!({"target": {"name": "n"}})).await;
    assert_eq!(server.get(&format!("{PODS}/a/log")).await.code, 502);
    server.api.set_kubelet("n", Echo);
    let log = server.get(&format!("{PODS}/a/log?follow=true&tailLines=5&pretty=1")).await;
    assert_eq!(log.body, "/containerLogs/default/a/main?follow=true&tailLines=5");
    let forward = server.get(&format!("{PODS}/a/portforward?ports=80")).await;
    assert_eq!(forward.body, "/portForward/default/a?ports=80");
    let exec = server.get(&format!("{PODS}/a/exec?command=ls&stdout=true")).await;
    assert_eq!(exec.body, "/exec/default/a/main?command=ls&stdout=true");
    assert_eq!(server.get(&format!("{PODS}/a/log?container=other")).await.code, 400);
}
