//! How containers start and end: images and their defaults, restart policies, last words, init containers, what joins later.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::steps;
use crate::island::{Island, container, phase, ready, toolbox, waiting};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// Puts an ordinary image with the toolbox and a file into the registry; its config names program and arguments.
async fn ordinary_image(island: &Island) -> String {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("bin")).unwrap();
    std::fs::write(root.path().join("bin/toolbox.wasm"), toolbox()).unwrap();
    let tar = std::process::Command::new("tar").args(["-cz", "."]).current_dir(root.path()).output().unwrap();
    let config = json!({ "architecture": "wasm", "os": "wasip1",
        "config": { "Entrypoint": ["/bin/toolbox.wasm", "args", "entrypoint"], "Cmd": ["default", "arguments"] } });
    island.put_image("ordinary", &config, &[("application/vnd.oci.image.layer.v1.tar+gzip", tar.stdout)]).await
}

#[tokio::test]
async fn images_have_defaults_that_pods_override() {
    let island = Island::start().await;
    let image = ordinary_image(&island).await;
    let rows = [
        ("defaults", json!({}), "entrypoint\ndefault\narguments\n"),
        ("arguments", json!({ "args": ["override", "arguments"] }), "entrypoint\noverride\narguments\n"),
        ("command", json!({ "command": ["/bin/toolbox.wasm", "args", "mine"] }), "mine\n"),
        ("both", json!({ "command": ["toolbox", "args"], "args": ["override", "all"] }), "override\nall\n"),
    ];
    for (name, mut spec, wanted) in rows {
        spec["image"] = json!(image);
        assert_eq!(island.log_of(name, spec, json!({})).await, wanted, "{name}");
    }
}

/// An ordinary image that starts `/app.wasm`, which does nothing, and has the toolbox beside it.
async fn image_of_two(island: &Island) -> String {
    let root = tempfile::tempdir().unwrap();
    let app = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    std::fs::write(root.path().join("app.wasm"), app).unwrap();
    std::fs::write(root.path().join("toolbox.wasm"), toolbox()).unwrap();
    let tar = std::process::Command::new("tar").args(["-c", "."]).current_dir(root.path()).output().unwrap();
    let config = json!({ "architecture": "wasm", "os": "wasip1", "config": { "Entrypoint": ["/app.wasm"] } });
    island.put_image("two", &config, &[("application/vnd.oci.image.layer.v1.tar", tar.stdout)]).await
}

#[tokio::test]
async fn a_command_names_the_program_of_an_image_with_files() {
    let island = Island::start().await;
    let image = image_of_two(&island).await;
    let rows = [
        ("own", json!({ "args": ["args", "none"] }), ""),
        ("path", json!({ "command": ["/toolbox.wasm", "args", "chosen"] }), "chosen\n"),
        (
            "name",
            json!({ "command": ["$(TOOL)"], "args": ["args", "found"], "env": [{ "name": "TOOL", "value": "toolbox" }] }),
            "found\n",
        ),
    ];
    for (name, mut spec, wanted) in rows {
        spec["image"] = json!(image);
        assert_eq!(island.log_of(name, spec, json!({})).await, wanted, "{name}");
    }
    let absent = json!({ "restartPolicy": "Never",
        "containers": [{ "name": "main", "image": image, "command": ["/nope.wasm"] }] });
    island.create("absent", absent).await;
    let pod = island.until("absent", |pod| waiting(pod) == "RunContainerError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(r#""/nope.wasm" is not in image"#), "{message}");

    // A bare program is the only one of its image, whatever it is called.
    let bare = island.toolbox().await;
    let named = json!({ "image": bare, "command": ["/nope.wasm", "args", "same"] });
    assert_eq!(island.log_of("bare", named, json!({})).await, "same\n");
}

#[tokio::test]
async fn restart_policies_decide_what_becomes_of_containers_that_exit() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    // It fails until its helper has made the file it wants, and then ends well.
    let spec = |policy: &str| {
        let mounts = json!([{ "name": "v", "mountPath": "/v" }]);
        json!({ "restartPolicy": policy, "volumes": [{ "name": "v", "emptyDir": {} }], "terminationGracePeriodSeconds": 0,
            "containers": [
                { "name": "main", "image": image, "args": steps("cat /v/late , exit 0"), "volumeMounts": mounts },
                { "name": "helper", "image": image, "args": steps("sleep 300 , write /v/late x"), "volumeMounts": mounts }] })
    };
    for (policy, wanted) in [("Always", "Running"), ("OnFailure", "Succeeded"), ("Never", "Failed")] {
        let name = policy.to_lowercase();
        island.create(&name, spec(policy)).await;
        let restarts = |pod: &k8s_openapi::api::core::v1::Pod| container(pod)["restartCount"].as_i64().unwrap_or(0);
        let least = if policy == "Always" { 3 } else { 0 };
        let pod = island.until(&name, |pod| phase(pod) == wanted && restarts(pod) >= least).await;
        let status = container(&pod);
        match policy {
            "Always" => {}
            "OnFailure" => assert!(restarts(&pod) > 0 && status["state"]["terminated"]["exitCode"] == 0, "{status}"),
            _ => assert!(restarts(&pod) == 0 && status["state"]["terminated"]["exitCode"] == 1, "{status}"),
        }
        island.pods.delete(&name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
}

#[tokio::test]
async fn last_words_come_from_a_file_or_from_the_log_of_a_failure() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let rows = [
        ("custom", "write /dev/termination-custom-log DONE", "File", "/dev/termination-custom-log", "DONE"),
        ("log", "say DONE , exit 1", "FallbackToLogsOnError", "/dev/termination-log", "DONE"),
        ("empty", "say DONE , exit 0", "FallbackToLogsOnError", "/dev/termination-log", ""),
        ("file", "say DONE , write /dev/termination-log OK", "FallbackToLogsOnError", "/dev/termination-log", "OK"),
    ];
    for (name, args, policy, path, wanted) in rows {
        let spec = json!({ "restartPolicy": "Never", "securityContext": { "runAsUser": 1000 },
            "containers": [{ "name": "main", "image": image, "args": steps(args),
                "terminationMessagePolicy": policy, "terminationMessagePath": path }] });
        island.create(name, spec).await;
        let pod = island.until(name, |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        let end = &container(&pod)["state"]["terminated"];
        assert_eq!(end["message"].as_str().unwrap_or_default(), wanted, "{name}: {end}");
    }
}

fn init(image: &str, policy: &str, first: &str, main: &str) -> Value {
    json!({ "restartPolicy": policy,
        "initContainers": [{ "name": "init1", "image": image, "args": steps(first) },
            { "name": "init2", "image": image, "args": steps("exit 0") }],
        "containers": [{ "name": "run1", "image": image, "args": steps(main) }] })
}

#[tokio::test]
async fn init_containers_come_first_and_their_failures_hold_the_others_back() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let init_status = |pod: &k8s_openapi::api::core::v1::Pod, at: usize| {
        let statuses = pod.status.as_ref().and_then(|it| it.init_container_statuses.as_ref());
        serde_json::to_value(statuses.and_then(|it| it.get(at))).unwrap()
    };
    let condition = |pod: &k8s_openapi::api::core::v1::Pod| {
        let conditions = pod.status.as_ref().unwrap().conditions.clone().unwrap();
        let found = conditions.into_iter().find(|it| it.type_ == "Initialized").unwrap();
        (found.status, found.reason.unwrap_or_default())
    };
    island.create("ends", init(&image, "Never", "exit 0", "exit 0")).await;
    let pod = island.until("ends", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(condition(&pod).0, "True");
    assert!((0..2).all(|at| init_status(&pod, at)["state"]["terminated"]["exitCode"] == 0));

    island.create("stays", init(&image, "Always", "exit 0", "forever")).await;
    let pod = island.until("stays", ready).await;
    assert_eq!((condition(&pod).0.as_str(), phase(&pod)), ("True", "Running"));
    assert!((0..2).all(|at| init_status(&pod, at)["ready"] == true));

    island.create("loops", init(&image, "Always", "exit 1", "forever")).await;
    let pod = island.until("loops", |pod| init_status(pod, 0)["restartCount"].as_i64() >= Some(3)).await;
    assert_eq!(condition(&pod), ("False".into(), "ContainersNotInitialized".into()));
    assert_eq!(phase(&pod), "Pending");
    assert!(init_status(&pod, 1)["state"]["waiting"].is_object() && container(&pod)["state"]["waiting"].is_object());
    assert_eq!(container(&pod)["restartCount"], 0);

    let mut fails = init(&image, "Never", "exit 0", "forever");
    fails["initContainers"][1]["args"] = steps("exit 1");
    island.create("fails", fails).await;
    let pod = island.until("fails", |pod| phase(pod) == "Failed").await;
    assert_eq!(init_status(&pod, 1)["state"]["terminated"]["exitCode"], 1);
    assert_eq!(container(&pod)["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(condition(&pod).0, "False");
}

#[tokio::test]
async fn a_command_that_always_fails_has_a_reason_and_can_be_deleted() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let container_of = json!([{ "name": "main", "image": image, "args": steps("exit 1") }]);
    island.create("fails", json!({ "restartPolicy": "Never", "containers": container_of })).await;
    let pod = island.until("fails", |pod| phase(pod) == "Failed").await;
    let end = &container(&pod)["state"]["terminated"];
    assert!(end["exitCode"] == 1 && end["reason"] == "Error", "{end}");
    island.create("loops", json!({ "containers": container_of })).await;
    island.until("loops", |pod| container(pod)["restartCount"].as_i64() >= Some(1)).await;
    for name in ["fails", "loops"] {
        island.pods.delete(name, &DeleteParams::default()).await.unwrap();
        island.until_gone(name).await;
    }
}

#[tokio::test]
async fn containers_join_a_running_pod() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let shared = json!({ "volumes": [{ "name": "v", "emptyDir": {} }],
        "containers": [{ "name": "main", "image": image, "args": steps("write /v/a seen , forever"),
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] });
    island.create("target", shared).await;
    island.until("target", ready).await;
    let part = format!("{PODS}/target/ephemeralcontainers");
    let debugger = |name: &str| {
        json!({ "name": name, "image": image, "args": steps("until /v/a , cat /v/a , print , forever"),
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }] })
    };
    let mut pod = island.call("GET", &format!("{PODS}/target"), Value::Null).await.unwrap();
    pod["spec"]["ephemeralContainers"] = json!([debugger("debugger")]);
    island.call("PUT", &part, pod).await.unwrap();
    island.until_logged("target", "debugger", "seen\n").await;

    let patch = json!({ "spec": { "ephemeralContainers": [debugger("debugger2")] } });
    island.call("PATCH", &part, patch).await.unwrap();
    island.until_logged("target", "debugger2", "seen\n").await;
    let running = |pod: &k8s_openapi::api::core::v1::Pod| {
        let statuses = pod.status.as_ref().unwrap().ephemeral_container_statuses.iter().flatten();
        statuses.filter(|it| it.state.as_ref().is_some_and(|it| it.running.is_some())).count()
    };
    let pod = island.until("target", |pod| ready(pod) && running(pod) == 2).await;
    assert_eq!(pod.spec.as_ref().unwrap().ephemeral_containers.as_ref().unwrap().len(), 2);
    assert_eq!(container(&pod)["restartCount"], 0);

    let refused = island.call(
        "PATCH",
        &part,
        json!({ "spec": { "ephemeralContainers": [{ "name": "debugger", "image": "other" }] } }),
    );
    assert!(refused.await.unwrap_err().contains("may not be changed"));
    let target = json!({ "spec": { "ephemeralContainers": [
        { "name": "third", "image": image, "targetContainerName": "main" }] } });
    island.call("PATCH", &part, target).await.unwrap();
    island
        .until("target", |pod| {
            let statuses = pod.status.as_ref().unwrap().ephemeral_container_statuses.iter().flatten();
            let mut reasons = statuses.filter_map(|it| it.state.as_ref()?.waiting.as_ref()?.reason.clone());
            reasons.any(|it| it == "UnsupportedField")
        })
        .await;
}
