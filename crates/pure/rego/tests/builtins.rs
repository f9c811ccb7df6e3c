//! Built-in functions beyond the everyday ones, and syntax that came late: each line is a query and what it gives.

use expect_test::{Expect, expect};
use eyot_rego::{Dialect, Program, Request};

/// Evaluates queries one by one: the value of the last expression, `undefined`, or the fault.
#[track_caller]
fn check(queries: &[&str], want: Expect) {
    let program = Program::compile(&[]).expect("nothing compiles");
    let lines = queries.iter().map(|text| {
        let query = match program.query(text, Dialect::V1) {
            Ok(query) => query,
            Err(flaws) => return flaws[0].message.clone(),
        };
        let request = Request::new(None, 1_700_000_000_000_000_000);
        match program.eval(&query, &request) {
            Ok(outcome) => match outcome.results.last().and_then(|it| it.expressions.last().cloned()) {
                Some((_, value, _)) => value.to_string(),
                None => "undefined".to_owned(),
            },
            Err(fault) => fault.to_string(),
        }
    });
    want.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn tokens_are_signed_decoded_and_verified() {
    check(
        &[
            r#"io.jwt.encode_sign({"alg": "HS256"}, {"iss": "me", "exp": 2e9}, {"kty": "oct", "k": "c2VjcmV0"})"#,
            r#"t := io.jwt.encode_sign({"alg": "HS256"}, {"iss": "me"}, {"kty": "oct", "k": "c2VjcmV0"}); io.jwt.verify_hs256(t, "secret")"#,
            r#"t := io.jwt.encode_sign({"alg": "HS256"}, {"iss": "me"}, {"kty": "oct", "k": "c2VjcmV0"}); io.jwt.verify_hs256(t, "other")"#,
            r#"t := io.jwt.encode_sign({"alg": "HS256"}, {"iss": "me"}, {"kty": "oct", "k": "c2VjcmV0"}); io.jwt.decode_verify(t, {"secret": "secret", "iss": "me"})"#,
            r#"t := io.jwt.encode_sign({"alg": "HS256"}, {"exp": 1}, {"kty": "oct", "k": "c2VjcmV0"}); io.jwt.decode_verify(t, {"secret": "secret"})[0]"#,
            r#"t := io.jwt.encode_sign({"alg": "HS256"}, {"aud": ["a", "b"]}, {"kty": "oct", "k": "c2VjcmV0"}); [io.jwt.decode_verify(t, {"secret": "secret", "aud": x})[0] | some x in ["b", "c"]]"#,
            r#"io.jwt.decode("nonsense")"#,
        ],
        expect![[r#"
            "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjIwMDAwMDAwMDAsImlzcyI6Im1lIn0.ARdZCvLeOk4YLs8Vo0QRQkuYXmaQu8QG1FL0rpP7rU4"
            true
            false
            [true, {"alg": "HS256"}, {"iss": "me"}]
            false
            [true, false]
            undefined"#]],
    );
}

#[test]
fn networks_graphs_patches_and_hashes() {
    check(
        &[
            r#"net.cidr_merge(["10.0.0.0/25", "10.0.0.128/25", "10.0.2.0/24"])"#,
            r#"net.cidr_contains_matches({"a": "10.0.0.0/8"}, ["10.1.1.1", "11.1.1.1"])"#,
            r#"net.cidr_expand("10.0.0.0/30")"#,
            r#"graph.reachable({"a": ["b"], "b": ["c"], "c": []}, {"a"})"#,
            r#"graph.reachable_paths({"a": ["b", "c"], "b": [], "c": ["a"]}, ["a"])"#,
            r#"json.patch({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "a/0"}])"#,
            r#"json.patch({"a": {1}}, [{"op": "add", "path": ["a", 2], "value": 2}])"#,
            r#"json.filter({"a": [{"b": 7, "c": 8}, {"d": 9}], "e": {"f": 1}}, {"a/0/b", "a/1", "e/g"})"#,
            r#"json.filter({"a": {"b": 1, "c": 2}, "d": 3, "s": {1, 2}}, ["a/b", "a", "d/x", ["s", 2], "gone"])"#,
            r#"json.match_schema({"a": 1}, {"type": "object", "properties": {"a": {"type": "string"}}})[0]"#,
            r#"json.verify_schema({"types": 1})[1]"#,
            r#"crypto.md5("a")"#,
            r#"crypto.hmac.sha256("a", "b")"#,
            r#"regex.globs_match("a.[0-9]+", "ab[5-7]*x")"#,
            r#"regex.globs_match("a.[0-9]+", "ab[5-7]*")"#,
        ],
        expect![[r#"
            {"10.0.0.0/24", "10.0.2.0/24"}
            {["a", 0]}
            {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}
            {"a", "b", "c"}
            {["a", "b"], ["a", "c"]}
            {"a": [2]}
            {"a": {1, 2}}
            {"a": [{"b": 7}, {"d": 9}], "e": {}}
            {"a": {"b": 1, "c": 2}, "d": 3, "s": {2}}
            false
            "jsonschema: keyword \"types\" is not supported"
            "0cc175b9c0f1b6a831c399e269772661"
            "cb448b440c42ac8ad084fc8a8795c98f5b7802359c305eabd57ecdb20e248896"
            false
            true"#]],
    );
}

#[test]
fn expressions_in_schemas_are_bounded_checked_and_paid_for() {
    check(
        &[
            r#"json.match_schema({"a1": "x"}, {"patternProperties": {"^a[0-9]$": {"type": "string"}}, "additionalProperties": false})[0]"#,
            r#"json.match_schema({"a1": 1}, {"patternProperties": {"^a[0-9]$": {"type": "string"}}})[0]"#,
            r#"json.match_schema({"a": "x1"}, {"properties": {"a": {"pattern": "^x[0-9]$"}}})[0]"#,
            r#"json.match_schema({"a": "y1"}, {"properties": {"a": {"pattern": "^x[0-9]$"}}})[1][0].desc"#,
            r#"json.match_schema({"a": 1}, {"patternProperties": {"(": {"type": "string"}}})"#,
            r#"json.verify_schema({"patternProperties": {"(": {}}})[0]"#,
            r#"json.verify_schema({"pattern": "((a{100}){100}){100}"})[0]"#,
            r#"json.match_schema(numbers.range(1, 5000), {"uniqueItems": true})"#,
            r#"json.match_schema([1, 2, 1.0], {"uniqueItems": true})[0]"#,
            r#"[regex.match(p, s) | some [p, s] in [["^\\w$", "é"], ["^[\\d]$", "١"], ["^{a}$", "{a}"], ["^\\Qa.\\E$", "a."]]]"#,
        ],
        expect![[r#"
            true
            false
            true
            "Does not match pattern '^x[0-9]$'"
            undefined
            false
            false
            query:1:1: evaluation stopped after 5000000 steps
            false
            [false, false, true, true]"#]],
    );
}

#[test]
fn each_expression_of_a_schema_is_paid_for() {
    let text =
        r#"[x | some n in numbers.range(1, 100); x := json.verify_schema({"pattern": sprintf("(a{%d}){300}", [n])})]"#;
    let program = Program::compile(&[]).expect("nothing compiles");
    let query = program.query(text, Dialect::V1).expect("it compiles");
    let mut request = Request::new(None, 0);
    request.bounds.steps = 100_000;
    let error = program.eval(&query, &request).expect_err("a hundred of them are more").to_string();
    assert!(error.contains("stopped after 100000 steps"), "{error}");
}

#[test]
fn what_goes_through_long_texts_again_and_again_is_paid_for() {
    check(
        &[
            r#"indexof_n("aäaäa", "a")"#,
            r#"indexof_n("äääb", "ää")"#,
            r#"indexof_n("abc", "d")"#,
            r#"[trim("äxä", "ä"), trim_left("--a-", "-"), trim_right("-a--", "-")]"#,
            r#"long := concat("", [x | numbers.range(1, 200000)[_]; x := "aaaaaaaa"]); count(indexof_n(long, long))"#,
            r#"long := concat("", [x | numbers.range(1, 200000)[_]; x := "aaaaaaaa"]); indexof_n(long, substring(long, 0, 800000))"#,
            r#"long := concat("", [x | numbers.range(1, 200000)[_]; x := "aaaaaaaa"]); every n in numbers.range(1, 100000) { not contains(long, sprintf("b%d", [n])) }"#,
        ],
        expect![[r#"
            [0, 2, 4]
            [0, 1]
            []
            ["x", "a-", "-a"]
            1
            query:1:73: evaluation stopped after 5000000 steps
            query:1:115: evaluation stopped after 5000000 steps"#]],
    );
}

#[test]
fn times_are_moved_compared_and_written() {
    check(
        &[
            r#"time.format([0, "Europe/Berlin", "Mon, 02 Jan 2006 15:04"])"#,
            r#"time.parse_ns("2006-01-02", "1970-01-02")"#,
            r#"time.format(time.add_date(time.parse_ns("2006-01-02", "2024-01-31"), 0, 1, 0))"#,
            r#"time.diff(time.parse_ns("2006-01-02", "2024-02-02"), time.parse_ns("2006-01-02", "2024-03-01"))"#,
            r#"time.parse_ns("2006-01-02", "tomorrow")"#,
        ],
        expect![[r#"
            "Thu, 01 Jan 1970 01:00"
            86400000000000
            "2024-03-02T00:00:00Z"
            [0, 0, 28, 0, 0, 0]
            undefined"#]],
    );
}

#[test]
fn template_strings_show_what_is_undefined() {
    check(
        &[
            r#"x := 1; $"{x} and {x + 1} and \{x} and {input.y}""#,
            "$`{[a | some a in [1, \"{\"]]}\n{$\"{1}\"}`",
            r#"$"{some x in [1]}""#,
            r#"$"{1""#,
        ],
        expect![[r#"
            "1 and 2 and {x} and <undefined>"
            "[1, \"{\"]\n1"
            a template expression must be a term
            non-terminated string"#]],
    );
}

#[test]
fn what_reaches_the_network_stops_the_evaluation_instead_of_being_undefined() {
    check(
        &[
            r#"http.send({"method": "get", "url": "http://x"})"#,
            r#"not http.send({"method": "get", "url": "http://x"})"#,
            r#"http.send({"url": "x"}).body with http.send as {"body": 1}"#,
            r#"net.lookup_ip_addr("10.0.0.1")"#,
            r#"net.lookup_ip_addr("example.com")"#,
        ],
        expect![[r#"
            query:1:1: eval_builtin_error: http.send is not available: policies here reach no network
            query:1:5: eval_builtin_error: http.send is not available: policies here reach no network
            1
            {"10.0.0.1"}
            query:1:1: eval_builtin_error: net.lookup_ip_addr is not available for names: policies here reach no network"#]],
    );
}

#[test]
fn keywords_are_names_where_a_field_follows_and_sets_lie_inside_of_objects() {
    let module = "package p\n\nif.not := 1\n\nteams[team] contains name if {\n  some name, team in {\"ann\": \"a\", \"bob\": \"b\", \"cid\": \"a\"}\n}\n\nteams.b contains \"dan\"\n";
    let source = eyot_rego::Source { name: "p.rego".into(), text: module.into(), dialect: Dialect::V1 };
    let program = Program::compile(&[source]).expect("it compiles");
    let value = program.value("data.p", &Request::new(None, 0)).expect("it ends").expect("it is defined");
    expect![[r#"{"if": {"not": 1}, "teams": {"a": {"ann", "cid"}, "b": {"bob", "dan"}}}"#]]
        .assert_eq(&value.to_string());
}
