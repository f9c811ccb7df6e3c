//! Conditions and routes that come of objects.

use std::net::IpAddr;

use expect_test::{Expect, expect};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Outcome, Site, Target, attach};
use crate::{
    kinds::Name,
    world::{Cache, World},
};

fn put<K>(cache: &mut Cache<K>, object: Value)
where
    K: DeserializeOwned + kube::Resource,
{
    cache.on(Event::Apply(serde_json::from_value::<K>(object).unwrap()), |it| it);
}

/// A class, the default Gateway, and Service `ns/web` with port 80.
fn world() -> World {
    let mut world = World::default();
    put(&mut world.classes, json!({"metadata": {"name": "eyot"}, "spec": {"controllerName": "eyot.io/gateway"}}));
    put(
        &mut world.gateways,
        gateway(
            "default",
            json!([{"name": "http", "port": 80, "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}}}]),
        ),
    );
    for namespace in ["ns", "other"] {
        put(
            &mut world.services,
            json!({
                "metadata": {"name": "web", "namespace": namespace}, "spec": {"ports": [{"port": 80}]},
            }),
        );
    }
    world
}

fn gateway(name: &str, listeners: Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "eyot-system"},
        "spec": {"gatewayClassName": "eyot", "listeners": listeners},
    })
}

fn route(parent: Value, rest: Value) -> Value {
    let mut spec = json!({
        "parentRefs": [parent],
        "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
    });
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({"metadata": {"name": "it", "namespace": "ns"}, "spec": spec})
}

fn site(addresses: &[IpAddr]) -> Site<'_> {
    Site { http_port: 8080, addresses, function_domains: ["localhost", "svc.cluster.local"], now: "now" }
}

fn outcome(world: &World) -> Outcome<String> {
    let addresses: [IpAddr; 1] = ["127.0.0.1".parse().unwrap()];
    let site = site(&addresses);
    attach(world, site, &|service, port| (port == 80).then(|| format!("{service}:{port}")))
}

/// What the route's parents say, and the hosts it serves.
fn judged(world: &World) -> String {
    let outcome = outcome(world);
    let mut lines = String::new();
    let status = outcome.statuses.get(&Target::Route(Name::new("ns", "it"))).cloned().unwrap_or_default();
    for parent in status["parents"].as_array().into_iter().flatten() {
        for it in parent["conditions"].as_array().unwrap() {
            let text = format!("{}={} {} {}", it["type"], it["status"], it["reason"], it["message"]);
            lines += text.replace('"', "").trim_end();
            lines += "\n";
        }
    }
    for scope in outcome.routes.iter().flat_map(|it| &it.hosts) {
        lines += &format!("serves {}", scope.pattern);
        scope.except.iter().for_each(|it| lines += &format!(" except {it}"));
        lines += "\n";
    }
    lines
}

fn check(world: &mut World, object: Value, expected: Expect) {
    put(&mut world.routes, object);
    expected.assert_eq(&judged(world));
}

fn default_gateway() -> Value {
    json!({"name": "default", "namespace": "eyot-system"})
}

#[test]
fn a_route_on_the_default_gateway_is_accepted_whatever_port_it_names() {
    check(
        &mut world(),
        route(default_gateway(), json!({"hostnames": ["a.test", "*.b.test"]})),
        expect![[r#"
            Accepted=True Accepted
            ResolvedRefs=True ResolvedRefs
            serves a.test
            serves *.b.test
        "#]],
    );
}

#[test]
fn the_names_of_a_namespaces_functions_are_not_for_routes_of_others() {
    let mut world = world();
    let taken = || route(default_gateway(), json!({"hostnames": ["a.test", "hello.shop.localhost"]}));
    check(
        &mut world,
        taken(),
        expect![[r#"
            Accepted=True Accepted
            ResolvedRefs=True ResolvedRefs
            serves a.test
            serves hello.shop.localhost
        "#]],
    );
    for namespace in ["ns", "shop"] {
        put(&mut world.namespaces, json!({"metadata": {"name": namespace}}));
    }
    check(
        &mut world,
        taken(),
        expect![[r#"
            Accepted=False HostnameNotPermitted host hello.shop.localhost is a name of functions of namespace shop: routes of ns cannot have it
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
    let own = json!({"hostnames": ["hello.ns.localhost", "hello.ns.svc.cluster.local"]});
    check(
        &mut world,
        route(default_gateway(), own),
        expect![[r#"
            Accepted=True Accepted
            ResolvedRefs=True ResolvedRefs
            serves hello.ns.localhost
            serves hello.ns.svc.cluster.local
        "#]],
    );
}

#[test]
fn an_ingress_leaves_out_the_names_of_another_namespaces_functions() {
    let mut world = world();
    put(&mut world.namespaces, json!({"metadata": {"name": "shop"}}));
    let rule = |host: &str| {
        json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}})
    };
    let ingress = json!({"metadata": {"name": "it", "namespace": "ns"},
        "spec": {"rules": [rule("hello.shop.localhost"), rule("a.test")]}});
    put(&mut world.ingresses, ingress);
    let outcome = outcome(&world);
    let served: Vec<String> = outcome.routes.iter().flat_map(|it| &it.hosts).map(|it| it.pattern.to_string()).collect();
    assert_eq!(served, ["a.test"]);
    let complaint = &outcome.complaints[&Name::new("ns", "it")];
    assert!(complaint.starts_with("rule left out: host hello.shop.localhost is a name of functions"), "{complaint}");
}

#[test]
fn a_parent_that_cannot_be_had_says_why() {
    let mut world = world();
    put(
        &mut world.gateways,
        gateway(
            "own",
            json!([
                {"name": "same", "port": 8080, "protocol": "HTTP"},
                {"name": "all", "port": 8080, "hostname": "*.x.test", "protocol": "HTTP",
                 "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "tls", "port": 443, "protocol": "HTTPS", "allowedRoutes": {"namespaces": {"from": "All"}}},
            ]),
        ),
    );
    let parent = |section: &str| json!({"name": "own", "namespace": "eyot-system", "sectionName": section});
    check(
        &mut world,
        route(json!({"name": "absent"}), json!({})),
        expect![[r#"
            Accepted=False NoMatchingParent Gateway ns/absent does not exist
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
    check(
        &mut world,
        route(parent("nothing"), json!({})),
        expect![[r#"
            Accepted=False NoMatchingParent Gateway eyot-system/own has no listener with this sectionName and port
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
    check(
        &mut world,
        route(parent("same"), json!({})),
        expect![[r#"
            Accepted=False NotAllowedByListeners no listener of Gateway eyot-system/own allows HTTPRoutes of namespace ns
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
    check(
        &mut world,
        route(parent("all"), json!({"hostnames": ["y.test"]})),
        expect![[r#"
            Accepted=False NoMatchingListenerHostname no listener of Gateway eyot-system/own shares a hostname with the route
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
    check(
        &mut world,
        route(parent("tls"), json!({})),
        expect![[r#"
            Accepted=False NoMatchingParent no accepted listener of Gateway eyot-system/own: protocol HTTPS is not supported, only HTTP is
            ResolvedRefs=True ResolvedRefs
        "#]],
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let rule = |rule: Value| json!({"rules": [rule]});
    for (rest, expected) in [
        (
            rule(json!({"filters": [{"type": "ExtensionRef"}]})),
            "rules[0].filters[0]: type ExtensionRef is not supported",
        ),
        (
            rule(json!({"filters": [{"type": "RequestMirror", "requestMirror": {
                "backendRef": {"name": "web", "port": 80}, "fraction": {"numerator": 3, "denominator": 2}}}]})),
            "rules[0].filters[0]: requestMirror.fraction 3/2 is more than 1",
        ),
        (
            rule(json!({"filters": [{"type": "RequestMirror", "requestMirror": {
                "backendRef": {"name": "web", "port": 80}, "percent": 5, "fraction": {"numerator": 1}}}]})),
            "rules[0].filters[0]: requestMirror: percent and fraction exclude each other",
        ),
        (
            rule(json!({"matches": [{"path": {"type": "RegularExpression", "value": "/.*"}}]})),
            "rules[0].matches[0].path.type RegularExpression is not supported",
        ),
        (
            rule(json!({"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "("}]}]})),
            "rules[0].matches[0].headers a: value \"(\": regex parse error",
        ),
        (
            rule(json!({"sessionPersistence": {}})),
            "spec: unknown field `sessionPersistence`, expected one of `name`, `matches`, `filters`, `backendRefs`, `timeouts`",
        ),
        (
            rule(json!({"backendRefs": [{"name": "web", "port": 80, "filters": [{"type": "URLRewrite"}]}]})),
            "rules[0].backendRefs[0].filters are not supported; use the rule's filters",
        ),
        (rule(json!({"timeouts": {"request": "soon"}})), "rules[0].timeouts.request \"soon\" is no duration"),
        (json!({"hostnames": ["a b"]}), "\"a b\" is not a host name"),
    ] {
        let mut world = world();
        put(&mut world.routes, route(default_gateway(), rest));
        let outcome = outcome(&world);
        assert!(outcome.routes.is_empty());
        let condition = &outcome.statuses[&Target::Route(Name::new("ns", "it"))]["parents"][0]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("UnsupportedValue")));
        let message = condition["message"].as_str().unwrap();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn backends_that_do_not_resolve_say_why_and_the_rest_is_served() {
    let to = |backend: Value| json!({"rules": [{"backendRefs": [backend]}]});
    let mut world = world();
    for (backend, reason) in [
        (json!({"name": "absent", "port": 80}), "BackendNotFound Service ns/absent does not exist"),
        (json!({"name": "web", "port": 81}), "BackendNotFound Service ns/web has no TCP port 81"),
        (json!({"name": "web"}), "BackendNotFound backend ns/web names no port"),
        (
            json!({"kind": "Bucket", "name": "web", "port": 80}),
            "InvalidKind backend web is of kind Bucket, only Services are served",
        ),
        (
            json!({"name": "web", "namespace": "other", "port": 80}),
            "RefNotPermitted no ReferenceGrant in other lets HTTPRoutes of ns use other/web",
        ),
    ] {
        put(&mut world.routes, route(default_gateway(), to(backend)));
        let expected = format!("Accepted=True Accepted\nResolvedRefs=False {reason}\nserves *\n");
        assert_eq!(judged(&world), expected);
    }
    put(
        &mut world.grants,
        json!({
            "metadata": {"name": "grant", "namespace": "other"},
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "ns"}],
                "to": [{"group": "", "kind": "Service"}],
            },
        }),
    );
    let permitted = judged(&world);
    assert!(permitted.contains("ResolvedRefs=True"), "{permitted}");
    let outcome = outcome(&world);
    assert_eq!(outcome.routes[0].rules[0].action.backends[0].target, Ok("other/web:80".to_owned()));
}

#[test]
fn a_more_specific_listener_takes_its_hosts_away_from_routes_of_others() {
    let mut world = world();
    put(
        &mut world.gateways,
        gateway(
            "own",
            json!([
                {"name": "all", "port": 8080, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}},
                {"name": "some", "port": 8080, "hostname": "*.x.test", "protocol": "HTTP"},
                {"name": "again", "port": 8080, "hostname": "*.x.test", "protocol": "HTTP"},
            ]),
        ),
    );
    check(
        &mut world,
        route(json!({"name": "own", "namespace": "eyot-system", "sectionName": "all"}), json!({})),
        expect![[r#"
            Accepted=True Accepted
            ResolvedRefs=True ResolvedRefs
            serves * except *.x.test
        "#]],
    );
    let status = &outcome(&world).statuses[&Target::Gateway(Name::new("eyot-system", "own"))];
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1);
    assert_eq!(status["listeners"][2]["conditions"][0]["reason"], "HostnameConflict");
}

#[test]
fn namespaces_are_selected_by_label() {
    let mut world = world();
    put(
        &mut world.gateways,
        gateway(
            "own",
            json!([{"name": "http", "port": 8080, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchExpressions": [
                {"key": "team", "operator": "In", "values": ["a", "b"]},
            ]}}}}]),
        ),
    );
    put(&mut world.routes, route(json!({"name": "own", "namespace": "eyot-system"}), json!({})));
    assert!(judged(&world).contains("NotAllowedByListeners"));
    put(&mut world.namespaces, json!({"metadata": {"name": "ns", "labels": {"team": "b"}}}));
    assert!(judged(&world).contains("Accepted=True"));
}

#[test]
fn statuses_that_were_written_are_not_written_again_and_those_of_others_stay() {
    let mut world = world();
    let mut object = route(default_gateway(), json!({}));
    object["status"] = json!({"parents": [{"controllerName": "else", "parentRef": {"name": "x"}}]});
    put(&mut world.routes, object.clone());
    let first = outcome(&world).statuses;
    object["status"] = first[&Target::Route(Name::new("ns", "it"))].clone();
    assert_eq!(object["status"]["parents"][0]["controllerName"], "else");
    assert_eq!(object["status"]["parents"].as_array().unwrap().len(), 2);
    put(&mut world.routes, object);
    assert!(!outcome(&world).statuses.contains_key(&Target::Route(Name::new("ns", "it"))));
}

#[test]
fn classes_and_gateways_of_others_are_left_alone() {
    let mut world = World::default();
    put(&mut world.classes, json!({"metadata": {"name": "else"}, "spec": {"controllerName": "example.com/else"}}));
    put(
        &mut world.classes,
        json!({
            "metadata": {"name": "eyot"}, "spec": {"controllerName": "eyot.io/gateway", "parametersRef": {}},
        }),
    );
    let mut foreign = gateway("default", json!([]));
    foreign["spec"]["gatewayClassName"] = "else".into();
    put(&mut world.gateways, foreign);
    put(&mut world.routes, route(default_gateway(), json!({})));
    let outcome = outcome(&world);
    assert!(outcome.routes.is_empty());
    let targets: Vec<&Target> = outcome.statuses.keys().collect();
    assert_eq!(targets, [&Target::Class(Name::new("", "eyot"))], "only our class is told that it has a field too many");
}

#[test]
fn single_routes_are_read_again_and_the_rest_stays() {
    let mut world = world();
    put(&mut world.routes, route(default_gateway(), json!({"hostnames": ["a.test"]})));
    let mut other = route(default_gateway(), json!({"rules": [{"backendRefs": [{"name": "late", "port": 80}]}]}));
    other["metadata"]["name"] = "other".into();
    put(&mut world.routes, other);
    let mut attached = outcome(&world).attached;
    let addresses: [IpAddr; 1] = ["127.0.0.1".parse().unwrap()];
    let site = site(&addresses);
    let backends = |service: &Name, port: u16| (port == 80).then(|| format!("{service}:{port}"));
    let mut change = |world: &World, names: &[&str]| {
        let names = names.iter().map(|it| Name::new("ns", it)).collect();
        let (replaced, statuses) = attached.change(&names, world, site, &backends);
        let hosts = |it: &Option<std::sync::Arc<eyot_route::Route<String>>>| {
            let route = it.as_ref()?;
            let target = &route.rules[0].action.backends[0].target;
            Some(format!("{} {target:?}", route.hosts.iter().map(|it| it.pattern.to_string()).collect::<String>()))
        };
        let count = statuses.get(&Target::Gateway(Name::new("eyot-system", "default")));
        let count = count.map_or(Value::Null, |it| it["listeners"][0]["attachedRoutes"].clone());
        let replaced: Vec<_> = replaced.iter().map(|(old, new)| (hosts(old), hosts(new))).collect();
        (replaced, count, attached.naming(&Name::new("ns", "late")).count())
    };
    let served = |host: &str| Some(format!("{host} Ok(\"ns/web:80\")"));
    put(&mut world.routes, route(default_gateway(), json!({"hostnames": ["b.test"]})));
    assert_eq!(change(&world, &["it"]), (vec![(served("a.test"), served("b.test"))], json!(2), 1));
    put(
        &mut world.services,
        json!({"metadata": {"name": "late", "namespace": "ns"}, "spec": {"ports": [{"port": 80}]}}),
    );
    let (replaced, ..) = change(&world, &["other"]);
    assert!(replaced[0].1.as_ref().unwrap().contains("Ok(\"ns/late:80\")"), "{replaced:?}");
    world.routes.objects.remove(&Name::new("ns", "other"));
    let (replaced, count, naming) = change(&world, &["other"]);
    assert!(replaced[0].0.is_some() && replaced[0].1.is_none());
    assert_eq!((count, naming), (json!(1), 0));
}
