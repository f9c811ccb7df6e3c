//! A Route: the HTTPRoutes that lead to its revisions, and what its status tells.

use serde_json::{Value, json};

use super::{Site, labelled, owned_by, text};
use crate::{Assigned, Conditions, Problem, Told, Truth, label};

/// Header by which a request chooses a tag, whatever the weights say.
const TAG_HEADER: &str = "Knative-Serving-Tag";
/// Longest name of an object.
const NAME_MAX: usize = 253;

/// The HTTPRoutes of a Route: one for all, and one for each tag.
pub fn http_routes(route: &Value, assigned: &[Assigned], site: &Site) -> Vec<Value> {
    let (namespace, name) = (text(route, "/metadata/namespace"), text(route, "/metadata/name"));
    let shares: Vec<&Assigned> = assigned.iter().filter(|it| it.percent.unwrap_or(0) > 0).collect();
    let inside = format!("{name}.{namespace}.svc.cluster.local");
    let hosts = vec![site.host(namespace, name, None), inside];
    let mut main = http_route(route, name.to_owned(), hosts, &shares);
    for it in assigned {
        let Some(tag) = &it.tag else { continue };
        if let Some(rules) = main["spec"]["rules"].as_array_mut() {
            rules.push(by_header(tag, &it.revision));
        }
    }
    let mut made = vec![main];
    for it in assigned {
        let Some(tag) = &it.tag else { continue };
        let whole = Assigned { percent: Some(100), ..it.clone() };
        let mut object = format!("{tag}-{name}");
        object.truncate(NAME_MAX);
        let inside = format!("{tag}-{name}.{namespace}.svc.cluster.local");
        made.push(http_route(route, object, vec![site.host(namespace, name, Some(tag)), inside], &[&whole]));
    }
    made
}

fn http_route(route: &Value, name: String, hosts: Vec<String>, to: &[&Assigned]) -> Value {
    let backends: Vec<Value> = to
        .iter()
        .map(|it| json!({"group": "", "kind": "Service", "name": it.revision, "port": 80, "weight": it.percent.unwrap_or(0)}))
        .collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {
            "name": name, "namespace": route["metadata"]["namespace"],
            "labels": labelled(route, &[(label::ROUTE, text(route, "/metadata/name"))]),
            "ownerReferences": owned_by("Route", route),
        },
        "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "default",
                "namespace": "eyot-system"}],
            "hostnames": hosts,
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": backends,
            }],
        },
    })
}

/// The rule by which a header leads to a tag on the host of all; more specific than the one without.
fn by_header(tag: &str, revision: &str) -> Value {
    json!({
        "matches": [{
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "Exact", "name": TAG_HEADER, "value": tag}],
        }],
        "backendRefs": [{"group": "", "kind": "Service", "name": revision, "port": 80, "weight": 100}],
    })
}

/// What the gateway says of the HTTPRoutes of a Route: the first that is not served yet, if there is one.
fn all_published(http_routes: &[Value]) -> Told {
    let told = if http_routes.is_empty() { &[Value::Null] } else { http_routes };
    told.iter().map(published).find(|it| it.truth != Truth::True).unwrap_or_else(Told::yes)
}

/// What it says of one (null where there is none yet).
fn published(http_route: &Value) -> Told {
    let parents = http_route["status"]["parents"].as_array().map_or(&[][..], Vec::as_slice);
    let generation = &http_route["metadata"]["generation"];
    let Some(parent) = parents.first() else {
        return Told { reason: "IngressNotConfigured".into(), ..Told::unknown() };
    };
    for kind in ["Accepted", "ResolvedRefs"] {
        let told = Told::of(parent, kind);
        let rows = parent["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let seen = rows.iter().filter(|it| it["type"] == kind).all(|it| it["observedGeneration"] == *generation);
        if !seen {
            return Told { reason: "Uninitialized".into(), ..Told::unknown() };
        }
        if told.truth != Truth::True {
            return told;
        }
    }
    Told::yes()
}

/// The status of a Route. What it could not assign leaves what was assigned before in place; `refusal` is why the newest
/// revision gets nothing although it is ready. `http_routes` are those of [`http_routes`] as they are, null for what there is not yet;
/// `now` in RFC 3339.
pub fn status(
    route: &Value,
    assigned: Result<&[Assigned], &Problem>,
    refusal: Option<String>,
    http_routes: &[Value],
    site: &Site,
    now: &str,
) -> Value {
    let (namespace, name) = (text(route, "/metadata/namespace"), text(route, "/metadata/name"));
    let mut conditions = Conditions::new(&route["status"], now);
    let (told, traffic) = match assigned {
        Ok(assigned) => {
            let told = refusal.map_or_else(Told::yes, |it| Told::new(Truth::False, "RolledBack", it));
            (told, shown(namespace, name, assigned, site))
        }
        Err(Problem(told)) => (told.clone(), route["status"]["traffic"].clone()),
    };
    conditions.must("AllTrafficAssigned", told);
    let http = "TLS is not enabled";
    conditions
        .must("CertificateProvisioned", Told { reason: "TLSNotEnabled".into(), message: http.into(), ..Told::yes() });
    conditions.must("IngressReady", all_published(http_routes));
    let mut status = json!({
        "observedGeneration": route["metadata"]["generation"],
        "url": site.url(&site.host(namespace, name, None)),
        "address": {"url": format!("http://{name}.{namespace}.svc.cluster.local")},
        "conditions": conditions.finish(),
    });
    if !traffic.is_null() {
        status["traffic"] = traffic;
    }
    status
}

fn shown(namespace: &str, name: &str, assigned: &[Assigned], site: &Site) -> Value {
    let rows = assigned.iter().map(|it| {
        let mut row = json!({"revisionName": it.revision, "latestRevision": it.is_latest});
        if let Some(percent) = it.percent {
            row["percent"] = percent.into();
        }
        if let Some(tag) = &it.tag {
            row["tag"] = tag.as_str().into();
            row["url"] = site.url(&site.host(namespace, name, Some(tag))).into();
        }
        row
    });
    rows.collect()
}
