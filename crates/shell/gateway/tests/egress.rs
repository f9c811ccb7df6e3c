//! NetworkPolicies and what guests send.

mod support;

use std::time::Duration;

use eyot_dispatch::{CallError, Caller, Names, Outbound, Transport, empty};
use http::Request;
use serde_json::{Value, json};
use support::{Node, pod, says};

fn caller(pod: &str) -> Caller {
    Caller { namespace: "ns".into(), pod: pod.into() }
}

fn pod_object(name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "ns", "labels": { "app": name } },
        "spec": { "containers": [{ "name": "c" }] },
        "status": { "podIP": ip, "phase": "Running" },
    })
}

fn policy(to: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "held", "namespace": "ns" },
        "spec": { "podSelector": { "matchLabels": { "app": "client" } }, "policyTypes": ["Egress"], "egress": [{ "to": to }] },
    })
}

async fn call(node: &Node, from: &str, uri: &str) -> Result<u16, CallError> {
    let request = Request::get(uri).body(empty()).unwrap();
    node.gateway.clone().send(caller(from), request).await.map(|it| it.status().as_u16())
}

/// Waits until a call ends as it should.
async fn until(node: &Node, from: &str, uri: &str, wanted: impl Fn(&Result<u16, CallError>) -> bool) {
    let mut last = None;
    for _ in 0..500 {
        let outcome = call(node, from, uri).await;
        if wanted(&outcome) {
            return;
        }
        last = Some(outcome);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{from} {uri}: {last:?}");
}

#[tokio::test]
async fn a_held_guest_reaches_only_what_its_policy_names() {
    let node = Node::start().await;
    for (n, name) in [(1, "stock"), (2, "ledger")] {
        node.endpoints.insert(pod(n), says(name));
        node.publish(name, &[pod(n)]).await;
        node.api.put(pod_object(name, &pod(n).ip().to_string()));
    }
    for name in ["client", "other"] {
        node.api.put(pod_object(name, "127.42.0.200"));
    }
    assert_eq!(call(&node, "client", "http://ledger/").await.unwrap(), 200, "nobody is held without a policy");
    node.api.put(policy(&json!([{ "podSelector": { "matchLabels": { "app": "stock" } } }])));
    let denied = |it: &Result<u16, CallError>| matches!(it, Err(CallError::Prohibited(why)) if why.starts_with("no egress rule of NetworkPolicy held permits "));
    until(&node, "client", "http://ledger/", denied).await;
    until(&node, "client", "http://stock/", |it| matches!(it, Ok(200))).await;
    until(&node, "other", "http://ledger/", |it| matches!(it, Ok(200))).await;
    assert!(denied(&call(&node, "client", &format!("http://{}/", pod(2))).await), "an address is held as a name is");
    assert!(denied(&call(&node, "client", "http://198.51.100.7/").await));
    let sockets = |to| node.gateway.permits(&caller("client"), Transport::Tcp, to);
    assert!(sockets(pod(1)).is_ok() && sockets(pod(2)).is_err());

    node.api.put(policy(&json!([{ "ipBlock": { "cidr": "127.42.0.0/16" } }])));
    until(&node, "client", "http://ledger/", |it| matches!(it, Ok(200))).await;
    let outside = || node.gateway.permits(&caller("client"), Transport::Udp, "198.51.100.7:53".parse().unwrap());
    assert!(outside().is_err());
    node.api.delete(&policy(&json!([])));
    for _ in 0..500 {
        if outside().is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(outside(), Ok(()), "a policy that is gone holds nobody");
}

#[tokio::test]
async fn hosts_outside_are_held_by_the_addresses_they_have() {
    let node = Node::start().await;
    node.api.put(pod_object("client", "127.42.0.200"));
    node.api.put(policy(&json!([{ "ipBlock": { "cidr": "192.0.2.0/24" } }])));
    let denied = |it: &Result<u16, CallError>| matches!(it, Err(CallError::Prohibited(_)));
    until(&node, "client", "http://198.51.100.7/", denied).await;
}
