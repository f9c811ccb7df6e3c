//! The columns of each kind, and what fills them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{admin, cluster, network, pod, workload};
use crate::kinds::Kind;

/// Turns objects of a kind into rows.
pub(super) struct Printer {
    /// Column names: `*` before those only wide output shows, `#` before integers, `?` before booleans.
    columns: &'static str,
    /// Cells of an object, one for each column.
    pub(super) cells: fn(&Value, Timestamp) -> Vec<Value>,
}

impl Printer {
    /// `columnDefinitions` of the table.
    pub(super) fn definitions(&self) -> Value {
        self.columns.split(", ").map(definition).collect()
    }
}

fn definition(column: &str) -> Value {
    let wide = column.starts_with('*');
    let column = column.trim_start_matches('*');
    let (name, of_type) = match column.as_bytes().first() {
        Some(b'#') => (&column[1..], "integer"),
        Some(b'?') => (&column[1..], "boolean"),
        _ => (column, "string"),
    };
    let format = if name == "Name" { "name" } else { "" };
    json!({"name": name, "type": of_type, "format": format, "description": "", "priority": i32::from(wide)})
}

/// The printer of a kind: that of name and age when it has none of its own.
pub(super) fn of(kind: &Kind) -> Printer {
    let (columns, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            ("Name, Ready, Status, Restarts, Age, *IP, *Node, *Nominated Node, *Readiness Gates", pod::cells)
        }
        ("", "PodTemplate") => ("Name, Containers, Images, Pod Labels", workload::pod_template),
        ("", "ReplicationController") => {
            ("Name, #Desired, #Current, #Ready, Age, *Containers, *Images, *Selector", workload::replication_controller)
        }
        ("apps", "ReplicaSet") => {
            ("Name, #Desired, #Current, #Ready, Age, *Containers, *Images, *Selector", workload::replica_set)
        }
        ("apps", "Deployment") => {
            ("Name, Ready, #Up-to-date, #Available, Age, *Containers, *Images, *Selector", workload::deployment)
        }
        ("apps", "StatefulSet") => ("Name, Ready, Age, *Containers, *Images", workload::stateful_set),
        ("apps", "DaemonSet") => (
            "Name, #Desired, #Current, #Ready, #Up-to-date, #Available, Node Selector, Age, *Containers, *Images, *Selector",
            workload::daemon_set,
        ),
        ("apps", "ControllerRevision") => ("Name, Controller, #Revision, Age", workload::controller_revision),
        ("batch", "Job") => {
            ("Name, Status, Completions, Duration, Age, *Containers, *Images, *Selector", workload::job)
        }
        ("batch", "CronJob") => (
            "Name, Schedule, Timezone, Suspend, #Active, Last Schedule, Age, *Containers, *Images, *Selector",
            workload::cron_job,
        ),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            ("Name, Reference, Targets, MinPods, #MaxPods, #Replicas, Age", workload::autoscaler)
        }
        ("policy", "PodDisruptionBudget") => {
            ("Name, Min Available, Max Unavailable, #Allowed Disruptions, Age", workload::disruption_budget)
        }
        _ => return network(kind),
    };
    Printer { columns, cells }
}

fn network(kind: &Kind) -> Printer {
    let (columns, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => ("Name, Type, Cluster-IP, External-IP, Port(s), Age, *Selector", network::service),
        ("", "Endpoints") => ("Name, Endpoints, Age", network::endpoints),
        ("discovery.k8s.io", "EndpointSlice") => ("Name, AddressType, Ports, Endpoints, Age", network::endpoint_slice),
        ("networking.k8s.io", "Ingress") => ("Name, Class, Hosts, Address, Ports, Age", network::ingress),
        ("networking.k8s.io", "IngressClass") => ("Name, Controller, Parameters, Age", network::ingress_class),
        ("networking.k8s.io", "NetworkPolicy") => ("Name, Pod-Selector, Age", network::network_policy),
        ("networking.k8s.io", "ServiceCIDR") => ("Name, CIDRs, Age", network::service_cidr),
        ("gateway.networking.k8s.io", "Gateway") => ("Name, Class, Address, Programmed, Age", network::gateway),
        ("gateway.networking.k8s.io", "GatewayClass") => {
            ("Name, Controller, Accepted, Age, *Description", network::gateway_class)
        }
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => ("Name, Hostnames, Age", network::route),
        _ => return cluster(kind),
    };
    Printer { columns, cells }
}

fn cluster(kind: &Kind) -> Printer {
    let (columns, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Node") => (
            "Name, Status, Roles, Age, Version, *Internal-IP, *External-IP, *OS-Image, *Kernel-Version, *Container-Runtime",
            cluster::node,
        ),
        ("", "Namespace") => ("Name, Status, Age", cluster::namespace),
        ("", "ConfigMap") => ("Name, #Data, Age", cluster::config_map),
        ("", "Secret") => ("Name, Type, #Data, Age", cluster::secret),
        ("", "ServiceAccount") => ("Name, #Secrets, Age", cluster::service_account),
        ("" | "events.k8s.io", "Event") => (
            "Last Seen, Type, Reason, Object, *Subobject, *Source, Message, *First Seen, *#Count, *Name",
            cluster::event,
        ),
        ("", "ResourceQuota") => ("Name, Request, Limit, Age", cluster::resource_quota),
        ("", "PersistentVolume") => (
            "Name, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, Age, *VolumeMode",
            cluster::volume,
        ),
        ("", "PersistentVolumeClaim") => (
            "Name, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, *VolumeMode",
            cluster::volume_claim,
        ),
        ("storage.k8s.io", "StorageClass") => {
            ("Name, Provisioner, ReclaimPolicy, VolumeBindingMode, ?AllowVolumeExpansion, Age", cluster::storage_class)
        }
        ("storage.k8s.io", "CSINode") => ("Name, #Drivers, Age", cluster::csi_node),
        ("coordination.k8s.io", "Lease") => ("Name, Holder, Age", cluster::lease),
        ("node.k8s.io", "RuntimeClass") => ("Name, Handler, Age", cluster::runtime_class),
        ("scheduling.k8s.io", "PriorityClass") => {
            ("Name, #Value, ?Global-Default, Age, PreemptionPolicy", cluster::priority_class)
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            ("Name, Role, Age, *Users, *Groups, *ServiceAccounts", cluster::role_binding)
        }
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("", "LimitRange")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => ("Name, Created At", cluster::created_at),
        ("apiregistration.k8s.io", "APIService") => ("Name, Service, Available, Age", cluster::api_service),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            ("Name, Age, SignerName, Requestor, RequestedDuration, Condition", cluster::signing_request)
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            ("Name, #Webhooks, Age", cluster::webhooks)
        }
        _ => return admin(kind),
    };
    Printer { columns, cells }
}

fn admin(kind: &Kind) -> Printer {
    let (columns, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ComponentStatus") => ("Name, Status, Message, Error", admin::component_status),
        ("storage.k8s.io", "CSIDriver") => (
            "Name, ?AttachRequired, ?PodInfoOnMount, ?StorageCapacity, TokenRequests, ?RequiresRepublish, Modes, Age",
            admin::csi_driver,
        ),
        ("storage.k8s.io", "CSIStorageCapacity") => ("Name, StorageClassName, Capacity", admin::storage_capacity),
        ("storage.k8s.io", "VolumeAttachment") => {
            ("Name, Attacher, PV, Node, ?Attached, Age", admin::volume_attachment)
        }
        ("storage.k8s.io", "VolumeAttributesClass") => ("Name, DriverName, Age", admin::attributes_class),
        ("networking.k8s.io", "IPAddress") => ("Name, ParentRef, Age", admin::ip_address),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            ("Name, PriorityLevel, #MatchingPrecedence, DistinguisherMethod, Age, MissingPL", admin::flow_schema)
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            ("Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age", admin::priority_level)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            ("Name, #Validations, ParamKind, Age", admin::validating_policy)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            ("Name, #Mutations, ParamKind, Age", admin::mutating_policy)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            ("Name, PolicyName, ParamRef, Age", admin::policy_binding)
        }
        ("certificates.k8s.io", "ClusterTrustBundle") => ("Name, SignerName", admin::trust_bundle),
        ("certificates.k8s.io", "PodCertificateRequest") => {
            ("Name, PodName, ServiceAccountName, NodeName, SignerName, State", admin::certificate_request)
        }
        ("coordination.k8s.io", "LeaseCandidate") => {
            ("Name, LeaseName, BinaryVersion, EmulationVersion, Strategy, Age", admin::lease_candidate)
        }
        ("resource.k8s.io", "ResourceClaim") => ("Name, State, Age", admin::resource_claim),
        ("resource.k8s.io", "ResourceSlice") => ("Name, Node, Driver, Pool, Age", admin::resource_slice),
        _ => ("Name, Age", cluster::plain),
    };
    Printer { columns, cells }
}
