//! What guests are told in their environment and arguments: ConfigMaps, Secrets, the downward API, Services, expansion.

use eyot_dispatch::{Announced, AnnouncedPort};
use eyot_model::quantity::Quantity;
use serde_json::{Value, json};

use super::{has_lines, steps};
use crate::island::{Island, container, phase, ready, waiting};

#[tokio::test]
async fn config_maps_and_secrets_are_in_the_environment() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    island.config_map("settings", json!({ "data-1": "value-1", "data-2": "value-2", "1-digit": "three" })).await;
    island.secret("token", json!({ "data-1": "secret-1", "data-2": "secret-2" })).await;
    let key = |kind: &str, name: &str| json!({ kind: { "name": name, "key": "data-1" } });
    let env = json!([
        { "name": "CONFIG_DATA_1", "valueFrom": key("configMapKeyRef", "settings") },
        { "name": "SECRET_DATA", "valueFrom": key("secretKeyRef", "token") },
        { "name": "ABSENT", "valueFrom": { "secretKeyRef": { "name": "none", "key": "x", "optional": true } } },
    ]);
    let log = island.log_of("single", json!({ "image": image, "args": ["env"], "env": env }), json!({})).await;
    has_lines(&log, &["CONFIG_DATA_1=value-1", "SECRET_DATA=secret-1"]);
    assert!(!log.contains("ABSENT"), "{log}");

    let env_from = json!([
        { "configMapRef": { "name": "settings" } },
        { "prefix": "p-", "configMapRef": { "name": "settings" } },
        { "prefix": "s_", "secretRef": { "name": "token" } },
        { "prefix": "$_-", "secretRef": { "name": "token" } },
        { "prefix": "1", "secretRef": { "name": "token" } },
        { "secretRef": { "name": "none", "optional": true } },
    ]);
    let log = island.log_of("all", json!({ "image": image, "args": ["env"], "envFrom": env_from }), json!({})).await;
    has_lines(&log, &["data-1=value-1", "data-2=value-2", "1-digit=three", "p-data-1=value-1", "p-data-2=value-2"]);
    has_lines(&log, &["s_data-1=secret-1", "$_-data-1=secret-1", "$_-data-2=secret-2", "1data-1=secret-1"]);
}

#[tokio::test]
async fn the_downward_api_is_in_the_environment() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let amount = |name: &str, resource: &str| json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource } } });
    let env = json!([
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("POD_UID", "metadata.uid"),
        field("HOST_IP", "status.hostIP"),
        field("HOST_IPS", "status.hostIPs"),
        amount("CPU_LIMIT", "limits.cpu"),
        amount("MEMORY_LIMIT", "limits.memory"),
        amount("CPU_REQUEST", "requests.cpu"),
        amount("MEMORY_REQUEST", "requests.memory"),
    ]);
    let resources =
        json!({ "requests": { "cpu": "250m", "memory": "32Mi" }, "limits": { "cpu": "1250m", "memory": "64Mi" } });
    let spec = json!({ "image": image, "args": ["env"], "env": env, "resources": resources });
    let log = island.log_of("limited", spec, json!({})).await;
    let pod = serde_json::to_value(island.pods.get("limited").await.unwrap()).unwrap();
    let (uid, status) = (pod["metadata"]["uid"].as_str().unwrap(), &pod["status"]);
    let (ip, host) = (status["podIP"].as_str().unwrap(), status["hostIP"].as_str().unwrap());
    assert!(host.parse::<std::net::IpAddr>().is_ok(), "{host}");
    has_lines(&log, &["POD_NAME=limited", "POD_NAMESPACE=default", &format!("POD_IP={ip}"), &format!("POD_UID={uid}")]);
    has_lines(&log, &[&format!("HOST_IP={host}"), &format!("HOST_IPS={host}")]);
    has_lines(&log, &["CPU_LIMIT=2", "MEMORY_LIMIT=67108864", "CPU_REQUEST=1", "MEMORY_REQUEST=33554432"]);

    let env = json!([amount("CPU_LIMIT", "limits.cpu"), amount("MEMORY_LIMIT", "limits.memory")]);
    let log = island.log_of("free", json!({ "image": image, "args": ["env"], "env": env }), json!({})).await;
    let (cpu, memory) = allocatable(&island).await;
    has_lines(&log, &[&format!("CPU_LIMIT={cpu}"), &format!("MEMORY_LIMIT={memory}")]);
}

/// What the node gives to pods: whole cores, and bytes.
pub(super) async fn allocatable(island: &Island) -> (u64, u64) {
    let node = island.call("GET", "/api/v1/nodes/edge", Value::Null).await.unwrap();
    let amount = |name: &str| node["status"]["allocatable"][name].as_str().unwrap().parse::<Quantity>().unwrap();
    let whole = |it: i64| u64::try_from(it).unwrap();
    (whole(amount("cpu").millis()).div_ceil(1000), whole(amount("memory").units()))
}

#[tokio::test]
async fn variables_are_expanded_in_variables_commands_and_arguments() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let env = json!([{ "name": "FOO", "value": "foo-value" }, { "name": "BAR", "value": "bar-value" },
        { "name": "FOOBAR", "value": "$(FOO);;$(BAR)" }]);
    let log = island.log_of("composed", json!({ "image": image, "args": ["env"], "env": env }), json!({})).await;
    has_lines(&log, &["FOO=foo-value", "BAR=bar-value", "FOOBAR=foo-value;;bar-value"]);
    let env = json!([{ "name": "TEST_VAR", "value": "test-value" }]);
    let say = json!(["toolbox", "args", "TEST_VAR=wrong", "$(TEST_VAR)", "$$(TEST_VAR)", "$(NONE)"]);
    let log = island.log_of("command", json!({ "image": image, "command": say, "env": env }), json!({})).await;
    assert_eq!(log, "TEST_VAR=wrong\ntest-value\n$(TEST_VAR)\n$(NONE)\n");
    let say = json!(["args", "$(TEST_VAR)"]);
    let log = island.log_of("args", json!({ "image": image, "args": say, "env": env }), json!({})).await;
    assert_eq!(log, "test-value\n");
}

#[tokio::test]
async fn services_are_in_the_environment() {
    let island = Island::start().await;
    let port = AnnouncedPort { name: "".into(), number: 8765, protocol: "TCP".into() };
    island.elsewhere.services.lock().unwrap().push(Announced {
        namespace: "default".into(),
        name: "fooservice".into(),
        address: "10.43.0.7".parse().unwrap(),
        ports: vec![port],
    });
    let image = island.toolbox().await;
    let log = island.log_of("client", json!({ "image": image, "args": ["env"] }), json!({})).await;
    has_lines(
        &log,
        &[
            "FOOSERVICE_SERVICE_HOST=10.43.0.7",
            "FOOSERVICE_SERVICE_PORT=8765",
            "FOOSERVICE_PORT=tcp://10.43.0.7:8765",
            "FOOSERVICE_PORT_8765_TCP_PORT=8765",
            "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
            "FOOSERVICE_PORT_8765_TCP=tcp://10.43.0.7:8765",
            "FOOSERVICE_PORT_8765_TCP_ADDR=10.43.0.7",
        ],
    );
}

fn subpath(image: &str, name: &str, args: &str) -> Value {
    json!({ "restartPolicy": "Never", "volumes": [{ "name": "work", "emptyDir": {} }],
        "containers": [{ "name": "main", "image": image, "args": steps(args), "env": [
                { "name": "POD_NAME", "value": name },
                { "name": "ANNOTATION", "valueFrom": { "fieldRef": { "fieldPath": "metadata.annotations['mysubpath']" } } }],
            "volumeMounts": [
                { "name": "work", "mountPath": "/subpath_mount", "subPathExpr": "$(ANNOTATION)$(POD_NAME)" },
                { "name": "work", "mountPath": "/volume_mount" }] }] })
}

#[tokio::test]
async fn sub_paths_are_expanded_and_never_lead_out_of_their_volume() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    island.create("foo", subpath(&image, "foo", "ls /volume_mount")).await;
    island.until_logged("foo", "main", "foo\n").await;
    for (name, path) in [("dots", ".."), ("absolute", "/tmp")] {
        island.create(name, subpath(&image, path, "print started")).await;
        let pod = island.until(name, |pod| waiting(pod) == "CreateContainerConfigError").await;
        let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("leads outside"), "{message}");
    }

    let metadata = json!({ "name": "writes", "annotations": { "mysubpath": "mypath/" } });
    let work = "write /volume_mount/mypath/foo/test.log text , cat /subpath_mount/test.log , print , forever";
    island.create_with(metadata, subpath(&image, "foo", work)).await;
    island.until_logged("writes", "main", "text").await;
    annotate(&island, "writes", "mynewpath/").await;
    let pod = island.until("writes", ready).await;
    assert_eq!(container(&pod)["restartCount"], 0, "a changed annotation moves nothing");
    island.pods.delete("writes", &Default::default()).await.unwrap();
    island.until_gone("writes").await;
}

#[tokio::test]
async fn a_failing_sub_path_is_tried_again_with_what_the_pod_says_then() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let metadata = json!({ "name": "late", "annotations": { "notmysubpath": "mypath" } });
    island.create_with(metadata, subpath(&image, "/foo", "forever")).await;
    island.until("late", |pod| waiting(pod) == "CreateContainerConfigError").await;
    annotate(&island, "late", "mypath").await;
    island.until("late", ready).await;
}

async fn annotate(island: &Island, pod: &str, value: &str) {
    let patch = json!({ "metadata": { "annotations": { "mysubpath": value } } });
    island.call("PATCH", &format!("/api/v1/namespaces/default/pods/{pod}"), patch).await.unwrap();
}

#[tokio::test]
async fn guests_look_names_up_in_the_cluster_and_among_their_aliases() {
    let island = Island::start().await;
    // It looks up gone.default.svc.cluster.local, and leaves with 1 when there is no such name.
    let source = include_str!("../../../../runtime/tests/guests/socket.wat");
    let look = "(call $resolve (local.get $network) (i32.const 1024) (i32.const 30) (i32.const 16)) (call $failed)";
    let image = island.push("looks", wat::parse_str(source.replace(";;RUN;;", look)).unwrap()).await;
    let spec = json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] });
    island.create("asks", spec.clone()).await;
    let pod = island.until("asks", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 1, "the cluster has no such name");
    let alias = json!([{ "ip": "123.45.67.89", "hostnames": ["foo", "gone.default.svc.cluster.local"] }]);
    let mut aliased = spec;
    aliased["hostAliases"] = alias.clone();
    island.create("aliased", aliased).await;
    island.until("aliased", |pod| phase(pod) == "Succeeded").await;

    let image = island.toolbox().await;
    let shown = json!({ "image": image, "args": ["cat", "/etc/hosts"] });
    let log = island.log_of("hosts", shown, json!({ "hostAliases": alias })).await;
    has_lines(&log, &["123.45.67.89\tfoo\tgone.default.svc.cluster.local"]);
}
