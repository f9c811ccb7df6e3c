use std::{cell::Cell, sync::Arc};

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value as Json, json};

use crate::{Budget, Environment, Program, ROOTS, RunError, Value, Variable};

/// What an expression comes to, what is left of the budget, and whether it was decided without the interpreter.
type Told = (Result<Value, RunError>, i64, bool);

const BUDGET: i64 = 1_000_000;

/// Compiles an expression and its variables, with plans or without.
fn compiled(variables: &[String], text: &str, with_plans: bool) -> Option<(Vec<Variable>, Program)> {
    let mut known: Vec<Variable> = Vec::new();
    for (at, text) in variables.iter().enumerate() {
        let mut program = Program::compile_for(text, &ROOTS, &known, true).ok()?;
        program.plan = program.plan.filter(|_| with_plans);
        known.push(Variable { name: format!("v{at}"), program });
    }
    let mut program = Program::compile_for(text, &ROOTS, &known, true).ok()?;
    program.plan = program.plan.filter(|_| with_plans);
    Some((known, program))
}

/// An expression evaluated twice in one environment, in which variables are known the second time; and whether it is
/// decided without the interpreter then.
fn told(object: &Json, variables: &[String], text: &str, with_plans: bool) -> Option<(Vec<Told>, bool)> {
    let (known, program) = compiled(variables, text, with_plans)?;
    let environment = Environment::new()
        .with("object", Arc::new(object.clone()))
        .with("params", Arc::new(object["a"].clone()))
        .with_variables(known.into());
    let mut all = Vec::new();
    for _ in 0..2 {
        let mut budget = Budget::new(BUDGET);
        let decided = environment.decide(&program, &mut budget).map(|it| it.map(|it| it.to_cel()));
        let is_decided = matches!(decided, Ok(Some(_)));
        let found = decided.and_then(|it| it.map_or_else(|| environment.interpret(&program, &mut budget), Ok));
        all.push((found, budget.left(), is_decided));
    }
    let decided = environment.decide(&program, &mut Budget::new(BUDGET)).is_ok_and(|it| it.is_some());
    Some((all, decided))
}

/// What must be the same without plans. What a failure cost is left out, for a variable may have been evaluated directly to
/// which the interpreter, that says why it failed, does not come; and so is what it cost where the interpreter began after
/// variables were there.
fn settled(told: Told, is_decided: bool) -> Result<(Value, Option<i64>), RunError> {
    let (found, left, _) = told;
    found.map(|it| (it, is_decided.then_some(left)))
}

/// JSON whose maps have one entry at most: the interpreter goes over more of them in any order.
fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3_i64..4).prop_map(Json::from),
        Just(json!(u64::MAX)),
        Just(json!(1.5)),
        prop::sample::select(vec!["", "a", "b", "ab", "1Gi", "500m", "x/y"]).prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            (name(), inner).prop_map(|(name, it)| json!({ (name): it })),
        ]
    })
}

fn object() -> impl Strategy<Value = Json> {
    (value(), value(), prop::collection::vec(value(), 0..4), value())
        .prop_map(|(a, b, list, c)| json!({"a": a, "b": b, "list": list, "c": {"d": c}}))
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "d", "e"])
}

/// An expression as text. `x`, `y` and `acc` are there in loops around.
fn expression() -> impl Strategy<Value = String> {
    let words = vec![
        "true",
        "false",
        "null",
        "0",
        "1",
        "-1",
        "2u",
        "1.0",
        "1.5",
        "''",
        "'a'",
        "'ab'",
        "'1Gi'",
        "[]",
        "{}",
        "{1: 'a'}",
        "{2u: 1.0}",
        "object.a",
        "object.b",
        "object.list",
        "object.c.d",
        "object.a.b",
        "object.c['d']",
        "object.?a.b",
        "object.c.?d",
        "object.?gone",
        "params",
        "params.a",
        "has(object.a)",
        "has(object.a.b)",
        "has(object.gone)",
        "variables.v0",
        "variables.v1",
        "has(variables.v0)",
        "x",
        "y",
        "object.list[0]",
        "optional.none()",
        "oldObject",
    ];
    prop::sample::select(words).prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let three = (inner.clone(), inner.clone(), inner.clone());
        let operators =
            prop::sample::select(vec!["&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in"]);
        let loops = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        let pairs = prop::sample::select(vec!["all", "exists", "existsOne", "transformList"]);
        let methods = prop::sample::select(vec![
            "startsWith",
            "endsWith",
            "contains",
            "orValue",
            "or",
            "matches",
            "isLessThan",
            "indexOf",
        ]);
        let plain = prop::sample::select(vec!["size", "hasValue", "value", "lowerAscii", "isSorted"]);
        let functions = prop::sample::select(vec![
            "size",
            "string",
            "quantity",
            "optional.of",
            "type",
            "int",
            "double",
            "bool",
            "dyn",
            "isQuantity",
        ]);
        prop_oneof![
            4 => (two.clone(), operators).prop_map(|((a, b), it)| format!("({a} {it} {b})")),
            1 => three.clone().prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            1 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            3 => (two.clone(), loops, prop::sample::select(vec!["x", "y"]))
                .prop_map(|((a, b), it, name)| format!("({a}).{it}({name}, {b})")),
            1 => (two.clone(), pairs).prop_map(|((a, b), it)| format!("({a}).{it}(x, y, {b})")),
            1 => three.clone().prop_map(|(a, b, c)| format!("({a}).map(x, {b}, {c})")),
            1 => two.clone().prop_map(|(a, b)| format!("cel.bind(x, {a}, {b})")),
            1 => two.clone().prop_map(|(a, b)| format!("({a}).optMap(x, {b})")),
            2 => (two.clone(), methods).prop_map(|((a, b), it)| format!("({a}).{it}({b})")),
            1 => inner.clone().prop_map(|a| format!("({a}).matches('^[a-z]*$')")),
            1 => (inner.clone(), plain).prop_map(|(a, it)| format!("({a}).{it}()")),
            1 => (inner.clone(), functions).prop_map(|(a, it)| format!("{it}({a})")),
            1 => (inner.clone(), name()).prop_map(|(a, name)| format!("({a}).{name}")),
            1 => (inner.clone(), name()).prop_map(|(a, name)| format!("({a}).?{name}")),
            1 => (inner.clone(), name()).prop_map(|(a, name)| format!("has(({a}).{name})")),
            1 => two.clone().prop_map(|(a, b)| format!("({a})[{b}]")),
            1 => two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            1 => inner.clone().prop_map(|a| format!("[?{a}]")),
            1 => inner.clone().prop_map(|a| format!("{{'a': {a}}}")),
            1 => inner.clone().prop_map(|a| format!("{{?'a': {a}}}")),
            1 => inner.clone().prop_map(|a| format!("Object{{a: {a}}}")),
        ]
    })
}

#[test]
fn what_is_decided_directly_is_what_the_interpreter_says() {
    let cases = std::env::var("EYOT_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(1_500);
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..ProptestConfig::default() };
    let (compiled, decided) = (Cell::new(0), Cell::new(0));
    let given = (object(), prop::collection::vec(expression(), 2), expression());
    let outcome = TestRunner::new(config).run(&given, |(object, variables, text)| {
        let Some((with, is_decided)) = told(&object, &variables, &text, true) else { return Ok(()) };
        let without = told(&object, &variables, &text, false).map(|it| it.0);
        compiled.set(compiled.get() + 1);
        decided.set(decided.get() + u32::from(is_decided));
        // A value that JSON cannot say, such as a time, is compared by how it is shown.
        let were_decided: Vec<bool> = with.iter().map(|it| it.2).collect();
        let shown = |all: Option<Vec<Told>>| {
            let settled =
                |it: Vec<Told>| it.into_iter().zip(&were_decided).map(|it| settled(it.0, *it.1)).collect::<Vec<_>>();
            format!("{:?}", all.map(settled))
        };
        prop_assert_eq!(shown(Some(with)), shown(without), "{} {:?} {}", text, variables, object);
        Ok(())
    });
    outcome.unwrap_or_else(|it| panic!("{it}"));
    // Most random expressions fail somewhere, and failures are the interpreter's.
    assert!(decided.get() > cases / 20, "{} of {} were decided", decided.get(), compiled.get());
}

#[test]
fn what_policies_say_is_decided_directly() {
    let object = json!({"metadata": {"name": "a", "namespace": "n", "labels": {"app": "x", "team": "y"}},
        "spec": {"replicas": 3, "containers": [
            {"name": "c", "image": "r.io/c:1", "resources": {"limits": {"memory": "64Mi"}},
                "securityContext": {"runAsNonRoot": true}},
            {"name": "d", "image": "r.io/d:1", "resources": {"limits": {"memory": "1Gi"}}}]}});
    for text in [
        "['app', 'team'].all(l, l in object.metadata.labels)",
        "object.spec.containers.all(c, c.image.startsWith('r.io/') && !c.image.endsWith(':latest'))",
        "object.spec.containers.all(c, has(c.resources.limits) && quantity(c.resources.limits.memory).isLessThan(quantity('2Gi')))",
        "!object.spec.containers.all(c, c.?securityContext.?runAsNonRoot.orValue(false))",
        "object.spec.containers.map(c, c.?securityContext.orValue({})).exists(s, s == {})",
        "has(object.metadata.labels) && !has(object.metadata.annotations)",
        "object.spec.replicas > 1 && object.spec.replicas <= 3 && oldObject == null",
        "object.metadata.name.matches('^[a-z]+$') && size(object.spec.containers) == 2",
        "object.spec.containers.filter(c, c.name == 'd').size() == 1",
        "object.spec.containers.exists_one(c, c.name == 'd')",
        "cel.bind(all, object.spec.containers, all.map(c, c.name) == ['c', 'd'])",
        "object.spec.containers.all(i, c, i < 2 && c.name != '')",
        "'app' in object.metadata.labels ? object.metadata.labels['app'] == 'x' : false",
        "Object{metadata: Object.metadata{annotations: {'seen': string(object.spec.replicas)}}} != {}",
        "[1, 2].map(x, x * 2)[1] == 4 && 'a' + 'b' == 'ab'",
    ] {
        let (all, decided) = told(&object, &[], text, true).unwrap_or_else(|| panic!("{text} does not compile"));
        assert_eq!(all[0].0, Ok(Value::Bool(true)), "{text}");
        assert!(decided, "{text} is left to the interpreter");
    }
}

#[test]
fn what_a_variable_costs_is_paid_once_whoever_evaluates_it() {
    let list = json!({"list": (0..50).collect::<Vec<i64>>()});
    let variables = ["object.list.map(x, x + 1).size()".to_owned()];
    // The second expression fails after the variable was evaluated.
    for text in ["variables.v0 == 50", "variables.v0 / 0 == 1", "variables.v0 == 50 && object.gone.more"] {
        let all = [true, false].map(|with_plans| told(&list, &variables, text, with_plans).unwrap_or_default().0);
        assert_eq!(all[0].len(), 2, "{text} does not compile");
        for (with, without) in all[0].iter().zip(&all[1]) {
            assert_eq!(format!("{:?}", with.0), format!("{:?}", without.0), "{text}");
            // The variable's loop takes far more steps.
            assert!(with.1.abs_diff(without.1) < 100, "{text}: {all:?}");
        }
    }
    let short = ["object.list.all(x, object.list.all(y, object.list.all(z, x + y + z >= 0)))".to_owned()];
    for text in ["variables.v0", "variables.v0 || true"] {
        let (all, _) = told(&list, &short, text, true).unwrap_or_else(|| panic!("{text} does not compile"));
        assert_eq!(all[0].0, Err(RunError::Cost));
    }
}

/// A chain of variables, each of which is made of the one before it; the first is `object.a`.
fn chain(step: &str) -> Vec<String> {
    let before = |at: usize| if at == 0 { "object.a".to_owned() } else { format!("variables.v{}", at - 1) };
    (0..14).map(|at| step.replace('$', &before(at))).collect()
}

#[test]
fn what_is_put_together_of_itself_again_and_again_is_stopped() {
    let object = json!({"a": "\\".repeat(4_000)});
    for step in [
        "$ + $ + $ + $ + $ + $ + $ + $",
        "[$, $, $, $, $, $, $, $]",
        "{'a': $, 'b': $, 'c': {'d': $, 'e': [$, $, $]}}",
        "[1, 2, 3, 4, 5, 6, 7, 8].map(i, $)",
        "[[1, 2, 3, 4, 5, 6, 7, 8].filter(i, i > 0).map(i, $)]",
        "strings.quote($) + strings.quote($)",
        "cel.bind(x, [$, $], [x, x, x])",
    ] {
        for with_plans in [true, false] {
            let variables = chain(step);
            let (known, program) = compiled(&variables, "variables.v13 == variables.v13", with_plans)
                .unwrap_or_else(|| panic!("{step} does not compile"));
            let environment = Environment::new().with("object", Arc::new(object.clone())).with_variables(known.into());
            let found = environment.run(&program, &mut Budget::new(Budget::WRITE));
            let told = found.map(drop).map_err(|it| it.to_string());
            let is_stopped = told.as_ref().is_err_and(|it| it.contains("take more than") || it.contains("cost limit"));
            assert!(is_stopped, "{step}: {told:?}");
        }
    }
}

#[test]
fn rounds_pay_for_what_they_look_at_whoever_made_it() {
    let object = json!({"a": "x".repeat(1_000)});
    let variables = chain("$ + $ + $ + $")[..6].to_vec();
    for text in [
        "lists.range(100000).all(i, variables.v5.contains('y') || true)",
        "cel.bind(x, variables.v5, lists.range(100000).all(i, x.contains('y') || true))",
        "lists.range(100000).all(i, lists.range(100000).size() > 0)",
        "lists.range(100000).all(i, 'aaaa'.replace('a', object.a).replace('x', object.a) != '')",
    ] {
        for with_plans in [true, false] {
            let (all, _) =
                told(&object, &variables, text, with_plans).unwrap_or_else(|| panic!("{text} does not compile"));
            assert!(all.iter().all(|it| it.0 == Err(RunError::Cost)), "{text}: {all:?}");
        }
    }
}

#[test]
fn what_is_put_into_itself_again_and_again_is_stopped() {
    for step in ["[$]", "{'a': $}", "[[[[[[[[$]]]]]]]]"] {
        let before = |at: usize| if at == 0 { "1".to_owned() } else { format!("variables.v{}", at - 1) };
        let variables: Vec<String> = (0..400).map(|at| step.replace('$', &before(at))).collect();
        for with_plans in [true, false] {
            let (known, program) = compiled(&variables, "variables.v399 == 1", with_plans).expect("it compiles");
            let known: std::sync::Arc<[Variable]> = known.into();
            let environment = Environment::new().with_variables(known.clone());
            // Each is named by itself, so that it is there for the next.
            for variable in known.iter() {
                let _ = environment.run(&variable.program, &mut Budget::new(Budget::WRITE));
                let named = Program::compile_for(&format!("variables.{} == 1", variable.name), &ROOTS, &known, true);
                let _ = environment.run(&named.expect("it compiles"), &mut Budget::new(Budget::WRITE));
            }
            let told = environment.run(&program, &mut Budget::new(Budget::WRITE)).map_err(|it| it.to_string());
            assert!(told.as_ref().is_err_and(|it| it.contains("nested")), "{step}: {told:?}");
        }
    }
}

#[test]
fn large_objects_are_put_into_lists_and_maps() {
    let object = json!({"list": vec![0; 500_000], "a": "x".repeat(1 << 20)});
    for text in ["[object.list].size() == 1 && {'a': object.a}.size() == 1", "(object.a + 'y').size() == 1048577"] {
        for with_plans in [true, false] {
            let (known, program) = compiled(&[], text, with_plans).unwrap_or_else(|| panic!("{text}"));
            let environment = Environment::new().with("object", Arc::new(object.clone())).with_variables(known.into());
            assert_eq!(environment.run(&program, &mut Budget::new(Budget::WRITE)), Ok(Value::Bool(true)), "{text}");
        }
    }
}

#[test]
fn what_has_no_fields_has_none_that_is_false() {
    let object = json!({"list": ["text", null, 1], "a": null});
    for text in [
        "object.list.exists(x, !x.more)",
        "!object.list[0].more",
        "!object.list[1].more.yet",
        "cel.bind(x, object.a, !x.more)",
        "!variables.v0.more",
        "![1].more",
    ] {
        for with_plans in [true, false] {
            let (all, decided) = told(&object, &["object.a".to_owned()], text, with_plans)
                .unwrap_or_else(|| panic!("{text} does not compile"));
            assert!(matches!(all[0].0, Err(RunError::Failed(_))) && !decided, "{text}: {all:?}");
        }
    }
}
