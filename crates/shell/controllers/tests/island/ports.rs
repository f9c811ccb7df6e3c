//! Ports: of Services that lead to pods, and of hosts that pods compete for.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::world::{PODS, World, condition};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

fn slices_of(service: &str) -> String {
    format!("{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3D{service}")
}

async fn service(world: &World, name: &str, selector: Value, ports: Value) {
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports}});
    world.create(SERVICES, body).await;
}

async fn pod(world: &World, name: &str, labels: Value, ports: Value) {
    let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "i", "ports": ports}]}});
    world.create(PODS, body).await;
}

/// Ports by the names of the pods that a Service leads to.
type Leads = BTreeMap<String, BTreeSet<u64>>;

fn leads(want: &[(&str, &[u64])]) -> Leads {
    want.iter().map(|(pod, ports)| ((*pod).to_owned(), ports.iter().copied().collect())).collect()
}

fn by_slices(list: &Value) -> Leads {
    let mut found = Leads::new();
    for slice in list["items"].as_array().into_iter().flatten() {
        let ports: BTreeSet<u64> =
            slice["ports"].as_array().into_iter().flatten().filter_map(|it| it["port"].as_u64()).collect();
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
            found.entry(pod.to_owned()).or_default().extend(&ports);
        }
    }
    found
}

fn by_endpoints(endpoints: &Value) -> Leads {
    let mut found = Leads::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let ports: BTreeSet<u64> =
            subset["ports"].as_array().into_iter().flatten().filter_map(|it| it["port"].as_u64()).collect();
        for address in subset["addresses"].as_array().into_iter().flatten() {
            let pod = address["targetRef"]["name"].as_str().unwrap_or_default();
            found.entry(pod.to_owned()).or_default().extend(&ports);
        }
    }
    found
}

/// Waits until both forms of a Service's endpoints say this.
async fn until_leads(world: &World, service: &str, want: &[(&str, &[u64])]) {
    let want = leads(want);
    let what = format!("{want:?}");
    world.until(&slices_of(service), &what, |it| by_slices(it) == want).await;
    let older = |it: &Value| it["metadata"].is_object() && by_endpoints(it) == want;
    world.until(&format!("{ENDPOINTS}/{service}"), &what, older).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_leads_to_the_pods_that_come_and_go() {
    let world = World::start().await;
    service(&world, "web", json!({"app": "web"}), json!([{"port": 80, "targetPort": 8080}])).await;
    until_leads(&world, "web", &[]).await;
    let ports = json!([{"containerPort": 8080}]);
    pod(&world, "pod1", json!({"app": "web"}), ports.clone()).await;
    until_leads(&world, "web", &[("pod1", &[8080])]).await;
    pod(&world, "pod2", json!({"app": "web"}), ports).await;
    until_leads(&world, "web", &[("pod1", &[8080]), ("pod2", &[8080])]).await;
    world.delete(&format!("{PODS}/pod1"), "Background").await;
    until_leads(&world, "web", &[("pod2", &[8080])]).await;
    world.delete(&format!("{PODS}/pod2"), "Background").await;
    until_leads(&world, "web", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_named_ports_lead_to_the_pods_that_have_them() {
    let world = World::start().await;
    let ports = json!([{"name": "first", "port": 80, "targetPort": "one"},
        {"name": "second", "port": 81, "targetPort": "two"}]);
    service(&world, "multi", json!({"app": "multi"}), ports).await;
    until_leads(&world, "multi", &[]).await;
    let labels = json!({"app": "multi"});
    pod(&world, "pod1", labels.clone(), json!([{"name": "one", "containerPort": 100}])).await;
    until_leads(&world, "multi", &[("pod1", &[100])]).await;
    pod(&world, "pod2", labels, json!([{"name": "two", "containerPort": 101}])).await;
    until_leads(&world, "multi", &[("pod1", &[100]), ("pod2", &[101])]).await;
    world.delete(&format!("{PODS}/pod1"), "Background").await;
    until_leads(&world, "multi", &[("pod2", &[101])]).await;
    world.delete(&format!("{PODS}/pod2"), "Background").await;
    until_leads(&world, "multi", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_one_name_and_two_numbers_takes_two_slices_that_come_back() {
    let world = World::start().await;
    pod(&world, "pod1", json!({"one": "on", "both": "on"}), json!([{"name": "web", "containerPort": 3000}])).await;
    let ports = json!([{"name": "web", "containerPort": 3001}, {"name": "other", "containerPort": 3002}]);
    pod(&world, "pod2", json!({"two": "on", "both": "on"}), ports).await;
    service(&world, "by-number", json!({"one": "on"}), json!([{"name": "x", "port": 80, "targetPort": 3000}])).await;
    service(&world, "by-name", json!({"both": "on"}), json!([{"name": "http", "port": 80, "targetPort": "web"}])).await;
    until_leads(&world, "by-number", &[("pod1", &[3000])]).await;
    let both: &[(&str, &[u64])] = &[("pod1", &[3000]), ("pod2", &[3001])];
    until_leads(&world, "by-name", both).await;
    let slices = world.list(&slices_of("by-name")).await;
    assert_eq!(slices.len(), 2);
    world.request(Method::DELETE, &slices_of("by-name"), Value::Null).await.unwrap();
    let old: Vec<&Value> = slices.iter().map(|it| &it["metadata"]["uid"]).collect();
    let anew = |it: &Value| {
        let items = it["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        by_slices(it) == leads(both) && items.iter().all(|it| !old.contains(&&it["metadata"]["uid"]))
    };
    world.until(&slices_of("by-name"), "made anew", anew).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_pods_has_an_empty_slice_as_long_as_it_lives() {
    let world = World::start().await;
    service(&world, "empty", json!({"no": "pod"}), json!([{"name": "x", "port": 80}])).await;
    let one = |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == 1);
    let slices = world.until(&slices_of("empty"), "one", one).await;
    let slice = &slices["items"][0];
    assert_eq!(
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert!(slice["endpoints"].as_array().is_none_or(Vec::is_empty), "{slice:#}");
    let endpoints = format!("{ENDPOINTS}/empty");
    world.until(&endpoints, "there", |it| it["metadata"].is_object()).await;
    world.delete(&format!("{SERVICES}/empty"), "Background").await;
    world.until(&slices_of("empty"), "gone", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
    world.until(&endpoints, "gone", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_services_have_their_endpoints_soon() {
    let world = World::start().await;
    let labels = json!({"app": "web"});
    pod(&world, "web", labels.clone(), json!([{"containerPort": 8080}])).await;
    world.until(&format!("{PODS}/web"), "running", |it| it["status"]["phase"] == "Running").await;
    let one = async |at: usize| {
        let (name, began) = (format!("s{at}"), std::time::Instant::now());
        service(&world, &name, labels.clone(), json!([{"port": 80, "targetPort": 8080}])).await;
        let want = leads(&[("web", &[8080])]);
        world.until(&slices_of(&name), "its pod", |it| by_slices(it) == want).await;
        let older = |it: &Value| it["metadata"].is_object() && by_endpoints(it) == want;
        world.until(&format!("{ENDPOINTS}/{name}"), "its pod", older).await;
        began.elapsed()
    };
    let mut took = futures::future::join_all((0..100).map(one)).await;
    took.sort();
    // The suite allows 20 seconds to the half and 50 to all but one of ten.
    assert!(took[50].as_secs() < 20 && took[90].as_secs() < 50, "{:?} and {:?}", took[50], took[90]);
}

async fn with_host_port(world: &World, name: &str, host: Option<&str>, protocol: &str) -> String {
    let mut port = json!({"containerPort": 8080, "hostPort": 54321, "protocol": protocol});
    if let Some(host) = host {
        port["hostIP"] = host.into();
    }
    pod(world, name, json!({}), json!([port])).await;
    format!("{PODS}/{name}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_the_host_is_given_out_once_for_each_address_and_protocol() {
    let world = World::start().await;
    let runs = |it: &Value| it["status"]["phase"] == "Running";
    for (name, host, protocol) in
        [("one", Some("127.0.0.1"), "TCP"), ("two", Some("127.0.0.2"), "TCP"), ("three", Some("127.0.0.2"), "UDP")]
    {
        let path = with_host_port(&world, name, host, protocol).await;
        world.until(&path, "running", runs).await;
    }
    // All addresses of the host, one of which is taken.
    let late = with_host_port(&world, "late", None, "TCP").await;
    let refused = |it: &Value| {
        let message = condition(it, "PodScheduled")["message"].as_str().unwrap_or_default();
        message.starts_with("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports")
    };
    world.until(&late, "refused", refused).await;
    for name in ["one", "two"] {
        world.delete(&format!("{PODS}/{name}"), "Background").await;
    }
    world.until(&late, "running", runs).await;
    let after = with_host_port(&world, "after", Some("127.0.0.3"), "TCP").await;
    world.until(&after, "refused", refused).await;
}
