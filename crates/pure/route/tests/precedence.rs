//! Which of several fitting rules takes a request: the examples of the Gateway API and Ingress.

use std::sync::Arc;

use expect_test::{Expect, expect};
use eyot_route::{
    Action, Asked, Backend, HeaderMatch, HostPattern, HostScope, Match, PathMatch, QueryMatch, Route, Rule, Table,
    Wanted, canonical_host,
};
use http::{HeaderMap, HeaderName, Method};

/// A route from lines like `* GET /prefix/* version=one ?q=1 -> backend`; `=/path` is exact, `/path` a prefix.
fn route(name: &str, created: i64, hosts: &[&str], lines: &[&str]) -> Route<String> {
    let rules = lines.iter().map(|line| {
        let (left, backend) = line.split_once(" -> ").expect("an arrow");
        let mut one = Match::path(PathMatch::Prefix("/".into()));
        for word in left.split_whitespace() {
            if let Some(path) = word.strip_prefix("=/") {
                one.path = PathMatch::Exact(format!("/{path}").into());
            } else if word.starts_with('/') {
                one.path = PathMatch::Prefix(word.into());
            } else if let Some((key, value)) = word.strip_prefix('?').and_then(|it| it.split_once('=')) {
                one.query.push(QueryMatch { name: key.into(), value: Wanted::exact(value) });
            } else if let Some((key, value)) = word.split_once('=') {
                let name = HeaderName::from_bytes(key.as_bytes()).unwrap();
                one.headers.push(HeaderMatch { name, value: Wanted::exact(value) });
            } else {
                one.method = Some(word.parse().unwrap());
            }
        }
        let backends = vec![Backend { weight: 1, target: Ok(backend.to_owned()) }];
        Rule { matches: vec![one], action: Arc::new(Action::forward(name.into(), backends)) }
    });
    let patterns = hosts.iter().map(|it| HostPattern::parse(it, false).unwrap());
    Route {
        name: name.into(),
        created,
        hosts: patterns.map(HostScope::all).collect(),
        fallback: false,
        rules: rules.collect(),
    }
}

/// Asks with lines like `GET example.com/path?q=1 version=one`.
fn check(routes: &[Route<String>], requests: &[&str], expected: Expect) {
    let table = Table::compile(routes);
    let mut lines = String::new();
    for request in requests {
        let mut words = request.split_whitespace();
        let method: Method = words.next().unwrap().parse().unwrap();
        let target = words.next().unwrap();
        let (host, path) = target.split_at(target.find('/').unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in words.map(|it| it.split_once('=').unwrap()) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let host = canonical_host(host);
        let found = table.find(&Asked { host: &host, path, query, method: &method, headers: &headers });
        let target = found.map_or("-", |it| it.action.backends[0].target.as_ref().unwrap());
        lines += &format!("{request} -> {target}\n");
    }
    expected.assert_eq(&lines);
}

#[test]
fn exact_paths_go_before_prefixes_and_longer_prefixes_before_shorter() {
    check(
        &[route(
            "ns/a",
            0,
            &[""],
            &["/ -> root", "/match -> m", "/match/ -> never", "=/match/x -> exact", "/match/x -> long"],
        )],
        &["GET h/", "GET h/other", "GET h/match", "GET h/match/", "GET h/matching", "GET h/match/x", "GET h/match/x/y"],
        expect![[r#"
            GET h/ -> root
            GET h/other -> root
            GET h/match -> m
            GET h/match/ -> m
            GET h/matching -> root
            GET h/match/x -> exact
            GET h/match/x/y -> long
        "#]],
    );
}

#[test]
fn methods_then_headers_then_parameters_decide_between_equal_paths() {
    check(
        &[route(
            "ns/a",
            0,
            &[""],
            &[
                "/p -> path",
                "/p ?q=1 -> query",
                "/p ?q=1 ?r=2 -> queries",
                "/p v=1 -> header",
                "/p v=1 w=2 -> headers",
                "/p PATCH -> method",
                "/p/longer -> longer",
            ],
        )],
        &[
            "GET h/p",
            "GET h/p?q=1",
            "GET h/p?q=1&r=2",
            "GET h/p?q=1&r=2 v=1",
            "GET h/p?q=1 v=1 w=2",
            "PATCH h/p?q=1 v=1 w=2",
            "PATCH h/p/longer v=1 w=2",
        ],
        expect![[r#"
            GET h/p -> path
            GET h/p?q=1 -> query
            GET h/p?q=1&r=2 -> queries
            GET h/p?q=1&r=2 v=1 -> header
            GET h/p?q=1 v=1 w=2 -> headers
            PATCH h/p?q=1 v=1 w=2 -> method
            PATCH h/p/longer v=1 w=2 -> longer
        "#]],
    );
}

#[test]
fn the_more_specific_host_goes_first_and_others_take_what_it_leaves() {
    check(
        &[
            route("ns/any", 0, &[""], &["/ -> any", "=/only/any -> any-exact"]),
            route("ns/wild", 0, &["*.example.com"], &["/ -> wild"]),
            route("ns/deep", 0, &["*.b.example.com"], &["/ -> deep"]),
            route("ns/exact", 9, &["a.b.example.com"], &["/in -> exact"]),
        ],
        &[
            "GET A.b.Example.com:8080/in",
            "GET a.b.example.com/out",
            "GET x.b.example.com/in",
            "GET x.y.example.com/in",
            "GET x.y.example.com/only/any",
            "GET example.com/in",
            "GET example.com/only/any",
        ],
        expect![[r#"
            GET A.b.Example.com:8080/in -> exact
            GET a.b.example.com/out -> deep
            GET x.b.example.com/in -> deep
            GET x.y.example.com/in -> wild
            GET x.y.example.com/only/any -> wild
            GET example.com/in -> any
            GET example.com/only/any -> any-exact
        "#]],
    );
}

#[test]
fn the_older_route_wins_then_the_first_by_name_then_the_first_rule() {
    check(
        &[
            route("ns/young", 20, &[""], &["/a -> young"]),
            route("ns/old", 10, &[""], &["/a -> old-first", "/a -> old-second"]),
            route("ns/b", 5, &[""], &["/t -> b"]),
            route("ns/a", 5, &[""], &["/t -> a"]),
        ],
        &["GET h/a", "GET h/t"],
        expect![[r#"
            GET h/a -> old-first
            GET h/t -> a
        "#]],
    );
}

#[test]
fn a_more_specific_listener_keeps_its_hosts_from_routes_of_another() {
    let mut all = route("ns/all", 0, &[], &["/ -> all"]);
    let except = vec![HostPattern::parse("*.example.com", false).unwrap()];
    all.hosts = vec![HostScope { except, ..HostScope::all(HostPattern::Any) }];
    check(
        &[all, route("ns/some", 0, &["a.example.com"], &["/ -> some"])],
        &["GET a.example.com/", "GET b.example.com/", "GET example.com/"],
        expect![[r#"
            GET a.example.com/ -> some
            GET b.example.com/ -> -
            GET example.com/ -> all
        "#]],
    );
}

#[test]
fn a_default_backend_takes_what_every_other_route_leaves() {
    let mut fallback = route("ns/default", 0, &[""], &["/ -> default"]);
    fallback.fallback = true;
    let one_label = HostPattern::parse("*.foo.com", true).unwrap();
    let mut wild = route("ns/wild", 9, &[], &["/ -> wild"]);
    wild.hosts = vec![HostScope::all(one_label)];
    check(
        &[fallback, wild, route("ns/any", 9, &[""], &["/any -> any"])],
        &["GET h/any", "GET h/x", "GET a.foo.com/any", "GET b.a.foo.com/x", "GET foo.com/x"],
        expect![[r#"
            GET h/any -> any
            GET h/x -> default
            GET a.foo.com/any -> wild
            GET b.a.foo.com/x -> default
            GET foo.com/x -> default
        "#]],
    );
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = Table::<String>::default();
    assert!(table.is_empty());
    let headers = HeaderMap::new();
    assert!(table.find(&Asked { host: "", path: "/", query: "", method: &Method::GET, headers: &headers }).is_none());
}
