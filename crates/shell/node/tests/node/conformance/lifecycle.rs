//! Hooks that run after a container starts and before it stops.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::steps;
use crate::island::{Island, container, hello, phase, ready};

/// A server that notes the first line of each request, beside the pods; gives its port.
async fn server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let noted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 2048];
            let count = stream.read(&mut head).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&head[..count]).into_owned();
            noted.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    (port, seen)
}

async fn until_seen(seen: &Mutex<Vec<String>>, line: &str) {
    for _ in 0..1000 {
        if seen.lock().unwrap().iter().any(|it| it == line) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no {line:?} in {:?}", seen.lock().unwrap());
}

#[tokio::test]
async fn hooks_ask_another_server_after_the_start_and_before_the_end() {
    let island = Island::start().await;
    let (port, seen) = server().await;
    let (web, tools) = (island.push("hello", hello()).await, island.toolbox().await);
    for (name, container) in
        [("web", json!({ "image": web })), ("command", json!({ "image": tools, "args": steps("forever") }))]
    {
        let mut container = container;
        let get =
            |path: &str| json!({ "httpGet": { "host": "127.0.0.1", "port": port, "path": format!("/{name}/{path}") } });
        container["name"] = json!("main");
        container["lifecycle"] = json!({ "postStart": get("poststart"), "preStop": get("prestop") });
        island.create(name, json!({ "containers": [container], "terminationGracePeriodSeconds": 5 })).await;
        island.until(name, ready).await;
        until_seen(&seen, &format!("GET /{name}/poststart HTTP/1.1")).await;
        assert!(!seen.lock().unwrap().iter().any(|it| it.contains(&format!("/{name}/prestop"))));
        island.pods.delete(name, &Default::default()).await.unwrap();
        island.until_gone(name).await;
        until_seen(&seen, &format!("GET /{name}/prestop HTTP/1.1")).await;
    }
}

#[tokio::test]
async fn hooks_run_programs_of_the_image() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let shared = tempfile::tempdir().unwrap();
    let hook = |word: &str| json!({ "exec": { "command": ["toolbox", "write", format!("/host/{word}"), "x"] } });
    let spec = json!({ "volumes": [{ "name": "host", "hostPath": { "path": shared.path() } }],
        "containers": [{ "name": "main", "image": image, "args": steps("forever"),
            "volumeMounts": [{ "name": "host", "mountPath": "/host" }],
            "lifecycle": { "postStart": hook("poststart"), "preStop": hook("prestop") } }] });
    island.create("hooked", spec).await;
    island.until("hooked", ready).await;
    assert!(shared.path().join("poststart").exists() && !shared.path().join("prestop").exists());
    island.pods.delete("hooked", &Default::default()).await.unwrap();
    island.until_gone("hooked").await;
    assert!(shared.path().join("prestop").exists());
}

#[tokio::test]
async fn a_hook_that_fails_after_the_start_ends_the_container() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let spec = |policy: &str| {
        let mounts = json!([{ "name": "v", "mountPath": "/v" }]);
        let hook = ["toolbox", "until", "/v/up", ",", "exit", "3"];
        json!({ "restartPolicy": policy, "volumes": [{ "name": "v", "emptyDir": {} }], "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image, "args": steps("print up , write /v/up x , forever"),
                "volumeMounts": mounts, "lifecycle": { "postStart": { "exec": { "command": hook } } } }] })
    };
    island.create("never", spec("Never")).await;
    let pod = island.until("never", |pod| phase(pod) == "Failed").await;
    let (status, end) = (container(&pod), container(&pod)["state"]["terminated"].clone());
    assert_eq!((&end["exitCode"], &end["reason"], &status["restartCount"]), (&json!(137), &json!("Error"), &json!(0)));
    assert_eq!(end["message"], "PostStart hook failed: command exited with 3");
    assert!(island.kubelet("/containerLogs/default/never/main").await.1.contains("up"));

    island.create("always", spec("Always")).await;
    let pod = island.until("always", |pod| container(pod)["restartCount"].as_i64() >= Some(2)).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
}
