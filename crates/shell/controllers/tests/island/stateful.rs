use serde_json::{Value, json};

use crate::world::{EVENTS, PODS, World, annotation, number, template};

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const WEB: &str = "/apis/apps/v1/namespaces/default/statefulsets/web";

async fn stateful(world: &World, replicas: i32, spec: Value) {
    let mut body = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "template": template("web", json!({})),
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        body["spec"][key] = value.clone();
    }
    world.create(SETS, body).await;
}

/// As `kubectl rollout status` judges it.
fn settled(set: &Value, replicas: i64) -> bool {
    let status = &set["status"];
    number(&status["observedGeneration"]) >= number(&set["metadata"]["generation"])
        && ["replicas", "readyReplicas", "availableReplicas", "updatedReplicas", "currentReplicas"]
            .iter()
            .all(|it| number(&status[it]) == replicas)
        && status["currentRevision"] == status["updateRevision"]
}

async fn names(world: &World) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pod in world.pods("web").await {
        names.push(pod["metadata"]["name"].as_str().unwrap().to_owned());
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_pods_come_in_order_and_know_who_they_are() {
    let world = World::start().await;
    stateful(&world, 3, json!({})).await;
    let set = world.until(WEB, "settled", |it| settled(it, 3)).await;
    assert_eq!(names(&world).await, ["web-0", "web-1", "web-2"]);
    let pods = world.pods("web").await;
    let second = pods.iter().find(|it| it["metadata"]["name"] == "web-1").unwrap();
    let labels = &second["metadata"]["labels"];
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
    assert_eq!(labels["controller-revision-hash"], set["status"]["updateRevision"]);
    assert_eq!((&second["spec"]["hostname"], &second["spec"]["subdomain"]), (&json!("web-1"), &json!("web")));
    let created = |name: &str| {
        let pod = pods.iter().find(|it| it["metadata"]["name"] == name).unwrap();
        pod["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(created("web-0") < created("web-1") && created("web-1") < created("web-2"));
    let told = |it: &Value| {
        let words = "create Pod web-2 in StatefulSet web successful";
        it["items"].as_array().is_some_and(|it| it.iter().any(|it| it["message"] == words))
    };
    world.until(EVENTS, "told", told).await;
    world.merge(WEB, json!({"spec": {"replicas": 1}})).await;
    world.until(WEB, "scaled", |it| settled(it, 1)).await;
    assert_eq!(names(&world).await, ["web-0"]);
    world.delete(WEB, "Foreground").await;
    world.until(PODS, "empty", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
    world.until(REVISIONS, "empty", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unready_pod_holds_the_next_back_unless_parallel() {
    let world = World::start().await;
    stateful(&world, 3, json!({"template": template("web", json!({"eyot.io/fake": "stuck"}))})).await;
    world.until(WEB, "one", |it| number(&it["status"]["replicas"]) == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(names(&world).await, ["web-0"]);
    world.delete(WEB, "Background").await;
    world.until(PODS, "empty", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
    let parallel = json!({
        "podManagementPolicy": "Parallel", "template": template("web", json!({"eyot.io/fake": "stuck"})),
        "ordinals": {"start": 5},
    });
    stateful(&world, 3, parallel).await;
    world.until(WEB, "all", |it| number(&it["status"]["replicas"]) == 3).await;
    assert_eq!(names(&world).await, ["web-5", "web-6", "web-7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_goes_up_and_down_past_unhealthy_pods() {
    let world = World::start().await;
    stateful(&world, 1, json!({"podManagementPolicy": "Parallel"})).await;
    world.until(WEB, "settled", |it| settled(it, 1)).await;
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    world.merge(&format!("{PODS}/web-0/status"), unready.clone()).await;
    world.until(WEB, "none is ready", |it| number(&it["status"]["readyReplicas"]) == 0).await;
    world.merge(WEB, json!({"spec": {"replicas": 3}})).await;
    world.until(WEB, "two are ready", |it| number(&it["status"]["readyReplicas"]) == 2).await;
    assert_eq!(names(&world).await, ["web-0", "web-1", "web-2"]);
    world.merge(&format!("{PODS}/web-1/status"), unready).await;
    world.until(WEB, "one is ready", |it| number(&it["status"]["readyReplicas"]) == 1).await;
    world.merge(WEB, json!({"spec": {"replicas": 0}})).await;
    world.until(PODS, "empty", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
    world.until(WEB, "scaled", |it| number(&it["status"]["replicas"]) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_respects_the_partition_and_undo_brings_the_old_template_back() {
    let world = World::start().await;
    stateful(&world, 3, json!({})).await;
    let first = world.until(WEB, "settled", |it| settled(it, 3)).await;
    let first = first["status"]["updateRevision"].as_str().unwrap().to_owned();
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let new = template("web", json!({"version": "2"}));
    world.merge(WEB, json!({"spec": {"updateStrategy": strategy, "template": new}})).await;
    let canary = |it: &Value| {
        number(&it["status"]["updatedReplicas"]) == 1
            && number(&it["status"]["readyReplicas"]) == 3
            && it["status"]["updateRevision"] != first.as_str()
    };
    let held = world.until(WEB, "canary", canary).await;
    assert_eq!(held["status"]["currentRevision"], first.as_str());
    let version = |pods: &[Value], name: &str| {
        let pod = pods.iter().find(|it| it["metadata"]["name"] == name);
        pod.map_or("none", |it| annotation(it, "version")).to_owned()
    };
    let pods = world.pods("web").await;
    assert_eq!((version(&pods, "web-1"), version(&pods, "web-2")), (String::new(), "2".to_owned()));
    // A pod below the partition comes back as it was.
    world.delete(&format!("{PODS}/web-0"), "Background").await;
    world.until(WEB, "back", canary).await;
    let back = |it: &Value| it["status"]["phase"] == "Running" && it["metadata"].get("deletionTimestamp").is_none();
    let pod = world.until(&format!("{PODS}/web-0"), "back", back).await;
    assert_eq!(annotation(&pod, "version"), "");
    world.merge(WEB, json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})).await;
    world.until(WEB, "updated", |it| settled(it, 3) && it["status"]["updateRevision"] != first.as_str()).await;
    assert!(world.pods("web").await.iter().all(|it| annotation(it, "version") == "2"));
    // What `kubectl rollout undo` does: the data of the old revision is a patch of the set.
    let revisions = world.list(REVISIONS).await;
    assert_eq!(revisions.len(), 2);
    let old = revisions.iter().find(|it| it["metadata"]["name"] == first.as_str()).unwrap();
    assert_eq!((number(&old["revision"]), &old["data"]["spec"]["template"]["$patch"]), (1, &json!("replace")));
    world.merge(WEB, json!({"spec": {"template": template("web", json!({"version": null}))}})).await;
    world.until(WEB, "undone", |it| settled(it, 3) && it["status"]["updateRevision"] == first.as_str()).await;
    let revisions = world.list(REVISIONS).await;
    let again = revisions.iter().find(|it| it["metadata"]["name"] == first.as_str()).unwrap();
    assert_eq!((revisions.len(), number(&again["revision"])), (2, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_beyond_its_limit_is_forgotten() {
    let world = World::start().await;
    stateful(&world, 1, json!({"revisionHistoryLimit": 1})).await;
    for version in ["1", "2", "3"] {
        world.until(WEB, "settled", |it| settled(it, 1)).await;
        let new = template("web", json!({"version": version}));
        world.merge(WEB, json!({"spec": {"template": new}})).await;
    }
    world.until(WEB, "settled", |it| settled(it, 1)).await;
    let two = |it: &Value| it["items"].as_array().is_some_and(|it| it.len() == 2);
    world.until(REVISIONS, "trimmed", two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_and_lost_pods_come_back_under_their_name() {
    let world = World::start().await;
    stateful(&world, 2, json!({})).await;
    world.until(WEB, "settled", |it| settled(it, 2)).await;
    let path = format!("{PODS}/web-0");
    let uid = world.get(&path).await.unwrap()["metadata"]["uid"].clone();
    world.merge(&format!("{path}/status"), json!({"status": {"phase": "Failed"}})).await;
    let another = |it: &Value| it["metadata"]["uid"].is_string() && it["metadata"]["uid"] != uid;
    world.until(&path, "made anew", another).await;
    world.until(WEB, "settled", |it| settled(it, 2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_made_for_pods_and_go_as_the_set_says() {
    let world = World::start().await;
    let claims = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    let retention = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let spec = json!({"volumeClaimTemplates": claims, "persistentVolumeClaimRetentionPolicy": retention});
    stateful(&world, 2, spec).await;
    world.until(WEB, "settled", |it| settled(it, 2)).await;
    let claim = world.get(&format!("{CLAIMS}/data-web-1")).await.unwrap();
    assert_eq!(claim["metadata"]["ownerReferences"][0]["kind"], "StatefulSet");
    let pod = world.get(&format!("{PODS}/web-1")).await.unwrap();
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-web-1");
    world.merge(WEB, json!({"spec": {"replicas": 1}})).await;
    world.until(&format!("{CLAIMS}/data-web-1"), "gone with its pod", Value::is_null).await;
    assert!(world.get(&format!("{CLAIMS}/data-web-0")).await.is_some());
    world.delete(WEB, "Background").await;
    world.until(&format!("{CLAIMS}/data-web-0"), "gone with the set", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_were_made_before_the_default_class_get_it() {
    const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
    let world = World::start().await;
    let claim = |name: &str, class: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        if !class.is_null() {
            spec["storageClassName"] = class;
        }
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    };
    for (name, class) in [("any", Value::Null), ("none", json!("")), ("late", json!("late"))] {
        world.create(CLAIMS, claim(name, class)).await;
    }
    for (name, mark) in [("late", "false"), ("usual", "true")] {
        let marks = json!({"storageclass.kubernetes.io/is-default-class": mark});
        world
            .create(
                CLASSES,
                json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": name, "annotations": marks}, "provisioner": "example.com/p"}),
            )
            .await;
    }
    // What wakes a claim before its time.
    for name in ["any", "none", "late"] {
        world.merge(&format!("{CLAIMS}/{name}"), json!({"metadata": {"labels": {"seen": "again"}}})).await;
    }
    let asked = |it: &Value| annotation(it, "volume.kubernetes.io/storage-provisioner") == "example.com/p";
    let any = world.until(&format!("{CLAIMS}/any"), "provisioned", asked).await;
    assert_eq!(any["spec"]["storageClassName"], "usual");
    world.until(&format!("{CLAIMS}/late"), "provisioned", asked).await;
    let none = world.get(&format!("{CLAIMS}/none")).await.unwrap();
    assert_eq!((&none["spec"]["storageClassName"], asked(&none)), (&json!(""), false));
}
