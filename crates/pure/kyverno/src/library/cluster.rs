//! Looking things up: `resource` and `globalContext`.
//!
//! A policy with a namespace names none in its calls and sees only its own.

use std::sync::Arc;

use eyot_model::kinds::split_api_version;
use eyot_rules::{
    cel::{Context, Value, extractors::Arguments},
    json, to_json,
};
use serde_json::{Map, Value as Json, json as made};

use super::{Host, Made, as_text, asked, fails};
use crate::{jmespath, source::Lookup};

pub(super) fn register(context: &mut Context<'static>) {
    for name in ["resource.Get", "resource.get"] {
        context.add_function(name, |it: Arguments| get(&it.0));
    }
    for name in ["resource.List", "resource.list"] {
        context.add_function(name, |it: Arguments| list(&it.0));
    }
    for name in ["resource.Post", "resource.post"] {
        context.add_function(name, |it: Arguments| post(&it.0));
    }
    for name in ["resource.ToGVR", "resource.toGVR"] {
        context.add_function(name, |it: Arguments| to_resource(&it.0));
    }
    for name in ["globalContext.Get", "globalContext.get"] {
        context.add_function(name, |it: Arguments| global(&it.0));
    }
}

/// A resource and what comes behind it in a call: `apiVersion` and plural, or what `ToGVR` made.
fn resource<'a>(
    function: &str,
    arguments: &'a [Value],
) -> Result<(String, String, &'a [Value]), super::ExecutionError> {
    match arguments {
        [Value::String(api_version), Value::String(plural), rest @ ..] => {
            Ok((api_version.to_string(), plural.to_string(), rest))
        }
        [it @ Value::Map(_), rest @ ..] => {
            let it = to_json(it).unwrap_or_default();
            let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
            Ok((eyot_model::kinds::api_version(&text("group"), &text("version")), text("resource"), rest))
        }
        _ => Err(fails(function, "expected an apiVersion and a resource")),
    }
}

fn kind_of(host: &Host, function: &str, api_version: &str, plural: &str) -> Result<String, super::ExecutionError> {
    let (group, version) = split_api_version(api_version);
    let found = host.source.kind_of(group, version, plural);
    let kind = found.ok_or_else(|| fails(function, format!("no resource {plural:?} is served in {api_version:?}")))?;
    if !host.namespace.is_empty() && !host.source.is_namespaced(api_version, &kind) {
        return Err(fails(function, format!("a policy of a namespace cannot read {plural}, which lie in none")));
    }
    Ok(kind)
}

fn get(arguments: &[Value]) -> Made {
    const NAME: &str = "resource.Get";
    let host = asked(NAME)?;
    let (api_version, plural, rest) = resource(NAME, arguments)?;
    let rest: Vec<&str> = rest.iter().filter_map(as_text).collect();
    let (namespace, name) = match (host.namespace.as_str(), rest.as_slice()) {
        ("", [namespace, name]) => (*namespace, *name),
        (own, [name]) if !own.is_empty() => (own, *name),
        ("", _) => return Err(fails(NAME, "expected apiVersion, resource, namespace and name")),
        _ => return Err(fails(NAME, "in a policy with a namespace: expected apiVersion, resource and name")),
    };
    let kind = kind_of(&host, NAME, &api_version, &plural)?;
    host.note_read([&api_version, &kind, namespace, name]);
    match host.source.get(&api_version, &kind, namespace, name) {
        Ok(found) => Ok(found.map_or(Value::Null, |it| json(&it))),
        Err(why) => Err(fails(NAME, format!("failed to get resource: {why}"))),
    }
}

fn list(arguments: &[Value]) -> Made {
    const NAME: &str = "resource.List";
    let host = asked(NAME)?;
    let (api_version, plural, rest) = resource(NAME, arguments)?;
    let (namespace, labels) = match (host.namespace.as_str(), rest) {
        ("", [Value::String(namespace)]) => (namespace.as_str(), None),
        ("", [Value::String(namespace), labels @ Value::Map(_)]) => (namespace.as_str(), to_json(labels)),
        (own, []) if !own.is_empty() => (own, None),
        (own, [labels @ Value::Map(_)]) if !own.is_empty() => (own, to_json(labels)),
        ("", _) => return Err(fails(NAME, "expected apiVersion, resource, namespace and perhaps labels")),
        _ => return Err(fails(NAME, "in a policy with a namespace: expected apiVersion, resource and perhaps labels")),
    };
    let kind = kind_of(&host, NAME, &api_version, &plural)?;
    host.note_read([&api_version, &kind, namespace, ""]);
    let all = host.source.list(&api_version, &kind, namespace);
    let all = all.map_err(|why| fails(NAME, format!("failed to list resource: {why}")))?;
    let wanted = labels.as_ref().and_then(Json::as_object);
    let fits = |it: &&Arc<Json>| {
        wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| it["metadata"]["labels"].get(key) == Some(value)))
    };
    let items: Vec<Value> = all.iter().filter(fits).map(|it| json(it)).collect();
    let head = made!({"apiVersion": api_version, "kind": format!("{kind}List"), "metadata": {}});
    let head = head.as_object().into_iter().flatten().map(|(key, it)| (key.clone(), json(it)));
    Ok(eyot_rules::map(head.chain([("items".to_owned(), Value::List(Arc::new(items)))])))
}

fn post(arguments: &[Value]) -> Made {
    const NAME: &str = "resource.Post";
    let host = asked(NAME)?;
    let (api_version, plural, rest) = resource(NAME, arguments)?;
    let body = rest.last().and_then(to_json).filter(Json::is_object);
    let body = body.ok_or_else(|| fails(NAME, "expected an object to post"))?;
    match host.source.api_call(&format!("/apis/{api_version}/{plural}"), Some(&body)) {
        Lookup::Found(it) => Ok(json(&it)),
        Lookup::Failed(why) => Err(fails(NAME, format!("failed to create resource: {why}"))),
        Lookup::Off => Err(fails(NAME, "failed to create resource: there is no cluster")),
    }
}

fn to_resource(arguments: &[Value]) -> Made {
    const NAME: &str = "resource.ToGVR";
    let host = asked(NAME)?;
    let [Value::String(api_version), Value::String(kind)] = arguments else {
        return Err(fails(NAME, "expected an apiVersion and a kind"));
    };
    let (group, version) = split_api_version(api_version);
    let plural = host.source.plural_of(group, version, kind);
    let plural = plural.ok_or_else(|| fails(NAME, format!("no kind {kind:?} is served in {api_version:?}")))?;
    Ok(json(&made!({"group": group, "version": version, "resource": plural})))
}

/// `Get(name, projection)`: what a GlobalContextEntry holds, or what a path in it leads to.
fn global(arguments: &[Value]) -> Made {
    const NAME: &str = "globalContext.Get";
    let host = asked(NAME)?;
    let [Value::String(name), Value::String(projection)] = arguments else {
        return Err(fails(NAME, "expected a name and a projection"));
    };
    let content = match host.source.global(name) {
        Lookup::Found(it) => it,
        Lookup::Failed(why) => return Err(fails(NAME, why)),
        Lookup::Off => return Err(fails(NAME, format!("the GlobalContextEntry {name:?} is not there"))),
    };
    if projection.is_empty() {
        return Ok(json(&content));
    }
    if let Some(found) = content.as_object().and_then(|it: &Map<String, Json>| it.get(projection.as_str())) {
        return Ok(json(found));
    }
    let named = host.source.projection(name, projection);
    let path = named.as_deref().unwrap_or(projection);
    let path = jmespath::Expression::compile(path).map_err(|it| fails(NAME, it))?;
    let found = path.search(&content, &host.env).map_err(|it| fails(NAME, it))?;
    Ok(json(&found))
}
