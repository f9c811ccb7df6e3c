//! Checks of limits, quotas and priorities.

use std::collections::BTreeSet;

use super::{at::At, names};
use crate::{
    quantity::Quantity,
    resources::{self, Amounts},
    status::Cause,
};

pub(super) fn limit_range(spec: &At<'_>, causes: &mut Vec<Cause>) {
    spec.get("limits").unique("type", causes);
    for item in spec.get("limits").items() {
        let of_type = item.get("type");
        of_type.grammar(names::qualified_name, causes);
        let amounts = |field: &str, causes: &mut Vec<Cause>| amounts(&item.get(field), false, causes);
        let (min, max) = (amounts("min", causes), amounts("max", causes));
        let (default, request) = (amounts("default", causes), amounts("defaultRequest", causes));
        let ratio = amounts("maxLimitRequestRatio", causes);
        if of_type.text() == "Pod" {
            for field in ["default", "defaultRequest"].map(|it| item.get(it)).iter().filter(|it| !it.is_empty()) {
                causes.push(field.forbidden("may not be specified when `type` is 'Pod'"));
            }
        }
        if of_type.text() == "PersistentVolumeClaim" && !min.contains_key("storage") && !max.contains_key("storage") {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            causes.push(Cause::required(&item.path, why));
        }
        for (low, low_field, low_word, high, high_word) in [
            (&min, "min", "min value", &max, "max value"),
            (&min, "min", "min value", &request, "default request value"),
            (&min, "min", "min value", &default, "default value"),
            (&request, "defaultRequest", "default request value", &max, "max value"),
            (&request, "defaultRequest", "default request value", &default, "default limit value"),
            (&default, "default", "default value", &max, "max value"),
        ] {
            for (name, low, high) in low.iter().filter_map(|(name, low)| Some((name, low, high.get(name)?))) {
                if low > high {
                    let field = format!("{}[{name}]", item.get(low_field).path);
                    let why = format!("{low_word} {low} is greater than {high_word} {high}");
                    causes.push(Cause::invalid(field, &low.to_string().into(), &why));
                }
            }
        }
        for (name, ratio) in ratio.iter().filter(|it| *it.1 < Quantity::from_units(1)) {
            let field = format!("{}[{name}]", item.get("maxLimitRequestRatio").path);
            causes.push(Cause::invalid(field, &ratio.to_string().into(), &format!("ratio {ratio} is less than 1")));
        }
    }
}

/// Reads a map of amounts and reports those that are none, negative, or fractions of what comes whole.
fn amounts(map: &At<'_>, whole: bool, causes: &mut Vec<Cause>) -> Amounts {
    let mut found = Amounts::new();
    for (name, at) in map.entries() {
        match resources::quantity(at.value) {
            None => causes.push(at.invalid(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )),
            Some(it) if it.is_negative() => causes.push(at.invalid("must be greater than or equal to 0")),
            Some(it) if whole && comes_whole(name) && !it.is_whole() => causes.push(at.invalid("must be an integer")),
            Some(it) => {
                found.insert(name.to_owned(), it);
            }
        }
    }
    found
}

fn comes_whole(name: &str) -> bool {
    name.starts_with("count/") || COUNTED.contains(&name) || name.starts_with("services.")
}

const COUNTED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];
const MEASURED: &[&str] = &[
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "services.loadbalancers",
    "services.nodeports",
];

pub(super) fn resource_quota(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let hard = spec.get("hard");
    amounts(&hard, true, causes);
    for (name, at) in hard.entries() {
        let plain = !name.contains('/');
        let known = COUNTED.contains(&name)
            || MEASURED.contains(&name)
            || ["hugepages-", "requests.hugepages-", "limits.hugepages-"].iter().any(|it| name.starts_with(it));
        let value = serde_json::Value::from(name);
        if plain && !known {
            causes.push(Cause::invalid(&at.path, &value, "must be a standard resource for quotas"));
        } else if let Err(why) = names::qualified_name(name.strip_prefix("count/").unwrap_or(name)) {
            causes.push(Cause::invalid(&at.path, &value, &why));
        }
    }
    scopes(spec, causes);
}

fn scopes(spec: &At<'_>, causes: &mut Vec<Cause>) {
    const KNOWN: &[&str] = &[
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    ];
    let list = spec.get("scopes");
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for scope in list.items() {
        if !KNOWN.contains(&scope.text()) {
            causes.push(Cause::invalid(&list.path, list.value, "unsupported scope"));
        }
        found.insert(scope.text());
    }
    let expressions = spec.get("scopeSelector").get("matchExpressions");
    for it in expressions.items() {
        let (scope, operator, values) = (it.get("scopeName"), it.get("operator"), it.get("values"));
        if !KNOWN.contains(&scope.text()) {
            causes.push(scope.invalid("unsupported scope"));
        }
        found.insert(scope.text());
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                causes.push(
                    values.required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector";
                causes.push(values.invalid(why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => causes.push(operator.invalid("not a valid selector operator")),
        }
        if !matches!(scope.text(), "PriorityClass" | "VolumeAttributesClass") && operator.text() != "Exists" {
            let why = format!("must be 'Exist' when scope is any of {KNOWN:?}");
            causes.push(operator.invalid(&why));
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if found.contains(one) && found.contains(other) {
            causes.push(Cause::invalid(&list.path, list.value, "conflicting scopes"));
        }
    }
    let pods_only = found.contains("BestEffort");
    for (name, _) in spec.get("hard").entries() {
        let of_pods = name == "pods" || (!pods_only && measures_pods(name));
        if found.iter().any(|it| KNOWN.contains(it) && *it != "VolumeAttributesClass") && !of_pods {
            causes.push(Cause::invalid(
                &list.path,
                list.value,
                &format!("unsupported scope applied to resource {name}"),
            ));
        }
    }
}

fn measures_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage" | "count/pods")
        || (name.starts_with("requests.") && name != "requests.storage")
        || name.starts_with("limits.")
        || name.starts_with("hugepages-")
}

pub(super) fn priority_class(object: &At<'_>, causes: &mut Vec<Cause>) {
    const HIGHEST: i64 = 1_000_000_000;
    const SYSTEM: [(&str, i64); 2] =
        [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
    let (name, value) = (object.at("metadata.name"), object.get("value"));
    object.get("preemptionPolicy").one_of(&["Never", "PreemptLowerPriority"], causes);
    let number = value.number().unwrap_or(0);
    if name.text().starts_with("system-") {
        if !SYSTEM.contains(&(name.text(), number)) {
            let why = "priority class names with 'system-' prefix are reserved for system use only";
            causes.push(name.forbidden(why));
        }
    } else if number > HIGHEST {
        causes.push(value.forbidden(&format!("maximum allowed value of a user defined priority is {HIGHEST}")));
    }
}
