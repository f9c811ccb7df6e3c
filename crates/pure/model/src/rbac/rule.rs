//! One rule of a role: what it allows.

use serde_json::{Map, Value};

use super::{Ask, Resource};
use crate::meta;

/// A `PolicyRule`. `*` among verbs, groups and resources means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`.
    pub resources: Vec<String>,
    /// Names the rule is limited to; any when empty.
    pub names: Vec<String>,
    /// `nonResourceURLs`; a final `*` means everything that begins so.
    pub paths: Vec<String>,
}

impl Rule {
    /// Reads a `PolicyRule`; what is missing or mistyped counts as empty, which allows nothing.
    pub fn from_value(value: &Value) -> Rule {
        let texts = |field: &str| {
            let list = meta::list(value.get(field)).iter();
            list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        Rule {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn of_role(role: &Value) -> Vec<Rule> {
        meta::list(role.get("rules")).iter().map(Rule::from_value).collect()
    }

    /// The `PolicyRule`, without empty fields.
    pub fn to_value(&self) -> Value {
        let fields = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        let fields = fields.into_iter().filter(|(field, list)| *field == "verbs" || !list.is_empty());
        Value::Object(fields.map(|(field, list)| (field.to_owned(), list.clone().into())).collect::<Map<_, _>>())
    }

    /// Whether the rule allows it.
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        match ask {
            Ask::Resource(ask) => self.allows_resource(ask),
            Ask::Path { verb, path } => has(&self.verbs, verb) && self.paths.iter().any(|it| path_covers(it, path)),
        }
    }

    fn allows_resource(&self, ask: &Resource<'_>) -> bool {
        has(&self.verbs, ask.verb)
            && has(&self.groups, ask.group)
            && self.resources.iter().any(|it| names_resource(it, ask.resource, ask.subresource))
            && (self.names.is_empty() || self.names.iter().any(|it| it == ask.name))
    }
}

/// Whether the list has the word, or all of them.
pub(super) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|it| it == "*" || it == word)
}

/// Whether `*`, `pods`, `pods/log` or `*/log` names the resource or subresource.
fn names_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == "*" || of == resource),
    }
}

/// Whether one path, perhaps with a final `*`, includes the other.
pub(super) fn path_covers(rule: &str, path: &str) -> bool {
    rule == path || rule.strip_suffix('*').is_some_and(|it| path.starts_with(it.trim_end_matches('*')))
}
