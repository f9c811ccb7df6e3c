//! The compiled table agrees with a matcher that tries every rule and sorts what fits.

use std::{cmp::Reverse, sync::Arc};

use eyot_route::{
    Action, Asked, Backend, Found, HeaderMatch, HostPattern, HostScope, Match, PathMatch, QueryMatch, Route, Rule,
    Table, Wanted,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

const HOSTS: [&str; 6] = ["", "a.com", "x.a.com", "y.x.a.com", "b.com", ".a.com"];
const PATTERNS: [&str; 5] = ["", "a.com", "*.a.com", "x.a.com", "*.x.a.com"];
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/a//b", "*"];

#[derive(Clone, Debug)]
struct Request {
    host: &'static str,
    path: &'static str,
    query: &'static str,
    method: Method,
    header: bool,
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    let path = proptest::sample::select(&PATHS[..7]);
    (path, any::<bool>()).prop_map(
        |(path, exact)| {
            if exact { PathMatch::Exact(path.into()) } else { PathMatch::Prefix(path.into()) }
        },
    )
}

fn one_match() -> impl Strategy<Value = Match> {
    let method = proptest::option::of(proptest::sample::select(vec![Method::GET, Method::PUT]));
    (path_match(), method, any::<bool>(), any::<bool>()).prop_map(|(path, method, header, query)| Match {
        path,
        method,
        headers: header
            .then(|| HeaderMatch { name: HeaderName::from_static("v"), value: Wanted::exact("1") })
            .into_iter()
            .collect(),
        query: query.then(|| QueryMatch { name: "q".into(), value: Wanted::exact("1") }).into_iter().collect(),
    })
}

fn host_scope() -> impl Strategy<Value = HostScope> {
    let pattern = || proptest::sample::select(&PATTERNS[..]);
    (pattern(), any::<bool>(), proptest::option::of(pattern())).prop_map(|(pattern, one_label, except)| HostScope {
        pattern: HostPattern::parse(pattern, one_label).unwrap(),
        except: except.map(|it| HostPattern::parse(it, false).unwrap()).into_iter().collect(),
        via: "".into(),
    })
}

fn routes() -> impl Strategy<Value = Vec<Route<usize>>> {
    let rules = proptest::collection::vec(proptest::collection::vec(one_match(), 0..3), 1..4);
    let hosts = proptest::collection::vec(host_scope(), 1..3);
    let route = (0..2_i64, hosts, rules, proptest::bool::weighted(0.1));
    proptest::collection::vec(route, 1..5).prop_map(|routes| {
        let mut id = 0;
        let named = routes.into_iter().enumerate();
        named
            .map(|(at, (created, hosts, rules, fallback))| {
                let name: Arc<str> = format!("ns/{at}").into();
                let rules = rules.into_iter().map(|matches| {
                    id += 1;
                    let backends = vec![Backend { weight: 1, target: Ok(id) }];
                    Rule { matches, action: Arc::new(Action::forward(name.clone(), backends)) }
                });
                Route { name: name.clone(), created, hosts, fallback, rules: rules.collect() }
            })
            .collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    (
        proptest::sample::select(&HOSTS[..]),
        proptest::sample::select(&PATHS[..]),
        proptest::sample::select(vec!["", "q=1", "q=2&q=1"]),
        proptest::sample::select(vec![Method::GET, Method::PUT, Method::POST]),
        any::<bool>(),
    )
        .prop_map(|(host, path, query, method, header)| Request { host, path, query, method, header })
}

/// Tries every rule with the definitions of each part alone and takes the first in order of precedence.
fn naive(routes: &[Route<usize>], request: &Request) -> Option<usize> {
    let everything = vec![Match::path(PathMatch::Prefix("/".into()))];
    let mut fitting = Vec::new();
    for route in routes {
        for (rule_at, rule) in route.rules.iter().enumerate() {
            let matches = if rule.matches.is_empty() { &everything } else { &rule.matches };
            for (at, one) in matches.iter().enumerate() {
                let fits = one.path.matches(request.path)
                    && one.method.as_ref().is_none_or(|it| *it == request.method)
                    && (one.headers.is_empty() || request.header)
                    && (one.query.is_empty() || request.query == "q=1");
                for scope in &route.hosts {
                    let excepted = scope.except.iter().any(|it| it.matches(request.host));
                    if !fits || excepted || !(route.fallback || scope.pattern.matches(request.host)) {
                        continue;
                    }
                    let (exact, length) = match &one.path {
                        PathMatch::Exact(path) => (true, path.len()),
                        PathMatch::Prefix(path) => (false, path.trim_end_matches('/').len()),
                    };
                    let host = if route.fallback { (0, 0) } else { scope.pattern.specificity() };
                    let better = (host, exact, length, one.method.is_some(), one.headers.len(), one.query.len());
                    let key = (route.fallback, Reverse(better), route.created, route.name.clone(), rule_at, at);
                    fitting.push((key, *rule.action.backends[0].target.as_ref().unwrap()));
                }
            }
        }
    }
    fitting.into_iter().min().map(|(_, id)| id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_finds_what_the_naive_matcher_finds(
        routes in routes(),
        before in routes(),
        requests in proptest::collection::vec(request(), 1..20),
    ) {
        let table = Table::compile(&routes);
        // Another one became the same, route by route, while a copy of it stayed as it was.
        let original = Table::compile(&before);
        let mut changed = original.clone();
        for at in 0..before.len().max(routes.len()) {
            changed.replace(before.get(at), routes.get(at));
        }
        for request in &requests {
            let mut headers = HeaderMap::new();
            if request.header {
                headers.insert("v", HeaderValue::from_static("1"));
            }
            let asked = Asked {
                host: request.host,
                path: request.path,
                query: request.query,
                method: &request.method,
                headers: &headers,
            };
            let found = table.find(&asked).map(|it| *it.action.backends[0].target.as_ref().unwrap());
            let target = |it: Found<'_, usize>| *it.action.backends[0].target.as_ref().unwrap();
            prop_assert_eq!(found, naive(&routes, request), "{:?}", request);
            prop_assert_eq!(changed.find(&asked).map(target), found, "changed, {:?}", request);
            prop_assert_eq!(original.find(&asked).map(target), naive(&before, request), "original, {:?}", request);
        }
    }
}
