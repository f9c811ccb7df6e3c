//! Policies that delete by schedule: DeletingPolicy. Entry point: [`CelDeleter::compile`].

use std::sync::Arc;

use eyot_model::{meta, status::Cause};
use eyot_rules::{Budget, Environment};
use eyot_vap::{Language, Policy, conditions, flaws};
use serde_json::{Value, json};

use super::{
    CelException, NAMES,
    exception::{Excused, excused},
};
use crate::library::LIBRARY;

/// What a policy deletes.
#[derive(Debug)]
pub(crate) struct CelDeleter {
    kind: String,
    namespace: String,
    pub(crate) name: String,
    /// What it is about, its conditions and variables.
    pub(crate) policy: Policy,
}

/// The policy as one that judges: its conditions see variables, and no operation matters.
fn judging(object: &Value) -> Value {
    let spec = &object["spec"];
    let mut matching = spec["matchConstraints"].clone();
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in matching.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if rule.is_object() {
                rule["operations"] = json!(["*"]);
            }
        }
    }
    let mut judging = object.clone();
    judging["spec"] = json!({
        "matchConstraints": matching,
        "matchConditions": meta::list(spec.get("conditions")),
        "variables": meta::list(spec.get("variables")),
    });
    judging
}

/// Conditions of these may name variables.
static DELETING: Language =
    Language { names: NAMES, library: Some(&LIBRARY), conditions_have_variables: true, is_strict: false };

/// Everything that is wrong with a policy, beside unknown fields, its schedule and how dependents go.
pub(super) fn flaws(object: &Value) -> Vec<Cause> {
    let causes = flaws::surroundings(&judging(object), &DELETING).into_iter();
    let relocated = |it: Cause| Cause { field: it.field.replacen("spec.matchConditions", "spec.conditions", 1), ..it };
    causes.map(relocated).collect()
}

impl CelDeleter {
    /// Compiles a policy whose fields were checked; expressions that are wrong fail when they are evaluated.
    pub(crate) fn compile(object: &Value) -> CelDeleter {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        CelDeleter {
            kind: text(&object["kind"]),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            policy: Policy::compile(&judging(object), false, &DELETING),
        }
    }

    /// Whether an object is to go, whose kind and place were found to fit.
    ///
    /// # Errors
    /// What went wrong in an expression.
    pub(crate) fn takes(&self, seen: &Environment, exceptions: &[Arc<CelException>]) -> Result<bool, String> {
        let named: Vec<&CelException> = exceptions
            .iter()
            .map(AsRef::as_ref)
            .filter(|it| it.names([&self.kind, &self.namespace, &self.name]))
            .collect();
        let seen = match excused(&named, seen, false)? {
            Excused::Wholly(..) => return Ok(false),
            Excused::Partly(shown) => seen.with_value("exceptions", shown),
        };
        if let Some(why) = &self.policy.broken {
            return Err(why.clone());
        }
        let seen = seen.with_variables(self.policy.variables.clone());
        conditions(&self.policy.conditions, &seen, &mut Budget::new(Budget::WRITE))
    }

    /// Whether it is about objects in a namespace at all.
    pub(crate) fn reaches(&self, namespace: &str) -> bool {
        self.namespace.is_empty() || self.namespace == namespace
    }

    /// Its namespace, empty for one that is about all.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }
}
