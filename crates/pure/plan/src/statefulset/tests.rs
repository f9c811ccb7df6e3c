use expect_test::{Expect, expect};

use super::*;

fn spec(replicas: i32) -> Spec {
    Spec {
        replicas,
        start: 0,
        parallel: false,
        strategy: Strategy::RollingUpdate { partition: 0, max_unavailable: None },
        min_ready_seconds: 0,
        generation: 1,
        deleting: false,
    }
}

/// Pods as words: ordinal, revision, then `+` ready, `-` not ready, `x` ended, `!` being deleted.
fn pods(text: &str) -> Vec<Pod> {
    let pod = |word: &str| {
        let mut letters = word.chars();
        let ordinal = letters.next().and_then(|it| it.to_digit(10)).unwrap() as i32;
        let revision = letters.next().unwrap().to_string();
        let rest = letters.as_str();
        Pod {
            ordinal,
            revision,
            phase: match () {
                () if rest.contains('x') => Phase::Ended,
                () if rest.contains('+') => Phase::Running,
                () => Phase::Pending,
            },
            ready_since: rest.contains('+').then_some(95),
            deleting: rest.contains('!'),
        }
    };
    text.split_whitespace().map(pod).collect()
}

fn steps(spec: &Spec, text: &str) -> String {
    let pods = pods(text);
    let revisions = Revisions { current: "a", update: "b" };
    let plan = plan(spec, revisions, &Status::default(), &pods, &[], 100);
    let words = plan.steps.iter().map(|it| match it {
        Step::Create { ordinal, updated } => format!("+{ordinal}{}", if *updated { "b" } else { "a" }),
        Step::Replace(at) => format!("~{}", pods[*at].ordinal),
        Step::Remove(at) => format!("-{}", pods[*at].ordinal),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn check(rows: &[(&Spec, &str)], want: Expect) {
    let mut got = String::new();
    for (spec, text) in rows {
        got += &format!("{text} => {}\n", steps(spec, text));
    }
    want.assert_eq(&got);
}

#[test]
fn ordered_pods_come_and_go_one_by_one() {
    let three = spec(3);
    let one = spec(1);
    check(
        &[
            (&three, ""),
            (&three, "0b-"),
            (&three, "0b+"),
            (&three, "0b+!"),
            (&three, "0b+ 1b+"),
            (&three, "0b+ 2b+"),
            (&three, "0b+ 1bx 2b+"),
            (&three, "0b+ 1bx! 2b+"),
            (&one, "0b+ 1b+ 2b+"),
            (&one, "0b+ 1b+ 2b+!"),
            (&one, "0b- 1b+ 2b+"),
            (&one, "0b+ 1b- 2b+"),
            (&one, "0b+ 1b- 2b-"),
            (&one, "0b+ 1b-"),
        ],
        expect![[r#"
             => +0b
            0b- => 
            0b+ => +1b
            0b+! => 
            0b+ 1b+ => +2b
            0b+ 2b+ => +1b
            0b+ 1bx 2b+ => ~1
            0b+ 1bx! 2b+ => 
            0b+ 1b+ 2b+ => -2
            0b+ 1b+ 2b+! => 
            0b- 1b+ 2b+ => 
            0b+ 1b- 2b+ => -2
            0b+ 1b- 2b- => 
            0b+ 1b- => -1
        "#]],
    );
}

#[test]
fn parallel_pods_come_and_go_together() {
    let three = Spec { parallel: true, ..spec(3) };
    let one = Spec { parallel: true, ..spec(1) };
    check(
        &[(&three, ""), (&three, "0b-"), (&three, "0b- 1bx 2b+"), (&one, "0b- 1b+ 2b-"), (&one, "0b+ 1b+! 2b-")],
        expect![[r#"
             => +0b +1b +2b
            0b- => +1b +2b
            0b- 1bx 2b+ => ~1
            0b- 1b+ 2b- => -2 -1
            0b+ 1b+! 2b- => -2
        "#]],
    );
}

#[test]
fn an_update_goes_from_the_last_to_the_partition() {
    let three = spec(3);
    let rolling = |partition, max_unavailable| Strategy::RollingUpdate { partition, max_unavailable };
    let canary = Spec { strategy: rolling(2, None), ..spec(3) };
    let pairs = Spec { strategy: rolling(0, Some(Amount::Count(2))), parallel: true, ..spec(4) };
    let by_hand = Spec { strategy: Strategy::OnDelete, ..spec(3) };
    check(
        &[
            (&three, "0a+ 1a+ 2a+"),
            (&three, "0a+ 1a+ 2b+"),
            (&three, "0a+ 1a+ 2b-"),
            (&three, "0a+ 1a+!"),
            (&canary, "0a+ 1a+ 2a+"),
            (&canary, "0a+ 1a+ 2b+"),
            (&canary, "0a+ 2b+"),
            (&pairs, "0a+ 1a+ 2a+ 3a+"),
            (&pairs, "0a+ 1a+ 2b- 3b+"),
            (&pairs, "0a+ 1a+ 2b- 3b-"),
            (&by_hand, "0a+ 1a+ 2a+"),
            (&by_hand, "0a+ 1a+"),
        ],
        expect![[r#"
            0a+ 1a+ 2a+ => ~2
            0a+ 1a+ 2b+ => ~1
            0a+ 1a+ 2b- => 
            0a+ 1a+! => 
            0a+ 1a+ 2a+ => ~2
            0a+ 1a+ 2b+ => 
            0a+ 2b+ => +1a
            0a+ 1a+ 2a+ 3a+ => ~3 ~2
            0a+ 1a+ 2b- 3b+ => ~1
            0a+ 1a+ 2b- 3b- => 
            0a+ 1a+ 2a+ => 
            0a+ 1a+ => +2b
        "#]],
    );
}

#[test]
fn ordinals_may_begin_anywhere() {
    let moved = Spec { start: 5, ..spec(2) };
    check(
        &[(&moved, ""), (&moved, "0b+ 5b+"), (&moved, "0b+ 5b+ 6b+")],
        expect![[r#"
             => +5b
            0b+ 5b+ => +6b
            0b+ 5b+ 6b+ => -0
        "#]],
    );
}

#[test]
fn what_was_asked_for_is_waited_for() {
    let revisions = Revisions { current: "b", update: "b" };
    let plan_of = |spec: &Spec, creating: &[i32]| plan(spec, revisions, &Status::default(), &[], creating, 100).steps;
    assert_eq!(plan_of(&spec(3), &[0]), []);
    let parallel = Spec { parallel: true, ..spec(2) };
    assert_eq!(plan_of(&parallel, &[0]), [Step::Create { ordinal: 1, updated: true }]);
    assert_eq!(plan_of(&Spec { deleting: true, ..spec(3) }, &[]), []);
}

#[test]
fn counts_and_the_end_of_an_update() {
    let revisions = Revisions { current: "a", update: "b" };
    let status = |spec: &Spec, text: &str| plan(spec, revisions, &Status::default(), &pods(text), &[], 100).status;
    let half = status(&spec(2), "0a+ 1b+");
    assert_eq!((half.replicas, half.ready, half.current, half.updated), (2, 2, 0, 1), "the first is about to go");
    assert_eq!((half.current_revision.as_str(), half.update_revision.as_str()), ("a", "b"));
    let done = status(&spec(2), "0b+ 1b+");
    assert_eq!((done.current, done.updated, done.current_revision.as_str()), (2, 2, "b"));
    let slow = Spec { min_ready_seconds: 10, ..spec(2) };
    let waiting = plan(&slow, revisions, &Status::default(), &pods("0b+"), &[], 100);
    assert_eq!((waiting.status.ready, waiting.status.available, waiting.wait), (1, 0, Some(5)));
    assert_eq!(waiting.steps, [], "the next pod waits until this one is available");
}

proptest::proptest! {
    #[test]
    fn ordered_passes_change_one_pod_and_end_as_wished(
        wanted in 0i32..6, present in proptest::collection::vec(proptest::bool::ANY, 0..6),
    ) {
        let spec = spec(wanted);
        let revisions = Revisions { current: "a", update: "b" };
        let mut pods: Vec<Pod> = present.iter().enumerate().map(|(at, old)| Pod {
            ordinal: at as i32, revision: if *old { "a" } else { "b" }.into(),
            phase: Phase::Running, ready_since: Some(0), deleting: false,
        }).collect();
        let mut passes = 0;
        loop {
            let plan = plan(&spec, revisions, &Status::default(), &pods, &[], 100);
            proptest::prop_assert!(plan.steps.len() <= 1);
            match plan.steps.first() {
                None => break,
                Some(Step::Create { ordinal, updated }) => pods.push(Pod {
                    ordinal: *ordinal, revision: if *updated { "b" } else { "a" }.into(),
                    phase: Phase::Running, ready_since: Some(0), deleting: false,
                }),
                Some(Step::Replace(at) | Step::Remove(at)) => { pods.remove(*at); }
            }
            passes += 1;
            proptest::prop_assert!(passes < 40);
        }
        pods.sort_by_key(|it| it.ordinal);
        proptest::prop_assert_eq!(pods.iter().map(|it| it.ordinal).collect::<Vec<_>>(), (0..wanted).collect::<Vec<_>>());
        proptest::prop_assert!(pods.iter().all(|it| it.revision == "b"));
    }
}
