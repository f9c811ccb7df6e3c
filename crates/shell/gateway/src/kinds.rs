//! The few fields of Kubernetes objects that routing needs.
//!
//! Specs that users write for us are kept as JSON values here and read by `attach`, so that one bad object becomes a
//! condition on that object instead of an end to the watch.

use std::{borrow::Cow, collections::BTreeMap};

use kube::{
    Resource,
    core::{ClusterResourceScope, NamespaceResourceScope, ObjectMeta},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::hold::Terms;

macro_rules! resource {
    ($name:ident, $group:literal, $version:literal, $plural:literal, $scope:ty) => {
        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                stringify!($name).into()
            }
            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

macro_rules! opaque {
    ($name:ident, $group:literal, $version:literal, $plural:literal, $scope:ty) => {
        /// Metadata, and the rest as it came.
        #[derive(Clone, Debug, Deserialize)]
        pub(crate) struct $name {
            pub(crate) metadata: ObjectMeta,
            #[serde(default)]
            pub(crate) spec: Value,
            #[serde(default)]
            pub(crate) status: Value,
        }
        resource!($name, $group, $version, $plural, $scope);
    };
}

opaque!(GatewayClass, "gateway.networking.k8s.io", "v1", "gatewayclasses", ClusterResourceScope);
opaque!(Gateway, "gateway.networking.k8s.io", "v1", "gateways", NamespaceResourceScope);
opaque!(Ingress, "networking.k8s.io", "v1", "ingresses", NamespaceResourceScope);

/// A route of the Gateway API. There may be tens of thousands, so its parts are kept as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HTTPRoute {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Packed,
    #[serde(default)]
    pub(crate) status: Packed,
}
resource!(HTTPRoute, "gateway.networking.k8s.io", "v1", "httproutes", NamespaceResourceScope);

/// JSON as text, which takes a tenth of the memory of a tree of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed(Box<str>);

impl Packed {
    /// The values.
    pub(crate) fn open(&self) -> Value {
        // It was written from values, or there was nothing.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Packed(Value::deserialize(from)?.to_string().into()))
    }
}

/// What pods may connect to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NetworkPolicy {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Value,
}
resource!(NetworkPolicy, "networking.k8s.io", "v1", "networkpolicies", NamespaceResourceScope);

/// Who may refer to objects of its namespace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReferenceGrant {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: Value,
}
resource!(ReferenceGrant, "gateway.networking.k8s.io", "v1beta1", "referencegrants", NamespaceResourceScope);

/// Labels of a namespace.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Namespace {
    pub(crate) metadata: ObjectMeta,
}
resource!(Namespace, "", "v1", "namespaces", ClusterResourceScope);

/// What policies ask of a pod: its labels, its address, and the names of its ports.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: Option<PodStatus>,
}
resource!(Pod, "", "v1", "pods", NamespaceResourceScope);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodSpec {
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) ports: Option<Vec<ContainerPort>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ContainerPort {
    pub(crate) name: Option<String>,
    pub(crate) container_port: u16,
    pub(crate) protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodStatus {
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
    pub(crate) phase: Option<String>,
}

/// Ports and addresses of a Service.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: ServiceSpec,
}
resource!(Service, "", "v1", "services", NamespaceResourceScope);

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) type_: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Option<Vec<String>>,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<String>,
    pub(crate) external_name: Option<String>,
    pub(crate) session_affinity: Option<String>,
    pub(crate) ports: Option<Vec<ServicePort>>,
    /// Of a revision's Service: how requests are held. Read from its metadata.
    #[serde(skip)]
    pub(crate) terms: Option<Terms>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
    pub(crate) node_port: Option<u16>,
}

/// Endpoints of a Service.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EndpointSlice {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    pub(crate) ports: Option<Vec<EndpointPort>>,
}
resource!(EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", NamespaceResourceScope);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) conditions: Option<EndpointConditions>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointPort {
    pub(crate) name: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<String>,
}

/// Label of an EndpointSlice that names its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Namespace and name of an object; the namespace is empty for cluster-scoped ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl EndpointSlice {
    /// The Service this slice belongs to.
    pub(crate) fn service(&self) -> Option<Name> {
        let name = self.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
        Some(Name::new(self.metadata.namespace.as_deref().unwrap_or(""), name))
    }

    /// The slice as routing reads it. Addresses that are no IP addresses and ports other than TCP are left out.
    pub(crate) fn routing(&self) -> eyot_route::slices::Slice {
        let ports = self.ports.iter().flatten().filter(|it| is_tcp(it.protocol.as_deref()));
        let endpoints = self.endpoints.iter().flatten().map(|it| {
            let conditions = it.conditions.unwrap_or_default();
            // The API defines an absent `ready` as true, and an absent `serving` as equal to `ready`.
            let ready = conditions.ready.unwrap_or(true);
            eyot_route::slices::SliceEndpoint {
                addresses: it.addresses.iter().filter_map(|it| it.parse().ok()).collect(),
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
            }
        });
        eyot_route::slices::Slice {
            ports: ports.filter_map(|it| Some((it.name.clone().unwrap_or_default().into(), it.port?))).collect(),
            endpoints: endpoints.collect(),
        }
    }
}

/// Whether a port's protocol is TCP, the default.
pub(crate) fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("TCP") | Some(""))
}

/// Labels of an object, empty if it has none.
pub(crate) fn labels(object: &impl Resource) -> BTreeMap<String, String> {
    object.meta().labels.clone().unwrap_or_default()
}
