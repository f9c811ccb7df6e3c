//! Volumes: what guests read in them, how they follow their sources, and with which modes they lie on the node.

use std::os::unix::fs::PermissionsExt;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{environment::allocatable, steps};
use crate::island::{Island, container, phase, ready, waiting};

const API: &str = "/api/v1/namespaces/default";

/// The permissions of a file in a volume of a pod that is still there.
fn mode(island: &Island, pod: &Pod, file: &str) -> u32 {
    let path = island.node_file(&format!("pods/{}/volumes/{file}", pod.metadata.uid.as_ref().unwrap()));
    std::fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// The four volumes that show the object `source`, with further fields on the volume, and its items.
fn sources(volume: &Value, items: &Value) -> [(&'static str, Value); 4] {
    let with = |mut source: Value, more: &Value| {
        for (key, value) in more.as_object().into_iter().flatten() {
            source[key] = value.clone();
        }
        source
    };
    let items = if items.is_null() { json!({}) } else { json!({ "items": items }) };
    let projected = |kind: &str| {
        let source = with(json!({ "name": "source" }), &items);
        json!({ "projected": with(json!({ "sources": [{ kind: source }] }), volume) })
    };
    [
        ("config-map", json!({ "configMap": with(with(json!({ "name": "source" }), &items), volume) })),
        ("secret", json!({ "secret": with(with(json!({ "secretName": "source" }), &items), volume) })),
        ("projected-config-map", projected("configMap")),
        ("projected-secret", projected("secret")),
    ]
}

/// A pod that prints what `args` say, mounts the volumes at `/v0`, `/v1`, … and goes on.
fn reader(image: &str, args: &str, volumes: &[Value]) -> Value {
    let named = |(index, it): (usize, &Value)| {
        let mut volume = it.clone();
        volume["name"] = json!(format!("v{index}"));
        volume
    };
    let mounts = (0..volumes.len()).map(|it| json!({ "name": format!("v{it}"), "mountPath": format!("/v{it}") }));
    json!({ "volumes": volumes.iter().enumerate().map(named).collect::<Vec<_>>(), "securityContext": { "runAsUser": 1000 },
        "terminationGracePeriodSeconds": 0,
        "containers": [{ "name": "main", "image": image, "args": steps(&format!("{args} , forever")),
            "volumeMounts": mounts.collect::<Vec<_>>() }] })
}

async fn source(island: &Island) {
    let data = json!({ "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" });
    island.config_map("source", data.clone()).await;
    island.secret("source", data).await;
    let other = json!({ "metadata": { "name": "source" }, "stringData": { "data-1": "not this one" } });
    island.call("POST", "/api/v1/namespaces", json!({ "metadata": { "name": "other" } })).await.unwrap();
    island.call("POST", "/api/v1/namespaces/other/secrets", other).await.unwrap();
}

/// One row: fields of the volume, its items, the file to look at, and the mode it must have.
async fn check(island: &Island, image: &str, name: &str, row: (Value, Value, &str, u32)) {
    let (volume, items, file, wanted) = row;
    for (kind, volume) in sources(&volume, &items) {
        let pod = format!("{kind}-{name}");
        // Twice in one pod: each mount shows it all.
        let spec =
            reader(image, &format!("cat /v0/{file} , print , cat /v1/{file} , print"), &[volume.clone(), volume]);
        island.create(&pod, spec).await;
        island.until_logged(&pod, "main", "\n").await;
        let shown = if file.ends_with('2') { "value-2\nvalue-2\n" } else { "value-1\nvalue-1\n" };
        island.until_logged(&pod, "main", shown).await;
        let object = island.pods.get(&pod).await.unwrap();
        assert_eq!(mode(island, &object, &format!("v0/{file}")), wanted, "{pod}");
        island.pods.delete(&pod, &Default::default()).await.unwrap();
    }
}

#[tokio::test]
async fn config_maps_and_secrets_are_files_with_the_modes_that_are_asked_for() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    source(&island).await;
    let items = |mode: Value| json!([{ "key": "data-2", "path": "path/to/data-2", "mode": mode }]);
    check(&island, &image, "plain", (json!({}), Value::Null, "data-1", 0o644)).await;
    check(&island, &image, "default-mode", (json!({ "defaultMode": 0o400 }), Value::Null, "data-1", 0o400)).await;
    check(&island, &image, "group-mode", (json!({ "defaultMode": 0o440 }), Value::Null, "data-1", 0o440)).await;
    check(&island, &image, "mapped", (json!({}), items(Value::Null), "path/to/data-2", 0o644)).await;
    check(&island, &image, "item-mode", (json!({}), items(json!(0o400)), "path/to/data-2", 0o400)).await;
}

#[tokio::test]
async fn binary_data_is_shown_as_it_is() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let object = json!({ "metadata": { "name": "binary" }, "data": { "text": "value-1" }, "binaryData": { "dump": "3q2+7w==" } });
    island.call("POST", &format!("{API}/configmaps"), object).await.unwrap();
    let spec = reader(&image, "cat /v0/text , print", &[json!({ "configMap": { "name": "binary" } })]);
    let pod = island.create("binary", spec).await;
    island.until_logged("binary", "main", "value-1\n").await;
    let file = island.node_file(&format!("pods/{}/volumes/v0/dump", pod.metadata.uid.unwrap()));
    assert_eq!(std::fs::read(file).unwrap(), [0xde, 0xad, 0xbe, 0xef]);
}

#[tokio::test]
async fn volumes_follow_their_sources_and_optional_ones_come_and_go() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    for (kind, put) in [("configMap", "configmaps"), ("secret", "secrets")] {
        let data = if kind == "secret" { "stringData" } else { "data" };
        let object = |name: &str, value: &str| json!({ "metadata": { "name": name }, data: { "data-1": value } });
        let path = |name: &str| format!("{API}/{put}/{name}");
        for projected in [false, true] {
            let volume = |name: &str| match (projected, kind) {
                (true, _) => json!({ "projected": { "sources": [{ kind: { "name": name, "optional": true } }] } }),
                (false, "secret") => json!({ "secret": { "secretName": name, "optional": true } }),
                (false, _) => json!({ "configMap": { "name": name, "optional": true } }),
            };
            for (name, value) in [("del", "value-1"), ("upd", "value-1")] {
                island.call("POST", &format!("{API}/{put}"), object(name, value)).await.unwrap();
            }
            let pod = format!("{put}-{projected}");
            let volumes = [volume("del"), volume("upd"), volume("new")];
            let created =
                island.create(&pod, reader(&image, "cat /v0/data-1 , cat /v1/data-1 , ls /v2 , print", &volumes)).await;
            island.until_logged(&pod, "main", "value-1value-1\n").await;
            island.call("DELETE", &path("del"), Value::Null).await.unwrap();
            island.call("PATCH", &path("upd"), json!({ data: { "data-1": "value-2" } })).await.unwrap();
            island.call("POST", &format!("{API}/{put}"), object("new", "value-3")).await.unwrap();
            let file = |at: u8| {
                let path = format!("pods/{}/volumes/v{at}/data-1", created.metadata.uid.as_ref().unwrap());
                std::fs::read_to_string(island.node_file(&path)).ok()
            };
            let wanted = [None, Some("value-2".to_owned()), Some("value-3".to_owned())];
            for _ in 0..500 {
                if [file(0), file(1), file(2)] == wanted {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!([file(0), file(1), file(2)], wanted, "{pod}");
            for name in ["upd", "new"] {
                island.call("DELETE", &path(name), Value::Null).await.unwrap();
            }
        }
    }
}

fn downward(projected: bool, items: Value, mode: Value) -> Value {
    let mut volume = match projected {
        true => json!({ "projected": { "sources": [{ "downwardAPI": { "items": items } }] } }),
        false => json!({ "downwardAPI": { "items": items } }),
    };
    let kind = if projected { "projected" } else { "downwardAPI" };
    if !mode.is_null() {
        volume[kind]["defaultMode"] = mode;
    }
    volume
}

#[tokio::test]
async fn the_downward_api_is_shown_in_files() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let (cpu, memory) = allocatable(&island).await;
    for projected in [false, true] {
        let amount = |path: &str, resource: &str| json!({ "path": path, "resourceFieldRef": { "containerName": "main", "resource": resource } });
        let items = json!([
            { "path": "podname", "fieldRef": { "fieldPath": "metadata.name" } },
            { "path": "private", "mode": 0o400, "fieldRef": { "fieldPath": "metadata.name" } },
            amount("cpu_limit", "limits.cpu"),
            amount("cpu_request", "requests.cpu"),
            amount("memory_limit", "limits.memory"),
            amount("memory_request", "requests.memory"),
        ]);
        let all = "cat /v0/podname , print , cat /v0/cpu_limit , print , cat /v0/cpu_request , print , \
                   cat /v0/memory_limit , print , cat /v0/memory_request , print";
        let resources =
            json!({ "requests": { "cpu": "250m", "memory": "32Mi" }, "limits": { "cpu": "1250m", "memory": "64Mi" } });
        let name = format!("limited-{projected}");
        let mut spec = reader(&image, all, &[downward(projected, items.clone(), Value::Null)]);
        spec["containers"][0]["resources"] = resources;
        let pod = island.create(&name, spec).await;
        island.until_logged(&name, "main", &format!("{name}\n2\n1\n67108864\n33554432\n")).await;
        assert_eq!(mode(&island, &pod, "v0/podname"), 0o644);
        assert_eq!(mode(&island, &pod, "v0/private"), 0o400);

        let name = format!("free-{projected}");
        let spec = reader(&image, all, &[downward(projected, items, json!(0o400))]);
        let pod = island.create(&name, spec).await;
        island.until_logged(&name, "main", &format!("{name}\n{cpu}\n0\n{memory}\n0\n")).await;
        assert_eq!(mode(&island, &pod, "v0/podname"), 0o400);
    }
}

#[tokio::test]
async fn labels_and_annotations_in_files_follow_the_pod() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    for projected in [false, true] {
        let items = json!([
            { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
            { "path": "annotations", "fieldRef": { "fieldPath": "metadata.annotations" } },
        ]);
        let name = format!("follows-{projected}");
        let metadata = json!({ "name": name, "labels": { "key1": "value1" }, "annotations": { "builder": "bar" } });
        let spec = reader(
            &image,
            "cat /v0/labels , print , cat /v0/annotations , print",
            &[downward(projected, items, Value::Null)],
        );
        let pod = island.create_with(metadata, spec).await;
        island.until_logged(&name, "main", "key1=\"value1\"\nbuilder=\"bar\"\n").await;
        let patch = json!({ "metadata": { "labels": { "key3": "value3" }, "annotations": { "builder": "foo" } } });
        island.call("PATCH", &format!("{API}/pods/{name}"), patch).await.unwrap();
        let file = |it: &str| {
            let path = format!("pods/{}/volumes/v0/{it}", pod.metadata.uid.as_ref().unwrap());
            std::fs::read_to_string(island.node_file(&path)).unwrap()
        };
        for _ in 0..500 {
            if file("labels").contains("key3=\"value3\"") && file("annotations") == "builder=\"foo\"" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(
            (file("labels").as_str(), file("annotations").as_str()),
            ("key1=\"value1\"\nkey3=\"value3\"", "builder=\"foo\"")
        );
        let pod = island.until(&name, ready).await;
        assert_eq!(container(&pod)["restartCount"], 0);
    }
}

#[tokio::test]
async fn all_sources_come_together_in_one_volume() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    source(&island).await;
    let volume = json!({ "projected": { "sources": [
        { "configMap": { "name": "source", "items": [{ "key": "data-1", "path": "configmap-data" }] } },
        { "secret": { "name": "source", "items": [{ "key": "data-2", "path": "secret-data" }] } },
        { "downwardAPI": { "items": [{ "path": "podname", "fieldRef": { "fieldPath": "metadata.name" } }] } }] } });
    let args = "cat /v0/configmap-data , print , cat /v0/secret-data , print , cat /v0/podname , print";
    island.create("combined", reader(&image, args, &[volume])).await;
    island.until_logged("combined", "main", "value-1\nvalue-2\ncombined\n").await;
}

#[tokio::test]
async fn empty_directories_are_shared_and_open_to_their_pod() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let shared = json!({ "restartPolicy": "Never",
        "volumes": [{ "name": "disk", "emptyDir": {} }, { "name": "memory", "emptyDir": { "medium": "Memory" } }],
        "containers": [
            { "name": "main", "image": image, "args": steps("until /disk/shared , cat /disk/shared , write /memory/x y , cat /memory/x , print , forever"),
              "volumeMounts": [{ "name": "disk", "mountPath": "/disk" }, { "name": "memory", "mountPath": "/memory" }] },
            { "name": "sub", "image": image, "args": steps("write /disk/shared hello"),
              "volumeMounts": [{ "name": "disk", "mountPath": "/disk" }] }] });
    let pod = island.create("shared", shared).await;
    island.until_logged("shared", "main", "helloy").await;
    assert_eq!(mode(&island, &pod, "disk"), 0o777);
    let uid = pod.metadata.uid.unwrap();
    let in_memory: Vec<_> = std::fs::read_dir("/dev/shm")
        .unwrap()
        .flatten()
        .map(|it| it.path().join(&uid).join("volumes/memory"))
        .filter(|it| it.is_dir())
        .collect();
    assert_eq!(in_memory.len(), 1, "it lies in memory");
    assert_eq!(std::fs::metadata(&in_memory[0]).unwrap().permissions().mode() & 0o777, 0o777);
    island.pods.delete("shared", &kube::api::DeleteParams::default().grace_period(0)).await.unwrap();
    island.until_gone("shared").await;
    for _ in 0..200 {
        if !in_memory[0].exists() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("what a pod had in memory is still there");
}

#[tokio::test]
async fn many_volumes_do_not_conflict() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    source(&island).await;
    let wrapped = [json!({ "secret": { "secretName": "source" } }), json!({ "configMap": { "name": "source" } })];
    island.create("wrapped", reader(&image, "cat /v0/data-1 , cat /v1/data-1 , print", &wrapped)).await;
    island.until_logged("wrapped", "main", "value-1value-1\n").await;

    let mut volumes = Vec::new();
    for index in 0..50 {
        let name = format!("racey-{index}");
        island.config_map(&name, json!({ "data-1": name })).await;
        volumes.push(json!({ "configMap": { "name": name } }));
    }
    for replica in 0..5 {
        island.create(&format!("many-{replica}"), reader(&image, "cat /v49/data-1 , print", &volumes)).await;
    }
    for replica in 0..5 {
        island.until_logged(&format!("many-{replica}"), "main", "racey-49\n").await;
        let pod = island.until(&format!("many-{replica}"), ready).await;
        assert_eq!(container(&pod)["restartCount"], 0);
    }
}

#[tokio::test]
async fn sub_paths_of_written_volumes_are_files_and_directories() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    source(&island).await;
    let downward = json!({ "items": [{ "path": "dir/podname", "fieldRef": { "fieldPath": "metadata.name" } }] });
    let items = json!([{ "key": "data-1", "path": "dir/file" }]);
    let rows = [
        ("config-map", json!({ "configMap": { "name": "source", "items": items } }), "dir", "/probe", "/probe/file"),
        ("a-file", json!({ "configMap": { "name": "source" } }), "data-1", "/etc/resolv.conf", "/etc/resolv.conf"),
        ("secret", json!({ "secret": { "secretName": "source", "items": items } }), "dir", "/probe", "/probe/file"),
        ("downward", json!({ "downwardAPI": downward }), "dir", "/probe", "/probe/podname"),
        (
            "projected",
            json!({ "projected": { "sources": [{ "downwardAPI": downward }] } }),
            "dir",
            "/probe",
            "/probe/podname",
        ),
    ];
    for (name, mut volume, sub, at, file) in rows {
        volume["name"] = json!("v");
        let container = json!({ "image": image, "args": steps(&format!("cat {file}")),
            "volumeMounts": [{ "name": "v", "mountPath": at, "subPath": sub }] });
        let log = island.log_of(name, container, json!({ "volumes": [volume] })).await;
        assert_eq!(log, if file.ends_with("podname") { name } else { "value-1" }, "{name}");
    }
}

#[tokio::test]
async fn an_image_is_a_volume_of_its_files() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("usr/lib")).unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("usr/lib/os-release"), "NAME=\"Alpine Linux\"\n").unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", root.path().join("etc/os-release")).unwrap();
    std::fs::write(root.path().join("data.json"), r#"{"image": "kitten.jpg"}"#).unwrap();
    let tar = std::process::Command::new("tar").args(["-cz", "."]).current_dir(root.path()).output().unwrap();
    let config = json!({ "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sh"] } });
    let layer = ("application/vnd.oci.image.layer.v1.tar+gzip", tar.stdout);
    let kitten = island.put_image("kitten", &config, &[layer]).await;
    let volume = json!({ "image": { "reference": kitten, "pullPolicy": "Always" } });
    let args = "cat /v0/data.json , print , cat /v0/etc/os-release , print";
    island.create("shown", reader(&image, args, std::slice::from_ref(&volume))).await;
    island.until_logged("shown", "main", "{\"image\": \"kitten.jpg\"}\nNAME=\"Alpine Linux\"\n").await;
    island.create("writes", reader(&image, "write /v0/new x", &[volume])).await;
    island.until_logged("writes", "main", "write: /v0/new: ").await;
    let absent = json!({ "image": { "reference": kitten.replace("kitten", "none") } });
    island.create("absent", reader(&image, "print", &[absent])).await;
    island.until("absent", |pod| matches!(waiting(pod).as_str(), "ErrImagePull" | "ImagePullBackOff")).await;
}

#[tokio::test]
async fn nothing_is_written_outside_of_volumes_nor_into_read_only_ones() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    source(&island).await;
    for (name, path) in [("root", "/file"), ("config", "/v0/data-1")] {
        let mut spec = reader(&image, &format!("write {path} x"), &[json!({ "configMap": { "name": "source" } })]);
        spec["restartPolicy"] = json!("Never");
        spec["containers"][0]["securityContext"] = json!({ "readOnlyRootFilesystem": true });
        island.create(name, spec).await;
        island.until(name, |pod| phase(pod) == "Failed").await;
        let log = island.log(name, "main").await;
        assert!(log.starts_with(&format!("write: {path}: ")), "{log}");
    }
}
