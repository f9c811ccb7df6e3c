//! What the built-in roles allow: facts of Kubernetes 1.37, and of Gateway API where `edit` and `view` are concerned.

use super::{Binding, Role};

const fn role(name: &'static str, rules: &'static [&'static str]) -> Role {
    Role { name, gathered_into: "", gathers: false, rules }
}

const fn part(name: &'static str, gathered_into: &'static str, rules: &'static [&'static str]) -> Role {
    Role { name, gathered_into, gathers: false, rules }
}

const fn sum(name: &'static str, gathered_into: &'static str) -> Role {
    Role { name, gathered_into, gathers: true, rules: &[] }
}

const fn bound(name: &'static str, subjects: &'static [&'static str]) -> Binding {
    Binding { name, role: name, subjects }
}

/// Parts before what they are gathered into.
pub(super) const CLUSTER_ROLES: &[Role] = &[
    role("cluster-admin", &["* : * : *", "* : *"]),
    part(
        "system:aggregate-to-view",
        "view",
        &[
            "read : core : configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
             replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
            "read : core : bindings events limitranges namespaces/status pods/log pods/status \
             replicationcontrollers/status resourcequotas resourcequotas/status",
            "read : core : namespaces",
            "read : discovery.k8s.io : endpointslices",
            "read : apps : controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
             deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale \
             statefulsets/status",
            "read : autoscaling : horizontalpodautoscalers horizontalpodautoscalers/status",
            "read : batch : cronjobs cronjobs/status jobs jobs/status",
            "read : policy : poddisruptionbudgets poddisruptionbudgets/status",
            "read : networking.k8s.io : ingresses ingresses/status networkpolicies",
            "read : resource.k8s.io : resourceclaims resourceclaims/status resourceclaimtemplates",
        ],
    ),
    part(
        "eyot:aggregate-gateway-to-view",
        "view",
        &["read : gateway.networking.k8s.io : gateways gateways/status grpcroutes grpcroutes/status httproutes \
             httproutes/status referencegrants"],
    ),
    part(
        "eyot:aggregate-metrics-to-view",
        "view",
        &[
            "read : metrics.k8s.io : nodes pods",
            "read : custom.metrics.k8s.io : *",
            "read : external.metrics.k8s.io : *",
        ],
    ),
    sum("view", "edit"),
    part(
        "system:aggregate-to-edit",
        "edit",
        &[
            "read : core : pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
            "impersonate : core : serviceaccounts",
            "write : core : pods pods/attach pods/exec pods/portforward pods/proxy",
            "create : core : pods/eviction",
            "write : core : configmaps events persistentvolumeclaims replicationcontrollers \
             replicationcontrollers/scale secrets serviceaccounts services services/proxy",
            "create : core : serviceaccounts/token",
            "write : apps : daemonsets deployments deployments/rollback deployments/scale replicasets \
             replicasets/scale statefulsets statefulsets/scale",
            "write : autoscaling : horizontalpodautoscalers",
            "write : batch : cronjobs jobs",
            "write : policy : poddisruptionbudgets",
            "write : networking.k8s.io : ingresses networkpolicies",
            "read write : coordination.k8s.io : leases",
            "write : resource.k8s.io : resourceclaims resourceclaimtemplates",
        ],
    ),
    part(
        "eyot:aggregate-gateway-to-edit",
        "edit",
        &["write : gateway.networking.k8s.io : gateways grpcroutes httproutes referencegrants"],
    ),
    sum("edit", "admin"),
    part(
        "system:aggregate-to-admin",
        "admin",
        &[
            "create : authorization.k8s.io : localsubjectaccessreviews",
            "read write : rbac.authorization.k8s.io : rolebindings roles",
        ],
    ),
    sum("admin", ""),
    role(
        "system:discovery",
        &["get : /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"],
    ),
    role(
        "system:basic-user",
        &[
            "create : authorization.k8s.io : selfsubjectaccessreviews selfsubjectrulesreviews",
            "create : authentication.k8s.io : selfsubjectreviews",
        ],
    ),
    role("system:public-info-viewer", &["get : /healthz /livez /readyz /version /version/"]),
    role("system:monitoring", &["get : /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"]),
    role("system:service-account-issuer-discovery", &["get : /.well-known/openid-configuration /openid/v1/jwks"]),
    role(
        "system:auth-delegator",
        &["create : authentication.k8s.io : tokenreviews", "create : authorization.k8s.io : subjectaccessreviews"],
    ),
    role("system:kube-aggregator", &["read : core : endpoints services", "read : discovery.k8s.io : endpointslices"]),
    role("system:kube-dns", &["list watch : core : endpoints services"]),
    role(
        "system:kubelet-api-admin",
        &["read : core : nodes", "* : core : nodes/log nodes/metrics nodes/proxy nodes/spec nodes/stats"],
    ),
    role(
        "system:node",
        &[
            "create : authentication.k8s.io : tokenreviews",
            "create : authorization.k8s.io : localsubjectaccessreviews subjectaccessreviews",
            "read : core : services",
            "create get list watch : core : nodes",
            "patch update : core : nodes/status",
            "patch update : core : nodes",
            "create patch update : core : events",
            "get list watch : core : pods",
            "create delete : core : pods",
            "patch update : core : pods/status",
            "create : core : pods/eviction",
            "read : core : configmaps secrets",
            "get : core : persistentvolumeclaims persistentvolumes",
            "get : core : endpoints",
            "create get list watch : certificates.k8s.io : certificatesigningrequests",
            "create delete get patch update : coordination.k8s.io : leases",
            "get : storage.k8s.io : volumeattachments",
            "create : core : serviceaccounts/token",
            "get patch update : core : persistentvolumeclaims/status",
            "read : storage.k8s.io : csidrivers",
            "create delete get patch update : storage.k8s.io : csinodes",
            "read : node.k8s.io : runtimeclasses",
        ],
    ),
    role("system:node-bootstrapper", &["create get list watch : certificates.k8s.io : certificatesigningrequests"]),
    role(
        "system:node-problem-detector",
        &["get : core : nodes", "patch : core : nodes/status", "create patch update : core events.k8s.io : events"],
    ),
    role(
        "system:node-proxier",
        &[
            "list watch : core : endpoints services",
            "read : core : nodes",
            "create patch update : core events.k8s.io : events",
            "list watch : discovery.k8s.io : endpointslices",
        ],
    ),
    role(
        "system:persistent-volume-provisioner",
        &[
            "create delete get list watch : core : persistentvolumes",
            "get list update watch : core : persistentvolumeclaims",
            "read : storage.k8s.io : storageclasses",
            "watch : core : events",
            "create patch update : core events.k8s.io : events",
        ],
    ),
    role(
        "system:volume-scheduler",
        &[
            "get list patch update watch : core : persistentvolumes",
            "read : storage.k8s.io : storageclasses",
            "get list patch update watch : core : persistentvolumeclaims",
        ],
    ),
    role(
        "system:kube-scheduler",
        &[
            "create patch update : core events.k8s.io : events",
            "create : coordination.k8s.io : leases",
            "get list update watch : coordination.k8s.io : leases : kube-scheduler",
            "create : coordination.k8s.io : leasecandidates",
            "delete deletecollection get list patch update watch : coordination.k8s.io : leasecandidates",
            "read : core : nodes",
            "delete get list watch : core : pods",
            "create : core : bindings pods/binding",
            "patch update : core : pods/status",
            "read : core : replicationcontrollers services",
            "read : apps : replicasets statefulsets",
            "read : policy : poddisruptionbudgets",
            "read : core : persistentvolumeclaims persistentvolumes",
            "create : authentication.k8s.io : tokenreviews",
            "create : authorization.k8s.io : subjectaccessreviews",
            "read : storage.k8s.io : csidrivers csinodes csistoragecapacities volumeattachments",
            "read : core : namespaces",
        ],
    ),
    role(
        "system:kube-controller-manager",
        &[
            "create patch update : core events.k8s.io : events",
            "create : coordination.k8s.io : leases",
            "get list update watch : coordination.k8s.io : leases : kube-controller-manager",
            "create : core : secrets serviceaccounts",
            "delete : core : secrets",
            "get : core : configmaps namespaces secrets serviceaccounts",
            "update : core : secrets serviceaccounts",
            "create : authentication.k8s.io : tokenreviews",
            "create : authorization.k8s.io : subjectaccessreviews",
            "list watch : * : *",
            "create : core : serviceaccounts/token",
        ],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &["create : certificates.k8s.io : certificatesigningrequests/nodeclient"],
    ),
    role(
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &["create : certificates.k8s.io : certificatesigningrequests/selfnodeclient"],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-approver",
        &["approve : certificates.k8s.io : signers : kubernetes.io/kube-apiserver-client"],
    ),
    role(
        "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
        &["approve : certificates.k8s.io : signers : kubernetes.io/kube-apiserver-client-kubelet"],
    ),
    role(
        "system:certificates.k8s.io:kubelet-serving-approver",
        &["approve : certificates.k8s.io : signers : kubernetes.io/kubelet-serving"],
    ),
    role(
        "system:certificates.k8s.io:legacy-unknown-approver",
        &["approve : certificates.k8s.io : signers : kubernetes.io/legacy-unknown"],
    ),
];

pub(super) const CLUSTER_ROLE_BINDINGS: &[Binding] = &[
    bound("cluster-admin", &["Group system:masters"]),
    bound("system:discovery", &["Group system:authenticated"]),
    bound("system:basic-user", &["Group system:authenticated"]),
    bound("system:public-info-viewer", &["Group system:authenticated", "Group system:unauthenticated"]),
    bound("system:monitoring", &["Group system:monitoring"]),
    bound("system:service-account-issuer-discovery", &["Group system:serviceaccounts"]),
    bound("system:kube-dns", &["ServiceAccount kube-system/kube-dns"]),
    bound("system:node", &[]),
    bound("system:node-proxier", &["User system:kube-proxy"]),
    bound("system:volume-scheduler", &["User system:kube-scheduler"]),
    bound("system:kube-scheduler", &["User system:kube-scheduler"]),
    bound("system:kube-controller-manager", &["User system:kube-controller-manager"]),
];

const LEADER_LOCKING: [&str; 2] = [
    "create get list update watch : coordination.k8s.io : leases",
    "create get list update watch : coordination.k8s.io : leasecandidates",
];

/// Namespace and role.
pub(super) const ROLES: &[(&str, Role)] = &[
    (
        "kube-public",
        role(
            "system:controller:bootstrap-signer",
            &[
                "read : core : configmaps",
                "update : core : configmaps : cluster-info",
                "create patch update : core events.k8s.io : events",
            ],
        ),
    ),
    ("kube-system", role("system:controller:bootstrap-signer", &["read : core : secrets"])),
    ("kube-system", role("system:controller:cloud-provider", &["create get list watch : core : configmaps"])),
    (
        "kube-system",
        role(
            "system:controller:token-cleaner",
            &["delete get list watch : core : secrets", "create patch update : core events.k8s.io : events"],
        ),
    ),
    (
        "kube-system",
        role(
            "extension-apiserver-authentication-reader",
            &["read : core : configmaps : extension-apiserver-authentication"],
        ),
    ),
    ("kube-system", role("system::leader-locking-kube-controller-manager", &LEADER_LOCKING)),
    ("kube-system", role("system::leader-locking-kube-scheduler", &LEADER_LOCKING)),
];

/// Namespace and binding of a Role.
pub(super) const ROLE_BINDINGS: &[(&str, Binding)] = &[
    ("kube-public", bound("system:controller:bootstrap-signer", &["ServiceAccount kube-system/bootstrap-signer"])),
    ("kube-system", bound("system:controller:bootstrap-signer", &["ServiceAccount kube-system/bootstrap-signer"])),
    ("kube-system", bound("system:controller:cloud-provider", &["ServiceAccount kube-system/cloud-provider"])),
    ("kube-system", bound("system:controller:token-cleaner", &["ServiceAccount kube-system/token-cleaner"])),
    (
        "kube-system",
        Binding {
            name: "system::extension-apiserver-authentication-reader",
            role: "extension-apiserver-authentication-reader",
            subjects: &["User system:kube-controller-manager", "User system:kube-scheduler"],
        },
    ),
    (
        "kube-system",
        Binding {
            name: "system::leader-locking-kube-controller-manager",
            role: "system::leader-locking-kube-controller-manager",
            subjects: &["User system:kube-controller-manager", "ServiceAccount kube-system/kube-controller-manager"],
        },
    ),
    (
        "kube-system",
        Binding {
            name: "system::leader-locking-kube-scheduler",
            role: "system::leader-locking-kube-scheduler",
            subjects: &["User system:kube-scheduler", "ServiceAccount kube-system/kube-scheduler"],
        },
    ),
];
