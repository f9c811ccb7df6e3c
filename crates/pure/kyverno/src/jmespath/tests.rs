use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn input() -> Value {
    json!({
        "a": {"b": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}, {"n": 3}]},
        "labels": {"app.kubernetes.io/name": "web", "z": "1"},
        "list": [3, 1, 2],
        "words": ["b", "a"],
        "nothing": null,
        "text": "Hello, World",
    })
}

fn evaluate(text: &str) -> String {
    let env = Env::new("2024-05-06T07:08:09Z".parse().unwrap(), 7);
    let (expression, input) = match Expression::compile(text) {
        Ok(it) => (it, input()),
        Err(why) => return format!("syntax: {why}"),
    };
    let found = expression.search(&input, &env);
    found.map_or_else(|why| format!("error: {why}"), |it| it.to_string())
}

fn check(texts: &[&str], expected: Expect) {
    let lines: Vec<String> = texts.iter().map(|it| format!("{it}  =>  {}\n", evaluate(it))).collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn paths_and_projections() {
    check(
        &[
            "a.b[0].n",
            "a.b[-1].n",
            "a.b[].n",
            "a.b[*].t",
            "a.b[?n > `1`].n",
            "a.b[?t == 'y'] | [0].n",
            "a.b[1:].n",
            "list[::-1]",
            "labels.\"app.kubernetes.io/name\"",
            "labels.*",
            "a.{first: b[0].n, all: b[].n}",
            "[text, nothing]",
            "a.b[].[n, t]",
            "@.list[0]",
            "list[9]",
            "text.x",
            "{a: 'b' c: 'd'}",
        ],
        expect![[r#"
            a.b[0].n  =>  1
            a.b[-1].n  =>  3
            a.b[].n  =>  [1,2,3]
            a.b[*].t  =>  ["x","y"]
            a.b[?n > `1`].n  =>  [2,3]
            a.b[?t == 'y'] | [0].n  =>  2
            a.b[1:].n  =>  [2,3]
            list[::-1]  =>  [2,1,3]
            labels."app.kubernetes.io/name"  =>  "web"
            labels.*  =>  ["web","1"]
            a.{first: b[0].n, all: b[].n}  =>  {"all":[1,2,3],"first":1}
            [text, nothing]  =>  ["Hello, World",null]
            a.b[].[n, t]  =>  [[1,"x"],[2,"y"],[3,null]]
            @.list[0]  =>  3
            list[9]  =>  null
            text.x  =>  null
            {a: 'b' c: 'd'}  =>  {"a":"b","c":"d"}
        "#]],
    );
}

#[test]
fn a_missing_field_is_an_error_unless_something_forgives_it() {
    check(
        &[
            "missing",
            "a.missing.deeper",
            "nothing.deeper",
            "missing || 'default'",
            "missing.deeper || `[]`",
            "missing && 'never'",
            "!missing",
            "missing == `null`",
            "length(missing || '')",
            "not_null(missing, 'other')",
            "missing | @",
            "[missing]",
        ],
        expect![[r#"
            missing  =>  error: Unknown key "missing" in path
            a.missing.deeper  =>  error: Unknown key "missing" in path
            nothing.deeper  =>  null
            missing || 'default'  =>  "default"
            missing.deeper || `[]`  =>  []
            missing && 'never'  =>  null
            !missing  =>  true
            missing == `null`  =>  true
            length(missing || '')  =>  0
            not_null(missing, 'other')  =>  "other"
            missing | @  =>  null
            [missing]  =>  [null]
        "#]],
    );
}

#[test]
fn functions_of_kyverno() {
    check(
        &[
            "compare('a', 'b')",
            "equal_fold('Go', 'GO')",
            "replace('aaa', 'a', 'b', `2`)",
            "replace_all(text, 'l', 'L')",
            "to_upper('a')",
            "trim('¡¡hi!', '!¡')",
            "trim_prefix('v1.2', 'v')",
            "split('a/b', '/')",
            "regex_match('^[0-9]+$', `12`)",
            r"regex_match('^\w+$', 'münchen')",
            "regex_replace_all('a(x*)b', '-ab-axxb-', 'T${1}S')",
            "regex_replace_all_literal('a(x*)b', '-ab-', '${1}')",
            "pattern_match('nginx:*', 'nginx:1')",
            "label_match({z: '1'}, labels)",
            "to_boolean('True')",
            "to_boolean('maybe')",
            "add('1Gi', '1Mi')",
            "add('1h', '30s')",
            "sum([`1`, `2`, `3`])",
            "subtract('10Ki', '2Ki')",
            "multiply('1Gi', `2`)",
            "multiply('1h', `0.5`)",
            "divide('10', '4')",
            "divide('1Gi', `2`)",
            "divide(`1`, `0`)",
            "modulo(`7`, `4`)",
            "modulo('1h', '7s')",
            "round(`3.14159`, `2`)",
            "base64_encode('hi')",
            "base64_decode('aGk=')",
            "path_canonicalize('/a/../b//c/.')",
            "truncate(text, `5`)",
            "semver_compare('1.2.3', '<1.2.4')",
            "parse_json('{\"a\": 1}')",
            "parse_yaml('[a, b]')",
            "items(labels, 'k', 'v')",
            "object_from_lists(words, list)",
            "lookup(labels, 'z')",
            "lookup(list, `1`)",
            "sha256('a')",
            "sha1('abc')",
            "md5('abc')",
            "image_normalize('nginx')",
            "is_external_url('http://10.0.0.1/x')",
            "is_external_url('https://8.8.8.8')",
            "is_external_url('https://example.com')",
            "regex_match('^[a-f]{8}$', random('[a-f]{8}'))",
        ],
        expect![[r#"
            compare('a', 'b')  =>  -1
            equal_fold('Go', 'GO')  =>  true
            replace('aaa', 'a', 'b', `2`)  =>  "bba"
            replace_all(text, 'l', 'L')  =>  "HeLLo, WorLd"
            to_upper('a')  =>  "A"
            trim('¡¡hi!', '!¡')  =>  "hi"
            trim_prefix('v1.2', 'v')  =>  "1.2"
            split('a/b', '/')  =>  ["a","b"]
            regex_match('^[0-9]+$', `12`)  =>  true
            regex_match('^\w+$', 'münchen')  =>  false
            regex_replace_all('a(x*)b', '-ab-axxb-', 'T${1}S')  =>  "-TS-TxxS-"
            regex_replace_all_literal('a(x*)b', '-ab-', '${1}')  =>  "-${1}-"
            pattern_match('nginx:*', 'nginx:1')  =>  true
            label_match({z: '1'}, labels)  =>  true
            to_boolean('True')  =>  true
            to_boolean('maybe')  =>  error: JMESPath function 'to_boolean': lowercase argument must be 'true' or 'false' (provided: 'maybe')
            add('1Gi', '1Mi')  =>  "1025Mi"
            add('1h', '30s')  =>  "1h0m30s"
            sum([`1`, `2`, `3`])  =>  6
            subtract('10Ki', '2Ki')  =>  "8Ki"
            multiply('1Gi', `2`)  =>  "2Gi"
            multiply('1h', `0.5`)  =>  "30m0s"
            divide('10', '4')  =>  2.5
            divide('1Gi', `2`)  =>  "512Mi"
            divide(`1`, `0`)  =>  error: JMESPath function 'divide': Zero divisor passed
            modulo(`7`, `4`)  =>  3
            modulo('1h', '7s')  =>  "2s"
            round(`3.14159`, `2`)  =>  3.14
            base64_encode('hi')  =>  "aGk="
            base64_decode('aGk=')  =>  "hi"
            path_canonicalize('/a/../b//c/.')  =>  "/b/c"
            truncate(text, `5`)  =>  "Hello"
            semver_compare('1.2.3', '<1.2.4')  =>  true
            parse_json('{"a": 1}')  =>  {"a":1}
            parse_yaml('[a, b]')  =>  ["a","b"]
            items(labels, 'k', 'v')  =>  [{"k":"app.kubernetes.io/name","v":"web"},{"k":"z","v":"1"}]
            object_from_lists(words, list)  =>  {"a":1,"b":3}
            lookup(labels, 'z')  =>  "1"
            lookup(list, `1`)  =>  1
            sha256('a')  =>  "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
            sha1('abc')  =>  "a9993e364706816aba3e25717850c26c9cd0d89d"
            md5('abc')  =>  "900150983cd24fb0d6963f7d28e17f72"
            image_normalize('nginx')  =>  "docker.io/nginx:latest"
            is_external_url('http://10.0.0.1/x')  =>  false
            is_external_url('https://8.8.8.8')  =>  true
            is_external_url('https://example.com')  =>  error: JMESPath function 'is_external_url': "example.com" is no address, and names are not looked up here
            regex_match('^[a-f]{8}$', random('[a-f]{8}'))  =>  true
        "#]],
    );
}

#[test]
fn functions_of_time() {
    check(
        &[
            "time_now_utc()",
            "time_since('', '2024-05-06T06:08:09Z', '')",
            "time_add('2024-05-06T07:08:09+02:00', '1h')",
            "time_utc('2024-05-06T07:08:09+02:00')",
            "time_parse('1702691171', '1702691171')",
            "time_parse('Mon, 02 Jan 2006 15:04:05 MST', 'Fri, 22 Jun 2022 17:45:00 UTC')",
            "time_to_cron('2024-05-06T07:08:09Z')",
            "time_diff('2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')",
            "time_before('2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')",
            "time_between('2024-05-06T07:30:00Z', '2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')",
            "time_truncate('2024-05-06T07:08:09Z', '1h')",
            "time_add('never', '1h')",
        ],
        expect![[r#"
            time_now_utc()  =>  "2024-05-06T07:08:09Z"
            time_since('', '2024-05-06T06:08:09Z', '')  =>  "1h0m0s"
            time_add('2024-05-06T07:08:09+02:00', '1h')  =>  "2024-05-06T08:08:09+02:00"
            time_utc('2024-05-06T07:08:09+02:00')  =>  "2024-05-06T05:08:09Z"
            time_parse('1702691171', '1702691171')  =>  "2023-12-16T01:46:11Z"
            time_parse('Mon, 02 Jan 2006 15:04:05 MST', 'Fri, 22 Jun 2022 17:45:00 UTC')  =>  "2022-06-22T17:45:00Z"
            time_to_cron('2024-05-06T07:08:09Z')  =>  "8 7 6 5 1"
            time_diff('2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')  =>  "1h0m0s"
            time_before('2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')  =>  true
            time_between('2024-05-06T07:30:00Z', '2024-05-06T07:08:09Z', '2024-05-06T08:08:09Z')  =>  true
            time_truncate('2024-05-06T07:08:09Z', '1h')  =>  "2024-05-06T07:00:00Z"
            time_add('never', '1h')  =>  error: JMESPath function 'time_add': parsing time "never" as "2006-01-02T15:04:05Z07:00": cannot parse "never"
        "#]],
    );
}

#[test]
fn functions_of_the_standard() {
    check(
        &[
            "sort(list)",
            "sort_by(a.b, &n)[-1].n",
            "max(list)",
            "min_by(a.b, &n).n",
            "join('-', words)",
            "keys(labels)",
            "map(&n, a.b)",
            "merge({a: '1'}, {b: '2'})",
            "contains(text, 'World')",
            "contains(list, `3`)",
            "to_string(list)",
            "to_number('1.5')",
            "type(labels)",
            "reverse(words)",
            "avg(list)",
            "starts_with(text, 'Hell')",
            "length(labels)",
            "sort([`1`, 'a'])",
        ],
        expect![[r#"
            sort(list)  =>  [1,2,3]
            sort_by(a.b, &n)[-1].n  =>  3
            max(list)  =>  3
            min_by(a.b, &n).n  =>  1
            join('-', words)  =>  "b-a"
            keys(labels)  =>  ["app.kubernetes.io/name","z"]
            map(&n, a.b)  =>  [1,2,3]
            merge({a: '1'}, {b: '2'})  =>  {"a":"1","b":"2"}
            contains(text, 'World')  =>  true
            contains(list, `3`)  =>  true
            to_string(list)  =>  "[3,1,2]"
            to_number('1.5')  =>  1.5
            type(labels)  =>  "object"
            reverse(words)  =>  ["a","b"]
            avg(list)  =>  2
            starts_with(text, 'Hell')  =>  true
            length(labels)  =>  2
            sort([`1`, 'a'])  =>  error: JMESPath function 'sort': argument #1 is not of type array of numbers or of strings
        "#]],
    );
}

#[test]
fn nonsense_is_refused_with_its_position() {
    check(
        &["a.", "a[", "'open", "nope(a)", "split('a')", "a b", "[?a", "a =! b", "", "\"q\"(a)"],
        expect![[r#"
            a.  =>  syntax: Incomplete expression at position 2
            a[  =>  syntax: Incomplete expression at position 2
            'open  =>  syntax: Unclosed delimiter: ' at position 0
            nope(a)  =>  syntax: unknown function: nope at position 0
            split('a')  =>  syntax: split takes 2 arguments, not 1 at position 0
            a b  =>  syntax: Unexpected token: "b" at position 2
            [?a  =>  syntax: Expected "]", received: the end at position 3
            a =! b  =>  syntax: Unknown char: '=' at position 2
              =>  syntax: Incomplete expression at position 0
            "q"(a)  =>  syntax: a function's name takes no quotes at position 0
        "#]],
    );
}

#[test]
fn evaluation_is_bounded() {
    assert!(Expression::compile(&"(".repeat(100)).is_err());
    assert!(Expression::compile(&"a.".repeat(1_000)).is_err());
    let env = || Env::new(Timestamp::UNIX_EPOCH, 1);
    let long = "x".repeat(4_096);
    for step in ["[@, @]", "{a: @, b: @}", "[@, @].to_string(@)"] {
        let doubled = format!("'{long}'{}", format!(" | {step}").repeat(40));
        let found = Expression::compile(&doubled).unwrap().search(&Value::Null, &env()).map(|it| it.into_owned());
        assert!(
            matches!(&found, Err(SearchError::Cost))
                || matches!(&found, Err(SearchError::Failed(it)) if it.contains("more than")),
            "{step}: {found:?}"
        );
    }
    // Texts of a request, put together.
    let large = json!({"a": "x".repeat(1 << 20), "b": "$0".repeat(1 << 18), "list": vec![""; 100_000]});
    for text in [
        "replace_all(a, 'x', b)",
        "replace_all(a, '', a)",
        "replace(a, 'x', a, `-1`)",
        "regex_replace_all('x', a, b)",
        "regex_replace_all('x+', a, b)",
        "regex_replace_all_literal('x', a, b)",
        "join(a, list)",
    ] {
        let found = Expression::compile(text).unwrap().search(&large, &env()).map(|it| it.into_owned());
        let told = found.map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("the text would have more than 4194304 bytes"), "{text}: {told}");
    }
}
