//! Priority classes: the priority of a new pod, and the one class that counts where a pod names none.

use eyot_model::{meta, status::ApiError};
use eyot_store::Key;
use serde_json::Value;

use super::{Admitted, Attempt, Operation};
use crate::{memo::Memo, object, server::Shared};

const RESOURCE: &str = "scheduling.k8s.io/priorityclasses";

/// The class for pods that name none.
pub(crate) struct GlobalDefault(Memo<Option<Class>>);

impl Default for GlobalDefault {
    fn default() -> Self {
        GlobalDefault(Memo::new(RESOURCE))
    }
}

#[derive(Clone)]
pub(crate) struct Class {
    name: String,
    value: i64,
    preemption: String,
}

/// Gives a new pod the priority of its class.
pub(super) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    pod: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    if !attempt.creates("", "Pod") {
        return Ok(());
    }
    let named = pod.pointer("/spec/priorityClassName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let class = match named.as_str() {
        "" => global_default(server),
        name => Some(find(server, name)?.ok_or_else(|| {
            let why = format!("no PriorityClass with name {name} was found");
            ApiError::forbidden(attempt.kind, attempt.name, &why)
        })?),
    };
    let class =
        class.unwrap_or_else(|| Class { name: String::new(), value: 0, preemption: "PreemptLowerPriority".to_owned() });
    let refused = |why: String| Err(ApiError::forbidden(attempt.kind, attempt.name, &why));
    let spec = meta::entry(pod, "spec");
    let by = "priority admission controller computed";
    if let Some(given) = spec.get("priority").and_then(Value::as_i64).filter(|it| *it != class.value) {
        return refused(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; {by} {} from the given \
             PriorityClass name",
            class.value
        ));
    }
    if let Some(given) = spec.get("preemptionPolicy").and_then(Value::as_str).filter(|it| *it != class.preemption) {
        return refused(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; {by} {} from the given \
             PriorityClass name",
            class.preemption
        ));
    }
    if !class.name.is_empty() {
        spec.insert("priorityClassName".into(), class.name.into());
    }
    spec.insert("priority".into(), class.value.into());
    spec.insert("preemptionPolicy".into(), class.preemption.into());
    Ok(())
}

/// Refuses a second default class.
pub(super) fn judge(server: &Shared, attempt: &Attempt<'_>, class: &Value, _: &mut Admitted) -> Result<(), ApiError> {
    let written = matches!(attempt.operation, Operation::Create | Operation::Update);
    if !written || !attempt.kind.is("scheduling.k8s.io", "PriorityClass") || class["globalDefault"] != true {
        return Ok(());
    }
    match global_default(server).filter(|it| it.name != attempt.name) {
        Some(Class { name, .. }) => {
            let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(ApiError::forbidden(attempt.kind, attempt.name, &why))
        }
        None => Ok(()),
    }
}

fn find(server: &Shared, name: &str) -> Result<Option<Class>, ApiError> {
    let entry = server.store.get(&Key::new(RESOURCE, "", name));
    entry.map(|it| object::parse(&it).map(|it| read(&it))).transpose()
}

/// Every new pod asks, so that the classes are looked through once for each change of one.
fn global_default(server: &Shared) -> Option<Class> {
    let found = server.global_default.0.get(&server.store, |entries| {
        let classes = entries.iter().filter_map(|it| object::parse(it).ok());
        let defaults = classes.filter(|it| it["globalDefault"] == true).map(|it| read(&it));
        // Two can only be there if both were written at the same moment; the lower one counts then.
        defaults.min_by_key(|it| it.value)
    });
    (*found).clone()
}

fn read(class: &Value) -> Class {
    Class {
        name: meta::name(class).unwrap_or_default().to_owned(),
        value: class["value"].as_i64().unwrap_or(0),
        preemption: class["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").to_owned(),
    }
}
