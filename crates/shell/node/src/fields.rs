//! Values of a pod's own fields, for `fieldRef` and `resourceFieldRef`. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr};

use eyot_model::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

/// What a pod's fields depend on besides the object.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The pod's address.
    pub(crate) pod_ip: Ipv4Addr,
    /// The node's address.
    pub(crate) host_ip: Ipv4Addr,
    /// The node's name.
    pub(crate) node: Box<str>,
    /// What the node gives to pods, for limits that a container does not set.
    pub(crate) cpu_millis: u64,
    /// Same, in bytes.
    pub(crate) memory_bytes: u64,
}

/// Why a reference to a field has no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    /// Kubernetes has no such field for references, or this node does not.
    #[error("field {0:?} cannot be referred to")]
    Unknown(String),
    /// The container is not in the pod.
    #[error("container {0:?} not found")]
    NoContainer(String),
    /// The quantity or divisor is malformed.
    #[error("resource {0:?} has a malformed quantity")]
    Quantity(String),
}

/// The value of `path`, such as `metadata.labels['app']`. An absent label is empty.
pub(crate) fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node.to_string(),
        "spec.serviceAccountName" => text(spec.and_then(|it| it.service_account_name.as_ref())),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.to_string(),
        other => {
            let (map, key) = if let Some(key) = subscript(other, "metadata.labels") {
                (meta.labels.as_ref(), key)
            } else if let Some(key) = subscript(other, "metadata.annotations") {
                (meta.annotations.as_ref(), key)
            } else {
                return Err(FieldError::Unknown(other.to_owned()));
            };
            text(map.and_then(|it| it.get(key)))
        }
    })
}

/// Whether a volume of the pod shows labels or annotations, which change without the pod's spec.
pub(crate) fn in_volumes(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|it| it.volumes.iter().flatten());
    let mut items = volumes.flat_map(|volume| {
        let own = volume.downward_api.iter().flat_map(|it| it.items.iter().flatten());
        let sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
        own.chain(sources.filter_map(|it| it.downward_api.as_ref()).flat_map(|it| it.items.iter().flatten()))
    });
    items.any(|it| {
        let path = it.field_ref.as_ref().map_or("", |it| it.field_path.as_str());
        path.starts_with("metadata.labels") || path.starts_with("metadata.annotations")
    })
}

/// The key in `path` when it reads `name['key']` or `name["key"]`.
fn subscript<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let inside = path.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
    let single = inside.strip_prefix('\'').and_then(|it| it.strip_suffix('\''));
    single.or_else(|| inside.strip_prefix('"').and_then(|it| it.strip_suffix('"')))
}

/// `key="value"` lines, quoted as Kubernetes quotes them.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.iter().flat_map(|it| it.iter()).map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a container's request or limit in units of the divisor, rounded up.
pub(crate) fn resource(
    spec_containers: &[&Container],
    own: &Container,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, FieldError> {
    let container = match selector.container_name.as_deref() {
        None | Some("") => own,
        Some(name) => spec_containers
            .iter()
            .copied()
            .find(|it| it.name == name)
            .ok_or_else(|| FieldError::NoContainer(name.to_owned()))?,
    };
    let (list, resource) =
        selector.resource.split_once('.').ok_or_else(|| FieldError::Unknown(selector.resource.clone()))?;
    let resources = container.resources.as_ref();
    let list = match list {
        "limits" => resources.and_then(|it| it.limits.as_ref()),
        "requests" => resources.and_then(|it| it.requests.as_ref()),
        _ => return Err(FieldError::Unknown(selector.resource.clone())),
    };
    let malformed = || FieldError::Quantity(selector.resource.clone());
    let stated = list.and_then(|it| it.get(resource));
    let millis = match (stated, resource, selector.resource.starts_with("limits")) {
        (Some(quantity), ..) => thousandths(&quantity.0).ok_or_else(malformed)?,
        (None, "cpu", true) => i128::from(facts.cpu_millis),
        (None, "memory", true) => i128::from(facts.memory_bytes) * 1000,
        (None, "cpu" | "memory", false) => 0,
        _ => return Err(FieldError::Unknown(selector.resource.clone())),
    };
    let divisor = match &selector.divisor {
        Some(divisor) => thousandths(&divisor.0).ok_or_else(malformed)?,
        None => 0,
    };
    let divisor = if divisor == 0 { 1000 } else { divisor };
    Ok(((millis + divisor - 1) / divisor).to_string())
}

/// A quantity in thousandths, which a large number of bytes in an `i64` could not hold.
fn thousandths(text: &str) -> Option<i128> {
    let quantity: Quantity = text.parse().ok()?;
    if quantity.is_negative() {
        return None;
    }
    Some(if quantity.is_whole() { i128::from(quantity.units()) * 1000 } else { i128::from(quantity.millis()) })
}

/// A container's CPU limit in thousandths of a core, and its memory limit in bytes.
pub(crate) fn limits(container: &Container) -> Result<(Option<u32>, Option<u64>), FieldError> {
    let limit = |name: &str| {
        let quantity = container.resources.as_ref()?.limits.as_ref()?.get(name)?;
        Some(thousandths(&quantity.0).ok_or_else(|| FieldError::Quantity(format!("limits.{name}"))))
    };
    let cpu = limit("cpu").transpose()?.map(|it| u32::try_from(it).unwrap_or(u32::MAX).max(1));
    let memory = limit("memory").transpose()?.map(|it| u64::try_from(it / 1000).unwrap_or(u64::MAX));
    Ok((cpu, memory))
}

/// What a container asks for: thousandths of a core, and bytes of memory.
pub(crate) fn requests(container: &Container) -> (u64, u64) {
    let request = |name: &str| {
        let resources = container.resources.as_ref()?;
        let list = |it: Option<&BTreeMap<String, _>>| it.and_then(|it| it.get(name)).cloned();
        let quantity = list(resources.requests.as_ref()).or_else(|| list(resources.limits.as_ref()))?;
        let quantity: k8s_openapi::apimachinery::pkg::api::resource::Quantity = quantity;
        thousandths(&quantity.0)
    };
    let whole = |it: i128| u64::try_from(it).unwrap_or(u64::MAX);
    (request("cpu").map_or(0, whole), request("memory").map_or(0, |it| whole(it / 1000)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            pod_ip: Ipv4Addr::new(10, 42, 0, 7),
            host_ip: Ipv4Addr::new(192, 0, 2, 1),
            node: "edge".into(),
            cpu_millis: 2000,
            memory_bytes: 4 << 30,
        }
    }

    pub(crate) fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u-1", "labels": { "app": "web", "tier": "a\"b" } },
            "spec": { "serviceAccountName": "default", "containers": [
                { "name": "one", "resources": { "limits": { "cpu": "1500m", "memory": "100Mi" }, "requests": { "cpu": "100m" } } },
                { "name": "two" },
            ] },
        }))
        .unwrap()
    }

    #[test]
    fn fields_of_the_pod_have_their_values() {
        let (pod, facts) = (pod(), facts());
        let got: Vec<String> = [
            "metadata.name",
            "metadata.labels['app']",
            "metadata.labels[\"none\"]",
            "metadata.labels",
            "status.podIP",
            "status.hostIP",
            "spec.nodeName",
            "spec.containers",
            "metadata.labels[app]",
        ]
        .map(|path| format!("{path} -> {:?}", field(&pod, &facts, path)))
        .into();
        expect_test::expect![[r#"
            metadata.name -> Ok("web")
            metadata.labels['app'] -> Ok("web")
            metadata.labels["none"] -> Ok("")
            metadata.labels -> Ok("app=\"web\"\ntier=\"a\\\"b\"")
            status.podIP -> Ok("10.42.0.7")
            status.hostIP -> Ok("192.0.2.1")
            spec.nodeName -> Ok("edge")
            spec.containers -> Err(Unknown("spec.containers"))
            metadata.labels[app] -> Err(Unknown("metadata.labels[app]"))"#]]
        .assert_eq(&got.join("\n"));
    }

    #[test]
    fn resources_round_up_and_fall_back_to_what_the_node_has() {
        let pod = pod();
        let containers: Vec<&Container> = pod.spec.as_ref().unwrap().containers.iter().collect();
        let got: Vec<String> = [
            ("one", "limits.cpu", "0"),
            ("one", "limits.cpu", "1m"),
            ("one", "limits.memory", "1Mi"),
            ("two", "limits.memory", "1Gi"),
            ("two", "requests.cpu", "1"),
            ("none", "limits.cpu", "1"),
            ("one", "limits.gpu", "1"),
        ]
        .map(|(name, resource_name, divisor)| {
            let selector: ResourceFieldSelector = serde_json::from_value(
                serde_json::json!({ "containerName": name, "resource": resource_name, "divisor": divisor }),
            )
            .unwrap();
            format!(
                "{name} {resource_name} / {divisor} -> {:?}",
                resource(&containers, containers[0], &facts(), &selector)
            )
        })
        .into();
        expect_test::expect![[r#"
            one limits.cpu / 0 -> Ok("2")
            one limits.cpu / 1m -> Ok("1500")
            one limits.memory / 1Mi -> Ok("100")
            two limits.memory / 1Gi -> Ok("4")
            two requests.cpu / 1 -> Ok("0")
            none limits.cpu / 1 -> Err(NoContainer("none"))
            one limits.gpu / 1 -> Err(Unknown("limits.gpu"))"#]]
        .assert_eq(&got.join("\n"));
    }
}
