//! Which objects a constraint or a mutator is about: `spec.match`. Entry points: [`Match::read`] and [`Match::matches`].

use eyot_model::{meta, selector::LabelSelector, status::Cause};
use eyot_policy::glob::affix_matches;
use serde_json::Value;

/// Where an object came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Somebody wrote it.
    Original,
    /// An expansion template made it.
    Generated,
}

/// An object as a match looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) object: &'a Value,
    /// The Namespace it lies in, where that is known.
    pub(crate) namespace: Option<&'a Value>,
    pub(crate) source: Source,
}

/// A compiled `spec.match`. Everything that it names must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Match {
    /// Groups and kinds; an empty list is all.
    pub(crate) kinds: Vec<(Vec<String>, Vec<String>)>,
    scope: Option<bool>,
    namespaces: Vec<String>,
    excluded: Vec<String>,
    labels: Option<LabelSelector>,
    namespace_labels: Option<LabelSelector>,
    name: String,
    source: Option<Source>,
}

/// The group of an `apiVersion`.
pub(crate) fn group_of(object: &Value) -> &str {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The strings of a list.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    meta::list(Some(value)).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn holds(list: &[String], word: &str) -> bool {
    list.is_empty() || list.iter().any(|it| it == "*" || it == word)
}

fn is_namespace(object: &Value) -> bool {
    object["kind"] == "Namespace" && group_of(object).is_empty()
}

impl Match {
    /// Reads the object under `field`; tells everything that is wrong with it.
    pub(crate) fn read(spec: &Value, field: &str, causes: &mut Vec<Cause>) -> Match {
        let mut selector = |name: &str| {
            let given = spec.get(name).filter(|it| !it.is_null())?;
            match LabelSelector::from_value(given) {
                Ok(selector) => Some(selector),
                Err(error) => {
                    causes.push(Cause::invalid(format!("{field}.{name}"), given, &error.to_string()));
                    None
                }
            }
        };
        let (labels, namespace_labels) = (selector("labelSelector"), selector("namespaceSelector"));
        let kinds = meta::list(spec.get("kinds")).iter();
        let kinds = kinds.map(|it| (texts(&it["apiGroups"]), texts(&it["kinds"]))).collect();
        let source = match spec["source"].as_str() {
            None | Some("" | "All") => None,
            Some("Original") => Some(Source::Original),
            Some("Generated") => Some(Source::Generated),
            Some(_) => {
                let known = ["All", "Generated", "Original"];
                causes.push(Cause::not_supported(format!("{field}.source"), &spec["source"], &known));
                None
            }
        };
        Match {
            kinds,
            scope: match spec["scope"].as_str() {
                Some("Namespaced") => Some(true),
                Some("Cluster") => Some(false),
                _ => None,
            },
            namespaces: texts(&spec["namespaces"]),
            excluded: texts(&spec["excludedNamespaces"]),
            labels,
            namespace_labels,
            name: spec["name"].as_str().unwrap_or_default().to_owned(),
            source,
        }
    }

    /// Whether it can be about objects of a kind at all: for indexes.
    pub(crate) fn may_match(&self, group: &str, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|(groups, kinds)| holds(kinds, kind) && holds(groups, group))
    }

    /// Whether it is about an object.
    ///
    /// # Errors
    /// When that can not be told: it asks for labels of a Namespace that is not known.
    pub(crate) fn matches(&self, subject: &Subject<'_>) -> Result<bool, String> {
        let object = subject.object;
        let kind = object["kind"].as_str().unwrap_or_default();
        Ok(self.may_match(group_of(object), kind)
            && self.in_scope(subject)
            && self.in_namespaces(subject)
            && self.labels.as_ref().is_none_or(|labels| labels.matches_object(object))
            && self.namespace_selected(subject)?
            && self.named(object)
            && self.source.is_none_or(|source| source == subject.source))
    }

    fn in_scope(&self, subject: &Subject<'_>) -> bool {
        let namespaced =
            subject.namespace.is_some() || meta::namespace(subject.object).is_some_and(|it| !it.is_empty());
        match self.scope {
            None => true,
            Some(true) => namespaced && !is_namespace(subject.object),
            Some(false) => !namespaced || is_namespace(subject.object),
        }
    }

    fn in_namespaces(&self, subject: &Subject<'_>) -> bool {
        let Some(name) = namespace_name(subject) else { return true };
        (self.namespaces.is_empty() || self.namespaces.iter().any(|pattern| affix_matches(pattern, name)))
            && !self.excluded.iter().any(|pattern| affix_matches(pattern, name))
    }

    fn namespace_selected(&self, subject: &Subject<'_>) -> Result<bool, String> {
        let Some(selector) = &self.namespace_labels else { return Ok(true) };
        if is_namespace(subject.object) {
            return Ok(selector.matches_object(subject.object));
        }
        match (subject.namespace, meta::namespace(subject.object).filter(|it| !it.is_empty())) {
            (Some(namespace), _) => Ok(selector.matches_object(namespace)),
            (None, None) => Ok(true),
            (None, Some(name)) => {
                Err(format!("namespace selector for namespace-scoped object but missing Namespace {name}"))
            }
        }
    }

    fn named(&self, object: &Value) -> bool {
        if self.name.is_empty() || affix_matches(&self.name, meta::name(object).unwrap_or_default()) {
            return true;
        }
        let generated = meta::generate_name(object).unwrap_or_default();
        !generated.is_empty() && self.name.ends_with('*') && affix_matches(&self.name, generated)
    }
}

/// The namespace that an object belongs to, or is.
pub(crate) fn namespace_name<'a>(subject: &Subject<'a>) -> Option<&'a str> {
    if is_namespace(subject.object) {
        return meta::name(subject.object);
    }
    subject.namespace.and_then(meta::name).or_else(|| meta::namespace(subject.object)).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: Value, object: &Value, want: bool) {
        let mut causes = Vec::new();
        let it = Match::read(&spec, "spec.match", &mut causes);
        assert_eq!(causes, []);
        let namespace = json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}});
        let namespace = Some(&namespace).filter(|_| meta::namespace(object).is_some());
        let subject = Subject { object, namespace, source: Source::Original };
        assert_eq!(it.matches(&subject), Ok(want), "{spec}");
    }

    #[test]
    fn everything_that_is_named_must_hold() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}}});
        for (spec, want) in [
            (json!({}), true),
            (json!({"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}), true),
            (json!({"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}), true),
            (json!({"kinds": [{"apiGroups": ["apps"], "kinds": ["Pod"]}]}), false),
            (json!({"kinds": [{"kinds": ["Service"]}, {"kinds": ["Pod"]}]}), true),
            (json!({"scope": "Namespaced"}), true),
            (json!({"scope": "Cluster"}), false),
            (json!({"namespaces": ["sh*"]}), true),
            (json!({"namespaces": ["*op"], "excludedNamespaces": ["*ho*"]}), false),
            (json!({"excludedNamespaces": ["kube-*"]}), true),
            (json!({"labelSelector": {"matchLabels": {"app": "web"}}}), true),
            (json!({"labelSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}), false),
            (json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), true),
            (json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), false),
            (json!({"name": "web-*"}), true),
            (json!({"name": "web"}), false),
            (json!({"source": "Original"}), true),
            (json!({"source": "Generated"}), false),
        ] {
            check(spec, &pod, want);
        }
    }

    #[test]
    fn a_namespace_is_its_own_namespace() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        check(json!({"excludedNamespaces": ["shop"]}), &namespace, false);
        check(json!({"namespaces": ["shop"]}), &namespace, true);
        check(json!({"scope": "Cluster"}), &namespace, true);
        let cluster =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}});
        check(json!({"namespaces": ["shop"]}), &cluster, true);
        check(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), &cluster, true);
    }

    #[test]
    fn what_can_not_be_told_is_an_error() {
        let it = Match::read(&json!({"namespaceSelector": {}}), "spec.match", &mut Vec::new());
        let object = json!({"kind": "Pod", "metadata": {"namespace": "shop"}});
        let subject = Subject { object: &object, namespace: None, source: Source::Original };
        assert!(it.matches(&subject).is_err());
        let mut causes = Vec::new();
        Match::read(&json!({"labelSelector": {"matchLabels": {"a b": "c"}}, "source": "x"}), "spec.match", &mut causes);
        assert_eq!(causes.len(), 2);
    }
}
