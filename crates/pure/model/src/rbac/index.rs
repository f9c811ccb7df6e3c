//! Roles and bindings, found by who they are for. Entry points: [`Index::put`] and [`Index::remove`] to keep it,
//! [`Index::find`] to ask.
//!
//! A question costs the grants of the asker's own name and groups in the namespace in question, each with its rules;
//! what others were granted is never looked at. A change costs the size of the object that changed.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::Value;

use super::{Ask, GROUP, Rule, User, account_user};
use crate::meta;

/// Namespace and name; the namespace is empty for what belongs to the cluster.
type Id = (Box<str>, Box<str>);
/// Grants by namespace, empty for all of them.
type Scopes = HashMap<Box<str>, Vec<Arc<Grant>>>;

/// Rules by the name of their role.
type Roles = HashMap<Box<str>, Arc<[Rule]>>;

/// Every role and binding. Objects that are no roles or bindings are ignored.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By namespace, empty for ClusterRoles, then by name.
    roles: HashMap<Box<str>, Roles>,
    users: HashMap<Box<str>, Scopes>,
    groups: HashMap<Box<str>, Scopes>,
    bindings: HashMap<Id, Vec<Arc<Grant>>>,
}

/// What one binding gives one subject.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where it counts: empty for the whole cluster.
    pub namespace: Box<str>,
    /// Name of the binding.
    pub binding: Box<str>,
    /// What it gives.
    pub role: RoleRef,
    /// To whom.
    pub subject: Subject,
}

/// The role of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRef {
    /// A ClusterRole rather than a Role of the binding's namespace.
    pub cluster: bool,
    /// Its name.
    pub name: Box<str>,
}

/// One subject of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user by name.
    User(Box<str>),
    /// Everyone in a group.
    Group(Box<str>),
    /// A ServiceAccount: namespace and name.
    Account(Box<str>, Box<str>),
}

/// Rules that somebody holds, and why.
#[derive(Debug)]
pub struct Scoped<'a> {
    /// Through which binding.
    pub grant: &'a Grant,
    /// The role's rules; `None` when there is no such role.
    pub rules: Option<&'a [Rule]>,
}

impl Index {
    /// Takes in a new version of a Role, ClusterRole, RoleBinding or ClusterRoleBinding.
    pub fn put(&mut self, object: &Value) {
        let Some((kind, namespace, name)) = identify(object) else { return };
        match kind {
            "Role" | "ClusterRole" => {
                let rules = Rule::of_role(object).into();
                self.roles.entry(namespace.into()).or_default().insert(name.into(), rules);
            }
            _ => {
                self.unbind(namespace, name);
                self.bind(object, namespace, name);
            }
        }
    }

    /// Forgets an object by its kind, namespace (empty for the cluster's) and name.
    pub fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        match kind {
            "Role" | "ClusterRole" => {
                if let Some(roles) = self.roles.get_mut(namespace) {
                    roles.remove(name);
                    if roles.is_empty() {
                        self.roles.remove(namespace);
                    }
                }
            }
            _ => self.unbind(namespace, name),
        }
    }

    /// The first grant that allows it, and the rule.
    pub fn find<'a>(&'a self, user: &User<'_>, ask: &Ask<'_>) -> Option<(&'a Grant, &'a Rule)> {
        let namespace = match ask {
            Ask::Resource(ask) => ask.namespace,
            Ask::Path { .. } => "",
        };
        self.held(user, namespace).find_map(|it| Some((it.grant, it.rules?.iter().find(|rule| rule.allows(ask))?)))
    }

    /// All that somebody holds in a namespace: the cluster's grants first; only those when the namespace is empty.
    pub fn held<'a>(&'a self, user: &User<'_>, namespace: &str) -> impl Iterator<Item = Scoped<'a>> {
        let mut scopes: Vec<&'a Scopes> = Vec::with_capacity(user.groups.len() + 1);
        scopes.extend(self.users.get(user.name));
        scopes.extend(user.groups.iter().filter_map(|it| self.groups.get(it.as_str())));
        let mut grants: Vec<&'a Grant> = Vec::new();
        for place in ["", namespace].iter().take(if namespace.is_empty() { 1 } else { 2 }) {
            grants.extend(scopes.iter().filter_map(|it| it.get(*place)).flatten().map(|it| &**it));
        }
        grants.into_iter().map(|grant| Scoped { grant, rules: self.rules(&grant.role, &grant.namespace) })
    }

    /// The rules of a role, as a binding in `namespace` refers to it.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<&[Rule]> {
        let place = if role.cluster { "" } else { namespace };
        self.roles.get(place)?.get(&role.name).map(|it| &**it)
    }

    fn bind(&mut self, binding: &Value, namespace: &str, name: &str) {
        let Some(role) = RoleRef::of_binding(binding) else { return };
        let mut grants = Vec::new();
        for subject in meta::list(binding.get("subjects")).iter().filter_map(|it| Subject::from_value(it, namespace)) {
            let grant = Grant { namespace: namespace.into(), binding: name.into(), role: role.clone(), subject };
            let grant = Arc::new(grant);
            let (map, key) = self.place(&grant.subject);
            map.entry(key).or_default().entry(namespace.into()).or_default().push(grant.clone());
            grants.push(grant);
        }
        self.bindings.insert((namespace.into(), name.into()), grants);
    }

    fn unbind(&mut self, namespace: &str, name: &str) {
        let Some(grants) = self.bindings.remove(&(namespace.into(), name.into())) else { return };
        for grant in grants {
            let (map, key) = self.place(&grant.subject);
            let Some(scopes) = map.get_mut(&key) else { continue };
            if let Some(list) = scopes.get_mut(&grant.namespace) {
                list.retain(|it| !Arc::ptr_eq(it, &grant));
                if list.is_empty() {
                    scopes.remove(&grant.namespace);
                }
            }
            if scopes.is_empty() {
                map.remove(&key);
            }
        }
    }

    /// Where the grants of a subject are kept. A ServiceAccount is a user with a long name.
    fn place(&mut self, subject: &Subject) -> (&mut HashMap<Box<str>, Scopes>, Box<str>) {
        match subject {
            Subject::User(name) => (&mut self.users, name.clone()),
            Subject::Group(name) => (&mut self.groups, name.clone()),
            Subject::Account(namespace, name) => (&mut self.users, account_user(namespace, name).into()),
        }
    }
}

fn identify(object: &Value) -> Option<(&str, &str, &str)> {
    let group = object.get("apiVersion")?.as_str()?.split('/').next()?;
    let kind = object.get("kind")?.as_str()?;
    let known = group == GROUP && matches!(kind, "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding");
    known.then_some(())?;
    Some((kind, meta::namespace(object).unwrap_or_default(), meta::name(object)?))
}

impl RoleRef {
    /// What a binding gives; `None` when it refers to nothing that can be a role.
    pub fn of_binding(binding: &Value) -> Option<RoleRef> {
        let reference = binding.get("roleRef")?;
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
        let known = text("apiGroup") == GROUP && matches!(text("kind"), "Role" | "ClusterRole");
        known.then(|| RoleRef { cluster: text("kind") == "ClusterRole", name: text("name").into() })
    }

    /// Kind of the role.
    pub fn kind(&self) -> &'static str {
        if self.cluster { "ClusterRole" } else { "Role" }
    }

    /// Plural of the kind.
    pub fn plural(&self) -> &'static str {
        if self.cluster { "clusterroles" } else { "roles" }
    }
}

impl Subject {
    /// Reads a subject of a binding in `namespace`; `None` for kinds that nobody is.
    fn from_value(value: &Value, namespace: &str) -> Option<Subject> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").into();
        match (text("kind"), text("apiGroup")) {
            ("User", GROUP) => Some(Subject::User(name)),
            ("Group", GROUP) => Some(Subject::Group(name)),
            ("ServiceAccount", "") => {
                let own = Some(text("namespace")).filter(|it| !it.is_empty()).unwrap_or(namespace);
                (!own.is_empty()).then(|| Subject::Account(own.into(), name))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::User(name) => write!(f, "User {name:?}"),
            Subject::Group(name) => write!(f, "Group {name:?}"),
            Subject::Account(namespace, name) => write!(f, "ServiceAccount \"{name}/{namespace}\""),
        }
    }
}

/// As Kubernetes gives its reasons: `ClusterRoleBinding "b" of ClusterRole "r" to User "u"`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grant { namespace, binding, role, subject } = self;
        match namespace.is_empty() {
            true => write!(f, "ClusterRoleBinding {binding:?}")?,
            false => write!(f, "RoleBinding \"{binding}/{namespace}\"")?,
        }
        write!(f, " of {} {:?} to {subject}", role.kind(), role.name)
    }
}
