//! What holds for any schema and any object.

use eyot_model::custom::{default, prune, schema::Schema, value};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Few names, so that schemas and values meet.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "kind", "metadata"]).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Value> {
    let scalar =
        (prop::sample::select(vec!["string", "integer", "boolean"]), any::<bool>(), prop::option::of(any_value()))
            .prop_map(|(of_type, nullable, default)| {
                with_default(json!({"type": of_type, "nullable": nullable}), default)
            });
    let leaf = prop_oneof![
        scalar,
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let properties = prop::collection::btree_map(name(), inner.clone(), 0..4);
        let object = (properties, any::<bool>(), any::<bool>(), prop::option::of(any_value())).prop_map(
            |(properties, preserve, embedded, default)| {
                let properties: Map<String, Value> = properties.into_iter().collect();
                let schema = json!({
                    "type": "object", "properties": properties, "x-kubernetes-embedded-resource": embedded,
                    "x-kubernetes-preserve-unknown-fields": preserve,
                });
                with_default(schema, default)
            },
        );
        prop_oneof![
            object,
            inner.clone().prop_map(|it| json!({"type": "array", "items": it})),
            inner.prop_map(|it| json!({"type": "object", "additionalProperties": it})),
        ]
    })
}

fn with_default(mut schema: Value, default: Option<Value>) -> Value {
    if let Some(default) = default {
        // As a definition is checked: a default that its own schema would prune or change is refused.
        let parsed = Schema::parse(&schema);
        let mut pruned = default.clone();
        let known = prune::prune_within(&mut pruned, &parsed).is_empty();
        if known && value::check_at("", &default, None, &parsed).is_empty() {
            schema["default"] = default;
        }
    }
    schema
}

proptest! {
    #[test]
    fn pruning_again_changes_nothing(schema in any_schema(), mut object in any_value()) {
        let schema = Schema::parse(&schema);
        prune::prune(&mut object, &schema);
        let once = object.clone();
        prop_assert!(prune::prune(&mut object, &schema).is_empty());
        prop_assert_eq!(object, once);
    }

    #[test]
    fn filling_in_defaults_again_changes_nothing(schema in any_schema(), mut object in any_value()) {
        let schema = Schema::parse(&schema);
        default::fill(&mut object, &schema);
        let once = object.clone();
        default::fill(&mut object, &schema);
        prop_assert_eq!(object, once);
    }

    #[test]
    fn what_pruning_leaves_is_known(schema in any_schema(), mut object in any_value()) {
        let schema = Schema::parse(&schema);
        prune::prune(&mut object, &schema);
        default::fill(&mut object, &schema);
        let filled = object.clone();
        prop_assert!(prune::prune(&mut object, &schema).is_empty(), "{filled}");
    }

    #[test]
    fn checking_never_panics_and_accepts_what_is_unchanged(schema in any_schema(), object in any_value()) {
        let schema = Schema::parse(&schema);
        value::check(&object, None, &schema);
        prop_assert!(value::check(&object, Some(&object), &schema).is_empty());
    }
}
