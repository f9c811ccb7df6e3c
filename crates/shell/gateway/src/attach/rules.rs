//! Rules of an HTTPRoute, or the name of what in them is not served.

use std::{sync::Arc, time::Duration};

use eyot_route::{
    Action, Backend, HeaderChange, HeaderMatch, Match, Mirror, PathChange, PathMatch, QueryMatch, Redirect, Rewrite,
    Rule, Wanted,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, uri::Scheme};

use super::spec::{
    BackendRef, FilterSpec, HeaderModifier, HeaderSpec, MatchSpec, MirrorSpec, PathChangeSpec, RedirectSpec,
    RewriteSpec, RuleSpec, Timeouts, ValueMatch,
};

/// A rule of the spec as a rule of the table, with `backends` as its destinations. `resolve` finds where copies go, or notes
/// that there is no such place: then there are none. The error names the field.
pub(super) fn rule<B>(
    spec: &RuleSpec,
    route: &Arc<str>,
    backends: Vec<Backend<B>>,
    resolve: &mut dyn FnMut(&BackendRef) -> Option<B>,
) -> Result<Rule<B>, String> {
    let matches = spec.matches.iter().enumerate();
    let matches = matches.map(|(at, it)| one_match(it).map_err(|why| format!("matches[{at}].{why}")));
    let matches: Vec<Match> = matches.collect::<Result<_, _>>()?;
    let mut action = Action::forward(route.clone(), backends);
    for (at, filter) in spec.filters.iter().enumerate() {
        apply_filter(&mut action, filter, resolve).map_err(|why| format!("filters[{at}]: {why}"))?;
    }
    let replaces = |it: &Option<PathChange>| matches!(it, Some(PathChange::Prefix(_)));
    let replaces_prefix = action.redirect.as_ref().is_some_and(|it| replaces(&it.path))
        || action.rewrite.as_ref().is_some_and(|it| replaces(&it.path));
    if replaces_prefix && matches.iter().any(|it| matches!(it.path, PathMatch::Exact(_))) {
        return Err("filters: ReplacePrefixMatch needs matches of type PathPrefix".to_owned());
    }
    if action.redirect.is_some() && action.rewrite.is_some() {
        return Err("filters: URLRewrite and RequestRedirect exclude each other".to_owned());
    }
    for (at, backend) in spec.backend_refs.iter().enumerate() {
        if !backend.filters.is_empty() {
            return Err(format!("backendRefs[{at}].filters are not supported; use the rule's filters"));
        }
    }
    action.timeout = timeout(&spec.timeouts)?;
    Ok(Rule { matches, action: Arc::new(action) })
}

fn one_match(spec: &MatchSpec) -> Result<Match, String> {
    let (type_, value) = match &spec.path {
        Some(path) => (path.type_.as_deref().unwrap_or("PathPrefix"), path.value.as_deref().unwrap_or("/")),
        None => ("PathPrefix", "/"),
    };
    if !value.starts_with('/') {
        return Err(format!("path.value {value:?} does not begin with /"));
    }
    let path = match type_ {
        "Exact" => PathMatch::Exact(value.into()),
        "PathPrefix" => PathMatch::Prefix(value.into()),
        other => return Err(format!("path.type {other} is not supported")),
    };
    let method = match &spec.method {
        Some(method) => Some(method.parse::<Method>().map_err(|_| format!("method {method:?} is no method"))?),
        None => None,
    };
    let headers = spec.headers.iter().map(|it| {
        let (name, _) = header(&it.name, "")?;
        Ok(HeaderMatch { name, value: wanted(it, "headers")? })
    });
    let query = spec.query_params.iter().map(|it| {
        let value = wanted(it, "queryParams")?;
        Ok(QueryMatch { name: it.name.as_str().into(), value })
    });
    Ok(Match {
        path,
        method,
        headers: headers.collect::<Result<_, String>>()?,
        query: query.collect::<Result<_, String>>()?,
    })
}

fn wanted(it: &ValueMatch, field: &str) -> Result<Wanted, String> {
    match it.type_.as_deref() {
        None | Some("Exact") => Ok(Wanted::exact(&it.value)),
        Some("RegularExpression") => {
            Wanted::pattern(&it.value).map_err(|why| format!("{field} {}: value {:?}: {why}", it.name, it.value))
        }
        Some(other) => Err(format!("{field} {}: type {other} is not supported", it.name)),
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let valid = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("header name {name:?} is not valid"))?;
    let value = HeaderValue::from_str(value).map_err(|_| format!("value of header {name} is not valid"))?;
    Ok((valid, value))
}

fn apply_filter<B>(
    action: &mut Action<B>,
    filter: &FilterSpec,
    resolve: &mut dyn FnMut(&BackendRef) -> Option<B>,
) -> Result<(), String> {
    let missing = || format!("{} has no settings", filter.type_);
    let twice = || Err(format!("{} is given twice", filter.type_));
    match filter.type_.as_str() {
        "RequestHeaderModifier" => {
            if !action.request_headers.is_empty() {
                return twice();
            }
            action.request_headers = header_change(filter.request_header_modifier.as_ref().ok_or_else(missing)?)?;
        }
        "ResponseHeaderModifier" => {
            if !action.response_headers.is_empty() {
                return twice();
            }
            action.response_headers = header_change(filter.response_header_modifier.as_ref().ok_or_else(missing)?)?;
        }
        "RequestRedirect" => {
            if action.redirect.is_some() {
                return twice();
            }
            action.redirect = Some(redirect(filter.request_redirect.as_ref().ok_or_else(missing)?)?);
        }
        "URLRewrite" => {
            if action.rewrite.is_some() {
                return twice();
            }
            action.rewrite = Some(rewrite(filter.url_rewrite.as_ref().ok_or_else(missing)?)?);
        }
        // This one may come several times.
        "RequestMirror" => {
            let spec = filter.request_mirror.as_ref().ok_or_else(missing)?;
            let (numerator, denominator) = share(spec)?;
            action.mirrors.extend(resolve(&spec.backend_ref).map(|target| Mirror { denominator, numerator, target }));
        }
        other => return Err(format!("type {other} is not supported")),
    }
    Ok(())
}

/// Of how many requests how many are copied: numerator and denominator.
fn share(spec: &MirrorSpec) -> Result<(u32, u32), String> {
    match (&spec.percent, &spec.fraction) {
        (Some(_), Some(_)) => Err("requestMirror: percent and fraction exclude each other".to_owned()),
        (Some(percent), None) if *percent > 100 => Err(format!("requestMirror.percent {percent} is more than 100")),
        (Some(percent), None) => Ok((*percent, 100)),
        (None, Some(fraction)) => match (fraction.numerator, fraction.denominator.unwrap_or(100)) {
            (_, 0) => Err("requestMirror.fraction.denominator is 0".to_owned()),
            (above, below) if above > below => Err(format!("requestMirror.fraction {above}/{below} is more than 1")),
            share => Ok(share),
        },
        (None, None) => Ok((1, 1)),
    }
}

fn header_change(spec: &HeaderModifier) -> Result<HeaderChange, String> {
    let all = |pairs: &[HeaderSpec]| pairs.iter().map(|it| header(&it.name, &it.value)).collect::<Result<Vec<_>, _>>();
    let remove = spec
        .remove
        .iter()
        .map(|it| HeaderName::from_bytes(it.as_bytes()).map_err(|_| format!("header name {it:?} is not valid")));
    Ok(HeaderChange { set: all(&spec.set)?, add: all(&spec.add)?, remove: remove.collect::<Result<_, _>>()? })
}

fn redirect(spec: &RedirectSpec) -> Result<Redirect, String> {
    let scheme = match spec.scheme.as_deref() {
        None => None,
        Some("http") => Some(Scheme::HTTP),
        Some("https") => Some(Scheme::HTTPS),
        Some(other) => return Err(format!("requestRedirect.scheme {other} is not supported")),
    };
    let status = spec.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        return Err(format!("requestRedirect.statusCode {status} is not supported"));
    }
    Ok(Redirect {
        scheme,
        host: spec.hostname.as_deref().map(host).transpose()?,
        port: spec.port,
        path: spec.path.as_ref().map(path_change).transpose()?,
        status: StatusCode::from_u16(status).map_err(|error| error.to_string())?,
    })
}

fn rewrite(spec: &RewriteSpec) -> Result<Rewrite, String> {
    Ok(Rewrite {
        host: spec.hostname.as_deref().map(host).transpose()?,
        path: spec.path.as_ref().map(path_change).transpose()?,
    })
}

fn host(name: &str) -> Result<Box<str>, String> {
    match eyot_route::HostPattern::parse(name, false) {
        Ok(eyot_route::HostPattern::Exact(name)) => Ok(name),
        Ok(_) => Err(format!("hostname {name:?} must be one name")),
        Err(error) => Err(error.to_string()),
    }
}

fn path_change(spec: &PathChangeSpec) -> Result<PathChange, String> {
    match (spec.type_.as_str(), &spec.replace_full_path, &spec.replace_prefix_match) {
        ("ReplaceFullPath", Some(full), None) => Ok(PathChange::Full(full.as_str().into())),
        ("ReplacePrefixMatch", None, Some(prefix)) => Ok(PathChange::Prefix(prefix.as_str().into())),
        (other, ..) => Err(format!("path of type {other} has not exactly the member that its type names")),
    }
}

/// The time for a request; a timeout of the request to the backend is one of the whole where only one is tried.
fn timeout(spec: &Timeouts) -> Result<Option<Duration>, String> {
    let parse = |text: &Option<String>, field: &str| match text {
        Some(text) => match duration(text) {
            Some(Duration::ZERO) => Ok(None),
            Some(duration) => Ok(Some(duration)),
            None => Err(format!("timeouts.{field} {text:?} is no duration")),
        },
        None => Ok(None),
    };
    let request = parse(&spec.request, "request")?;
    let backend = parse(&spec.backend_request, "backendRequest")?;
    Ok(request.into_iter().chain(backend).min())
}

/// Reads a duration of GEP-2257: up to four numbers of up to five digits, each with `h`, `m`, `s` or `ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        if !(1..=5).contains(&digits) {
            return None;
        }
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|it: char| it.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += match &rest[digits..unit_end] {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        rest = &rest[unit_end..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_specified() {
        for (text, millis) in [
            ("1h", Some(3_600_000)),
            ("30m", Some(1_800_000)),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("10s30m1h", Some(5_410_000)),
            ("1", None),
            ("1.5s", None),
            ("", None),
            ("100000s", None),
            ("1d", None),
            ("1s1s1s1s1s", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
