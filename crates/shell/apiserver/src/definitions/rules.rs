//! Rules in CEL: compiled when a definition is written and when its kind is first used, run on each write of an object.
//! Entry points: [`judge`], [`flaws`].

use eyot_model::{custom::schema::Schema, kinds::Kind, meta, status::Cause};
use eyot_rules::{Budget, Rules};
use serde_json::Value;

/// Objects larger than this are judged where they hold up nobody else.
const BYTES_AT_ONCE: usize = 32 << 10;

/// What the rules of a custom kind have against an object; nothing for built-in kinds.
pub(crate) fn judge(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let Some(custom) = &kind.custom else { return Vec::new() };
    let schema = custom.schema();
    let rules = custom.keep(|| Rules::compile(schema, "openAPIV3Schema"));
    let rules = match rules {
        Ok(rules) if rules.is_empty() => return Vec::new(),
        Ok(rules) => rules,
        // Refused when they were written, unless an older server took them.
        Err(flaws) => {
            return flaws.iter().map(|it| Cause::invalid(&it.field, &it.expression.as_str().into(), &it.why)).collect();
        }
    };
    // One budget for the object as a whole: a rule that spends it leaves nothing to the others.
    let run = || rules.check(schema, new, old, &mut Budget::new(Budget::WRITE));
    match is_large(new) && may_block() {
        true => tokio::task::block_in_place(run),
        false => run(),
    }
}

/// The rules of a definition that make no sense, and those that may cost too much. Of the latter the ones stay that the
/// definition before it had too.
pub(crate) fn flaws(definition: &Value, old: Option<&Value>) -> Vec<Cause> {
    let (mut causes, mut dear) = each(definition);
    if !dear.is_empty() {
        let known = old.map_or(Vec::new(), |it| each(it).1);
        dear.retain(|it| !known.contains(it));
    }
    causes.append(&mut dear);
    causes
}

fn each(definition: &Value) -> (Vec<Cause>, Vec<Cause>) {
    let (mut wrong, mut dear) = (Vec::new(), Vec::new());
    for (i, version) in meta::list(definition.pointer("/spec/versions")).iter().enumerate() {
        let Some(schema) = version.pointer("/schema/openAPIV3Schema") else { continue };
        let path = format!("spec.versions[{i}].schema.openAPIV3Schema");
        let schema = Schema::parse(schema);
        match Rules::compile(&schema, &path) {
            Ok(rules) => {
                let found = rules.too_dear(&schema, &path);
                dear.extend(found.into_iter().map(|it| Cause::forbidden(it.field, &it.why)));
            }
            Err(flaws) => {
                let found = flaws.into_iter();
                wrong.extend(found.map(|it| Cause::invalid(it.field, &it.expression.into(), &it.why)));
            }
        }
    }
    (wrong, dear)
}

/// Whether an object takes more than a moment to look at.
fn is_large(object: &Value) -> bool {
    /// What is left of so many bytes once the value is taken off; `None` when it is larger.
    fn rest(value: &Value, left: usize) -> Option<usize> {
        let left = left.checked_sub(16)?;
        match value {
            Value::String(text) => left.checked_sub(text.len()),
            Value::Array(list) => list.iter().try_fold(left, |left, it| rest(it, left)),
            Value::Object(map) => map.values().try_fold(left, |left, it| rest(it, left)),
            _ => Some(left),
        }
    }
    rest(object, BYTES_AT_ONCE).is_none()
}

fn may_block() -> bool {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.is_ok_and(|it| it.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
}
