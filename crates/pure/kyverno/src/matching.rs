//! Whom a rule is about.
//!
//! Entry points: [`Match::applies`], [`Match::excludes`] with a [`Subject`]. Kinds are `Kind`, `Version/Kind`,
//! `Group/Version/Kind`, each with `/subresource` or `.subresource`, all with globs.

use eyot_model::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::wildcard;

/// Filters of a `match` or an `exclude`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// One of them must fit.
    #[serde(default)]
    pub any: Vec<Filter>,
    /// All of them must fit.
    #[serde(default)]
    pub all: Vec<Filter>,
    /// An older policy's only filter.
    #[serde(default)]
    pub resources: Resources,
    /// Who asks.
    #[serde(default)]
    pub subjects: Vec<SubjectRef>,
    /// Roles of who asks, as `namespace:name`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Cluster roles of who asks.
    #[serde(default)]
    pub cluster_roles: Vec<String>,
}

/// What an object, and who asks for it, must be like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// The object.
    #[serde(default)]
    pub resources: Resources,
    /// Who asks.
    #[serde(default)]
    pub subjects: Vec<SubjectRef>,
    /// Roles of who asks, as `namespace:name`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Cluster roles of who asks.
    #[serde(default)]
    pub cluster_roles: Vec<String>,
}

/// What an object must be like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Kinds, with globs.
    #[serde(default)]
    pub kinds: Vec<KindPattern>,
    /// A name, deprecated.
    #[serde(default)]
    pub name: String,
    /// Names, with globs.
    #[serde(default)]
    pub names: Vec<String>,
    /// Namespaces, with globs; a Namespace is in itself.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Annotations, with globs in keys and values.
    pub annotations: Option<Map<String, Value>>,
    /// Labels; globs in `matchLabels`.
    pub selector: Option<Value>,
    /// Labels of the namespace.
    pub namespace_selector: Option<Value>,
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    #[serde(default)]
    pub operations: Vec<String>,
}

/// A kind with globs, taken apart once.
#[derive(Clone, Debug)]
pub struct KindPattern {
    text: String,
    group: String,
    version: String,
    kind: String,
    sub: String,
}

impl KindPattern {
    /// Reads `Group/Version/Kind/subresource` or parts of it.
    pub fn parse(text: &str) -> KindPattern {
        let (group, version, kind, sub) = parse_kind(text);
        KindPattern { text: text.to_owned(), group, version, kind, sub }
    }

    /// As the policy has it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind, perhaps a glob.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The subresource, perhaps a glob.
    pub fn subresource(&self) -> &str {
        &self.sub
    }

    /// Whether it names a kind itself, not a subresource of it.
    pub fn names(&self, group: &str, version: &str, kind: &str) -> bool {
        (self.sub.is_empty() || self.sub == "*") && self.is_about(group, version, kind)
    }

    /// Whether it names a kind, or a subresource of it.
    pub(crate) fn is_about(&self, group: &str, version: &str, kind: &str) -> bool {
        wildcard::matches(&self.kind, kind)
            && wildcard::matches(&self.group, group)
            && wildcard::matches(&self.version, version)
    }

    fn fits(&self, subject: &Subject<'_>) -> bool {
        let is_ephemeral =
            subject.subresource == "ephemeralcontainers" && subject.kind == "Pod" && subject.group.is_empty();
        self.is_about(subject.group, subject.version, subject.kind)
            && (is_ephemeral || wildcard::matches(&self.sub, subject.subresource))
    }
}

impl<'de> Deserialize<'de> for KindPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(KindPattern::parse(&String::deserialize(deserializer)?))
    }
}

/// A user, a group or a service account.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubjectRef {
    /// `User`, `Group`, `ServiceAccount`.
    pub kind: String,
    /// Ignored.
    #[serde(default, rename = "apiGroup")]
    pub _api_group: String,
    /// The name, with globs.
    pub name: String,
    /// Namespace of a service account.
    #[serde(default)]
    pub namespace: String,
}

/// Who asks, with the roles that are bound to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// Name.
    pub username: String,
    /// Groups.
    pub groups: Vec<String>,
    /// `namespace:name` of roles.
    pub roles: Vec<String>,
    /// Names of cluster roles.
    pub cluster_roles: Vec<String>,
}

/// An object as filters see it.
pub struct Subject<'a> {
    /// The object.
    pub object: &'a Value,
    /// Its group.
    pub group: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// The subresource that is written, or empty.
    pub subresource: &'a str,
    /// Labels of its namespace.
    pub namespace_labels: &'a Value,
    /// What is being done.
    pub operation: &'a str,
    /// Who asks; nobody in the background.
    pub requester: Option<&'a Requester>,
}

impl Match {
    /// All kinds that it names.
    pub fn kinds(&self) -> impl Iterator<Item = &KindPattern> {
        let nested = self.any.iter().chain(&self.all).flat_map(|it| &it.resources.kinds);
        nested.chain(&self.resources.kinds)
    }

    /// Whether a filter asks for an operation in so many words.
    pub(crate) fn names_operation(&self, operation: &str) -> bool {
        let nested = self.any.iter().chain(&self.all).flat_map(|it| &it.resources.operations);
        nested.chain(&self.resources.operations).any(|it| it == operation)
    }

    /// Whether a filter is about every kind.
    pub fn has_any_kind(&self) -> bool {
        let nested = self.any.iter().chain(&self.all).any(|it| it.resources.kinds.is_empty());
        nested || (self.any.is_empty() && self.all.is_empty() && self.resources.kinds.is_empty())
    }

    /// Whether any filter asks who asks.
    pub fn needs_user(&self) -> bool {
        let own = !self.subjects.is_empty() || !self.roles.is_empty() || !self.cluster_roles.is_empty();
        own || self.any.iter().chain(&self.all).any(Filter::has_users)
    }

    /// Whether any filter asks for roles.
    pub fn needs_roles(&self) -> bool {
        let nested = self.any.iter().chain(&self.all).any(|it| !it.roles.is_empty() || !it.cluster_roles.is_empty());
        nested || !self.roles.is_empty() || !self.cluster_roles.is_empty()
    }

    fn own(&self) -> Filter {
        Filter {
            resources: self.resources.clone(),
            subjects: self.subjects.clone(),
            roles: self.roles.clone(),
            cluster_roles: self.cluster_roles.clone(),
        }
    }

    /// Whether a rule with this `match` is about the object.
    pub fn applies(&self, subject: &Subject<'_>) -> bool {
        let fits = |filter: &Filter| {
            // Nobody asks in the background, so that filters look at the object only.
            let has_users = subject.requester.is_some() && filter.has_users();
            (!filter.resources.is_empty() || has_users) && filter.fits(subject, subject.requester.is_some())
        };
        match (self.any.is_empty(), self.all.is_empty()) {
            (false, _) => self.any.iter().any(fits),
            (true, false) => self.all.iter().all(fits),
            (true, true) => fits(&self.own()),
        }
    }

    /// Whether a rule with this `exclude` leaves the object out.
    pub fn excludes(&self, subject: &Subject<'_>) -> bool {
        let fits = |filter: &Filter| (!filter.resources.is_empty() || filter.has_users()) && filter.fits(subject, true);
        match (self.any.is_empty(), self.all.is_empty()) {
            (false, _) => self.any.iter().any(fits),
            (true, false) => self.all.iter().all(fits),
            (true, true) => fits(&self.own()),
        }
    }
}

impl Filter {
    fn has_users(&self) -> bool {
        !self.subjects.is_empty() || !self.roles.is_empty() || !self.cluster_roles.is_empty()
    }

    /// Whether the object fits, and the user where users count.
    pub fn fits(&self, subject: &Subject<'_>, with_users: bool) -> bool {
        if !self.resources.fits(subject) {
            return false;
        }
        if !with_users {
            return true;
        }
        let nobody = Requester::default();
        let user = subject.requester.unwrap_or(&nobody);
        let has = |wanted: &[String], given: &[String]| wanted.is_empty() || wanted.iter().any(|it| given.contains(it));
        has(&self.roles, &user.roles)
            && has(&self.cluster_roles, &user.cluster_roles)
            && (self.subjects.is_empty() || self.subjects.iter().any(|it| it.is(user)))
    }
}

impl SubjectRef {
    fn is(&self, user: &Requester) -> bool {
        match self.kind.as_str() {
            "ServiceAccount" => {
                let name = format!("system:serviceaccount:{}:{}", self.namespace, self.name);
                wildcard::matches(&name, &user.username)
            }
            "User" => wildcard::matches(&self.name, &user.username),
            "Group" => user.groups.iter().any(|it| wildcard::matches(&self.name, it)),
            _ => false,
        }
    }
}

impl Resources {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.operations.is_empty() && self.asks_for_kinds_only()
    }

    fn fits(&self, subject: &Subject<'_>) -> bool {
        // What tells most objects from each other comes first.
        (self.operations.is_empty() || self.operations.iter().any(|it| it == subject.operation))
            && (self.kinds.is_empty() || self.kinds.iter().any(|it| it.fits(subject)))
            && (self.asks_for_kinds_only() || self.object_fits(subject))
    }

    fn asks_for_kinds_only(&self) -> bool {
        self.name.is_empty()
            && self.names.is_empty()
            && self.namespaces.is_empty()
            && self.annotations.is_none()
            && self.selector.is_none()
            && self.namespace_selector.is_none()
    }

    fn object_fits(&self, subject: &Subject<'_>) -> bool {
        let metadata = &subject.object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let name = if text("name").is_empty() { text("generateName") } else { text("name") };
        let is_namespace = subject.object["kind"] == "Namespace";
        let namespace = if is_namespace { name } else { text("namespace") };
        (self.name.is_empty() || wildcard::matches(&self.name, name))
            && (self.names.is_empty() || wildcard::any(self.names.iter().map(String::as_str), name))
            && (self.namespaces.is_empty() || wildcard::any(self.namespaces.iter().map(String::as_str), namespace))
            && self.annotations.as_ref().is_none_or(|it| annotations_fit(it, &metadata["annotations"]))
            && self.selector.as_ref().is_none_or(|it| selector_fits(it, &metadata["labels"]))
            && self
                .namespace_selector
                .as_ref()
                .is_none_or(|it| !is_namespace && selector_fits(it, subject.namespace_labels))
    }
}

/// Group, version, kind and subresource that a text names, each perhaps a glob.
pub fn parse_kind(text: &str) -> (String, String, String, String) {
    let mut parts: Vec<&str> = text.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    parts.extend(last.split('.'));
    let is_version = |it: &str| {
        let digits = it.strip_prefix('v').map(|it| it.trim_start_matches(|it: char| it.is_ascii_digit()));
        it == "*"
            || digits.is_some_and(|rest| {
                let tail = rest.strip_prefix("alpha").or_else(|| rest.strip_prefix("beta"));
                it[1..].starts_with(|it: char| it.is_ascii_digit())
                    && (rest.is_empty()
                        || tail.is_some_and(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit())))
            })
    };
    let made: [&str; 4] = match *parts.as_slice() {
        [kind] => ["*", "*", kind, ""],
        ["*", "*"] => ["*", "*", "*", "*"],
        ["*", sub] if sub.to_lowercase() == sub => ["*", "*", "*", sub],
        [version, kind] if is_version(version) => ["*", version, kind, ""],
        [kind, sub] => ["*", "*", kind, sub],
        [version, kind, sub] if is_version(version) => ["*", version, kind, sub],
        [group, version, kind] => [group, version, kind, ""],
        [group, version, kind, sub] => [group, version, kind, sub],
        _ => ["", "", "", ""],
    };
    let [group, version, kind, sub] = made.map(str::to_owned);
    (group, version, kind, sub)
}

fn annotations_fit(wanted: &Map<String, Value>, given: &Value) -> bool {
    wanted.iter().all(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        let mut given = given.as_object().into_iter().flatten();
        given.any(|(k, v)| wildcard::matches(key, k) && wildcard::matches(value, v.as_str().unwrap_or_default()))
    })
}

/// Whether labels satisfy a selector, whose `matchLabels` may have globs. A malformed selector selects nothing.
pub fn selector_fits(selector: &Value, labels: &Value) -> bool {
    let mut selector = selector.clone();
    if let Some(wanted) = selector.get("matchLabels").and_then(Value::as_object) {
        let expanded: Map<String, Value> = wanted.iter().map(|(key, value)| expand(key, value, labels)).collect();
        selector["matchLabels"] = Value::Object(expanded);
    }
    let empty = Value::Object(Map::new());
    let labels = if labels.is_object() { labels } else { &empty };
    LabelSelector::from_value(&selector).is_ok_and(|it| it.matches_labels(labels))
}

fn expand(key: &str, value: &Value, labels: &Value) -> (String, Value) {
    let wanted = value.as_str().unwrap_or_default();
    if !wildcard::is_glob(key) && !wildcard::is_glob(wanted) {
        return (key.to_owned(), value.clone());
    }
    let mut given = labels.as_object().into_iter().flatten();
    let found =
        given.find(|(k, v)| wildcard::matches(key, k) && v.as_str().is_some_and(|it| wildcard::matches(wanted, it)));
    match found {
        Some((key, value)) => (key.clone(), value.clone()),
        // Labels know no globs; what is left of one must not match by chance.
        None => (key.replace(['*', '?'], "0"), wanted.replace(['*', '?'], "0").into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applies(wanted: Value, object: &Value, subresource: &str) -> bool {
        let wanted: Match = serde_json::from_value(wanted).expect("the match is correct");
        let api_version = object["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let subject = Subject {
            object,
            group,
            version,
            kind: object["kind"].as_str().unwrap(),
            subresource,
            namespace_labels: &json!({"team": "a"}),
            operation: "CREATE",
            requester: Some(&Requester {
                username: "system:serviceaccount:ci:bot".into(),
                groups: vec!["devs".into()],
                ..Default::default()
            }),
        };
        wanted.applies(&subject)
    }

    #[test]
    fn filters_select_objects() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "web-1", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"a/b": "c"}}});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        let one = |resources: Value| json!({ "any": [{ "resources": resources }] });
        for (wanted, object, sub, fits) in [
            (one(json!({"kinds": ["Pod"]})), &pod, "", true),
            (one(json!({"kinds": ["Pod"]})), &pod, "status", false),
            (one(json!({"kinds": ["Pod"]})), &pod, "ephemeralcontainers", true),
            (one(json!({"kinds": ["v1/Pod"]})), &pod, "", true),
            (one(json!({"kinds": ["Pod/status"]})), &pod, "status", true),
            (one(json!({"kinds": ["*/Pod.status"]})), &pod, "status", true),
            (one(json!({"kinds": ["apps/v1/Deployment"]})), &deployment, "", true),
            (one(json!({"kinds": ["apps/*/Deploy*"]})), &deployment, "", true),
            (one(json!({"kinds": ["batch/*/Deployment"]})), &deployment, "", false),
            (one(json!({"kinds": ["*"]})), &deployment, "", true),
            (one(json!({"kinds": ["Pod"], "names": ["web-*"]})), &pod, "", true),
            (one(json!({"kinds": ["Pod"], "namespaces": ["sh?p"]})), &pod, "", true),
            (one(json!({"kinds": ["Pod"], "selector": {"matchLabels": {"a*": "w?b"}}})), &pod, "", true),
            (one(json!({"kinds": ["Pod"], "selector": {"matchLabels": {"b*": "w?b"}}})), &pod, "", false),
            (one(json!({"kinds": ["Pod"], "annotations": {"a/*": "*"}})), &pod, "", true),
            (one(json!({"kinds": ["Pod"], "namespaceSelector": {"matchLabels": {"team": "b"}}})), &pod, "", false),
            (one(json!({"kinds": ["Pod"], "operations": ["DELETE"]})), &pod, "", false),
            (
                json!({"any": [{"subjects": [{"kind": "ServiceAccount", "namespace": "ci", "name": "*"}]}]}),
                &pod,
                "",
                true,
            ),
            (json!({"any": [{"subjects": [{"kind": "Group", "name": "ops"}]}]}), &pod, "", false),
            (json!({"resources": {"kinds": ["Pod"]}}), &pod, "", true),
            (json!({}), &pod, "", false),
        ] {
            assert_eq!(applies(wanted.clone(), object, sub), fits, "{wanted}");
        }
    }
}
