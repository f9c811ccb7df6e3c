use std::{rc::Rc, sync::Arc};

use eyot_rules::{Budget, Environment, Value as Cel};
use eyot_vap::Expression;
use serde_json::json;

use super::{Host, LIBRARY};
use crate::{celpolicy::VALIDATING, jmespath::Env, source::Fixed};

fn run(text: &str, namespace: &str) -> Result<Cel, String> {
    let map = |namespace: &str, name: &str, labels: serde_json::Value| {
        Arc::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": name, "labels": labels}, "data": {"k": name}}))
    };
    let objects = vec![map("n", "a", json!({"x": "1"})), map("n", "b", json!({})), map("m", "c", json!({"x": "1"}))];
    let globals = [("entry".to_owned(), json!({"items": [1, 2]}))].into();
    let source = Box::new(Fixed { objects, globals, ..Fixed::default() });
    let env = Env::new("2024-05-06T07:08:09Z".parse().unwrap(), 7);
    let host = Rc::new(Host::new(source, env, namespace));
    let object = Arc::new(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"image": "nginx"}]}}));
    let environment = Environment::new().with("object", object).with_host(host);
    Expression::compile(text, &VALIDATING).run(&environment, &mut Budget::new(Budget::WRITE))
}

fn check(text: &str) {
    assert_eq!(run(text, ""), Ok(Cel::Bool(true)), "{text}");
}

#[test]
fn images_are_read_as_registries_read_them() {
    check("image('nginx').registry() == 'index.docker.io' && image('nginx').repository() == 'library/nginx'");
    check("image('docker.io/a/b:1').repository() == 'a/b' && image('docker.io/a/b:1').tag() == '1'");
    check(
        "image('localhost:5000/aa').registry() == 'localhost:5000' && image('localhost:5000/aa').identifier() == 'latest'",
    );
    check(
        "parseImageReference('a.io/bb@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').containsDigest()",
    );
    check("!image('a.io/bb').containsDigest() && image('a.io/bb').digest() == ''");
    check("isImage('a/b:c') && !isImage('A B') && !isImage('a:') && !isImage('aa@sha256:00')");
    check("object.spec.containers.all(c, image(c.image).tag() == 'latest')");
}

#[test]
fn resources_are_looked_up_where_the_policy_may() {
    check(
        "resource.Get('v1', 'configmaps', 'n', 'a').data.k == 'a' && resource.get('v1', 'configmaps', 'n', 'z') == null",
    );
    check(
        "resource.List('v1', 'configmaps', '').items.size() == 3 && resource.List('v1', 'configmaps', 'm').items[0].data.k == 'c'",
    );
    check("resource.List('v1', 'configmaps', '', {'x': '1'}).items.map(i, i.metadata.name) == ['a', 'c']");
    check("resource.List(resource.ToGVR('v1', 'ConfigMap'), 'n').items.size() == 2");
    check("globalContext.Get('entry', 'items[1]') == 2 && globalContext.Get('entry', 'items') == [1, 2]");
    assert_eq!(run("resource.Get('v1', 'configmaps', 'a').data.k", "n"), Ok(Cel::from("a")));
    assert!(run("resource.Get('v1', 'configmaps', 'm', 'c')", "n").unwrap_err().contains("with a namespace"));
    assert!(run("resource.Get('v1', 'nodes', 'a')", "n").unwrap_err().contains("cannot read nodes, which lie in none"));
    assert!(run("resource.List('v1', 'nodes')", "n").unwrap_err().contains("cannot read nodes, which lie in none"));
    assert!(run("resource.Get('x.io/v1', 'things', 'n', 'a')", "").unwrap_err().contains("no resource \"things\""));
    assert!(run("globalContext.Get('gone', '')", "").unwrap_err().contains("gone"));
}

#[test]
fn values_are_made_of_values() {
    check("sha1('a') == '86f7e437faa5a7fce15d1ddcb9eaeaea377667b8' && hash.sha1('a') == sha1('a')");
    check("md5('a') == '0cc175b9c0f1b6a831c399e269772661' && hash.sha256('').startsWith('e3b0c44298fc')");
    check("json.unmarshal('{\"a\": [1]}').a[0] == 1 && json.marshal({'a': [1, 'b']}) == '{\"a\":[1,\"b\"]}'");
    check("yaml.parse('a: {b: [1, 2]}').a.b == [1, 2]");
    check("random('[a-c]{4}').matches('^[a-c]{4}$') && random().size() == 8 && random.random('x') == 'x'");
    check("listObjToMap([{'k': 'a'}], [{'v': 1}], 'k', 'v') == {'a': 1}");
    check(
        "parseServiceAccount('system:serviceaccount:n:s').Name == 's' && user.parseServiceAccount('eve').Namespace == ''",
    );
    check("time.now() == timestamp('2024-05-06T07:08:09Z') && time.toCron(time.now()) == '8 7 6 5 1'");
    check("time.truncate(time.now(), duration('1h')) == timestamp('2024-05-06T07:00:00Z')");
    check("time.now() - duration('1h') < time.now()");
    check(
        r"regex.replace('docker.io/a', '^docker\\.io/(.*)', 'x.io/\\1') == 'x.io/a' && regex.replace('aaa', 'a', 'b', 2) == 'bba'",
    );
    check("regex.extract('k=v', '=(.*)').value() == 'v' && regex.extractAll('a1b2', '[0-9]') == ['1', '2']");
    // As in Go, digits are those of ASCII.
    check(r"!regex.extract('٣', '\\d').hasValue() && regex.extract('3', '\\d').value() == '3'");
    assert!(run("regex.replace('a', '(a', '')", "").unwrap_err().contains("given regex is invalid"));
    check("math.round(1.256, 2) == 1.26 && math.round(1.5) == 2.0");
    check("[1].orValue([2]) == [1] && object.?gone.orValue(3) == 3 && object.metadata.?name.orValue('') == 'p'");
}

#[test]
fn what_lies_elsewhere_is_refused_by_name() {
    for (text, why) in [
        ("http.Get('https://a.io')", "'http.Get' is not available: services elsewhere"),
        ("image.GetMetadata('a').config", "'image.GetMetadata' is not available: registries"),
        ("gzip.compress('a')", "'gzip.compress' is not available"),
        ("resource.Delete('a')", "undeclared reference"),
    ] {
        let expression = Expression::compile(text, &VALIDATING);
        assert!(expression.flaw().is_some_and(|it| it.contains(why)), "{text}: {:?}", expression.flaw());
    }
    assert!(Expression::compile("object.image.exists(image, image.startsWith('a'))", &VALIDATING).flaw().is_none());
    // Kubernetes' own policies have none of it.
    assert!(eyot_rules::Program::compile("image('a')", &[]).is_err());
}

#[test]
fn every_function_of_the_library_is_there() {
    for name in LIBRARY.functions.split_whitespace() {
        let error = run(&format!("{name}()"), "").err().unwrap_or_default();
        assert!(!error.contains("ndeclared reference"), "{name}: {error}");
    }
}
