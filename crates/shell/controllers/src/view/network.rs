//! Services and EndpointSlices.

use eyot_plan::endpoints::Subset;
use eyot_plan::endpointslice::{Endpoint, Port, ServicePort, Slice, Target};
use eyot_plan::selector::Selector;
use serde::Deserialize;
use serde_json::Value;

use super::{Meta, Strings, View, nullable};

/// A Service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceView {
    #[serde(rename = "metadata")]
    pub(crate) meta: Meta,
    pub(crate) spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) selector: Strings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) ports: Vec<ServicePortWire>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) publish_not_ready_addresses: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServicePortWire {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    pub(crate) protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
    pub(crate) port: u16,
    pub(crate) target_port: Value,
}

impl ServiceView {
    /// Controllers keep its slices: it selects pods and is more than a name.
    pub(crate) fn selects(&self) -> bool {
        self.spec.selector.iter().next().is_some() && self.spec.kind != "ExternalName"
    }

    /// Which pods it selects.
    pub(crate) fn selector(&self) -> Selector {
        Selector::equals(self.spec.selector.iter())
    }

    pub(crate) fn matches(&self, labels: &Strings) -> bool {
        self.spec.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    pub(crate) fn headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    pub(crate) fn ports(&self) -> Vec<ServicePort> {
        self.spec.ports.iter().map(ServicePortWire::resolve).collect()
    }
}

impl ServicePortWire {
    fn resolve(&self) -> ServicePort {
        ServicePort {
            name: self.name.clone(),
            protocol: self.protocol.clone().unwrap_or_else(|| "TCP".into()),
            app_protocol: self.app_protocol.clone(),
            target: match &self.target_port {
                Value::String(name) => name.parse().map_or_else(|_| Target::Name(name.clone()), Target::Number),
                Value::Number(number) => {
                    let number = number.as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it != 0);
                    Target::Number(number.unwrap_or(self.port))
                }
                _ => Target::Number(self.port),
            },
        }
    }
}

impl View for ServiceView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "SliceWire")]
pub(crate) struct SliceView {
    pub(crate) meta: Meta,
    pub(crate) slice: Slice,
}

impl View for SliceView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SliceWire {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<PortWire>,
    #[serde(deserialize_with = "nullable")]
    endpoints: Vec<EndpointWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortWire {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    protocol: String,
    #[serde(deserialize_with = "nullable")]
    port: u16,
    app_protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EndpointWire {
    #[serde(deserialize_with = "nullable")]
    addresses: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    conditions: ConditionsWire,
    #[serde(deserialize_with = "nullable")]
    node_name: String,
    hostname: Option<String>,
    zone: Option<String>,
    #[serde(deserialize_with = "nullable")]
    target_ref: TargetRef,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConditionsWire {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    name: String,
    uid: String,
}

/// An Endpoints object that was made by hand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "EndpointsWire")]
pub(crate) struct EndpointsView {
    pub(crate) meta: Meta,
    pub(crate) subsets: Vec<Subset>,
}

impl View for EndpointsView {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EndpointsWire {
    metadata: Meta,
    #[serde(deserialize_with = "nullable")]
    subsets: Vec<SubsetWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SubsetWire {
    #[serde(deserialize_with = "nullable")]
    addresses: Vec<AddressWire>,
    #[serde(deserialize_with = "nullable")]
    not_ready_addresses: Vec<AddressWire>,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<PortWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AddressWire {
    ip: String,
    hostname: Option<String>,
    #[serde(deserialize_with = "nullable")]
    node_name: String,
    #[serde(deserialize_with = "nullable")]
    target_ref: TargetRef,
}

impl AddressWire {
    fn read(self, ready: bool) -> Endpoint {
        Endpoint {
            uid: self.target_ref.uid,
            name: self.target_ref.name,
            ip: self.ip,
            node: self.node_name,
            hostname: self.hostname,
            zone: None,
            ready,
            serving: ready,
            terminating: false,
        }
    }
}

impl From<EndpointsWire> for EndpointsView {
    fn from(wire: EndpointsWire) -> Self {
        let subset = |it: SubsetWire| Subset {
            ports: ports(it.ports),
            ready: it.addresses.into_iter().map(|it| it.read(true)).collect(),
            waiting: it.not_ready_addresses.into_iter().map(|it| it.read(false)).collect(),
        };
        Self { meta: wire.metadata, subsets: wire.subsets.into_iter().map(subset).collect() }
    }
}

fn ports(wire: Vec<PortWire>) -> Vec<Port> {
    let protocol = |it: String| if it.is_empty() { "TCP".to_owned() } else { it };
    let mut ports: Vec<Port> = wire
        .into_iter()
        .map(|it| Port { name: it.name, protocol: protocol(it.protocol), port: it.port, app_protocol: it.app_protocol })
        .collect();
    ports.sort();
    ports
}

impl From<SliceWire> for SliceView {
    fn from(wire: SliceWire) -> Self {
        let ports = ports(wire.ports);
        let endpoints = wire.endpoints.into_iter().map(EndpointWire::read).collect();
        Self { meta: wire.metadata, slice: Slice { ports, endpoints } }
    }
}

impl EndpointWire {
    fn read(self) -> Endpoint {
        Endpoint {
            uid: self.target_ref.uid,
            name: self.target_ref.name,
            ip: self.addresses.into_iter().next().unwrap_or_default(),
            node: self.node_name,
            hostname: self.hostname,
            zone: self.zone,
            ready: self.conditions.ready.unwrap_or(true),
            serving: self.conditions.serving.unwrap_or(true),
            terminating: self.conditions.terminating.unwrap_or(false),
        }
    }
}
