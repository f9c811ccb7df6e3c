use std::collections::BTreeMap;

use expect_test::expect;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect()
}

fn node(name: &str, zone: &str) -> Node {
    Node {
        name: name.into(),
        labels: labels(&[("zone", zone), ("host", name)]),
        ready: true,
        allocatable: Resources { cpu_milli: 2000, memory_bytes: 1 << 30, pods: 10 },
        ..Node::default()
    }
}

fn pod(app: &str) -> Pod {
    let requests = Resources { pods: 1, ..Resources::default() };
    Pod { namespace: "ns".into(), labels: labels(&[("app", app)]), requests, ..Pod::default() }
}

fn term(app: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Selector::equals([("app", app)]),
        namespaces: Some(vec!["ns".into()]),
        topology_key: key.into(),
    }
}

fn on(node: &str, app: &str) -> Neighbour {
    Neighbour { namespace: "ns".into(), labels: labels(&[("app", app)]), node: node.into(), ..Neighbour::default() }
}

fn choose(pod: &Pod, around: &[Neighbour]) -> String {
    let nodes = [node("a1", "a"), node("a2", "a"), node("b1", "b")];
    match place(pod, &nodes, around) {
        Ok(at) => nodes[at].name.clone(),
        Err(why) => why.split(" preemption:").next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn pods_stay_near_and_apart() {
    let near = Pod { near: vec![term("db", "zone")], ..pod("web") };
    let herd = Pod { near: vec![term("web", "zone")], ..pod("web") };
    let apart = Pod { apart: vec![term("web", "host")], ..pod("web") };
    let shy = Neighbour { apart: vec![term("web", "zone")], ..on("a1", "db") };
    let elsewhere = Neighbour { namespace: "other".into(), ..on("b1", "db") };
    let rows = [
        ("near, nobody", choose(&near, &[])),
        ("near, other namespace", choose(&near, &[elsewhere])),
        ("near", choose(&near, &[on("b1", "db")])),
        ("first of a herd", choose(&herd, &[])),
        ("herd", choose(&herd, &[on("b1", "web")])),
        ("apart", choose(&apart, &[on("a1", "web"), on("a2", "web")])),
        ("apart, no room", choose(&apart, &[on("a1", "web"), on("a2", "web"), on("b1", "web")])),
        ("unwelcome", choose(&pod("web"), &[shy])),
    ];
    let got: String = rows.iter().map(|it| format!("{}: {}\n", it.0, it.1)).collect();
    expect![[r#"
        near, nobody: 0/3 nodes are available: 3 node(s) didn't match pod affinity rules.
        near, other namespace: 0/3 nodes are available: 3 node(s) didn't match pod affinity rules.
        near: b1
        first of a herd: a1
        herd: b1
        apart: b1
        apart, no room: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.
        unwelcome: b1
    "#]]
    .assert_eq(&got);
}

#[test]
fn pods_spread_over_places() {
    let spread = |required, max_skew, key: &str| Pod {
        spread: vec![Spread {
            max_skew,
            topology_key: key.into(),
            required,
            selector: Selector::equals([("app", "web")]),
            min_domains: None,
        }],
        ..pod("web")
    };
    let crowd = [on("a1", "web"), on("a2", "web")];
    let many = Pod {
        spread: vec![Spread { min_domains: Some(3), ..spread(true, 1, "zone").spread[0].clone() }],
        ..pod("web")
    };
    let full = [on("a1", "web"), on("b1", "web")];
    let rows = [
        ("hard", choose(&spread(true, 1, "zone"), &crowd)),
        ("soft", choose(&spread(false, 1, "zone"), &crowd)),
        ("wide", choose(&spread(true, 5, "zone"), &crowd)),
        ("no such label", choose(&spread(true, 1, "rack"), &[])),
        ("too few places", choose(&many, &full)),
    ];
    let got: String = rows.iter().map(|it| format!("{}: {}\n", it.0, it.1)).collect();
    expect![[r#"
        hard: b1
        soft: b1
        wide: a1
        no such label: 0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).
        too few places: 0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.
    "#]]
    .assert_eq(&got);
}

#[test]
fn preferences_choose_among_what_fits() {
    let zone_b = Term { labels: Selector::equals([("zone", "b")]), ..Term::default() };
    let liking = Pod { preferred: vec![(zone_b, 10)], ..pod("web") };
    assert_eq!(choose(&liking, &[]), "b1");
    let near = Pod { near_preferred: vec![(term("db", "host"), 10)], ..pod("web") };
    assert_eq!(choose(&near, &[on("a2", "db")]), "a2");
    let apart = Pod { apart_preferred: vec![(term("db", "zone"), 10)], ..pod("web") };
    assert_eq!(choose(&apart, &[on("a2", "db")]), "b1");
}
