//! Checks of Gateway API's kinds: what their published schemas demand.

use std::collections::HashSet;

use super::{
    at::At,
    names::{self, Check},
};
use crate::status::Cause;

pub(super) fn gateway(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let listeners = spec.get("listeners");
    if !listeners.is_absent() && listeners.is_empty() {
        causes.push(listeners.invalid("spec.listeners in body should have at least 1 items"));
    }
    listeners.unique("name", causes);
    let mut seen = HashSet::new();
    for listener in listeners.items() {
        listener.get("name").grammar(names::dns1123_subdomain, causes);
        listener.get("hostname").grammar(names::wildcard_subdomain, causes);
        listener.get("port").port(causes);
        let protocol = listener.get("protocol").text();
        if matches!(protocol, "HTTP" | "TCP" | "UDP") && !listener.get("tls").is_absent() {
            causes.push(listener.get("tls").invalid("tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']"));
        }
        let id = (listener.get("port").number(), protocol, listener.get("hostname").text());
        if !seen.insert(id) {
            causes
                .push(listeners.invalid("Combination of port, protocol and hostname must be unique for each listener"));
        }
        listener.at("allowedRoutes.namespaces.from").one_of(&["All", "None", "Same", "Selector"], causes);
    }
}

pub(super) fn http_route(spec: &At<'_>, causes: &mut Vec<Cause>) {
    route(spec, causes);
    for rule in spec.get("rules").items() {
        for it in rule.get("matches").items() {
            path(&it.get("path"), causes);
            it.get("method").one_of(METHODS, causes);
            header_names(&it.get("headers"), causes);
            it.get("queryParams").items().for_each(|it| it.get("type").one_of(MATCHES, causes));
        }
        filters(&rule.get("filters"), causes);
        backends(&rule.get("backendRefs"), causes);
        for field in ["request", "backendRequest"] {
            rule.get("timeouts").get(field).grammar(duration, causes);
        }
        let redirects = rule.get("filters").items().any(|it| it.get("type").text() == "RequestRedirect");
        if redirects && !rule.get("backendRefs").is_empty() {
            causes.push(rule.invalid("RequestRedirect filter must not be used together with backendRefs"));
        }
    }
}

pub(super) fn grpc_route(spec: &At<'_>, causes: &mut Vec<Cause>) {
    route(spec, causes);
    for rule in spec.get("rules").items() {
        for it in rule.get("matches").items() {
            header_names(&it.get("headers"), causes);
            it.at("method.type").one_of(MATCHES, causes);
        }
        filters(&rule.get("filters"), causes);
        backends(&rule.get("backendRefs"), causes);
    }
}

const MATCHES: &[&str] = &["Exact", "RegularExpression"];
const METHODS: &[&str] = &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
const FILTERS: &[&str] = &[
    "CORS",
    "ExtensionRef",
    "ExternalAuth",
    "RequestHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "ResponseHeaderModifier",
    "URLRewrite",
];

fn route(spec: &At<'_>, causes: &mut Vec<Cause>) {
    for host in spec.get("hostnames").items() {
        host.grammar(names::wildcard_subdomain, causes);
        if host.text().parse::<std::net::IpAddr>().is_ok() {
            causes.push(host.invalid("must be a host name, not an IP address"));
        }
    }
    for parent in spec.get("parentRefs").items() {
        parent.get("port").port(causes);
        parent.get("name").grammar(names::dns1123_subdomain, causes);
    }
}

fn path(path: &At<'_>, causes: &mut Vec<Cause>) {
    let (of_type, value) = (path.get("type"), path.get("value"));
    of_type.one_of(&["Exact", "PathPrefix", "RegularExpression"], causes);
    if of_type.text() == "RegularExpression" || value.is_absent() {
        return;
    }
    if !value.text().starts_with('/') {
        causes.push(
            value.invalid("value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']"),
        );
    }
    let bad = ["//", "/./", "/../", "%2f", "%2F", "#"].into_iter().find(|it| value.text().contains(it));
    if let Some(bad) = bad {
        causes.push(value.invalid(&format!("must not contain '{bad}' when type one of ['Exact', 'PathPrefix']")));
    }
}

fn header_names(headers: &At<'_>, causes: &mut Vec<Cause>) {
    for header in headers.items() {
        header.get("name").grammar(header_name, causes);
        header.get("type").one_of(MATCHES, causes);
    }
}

fn header_name(name: &str) -> Check {
    let ok = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if name.bytes().all(ok) { Ok(()) } else { Err("must be a valid HTTP header name".into()) }
}

fn backends(backends: &At<'_>, causes: &mut Vec<Cause>) {
    const WEIGHT_MAX: i64 = 1_000_000;
    for backend in backends.items() {
        let weight = backend.get("weight");
        if weight.number().is_some_and(|it| !(0..=WEIGHT_MAX).contains(&it)) {
            causes.push(weight.invalid("must be between 0 and 1000000, inclusive"));
        }
        target(&backend, causes);
        filters(&backend.get("filters"), causes);
    }
}

fn target(reference: &At<'_>, causes: &mut Vec<Cause>) {
    reference.get("port").port(causes);
    let service = reference.get("group").text().is_empty() && reference.get("kind").text() == "Service";
    if service && reference.get("port").is_absent() {
        causes.push(reference.invalid("Must have port for Service reference"));
    }
}

fn filters(filters: &At<'_>, causes: &mut Vec<Cause>) {
    for filter in filters.items() {
        let of_type = filter.get("type");
        of_type.one_of(FILTERS, causes);
        let field = match of_type.text() {
            "CORS" => "cors".into(),
            "URLRewrite" => "urlRewrite".into(),
            name => {
                let mut chars = name.chars();
                chars.next().map_or_else(String::new, |it| it.to_lowercase().chain(chars).collect::<String>())
            }
        };
        if FILTERS.contains(&of_type.text()) && filter.get(&field).is_absent() {
            let why = format!("filter.{field} must be specified for {} filter.type", of_type.text());
            causes.push(filter.invalid(&why));
        }
        let redirect = filter.get("requestRedirect");
        redirect.get("scheme").one_of(&["http", "https"], causes);
        redirect.get("port").port(causes);
        let code = redirect.get("statusCode");
        if code.number().is_some_and(|it| ![301, 302, 303, 307, 308].contains(&it)) {
            let all = &["301", "302", "303", "307", "308"];
            causes.push(Cause::not_supported(&code.path, code.value, all));
        }
        if !filter.get("requestMirror").is_absent() {
            target(&filter.at("requestMirror.backendRef"), causes);
        }
    }
}

/// A Gateway API duration: up to four numbers with `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Check {
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        if !(1..=5).contains(&digits) || !["h", "m", "s", "ms"].contains(&&rest[digits..digits + unit]) {
            return Err("must match the pattern ^([0-9]{1,5}(h|m|s|ms)){1,4}$".into());
        }
        (parts, rest) = (parts + 1, &rest[digits + unit..]);
    }
    if (1..=4).contains(&parts) { Ok(()) } else { Err("must have one to four parts".into()) }
}
