//! How a MutatingPolicy changes objects that are there. Entry point: [`Existing::compile`].
//!
//! A trigger that the policy is about leads to targets: those that `targetMatchConstraints` select or their expression
//! lists, or all that the policy itself is about. `targetMatchConditions` are asked of each.

use eyot_model::{meta, status::Cause};
use eyot_vap::{Expression, Policy, flaws};
use serde_json::{Value, json};

use super::MUTATING;

/// Which objects, and what becomes of them.
#[derive(Debug)]
pub(crate) struct Existing {
    /// The same changes, about targets.
    pub(crate) target: Policy,
    /// Lists targets, or makes one, from what the trigger's expressions see.
    pub(crate) listing: Option<Expression>,
}

impl Existing {
    /// Reads a policy whose fields were checked; `None` where it changes nothing that is there.
    pub(crate) fn compile(object: &Value) -> Option<Existing> {
        if object["spec"]["evaluation"]["mutateExisting"]["enabled"] != true {
            return None;
        }
        let target = Policy::compile(&about_targets(object), true, &MUTATING);
        let text = object["spec"]["targetMatchConstraints"]["expression"].as_str().filter(|it| !it.is_empty());
        let listing = text.map(|it| Expression::compile_with(it, &MUTATING, &target.variables));
        Some(Existing { target, listing })
    }
}

/// The policy as one about its targets.
fn about_targets(object: &Value) -> Value {
    let spec = &object["spec"];
    let wanted = &spec["targetMatchConstraints"];
    let has_rules = !meta::list(wanted.get("resourceRules")).is_empty();
    let mut matching = if has_rules { wanted.clone() } else { spec["matchConstraints"].clone() };
    if let Some(all) = matching.as_object_mut() {
        all.remove("expression");
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in matching.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            if rule.is_object() {
                // They are there; nobody writes them.
                rule["operations"] = json!(["*"]);
            }
        }
    }
    let mut made = object.clone();
    made["spec"]["matchConstraints"] = matching;
    made["spec"]["matchConditions"] = json!(meta::list(spec.get("targetMatchConditions")));
    made
}

/// What is wrong with how a policy finds its targets.
pub(super) fn flaws(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let enabled = spec["evaluation"]["mutateExisting"]["enabled"] == true;
    if !enabled {
        let stray = ["targetMatchConstraints", "targetMatchConditions"].into_iter().filter(|it| spec.get(it).is_some());
        let why = "has no effect without evaluation.mutateExisting";
        return stray.map(|it| Cause::forbidden(format!("spec.{it}"), why)).collect();
    }
    // What the policy says of triggers is told as such.
    let has_rules = !meta::list(spec["targetMatchConstraints"].get("resourceRules")).is_empty();
    let known: &[&str] =
        if has_rules { &["spec.matchConstraints", "spec.matchConditions"] } else { &["spec.matchConditions"] };
    let own = flaws::surroundings(&about_targets(object), &MUTATING).into_iter();
    let own = own.filter(|it| known.iter().any(|known| it.field.starts_with(known)));
    let mut causes: Vec<Cause> =
        own.map(|it| Cause { field: it.field.replacen("spec.match", "spec.targetMatch", 1), ..it }).collect();
    let listing = &spec["targetMatchConstraints"]["expression"];
    if let Some(text) = listing.as_str().filter(|it| !it.is_empty()) {
        let variables = Policy::compile(object, true, &MUTATING).variables;
        if let Some(why) = Expression::compile_with(text, &MUTATING, &variables).flaw() {
            causes.push(Cause::invalid("spec.targetMatchConstraints.expression", listing, why));
        }
    }
    causes
}
