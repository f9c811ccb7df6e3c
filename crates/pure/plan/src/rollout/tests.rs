use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::{prop_assert, prop_assert_eq, prop_assume, proptest};

use super::{
    status::{NewSet, Status, status},
    *,
};

fn rolling(replicas: i32, surge: &str, unavailable: &str) -> Spec {
    Spec {
        replicas,
        strategy: Strategy::RollingUpdate {
            max_surge: Amount::parse(surge).unwrap(),
            max_unavailable: Amount::parse(unavailable).unwrap(),
        },
        paused: false,
        history_limit: 10,
        progress_deadline_seconds: Some(600),
        generation: 1,
        deleting: false,
    }
}

/// `name` is its age and revision as well: `1` is the oldest.
fn set(spec: &Spec, revision: i64, size: i32, available: i32) -> ReplicaSet {
    ReplicaSet {
        name: format!("rs{revision}"),
        created: revision,
        size,
        replicas: size,
        ready: available,
        available,
        observed: true,
        revision,
        desired: Some(spec.replicas),
        max: Some(spec.replicas + spec.max_surge()),
        ..ReplicaSet::default()
    }
}

fn current_set(spec: &Spec, revision: i64, size: i32, available: i32) -> ReplicaSet {
    ReplicaSet { current: true, ..set(spec, revision, size, available) }
}

#[track_caller]
fn check(plan: &Plan, want: Expect) {
    let mut got = format!("revision {}{}\n", plan.revision, if plan.only_sync { ", only sync" } else { "" });
    for step in &plan.steps {
        writeln!(got, "{step:?}").unwrap();
    }
    want.assert_eq(&got);
}

#[test]
fn first_set_gets_full_size_at_once() {
    let spec = rolling(3, "25%", "25%");
    check(
        &plan(&spec, &[], false),
        expect![[r#"
        revision 1
        Create { size: 3 }
    "#]],
    );
}

#[test]
fn new_template_starts_with_the_surge() {
    let spec = rolling(10, "25%", "25%");
    check(
        &plan(&spec, &[set(&spec, 4, 10, 10)], false),
        expect![[r#"
        revision 5
        Create { size: 3 }
    "#]],
    );
}

#[test]
fn unhealthy_old_pods_go_before_healthy_ones() {
    let spec = rolling(10, "0", "2");
    let sets = [set(&spec, 1, 5, 5), set(&spec, 2, 5, 3), current_set(&spec, 3, 0, 0)];
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 3
        Scale { index: 1, size: 3 }
    "#]],
    );
}

#[test]
fn undo_makes_an_old_set_the_new_one_with_the_next_revision() {
    let spec = rolling(2, "1", "0");
    let sets = [current_set(&spec, 1, 0, 0), set(&spec, 2, 2, 2)];
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 3
        Scale { index: 0, size: 1 }
    "#]],
    );
}

#[test]
fn paused_scales_but_does_not_roll() {
    let mut spec = rolling(4, "1", "1");
    let sets = [set(&spec, 1, 4, 4)];
    spec.paused = true;
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 2, only sync
    "#]],
    );
    spec.replicas = 6;
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 2, only sync
        Scale { index: 0, size: 6 }
    "#]],
    );
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_proportions() {
    let mut spec = rolling(10, "3", "2");
    let sets = [set(&spec, 1, 8, 8), current_set(&spec, 2, 5, 0)];
    spec.replicas = 15;
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 2, only sync
        Scale { index: 0, size: 11 }
        Scale { index: 1, size: 7 }
    "#]],
    );
    spec.replicas = 0;
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 2, only sync
        Scale { index: 0, size: 0 }
        Scale { index: 1, size: 0 }
    "#]],
    );
}

#[test]
fn recreate_waits_until_old_pods_are_gone() {
    let spec = Spec { strategy: Strategy::Recreate, ..rolling(3, "0", "0") };
    check(
        &plan(&spec, &[set(&spec, 1, 3, 3)], true),
        expect![[r#"
        revision 2
        Scale { index: 0, size: 0 }
    "#]],
    );
    check(
        &plan(&spec, &[set(&spec, 1, 0, 0)], true),
        expect![[r#"
        revision 2
    "#]],
    );
    check(
        &plan(&spec, &[set(&spec, 1, 0, 0)], false),
        expect![[r#"
        revision 2
        Create { size: 3 }
    "#]],
    );
}

#[test]
fn history_beyond_the_limit_goes_when_the_rollout_is_complete() {
    let spec = Spec { history_limit: 1, ..rolling(2, "1", "0") };
    let sets = [set(&spec, 3, 0, 0), set(&spec, 1, 0, 0), set(&spec, 2, 0, 0), current_set(&spec, 4, 2, 2)];
    check(
        &plan(&spec, &sets, false),
        expect![[r#"
        revision 4
        Delete { index: 1 }
        Delete { index: 2 }
    "#]],
    );
    let rolling_still = [set(&spec, 3, 0, 0), set(&spec, 1, 0, 0), current_set(&spec, 4, 2, 1)];
    check(
        &plan(&spec, &rolling_still, false),
        expect![[r#"
        revision 4
    "#]],
    );
}

#[test]
fn conditions_follow_a_rollout_from_creation_to_its_deadline() {
    let spec = Spec { progress_deadline_seconds: Some(60), ..rolling(2, "1", "0") };
    let mut old = Status::default();
    let mut got = String::new();
    let steps: [(i64, &str, NewSet<'_>, Vec<ReplicaSet>); 5] = [
        (100, "created", NewSet::Created("rs1"), vec![]),
        (101, "one ready", NewSet::Found("rs1"), vec![current_set(&spec, 1, 2, 1)]),
        (150, "still one", NewSet::Found("rs1"), vec![current_set(&spec, 1, 2, 1)]),
        (162, "too late", NewSet::Found("rs1"), vec![current_set(&spec, 1, 2, 1)]),
        (170, "all ready", NewSet::Found("rs1"), vec![current_set(&spec, 1, 2, 2)]),
    ];
    for (now, what, new_set, sets) in steps {
        let (next, wait) = status(&spec, &sets, new_set, &old, true, now);
        writeln!(got, "{what}: {} of {} available, look again in {wait:?}", next.available, spec.replicas).unwrap();
        for it in &next.conditions {
            writeln!(
                got,
                "  {}={} {} {} {}/{}",
                it.kind, it.status, it.reason, it.message, it.updated, it.transitioned
            )
            .unwrap();
        }
        old = next;
    }
    expect![[r#"
        created: 0 of 2 available, look again in Some(61)
          Available=False MinimumReplicasUnavailable Deployment does not have minimum availability. 100/100
          Progressing=True NewReplicaSetCreated Created new replica set "rs1" 100/100
        one ready: 1 of 2 available, look again in Some(61)
          Available=False MinimumReplicasUnavailable Deployment does not have minimum availability. 100/100
          Progressing=True ReplicaSetUpdated ReplicaSet "rs1" is progressing. 101/100
        still one: 1 of 2 available, look again in Some(12)
          Available=False MinimumReplicasUnavailable Deployment does not have minimum availability. 100/100
          Progressing=True ReplicaSetUpdated ReplicaSet "rs1" is progressing. 101/100
        too late: 1 of 2 available, look again in None
          Available=False MinimumReplicasUnavailable Deployment does not have minimum availability. 100/100
          Progressing=False ProgressDeadlineExceeded ReplicaSet "rs1" has timed out progressing. 162/162
        all ready: 2 of 2 available, look again in None
          Available=True MinimumReplicasAvailable Deployment has minimum availability. 170/170
          Progressing=True NewReplicaSetAvailable ReplicaSet "rs1" has successfully progressed. 170/170
    "#]]
    .assert_eq(&got);
}

/// Applies the steps, then lets every set's controller act: unavailable pods go first, new ones become available as
/// `luck` allows.
fn settle(spec: &Spec, sets: &mut Vec<ReplicaSet>, plan: &Plan, luck: i32) {
    let max = Some(spec.replicas + spec.max_surge());
    for step in &plan.steps {
        match *step {
            Step::Create { size } => {
                let mut new = current_set(spec, plan.revision, size, 0);
                new.max = max;
                sets.push(new);
            }
            Step::Scale { index, size } => {
                sets[index].size = size;
                (sets[index].desired, sets[index].max) = (Some(spec.replicas), max);
            }
            Step::Delete { .. } => {}
        }
    }
    let mut luck = luck;
    for set in sets.iter_mut() {
        set.replicas = set.size;
        set.available = set.available.min(set.size);
        let more = (set.size - set.available).min(luck);
        luck -= more;
        set.available += more;
    }
}

proptest! {
    #[test]
    fn a_rollout_stays_within_its_bounds_and_ends(
        replicas in 0i32..30, surge in 0i32..5, unavailable in 0i32..5, old in 1usize..4,
        luck in proptest::collection::vec(0i32..4, 20),
    ) {
        let spec = rolling(replicas, &surge.to_string(), &unavailable.to_string());
        let mut sets: Vec<ReplicaSet> = (1..=old as i64).map(|it| set(&spec, it, 0, 0)).collect();
        let last = sets.last_mut().unwrap();
        (last.size, last.replicas, last.available) = (replicas, replicas, replicas);
        for turn in 0..400 {
            let plan = plan(&spec, &sets, false);
            settle(&spec, &mut sets, &plan, luck.get(turn).copied().unwrap_or(3));
            let total: i32 = sets.iter().map(|it| it.size).sum();
            let available: i32 = sets.iter().map(|it| it.available).sum();
            prop_assert!(total <= replicas + spec.max_surge(), "{total} pods");
            prop_assert!(available >= replicas - spec.max_unavailable(), "{available} available");
        }
        for set in &sets {
            prop_assert_eq!((set.size, set.available), if set.current { (replicas, replicas) } else { (0, 0) });
        }
    }

    /// Sets act and report in their own time: `acts` says which of them does in each turn.
    #[test]
    fn late_reports_do_not_break_the_bounds(
        replicas in 1i32..20, surge in 0i32..4, unavailable in 0i32..4,
        acts in proptest::collection::vec((proptest::bool::ANY, proptest::bool::ANY, 0i32..4), 60),
    ) {
        let spec = rolling(replicas, &surge.to_string(), &unavailable.to_string());
        let mut sets = vec![set(&spec, 1, replicas, replicas)];
        // Pods and available pods there are, whatever is reported.
        let mut real = vec![(replicas, replicas)];
        let always = std::iter::repeat((true, true, 3));
        for (old_acts, new_acts, luck) in acts.into_iter().chain(always).take(400) {
            let plan = plan(&spec, &sets, false);
            for step in &plan.steps {
                match *step {
                    Step::Create { size } => {
                        sets.push(ReplicaSet { size, replicas: 0, ..current_set(&spec, 2, 0, 0) });
                        real.push((0, 0));
                    }
                    Step::Scale { index, size } => sets[index].size = size,
                    Step::Delete { .. } => {}
                }
            }
            for (at, acts) in [old_acts, new_acts].into_iter().enumerate().take(sets.len()) {
                if acts {
                    let size = sets[at].size;
                    real[at] = (size, real[at].1.min(size));
                    real[at].1 = (real[at].1 + luck).min(size);
                    (sets[at].replicas, sets[at].available) = real[at];
                }
            }
            let (pods, available) = real.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
            prop_assert!(pods <= replicas + spec.max_surge(), "{} pods", pods);
            prop_assert!(available >= replicas - spec.max_unavailable(), "{} available", available);
        }
        prop_assert_eq!(real, vec![(0, 0), (replicas, replicas)]);
    }

    #[test]
    fn proportional_scaling_gives_out_exactly_the_allowed_total(
        before in 1i32..30, parts in proptest::collection::vec(1i32..10, 2..5), after in 0i32..60, surge in 0i32..5,
    ) {
        let mut spec = rolling(before, &surge.to_string(), "1");
        let mut sets: Vec<ReplicaSet> = Vec::new();
        for (at, size) in parts.iter().enumerate() {
            sets.push(set(&spec, at as i64 + 1, *size, 0));
        }
        sets.last_mut().unwrap().current = true;
        let max = Some(parts.iter().sum());
        sets.iter_mut().for_each(|it| it.max = max);
        spec.replicas = after;
        prop_assume!(before != after);
        let plan = plan(&spec, &sets, false);
        settle(&spec, &mut sets, &plan, 0);
        let total: i32 = sets.iter().map(|it| it.size).sum();
        let allowed = if after == 0 { 0 } else { after + spec.max_surge() };
        prop_assert_eq!(total, allowed);
        prop_assert!(sets.iter().all(|it| it.size >= 0));
    }
}
