//! Amounts of named resources: what pods ask for and may use. Entry point: [`of_pod`].

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{meta, quantity::Quantity};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Which of the two lists of a container is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// What is set aside.
    Requests,
    /// What may be used at most.
    Limits,
}

impl Bound {
    /// The field of `resources`.
    pub fn field(self) -> &'static str {
        match self {
            Bound::Requests => "requests",
            Bound::Limits => "limits",
        }
    }
}

/// Reads a map of quantities; what is none is left out.
pub fn amounts(map: Option<&Value>) -> Amounts {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

/// A quantity as text or number.
pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// What one container asks for or may use.
pub fn of_container(container: &Value, bound: Bound) -> Amounts {
    amounts(container.pointer("/resources").and_then(|it| it.get(bound.field())))
}

/// What a pod's containers ask for or may use together at any time, with the overhead of its runtime.
///
/// Init containers run one after another before the others, except those that stay, which count from then on. What the
/// pod says for itself stands in place of the sum.
pub fn of_pod(pod: &Value, bound: Bound) -> Amounts {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let mut together = Amounts::new();
    for container in meta::list(spec.get("containers")) {
        add(&mut together, &of_container(container, bound));
    }
    let (mut staying, mut peak) = (Amounts::new(), Amounts::new());
    for container in meta::list(spec.get("initContainers")) {
        let own = of_container(container, bound);
        if container["restartPolicy"] == "Always" {
            add(&mut together, &own);
            add(&mut staying, &own);
            raise(&mut peak, &staying);
        } else {
            let mut now = staying.clone();
            add(&mut now, &own);
            raise(&mut peak, &now);
        }
    }
    raise(&mut together, &peak);
    together.extend(amounts(spec.pointer("/resources").and_then(|it| it.get(bound.field()))));
    for (name, overhead) in amounts(spec.get("overhead")) {
        match (together.get_mut(&name), bound) {
            (Some(amount), _) => *amount = amount.saturating_add(overhead),
            // What has no limit gets none from the overhead.
            (None, Bound::Limits) => {}
            (None, Bound::Requests) => {
                together.insert(name, overhead);
            }
        }
    }
    together
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        let sum = to.entry(name.clone()).or_insert(Quantity::from_units(0));
        *sum = sum.saturating_add(*amount);
    }
}

/// Takes amounts from others.
pub fn subtract(from: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        let rest = from.get(name).copied().unwrap_or(Quantity::from_units(0)).saturating_sub(*amount);
        from.insert(name.clone(), rest);
    }
}

fn raise(to: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        let most = to.entry(name.clone()).or_insert(*amount);
        *most = (*most).max(*amount);
    }
}

/// `cpu=1,pods=2`, as Kubernetes lists amounts in messages.
pub fn describe(amounts: &Amounts) -> String {
    let all: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_count_by_their_peak() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let staying = json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}});
        for (init, want) in [
            (json!([]), "cpu=300m"),
            (json!([container("1")]), "cpu=1"),
            (json!([container("100m"), container("250m")]), "cpu=300m"),
            (json!([staying]), "cpu=500m"),
            (json!([staying, container("1")]), "cpu=1200m"),
        ] {
            let pod = json!({"spec": {"initContainers": init, "containers": [container("100m"), container("200m")]}});
            assert_eq!(describe(&of_pod(&pod, Bound::Requests)), want);
        }
    }

    #[test]
    fn overhead_and_pod_level_amounts_count() {
        let pod = json!({"spec": {
            "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}}],
            "resources": {"requests": {"cpu": "3"}}, "overhead": {"cpu": "250m", "memory": "64Mi"},
        }});
        assert_eq!(describe(&of_pod(&pod, Bound::Requests)), "cpu=3250m,memory=1088Mi");
        assert_eq!(describe(&of_pod(&pod, Bound::Limits)), "cpu=2250m");
    }
}
