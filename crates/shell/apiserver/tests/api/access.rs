//! Who may do what: roles, bindings, impersonation, reviews.

use eyot_apiserver::{Body, Identity};
use http::{Method, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::server::{Answer, MAPS, Server, read};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

/// A request of a user without groups.
async fn ask(server: &Server, user: &str, method: Method, uri: &str, body: Value) -> Answer {
    with_headers(server, Identity::new(user, []), method, uri, &[], body).await
}

pub(crate) async fn with_headers(
    server: &Server,
    identity: Identity,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let mut request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Body::empty() } else { Body::full(body.to_string()) };
    read(server.api.service(identity).oneshot(request.body(body).unwrap()).await.unwrap()).await
}

async fn get(server: &Server, user: &str, uri: &str) -> Answer {
    ask(server, user, Method::GET, uri, Value::Null).await
}

/// Creates an object as a master.
async fn make(server: &Server, uri: &str, object: Value) -> Value {
    let answer = server.post(uri, object).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    answer.body
}

fn rules(verbs: &[&str], resources: &[&str]) -> Value {
    json!([{"verbs": verbs, "apiGroups": [""], "resources": resources}])
}

/// Gives a user a ClusterRole in the default namespace.
async fn bind(server: &Server, user: &str, role: &str) {
    let binding = json!({
        "metadata": {"name": format!("{user}-{role}")}, "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    });
    make(server, &format!("{RBAC}/namespaces/default/rolebindings"), binding).await;
}

#[tokio::test]
async fn roles_open_what_they_name_at_once_and_close_it_at_once() {
    let server = Server::start().await;
    let refused = get(&server, "eve", MAPS).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["message"],
        r#"configmaps is forbidden: User "eve" cannot list resource "configmaps" in API group "" in the namespace "default""#
    );
    bind(&server, "eve", "view").await;
    assert_eq!(get(&server, "eve", MAPS).await.code, 200);
    assert_eq!(get(&server, "eve", "/api/v1/configmaps").await.code, 403, "another scope");
    let write = ask(&server, "eve", Method::POST, MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(write.code, 403);
    let bindings = format!("{RBAC}/namespaces/default/rolebindings/eve-view");
    assert_eq!(server.delete(&bindings, json!({})).await.code, 200);
    assert_eq!(get(&server, "eve", MAPS).await.code, 403);
}

#[tokio::test]
async fn names_and_subresources_need_their_own_right() {
    let server = Server::start().await;
    for name in ["one", "two"] {
        server.map(name, json!({})).await;
    }
    let mut named = rules(&["get", "list", "watch"], &["configmaps"]);
    named[0]["resourceNames"] = json!(["one"]);
    make(&server, &format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "one"}, "rules": named})).await;
    bind(&server, "eve", "one").await;
    assert_eq!(get(&server, "eve", &format!("{MAPS}/one")).await.code, 200);
    assert_eq!(get(&server, "eve", &format!("{MAPS}/two")).await.code, 403);
    assert_eq!(get(&server, "eve", MAPS).await.code, 403);
    assert_eq!(get(&server, "eve", &format!("{MAPS}?fieldSelector=metadata.name%3Done")).await.code, 200);
    let scale = get(&server, "eve", "/apis/apps/v1/namespaces/default/deployments/d/scale").await;
    let message = scale.body["message"].as_str().unwrap();
    assert!(message.contains(r#"cannot get resource "deployments/scale" in API group "apps""#), "{message}");
    // What is not served is not told apart from what is not allowed.
    assert_eq!(get(&server, "eve", "/apis/acme.com/v1/things").await.code, 403);
    assert_eq!(
        get(&server, "eve", "/metrics").await.body["message"],
        r#"forbidden: User "eve" cannot get path "/metrics""#
    );
    assert_eq!(get(&server, "eve", "/apis").await.code, 200, "discovery is everyone's");
}

#[tokio::test]
async fn nobody_grants_more_than_they_have() {
    let server = Server::start().await;
    bind(&server, "eve", "admin").await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let held = json!({"metadata": {"name": "held"}, "rules": rules(&["get"], &["pods"])});
    assert_eq!(ask(&server, "eve", Method::POST, &roles, held).await.code, 201);
    let more = json!({"metadata": {"name": "more"}, "rules": rules(&["get", "create"], &["nodes"])});
    let refused = ask(&server, "eve", Method::POST, &roles, more.clone()).await;
    assert_eq!(refused.code, 403);
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.starts_with(r#"roles.rbac.authorization.k8s.io "more" is forbidden: user "eve" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:"#), "{message}");
    assert!(message.contains(r#"{APIGroups:[""], Resources:["nodes"], Verbs:["get" "create"]}"#), "{message}");

    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let to = |role: &str| {
        json!({"metadata": {"generateName": "b-"}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "eve"}]})
    };
    assert_eq!(ask(&server, "eve", Method::POST, &bindings, to("edit")).await.code, 201);
    assert_eq!(ask(&server, "eve", Method::POST, &bindings, to("cluster-admin")).await.code, 403);
    assert_eq!(ask(&server, "eve", Method::POST, &bindings, to("nothing")).await.code, 404);

    // Whoever is told that they may, may.
    let escalate = json!([
        {"verbs": ["escalate", "create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]},
        {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]},
    ]);
    make(&server, &format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "above"}, "rules": escalate})).await;
    bind(&server, "eve", "above").await;
    assert_eq!(ask(&server, "eve", Method::POST, &roles, more).await.code, 201);
    assert_eq!(ask(&server, "eve", Method::POST, &bindings, to("cluster-admin")).await.code, 201);
}

#[tokio::test]
async fn a_binding_keeps_its_role() {
    let server = Server::start().await;
    bind(&server, "eve", "view").await;
    let uri = format!("{RBAC}/namespaces/default/rolebindings/eve-view");
    let other = server.merge(&uri, json!({"roleRef": {"name": "edit"}})).await;
    assert_eq!(other.code, 422, "{}", other.body);
    assert!(other.body["message"].as_str().unwrap().contains("cannot change roleRef"));
    let subjects = server.get(&uri).await.body["subjects"].clone();
    assert_eq!(subjects, json!([{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]));
}

#[tokio::test]
async fn aggregated_roles_gather_what_is_labelled_for_them() {
    let server = Server::start().await;
    let roles = format!("{RBAC}/clusterroles");
    bind(&server, "eve", "view").await;
    let things = "/apis/acme.com/v1/namespaces/default/things";
    assert_eq!(get(&server, "eve", things).await.code, 403);
    let part = json!({
        "metadata": {"name": "things", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["list"], "apiGroups": ["acme.com"], "resources": ["things"]}],
    });
    make(&server, &roles, part).await;
    // Allowed, and therefore told that there is no such thing; `edit` gathers from `view`, `admin` from `edit`.
    assert_eq!(get(&server, "eve", things).await.code, 404);
    for role in ["view", "edit", "admin"] {
        let rules = server.get(&format!("{roles}/{role}")).await.body["rules"].to_string();
        assert!(rules.contains("acme.com"), "{role}: {rules}");
    }
    server.delete(&format!("{roles}/things"), json!({})).await;
    assert_eq!(get(&server, "eve", things).await.code, 403);
}

#[tokio::test]
async fn impersonation_needs_its_right_and_gives_what_the_other_has() {
    let server = Server::start().await;
    bind(&server, "bob", "view").await;
    let master = Identity::component("test");
    let as_bob = [("Impersonate-User", "bob")];
    let list = with_headers(&server, master.clone(), Method::GET, MAPS, &as_bob, Value::Null).await;
    assert_eq!(list.code, 200);
    let nodes = with_headers(&server, master.clone(), Method::GET, "/api/v1/nodes", &as_bob, Value::Null).await;
    assert_eq!(nodes.code, 403, "no more than bob");
    let refused = with_headers(&server, Identity::new("eve", []), Method::GET, MAPS, &as_bob, Value::Null).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str().unwrap()),
        (
            403,
            r#"users "bob" is forbidden: User "eve" cannot impersonate resource "users" in API group "" at the cluster scope"#
        )
    );
    let who = [
        ("Impersonate-User", "carl"),
        ("Impersonate-Group", "staff"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-scopes", "read"),
    ];
    let uri = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = with_headers(&server, master, Method::POST, uri, &who, json!({})).await;
    assert_eq!(
        review.body["status"]["userInfo"],
        json!({"username": "carl", "uid": "7", "groups": ["staff", "system:authenticated"], "extra": {"scopes": ["read"]}})
    );
}

#[tokio::test]
async fn reviews_answer_as_requests_would_be() {
    let server = Server::start().await;
    bind(&server, "eve", "view").await;
    let list = json!({"verb": "list", "resource": "configmaps", "namespace": "default"});
    let of_oneself = |attributes: &Value| json!({"spec": {"resourceAttributes": attributes}});
    let own = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
    let review = ask(&server, "eve", Method::POST, &own, of_oneself(&list)).await;
    assert_eq!(review.code, 201, "{}", review.body);
    assert_eq!(
        review.body["status"],
        json!({"allowed": true, "reason": r#"RBAC: allowed by RoleBinding "eve-view/default" of ClusterRole "view" to User "eve""#})
    );
    let of = |user: &str, namespace: &str| {
        let mut spec = of_oneself(&list);
        spec["spec"]["user"] = user.into();
        spec["spec"]["resourceAttributes"]["namespace"] = namespace.into();
        spec
    };
    let everyone = format!("{AUTHORIZATION}/subjectaccessreviews");
    for (user, namespace, allowed) in
        [("eve", "default", true), ("eve", "kube-system", false), ("bob", "default", false)]
    {
        let review = server.post(&everyone, of(user, namespace)).await;
        assert_eq!(review.body["status"]["allowed"], allowed, "{user} {namespace}: {}", review.body);
    }
    let masters =
        json!({"spec": {"groups": ["system:masters"], "nonResourceAttributes": {"verb": "get", "path": "/x"}}});
    assert_eq!(server.post(&everyone, masters).await.body["status"]["allowed"], true);
    let local = format!("{AUTHORIZATION}/namespaces/default/localsubjectaccessreviews");
    assert_eq!(server.post(&local, of("eve", "default")).await.body["status"]["allowed"], true);
    assert_eq!(server.post(&local, of("eve", "kube-system")).await.code, 400);
    // Nobody asks about others without the right to.
    assert_eq!(ask(&server, "eve", Method::POST, &everyone, of("bob", "default")).await.code, 403);
    for bad in [json!({"spec": {}}), json!({"spec": {"user": "eve"}}), of("", "default")] {
        assert_eq!(server.post(&everyone, bad.clone()).await.code, 422, "{bad}");
    }
    let rules = json!({"spec": {"namespace": "default"}});
    let review = ask(&server, "eve", Method::POST, &format!("{AUTHORIZATION}/selfsubjectrulesreviews"), rules).await;
    let status = &review.body["status"];
    assert_eq!(status["incomplete"], false);
    assert!(status["resourceRules"].to_string().contains("configmaps"), "{status}");
    assert!(status["nonResourceRules"].to_string().contains("/openapi"), "{status}");
}

#[tokio::test]
async fn a_binding_to_a_missing_role_is_named_in_the_refusal() {
    let server = Server::start().await;
    bind(&server, "eve", "absent").await;
    let refused = get(&server, "eve", MAPS).await;
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.ends_with(r#": RBAC: clusterrole.rbac.authorization.k8s.io "absent" not found"#), "{message}");
}

#[tokio::test]
async fn built_in_roles_come_back_and_keep_what_was_added() {
    let server = Server::start().await;
    let roles = format!("{RBAC}/clusterroles");
    let more = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]});
    assert_eq!(server.merge(&format!("{roles}/system:discovery"), more).await.code, 200);
    server.delete(&format!("{roles}/system:basic-user"), json!({})).await;
    eyot_apiserver::bootstrap(&server.api).await.unwrap();
    let rules = server.get(&format!("{roles}/system:discovery")).await.body["rules"].to_string();
    assert!(rules.contains("/metrics") && rules.contains("/openapi"), "{rules}");
    assert_eq!(server.get(&format!("{roles}/system:basic-user")).await.code, 200);
}
