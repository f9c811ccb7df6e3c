use super::*;

fn spec(parallelism: i32, completions: i32) -> Spec {
    Spec {
        parallelism,
        completions: Some(completions),
        backoff_limit: 6,
        active_deadline_seconds: None,
        suspend: false,
        indexed: false,
        restarts_in_place: false,
        await_terminating: false,
        ttl_seconds: None,
        backoff_limit_per_index: None,
        max_failed_indexes: None,
        failure_policy: Vec::new(),
        success_policy: Vec::new(),
    }
}

fn pod(uid: usize, phase: Phase) -> Pod {
    Pod {
        uid: uid.to_string(),
        phase,
        ready: phase == Phase::Active,
        deleting: false,
        tracked: true,
        finished: None,
        ..Pod::default()
    }
}

/// A cluster of one Job: does what plans say, at once.
struct World {
    spec: Spec,
    status: Status,
    pods: Vec<Pod>,
    made: usize,
    now: Seconds,
}

impl World {
    fn new(spec: Spec) -> Self {
        Self { spec, status: Status::default(), pods: Vec::new(), made: 0, now: 1000 }
    }

    fn pass(&mut self) -> Plan {
        let plan = plan(&self.spec, &self.status, &self.pods, &[], self.now);
        self.status = plan.status.clone();
        for at in &plan.untrack {
            self.pods[*at].tracked = false;
        }
        let mut at = 0;
        self.pods.retain(|_| {
            at += 1;
            !plan.delete.contains(&(at - 1))
        });
        for it in &plan.create {
            self.made += 1;
            let (index, failures, ignored) = (it.index, it.failures, it.ignored);
            self.pods.push(Pod { index, failures, ignored, ..pod(self.made, Phase::Active) });
        }
        plan
    }

    /// Passes until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..20 {
            let before = self.status.clone();
            let plan = self.pass();
            if self.status == before && plan.untrack.is_empty() && plan.create.is_empty() && plan.delete.is_empty() {
                return;
            }
        }
        panic!("does not settle: {:?}", self.status);
    }

    fn end(&mut self, phase: Phase) {
        let now = self.now;
        let pod = self.pods.iter_mut().find(|it| it.phase == Phase::Active).expect("an active pod");
        (pod.phase, pod.ready, pod.finished) = (phase, false, Some(now));
    }

    fn conditions(&self) -> Vec<String> {
        self.status.conditions.iter().map(|it| format!("{}={} {}", it.kind, it.status, it.reason)).collect()
    }
}

#[test]
fn runs_in_parallel_until_enough_have_succeeded() {
    let mut world = World::new(spec(2, 3));
    world.settle();
    assert_eq!((world.made, world.status.active, world.status.started), (2, 2, Some(1000)));
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!((world.made, world.status.succeeded, world.status.active), (3, 1, 2));
    world.end(Phase::Succeeded);
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!((world.made, world.status.succeeded, world.status.active), (3, 3, 0));
    assert_eq!(world.conditions(), ["SuccessCriteriaMet=True CompletionsReached", "Complete=True CompletionsReached"]);
    assert_eq!(world.status.completed, Some(1000));
}

#[test]
fn is_not_complete_while_a_success_is_only_noted() {
    let mut world = World::new(spec(1, 1));
    world.settle();
    world.end(Phase::Succeeded);
    world.pass();
    assert_eq!(world.status.uncounted_succeeded, ["1"]);
    assert_eq!(world.conditions(), ["SuccessCriteriaMet=True CompletionsReached"]);
    world.pass();
    assert!(!world.pods[0].tracked);
    world.pass();
    assert!(is_over(&world.status.conditions));
}

#[test]
fn a_pod_deleted_after_it_was_counted_stays_counted() {
    let mut world = World::new(spec(1, 2));
    world.settle();
    world.end(Phase::Succeeded);
    world.settle();
    world.pods.retain(|it| it.phase == Phase::Active);
    world.settle();
    assert_eq!((world.status.succeeded, world.made), (1, 2));
}

#[test]
fn backs_off_longer_after_each_failure_and_gives_up_at_the_limit() {
    let mut world = World::new(Spec { backoff_limit: 2, ..spec(1, 1) });
    let mut waits = Vec::new();
    for _ in 0..3 {
        world.settle();
        world.end(Phase::Failed);
        world.settle();
        let wait = world.pass().wait;
        waits.push(wait);
        world.now += wait.unwrap_or(0);
    }
    assert_eq!(waits, [Some(10), Some(20), None]);
    assert_eq!(world.conditions(), ["FailureTarget=True BackoffLimitExceeded", "Failed=True BackoffLimitExceeded"]);
    assert_eq!((world.status.failed, world.made), (3, 3));
}

#[test]
fn deadline_ends_what_still_runs() {
    let mut world = World::new(Spec { active_deadline_seconds: Some(30), ..spec(2, 2) });
    assert_eq!(world.pass().wait, Some(30));
    world.now += 30;
    world.settle();
    assert!(world.pods.is_empty());
    assert_eq!(world.conditions(), ["FailureTarget=True DeadlineExceeded", "Failed=True DeadlineExceeded"]);
}

#[test]
fn suspending_removes_pods_and_resuming_starts_the_clock_again() {
    let mut world = World::new(Spec { active_deadline_seconds: Some(30), ..spec(2, 2) });
    world.settle();
    world.spec.suspend = true;
    world.settle();
    assert_eq!((world.pods.len(), world.status.failed, world.status.active), (0, 0, 0));
    world.now += 100;
    world.spec.suspend = false;
    world.settle();
    assert_eq!((world.pods.len(), world.status.started), (2, Some(1100)));
    assert_eq!(world.conditions(), ["Suspended=False JobResumed"]);
}

#[test]
fn lower_parallelism_removes_pods_without_counting_them() {
    let mut world = World::new(spec(4, 10));
    world.settle();
    world.spec.parallelism = 1;
    world.settle();
    assert_eq!((world.pods.len(), world.status.failed), (1, 0));
}

#[test]
fn without_completions_one_success_stops_new_pods_and_waits_for_the_rest() {
    let mut world = World::new(Spec { completions: None, ..spec(3, 0) });
    world.settle();
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!((world.made, is_over(&world.status.conditions)), (3, false));
    world.end(Phase::Succeeded);
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!((world.status.succeeded, is_over(&world.status.conditions)), (3, true));
}

#[test]
fn indexed_pods_get_each_index_until_it_succeeds() {
    let mut world = World::new(Spec { indexed: true, ..spec(2, 3) });
    world.settle();
    assert_eq!(world.pods.iter().map(|it| it.index).collect::<Vec<_>>(), [Some(0), Some(1)]);
    world.end(Phase::Failed);
    world.now += 60;
    world.settle();
    assert_eq!(world.pods.last().unwrap().index, Some(0));
    for _ in 0..3 {
        world.end(Phase::Succeeded);
        world.settle();
    }
    assert_eq!((world.status.completed_indexes.to_string().as_str(), world.status.succeeded), ("0-2", 3));
    assert!(is_over(&world.status.conditions));
}

fn exit(world: &mut World, index: i32, code: i32) {
    let now = world.now;
    let pod = world.pods.iter_mut().find(|it| it.phase == Phase::Active && it.index == Some(index)).expect("active");
    (pod.phase, pod.ready, pod.finished) = (Phase::Failed, false, Some(now));
    pod.exits = vec![Exit { container: "main".into(), code }];
}

fn rule(action: policy::Action, code: i32) -> Rule {
    Rule { action, on: policy::On::ExitCodes { container: None, among: true, values: vec![code] } }
}

#[test]
fn an_index_is_given_up_at_its_own_limit_and_the_others_go_on() {
    let limits = Spec { indexed: true, backoff_limit_per_index: Some(1), backoff_limit: i32::MAX, ..spec(2, 2) };
    let mut world = World::new(limits);
    world.settle();
    exit(&mut world, 0, 1);
    world.settle();
    assert_eq!((world.pass().wait, world.status.failed), (Some(10), 0), "held until it is replaced");
    world.now += 10;
    world.settle();
    assert_eq!((world.status.failed, world.made), (1, 3));
    assert_eq!(world.pods.iter().filter(|it| it.index == Some(0)).map(|it| it.failures).max(), Some(1));
    exit(&mut world, 0, 1);
    world.settle();
    assert_eq!((world.status.failed_indexes.to_string().as_str(), world.made), ("0", 3));
    assert!(!is_over(&world.status.conditions));
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!(world.conditions(), ["FailureTarget=True FailedIndexes", "Failed=True FailedIndexes"]);
    assert_eq!((world.status.succeeded, world.status.failed), (1, 2));
}

#[test]
fn too_many_indexes_given_up_end_the_job() {
    let mut world =
        World::new(Spec { indexed: true, backoff_limit_per_index: Some(0), max_failed_indexes: Some(1), ..spec(3, 5) });
    world.settle();
    exit(&mut world, 0, 1);
    world.settle();
    assert!(!is_over(&world.status.conditions));
    exit(&mut world, 1, 1);
    world.settle();
    assert_eq!(world.conditions().last().unwrap(), "Failed=True MaxFailedIndexesExceeded");
}

#[test]
fn failures_are_ignored_counted_or_final_as_the_policy_says() {
    use policy::Action;
    let rules = vec![rule(Action::Ignore, 7), rule(Action::FailJob, 42), rule(Action::FailIndex, 5)];
    let indexed = Spec { indexed: true, await_terminating: true, failure_policy: rules, ..spec(1, 1) };
    let mut world = World::new(Spec { backoff_limit: 0, ..indexed.clone() });
    world.settle();
    exit(&mut world, 0, 7);
    world.settle();
    world.now += 600;
    world.settle();
    assert_eq!((world.status.failed, world.made, world.conditions().len()), (0, 2, 0));
    exit(&mut world, 0, 42);
    world.settle();
    assert_eq!(world.conditions().last().unwrap(), "Failed=True PodFailurePolicy");
    let message = &condition::get(&world.status.conditions, "Failed").unwrap().message;
    assert!(message.ends_with("failed with exit code 42 matching FailJob rule at index 1"), "{message}");
    let mut world = World::new(Spec { backoff_limit_per_index: Some(5), ..indexed });
    world.settle();
    exit(&mut world, 0, 7);
    world.settle();
    world.now += 600;
    world.settle();
    assert_eq!(world.pods.last().map(|it| (it.failures, it.ignored)), Some((0, 1)));
    exit(&mut world, 0, 5);
    world.settle();
    assert_eq!(world.conditions().last().unwrap(), "Failed=True FailedIndexes");
}

#[test]
fn a_success_policy_ends_the_job_before_all_have_succeeded() {
    let leader = Criterion { indexes: Some(Indexes::parse("0", 3)), count: None };
    let mut world = World::new(Spec { indexed: true, success_policy: vec![leader], ..spec(3, 3) });
    world.settle();
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!(world.conditions(), ["SuccessCriteriaMet=True SuccessPolicy", "Complete=True SuccessPolicy"]);
    assert_eq!((world.status.succeeded, world.pods.iter().filter(|it| it.phase == Phase::Active).count()), (1, 0));
}

#[test]
fn a_finished_job_expires_after_its_time_to_live() {
    let mut world = World::new(Spec { ttl_seconds: Some(5), ..spec(1, 1) });
    world.settle();
    world.end(Phase::Succeeded);
    world.settle();
    assert_eq!(expires_in(&world.spec, &world.status, 1003), Some(2));
    assert_eq!(expires_in(&spec(1, 1), &world.status, 1003), None);
}

#[test]
fn restarts_in_place_count_against_the_limit() {
    let mut world = World::new(Spec { restarts_in_place: true, backoff_limit: 1, ..spec(1, 1) });
    world.settle();
    world.pods[0].restarts = 1;
    world.settle();
    assert_eq!(world.conditions().last().unwrap(), "Failed=True BackoffLimitExceeded");
}

proptest::proptest! {
    #[test]
    fn every_end_is_counted_exactly_once(
        parallelism in 1i32..6, completions in 1i32..12, indexed: bool,
        ends in proptest::collection::vec((proptest::bool::weighted(0.8), 1usize..4), 60),
    ) {
        let mut world = World::new(Spec { indexed, backoff_limit: 1000, ..spec(parallelism, completions) });
        let (mut succeeded, mut failed) = (0, 0);
        for (good, passes) in ends {
            world.now += 1000;
            world.pass();
            if is_over(&world.status.conditions) {
                break;
            }
            if world.pods.iter().any(|it| it.phase == Phase::Active) {
                world.end(if good { Phase::Succeeded } else { Phase::Failed });
                if good { succeeded += 1 } else { failed += 1 }
            }
            for _ in 0..passes {
                world.pass();
            }
            let active = world.pods.iter().filter(|it| it.phase == Phase::Active).count();
            proptest::prop_assert!(active <= parallelism as usize);
        }
        world.now += 1000;
        world.settle();
        proptest::prop_assert_eq!((world.status.succeeded, world.status.failed), (succeeded, failed));
        proptest::prop_assert_eq!(is_over(&world.status.conditions), succeeded == completions);
    }
}
