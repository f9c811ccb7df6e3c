//! What objects use of a ResourceQuota, and when it is exceeded.
//!
//! Start at [`Quota::parse`] and [`usage`]. Names, scopes and messages are those of Kubernetes. Deliberately absent:
//! device classes, and the sums themselves, which the server keeps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    meta, prepare,
    quantity::Quantity,
    resources::{self, Amounts, Bound},
};

/// Limits of one namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// Name of the ResourceQuota.
    pub name: String,
    /// Most that may be used, by resource.
    pub hard: Amounts,
    /// All must hold for an object to count.
    scopes: Vec<Scope>,
}

#[derive(Clone, Debug, PartialEq)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

/// What one object uses, and what scopes ask about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    /// By resource; what is not limited by anybody is there too.
    pub amounts: Amounts,
    /// `None` for what no scope can name.
    traits: Option<Traits>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Traits {
    terminating: bool,
    best_effort: bool,
    cross_affinity: bool,
    priority_class: String,
}

impl Quota {
    /// Reads a ResourceQuota.
    pub fn parse(object: &Value) -> Quota {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let texts = |value: Option<&Value>| -> Vec<String> {
            meta::list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let plain = texts(spec.get("scopes")).into_iter();
        let plain = plain.map(|name| Scope { name, operator: "Exists".to_owned(), values: Vec::new() });
        let selected = meta::list(spec.pointer("/scopeSelector/matchExpressions")).iter().map(|it| Scope {
            name: it["scopeName"].as_str().unwrap_or_default().to_owned(),
            operator: it["operator"].as_str().unwrap_or_default().to_owned(),
            values: texts(it.get("values")),
        });
        Quota {
            name: meta::name(object).unwrap_or_default().to_owned(),
            hard: resources::amounts(spec.get("hard")),
            scopes: plain.chain(selected).collect(),
        }
    }

    /// Whether it limits anything of which that object uses some.
    pub fn counts(&self, used: &Use) -> bool {
        self.selects(used) && used.amounts.keys().any(|it| self.hard.contains_key(it))
    }

    fn selects(&self, used: &Use) -> bool {
        self.scopes.is_empty() || used.traits.as_ref().is_some_and(|it| self.scopes.iter().all(|scope| scope.holds(it)))
    }

    /// The part of an object's use that this quota limits.
    pub fn part(&self, used: &Use) -> Amounts {
        if !self.selects(used) {
            return Amounts::new();
        }
        let limited = used.amounts.iter().filter(|(name, _)| self.hard.contains_key(*name));
        limited.map(|(name, amount)| (name.clone(), *amount)).collect()
    }

    /// What is in the way of using `wanted` more on top of `used`.
    pub fn exceeded(&self, wanted: &Amounts, used: &Amounts) -> Option<String> {
        let zero = Quantity::from_units(0);
        let now = |name: &str| used.get(name).copied().unwrap_or(zero);
        let over = |(name, amount): &(&String, &Quantity)| {
            **amount > zero && self.hard.get(*name).is_some_and(|hard| now(name).saturating_add(**amount) > *hard)
        };
        let over: Amounts = wanted.iter().filter(over).map(|(name, amount)| (name.clone(), *amount)).collect();
        if over.is_empty() {
            return None;
        }
        let of = |get: &dyn Fn(&str) -> Quantity| -> Amounts { over.keys().map(|it| (it.clone(), get(it))).collect() };
        Some(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            self.name,
            resources::describe(&over),
            resources::describe(&of(&now)),
            resources::describe(&of(&|name| self.hard.get(name).copied().unwrap_or(zero))),
        ))
    }

    /// What a pod must state because this quota limits it.
    pub fn missing(&self, pod: &Value) -> Option<String> {
        const STATED: [(&str, Bound, &str); 6] = [
            ("cpu", Bound::Requests, "cpu"),
            ("limits.cpu", Bound::Limits, "cpu"),
            ("limits.memory", Bound::Limits, "memory"),
            ("memory", Bound::Requests, "memory"),
            ("requests.cpu", Bound::Requests, "cpu"),
            ("requests.memory", Bound::Requests, "memory"),
        ];
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        let mut missing = Vec::new();
        for (limited, bound, resource) in STATED.iter().filter(|it| self.hard.contains_key(it.0)) {
            let states =
                |of: &Value| of.pointer("/resources").and_then(|it| it.get(bound.field())?.get(*resource)).is_some();
            if states(spec) {
                continue;
            }
            let containers = ["containers", "initContainers"].into_iter().flat_map(|it| meta::list(spec.get(it)));
            let silent = containers.filter(|it| !states(it));
            let names: BTreeSet<&str> = silent.map(|it| it["name"].as_str().unwrap_or_default()).collect();
            if !names.is_empty() {
                let names: Vec<&str> = names.into_iter().collect();
                missing.push(format!("{limited} for: {}", names.join(",")));
            }
        }
        (!missing.is_empty()).then(|| format!("failed quota: {}: must specify {}", self.name, missing.join("; ")))
    }

    /// The resources (`group/plural`) whose objects it counts.
    pub fn resources(&self) -> BTreeSet<String> {
        self.hard.keys().map(|it| resource_of(it)).collect()
    }
}

impl Scope {
    fn holds(&self, pod: &Traits) -> bool {
        let holds = match self.name.as_str() {
            "Terminating" => pod.terminating,
            "NotTerminating" => !pod.terminating,
            "BestEffort" => pod.best_effort,
            "NotBestEffort" => !pod.best_effort,
            "CrossNamespacePodAffinity" => pod.cross_affinity,
            "PriorityClass" => return self.compares(&pod.priority_class),
            _ => return false,
        };
        holds == (self.operator != "DoesNotExist")
    }

    fn compares(&self, class: &str) -> bool {
        match self.operator.as_str() {
            "In" => self.values.iter().any(|it| it == class),
            "NotIn" => !self.values.iter().any(|it| it == class),
            "Exists" => !class.is_empty(),
            "DoesNotExist" => class.is_empty(),
            _ => false,
        }
    }
}

/// The resource (`group/plural`) that a limited name is about.
fn resource_of(name: &str) -> String {
    if let Some(resource) = name.strip_prefix("count/") {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        return format!("{group}/{plural}");
    }
    match name {
        "configmaps" | "persistentvolumeclaims" | "replicationcontrollers" | "resourcequotas" | "secrets" => {
            format!("/{name}")
        }
        "requests.storage" => "/persistentvolumeclaims".to_owned(),
        name if name.ends_with("requests.storage") || name.ends_with("/persistentvolumeclaims") => {
            "/persistentvolumeclaims".to_owned()
        }
        name if name == "services" || name.starts_with("services.") => "/services".to_owned(),
        _ => "/pods".to_owned(),
    }
}

/// What an object of a resource (`group/plural`) uses.
pub fn usage(resource: &str, object: &Value) -> Use {
    let mut amounts = Amounts::new();
    let mut count = |name: &str, units: i64| {
        amounts.insert(name.to_owned(), Quantity::from_units(units));
    };
    let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
    match group {
        "" => count(&format!("count/{plural}"), 1),
        group => count(&format!("count/{plural}.{group}"), 1),
    }
    let mut traits = None;
    match resource {
        "/configmaps" | "/replicationcontrollers" | "/resourcequotas" | "/secrets" => count(plural, 1),
        "/services" => service(object, count),
        "/persistentvolumeclaims" => claim(object, &mut amounts),
        "/pods" => {
            traits = Some(Traits::of(object));
            if !matches!(object.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
                count("pods", 1);
                pod(object, &mut amounts);
            }
        }
        _ => {}
    }
    Use { amounts, traits }
}

fn service(service: &Value, mut count: impl FnMut(&str, i64)) {
    count("services", 1);
    let ports = meta::list(service.pointer("/spec/ports"));
    let opened = match service.pointer("/spec/type").and_then(Value::as_str) {
        Some("NodePort") => ports.len(),
        Some("LoadBalancer") => {
            count("services.loadbalancers", 1);
            let all = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            ports.iter().filter(|it| all || it["nodePort"].as_i64().unwrap_or(0) != 0).count()
        }
        _ => 0,
    };
    count("services.nodeports", i64::try_from(opened).unwrap_or(i64::MAX));
}

fn claim(claim: &Value, amounts: &mut Amounts) {
    let one = Quantity::from_units(1);
    amounts.insert("persistentvolumeclaims".to_owned(), one);
    let storage = claim.pointer("/spec/resources/requests/storage").and_then(resources::quantity);
    let class = claim.pointer("/spec/storageClassName").and_then(Value::as_str).unwrap_or_default();
    if !class.is_empty() {
        amounts.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one);
    }
    if let Some(storage) = storage {
        amounts.insert("requests.storage".to_owned(), storage);
        if !class.is_empty() {
            amounts.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage);
        }
    }
}

fn pod(pod: &Value, amounts: &mut Amounts) {
    let own = |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    for (name, amount) in resources::of_pod(pod, Bound::Requests) {
        amounts.insert(format!("requests.{name}"), amount);
        if own(&name) {
            amounts.insert(name, amount);
        }
    }
    for (name, amount) in resources::of_pod(pod, Bound::Limits).into_iter().filter(|it| own(&it.0)) {
        amounts.insert(format!("limits.{name}"), amount);
    }
}

impl Traits {
    fn of(pod: &Value) -> Traits {
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        Traits {
            terminating: spec["activeDeadlineSeconds"].as_i64().is_some_and(|it| it >= 0),
            best_effort: prepare::qos_class(pod) == "BestEffort",
            cross_affinity: has_cross_affinity(spec),
            priority_class: spec["priorityClassName"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// Whether a pod looks at pods of other namespaces to find its place.
fn has_cross_affinity(spec: &Value) -> bool {
    let terms = ["podAffinity", "podAntiAffinity"].into_iter().flat_map(|it| {
        let affinity = &spec["affinity"][it];
        let hard = meta::list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")).iter();
        let soft = meta::list(affinity.get("preferredDuringSchedulingIgnoredDuringExecution")).iter();
        hard.chain(soft.map(|it| &it["podAffinityTerm"]))
    });
    let mut terms = terms;
    terms.any(|it| {
        !meta::list(it.get("namespaces")).is_empty() || it.get("namespaceSelector").is_some_and(Value::is_object)
    })
}

/// `status` of a quota: what is used of everything it limits.
pub fn status(quota: &Quota, used: &Amounts) -> Value {
    let zero = Quantity::from_units(0);
    let texts = |get: &dyn Fn(&str, Quantity) -> Quantity| -> BTreeMap<String, String> {
        quota.hard.iter().map(|(name, hard)| (name.clone(), get(name, *hard).to_string())).collect()
    };
    serde_json::json!({
        "hard": texts(&|_, hard| hard),
        "used": texts(&|name, _| used.get(name).copied().unwrap_or(zero)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quota(spec: Value) -> Quota {
        Quota::parse(&json!({"metadata": {"name": "q"}, "spec": spec}))
    }

    fn shown(resource: &str, object: Value) -> String {
        resources::describe(&usage(resource, &object).amounts)
    }

    #[test]
    fn every_kind_counts_and_some_count_more() {
        let container = json!({"resources": {
            "requests": {"cpu": "1", "example.com/gpu": "2"}, "limits": {"memory": "1Gi", "example.com/gpu": "2"},
        }});
        for (resource, object, want) in [
            ("apps/deployments", json!({}), "count/deployments.apps=1"),
            ("/configmaps", json!({}), "configmaps=1,count/configmaps=1"),
            (
                "/services",
                json!({"spec": {"type": "NodePort", "ports": [{}, {}]}}),
                "count/services=1,services=1,services.nodeports=2",
            ),
            (
                "/services",
                json!({"spec": {"type": "LoadBalancer", "ports": [{}]}}),
                "count/services=1,services=1,services.loadbalancers=1,services.nodeports=1",
            ),
            (
                "/persistentvolumeclaims",
                json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}),
                "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi",
            ),
            (
                "/pods",
                json!({"spec": {"containers": [container]}}),
                "count/pods=1,cpu=1,limits.memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2",
            ),
            ("/pods", json!({"spec": {"containers": [container]}, "status": {"phase": "Failed"}}), "count/pods=1"),
        ] {
            assert_eq!(shown(resource, object), want);
        }
    }

    #[test]
    fn what_goes_beyond_is_told_with_what_is_used() {
        let quota = quota(json!({"hard": {"pods": "2", "requests.cpu": "1"}}));
        let amounts = |text: Value| resources::amounts(Some(&text));
        let wanted = amounts(json!({"pods": "1", "requests.cpu": "500m"}));
        assert_eq!(quota.exceeded(&wanted, &amounts(json!({"pods": "1", "requests.cpu": "500m"}))), None);
        assert_eq!(
            quota.exceeded(&wanted, &amounts(json!({"pods": "2", "requests.cpu": "600m"}))).as_deref(),
            Some(
                "exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=2,requests.cpu=600m, limited: pods=2,requests.cpu=1"
            )
        );
        // What shrinks is never in the way, even where too much is used already.
        assert_eq!(quota.exceeded(&amounts(json!({"pods": "-1"})), &amounts(json!({"pods": "5"}))), None);
    }

    #[test]
    fn limited_compute_must_be_stated_by_each_container() {
        let quota = quota(json!({"hard": {"limits.memory": "1Gi", "cpu": "1", "pods": "1"}}));
        let stated = json!({"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1"}}});
        let silent = json!({"name": "b"});
        assert_eq!(quota.missing(&json!({"spec": {"containers": [stated]}})), None);
        assert_eq!(
            quota
                .missing(&json!({"spec": {"containers": [stated, silent], "initContainers": [{"name": "i"}]}}))
                .as_deref(),
            Some("failed quota: q: must specify cpu for: b,i; limits.memory for: b,i")
        );
        let whole = json!({"requests": {"cpu": "1"}, "limits": {"memory": "1"}});
        assert_eq!(quota.missing(&json!({"spec": {"containers": [silent], "resources": whole}})), None);
    }

    #[test]
    fn scopes_choose_pods() {
        let plain = json!({"spec": {"containers": [{}]}});
        let demanding = json!({"spec": {
            "activeDeadlineSeconds": 5, "priorityClassName": "high",
            "containers": [{"resources": {"requests": {"cpu": "1"}}}],
        }});
        let class = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values},
            ]}})
        };
        for (spec, takes_plain, takes_demanding) in [
            (json!({}), true, true),
            (json!({"scopes": ["BestEffort"]}), true, false),
            (json!({"scopes": ["NotBestEffort"]}), false, true),
            (json!({"scopes": ["Terminating"]}), false, true),
            (json!({"scopes": ["NotTerminating", "BestEffort"]}), true, false),
            (class("In", json!(["high"])), false, true),
            (class("NotIn", json!(["high"])), true, false),
            (class("Exists", json!([])), false, true),
            (class("DoesNotExist", json!([])), true, false),
        ] {
            let mut spec = spec;
            spec["hard"] = json!({"pods": "1"});
            let quota = quota(spec.clone());
            let takes = |pod: &Value| quota.counts(&usage("/pods", pod));
            assert_eq!((takes(&plain), takes(&demanding)), (takes_plain, takes_demanding), "{spec}");
        }
        let scoped = quota(json!({"hard": {"services": "1"}, "scopes": ["BestEffort"]}));
        assert!(!scoped.counts(&usage("/services", &json!({}))));
    }

    #[test]
    fn limited_names_lead_to_resources() {
        let quota = quota(json!({"hard": {
            "count/deployments.apps": "1", "count/secrets": "1", "services.nodeports": "1", "requests.storage": "1",
            "gold.storageclass.storage.k8s.io/requests.storage": "1", "requests.example.com/gpu": "1", "cpu": "1",
        }}));
        let resources: Vec<String> = quota.resources().into_iter().collect();
        assert_eq!(resources, ["/persistentvolumeclaims", "/pods", "/secrets", "/services", "apps/deployments"]);
    }
}
