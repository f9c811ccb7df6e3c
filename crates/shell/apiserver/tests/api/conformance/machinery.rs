//! sig-api-machinery: discovery, versions, field validation, tables, chunks, namespaces, policies, fairness.

use http::{Method, Request, header};
use serde_json::{Value, json};

use eyot_apiserver::{Body, attributes};
use eyot_store::Options;

use super::lifecycle::{Round, expect};
use crate::server::{Server, names, read, version};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn the_server_version_is_made_of_numbers() {
    let server = Server::start().await;
    let found = expect(server.get("/version").await, 200);
    for field in ["major", "minor"] {
        let text = found[field].as_str().unwrap();
        assert!(!text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()), "{field}: {text}");
    }
}

#[tokio::test]
async fn every_group_has_a_preferred_version_and_resources() {
    let server = Server::start().await;
    let groups = expect(server.get("/apis").await, 200);
    for group in groups["groups"].as_array().unwrap() {
        let versions: Vec<&Value> =
            group["versions"].as_array().unwrap().iter().map(|it| &it["groupVersion"]).collect();
        assert!(versions.contains(&&group["preferredVersion"]["groupVersion"]), "{group}");
        for version in versions.iter().map(|it| it.as_str().unwrap()) {
            let list = expect(server.get(&format!("/apis/{version}")).await, 200);
            assert_eq!(list["groupVersion"], version);
            assert!(!list["resources"].as_array().unwrap().is_empty(), "{version}");
        }
    }
}

#[tokio::test]
async fn aggregated_discovery_holds_what_the_older_form_holds() {
    let server = Server::start().await;
    for path in ["/api", "/apis"] {
        let document = expect(server.accept(path, AGGREGATED).await, 200);
        assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
        for group in document["items"].as_array().unwrap() {
            for version in group["versions"].as_array().unwrap() {
                let name = version["version"].as_str().unwrap();
                let uri = match group["metadata"]["name"].as_str() {
                    Some(group) => format!("/apis/{group}/{name}"),
                    None => format!("/api/{name}"),
                };
                let older = expect(server.get(&uri).await, 200);
                let older: Vec<&str> =
                    older["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
                for resource in version["resources"].as_array().unwrap() {
                    let plural = resource["resource"].as_str().unwrap();
                    // What has subresources only is there for their sake.
                    let is_something = !resource["verbs"].as_array().unwrap().is_empty();
                    assert_eq!(older.contains(&plural), is_something, "{plural} in {uri}");
                    for sub in resource["subresources"].as_array().into_iter().flatten() {
                        let name = format!("{plural}/{}", sub["subresource"].as_str().unwrap());
                        assert!(older.contains(&name.as_str()), "{name} in {uri}");
                    }
                }
                assert_eq!(version["freshness"], "Current");
            }
        }
    }
}

#[tokio::test]
async fn aggregated_discovery_comes_by_accept_header_with_a_tag() {
    let server = Server::start().await;
    let ask = async |accept: &str, tag: &str| {
        let request = Request::get("/apis").header(header::ACCEPT, accept).header(header::IF_NONE_MATCH, tag);
        let response = server.send(request.body(Body::empty()).unwrap()).await;
        let headers = response.headers().clone();
        let text =
            |name| headers.get(name).map_or_else(String::new, |it: &http::HeaderValue| it.to_str().unwrap().into());
        (response.status().as_u16(), text(header::CONTENT_TYPE), text(header::ETAG))
    };
    let (code, media_type, tag) = ask(&format!("{AGGREGATED},application/json"), "").await;
    assert_eq!((code, media_type.as_str()), (200, AGGREGATED));
    assert_eq!(ask(AGGREGATED, &tag).await.0, 304);
    let (code, media_type, _) = ask("application/json", "").await;
    assert_eq!((code, media_type.as_str()), (200, "application/json"));
    let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    assert_eq!(ask(older, "").await.1, older);
    let unknown = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";
    assert_eq!(ask(unknown, "").await.0, 406);
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_told_in_order() {
    let server = Server::start().await;
    let uri = "/apis/apps/v1/namespaces/default/deployments?fieldManager=m&fieldValidation=Strict";
    let body = |metadata: &str, spec: &str| {
        format!(
            r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "my-dep", {metadata} "labels": {{"app": "nginx"}}}},
            "spec": {{{spec} "selector": {{"matchLabels": {{"app": "nginx"}}}}, "template": {{"metadata": {{"labels": {{"app": "nginx"}}}},
            "spec": {{"containers": [{{"name": "nginx", "image": "nginx:latest"}}]}}}}}}}}"#
        )
    };
    let refused = async |body: String| {
        let answer = server.call(Method::POST, uri, "application/json", body).await;
        expect(answer, 400)["message"].as_str().unwrap().to_owned()
    };
    let message = refused(body("", r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#)).await;
    let told = r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    assert!(message.ends_with(told), "{message}");
    let message = refused(body(r#""unknownMeta": "foo","#, "")).await;
    assert!(message.ends_with(r#"strict decoding error: unknown field "metadata.unknownMeta""#), "{message}");
}

#[tokio::test]
async fn keys_that_yaml_repeats_are_told_by_line() {
    let server = Server::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: twice}\ndata:\n  a: one\n  a: two\n";
    let post = async |validation: &str| {
        let uri = format!("/api/v1/namespaces/default/configmaps?fieldValidation={validation}&dryRun=All");
        server.call(Method::POST, &uri, "application/yaml", yaml).await
    };
    let message = expect(post("Strict").await, 400)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("line 6: key \"a\" already set in map"), "{message}");
    let warned = post("Warn").await;
    assert_eq!((warned.code, warned.warnings.len()), (201, 1), "{}", warned.body);
    assert_eq!(warned.body["data"]["a"], "two");
    assert_eq!(post("Ignore").await.warnings.len(), 0);
}

#[tokio::test]
async fn a_review_is_no_table() {
    let server = Server::start().await;
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review =
        json!({"spec": {"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}}});
    let request = Request::post(uri)
        .header(header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .header(header::CONTENT_TYPE, "application/json");
    let answer = read(server.send(request.body(Body::full(review.to_string())).unwrap()).await).await;
    assert_eq!((answer.code, &answer.body["reason"]), (406, &"NotAcceptable".into()));
}

async fn templates(server: &Server, count: usize) -> &'static str {
    let collection = "/api/v1/namespaces/default/podtemplates";
    for at in 0..count {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let object = json!({"metadata": {"name": format!("template-{at:04}")}, "template": {"spec": spec}});
        expect(server.post(collection, object).await, 201);
    }
    collection
}

#[tokio::test]
async fn a_list_comes_in_chunks_of_one_version() {
    let server = Server::start().await;
    let collection = templates(&server, 40).await;
    let (mut seen, mut token, mut first) = (0, String::new(), None);
    loop {
        let page = expect(server.get(&format!("{collection}?limit=17&continue={token}")).await, 200);
        seen += names(&page).len();
        assert!(names(&page).len() <= 17);
        assert_eq!(*first.get_or_insert_with(|| version(&page)), version(&page));
        assert_eq!(page["metadata"]["remainingItemCount"].as_u64().unwrap_or(0), 40 - seen as u64);
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, 40);
    assert_eq!(names(&server.get(collection).await.body).len(), 40);
}

#[tokio::test]
async fn a_list_whose_version_is_forgotten_goes_on_inconsistently() {
    let server = Server::start_with(Options { history_events_max: 8, ..Options::new(attributes) }).await;
    let collection = templates(&server, 30).await;
    let first = expect(server.get(&format!("{collection}?limit=10")).await, 200);
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    for at in 0..20 {
        let patch = json!({"metadata": {"annotations": {"at": at.to_string()}}});
        expect(server.merge(&format!("{collection}/template-0029"), patch).await, 200);
    }
    let expired = expect(server.get(&format!("{collection}?limit=10&continue={token}")).await, 410);
    assert_eq!(expired["reason"], "Expired");
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let second = expect(server.get(&format!("{collection}?limit=10&continue={token}")).await, 200);
    assert_eq!(names(&second)[0], "template-0010");
    assert_eq!(second["metadata"]["remainingItemCount"], 10);
    assert_ne!(version(&second), version(&first));
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = expect(server.get(&format!("{collection}?limit=10&continue={token}")).await, 200);
    assert_eq!((names(&third).len(), version(&third)), (10, version(&second)));
    assert_eq!(third["metadata"]["continue"], Value::Null);
}

#[tokio::test]
async fn namespaces_are_patched_updated_and_finalized() {
    let server = Server::start().await;
    expect(server.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await, 201);
    let uri = "/api/v1/namespaces/n";
    let patched = expect(server.merge(uri, json!({"metadata": {"labels": {"testLabel": "testValue"}}})).await, 200);
    assert_eq!(patched["metadata"]["labels"]["testLabel"], "testValue");
    let mut object = expect(server.get(uri).await, 200);
    object["metadata"]["labels"]["updated"] = "yes".into();
    assert_eq!(expect(server.put(uri, object).await, 200)["metadata"]["labels"]["updated"], "yes");

    let status = format!("{uri}/status");
    assert_eq!(expect(server.get(&status).await, 200)["status"]["phase"], "Active");
    let condition = json!({"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by a test"});
    let patched = expect(server.merge(&status, json!({"status": {"conditions": [condition]}})).await, 200);
    assert_eq!(patched["status"]["conditions"][0]["reason"], "E2E");
    let mut object = expect(server.get(&status).await, 200);
    object["status"]["conditions"][0]["reason"] = "Updated".into();
    assert_eq!(expect(server.put(&status, object).await, 200)["status"]["conditions"][0]["reason"], "Updated");

    let mut object = expect(server.get(uri).await, 200);
    object["spec"]["finalizers"] = json!(["kubernetes", "e2e.example.com/fakeFinalizer"]);
    let uri = format!("{uri}/finalize");
    let mut object = expect(server.put(&uri, object).await, 200);
    assert_eq!(object["spec"]["finalizers"][1], "e2e.example.com/fakeFinalizer");
    object["spec"]["finalizers"] = json!(["kubernetes"]);
    assert_eq!(expect(server.put(&uri, object).await, 200)["spec"]["finalizers"], json!(["kubernetes"]));
}

#[tokio::test]
async fn fairness_kinds_go_through_the_round() {
    let server = Server::start().await;
    let api_version = "flowcontrol.apiserver.k8s.io/v1";
    let subject = json!({"kind": "User", "user": {"name": "example-e2e"}});
    let rule = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    let object = json!({"spec": {"matchingPrecedence": 10_000, "priorityLevelConfiguration": {"name": "global-default"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": [{"subjects": [subject], "nonResourceRules": [rule]}]}});
    let status = Some(
        json!({"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "E2E", "message": "m"}]}),
    );
    Round { api_version, plural: "flowschemas", namespaced: false, object, status: status.clone() }.go(&server).await;
    let object = json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}});
    Round { api_version, plural: "prioritylevelconfigurations", namespaced: false, object, status }.go(&server).await;
}

fn matching() -> Value {
    json!({"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]})
}

#[tokio::test]
async fn admission_policies_go_through_the_round() {
    let server = Server::start().await;
    let api_version = "admissionregistration.k8s.io/v1";
    let object = json!({"spec": {"matchConstraints": matching(), "validations": [{"expression": "true"}]}});
    let status = Some(json!({"observedGeneration": 1}));
    Round { api_version, plural: "validatingadmissionpolicies", namespaced: false, object, status }.go(&server).await;
    let expression = "[JSONPatch{op: 'add', path: '/spec/paused', value: true}]";
    let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let object =
        json!({"spec": {"matchConstraints": matching(), "reinvocationPolicy": "Never", "mutations": [mutation]}});
    Round { api_version, plural: "mutatingadmissionpolicies", namespaced: false, object, status: None }
        .go(&server)
        .await;
    let object = json!({"spec": {"policyName": "p"}});
    Round { api_version, plural: "mutatingadmissionpolicybindings", namespaced: false, object, status: None }
        .go(&server)
        .await;
    let object = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
    Round { api_version, plural: "validatingadmissionpolicybindings", namespaced: false, object, status: None }
        .go(&server)
        .await;
}

#[tokio::test]
async fn webhook_configurations_keep_their_match_conditions() {
    let server = Server::start().await;
    for plural in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let collection = format!("/apis/admissionregistration.k8s.io/v1/{plural}");
        let condition = |expression: &str| json!([{"name": "expression-1", "expression": expression}]);
        let hook = json!({"name": "skip.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://127.0.0.1:9/"}, "matchConditions": condition("object.metadata.name != 'skip-me'"),
            "objectSelector": {"matchLabels": {"nothing": "has-this"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]});
        let object = json!({"metadata": {"name": "w"}, "webhooks": [hook]});
        let mut created = expect(server.post(&collection, object).await, 201);
        assert_eq!(created["webhooks"][0]["matchConditions"], condition("object.metadata.name != 'skip-me'"));
        created["webhooks"][0]["matchConditions"] = condition("object.metadata.name != 'other'");
        let uri = format!("{collection}/w");
        expect(server.put(&uri, created).await, 200);
        let found = expect(server.get(&uri).await, 200);
        assert_eq!(found["webhooks"][0]["matchConditions"], condition("object.metadata.name != 'other'"));
        expect(server.delete(&uri, Value::Null).await, 200);
    }
}

#[tokio::test]
async fn webhook_configurations_go_through_the_round() {
    let server = Server::start().await;
    let hook = json!({"name": "h.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:9/"}, "objectSelector": {"matchLabels": {"nothing": "has-this"}}});
    for plural in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
        let object = json!({"webhooks": [hook]});
        let api_version = "admissionregistration.k8s.io/v1";
        Round { api_version, plural, namespaced: false, object, status: None }.go(&server).await;
    }
}

#[tokio::test]
async fn resource_quota_lifecycle() {
    let object = json!({"spec": {"hard": {"cpu": "1", "memory": "500Mi"}}});
    let server = Server::start().await;
    let round = Round { api_version: "v1", plural: "resourcequotas", namespaced: true, object, status: None };
    round.go(&server).await;
    expect(
        server.post(&round.collection(), json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1"}}})).await,
        201,
    );
    let uri = format!("{}/q", round.collection());
    let mut quota = expect(server.get(&uri).await, 200);
    quota["spec"]["hard"] = json!({"cpu": "2", "memory": "1Gi"});
    assert_eq!(expect(server.put(&uri, quota).await, 200)["spec"]["hard"]["memory"], "1Gi");
    let status = json!({"status": {"hard": {"cpu": "2", "memory": "1Gi"}}});
    let patched = expect(server.merge(&format!("{uri}/status"), status).await, 200);
    assert_eq!((&patched["status"]["hard"]["cpu"], &patched["spec"]["hard"]["cpu"]), (&"2".into(), &"2".into()));
}
