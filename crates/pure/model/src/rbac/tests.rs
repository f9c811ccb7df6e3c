//! Decisions as tables, and the index against a decision made by looking at everything.

use expect_test::{Expect, expect};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Ask, Index, Resource, Rule, User, account_of, account_user, builtin, cover, index::Subject};

/// The index of objects written as `Kind [namespace/]name ...`: a role's rules, or a binding's role and subjects.
fn index(objects: &[Value]) -> Index {
    let mut index = Index::default();
    objects.iter().for_each(|it| index.put(it));
    index
}

fn role(kind: &str, namespace: &str, name: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "rules": rules})
}

fn binding(kind: &str, namespace: &str, name: &str, of: (&str, &str), subjects: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": of.0, "name": of.1}, "subjects": subjects})
}

fn subject(kind: &str, name: &str) -> Value {
    json!({"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

/// Asks `verb resource[.group][/sub] [namespace/]name` or `verb /path` line by line.
#[track_caller]
fn check(index: &Index, user: &str, groups: &[&str], questions: &str, want: Expect) {
    let groups: Vec<String> = groups.iter().map(|it| (*it).to_owned()).collect();
    let user = User { name: user, groups: &groups };
    let mut got = String::new();
    for question in questions.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = question.split_whitespace().collect();
        let answer = match index.find(&user, &ask(&words)) {
            Some((grant, _)) => format!("yes, by {grant}"),
            None => "no".to_owned(),
        };
        got += &format!("{question}: {answer}\n");
    }
    want.assert_eq(&got);
}

fn ask<'a>(words: &[&'a str]) -> Ask<'a> {
    let (verb, what) = (words[0], words[1]);
    if what.starts_with('/') {
        return Ask::Path { verb, path: what };
    }
    let (what, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (namespace, name) = words.get(2).map_or(("", ""), |it| it.split_once('/').unwrap_or(("", it)));
    Ask::Resource(Resource { verb, group, resource, subresource, namespace, name, node: "" })
}

#[test]
fn rules_match_verbs_groups_resources_names_and_paths() {
    let rules = json!([
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
        {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["*/scale"]},
        {"verbs": ["*"], "apiGroups": ["batch"], "resources": ["*"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
        {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
    ]);
    let index = index(&[
        role("ClusterRole", "", "r", rules),
        binding("ClusterRoleBinding", "", "b", ("ClusterRole", "r"), json!([subject("User", "eve")])),
    ]);
    check(
        &index,
        "eve",
        &[],
        "get pods n/p
         get pods/log n/p
         get pods/exec n/p
         delete pods n/p
         get pods.apps n/p
         update deployments.apps/scale n/d
         update deployments.apps n/d
         delete jobs.batch/status n/j
         get secrets n/one
         get secrets n/two
         list secrets n/
         get /metrics
         get /metrics/more
         get /logs/a/b
         post /metrics",
        expect![[r#"
            get pods n/p: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            get pods/log n/p: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            get pods/exec n/p: no
            delete pods n/p: no
            get pods.apps n/p: no
            update deployments.apps/scale n/d: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            update deployments.apps n/d: no
            delete jobs.batch/status n/j: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            get secrets n/one: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            get secrets n/two: no
            list secrets n/: no
            get /metrics: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            get /metrics/more: no
            get /logs/a/b: yes, by ClusterRoleBinding "b" of ClusterRole "r" to User "eve"
            post /metrics: no
        "#]],
    );
}

#[test]
fn bindings_reach_users_groups_and_accounts_of_their_namespace() {
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let mut index = index(&[
        role("ClusterRole", "", "all", all.clone()),
        role("Role", "a", "own", all),
        binding("RoleBinding", "a", "by-name", ("Role", "own"), json!([subject("User", "eve")])),
        binding("RoleBinding", "b", "by-group", ("ClusterRole", "all"), json!([subject("Group", "staff")])),
        binding(
            "RoleBinding",
            "a",
            "robots",
            ("ClusterRole", "all"),
            json!([
                {"kind": "ServiceAccount", "name": "bot"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "c"},
            ]),
        ),
        binding("RoleBinding", "c", "dangling", ("Role", "own"), json!([subject("User", "eve")])),
    ]);
    let questions = "get pods a/p
         get pods b/p
         get pods c/p
         list pods
         get /metrics";
    check(
        &index,
        "eve",
        &["staff"],
        questions,
        expect![[r#"
            get pods a/p: yes, by RoleBinding "by-name/a" of Role "own" to User "eve"
            get pods b/p: yes, by RoleBinding "by-group/b" of ClusterRole "all" to Group "staff"
            get pods c/p: no
            list pods: no
            get /metrics: no
        "#]],
    );
    check(
        &index,
        "system:serviceaccount:c:bot",
        &[],
        "get pods a/p
         get pods c/p",
        expect![[r#"
            get pods a/p: yes, by RoleBinding "robots/a" of ClusterRole "all" to ServiceAccount "bot/c"
            get pods c/p: no
        "#]],
    );
    index.remove("RoleBinding", "a", "by-name");
    index.remove("ClusterRole", "", "all");
    check(
        &index,
        "eve",
        &["staff"],
        "get pods a/p
         get pods b/p",
        expect![[r#"
            get pods a/p: no
            get pods b/p: no
        "#]],
    );
}

#[test]
fn account_names_round_trip() {
    assert_eq!(account_of(&account_user("a", "b")), Some(("a", "b")));
    for stranger in ["eve", "system:serviceaccount:a", "system:serviceaccount:a:", "system:serviceaccount:a:b:c"] {
        assert_eq!(account_of(stranger), None, "{stranger}");
    }
}

fn rules(values: Value) -> Vec<Rule> {
    values.as_array().expect("a list").iter().map(Rule::from_value).collect()
}

#[track_caller]
fn check_missing(held: Value, wanted: Value, want: Expect) {
    let (held, wanted) = (rules(held), rules(wanted));
    want.assert_eq(&cover::describe(&cover::missing(&held.iter().collect::<Vec<_>>(), &wanted)));
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let pods = |verbs: Value| json!([{"verbs": verbs, "apiGroups": [""], "resources": ["pods", "pods/log"]}]);
    check_missing(pods(json!(["get", "list"])), pods(json!(["get"])), expect![""]);
    check_missing(
        pods(json!(["get"])),
        pods(json!(["get", "delete", "list"])),
        expect![[r#"
            {APIGroups:[""], Resources:["pods"], Verbs:["delete" "list"]}
            {APIGroups:[""], Resources:["pods/log"], Verbs:["delete" "list"]}"#]],
    );
    // Several rules cover together.
    check_missing(
        json!([
            {"verbs": ["get"], "apiGroups": ["*"], "resources": ["pods"]},
            {"verbs": ["*"], "apiGroups": [""], "resources": ["*/log"]},
        ]),
        pods(json!(["get"])),
        expect![""],
    );
    // A rule for some names does not cover one for all.
    let named =
        |names: Value| json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": names}]);
    check_missing(
        named(json!(["a"])),
        named(json!([])),
        expect![[r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#]],
    );
    check_missing(named(json!([])), named(json!(["a"])), expect![""]);
    check_missing(
        named(json!(["a"])),
        named(json!(["a", "b"])),
        expect![[r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#]],
    );
    check_missing(
        json!([{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]),
        json!([{"verbs": ["get"], "nonResourceURLs": ["/a/b", "/c"]}]),
        expect![[r#"{NonResourceURLs:["/c"], Verbs:["get"]}"#]],
    );
}

#[test]
fn built_in_roles_are_as_users_know_them() {
    let objects = builtin::objects();
    let mut index = index(&objects);
    let bind = |name: &str| {
        binding("RoleBinding", "n", name, ("ClusterRole", name), json!([subject("User", &format!("the-{name}"))]))
    };
    for name in ["view", "edit", "admin"] {
        index.put(&bind(name));
    }
    let mut got = String::new();
    for question in [
        "list pods n/",
        "get pods/log n/p",
        "get secrets n/s",
        "create deployments.apps n/d",
        "create httproutes.gateway.networking.k8s.io n/r",
        "create pods/exec n/p",
        "create roles.rbac.authorization.k8s.io n/r",
        "update resourcequotas n/q",
        "list nodes",
    ] {
        let words: Vec<&str> = question.split_whitespace().collect();
        let may = |name: &&str| index.find(&User { name, groups: &[] }, &ask(&words)).is_some();
        let who: Vec<&str> = ["the-view", "the-edit", "the-admin"].into_iter().filter(may).collect();
        got += &format!("{question}: {}\n", who.join(" "));
    }
    expect![[r#"
        list pods n/: the-view the-edit the-admin
        get pods/log n/p: the-view the-edit the-admin
        get secrets n/s: the-edit the-admin
        create deployments.apps n/d: the-edit the-admin
        create httproutes.gateway.networking.k8s.io n/r: the-edit the-admin
        create pods/exec n/p: the-edit the-admin
        create roles.rbac.authorization.k8s.io n/r: the-admin
        update resourcequotas n/q: 
        list nodes: 
    "#]]
    .assert_eq(&got);
    let everyone = ["system:authenticated"];
    check(
        &index,
        "eve",
        &everyone,
        "get /apis/apps/v1
         get /openapi/v3
         create selfsubjectreviews.authentication.k8s.io
         get /metrics
         list pods",
        expect![[r#"
            get /apis/apps/v1: yes, by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
            get /openapi/v3: yes, by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
            create selfsubjectreviews.authentication.k8s.io: yes, by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated"
            get /metrics: no
            list pods: no
        "#]],
    );
    check(
        &index,
        "system:serviceaccount:kube-system:job-controller",
        &[],
        "create pods n/
         update jobs.batch/status n/j
         list nodes",
        expect![[r#"
            create pods n/: yes, by ClusterRoleBinding "system:controller:job-controller" of ClusterRole "system:controller:job-controller" to ServiceAccount "job-controller/kube-system"
            update jobs.batch/status n/j: yes, by ClusterRoleBinding "system:controller:job-controller" of ClusterRole "system:controller:job-controller" to ServiceAccount "job-controller/kube-system"
            list nodes: no
        "#]],
    );
    let names: std::collections::BTreeSet<_> =
        objects.iter().map(|it| (it["kind"].to_string(), it["metadata"].to_string())).collect();
    assert_eq!(names.len(), objects.len(), "each once");
}

/// The same decision without an index: every binding, every subject, every rule.
fn naive(objects: &[Value], user: &User<'_>, ask: &Ask<'_>) -> bool {
    let place = match ask {
        Ask::Resource(it) => it.namespace,
        Ask::Path { .. } => "",
    };
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
    objects.iter().filter(|it| text(it, "/kind").ends_with("Binding")).any(|binding| {
        let own = text(binding, "/metadata/namespace");
        let reaches = own.is_empty() || (!place.is_empty() && own == place);
        let is_user = |subject: &Value| match text(subject, "/kind").as_str() {
            "User" => text(subject, "/name") == user.name,
            "Group" => user.groups.contains(&text(subject, "/name")),
            _ => {
                format!("system:serviceaccount:{}:{}", text(subject, "/namespace"), text(subject, "/name")) == user.name
            }
        };
        let of = |role: &&Value| {
            let kind = text(binding, "/roleRef/kind");
            text(role, "/kind") == kind
                && text(role, "/metadata/name") == text(binding, "/roleRef/name")
                && (kind == "ClusterRole" || text(role, "/metadata/namespace") == own)
        };
        reaches
            && binding["subjects"].as_array().into_iter().flatten().any(is_user)
            && objects.iter().find(of).is_some_and(|role| Rule::of_role(role).iter().any(|rule| rule.allows(ask)))
    })
}

const PLACES: [&str; 3] = ["", "a", "b"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn some_role() -> impl Strategy<Value = Value> {
    let words = |from: &'static [&'static str]| vec(select(from), 0..3);
    let rule = (
        words(&["get", "list", "*"]),
        words(&["", "apps", "*"]),
        words(&["pods", "pods/log", "*/log", "*"]),
        words(&["x", "y"]),
    );
    let rule = rule.prop_map(|(verbs, groups, resources, names)| {
        json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names,
            "nonResourceURLs": if groups.is_empty() { vec!["/a*"] } else { vec![] }})
    });
    (select(&PLACES[..]), select(&NAMES[..]), vec(rule, 0..3)).prop_map(|(place, name, rules)| {
        role(if place.is_empty() { "ClusterRole" } else { "Role" }, place, name, rules.into())
    })
}

fn some_binding() -> impl Strategy<Value = Value> {
    let somebody = (select(&["User", "Group", "ServiceAccount"][..]), select(&PLACES[1..]), select(&NAMES[..]));
    let somebody = somebody.prop_map(|(kind, place, name)| match kind {
        "ServiceAccount" => json!({"kind": kind, "namespace": place, "name": name}),
        kind => subject(kind, name),
    });
    (select(&PLACES[..]), select(&NAMES[..]), any::<bool>(), select(&NAMES[..]), vec(somebody, 0..3)).prop_map(
        |(place, name, cluster, role, subjects)| {
            let of = if cluster || place.is_empty() { "ClusterRole" } else { "Role" };
            let kind = if place.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
            binding(kind, place, name, (of, role), subjects.into())
        },
    )
}

/// Objects, each with whether it is deleted again later.
fn changes() -> impl Strategy<Value = Vec<(Value, bool)>> {
    vec((prop_oneof![some_role(), some_binding()], proptest::bool::weighted(0.2)), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_index_decides_as_looking_at_everything_does(
        changes in changes(),
        user in select(&["x", "y", "system:serviceaccount:a:x", "system:serviceaccount:b:y"][..]),
        group in select(&NAMES[..]),
        verb in select(&["get", "list"][..]),
        resource in select(&["pods", "pods/log", "deployments.apps", "/a/b", "/c"][..]),
        place in select(&["", "x", "a/x", "a/", "b/y"][..]),
    ) {
        let mut index = Index::default();
        let mut objects: Vec<Value> = Vec::new();
        for (object, deleted) in changes {
            let id = |it: &Value| (it["kind"].clone(), it["metadata"].clone());
            objects.retain(|it| id(it) != id(&object));
            index.put(&object);
            if deleted {
                let text = |it: &Value| it.as_str().unwrap_or("").to_owned();
                let metadata = &object["metadata"];
                index.remove(&text(&object["kind"]), &text(&metadata["namespace"]), &text(&metadata["name"]));
            } else {
                objects.push(object);
            }
        }
        let groups = [group.to_owned()];
        let user = User { name: user, groups: &groups };
        let words = [verb, resource, place];
        let ask = ask(&words);
        prop_assert_eq!(index.find(&user, &ask).is_some(), naive(&objects, &user, &ask), "{:?} {:?}", user, ask);
    }

    #[test]
    fn what_covers_a_rule_allows_what_the_rule_allows(
        held in vec(some_role(), 1..3),
        wanted in some_role(),
        verb in select(&["get", "list"][..]),
        resource in select(&["pods", "pods/log", "deployments.apps", "/a/b"][..]),
        name in select(&["x", "y", "z"][..]),
    ) {
        let held: Vec<Rule> = held.iter().flat_map(Rule::of_role).collect();
        let wanted = Rule::of_role(&wanted);
        if cover::missing(&held.iter().collect::<Vec<_>>(), &wanted).is_empty() {
            let words = [verb, resource, name];
            let ask = ask(&words);
            let allowed = |rules: &[Rule]| rules.iter().any(|it| it.allows(&ask));
            prop_assert!(!allowed(&wanted) || allowed(&held));
        }
    }
}

#[test]
fn a_subject_names_itself_as_kubernetes_does() {
    assert_eq!(Subject::Account("n".into(), "a".into()).to_string(), "ServiceAccount \"a/n\"");
}
