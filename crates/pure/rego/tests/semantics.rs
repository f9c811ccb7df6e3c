//! What Rego means where engines are known to differ, and what bounds do.

use expect_test::{Expect, expect};
use eyot_rego::{Bounds, Dialect, Program, Request, Source, Value};

fn compiled(text: &str, dialect: Dialect) -> Result<Program, String> {
    let source = Source { name: "p.rego".to_owned(), text: text.to_owned(), dialect };
    Program::compile(&[source]).map_err(|flaws| flaws.iter().map(|f| format!("{f}\n")).collect())
}

fn request(input: &str) -> Request {
    let input: serde_json::Value = serde_json::from_str(input).expect("input is JSON");
    Request::new(Some(Value::from(&input)), 1_700_000_000_000_000_000)
}

/// `data.p` for `input`, or why there is none.
fn check(dialect: Dialect, text: &str, input: &str, want: Expect) {
    let got = match compiled(text, dialect) {
        Err(flaws) => flaws,
        Ok(program) => match program.value("data.p", &request(input)) {
            Ok(Some(value)) => value.to_string(),
            Ok(None) => "undefined".to_owned(),
            Err(fault) => fault.to_string(),
        },
    };
    want.assert_eq(&got);
}

#[test]
fn an_undefined_argument_under_not_is_undefined() {
    let module = r#"
        package p
        import future.keywords.in
        exempt(image, list) { list[_] == image }
        violation["denied"] { not exempt(input.image, input.parameters.exempt) }
        listed { not input.image in input.parameters.exempt }
        compared { not input.parameters.exempt == 1 }
    "#;
    check(Dialect::V0, module, r#"{"image": "a"}"#, expect![[r#"{"compared": true, "violation": set()}"#]]);
    check(
        Dialect::V0,
        module,
        r#"{"image": "a", "parameters": {"exempt": ["b"]}}"#,
        expect![[r#"{"compared": true, "listed": true, "violation": {"denied"}}"#]],
    );
}

#[test]
fn a_line_that_begins_with_a_parenthesis_is_a_statement() {
    let module = r#"
        package p
        r {
            x := input.a
            (x + 1) * 2 == 6
        }
    "#;
    check(Dialect::V0, module, r#"{"a": 2}"#, expect![[r#"{"r": true}"#]]);
}

#[test]
fn bodies_may_be_chained() {
    let module = r#"
        package p
        kind(x) = "small" { x < 10 } { x == 100 }
        a := kind(3)
        b := kind(100)
        c := kind(50)
    "#;
    check(Dialect::V0, module, "{}", expect![[r#"{"a": "small", "b": "small"}"#]]);
}

#[test]
fn a_function_may_have_no_body() {
    let module = "package p\nf(\"a\", _)\nf(\"b\", x) if x > 1\ny := f(\"a\", 1)\nz := f(\"b\", 1)\n";
    check(Dialect::V1, module, "{}", expect![[r#"{"y": true}"#]]);
}

#[test]
fn statements_wait_for_what_they_need() {
    let module = "package p\nr contains x if { x > 1; x := y + 1; y = input.n[_] }\n";
    check(Dialect::V1, module, r#"{"n": [0, 1, 2]}"#, expect![[r#"{"r": {2, 3}}"#]]);
}

#[test]
fn every_flaw_has_a_place() {
    check(
        Dialect::V1,
        "package p\nr if {\n  x > 1\n}\n",
        "{}",
        expect![[r#"
        p.rego:3:3: rego_unsafe_var_error: var x is unsafe
    "#]],
    );
    check(
        Dialect::V0,
        "package p\nr { count(1, 2, 3) }\n",
        "{}",
        expect![[r#"
        p.rego:2:5: rego_type_error: count: arity mismatch: have 3 arguments, want 1
    "#]],
    );
    check(
        Dialect::V0,
        "package p\nr { nothing.such(1) }\n",
        "{}",
        expect![[r#"
        p.rego:2:5: rego_type_error: undefined function nothing.such
    "#]],
    );
    check(
        Dialect::V0,
        "package p\nr {\n  x := [1, 2\n}\n",
        "{}",
        expect![[r#"
        p.rego:4:1: rego_parse_error: unexpected `}`: expected `]` after the last element
    "#]],
    );
    check(
        Dialect::V1,
        "package p\nr { true }\n",
        "{}",
        expect![[r#"
        p.rego:2:3: rego_parse_error: `if` keyword is required before rule body
    "#]],
    );
}

#[test]
fn what_needs_itself_is_refused() {
    check(
        Dialect::V0,
        "package p\nf(x) = g(x)\ng(x) = f(x)\n",
        "{}",
        expect![[r#"
        p.rego:2:1: rego_recursion_error: rule data.p.f is recursive: data.p.f -> data.p.g -> data.p.f
    "#]],
    );
}

#[test]
fn contradictions_are_errors() {
    check(
        Dialect::V1,
        "package p\nr := 1\nr := 2\n",
        "{}",
        expect!["p.rego:3:1: eval_conflict_error: data.p.r: complete rules must not produce multiple outputs"],
    );
}

/// Evaluates `data.p` under small bounds.
fn bounded(text: &str) -> String {
    let program = compiled(text, Dialect::V1).expect("compiles");
    let bounds = Bounds { steps: 100_000, bytes: 1 << 20 };
    match program.value("data.p", &Request { bounds, ..request("{}") }) {
        Ok(value) => format!("{value:?}"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn what_never_ends_is_stopped() {
    let loops = "package p\nr if { some a in [1, 2, 3, 4, 5, 6, 7, 8]; some b in numbers.range(1, 5000); some c in numbers.range(1, 50); a == -1 }\n";
    let got = bounded(loops);
    assert!(got.contains("evaluation stopped after 100000 steps"), "{got}");
    let range = "package p\nr := count(numbers.range(1, 100000000000))\n";
    expect!["p.rego:2:12: evaluation stopped: it built more than 1048576 bytes"].assert_eq(&bounded(range));
    let steps: String = (0..40).map(|n| format!("a{} := concat(\"\", [a{n}, a{n}])\n", n + 1)).collect();
    let doubling = format!("package p\na0 := \"0123456789abcdef\"\n{steps}");
    assert!(bounded(&doubling).contains("it built more than 1048576 bytes"), "{}", bounded(&doubling));
}

#[test]
fn an_expression_can_not_be_a_bomb() {
    let module = "package p\nr := regex.match(`(a+)+$`, concat(\"\", [x | numbers.range(1, 5000)[_]; x := \"a\"]))\n\
                  big := regex.match(`((a{1,500}){1,500}){1,500}`, \"a\")\n";
    expect![[r#"Some(Object({String("r"): Bool(true)}))"#]].assert_eq(&bounded(module));
    // Nor can many that are compiled in vain.
    let again = "package p\nr if { some i in numbers.range(1, 3000)\n\
                 regex.match(concat(\"\", [`((a{1,500}){1,500}){1,500}`, sprintf(\"%d\", [i])]), \"a\") }\n";
    assert!(bounded(again).contains("evaluation stopped after 100000 steps"), "{}", bounded(again));
}

#[test]
fn deep_terms_and_long_chains_of_calls_do_not_end_the_process() {
    let nested = format!("package p\nr := {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let flaws = compiled(&nested, Dialect::V1).expect_err("too deep");
    assert!(flaws.contains("nested more than"), "{flaws}");
    let mut chain = String::from("package p\nf0(x) := x\n");
    for n in 0..20_000 {
        chain += &format!("f{}(x) := f{n}(x)\n", n + 1);
    }
    chain += "r := f20000(1)\n";
    let stopped = bounded(&chain);
    assert!(stopped.contains("nested too deeply"), "{stopped}");
}

#[test]
fn metadata_is_what_comments_say() {
    let module = "# METADATA\n# description: about all\n# authors:\n# - Ann <ann@example.com>\npackage p\n\n\
                  # METADATA\n# title: mine\n# custom:\n#   level: 3\nrule := rego.metadata.rule()\n\n\
                  bare := [rego.metadata.rule(), count(rego.metadata.chain())]\n\n\
                  # METADATA\n# scope: document\n# title: shared\nlevels contains x if { x := rego.metadata.chain()[_].annotations.scope }\n";
    check(
        Dialect::V1,
        module,
        "{}",
        expect![[
            r#"{"bare": [{}, 2], "levels": {"document", "package"}, "rule": {"custom": {"level": 3}, "scope": "rule", "title": "mine"}}"#
        ]],
    );
}

#[test]
fn what_has_too_many_levels_is_refused_and_does_not_exhaust_the_stack() {
    let chain = |sign: &str| format!("package a\nx := {}", vec!["1"; 20_000].join(sign));
    let texts = [
        chain(" + "),
        chain(" * "),
        chain(" | "),
        chain(" == "),
        chain(" in "),
        format!("package a\nx := [{}]", vec!["1 + 2"; 2_000].join(", ")),
        format!("package a{}\nx := 1", ".b".repeat(20_000)),
        format!("package a\nx{} := 1", ".b".repeat(20_000)),
        format!("package a\nimport data{}\nx := 1", ".b".repeat(20_000)),
        format!("package a\nx if {{ {} }}", "input.a; ".repeat(20_000)),
        format!("package a\nx := {}", vec!["1"; 160].join(" + ")),
        format!("package a\nx if {{ {} }}", "input.a; ".repeat(1_000)),
    ];
    let told = texts.iter().map(|text| {
        let source = Source { name: "a.rego".into(), text: text.clone(), dialect: Dialect::V1 };
        let told = Program::compile(&[source]).map_or_else(|flaws| flaws[0].message.clone(), |_| "compiles".to_owned());
        told + "\n"
    });
    expect_test::expect![[r#"
        a term has more than 160 operators, or parts in each other
        a term has more than 160 operators, or parts in each other
        a term has more than 160 operators, or parts in each other
        a term has more than 160 operators, or parts in each other
        a term has more than 160 operators, or parts in each other
        compiles
        a path has more than 100 parts
        a path has more than 100 parts
        a path has more than 100 parts
        a body has more than 1000 statements
        compiles
        compiles
    "#]]
    .assert_eq(&told.collect::<String>());
}
