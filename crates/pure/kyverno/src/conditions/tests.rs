use serde_json::{Value, json};

use super::Operator;

fn check(operator: &str, cases: &[(Value, Value, bool)]) {
    let operator = Operator::parse(operator).expect("the operator exists");
    for (key, value, holds) in cases {
        assert_eq!(operator.holds(key, value), *holds, "{operator:?} {key} {value}");
    }
}

#[test]
fn equality_knows_durations_amounts_and_globs() {
    check(
        "Equals",
        &[
            (json!("1h"), json!("60m"), true),
            (json!("1h"), json!(3600), true),
            (json!("1Gi"), json!("1024Mi"), true),
            (json!("1.5.2"), json!("1.5.*"), true),
            (json!(1), json!("1"), true),
            (json!(1), json!(1.0), true),
            (json!(true), json!("true"), false),
            (json!({"a": 1}), json!({"a": 1.0}), true),
            (json!(["a", "b"]), json!(["b", "a"]), false),
            (json!(null), json!(null), false),
            (json!("12345678901234567890123"), json!("12345678901234567890124"), false),
        ],
    );
    check(
        "NotEquals",
        &[
            (json!("a"), json!("b*"), true),
            (json!("5"), json!(""), true),
            (json!(null), json!("a"), false),
            (json!("2h"), json!(3600), true),
        ],
    );
}

#[test]
fn order_knows_durations_amounts_and_versions() {
    check(
        "GreaterThan",
        &[
            (json!(2), json!(1), true),
            (json!("2"), json!(1), true),
            (json!("1h"), json!("59m"), true),
            (json!("1Gi"), json!("1G"), true),
            (json!("1.10.0"), json!("1.9.0"), true),
            (json!("a"), json!("b"), false),
            (json!([]), json!(0), false),
        ],
    );
    check("lessThanOrEquals", &[(json!(1), json!("1.0"), true), (json!("30s"), json!(31), true)]);
    check("DurationGreaterThan", &[(json!("2h"), json!("1h"), true), (json!(30), json!("1m"), false)]);
}

#[test]
fn members_are_looked_for_on_both_sides() {
    check(
        "AnyIn",
        &[
            (json!("a"), json!(["a", "b"]), true),
            (json!("abc"), json!(["a*"]), true),
            (json!("a*"), json!(["abc"]), true),
            (json!(["x", "a"]), json!(["a"]), true),
            (json!(["x"]), json!("[\"x\", \"y\"]"), true),
            (json!(["x"]), json!("x"), true),
            (json!(5), json!("1-10"), true),
            (json!([5, 50]), json!("1-10"), true),
            (json!({}), json!(["a"]), false),
            (json!("a"), json!(5), false),
        ],
    );
    check("AllIn", &[(json!(["a", "b"]), json!(["a", "b", "c"]), true), (json!(["a", "z"]), json!(["a"]), false)]);
    check("AnyNotIn", &[(json!(["a", "z"]), json!(["a"]), true), (json!(["a"]), json!(["a"]), false)]);
    check(
        "AllNotIn",
        &[
            (json!(["x"]), json!(["a"]), true),
            (json!(["a", "x"]), json!(["a"]), false),
            (json!([]), json!(["a"]), true),
        ],
    );
    check("In", &[(json!(["a"]), json!(["a", "b"]), true), (json!("c"), json!(["a", "b"]), false)]);
    check("NotIn", &[(json!(["a", "c"]), json!(["a", "b"]), true), (json!("a"), json!(["a", "b"]), false)]);
}
