//! Flow schemas: which requests they are about, and to whose flow a request belongs.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use eyot_model::meta;
use serde_json::Value;

use crate::Identity;

/// What is asked for, as rules name it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) verb: &'a str,
    /// `None` for paths that name no resource.
    pub(super) resource: Option<Target<'a>>,
    pub(super) path: &'a str,
}

/// The resource that a request is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target<'a> {
    pub(super) group: &'a str,
    pub(super) plural: &'a str,
    /// Empty for the object itself.
    pub(super) subresource: &'a str,
    /// Empty for what is in no namespace, and for all of them.
    pub(super) namespace: &'a str,
}

/// One flow schema.
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) uid: Arc<str>,
    pub(super) precedence: i64,
    /// Name of its priority level.
    pub(super) level: String,
    by: Option<Distinguisher>,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    User,
    Namespace,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Schema {
    pub(super) fn read(object: &Value) -> Schema {
        let spec = &object["spec"];
        let by = match spec["distinguisherMethod"]["type"].as_str() {
            Some("ByUser") => Some(Distinguisher::User),
            Some("ByNamespace") => Some(Distinguisher::Namespace),
            _ => None,
        };
        Schema {
            name: meta::name(object).unwrap_or_default().to_owned(),
            uid: meta::uid(object).unwrap_or_default().into(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            level: spec["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default().to_owned(),
            by,
            rules: meta::list(spec.get("rules")).iter().map(Rule::read).collect(),
        }
    }

    pub(super) fn matches(&self, identity: &Identity, asked: &Asked<'_>) -> bool {
        self.rules.iter().any(|it| it.subjects.iter().any(|it| it.means(identity)) && it.covers(asked))
    }

    /// A number that is the same for requests of one flow.
    pub(super) fn flow(&self, identity: &Identity, asked: &Asked<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        match self.by {
            Some(Distinguisher::User) => identity.user.hash(&mut hasher),
            Some(Distinguisher::Namespace) => asked.resource.map_or("", |it| it.namespace).hash(&mut hasher),
            None => {}
        }
        hasher.finish()
    }
}

impl Rule {
    fn read(rule: &Value) -> Rule {
        let resources = meta::list(rule.get("resourceRules")).iter().map(|it| ResourceRule {
            verbs: texts(&it["verbs"]),
            groups: texts(&it["apiGroups"]),
            resources: texts(&it["resources"]),
            namespaces: texts(&it["namespaces"]),
            cluster: it["clusterScope"] == true,
        });
        let paths = meta::list(rule.get("nonResourceRules")).iter();
        let paths = paths.map(|it| PathRule { verbs: texts(&it["verbs"]), paths: texts(&it["nonResourceURLs"]) });
        Rule {
            subjects: meta::list(rule.get("subjects")).iter().filter_map(Subject::read).collect(),
            resources: resources.collect(),
            paths: paths.collect(),
        }
    }

    fn covers(&self, asked: &Asked<'_>) -> bool {
        match &asked.resource {
            Some(target) => self.resources.iter().any(|it| it.covers(asked.verb, target)),
            None => self.paths.iter().any(|it| has(&it.verbs, asked.verb) && it.covers(asked.path)),
        }
    }
}

impl ResourceRule {
    fn covers(&self, verb: &str, target: &Target<'_>) -> bool {
        let named = match target.subresource {
            "" => has(&self.resources, target.plural),
            sub => {
                has(&self.resources, &format!("{}/{sub}", target.plural))
                    || self.resources.iter().any(|it| it.strip_prefix("*/") == Some(sub))
            }
        };
        let placed = match target.namespace {
            "" => self.cluster,
            namespace => has(&self.namespaces, namespace),
        };
        named && placed && has(&self.verbs, verb) && has(&self.groups, target.group)
    }
}

impl PathRule {
    fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|it| match it.strip_suffix('*') {
            Some(lead) => path.starts_with(lead),
            None => it == path,
        })
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Subject> {
        let text = |of: &str, field: &str| subject[of][field].as_str().map(str::to_owned);
        match subject["kind"].as_str()? {
            "User" => Some(Subject::User(text("user", "name")?)),
            "Group" => Some(Subject::Group(text("group", "name")?)),
            "ServiceAccount" => Some(Subject::Account {
                namespace: text("serviceAccount", "namespace")?,
                name: text("serviceAccount", "name")?,
            }),
            _ => None,
        }
    }

    fn means(&self, identity: &Identity) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == identity.user,
            Subject::Group(name) => name == "*" || identity.groups.contains(name),
            Subject::Account { namespace, name } => {
                let account = identity.user.strip_prefix("system:serviceaccount:").and_then(|it| it.split_once(':'));
                account.is_some_and(|(in_namespace, own)| in_namespace == namespace && (name == "*" || own == name))
            }
        }
    }
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|it| it == "*" || it == word)
}

fn texts(list: &Value) -> Vec<String> {
    meta::list(Some(list)).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::presets, *};

    fn classify(user: &str, groups: &[&str], asked: Asked<'_>) -> String {
        let identity = Identity::new(user, groups.iter().map(|it| (*it).to_owned()));
        let mut schemas: Vec<Schema> =
            presets::objects().iter().filter(|it| it["kind"] == "FlowSchema").map(Schema::read).collect();
        schemas.sort_by_key(|it| it.precedence);
        let found = schemas.iter().find(|it| it.matches(&identity, &asked)).expect("all are caught");
        format!("{} -> {}", found.name, found.level)
    }

    #[test]
    fn the_presets_put_everybody_where_kubernetes_does() {
        let on = |verb, group, plural, namespace| Asked {
            verb,
            resource: Some(Target { group, plural, subresource: "", namespace }),
            path: "",
        };
        let pods = on("list", "", "pods", "default");
        let leases = on("update", "coordination.k8s.io", "leases", "kube-system");
        let version = Asked { verb: "get", resource: None, path: "/version" };
        for (user, groups, asked, want) in [
            ("admin", &["system:masters"][..], pods, "exempt -> exempt"),
            ("jane", &[], pods, "global-default -> global-default"),
            ("jane", &[], version, "global-default -> global-default"),
            ("jane", &[], Asked { path: "/healthz", ..version }, "probes -> exempt"),
            ("system:kube-scheduler", &[], leases, "system-leader-election -> leader-election"),
            ("system:kube-scheduler", &[], pods, "kube-scheduler -> workload-high"),
            ("system:node:a", &["system:nodes"], on("patch", "", "nodes", ""), "system-node-high -> node-high"),
            ("system:node:a", &["system:nodes"], leases, "system-node-high -> node-high"),
            ("system:node:a", &["system:nodes"], pods, "system-nodes -> system"),
            ("system:serviceaccount:kube-system:x", &[], leases, "system-leader-election -> leader-election"),
            (
                "system:serviceaccount:kube-system:x",
                &["system:serviceaccounts"],
                pods,
                "kube-system-service-accounts -> workload-high",
            ),
            ("system:serviceaccount:default:x", &["system:serviceaccounts"], pods, "service-accounts -> workload-low"),
        ] {
            assert_eq!(classify(user, groups, asked), want, "{user}");
        }
    }
}
