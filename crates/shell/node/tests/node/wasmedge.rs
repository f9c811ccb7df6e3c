//! Pods of the RuntimeClass `wasmedge`: processes of that program where it is installed, and a clear word where it is not.

use eyot_runtime::{Runtime, RuntimeConfig, WasmEdge};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::island::{Island, command, container, echo, hello, phase, ready, spinner, waiting};

/// Whether WasmEdge is installed here. What a pod is told without it, every machine of these tests can show that has none.
fn is_installed() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut config = RuntimeConfig::new(dir.path());
    config.instances_max = Some(1);
    let found = WasmEdge::find(&Runtime::new(config).unwrap());
    found.inspect_err(|error| eprintln!("{error}")).is_ok()
}

fn spec(mut container: Value) -> Value {
    container["name"] = json!("main");
    json!({ "runtimeClassName": "wasmedge", "restartPolicy": "Never", "containers": [container] })
}

#[tokio::test]
async fn a_node_offers_its_runtime_classes_and_no_others() {
    let island = Island::start().await;
    let image = island.push("hello", command(0)).await;
    for class in ["wasm", "eyot"] {
        let path = format!("/apis/node.k8s.io/v1/runtimeclasses/{class}");
        assert_eq!(island.call("GET", &path, Value::Null).await.unwrap()["handler"], class);
        let mut pod = spec(json!({ "image": image }));
        pod["runtimeClassName"] = json!(class);
        island.create(class, pod).await;
        island.until(class, |pod| phase(pod) == "Succeeded").await;
    }
    let node = island.call("GET", "/api/v1/nodes/edge", Value::Null).await.unwrap();
    let handlers: Vec<_> = node["status"]["runtimeHandlers"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(handlers.contains(&&json!("wasmedge")), is_installed());
    assert!(handlers.contains(&&json!("eyot")) && handlers.contains(&&json!("")), "{handlers:?}");
}

#[tokio::test]
async fn without_wasmedge_a_pod_waits_and_is_told_what_to_install() {
    if is_installed() {
        return;
    }
    let island = Island::start().await;
    let image = island.push("hello", command(0)).await;
    island.create("edge", spec(json!({ "image": image }))).await;
    let pod = island.until("edge", |pod| waiting(pod) == "CreateContainerError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(r#"spec.runtimeClassName "wasmedge": there is no program wasmedge"#), "{message}");
    assert!(message.contains("install the package wasmedge"), "{message}");
}

#[tokio::test]
async fn a_process_of_wasmedge_has_a_pods_log_exit_code_environment_and_volumes() {
    if !is_installed() {
        return;
    }
    let island = Island::start().await;
    let image = island.push("fails", command(3)).await;
    island.create("fails", spec(json!({ "image": image }))).await;
    let pod = island.until("fails", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 3);
    assert_eq!(island.log("fails", "main").await, "hello\n");
    let mut again = spec(json!({ "image": image }));
    again["restartPolicy"] = json!("Always");
    island.create("loop", again).await;
    let pod = island.until("loop", |pod| waiting(pod) == "CrashLoopBackOff").await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 3);

    island.config_map("settings", json!({ "greeting": "from a volume" })).await;
    let image = island.toolbox().await;
    let args = [
        "env",
        "GREETING",
        ",",
        "cat",
        "/config/greeting",
        ",",
        "write",
        "/data/file",
        "kept",
        ",",
        "cat",
        "/data/file",
    ];
    let container = json!({
        "image": image, "args": args, "env": [{ "name": "GREETING", "value": "a=b c" }],
        "volumeMounts": [{ "name": "config", "mountPath": "/config" }, { "name": "data", "mountPath": "/data" }],
    });
    let volumes =
        json!([{ "name": "config", "configMap": { "name": "settings" } }, { "name": "data", "emptyDir": {} }]);
    let log = island.log_of("sees", container, json!({ "runtimeClassName": "wasmedge", "volumes": volumes })).await;
    assert!(log.contains("a=b c") && log.contains("from a volume") && log.contains("kept"), "{log}");
    let container = json!({
        "image": image, "args": ["write", "/config/greeting", "mine"],
        "volumeMounts": [{ "name": "config", "mountPath": "/config" }],
    });
    let mut pod = spec(container);
    pod["volumes"] = json!([{ "name": "config", "configMap": { "name": "settings" } }]);
    island.create("writes", pod).await;
    island.until("writes", |pod| phase(pod) == "Failed").await;
}

#[tokio::test]
async fn a_process_of_wasmedge_is_held_to_its_limits_and_gone_when_its_pod_is() {
    if !is_installed() {
        return;
    }
    let island = Island::start().await;
    let toolbox = island.toolbox().await;
    let limits = json!({ "limits": { "memory": "16Mi" } });
    island.create("eats", spec(json!({ "image": toolbox, "args": ["eat", "64"], "resources": limits }))).await;
    let pod = island.until("eats", |pod| phase(pod) == "Failed").await;
    let end = &container(&pod)["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(137), &json!("OOMKilled")));

    let trap = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#).unwrap();
    let image = island.push("trap", trap).await;
    island.create("trap", spec(json!({ "image": image }))).await;
    let pod = island.until("trap", |pod| phase(pod) == "Failed").await;
    let end = &container(&pod)["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["message"]), (&json!(134), &json!("unreachable")));
    assert!(island.log("trap", "main").await.contains("execution failed: unreachable"));

    let spin = island.push("spin", spinner()).await;
    let limits = json!({ "limits": { "cpu": "100m" } });
    island.create("spin", spec(json!({ "image": spin, "resources": limits, "stdin": true }))).await;
    island.until("spin", ready).await;
    island.pods.delete("spin", &DeleteParams::default()).await.unwrap();
    island.until_gone("spin").await;

    let component = island.push("component", hello()).await;
    island.create("component", spec(json!({ "image": component }))).await;
    let pod = island.until("component", |pod| waiting(pod) == "RunContainerError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("this is a component: leave runtimeClassName out"), "{message}");
    // Its input is empty when it asks for none.
    let echo = island.push("echo", echo(5)).await;
    island.create("echo", spec(json!({ "image": echo }))).await;
    let pod = island.until("echo", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 5);
}
