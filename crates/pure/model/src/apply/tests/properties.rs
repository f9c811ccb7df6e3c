//! What holds whatever is written in whatever order.

use proptest::prelude::*;

use super::{
    super::{fieldset::field_set, types::Schema},
    *,
};

/// A configuration of a Deployment: labels, scalars, containers with environment and ports, finalizers.
fn config() -> impl Strategy<Value = Value> {
    let value = || prop::sample::select(vec!["1", "2"]);
    let labels = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), value(), 0..3);
    let env = prop::collection::btree_map(prop::sample::select(vec!["A", "B", "C"]), value(), 0..3);
    let ports = prop::collection::btree_set(80..83_u16, 0..3);
    let container = (prop::option::of(value()), env, ports).prop_map(|(image, env, ports)| {
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let ports: Vec<Value> = ports.iter().map(|it| json!({"containerPort": it})).collect();
        let mut container = json!({});
        if let Some(image) = image {
            container["image"] = image.into();
        }
        for (name, list) in [("env", env), ("ports", ports)] {
            if !list.is_empty() {
                container[name] = list.into();
            }
        }
        container
    });
    let containers = prop::collection::btree_map(prop::sample::select(vec!["c", "d"]), container, 0..3);
    let finalizers = prop::collection::btree_set(prop::sample::select(vec!["f", "g"]), 0..3);
    (labels, prop::option::of(1..3_i64), containers, finalizers, any::<bool>()).prop_map(
        |(labels, replicas, containers, finalizers, reverse)| {
            let mut object = json!({"metadata": {"labels": labels, "finalizers": finalizers}, "spec": {}});
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = replicas.into();
            }
            let mut list: Vec<Value> = containers
                .into_iter()
                .map(|(name, mut container)| {
                    container["name"] = name.into();
                    container
                })
                .collect();
            if reverse {
                list.reverse();
            }
            if !list.is_empty() {
                object["spec"]["template"] = json!({"spec": {"containers": list}});
            }
            object
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Apply(&'static str, Value),
    Put(&'static str, Value),
}

fn step() -> impl Strategy<Value = Step> {
    let manager = || prop::sample::select(vec!["one", "two", "three"]);
    prop_oneof![
        (manager(), config()).prop_map(|(manager, config)| Step::Apply(manager, config)),
        (manager(), config()).prop_map(|(manager, config)| Step::Put(manager, config)),
    ]
}

fn take(live: &mut Live, step: Step) {
    match step {
        Step::Apply(manager, config) => drop(live.force(manager, config)),
        Step::Put(manager, config) => {
            let config = live.named(config);
            live.update(manager, |new| *new = config);
        }
    }
}

/// The fields of the object and those of its owners.
fn sets(live: &Live) -> (Set, Set) {
    let mut object = live.object.clone().expect("written");
    meta::metadata_mut(&mut object).remove("managedFields");
    let mut owned = Set::default();
    live.entries().into_iter().for_each(|it| owned.union(it.fields));
    let mut fields = field_set(Schema::of(live.kind).root(), &object);
    fields.subtract(&reset::UNOWNED);
    // Objects that Kubernetes' own types always have are nobody's, even when they are empty.
    fields.subtract(&Set::of_fields(&[&["spec"], &["spec", "template"], &["spec", "template", "spec"]]));
    (fields, owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn applying_twice_is_applying_once(steps in prop::collection::vec(step(), 0..6), config in config()) {
        let mut live = Live::deployment();
        steps.into_iter().for_each(|it| take(&mut live, it));
        let once = live.force("one", config.clone()).object.clone();
        // Without force: what one owns alone or shares is no conflict.
        prop_assert_eq!(&live.apply("one", config).object, &once);
    }

    #[test]
    fn every_field_of_a_tracked_object_has_an_owner(steps in prop::collection::vec(step(), 1..8)) {
        let mut live = Live::deployment();
        for step in steps {
            take(&mut live, step);
            let (fields, owned) = sets(&live);
            // An object that nobody owned a field of is not tracked until somebody applies to it.
            prop_assert!(owned.is_empty() || fields.is_within(&owned), "{}\n{:#}", live.owners(), live.object.as_ref().expect("written"));
        }
    }

    #[test]
    fn an_applier_owns_exactly_what_it_applied_until_others_write(steps in prop::collection::vec(step(), 0..6), config in config()) {
        let mut live = Live::deployment();
        steps.into_iter().for_each(|it| take(&mut live, it));
        live.force("one", config.clone());
        let mut wanted = field_set(Schema::of(live.kind).root(), &live.named(config));
        wanted.subtract(&reset::UNOWNED);
        let own = live.entries().into_iter().find(|it| it.manager == "one" && it.operation == Operation::Apply);
        prop_assert_eq!(own.map(|it| it.fields).unwrap_or_default(), wanted);
    }

    #[test]
    fn what_was_applied_stands_in_the_object(steps in prop::collection::vec(step(), 0..6), config in config()) {
        let mut live = Live::deployment();
        steps.into_iter().for_each(|it| take(&mut live, it));
        live.force("one", config.clone());
        let config = live.named(config);
        let of = Schema::of(live.kind);
        let merged = super::super::merge::merge(of.root(), live.object.clone().expect("applied"), &config);
        prop_assert_eq!(Some(live.decoded(merged)), live.object);
    }

    #[test]
    fn entries_survive_being_written_and_read(steps in prop::collection::vec(step(), 1..8)) {
        let mut live = Live::deployment();
        steps.into_iter().for_each(|it| take(&mut live, it));
        let list = live.object.as_ref().expect("written").pointer("/metadata/managedFields").cloned();
        prop_assert_eq!(Some(encode(live.entries())).filter(|it| it != &json!([])), list);
    }

    #[test]
    fn what_letting_go_leaves_is_owned_by_others(steps in prop::collection::vec(step(), 0..6), config in config()) {
        let mut live = Live::deployment();
        steps.into_iter().for_each(|it| take(&mut live, it));
        live.force("one", config);
        live.apply("one", json!({}));
        let (fields, owned) = sets(&live);
        prop_assert!(owned.is_empty() || fields.is_within(&owned));
        prop_assert!(!live.entries().iter().any(|it| it.manager == "one" && it.operation == Operation::Apply));
    }
}
