use expect_test::{Expect, expect};

use super::*;
use crate::{
    schedule::{Taint, Term, Toleration},
    selector::Selector,
};

fn rolling(max_unavailable: i32, max_surge: i32) -> Spec {
    let strategy = Strategy::RollingUpdate {
        max_unavailable: Amount::Count(max_unavailable),
        max_surge: Amount::Count(max_surge),
    };
    Spec { strategy, min_ready_seconds: 0, generation: 1, deleting: false }
}

/// Nodes as words: `w` wanted, `t` only tolerated, `n` neither, `c` wanted and creating; then a pod each by a letter for
/// its template (`a` old, `b` present) and `+` ready, `-` not ready, `f` failed, `s` succeeded, `!` being deleted.
fn world(text: &str) -> (Vec<Node>, Vec<Pod>) {
    let (mut nodes, mut pods): (Vec<Node>, Vec<Pod>) = (Vec::new(), Vec::new());
    for word in text.split_whitespace() {
        let mut node = Node::default();
        for letter in word.chars() {
            match letter {
                'w' | 'c' => {
                    node.place = Place { wanted: true, tolerated: true };
                    node.creating = letter == 'c';
                }
                't' => node.place.tolerated = true,
                'a' | 'b' => {
                    node.pods.push(pods.len());
                    pods.push(Pod { updated: letter == 'b', created: pods.len() as i64, ..Pod::default() });
                }
                _ => {
                    let Some(pod) = pods.last_mut() else { continue };
                    match letter {
                        '+' => pod.ready_since = Some(95),
                        'f' => pod.phase = Phase::Failed,
                        's' => pod.phase = Phase::Succeeded,
                        '!' => pod.deleting = true,
                        _ => {}
                    }
                }
            }
        }
        nodes.push(node);
    }
    (nodes, pods)
}

fn check(rows: &[(&Spec, &str)], want: Expect) {
    let mut got = String::new();
    for (spec, text) in rows {
        let (nodes, pods) = world(text);
        let plan = plan(spec, &nodes, &pods, None, 100);
        got += &format!("{text} => create {:?} delete {:?}\n", plan.create, plan.delete);
    }
    want.assert_eq(&got);
}

#[test]
fn every_wanted_node_has_one_pod() {
    let spec = rolling(1, 0);
    check(
        &[
            (&spec, "w w n t"),
            (&spec, "w c wb-"),
            (&spec, "wb+! wb-"),
            (&spec, "nb+ tb+ wb+b+"),
            (&spec, "wb-b+"),
            (&spec, "wbf wbs"),
        ],
        expect![[r#"
            w w n t => create [0, 1] delete []
            w c wb- => create [0] delete []
            wb+! wb- => create [] delete []
            nb+ tb+ wb+b+ => create [] delete [(0, Surplus), (3, Surplus)]
            wb-b+ => create [] delete [(0, Surplus)]
            wbf wbs => create [] delete [(0, Failed), (1, Succeeded)]
        "#]],
    );
}

#[test]
fn an_update_replaces_a_few_at_a_time() {
    let (one, two, by_hand) = (rolling(1, 0), rolling(2, 0), Spec { strategy: Strategy::OnDelete, ..rolling(1, 0) });
    check(
        &[
            (&one, "wa+ wa+ wa+"),
            (&one, "wa+ wa+! wa+"),
            (&one, "wa+ wb- wa+"),
            (&one, "wa+ wa- wa+"),
            (&one, "wa+ wb+ wa+"),
            (&two, "wa+ wa+ wa+"),
            (&two, "wa+ wb- wa+"),
            (&by_hand, "wa+ wa+"),
        ],
        expect![[r#"
            wa+ wa+ wa+ => create [] delete [(0, Outdated)]
            wa+ wa+! wa+ => create [] delete []
            wa+ wb- wa+ => create [] delete []
            wa+ wa- wa+ => create [] delete [(1, Outdated)]
            wa+ wb+ wa+ => create [] delete [(0, Outdated)]
            wa+ wa+ wa+ => create [] delete [(0, Outdated), (1, Outdated)]
            wa+ wb- wa+ => create [] delete [(0, Outdated)]
            wa+ wa+ => create [] delete []
        "#]],
    );
}

#[test]
fn a_surge_puts_new_pods_beside_old_ones() {
    let spec = rolling(0, 1);
    check(
        &[
            (&spec, "wa+ wa+"),
            (&spec, "wa+b- wa+"),
            (&spec, "wa+b+ wa+"),
            (&spec, "wa-b- wa+"),
            (&spec, "wb+ wa+"),
            (&spec, "wa- wa+"),
        ],
        expect![[r#"
            wa+ wa+ => create [0] delete []
            wa+b- wa+ => create [] delete []
            wa+b+ wa+ => create [] delete [(0, Outdated)]
            wa-b- wa+ => create [] delete [(0, Outdated)]
            wb+ wa+ => create [1] delete []
            wa- wa+ => create [0, 1] delete []
        "#]],
    );
}

#[test]
fn counts_nodes_not_pods() {
    let (nodes, pods) = world("wa+b+ wb- w nb+ tb+");
    let spec = Spec { min_ready_seconds: 10, ..rolling(1, 1) };
    let plan = plan(&spec, &nodes, &pods, Some(2), 100);
    let want = Status {
        observed_generation: 1,
        desired: 3,
        current: 2,
        misscheduled: 2,
        ready: 1,
        updated: 2,
        available: 0,
        unavailable: 3,
        collision_count: Some(2),
    };
    assert_eq!((plan.status, plan.wait), (want, Some(5)));
}

#[test]
fn a_failed_pod_is_not_replaced_at_once() {
    let (nodes, mut pods) = world("wbf");
    pods[0].created = 98;
    let plan = plan(&rolling(1, 0), &nodes, &pods, None, 100);
    assert_eq!((plan.delete.len(), plan.wait), (0, Some(3)));
}

#[test]
fn nodes_are_chosen_by_name_selector_affinity_and_taints() {
    let taint = |effect| Taint { key: "k".into(), value: String::new(), effect };
    let node = |taints: Vec<Taint>| schedule::Node {
        name: "n1".into(),
        labels: [("disk".to_owned(), "ssd".to_owned())].into(),
        taints,
        unschedulable: true,
        ..schedule::Node::default()
    };
    let any = schedule::Pod::default();
    let named = |name: &str| schedule::Pod {
        affinity: vec![Term { fields: Selector::equals([("metadata.name", name)]), ..Term::default() }],
        ..schedule::Pod::default()
    };
    let tape = schedule::Pod { node_selector: Selector::equals([("disk", "tape")]), ..schedule::Pod::default() };
    let tolerant = schedule::Pod {
        tolerations: vec![Toleration { key: "k".into(), value: None, effect: None }],
        ..schedule::Pod::default()
    };
    for (pod, taints, wanted, tolerated) in [
        (&any, vec![], true, true),
        (&any, vec![taint(Effect::PreferNoSchedule)], true, true),
        (&any, vec![taint(Effect::NoSchedule)], false, true),
        (&any, vec![taint(Effect::NoExecute)], false, false),
        (&tolerant, vec![taint(Effect::NoExecute)], true, true),
        (&tape, vec![], false, false),
        (&named("n1"), vec![], true, true),
        (&named("n2"), vec![], false, false),
    ] {
        assert_eq!(belongs(pod, &node(taints)), Place { wanted, tolerated }, "{pod:?}");
    }
}
