//! Policies of `policies.kyverno.io`, which are written like Kubernetes' own admission policies.
//!
//! Entry points: [`CelPolicy::compile`], [`CelGenerator::compile`], [`CelDeleter::compile`], [`CelException::compile`],
//! [`check::check`] for what is written, and [`judge`] for what becomes of a request. Expressions are compiled and
//! evaluated by `eyot-vap`, with Kyverno's [`library`](crate::library). Deliberately absent: policies about images and
//! their signatures, which lie at registries; their kinds are served, so that a write of one is refused with its reason.

mod autogen;
pub(crate) mod check;
mod deleting;
mod exception;
mod existing;
mod fields;
mod generating;
pub(crate) mod judge;
mod template;
#[cfg(test)]
mod tests;

use eyot_model::meta;
use eyot_vap::{Language, Policy};
use serde_json::{Map, Value};

pub(crate) use deleting::CelDeleter;
pub(crate) use exception::CelException;
pub(crate) use existing::Existing;
pub(crate) use generating::{CelGenerator, Making};

use crate::library::{self, LIBRARY};

/// Group of these policies.
pub(crate) const GROUP: &str = "policies.kyverno.io";

const NAMES: &[&str] = &["object", "oldObject", "request", "namespaceObject", "exceptions"];

/// How expressions are written.
pub(crate) static VALIDATING: Language =
    Language { names: NAMES, library: Some(&LIBRARY), conditions_have_variables: false, is_strict: false };
static MUTATING: Language =
    Language { names: NAMES, library: Some(&LIBRARY), conditions_have_variables: true, is_strict: false };

static GENERATING: Language =
    Language { names: NAMES, library: Some(&library::GENERATING), conditions_have_variables: false, is_strict: false };

/// What an object of the group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A policy that demands, or changes.
    Policy {
        /// Whether it changes.
        mutates: bool,
    },
    /// A policy that makes objects.
    Generator,
    /// A policy that deletes objects.
    Deleter,
    /// What lets objects pass.
    Exception,
    /// Something that is not judged here, and why.
    Refused(&'static str),
}

impl Role {
    /// By kind.
    pub(crate) fn of(kind: &str) -> Option<Role> {
        const SIGNATURES: &str = "signatures of images lie at registries, and a write does not wait for other machines";
        Some(match kind.strip_prefix("Namespaced").unwrap_or(kind) {
            "ValidatingPolicy" => Role::Policy { mutates: false },
            "MutatingPolicy" => Role::Policy { mutates: true },
            "PolicyException" => Role::Exception,
            "ImageValidatingPolicy" => Role::Refused(SIGNATURES),
            "GeneratingPolicy" => Role::Generator,
            "DeletingPolicy" => Role::Deleter,
            _ => return None,
        })
    }
}

/// Whether a policy is about objects that are deleted.
fn is_about_deletes(spec: &Value) -> bool {
    let rules = meta::list(spec.pointer("/matchConstraints/resourceRules"));
    let mut operations = rules.iter().flat_map(|it| meta::list(it.get("operations")));
    operations.any(|it| it == "DELETE" || it == "*")
}

/// What follows from a demand that is not met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actions {
    pub(crate) denies: bool,
    pub(crate) warns: bool,
}

/// A policy that demands or changes, with its forms for the controllers of pods.
#[derive(Debug)]
pub(crate) struct CelPolicy {
    /// `ValidatingPolicy` and so on.
    pub(crate) kind: String,
    /// Empty for one that is about all namespaces.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// Identity, once it is stored.
    pub(crate) uid: String,
    /// Annotations: category, severity and so on.
    pub(crate) annotations: Map<String, Value>,
    /// Whether it changes objects instead of demanding something of them.
    pub(crate) mutates: bool,
    pub(crate) actions: Actions,
    /// Whether it judges requests.
    pub(crate) admission: bool,
    /// Whether it judges stored objects.
    pub(crate) background: bool,
    /// As it is written, then for controllers.
    pub(crate) forms: Vec<Policy>,
    /// How it changes objects that are there, if it does.
    pub(crate) existing: Option<Existing>,
    /// Whether it is about objects that are deleted.
    pub(crate) on_delete: bool,
}

impl CelPolicy {
    /// Compiles a policy whose fields were checked; expressions that are wrong fail when they are evaluated.
    pub(crate) fn compile(object: &Value) -> Option<CelPolicy> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(Role::Policy { mutates }) = Role::of(kind) else { return None };
        let language = if mutates { &MUTATING } else { &VALIDATING };
        let spec = &object["spec"];
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let actions = meta::list(spec.get("validationActions"));
        let acts = |action: &str| actions.iter().any(|it| it == action);
        let enabled = |what: &str| spec["evaluation"][what]["enabled"].as_bool().unwrap_or(true);
        let forms =
            std::iter::once(object.clone()).chain(autogen::forms(object, mutates).into_iter().map(|it| it.object));
        Some(CelPolicy {
            kind: kind.to_owned(),
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            annotations: object["metadata"]["annotations"].as_object().cloned().unwrap_or_default(),
            mutates,
            actions: Actions { denies: actions.is_empty() || acts("Deny"), warns: acts("Warn") },
            admission: enabled("admission"),
            background: enabled("background"),
            forms: forms.map(|it| Policy::compile(&it, mutates, language)).collect(),
            existing: Existing::compile(object).filter(|_| mutates),
            on_delete: is_about_deletes(spec),
        })
    }

    /// `namespace/name`, or the name.
    pub(crate) fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// Whether a request passes that cannot be judged.
    pub(crate) fn ignores_failures(&self) -> bool {
        self.forms.iter().all(|it| it.ignores_failures)
    }

    /// Whether violations count in reports.
    pub(crate) fn is_scored(&self) -> bool {
        self.annotations.get("policies.kyverno.io/scored").is_none_or(|it| it != "false")
    }

    /// The resources that it is about, `*` for all.
    pub(crate) fn plurals(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().flat_map(|it| it.matching.plurals())
    }

    /// Whether it is about objects in a namespace at all.
    pub(crate) fn reaches(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace == namespace
    }
}
