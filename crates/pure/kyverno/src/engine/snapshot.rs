//! Everything that is in force at one moment.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use eyot_policy::Review;
use serde_json::Value;

use crate::{
    Cleanup, Exception, Policy,
    celpolicy::{CelException, CelGenerator, CelPolicy, Role},
    unreadable, wildcard,
};

type Key = (String, String);

/// Policies, exceptions and what else policies name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// By kind, namespace and name: `ClusterPolicy` comes first.
    pub(crate) policies: BTreeMap<(String, String, String), Arc<Policy>>,
    exceptions: BTreeMap<Key, Arc<Exception>>,
    /// Where exceptions count, as a glob; nowhere without.
    exceptions_in: Option<String>,
    /// What deletes, by kind, namespace and name.
    pub(crate) cleanups: BTreeMap<(String, String, String), Arc<Cleanup>>,
    /// Those in CEL, by kind, namespace and name.
    pub(crate) cel: BTreeMap<(String, String, String), Arc<CelPolicy>>,
    /// Those in CEL that make objects, by kind, namespace and name.
    pub(crate) generating: BTreeMap<(String, String, String), Arc<CelGenerator>>,
    cel_exceptions: BTreeMap<Key, Arc<CelException>>,
    /// Exceptions from policies in CEL, in their order.
    pub(crate) all_cel_exceptions: Vec<Arc<CelException>>,
    /// Plurals that policies in CEL are about, `*` among them.
    plurals: HashSet<String>,
    /// `spec` of GlobalContextEntries by name.
    pub(crate) globals: BTreeMap<String, Arc<Value>>,
    /// The exceptions as rules want them.
    pub(crate) all_exceptions: Vec<Arc<Exception>>,
    /// Kinds that some rule is about.
    kinds: HashSet<String>,
    /// Globs of kinds.
    globs: Vec<String>,
    /// Kinds with subresources, both perhaps globs.
    subresources: Vec<(String, String)>,
    /// Whether anything depends on the roles of who asks.
    pub(crate) needs_roles: bool,
}

fn key(object: &Value) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

impl Snapshot {
    /// A snapshot without policies, whose exceptions count in namespaces that fit a glob.
    pub(crate) fn with(exceptions_in: Option<String>) -> Snapshot {
        Snapshot { exceptions_in, ..Snapshot::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.cel.is_empty()
    }

    /// Puts an object in the place of the one before it. One that does not compile leaves that in force; a policy that was the
    /// first of its name is an error then to whatever it is about.
    pub(crate) fn put(&mut self, object: &Value) {
        let (kind, namespace, name) = key(object);
        match kind.as_str() {
            "ClusterPolicy" | "Policy" => {
                let key = (kind, namespace, name);
                match Policy::compile(object) {
                    Ok(policy) => drop(self.policies.insert(key, Arc::new(policy))),
                    Err(flaws) => {
                        self.policies.entry(key).or_insert_with(|| Arc::new(unreadable::policy(object, &flaws)));
                    }
                }
            }
            "PolicyException" => {
                if let Ok(exception) = Exception::compile(object) {
                    self.exceptions.insert((namespace, name), Arc::new(exception));
                }
            }
            "ClusterCleanupPolicy" | "CleanupPolicy" => {
                if let Ok(cleanup) = Cleanup::compile(object) {
                    self.cleanups.insert((kind, namespace, name), Arc::new(cleanup));
                }
            }
            "GlobalContextEntry" => {
                let spec = object.get("spec").cloned().unwrap_or_default();
                self.globals.insert(name, Arc::new(spec));
            }
            _ => {}
        }
    }

    /// Whether an object says what is in force already: a status may have changed.
    pub(crate) fn knows(&self, object: &Value) -> bool {
        self.cleanups.get(&key(object)).is_some_and(|it| Some(&it.spec) == object.get("spec"))
    }

    /// The same for an object of `policies.kyverno.io`.
    pub(crate) fn put_cel(&mut self, object: &Value) {
        let (kind, namespace, name) = key(object);
        match Role::of(&kind) {
            Some(Role::Policy { .. }) => {
                if let Some(policy) = CelPolicy::compile(object) {
                    self.cel.insert((kind, namespace, name), Arc::new(policy));
                }
            }
            Some(Role::Exception) => {
                drop(self.cel_exceptions.insert((namespace, name), Arc::new(CelException::compile(object))));
            }
            Some(Role::Generator) => {
                self.generating.insert((kind, namespace, name), Arc::new(CelGenerator::compile(object)));
            }
            Some(Role::Deleter) => {
                if let Ok(cleanup) = Cleanup::compile(object) {
                    self.cleanups.insert((kind, namespace, name), Arc::new(cleanup));
                }
            }
            Some(Role::Refused(_)) | None => {}
        }
    }

    /// The same for an object of `policies.kyverno.io`.
    pub(crate) fn remove_cel(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.cel.remove(&key);
        self.generating.remove(&key);
        self.cleanups.remove(&key);
        if Role::of(kind) == Some(Role::Exception) {
            self.cel_exceptions.remove(&(namespace.to_owned(), name.to_owned()));
        }
    }

    pub(crate) fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.policies.remove(&key);
        self.cleanups.remove(&key);
        match kind {
            "PolicyException" => drop(self.exceptions.remove(&(namespace.to_owned(), name.to_owned()))),
            "GlobalContextEntry" => drop(self.globals.remove(name)),
            _ => {}
        }
    }

    /// Finds out what rules are about.
    pub(crate) fn index(&mut self) {
        let counts = |it: &str| self.exceptions_in.as_ref().is_some_and(|glob| wildcard::matches(glob, it));
        let counting = self.exceptions.values().filter(|it| counts(&it.namespace)).cloned();
        self.all_exceptions = counting.collect();
        let counting = self.cel_exceptions.values().filter(|it| counts(&it.namespace)).cloned();
        self.all_cel_exceptions = counting.collect();
        self.plurals = self.cel.values().flat_map(|it| it.plurals()).map(str::to_owned).collect();
        self.kinds.clear();
        self.globs.clear();
        self.subresources.clear();
        self.needs_roles = false;
        for compiled in self.policies.values().flat_map(|it| &it.rules) {
            let rule = &compiled.rule;
            if rule.matches.has_any_kind() {
                self.globs.push("*".to_owned());
            }
            for pattern in rule.matches.kinds() {
                if !pattern.subresource().is_empty() {
                    self.subresources.push((pattern.kind().to_owned(), pattern.subresource().to_owned()));
                }
                match wildcard::is_glob(pattern.kind()) {
                    true => self.globs.push(pattern.kind().to_owned()),
                    false => drop(self.kinds.insert(pattern.kind().to_owned())),
                }
            }
            let filters = [Some(&rule.matches), rule.exclude.as_ref()];
            self.needs_roles |= filters.into_iter().flatten().any(|it| it.needs_roles());
        }
        // Variables may ask for roles as well; a policy that does says so in so many words.
        self.needs_roles |= self.policies.values().any(|it| it.names_roles);
    }

    /// An exception by its names.
    pub(crate) fn exception(&self, namespace: &str, name: &str) -> Option<&Exception> {
        self.exceptions.get(&(namespace.to_owned(), name.to_owned())).map(AsRef::as_ref)
    }

    /// Whether a policy in CEL may be about a resource.
    pub(crate) fn concerns_plural(&self, plural: &str) -> bool {
        self.plurals.contains(plural) || self.plurals.contains("*")
    }

    /// Whether a rule may be about a kind and subresource.
    pub(crate) fn concerns(&self, kind: &str, subresource: &str) -> bool {
        if subresource.is_empty() || subresource == "ephemeralcontainers" {
            return self.kinds.contains(kind) || self.globs.iter().any(|it| wildcard::matches(it, kind));
        }
        self.subresources.iter().any(|it| wildcard::matches(&it.0, kind) && wildcard::matches(&it.1, subresource))
    }
}

/// Kinds that are never judged: they would trip over each other, or the server over them.
const KINDS: [&str; 12] = [
    "Event",
    "ReplicaSet",
    "APIService",
    "TokenReview",
    "SubjectAccessReview",
    "SelfSubjectAccessReview",
    "LocalSubjectAccessReview",
    "Binding",
    "PolicyReport",
    "ClusterPolicyReport",
    "EphemeralReport",
    "ClusterEphemeralReport",
];
const NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Whether Kyverno's default configuration leaves a request alone.
pub(crate) fn is_left_alone(review: &Review<'_>) -> bool {
    is_left_alone_kind(&review.resource.kind, review.namespace)
        || review.subresource == "binding"
        || review.user.groups.iter().any(|it| it == "system:nodes")
}

/// Whether objects of a kind in a namespace are left alone.
pub(crate) fn is_left_alone_kind(kind: &str, namespace: &str) -> bool {
    KINDS.contains(&kind) || (kind != "Namespace" && NAMESPACES.contains(&namespace))
}
