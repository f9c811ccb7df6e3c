//! Lists: pages of one snapshot, selectors, tables and metadata-only forms; and discovery.

use eyot_apiserver::attributes;
use eyot_store::Options;
use serde_json::{Value, json};

use crate::server::{MAPS, Server, names, version};

#[tokio::test]
async fn pages_show_one_snapshot() {
    let server = Server::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.map(name, json!({})).await;
    }
    let first = server.get(&format!("{MAPS}?limit=2")).await.body;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.delete(&format!("{MAPS}/c"), Value::Null).await;
    server.map("cc", json!({})).await;
    let next = |list: &Value| format!("{MAPS}?limit=2&continue={}", list["metadata"]["continue"].as_str().unwrap());
    let second = server.get(&next(&first)).await.body;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(version(&second), version(&first));
    let third = server.get(&next(&second)).await.body;
    assert_eq!(names(&third), ["e"]);
    assert_eq!(third["metadata"]["continue"], Value::Null);
    assert_eq!(names(&server.get(MAPS).await.body), ["a", "b", "cc", "d", "e"]);
}

#[tokio::test]
async fn pages_work_with_selectors() {
    let server = Server::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"), ("e", "y")] {
        server.map(name, json!({"app": app})).await;
    }
    let first = server.get(&format!("{MAPS}?limit=2&labelSelector=app%3Dx")).await.body;
    assert_eq!(names(&first), ["a", "c"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = server.get(&format!("{MAPS}?limit=2&labelSelector=app%3Dx&continue={token}")).await.body;
    assert_eq!(names(&second), ["d"]);
    assert_eq!(second["metadata"]["continue"], Value::Null);
}

#[tokio::test]
async fn pages_of_what_is_selected_are_all_of_it_however_rare_it_is() {
    let server = Server::start().await;
    let app = |it: usize| if it % 97 == 5 { "rare" } else { ["x", "y"][it % 2] };
    let maps: Vec<(String, &str)> = (0..900).map(|it| (format!("m{it:03}"), app(it))).collect();
    futures::future::join_all(maps.iter().map(|(name, app)| server.map(name, json!({"app": app})))).await;
    for (app, limit) in [("x", 100), ("x", 449), ("rare", 2), ("rare", 9), ("rare", 500), ("none", 3)] {
        let all: Vec<&str> = maps.iter().filter(|it| it.1 == app).map(|it| it.0.as_str()).collect();
        let uri = format!("{MAPS}?limit={limit}&labelSelector=app%3D{app}");
        let (mut seen, mut token, mut revision) = (Vec::new(), String::new(), Value::Null);
        loop {
            let page = server.get(&format!("{uri}&continue={token}")).await.body;
            seen.extend(names(&page).into_iter().map(str::to_owned));
            assert!(revision.is_null() || revision == page["metadata"]["resourceVersion"], "{app} by {limit}");
            revision = page["metadata"]["resourceVersion"].clone();
            let Some(next) = page["metadata"]["continue"].as_str() else { break };
            assert_eq!(names(&page).len(), limit, "{app} by {limit}");
            token = next.to_owned();
            // Of no consequence for the pages that follow.
            server.map(&format!("later-{app}-{limit}-{}", seen.len()), json!({"app": app})).await;
        }
        assert_eq!(seen, all, "{app} by {limit}");
        let later = server.get(&format!("{MAPS}?labelSelector=app%3D{app}")).await.body;
        for name in names(&later).into_iter().filter(|it| it.starts_with("later-")) {
            server.delete(&format!("{MAPS}/{name}"), Value::Null).await;
        }
    }
}

#[tokio::test]
async fn a_forgotten_snapshot_is_expired() {
    let server = Server::start_with(Options { history_events_max: 4, ..Options::new(attributes) }).await;
    for name in ["a", "b", "c"] {
        server.map(name, json!({})).await;
    }
    let first = server.get(&format!("{MAPS}?limit=1")).await.body;
    for name in ["d", "e", "f", "g", "h", "i"] {
        server.map(name, json!({})).await;
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = server.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((expired.code, &expired.body["reason"]), (410, &"Expired".into()));
    let token = expired.body["metadata"]["continue"].as_str().unwrap();
    let rest = server.get(&format!("{MAPS}?limit=3&continue={token}")).await.body;
    assert_eq!(names(&rest), ["b", "c", "d"]);
    assert_eq!(version(&rest), server.store.revision().to_string());
    let token = rest["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&server.get(&format!("{MAPS}?continue={token}")).await.body), ["e", "f", "g", "h", "i"]);
}

#[tokio::test]
async fn selectors_choose() {
    let server = Server::start().await;
    server.map("a", json!({"app": "x", "tier": "front"})).await;
    server.map("b", json!({"app": "y"})).await;
    for (query, want) in [
        ("labelSelector=app%20in%20(x,z)", vec!["a"]),
        ("labelSelector=!tier", vec!["b"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db", vec!["a"]),
        ("fieldSelector=metadata.namespace%3Dkube-system", vec![]),
    ] {
        assert_eq!(names(&server.get(&format!("{MAPS}?{query}")).await.body), want, "{query}");
    }
    let all = server.get("/api/v1/configmaps?labelSelector=app%3Dy").await;
    assert_eq!((names(&all.body), &all.body["kind"]), (vec!["b"], &"ConfigMapList".into()));
}

#[tokio::test]
async fn an_exact_version_is_that_version() {
    let server = Server::start().await;
    let a = server.map("a", json!({})).await;
    server.map("b", json!({})).await;
    let exact = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", version(&a));
    let list = server.get(&exact).await.body;
    assert_eq!((names(&list), version(&list)), (vec!["a"], version(&a)));
    assert_eq!(server.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
    // Without the option, a page of a version is exact and a whole list is not.
    let page = server.get(&format!("{MAPS}?resourceVersion={}&limit=5", version(&a))).await.body;
    assert_eq!((names(&page), version(&page)), (vec!["a"], version(&a)));
    let newer = format!("{MAPS}?resourceVersion={}", version(&a));
    for query in ["", "&resourceVersionMatch=NotOlderThan&limit=5"] {
        assert_eq!(names(&server.get(&format!("{newer}{query}")).await.body), ["a", "b"], "{query}");
    }
}

#[tokio::test]
async fn tables_and_metadata_come_on_request() {
    let server = Server::start().await;
    server.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await;
    let table = server.accept(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await.body;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&"Table".into(), &"a".into()));
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "a");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = server.accept(MAPS, partial).await.body;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!((&list["items"][0]["data"], names(&list)), (&Value::Null, vec!["a"]));
    let one = server.accept(&format!("{MAPS}/a"), "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await;
    assert_eq!((&one.body["kind"], &one.body["data"]), (&"PartialObjectMetadata".into(), &Value::Null));
}

#[tokio::test]
async fn a_long_list_arrives_whole() {
    let server = Server::start().await;
    let text = "x".repeat(1000);
    let creations = (0..300).map(|it| {
        let object = json!({"metadata": {"name": format!("m{it:03}")}, "data": {"k": text}});
        server.post(MAPS, object)
    });
    futures::future::join_all(creations).await;
    let list = server.get(MAPS).await.body;
    assert_eq!(names(&list).len(), 300);
    assert_eq!(list["items"][299]["data"]["k"].as_str().unwrap().len(), 1000);
}

#[tokio::test]
async fn discovery_tells_every_kind() {
    let server = Server::start().await;
    assert_eq!(server.get("/api").await.body["versions"], json!(["v1"]));
    let groups = server.get("/apis").await.body;
    let apps = groups["groups"].as_array().unwrap().iter().find(|it| it["name"] == "apps").unwrap().clone();
    assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
    let resources = server.get("/apis/apps/v1").await.body;
    let resources = resources["resources"].as_array().unwrap();
    assert!(resources.iter().any(|it| it["name"] == "deployments/scale" && it["group"] == "autoscaling"));
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let aggregated = server.accept("/apis", accept).await.body;
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
    let core = server.accept("/api", accept).await.body;
    let pods =
        core["items"][0]["versions"][0]["resources"].as_array().unwrap().iter().find(|it| it["resource"] == "pods");
    assert_eq!(pods.unwrap()["responseKind"]["kind"], "Pod");
}
