//! Paths of the API server as questions to a [`Source`].
//!
//! Entry point: [`answer`]. Understood: `/api/v1/…` and `/apis/GROUP/VERSION/…`, lists and single objects, with
//! `labelSelector`. Deliberately absent: `fieldSelector`, subresources and `limit`, which are refused by name.

use std::sync::LazyLock;

use eyot_model::{kinds::split_api_version, selector::LabelSelector};
use regex::Regex;
use serde_json::{Value, json};

use crate::{
    source::{Lookup, Source},
    variables,
};

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    pub(crate) api_version: String,
    pub(crate) plural: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) labels: Option<&'a str>,
}

impl Question<'_> {
    /// Whether nothing is asked for but what is in a namespace, or the namespace itself.
    pub(crate) fn is_within(&self, namespace: &str) -> bool {
        let is_itself = (self.api_version.as_str(), self.plural, self.name) == ("v1", "namespaces", namespace);
        is_itself || self.namespace == namespace
    }
}

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{\{(?:\{[^{}]*\}|[^{}])*\}\}").expect("the expression is correct"));

/// A path as a policy writes it, with `*` where variables stand.
pub(crate) fn starred(written: &str) -> String {
    let mut path = written.to_owned();
    // From the inside out.
    while VARIABLE.is_match(&path) {
        path = VARIABLE.replace_all(&path, "*").into_owned();
    }
    path
}

/// What a path with [stars](starred) asks for, where its resource is certain; a namespace or name may be a star.
pub(crate) fn certain(starred: &str) -> Option<Question<'_>> {
    let is_certain = |it: &Question<'_>| !it.api_version.contains('*') && !it.plural.contains('*');
    parse(starred).ok().filter(|it| variables::is_plain(starred) && is_certain(it))
}

/// Whether a path asks for nothing but what was written, whatever its variables came to: who wrote it was asked about that.
pub(crate) fn keeps_to(written: &str, path: &str) -> bool {
    let starred = starred(written);
    // Whoever may write such a path may read everything.
    let Some(meant) = certain(&starred) else { return true };
    parse(path).is_ok_and(|it| {
        (it.api_version == meant.api_version && it.plural == meant.plural)
            && it.name.is_empty() == meant.name.is_empty()
            && it.namespace.is_empty() == meant.namespace.is_empty()
            && (meant.namespace.contains('*') || it.namespace == meant.namespace)
    })
}

/// Reads a path.
pub(crate) fn parse(path: &str) -> Result<Question<'_>, String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    let (api_version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return Err(format!("{path} is no path of resources")),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name) = match rest {
        [plural] => (*plural, ""),
        [plural, name] => (*plural, *name),
        _ => return Err(format!("{path}: subresources are not read from policies")),
    };
    let mut labels = None;
    for (key, value) in query.split('&').filter(|it| !it.is_empty()).map(|it| it.split_once('=').unwrap_or((it, ""))) {
        match key {
            "labelSelector" => labels = Some(value),
            other => return Err(format!("{path}: the parameter {other} is not read from policies")),
        }
    }
    Ok(Question { api_version, plural, namespace, name, labels })
}

/// Answers a path from a source.
pub fn answer(path: &str, source: &(impl Source + ?Sized)) -> Lookup {
    let question = match parse(path) {
        Ok(it) => it,
        Err(why) => return Lookup::Failed(why),
    };
    let (group, version) = split_api_version(&question.api_version);
    let Some(kind) = source.kind_of(group, version, question.plural) else {
        return Lookup::Failed(format!("{path}: the server has no such resource"));
    };
    if !question.namespace.is_empty() && !source.is_namespaced(&question.api_version, &kind) {
        return Lookup::Failed(format!("{path}: the server has no such resource in a namespace"));
    }
    if !question.name.is_empty() {
        return match source.get(&question.api_version, &kind, question.namespace, question.name) {
            Ok(Some(it)) => Lookup::Found(Value::clone(&it)),
            Ok(None) => Lookup::Failed(format!("{} \"{}\" not found", question.plural, question.name)),
            Err(why) => Lookup::Failed(why),
        };
    }
    let labels = match question.labels.map(|it| LabelSelector::parse(&decoded(it))).transpose() {
        Ok(it) => it,
        Err(why) => return Lookup::Failed(why.to_string()),
    };
    let all = match source.list(&question.api_version, &kind, question.namespace) {
        Ok(all) => all,
        Err(why) => return Lookup::Failed(why),
    };
    let all = all.into_iter().filter(|it| labels.as_ref().is_none_or(|labels| labels.matches_object(it)));
    let items: Vec<Value> = all.map(|it| Value::clone(&it)).collect();
    Lookup::Found(json!({
        "apiVersion": question.api_version,
        "kind": format!("{kind}List"),
        "metadata": {},
        "items": items,
    }))
}

/// Text without percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_resource() {
        let found = parse("/apis/apps/v1/namespaces/a/deployments/b").unwrap();
        assert_eq!(
            (found.api_version.as_str(), found.plural, found.namespace, found.name),
            ("apps/v1", "deployments", "a", "b")
        );
        let found = parse("/api/v1/namespaces/a").unwrap();
        assert_eq!((found.plural, found.namespace, found.name), ("namespaces", "", "a"));
        assert_eq!(parse("/api/v1/pods?labelSelector=a%3Db").unwrap().labels, Some("a%3Db"));
        for (path, is_within) in [
            ("/api/v1/namespaces/a/pods", true),
            ("/api/v1/namespaces/a", true),
            ("/api/v1/namespaces/b/pods", false),
            ("/api/v1/namespaces/a/../b/pods", false),
            ("/api/v1/pods", false),
            ("/api/v1/secrets?labelSelector=x!=/namespaces/a/", false),
        ] {
            assert_eq!(parse(path).is_ok_and(|it| it.is_within("a")), is_within, "{path}");
        }
        let nodes = answer("/api/v1/namespaces/a/nodes/n", &crate::source::Fixed::default());
        assert!(matches!(nodes, Lookup::Failed(why) if why.contains("no such resource in a namespace")));
        assert!(parse("/healthz").is_err() && parse("/api/v1/pods?limit=1").is_err());
        assert_eq!(decoded("a%3Db%"), "a=b%");
    }

    #[test]
    fn variables_do_not_lead_a_path_elsewhere() {
        let written = "/api/v1/namespaces/{{ request.namespace }}/configmaps/{{ to_lower('{{ a }}') }}";
        assert_eq!(starred(written), "/api/v1/namespaces/*/configmaps/*");
        for (path, keeps) in [
            ("/api/v1/namespaces/a/configmaps/b", true),
            ("/api/v1/namespaces/kube-system/secrets/s?labelSelector=/configmaps/b", false),
            ("/api/v1/namespaces/a/configmaps/", false),
            ("/api/v1/namespaces//configmaps/b", false),
        ] {
            assert_eq!(keeps_to(written, path), keeps, "{path}");
        }
        assert!(!keeps_to("/api/v1/namespaces/a/pods?labelSelector={{ x }}", "/api/v1/namespaces/b/pods"));
        assert!(keeps_to(
            "/api/v1/namespaces/a/pods?labelSelector={{ x }}",
            "/api/v1/namespaces/a/pods?labelSelector=y"
        ));
        assert!(certain("/api/v1/*").is_none() && certain("*").is_none(), "who writes this may read everything");
    }
}
