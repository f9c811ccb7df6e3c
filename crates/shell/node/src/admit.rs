//! Which pods this node can honour: everything a pod asks for is either done or refused by name.
//!
//! Start at [`refusals`]. Pure. Fields that restrict what a guest may do (users, dropped capabilities, a read-only root,
//! seccomp's default profile) are honoured by what a WebAssembly guest is: it has no user, no capability and no root.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, Lifecycle, LifecycleHandler, PodSecurityContext, PodSpec, Probe, SecurityContext, Volume,
};

use crate::env;

/// Longest name of a service in a gRPC probe.
pub(crate) const GRPC_SERVICE_BYTES_MAX: usize = 127;

/// The paths of the fields that cannot be honoured, each with the reason; empty when the pod can run.
pub(crate) fn refusals(spec: &PodSpec) -> Vec<String> {
    let mut out = Refusals { list: Vec::new() };
    out.pod(spec);
    for (field, containers) in
        [("initContainers", spec.init_containers.as_deref()), ("containers", Some(&*spec.containers))]
    {
        for (index, container) in containers.unwrap_or_default().iter().enumerate() {
            let is_init = field == "initContainers";
            out.container(&format!("spec.{field}[{index}]"), container, is_init);
        }
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        out.volume(&format!("spec.volumes[{index}]"), volume);
    }
    out.list
}

/// As [`refusals`], of a container that joined the pod later.
pub(crate) fn refusals_of_joined(spec: &PodSpec, name: &str) -> Vec<String> {
    let mut out = Refusals { list: Vec::new() };
    let containers = spec.ephemeral_containers.iter().flatten().enumerate();
    for (index, it) in containers.filter(|(_, it)| it.name == name) {
        let path = format!("spec.ephemeralContainers[{index}]");
        let target = it.target_container_name.as_deref().is_some_and(|it| !it.is_empty());
        out.when(
            target,
            format!("{path}.targetContainerName"),
            "nobody sees the processes or files of another guest: leave out --target, and share a volume",
        );
        let mut container = env::ordinary(it);
        // Whoever debugs asks for it to see other processes, which no guest does with it or without.
        if let Some(added) = container.security_context.as_mut().and_then(|it| it.capabilities.as_mut()?.add.as_mut()) {
            added.retain(|it| it != "SYS_PTRACE");
        }
        out.container(&path, &container, false);
    }
    out.list
}

struct Refusals {
    list: Vec<String>,
}

impl Refusals {
    fn when(&mut self, present: bool, path: impl Into<String>, why: &str) {
        if present {
            self.list.push(format!("{} ({why})", path.into()));
        }
    }

    fn pod(&mut self, spec: &PodSpec) {
        let on = |flag: Option<bool>| flag == Some(true);
        self.when(on(spec.host_network), "spec.hostNetwork", "guests have an address of their own");
        self.when(on(spec.host_pid), "spec.hostPID", "guests see no processes");
        self.when(on(spec.host_ipc), "spec.hostIPC", "guests share no memory");
        self.when(on(spec.share_process_namespace), "spec.shareProcessNamespace", "guests see no processes");
        self.when(on(spec.set_hostname_as_fqdn), "spec.setHostnameAsFQDN", "guests have no host name");
        self.when(has(&spec.readiness_gates), "spec.readinessGates", "not supported");
        self.when(has(&spec.resource_claims), "spec.resourceClaims", "guests have no devices");
        let resources = spec.resources.as_ref();
        let shared =
            resources.is_some_and(|it| [&it.limits, &it.requests].into_iter().flatten().any(|it| !it.is_empty()));
        self.when(shared, "spec.resources", "only those of containers");
        self.when(spec.dns_config.is_some(), "spec.dnsConfig", "guests have no resolver file");
        let dns = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
        self.when(!matches!(dns, "ClusterFirst" | "Default"), "spec.dnsPolicy", "only ClusterFirst and Default");
        let os = spec.os.as_ref().map_or("linux", |it| it.name.as_str());
        self.when(os != "linux", "spec.os.name", "only linux");
        if let Some(context) = &spec.security_context {
            self.pod_security(context);
        }
    }

    fn pod_security(&mut self, context: &PodSecurityContext) {
        let path = "spec.securityContext";
        self.when(has(&context.sysctls), format!("{path}.sysctls"), "guests have no kernel of their own");
        self.when(context.windows_options.is_some(), format!("{path}.windowsOptions"), "only linux");
        let seccomp = context.seccomp_profile.as_ref().is_some_and(|it| it.type_ == "Localhost");
        self.when(seccomp, format!("{path}.seccompProfile"), "guests make no system calls");
    }

    fn container(&mut self, path: &str, it: &Container, is_init: bool) {
        self.when(it.image.as_deref().unwrap_or_default().is_empty(), format!("{path}.image"), "missing");
        self.when(
            it.tty == Some(true),
            format!("{path}.tty"),
            "guests have no terminal: leave out tty, which kubectl calls -t; stdin, its -i, works",
        );
        let directory = it.working_dir.as_deref().unwrap_or_default();
        self.when(!matches!(directory, "" | "/"), format!("{path}.workingDir"), "a guest starts in /");
        self.when(has(&it.volume_devices), format!("{path}.volumeDevices"), "guests have no devices");
        let restart = it.restart_policy.as_deref();
        let sidecar = is_init && restart == Some("Always");
        self.when(restart.is_some() && !sidecar, format!("{path}.restartPolicy"), "only Always, on an init container");
        self.when(has(&it.restart_policy_rules), format!("{path}.restartPolicyRules"), "not supported");
        let message = it.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        let is_file = message.starts_with('/') && !message.ends_with('/');
        self.when(!is_file, format!("{path}.terminationMessagePath"), "not an absolute path of a file");
        for (index, port) in it.ports.iter().flatten().enumerate() {
            self.port(&format!("{path}.ports[{index}]"), port);
        }
        for (index, mount) in it.volume_mounts.iter().flatten().enumerate() {
            let propagation = mount.mount_propagation.as_deref().unwrap_or("None");
            self.when(propagation != "None", format!("{path}.volumeMounts[{index}].mountPropagation"), "only None");
        }
        for (index, env) in it.env.iter().flatten().enumerate() {
            let file = env.value_from.as_ref().is_some_and(|it| it.file_key_ref.is_some());
            self.when(file, format!("{path}.env[{index}].valueFrom.fileKeyRef"), "not supported");
        }
        for name in it.resources.iter().flat_map(|it| it.limits.iter().flatten()).map(|(name, _)| name) {
            self.when(
                !matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"),
                format!("{path}.resources.limits[{name}]"),
                "only cpu, memory and ephemeral-storage",
            );
        }
        for (field, probe) in [
            ("livenessProbe", &it.liveness_probe),
            ("readinessProbe", &it.readiness_probe),
            ("startupProbe", &it.startup_probe),
        ] {
            if let Some(probe) = probe {
                self.probe(&format!("{path}.{field}"), probe);
            }
        }
        if let Some(lifecycle) = &it.lifecycle {
            self.lifecycle(&format!("{path}.lifecycle"), lifecycle);
        }
        if let Some(context) = &it.security_context {
            self.security(&format!("{path}.securityContext"), context);
        }
    }

    fn port(&mut self, path: &str, port: &ContainerPort) {
        self.when(port.host_port.is_some_and(|it| it != 0), format!("{path}.hostPort"), "use a Service or the gateway");
        self.when(port.protocol.as_deref() == Some("SCTP"), format!("{path}.protocol"), "only TCP and UDP");
    }

    fn probe(&mut self, path: &str, probe: &Probe) {
        let service = probe.grpc.as_ref().and_then(|it| it.service.as_deref()).unwrap_or_default();
        let long = service.len() > GRPC_SERVICE_BYTES_MAX;
        self.when(long, format!("{path}.grpc.service"), "longer than 127 bytes");
        if let Some(get) = &probe.http_get {
            self.when(get.scheme.as_deref() == Some("HTTPS"), format!("{path}.httpGet.scheme"), "only HTTP");
        }
    }

    fn lifecycle(&mut self, path: &str, lifecycle: &Lifecycle) {
        self.when(lifecycle.stop_signal.is_some(), format!("{path}.stopSignal"), "guests receive no signals");
        for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(LifecycleHandler { http_get, .. }) = handler {
                let https = http_get.as_ref().is_some_and(|it| it.scheme.as_deref() == Some("HTTPS"));
                self.when(https, format!("{path}.{field}.httpGet.scheme"), "only HTTP");
            }
        }
    }

    fn security(&mut self, path: &str, context: &SecurityContext) {
        self.when(context.privileged == Some(true), format!("{path}.privileged"), "guests hold no privilege");
        let added = context.capabilities.as_ref().is_some_and(|it| has(&it.add));
        self.when(added, format!("{path}.capabilities.add"), "guests hold no capability");
        let unmasked = context.proc_mount.as_deref().is_some_and(|it| it != "Default");
        self.when(unmasked, format!("{path}.procMount"), "guests have no /proc");
        self.when(context.windows_options.is_some(), format!("{path}.windowsOptions"), "only linux");
        let seccomp = context.seccomp_profile.as_ref().is_some_and(|it| it.type_ == "Localhost");
        self.when(seccomp, format!("{path}.seccompProfile"), "guests make no system calls");
    }

    fn volume(&mut self, path: &str, volume: &Volume) {
        let kinds = [
            volume.config_map.is_some(),
            volume.secret.is_some(),
            volume.empty_dir.is_some(),
            volume.projected.is_some(),
            volume.downward_api.is_some(),
            volume.host_path.is_some(),
            volume.persistent_volume_claim.is_some(),
            volume.ephemeral.is_some(),
            volume.image.is_some(),
        ];
        let supported = kinds.contains(&true);
        let why = "only configMap, secret, emptyDir, projected, downwardAPI, hostPath, image, persistentVolumeClaim and ephemeral volumes";
        self.when(!supported, path, why);
        if let Some(empty) = &volume.empty_dir {
            let medium = empty.medium.as_deref().unwrap_or_default();
            let known = matches!(medium, "" | "Memory");
            self.when(!known, format!("{path}.emptyDir.medium"), "only the default medium and Memory");
        }
        if let Some(host) = &volume.host_path {
            let kind = host.type_.as_deref().unwrap_or_default();
            let directory = matches!(kind, "" | "Directory" | "DirectoryOrCreate");
            self.when(!directory, format!("{path}.hostPath.type"), "only directories");
        }
        for (index, source) in volume.projected.iter().flat_map(|it| it.sources.iter().flatten()).enumerate() {
            let supported = source.config_map.is_some()
                || source.secret.is_some()
                || source.downward_api.is_some()
                || source.service_account_token.is_some();
            self.when(
                !supported,
                format!("{path}.projected.sources[{index}]"),
                "only configMap, secret, downwardAPI and serviceAccountToken",
            );
        }
    }
}

fn has<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(spec: &str, want: Expect) {
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        want.assert_eq(&refusals(&spec).join("\n"));
    }

    #[test]
    fn what_a_restricted_pod_asks_for_is_honoured() {
        check(
            r#"{"containers":[{"name":"a","image":"localhost:5000/a:1","stdin":true,"stdinOnce":true,"ports":[{"containerPort":80}],
                "resources":{"limits":{"cpu":"1","memory":"64Mi","ephemeral-storage":"1Gi"}},"livenessProbe":{"exec":{"command":["x"]}},
                "readinessProbe":{"tcpSocket":{"host":"192.0.2.1","port":1}},"terminationMessagePath":"/out","terminationMessagePolicy":"FallbackToLogsOnError",
                "lifecycle":{"preStop":{"sleep":{"seconds":1}},"postStart":{"exec":{"command":["x"]}}},
                "securityContext":{"runAsNonRoot":true,"capabilities":{"drop":["ALL"]},"allowPrivilegeEscalation":false,
                    "seccompProfile":{"type":"RuntimeDefault"},"readOnlyRootFilesystem":true}}],
              "initContainers":[{"name":"s","image":"x","restartPolicy":"Always"}],
              "dnsPolicy":"ClusterFirst","hostAliases":[{"ip":"1.2.3.4"}],"securityContext":{"runAsUser":1000,"fsGroup":1000},
              "volumes":[{"name":"c","configMap":{"name":"c"}},{"name":"e","emptyDir":{"sizeLimit":"1Gi","medium":"Memory"}},
                {"name":"d","persistentVolumeClaim":{"claimName":"d"}},{"name":"g","ephemeral":{}},
                {"name":"h","hostPath":{"path":"/srv","type":"Directory"}},
                {"name":"p","projected":{"sources":[{"secret":{"name":"s"}},{"downwardAPI":{}},
                    {"serviceAccountToken":{"path":"t"}}]}}]}"#,
            expect![[""]],
        );
    }

    #[test]
    fn what_joins_a_pod_later_is_held_to_less() {
        let spec = r#"{"containers":[],"ephemeralContainers":[{"name":"good","image":"x","stdin":true,
                "securityContext":{"capabilities":{"add":["SYS_PTRACE"]}}},
            {"name":"bad","image":"x","tty":true,"targetContainerName":"a",
                "securityContext":{"capabilities":{"add":["SYS_PTRACE","NET_ADMIN"]}},
                "env":[{"name":"A","valueFrom":{"fileKeyRef":{"volumeName":"v","path":"p","key":"k"}}}]}]}"#;
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        assert!(refusals_of_joined(&spec, "good").is_empty());
        expect![[r#"
            spec.ephemeralContainers[1].targetContainerName (nobody sees the processes or files of another guest: leave out --target, and share a volume)
            spec.ephemeralContainers[1].tty (guests have no terminal: leave out tty, which kubectl calls -t; stdin, its -i, works)
            spec.ephemeralContainers[1].env[0].valueFrom.fileKeyRef (not supported)
            spec.ephemeralContainers[1].securityContext.capabilities.add (guests hold no capability)"#]]
        .assert_eq(&refusals_of_joined(&spec, "bad").join("\n"));
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        check(
            r#"{"hostNetwork":true,"hostPID":true,"dnsPolicy":"None","resources":{"limits":{"memory":"1Gi"}},
              "containers":[{"name":"a","image":"","tty":true,"workingDir":"/srv","terminationMessagePath":"out","ports":[{"containerPort":80,"hostPort":80}],
                "resources":{"limits":{"nvidia.com/gpu":"1"}},"livenessProbe":{"httpGet":{"port":1,"scheme":"HTTPS"}},
                "lifecycle":{"stopSignal":"SIGTERM","postStart":{"httpGet":{"port":1,"scheme":"HTTPS"}}},
                "securityContext":{"privileged":true,"capabilities":{"add":["NET_ADMIN"]}}}],
              "volumes":[{"name":"n","nfs":{"server":"x","path":"/"}},{"name":"m","emptyDir":{"medium":"HugePages"}},
                {"name":"s","hostPath":{"path":"/run/x.sock","type":"Socket"}},
                {"name":"p","projected":{"sources":[{"clusterTrustBundle":{"path":"t"}}]}}]}"#,
            expect![[r#"
                spec.hostNetwork (guests have an address of their own)
                spec.hostPID (guests see no processes)
                spec.resources (only those of containers)
                spec.dnsPolicy (only ClusterFirst and Default)
                spec.containers[0].image (missing)
                spec.containers[0].tty (guests have no terminal: leave out tty, which kubectl calls -t; stdin, its -i, works)
                spec.containers[0].workingDir (a guest starts in /)
                spec.containers[0].terminationMessagePath (not an absolute path of a file)
                spec.containers[0].ports[0].hostPort (use a Service or the gateway)
                spec.containers[0].resources.limits[nvidia.com/gpu] (only cpu, memory and ephemeral-storage)
                spec.containers[0].livenessProbe.httpGet.scheme (only HTTP)
                spec.containers[0].lifecycle.stopSignal (guests receive no signals)
                spec.containers[0].lifecycle.postStart.httpGet.scheme (only HTTP)
                spec.containers[0].securityContext.privileged (guests hold no privilege)
                spec.containers[0].securityContext.capabilities.add (guests hold no capability)
                spec.volumes[0] (only configMap, secret, emptyDir, projected, downwardAPI, hostPath, image, persistentVolumeClaim and ephemeral volumes)
                spec.volumes[1].emptyDir.medium (only the default medium and Memory)
                spec.volumes[2].hostPath.type (only directories)
                spec.volumes[3].projected.sources[0] (only configMap, secret, downwardAPI and serviceAccountToken)"#]],
        );
    }
}
