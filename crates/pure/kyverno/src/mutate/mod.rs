//! Changes to the object at hand, or to others.
//!
//! Entry points: [`object`], [`targets`]. Patches in the shape of the object go through [`preprocess`] and then
//! [`merge`]; operations through [`operations`].

mod merge;
pub(crate) mod operations;
mod preprocess;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::{
    context::Context,
    matching,
    policy::{Policy, RuleKind, RuleResult, Status},
    spec::{Mutate, MutateEach, Order, Rule, Target},
    text, validate, variables, wildcard,
};

/// Rounds of all loops of a rule together.
const ROUNDS_MAX: usize = 10_000;
/// Objects that one request may change beside its own.
const TARGETS_MAX: usize = 1_000;

/// What came of a change.
enum Changed {
    /// The object is another one.
    Yes,
    /// Nothing to do.
    No(String),
    /// It failed; the object may be half changed.
    Error(String),
}

/// A patch of either sort.
#[derive(Clone, Copy)]
struct Patch<'p> {
    merge: Option<&'p Value>,
    operations: &'p str,
}

/// How an object was changed.
pub(crate) enum Made {
    /// By this patch, which does the same to one that is equal.
    Merged(Value),
    /// In some other way.
    Anew,
}

impl Made {
    /// Shows the context the object, which was changed like this.
    pub(crate) fn show(&self, object: &Value, context: &mut Context<'_>) {
        match self {
            Made::Merged(patch) => context.change_object(|it| {
                merge::merge(it, patch);
            }),
            Made::Anew => context.set_object(object.clone()),
        }
    }
}

/// Changes the object at hand.
pub(crate) fn object(
    rule: &Rule,
    mutate: &Mutate,
    object: &mut Value,
    context: &mut Context<'_>,
) -> (RuleResult, Option<Made>) {
    let result = |status: Status, message: String| RuleResult::new(rule, RuleKind::Mutation, status, message);
    // A merge cannot fail once it begins; everything else is tried on a copy.
    if let (Some(merge), true) = (&mutate.patch_strategic_merge, mutate.foreach.is_empty()) {
        return match merged(merge, object, context) {
            Ok(Some(patch)) => (result(Status::Pass, success(object)), Some(Made::Merged(patch))),
            Ok(None) => (result(Status::Skip, NOTHING.to_owned()), None),
            Err(why) => (result(Status::Error, why), None),
        };
    }
    let mut copy = object.clone();
    match change(mutate, &mut copy, context) {
        Changed::Yes => {
            *object = copy;
            (result(Status::Pass, success(object)), Some(Made::Anew))
        }
        Changed::No(why) => (result(Status::Skip, why), None),
        Changed::Error(why) => (result(Status::Error, why), None),
    }
}

fn success(object: &Value) -> String {
    let (kind, name) = (text::plain(&object["kind"]), text::plain(&object["metadata"]["name"]));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) if !namespace.is_empty() => format!("mutated {kind}/{name} in namespace {namespace}"),
        _ => format!("mutated {kind}/{name}"),
    }
}

/// Changes other objects than the one at hand.
pub(crate) fn targets(policy: &Policy, rule: &Rule, mutate: &Mutate, context: &mut Context<'_>) -> RuleResult {
    let mut result = RuleResult::new(rule, RuleKind::Mutation, Status::Skip, "no patches applied");
    let mut messages = Vec::new();
    for (at, target) in mutate.targets.iter().enumerate() {
        let found = match find(policy, target, context) {
            Ok(found) => found,
            Err(why) => {
                result.status = Status::Error;
                messages.push(format!("failed to load target[{at}]: {why}"));
                continue;
            }
        };
        for object in found {
            let mark = context.mark();
            let before = identity(&object);
            let mut object = object;
            let changed = change_target(mutate, target, &mut object, context);
            context.restore(&mark);
            match changed {
                Changed::Yes if identity(&object) != before => {
                    result.status = Status::Error;
                    messages.push(ANOTHER.to_owned());
                }
                Changed::Yes => {
                    messages.push(success(&object));
                    result.targets.push(object);
                    if result.status == Status::Skip {
                        result.status = Status::Pass;
                    }
                }
                Changed::No(why) => messages.push(why),
                Changed::Error(why) => {
                    result.status = Status::Error;
                    messages.push(why);
                }
            }
        }
    }
    if !messages.is_empty() {
        result.message = messages.join("; ");
    }
    result
}

/// Why a change of an object that is there is refused.
pub(crate) const ANOTHER: &str = "a change must leave the target the object that it is: its apiVersion, kind, name, \
                                  namespace, uid and resourceVersion";

/// What tells an object, as it was read, from all others.
pub(crate) fn identity(object: &Value) -> [Value; 6] {
    let metadata = |field: &str| object["metadata"][field].clone();
    let [name, namespace, uid, version] = ["name", "namespace", "uid", "resourceVersion"].map(metadata);
    [object["apiVersion"].clone(), object["kind"].clone(), name, namespace, uid, version]
}

fn find(policy: &Policy, target: &Target, context: &mut Context<'_>) -> Result<Vec<Value>, String> {
    let api_version = context.substituted_text(&target.api_version)?;
    let kind = context.substituted_text(&target.kind)?;
    if kind.contains('/') {
        return Err(format!("{kind}: subresources of other objects are not changed here"));
    }
    let name = context.substituted_text(&target.name)?;
    let namespace = match policy.namespace.as_str() {
        "" => context.substituted_text(&target.namespace)?,
        own => own.to_owned(),
    };
    let selector = target.selector.as_ref().map(|it| variables::substitute(context, it)).transpose();
    let selector = selector.map_err(|it| it.to_string())?;
    let within = if wildcard::is_glob(&namespace) { "" } else { namespace.as_str() };
    let fits = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        (name.is_empty() || wildcard::matches(&name, text("name")))
            && (namespace.is_empty() || wildcard::matches(&namespace, text("namespace")))
            && (target.uid.is_empty() || target.uid == text("uid"))
            && selector.as_ref().is_none_or(|it| matching::selector_fits(it, &object["metadata"]["labels"]))
    };
    let all = context.source.list(&api_version, &kind, within)?;
    let found: Vec<Value> = all.iter().filter(|it| fits(it)).map(|it| Value::clone(it)).collect();
    if found.len() > TARGETS_MAX {
        return Err(format!("more than {TARGETS_MAX} targets"));
    }
    Ok(found)
}

fn change_target(mutate: &Mutate, target: &Target, object: &mut Value, context: &mut Context<'_>) -> Changed {
    context.set("target", object.clone());
    context.add_entries(&target.context);
    match target.preconditions.evaluate(context) {
        Ok((true, _)) => change(mutate, object, context),
        Ok((false, message)) => Changed::No(text::join_filled(["preconditions not met", &message], "; ")),
        Err(why) => Changed::Error(format!("failed to evaluate preconditions: {why}")),
    }
}

fn change(mutate: &Mutate, object: &mut Value, context: &mut Context<'_>) -> Changed {
    if !mutate.foreach.is_empty() {
        let mut rounds = 0;
        return match each(&mutate.foreach, object, context, 0, &mut rounds) {
            Ok(0) => Changed::No("0 elements processed".to_owned()),
            Ok(_) => Changed::Yes,
            Err(why) => Changed::Error(why),
        };
    }
    let merge = mutate.patch_strategic_merge.as_ref();
    apply(Patch { merge, operations: &mutate.patches_json6902 }, object, context)
}

fn apply(patch: Patch<'_>, object: &mut Value, context: &mut Context<'_>) -> Changed {
    if let Some(merge) = patch.merge {
        return match merged(merge, object, context) {
            Ok(Some(_)) => Changed::Yes,
            Ok(None) => Changed::No(NOTHING.to_owned()),
            Err(why) => Changed::Error(why),
        };
    }
    let text = match context.substituted_text(patch.operations) {
        Ok(it) => it,
        Err(why) => return Changed::Error(format!("variable substitution failed: {why}")),
    };
    match operations::parse(&text).and_then(|it| operations::apply(object, &it)) {
        Ok(patched) if text::equal(&patched, object) => Changed::No(NOTHING.to_owned()),
        Ok(patched) => {
            *object = patched;
            Changed::Yes
        }
        Err(why) => Changed::Error(format!("failed to patch resource: {why}")),
    }
}

/// Merges a patch in the shape of the object; returns it as it was merged if that changed the object.
fn merged(patch: &Value, object: &mut Value, context: &mut Context<'_>) -> Result<Option<Value>, String> {
    let substituted = variables::substitute_at(context, patch, &[]);
    let substituted = substituted.map_err(|why| format!("variable substitution failed: {why}"))?;
    let patch = preprocess::preprocess(substituted, object);
    Ok(merge::merge(object, &patch).then_some(patch))
}

const NOTHING: &str = "no patches applied";

/// Runs loops over an object; returns how many changed it.
fn each(
    all: &[MutateEach],
    object: &mut Value,
    context: &mut Context<'_>,
    nesting: usize,
    rounds: &mut usize,
) -> Result<usize, String> {
    let mut applied = 0;
    for each in all {
        let elements = validate::elements(&each.list, context)
            .map_err(|it| format!("failed to evaluate list {}: {it}", each.list))?;
        let mark = context.mark();
        let changed = over_elements(each, &elements, object, context, nesting, rounds);
        context.restore(&mark);
        if changed? {
            applied += 1;
            context.set_object(object.clone());
        }
    }
    Ok(applied)
}

fn over_elements(
    each: &MutateEach,
    elements: &[Value],
    object: &mut Value,
    context: &mut Context<'_>,
    nesting: usize,
    rounds: &mut usize,
) -> Result<bool, String> {
    let mark = context.mark();
    // A merged element comes to stand first, so that going backwards keeps their order.
    let backwards = each.order.map_or(each.patch_strategic_merge.is_some(), |it| it == Order::Descending);
    let mut order: Vec<usize> = (0..elements.len()).collect();
    if backwards {
        order.reverse();
    }
    let mut changed = false;
    for at in order.into_iter().filter(|it| !elements[*it].is_null()) {
        *rounds += 1;
        if *rounds > ROUNDS_MAX {
            return Err(format!("the rule's loops take more than {ROUNDS_MAX} rounds"));
        }
        context.restore(&mark);
        context.set_element(&elements[at], at, nesting);
        context.add_entries(&each.context);
        let failed = |why: String| format!("failed to mutate elements: {why}");
        let holds = each.preconditions.evaluate(context);
        let holds =
            holds.map_err(|it| failed(format!("failed to evaluate mutate.foreach[{at}].preconditions: {it}")))?;
        if !holds.0 {
            continue;
        }
        if !each.foreach.is_empty() {
            changed |= self::each(&each.foreach, object, context, nesting + 1, rounds)? > 0;
            continue;
        }
        let merge = each.patch_strategic_merge.as_ref();
        match apply(Patch { merge, operations: &each.patches_json6902 }, object, context) {
            Changed::Yes => changed = true,
            Changed::No(_) => {}
            Changed::Error(why) => return Err(failed(why)),
        }
    }
    Ok(changed)
}
