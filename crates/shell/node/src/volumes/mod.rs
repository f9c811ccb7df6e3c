//! A pod's volumes as directories that guests open.
//!
//! Start at [`contents`] (pure: what files a volume holds), [`write::sync`] (makes a directory hold them) and [`mounts`]
//! (which directory a container sees where). Updates replace files one by one: a guest sees each file old or new, never
//! half. Access is by directory only, so a file mounted by `subPath` appears in a directory made for it.
//!
//! Files have the modes that their volume asks for, in directories that only the node's user can enter; the owner can always
//! read them, since guests run as the node's user.

pub(crate) mod beneath;
pub(crate) mod memory;
mod mount;
mod part;
mod tree;
pub(crate) mod write;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use eyot_model::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

pub(crate) use mount::{Given, Places, mounts};
pub(crate) use part::Part;
pub(crate) use tree::{remove_tree, size};

use crate::{
    env,
    fields::{self, Facts},
    sources::{Fetched, SourceKind},
    tokens,
};

/// Why a volume cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("volume {volume}: {kind} {name:?} not found")]
    Missing { volume: String, kind: SourceKind, name: String },
    #[error("volume {volume}: {kind} {name} has no key {key}")]
    NoKey { volume: String, kind: SourceKind, name: String, key: String },
    #[error("volume {volume}: the service account's token was not given")]
    NoToken { volume: String },
    #[error("volume {volume}: path {path:?} leads outside")]
    Path { volume: String, path: String },
    #[error("mount {path}: subPathExpr refers to {name:?}, which has no value")]
    NoValue { path: String, name: String },
    #[error("volume {volume}: this machine keeps no files in memory")]
    NoMemory { volume: String },
    #[error("volume {volume}: its directory was not found")]
    NotGiven { volume: String },
    #[error("volume {volume}: {source}")]
    Field {
        volume: String,
        #[source]
        source: fields::FieldError,
    },
    #[error("volume {volume}: {path} is no directory")]
    NoDirectory { volume: String, path: PathBuf },
    #[error("mount {path}: the pod has no volume {volume:?}")]
    NoVolume { path: String, volume: String },
    #[error("mount {path}: files cannot be mounted into the mounted directory {directory}")]
    Overlap { path: String, directory: String },
    #[error("volume {volume}: {path}: {source}")]
    Io {
        volume: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl VolumeError {
    /// Whether somebody must create or change an object first.
    pub(crate) fn is_config(&self) -> bool {
        !matches!(self, VolumeError::Io { .. } | VolumeError::NoDirectory { .. } | VolumeError::NotGiven { .. })
    }
}

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
}

/// Files by relative path.
pub(crate) type Files = BTreeMap<String, File>;

/// Where the content of a pod's volume lies.
pub(crate) fn directory(pod_dir: &Path, volume: &str) -> PathBuf {
    pod_dir.join("volumes").join(volume)
}

/// How much a part of what a pod writes may come to.
#[derive(Clone, Debug)]
pub(crate) struct SizeLimit {
    /// The empty directory; `None` for all that the pod has on the node's disk, its logs included.
    pub(crate) volume: Option<Box<str>>,
    pub(crate) bytes: u64,
}

/// What bounds the pod's files: limits of its empty directories, and its containers' limits of `ephemeral-storage` together. A directory
/// in memory may not hold more than the pod may.
pub(crate) fn size_limits(pod: &Pod) -> Box<[SizeLimit]> {
    let bytes = |text: &str| u64::try_from(text.parse::<Quantity>().ok()?.units()).ok().filter(|it| *it > 0);
    let volumes = pod.spec.iter().flat_map(|it| it.volumes.iter().flatten());
    let limited = volumes.filter_map(|it| {
        let directory = it.empty_dir.as_ref()?;
        let limit = directory.size_limit.as_ref().and_then(|it| bytes(&it.0));
        let in_memory = directory.medium.as_deref() == Some("Memory");
        let memory = if in_memory { memory_limit(pod) } else { None };
        Some(SizeLimit { volume: Some(it.name.as_str().into()), bytes: limit.into_iter().chain(memory).min()? })
    });
    let containers = pod.spec.iter().flat_map(|it| &it.containers);
    let limits =
        containers.filter_map(|it| bytes(&it.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?.0));
    let whole = limits.reduce(u64::saturating_add).map(|bytes| SizeLimit { volume: None, bytes });
    limited.chain(whole).collect()
}

/// The memory that all containers of the pod may have at once, if each has a limit.
fn memory_limit(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let limit = |it: &Container| fields::limits(it).ok()?.1;
    let (sidecars, first): (Vec<_>, Vec<_>) =
        spec.init_containers.iter().flatten().partition(|it| it.restart_policy.as_deref() == Some("Always"));
    let together = spec.containers.iter().chain(sidecars).map(limit).sum::<Option<u64>>()?;
    first.into_iter().map(limit).try_fold(together, |most, it| Some(most.max(it?)))
}

/// The files that `volume` holds, or `None` when its content is not ours to write.
pub(crate) fn contents(
    volume: &Volume,
    pod: &Pod,
    facts: &Facts,
    fetched: &Fetched,
) -> Result<Option<Files>, VolumeError> {
    let mut out = Gather { volume: &volume.name, pod, facts, fetched, default_mode: None, files: Files::new() };
    if let Some(it) = &volume.config_map {
        out.default_mode = it.default_mode;
        out.keys(SourceKind::ConfigMap, &it.name, it.items.as_deref(), it.optional)?;
    } else if let Some(it) = &volume.secret {
        out.default_mode = it.default_mode;
        let name = it.secret_name.as_deref().unwrap_or_default();
        out.keys(SourceKind::Secret, name, it.items.as_deref(), it.optional)?;
    } else if let Some(it) = &volume.downward_api {
        out.default_mode = it.default_mode;
        out.downward(it.items.as_deref().unwrap_or_default())?;
    } else if let Some(it) = &volume.projected {
        out.default_mode = it.default_mode;
        for source in it.sources.iter().flatten() {
            if let Some(it) = &source.config_map {
                out.keys(SourceKind::ConfigMap, &it.name, it.items.as_deref(), it.optional)?;
            }
            if let Some(it) = &source.secret {
                out.keys(SourceKind::Secret, &it.name, it.items.as_deref(), it.optional)?;
            }
            if let Some(it) = &source.downward_api {
                out.downward(it.items.as_deref().unwrap_or_default())?;
            }
            if let Some(it) = &source.service_account_token {
                let token = fetched.tokens.get(&tokens::wanted_by(it));
                let token = token.ok_or_else(|| VolumeError::NoToken { volume: volume.name.clone() })?;
                // For its reader only, whatever the volume's mode says.
                out.put(&it.path, token.clone().into_bytes(), Some(0o600))?;
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(out.files))
}

struct Gather<'a> {
    volume: &'a str,
    pod: &'a Pod,
    facts: &'a Facts,
    fetched: &'a Fetched,
    default_mode: Option<i32>,
    files: Files,
}

impl Gather<'_> {
    fn keys(
        &mut self,
        kind: SourceKind,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), VolumeError> {
        let optional = optional == Some(true);
        let Some(data) = self.fetched.get(kind, name) else {
            let missing = || VolumeError::Missing { volume: self.volume.to_owned(), kind, name: name.to_owned() };
            return if optional { Ok(()) } else { Err(missing()) };
        };
        match items.filter(|it| !it.is_empty()) {
            None => {
                for (key, value) in data {
                    self.put(key, value.clone(), None)?;
                }
            }
            Some(items) => {
                for item in items {
                    match data.get(&item.key) {
                        Some(value) => self.put(&item.path, value.clone(), item.mode)?,
                        None if optional => {}
                        None => {
                            let (volume, name, key) = (self.volume.to_owned(), name.to_owned(), item.key.clone());
                            return Err(VolumeError::NoKey { volume, kind, name, key });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn downward(&mut self, items: &[DownwardAPIVolumeFile]) -> Result<(), VolumeError> {
        let containers: Vec<&Container> = env::all_containers(self.pod).collect();
        for item in items {
            let value = match (&item.field_ref, &item.resource_field_ref, containers.first()) {
                (Some(it), ..) => fields::field(self.pod, self.facts, &it.field_path),
                (None, Some(it), Some(first)) => fields::resource(&containers, first, self.facts, it),
                _ => continue,
            };
            let value = value.map_err(|source| VolumeError::Field { volume: self.volume.to_owned(), source })?;
            self.put(&item.path, value.into_bytes(), item.mode)?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, data: Vec<u8>, mode: Option<i32>) -> Result<(), VolumeError> {
        if !is_inside(path) {
            return Err(VolumeError::Path { volume: self.volume.to_owned(), path: path.to_owned() });
        }
        let mode = mode.or(self.default_mode).and_then(|it| u32::try_from(it).ok()).unwrap_or(0o644);
        self.files.insert(path.to_owned(), File { data, mode: (mode & 0o777) | 0o400 });
        Ok(())
    }
}

/// Whether a relative path stays where it starts, and names something.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|it| matches!(it, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::fields::tests::{facts, pod};

    #[track_caller]
    fn check(volume: serde_json::Value, want: Expect) {
        let mut fetched = Fetched::default();
        let data = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        fetched.put(SourceKind::ConfigMap, "settings", data(&[("a.conf", "alpha"), ("b.conf", "beta")]));
        fetched.put(SourceKind::Secret, "token", data(&[("key", "s3cret")]));
        fetched.tokens.insert(tokens::Wanted { audience: String::new(), seconds: 3600 }, "t0ken".to_owned());
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let got = match contents(&volume, &pod(), &facts(), &fetched) {
            Ok(None) => "not ours\n".to_owned(),
            Ok(Some(files)) => files
                .iter()
                .map(|(path, file)| format!("{path} {:o} {}\n", file.mode, String::from_utf8_lossy(&file.data)))
                .collect(),
            Err(error) => format!("{error}\n"),
        };
        want.assert_eq(&got);
    }

    #[test]
    fn an_empty_directory_in_memory_is_bounded_by_what_the_pod_may_have() {
        let limits = |memory: &[Option<&str>], directory: serde_json::Value| {
            let containers = memory.iter().map(|it| match it {
                Some(memory) => serde_json::json!({ "name": "c", "resources": { "limits": { "memory": memory } } }),
                None => serde_json::json!({ "name": "c" }),
            });
            let pod = serde_json::from_value(serde_json::json!({ "spec": {
                "containers": containers.collect::<Vec<_>>(), "volumes": [{ "name": "v", "emptyDir": directory }],
            } }));
            size_limits(&pod.unwrap()).first().map(|it| it.bytes)
        };
        let (disk, memory) = (serde_json::json!({}), serde_json::json!({ "medium": "Memory" }));
        let sized = |size: &str| serde_json::json!({ "medium": "Memory", "sizeLimit": size });
        assert_eq!(limits(&[Some("1Mi"), Some("2Mi")], memory.clone()), Some(3 << 20));
        assert_eq!(limits(&[Some("1Mi"), None], memory), None, "the pod has no limit as a whole");
        assert_eq!(limits(&[Some("1Mi")], disk), None);
        assert_eq!(limits(&[Some("1Mi")], sized("64Ki")), Some(64 << 10));
        assert_eq!(limits(&[Some("1Mi")], sized("1Gi")), Some(1 << 20));
        assert_eq!(limits(&[None], sized("1Gi")), Some(1 << 30));
    }

    #[test]
    fn volumes_hold_what_their_sources_say() {
        check(
            serde_json::json!({ "name": "v", "configMap": { "name": "settings" } }),
            expect![[r#"
                a.conf 644 alpha
                b.conf 644 beta
            "#]],
        );
        check(
            serde_json::json!({ "name": "v", "secret": { "secretName": "token", "defaultMode": 0o440, "items": [{ "key": "key", "path": "x/y" }] } }),
            expect!["x/y 440 s3cret\n"],
        );
        check(
            serde_json::json!({ "name": "v", "projected": { "defaultMode": 0o755, "sources": [
                { "configMap": { "name": "settings", "items": [{ "key": "a.conf", "path": "c", "mode": 0o600 }] } },
                { "secret": { "name": "absent", "optional": true } },
                { "downwardAPI": { "items": [
                    { "path": "name", "fieldRef": { "fieldPath": "metadata.name" } },
                    { "path": "mem", "resourceFieldRef": { "containerName": "one", "resource": "limits.memory" } }] } }] } }),
            expect![[r#"
                c 600 alpha
                mem 755 104857600
                name 755 web
            "#]],
        );
        check(
            serde_json::json!({ "name": "v", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token" } },
                { "downwardAPI": { "items": [{ "path": "ns", "fieldRef": { "fieldPath": "metadata.namespace" } }] } }] } }),
            expect![[r#"
                ns 644 shop
                token 600 t0ken
            "#]],
        );
        check(serde_json::json!({ "name": "v", "emptyDir": {} }), expect!["not ours\n"]);
    }

    #[test]
    fn missing_sources_and_paths_that_lead_outside_are_named() {
        check(
            serde_json::json!({ "name": "v", "configMap": { "name": "absent" } }),
            expect!["volume v: configmap \"absent\" not found\n"],
        );
        check(
            serde_json::json!({ "name": "v", "configMap": { "name": "settings", "items": [{ "key": "no", "path": "p" }] } }),
            expect!["volume v: configmap settings has no key no\n"],
        );
        check(
            serde_json::json!({ "name": "v", "secret": { "secretName": "token", "items": [{ "key": "key", "path": "../up" }] } }),
            expect!["volume v: path \"../up\" leads outside\n"],
        );
    }
}
