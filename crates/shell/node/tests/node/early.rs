//! Revisions at zero that are answered for before they have a pod.

use std::{sync::Arc, time::Duration};

use eyot_dispatch::{Early, Handler};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::island::{Island, hello, ready};

const REVISION: &str = "default/fn-00001/u-1";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// A component that prints a line and then answers.
fn talker() -> Vec<u8> {
    let source = include_str!("../../../runtime/tests/guests/http.wat");
    let handle = "(i32.store8 (i32.const 1036) (i32.const 10)) (drop (call $put (call $get-stderr) (i32.const 1024) (i32.const 13))) (call $hello (local.get $outparam))";
    wat::parse_str(source.replace(";;HANDLE;;", handle)).unwrap()
}

fn labels() -> Value {
    json!({"serving.knative.dev/revision": "fn-00001", "serving.knative.dev/revisionUID": "u-1"})
}

fn pod(image: &str, env: Value) -> Value {
    json!({"enableServiceLinks": false, "containers": [{
        "name": "user-container", "image": image, "ports": [{"containerPort": 8080}], "env": env}]})
}

/// Makes the Deployment of a revision at zero.
async fn deploy(island: &Island, spec: Value) {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fn-00001-deployment", "labels": labels()},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"serving.knative.dev/revisionUID": "u-1"}},
            "template": {"metadata": {"labels": labels()}, "spec": spec},
        },
    });
    island.call("POST", DEPLOYMENTS, deployment).await.unwrap();
}

/// Waits until the revision is ready, or is not; it is asked for all the time where `asks`.
async fn until(early: &Arc<dyn Early>, wanted: bool, asks: bool) -> Option<Arc<dyn Handler>> {
    for _ in 0..500 {
        let found = match asks {
            true => early.clone().prepare(REVISION).await,
            false => early.ready(REVISION),
        };
        if found.is_some() == wanted {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the revision does not become {}", if wanted { "ready" } else { "unready" });
}

async fn ask(guest: Arc<dyn Handler>) -> String {
    let request = Request::get("http://fn/").header("host", "fn").body(eyot_dispatch::empty()).unwrap();
    let answer = guest.handle(request).await.unwrap();
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_revision_at_zero_answers_without_any_object_until_its_deployment_is_gone() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let early = island.early();
    assert!(early.clone().prepare(REVISION).await.is_none(), "there is none");
    deploy(&island, pod(&image, json!([]))).await;
    let guest = until(&early, true, false).await.unwrap();
    assert_eq!(ask(guest).await, "hello, world", "made ready though nobody asked");
    let pods = island.call("GET", "/api/v1/pods", Value::Null).await.unwrap();
    assert_eq!(pods["items"], json!([]));
    assert!(early.ready("default/fn-00001/u-2").is_none(), "another incarnation of its name");
    island.call("DELETE", &format!("{DEPLOYMENTS}/fn-00001-deployment"), Value::Null).await.unwrap();
    until(&early, false, true).await;
}

#[tokio::test]
async fn what_it_is_made_of_is_followed() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let early = island.early();
    island.config_map("settings", json!({"colour": "green"})).await;
    let env = json!([{"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}}]);
    deploy(&island, pod(&image, env)).await;
    let mut before = until(&early, true, true).await.unwrap();
    // Each change has to bring another guest than the one before.
    let patch = |replicas: u64, greeting: &str| json!({"spec": {"replicas": replicas, "template": {"metadata": {"annotations": {"greeting": greeting}}}}});
    let deployment = format!("{DEPLOYMENTS}/fn-00001-deployment");
    for change in ["config map", "template", "image", "node"] {
        match change {
            "config map" => island.config_map("settings", json!({"colour": "red"})).await,
            "template" => drop(island.call("PATCH", &deployment, patch(0, "hi")).await.unwrap()),
            "image" => drop(island.push("hello", talker()).await),
            _ => {
                let cordon = |it: bool| json!({"spec": {"unschedulable": it}});
                island.call("PATCH", "/api/v1/nodes/edge", cordon(true)).await.unwrap();
                until(&early, false, false).await;
                assert!(early.clone().prepare(REVISION).await.is_none(), "a cordoned node answers for nothing");
                island.call("PATCH", "/api/v1/nodes/edge", cordon(false)).await.unwrap();
            }
        }
        let mut changed = false;
        for _ in 0..500 {
            if let Some(now) = early.clone().prepare(REVISION).await
                && !Arc::ptr_eq(&now, &before)
            {
                (before, changed) = (now, true);
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(changed, "a change of the {change} is seen");
    }
    let sized = island.call("PATCH", &deployment, patch(3, "hi")).await;
    sized.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(early.ready(REVISION).is_some_and(|it| Arc::ptr_eq(&it, &before)), "its size is no change");
}

#[tokio::test]
async fn what_would_be_refused_or_depends_on_its_pod_is_not_answered_for() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let early = island.early();
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}}});
    island.call("POST", "/api/v1/namespaces/default/resourcequotas", quota).await.unwrap();
    deploy(&island, pod(&image, json!([]))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(early.clone().prepare(REVISION).await.is_none(), "a pod of it would be refused");
    island.call("DELETE", "/api/v1/namespaces/default/resourcequotas/none", Value::Null).await.unwrap();
    let deployment = format!("{DEPLOYMENTS}/fn-00001-deployment");
    let named = json!([{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let patch =
        |env: Value| json!({"spec": {"template": {"spec": {"containers": [{"name": "user-container", "env": env}]}}}});
    island.call("PATCH", &deployment, patch(named)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(early.clone().prepare(REVISION).await.is_none(), "its environment depends on the pod");
    let plain = json!([{"name": "NAME", "value": "x", "valueFrom": null}]);
    island.call("PATCH", &deployment, patch(plain)).await.unwrap();
    until(&early, true, true).await;
}

#[tokio::test]
async fn the_pod_that_follows_has_what_was_printed_before_it() {
    let island = Island::start().await;
    let image = island.push("talker", talker()).await;
    let early = island.early();
    deploy(&island, pod(&image, json!([]))).await;
    let guest = until(&early, true, true).await.unwrap();
    assert_eq!(ask(guest.clone()).await, "hello, world");
    island.create_with(json!({"name": "fn", "labels": labels()}), pod(&image, json!([]))).await;
    island.until("fn", ready).await;
    island.until_logged("fn", "user-container", "hello, world").await;
    ask(guest).await;
    for _ in 0..500 {
        if island.log("fn", "user-container").await.matches("hello, world").count() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what is under way when the pod comes prints to it: {:?}", island.log("fn", "user-container").await);
}
