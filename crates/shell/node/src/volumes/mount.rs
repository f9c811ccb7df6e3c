//! Which directories a container sees, and where.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use eyot_runtime::Mount;
use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};

use super::{
    Part, VolumeError,
    beneath::{self, Found},
    directory, is_inside, memory, write,
};
use crate::env;

/// Directories that were found for volumes elsewhere, by the volume's name: those of claims and images.
pub(crate) type Given = BTreeMap<String, PathBuf>;

/// Where a pod's volumes lie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Those that only the pod uses.
    pub(crate) pod: PathBuf,
    /// Those of them that are kept in memory.
    pub(crate) memory: Option<PathBuf>,
    /// Those that others made.
    pub(crate) given: Given,
}

/// The mounts of `container` that lead to volumes of this part. Creates empty directories where the pod asks for them; volume contents must be there.
pub(crate) fn mounts(
    pod: &Pod,
    container: &Container,
    env: &[(String, String)],
    places: &Places,
    part: Part,
) -> Result<Vec<Mount>, VolumeError> {
    let volumes = pod.spec.iter().flat_map(|it| it.volumes.iter().flatten());
    let by_name: BTreeMap<&str, &Volume> = volumes.map(|it| (it.name.as_str(), it)).collect();
    let mut out = Vec::new();
    let mut files = BTreeMap::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = by_name
            .get(mount.name.as_str())
            .ok_or_else(|| VolumeError::NoVolume { path: mount.mount_path.clone(), volume: mount.name.clone() })?;
        if !part.holds(volume) {
            continue;
        }
        let root = root_of(volume, places)?;
        let guest = absolute(&mount.mount_path);
        let read_only = mount.read_only == Some(true) || is_read_only(volume);
        let Some(sub) = sub_path(mount, env)? else {
            out.push(Mount { host: root, held: None, guest: guest.into(), read_only });
            continue;
        };
        let found = beneath(&root, volume, &sub)?;
        if found.is_file().map_err(io(&volume.name, &found.path))? {
            let guest = Path::new(&*guest);
            let parent = guest.parent().and_then(Path::to_str).unwrap_or("/").to_owned();
            files.entry(parent).or_insert_with(Vec::new).push((guest.file_name().map(PathBuf::from), found));
        } else {
            let Found { held, path } = found;
            out.push(Mount { host: path, held: Some(held.into()), guest: guest.into(), read_only });
        }
    }
    for (index, (parent, list)) in files.into_iter().enumerate() {
        if out.iter().any(|it| it.guest.trim_end_matches('/') == parent.trim_end_matches('/')) {
            let path = list.iter().find_map(|(name, _)| name.clone()).unwrap_or_default();
            return Err(VolumeError::Overlap { path: path.display().to_string(), directory: parent });
        }
        let host = places.pod.join("files").join(&container.name).join(index.to_string());
        write::make_private(&host).map_err(io(&parent, &host))?;
        for (name, from) in list {
            let to = host.join(name.unwrap_or_default());
            // Removed first: a copy onto a read-only file of an earlier start would fail.
            let _ = fs::remove_file(&to);
            fs::copy(from.fixed_path(), &to).map_err(io(&parent, &to))?;
        }
        out.push(Mount { host, held: None, guest: parent, read_only: true });
    }
    Ok(out)
}

/// As the kubelet has it, a path that starts nowhere starts at the root.
fn absolute(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

fn io<'a>(volume: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> VolumeError + use<'a> {
    move |source| VolumeError::Io { volume: volume.to_owned(), path: path.to_owned(), source }
}

/// Whether guests must not write: the node writes the volume's content, or it is an image, or the pod says so.
fn is_read_only(volume: &Volume) -> bool {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => claim.read_only == Some(true),
        (None, Some(_)) => false,
        (None, None) => volume.empty_dir.is_none() && volume.host_path.is_none(),
    }
}

fn root_of(volume: &Volume, places: &Places) -> Result<PathBuf, VolumeError> {
    let name = || volume.name.clone();
    if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() || volume.image.is_some() {
        return places.given.get(&volume.name).cloned().ok_or_else(|| VolumeError::NotGiven { volume: name() });
    }
    if let Some(empty) = &volume.empty_dir {
        let root = match empty.medium.as_deref() {
            Some("Memory") => {
                let memory = places.memory.as_ref().ok_or_else(|| VolumeError::NoMemory { volume: name() })?;
                let root = memory.parent().unwrap_or(memory);
                memory::prepare(root).map_err(io(&volume.name, root))?;
                directory(memory, &volume.name)
            }
            _ => directory(&places.pod, &volume.name),
        };
        let made = write::make_private(&root);
        // Open to everybody who gets here, which is nobody but the node's user.
        let made = made.and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o777)));
        made.map_err(io(&volume.name, &root))?;
        return Ok(root);
    }
    let Some(host) = &volume.host_path else {
        let root = directory(&places.pod, &volume.name);
        write::make_private(&root).map_err(io(&volume.name, &root))?;
        return Ok(root);
    };
    let path = PathBuf::from(&host.path);
    if host.type_.as_deref() == Some("DirectoryOrCreate") {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(io(&volume.name, &path))?;
    }
    if path.is_dir() { Ok(path) } else { Err(VolumeError::NoDirectory { volume: volume.name.clone(), path }) }
}

/// The part of a volume that is mounted; `None` for all of it.
fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<String>, VolumeError> {
    match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(it), _) if !it.is_empty() => Ok(Some(it.clone())),
        (_, Some(it)) if !it.is_empty() => {
            let expanded = env::expand_all(it, env);
            let no_value = |name| VolumeError::NoValue { path: mount.mount_path.clone(), name };
            expanded.map(Some).map_err(no_value)
        }
        _ => Ok(None),
    }
}

/// Follows `sub` from the volume's root, never out of it: a guest with the whole volume, or an image, may have left a symbolic
/// link there or on the way, and may put one there at any time.
fn beneath(root: &Path, volume: &Volume, sub: &str) -> Result<Found, VolumeError> {
    let outside = || VolumeError::Path { volume: volume.name.clone(), path: sub.to_owned() };
    if !is_inside(sub) {
        return Err(outside());
    }
    let found = beneath::hold(root).and_then(|it| beneath::find(it, Path::new(sub), true));
    found.map_err(io(&volume.name, &root.join(sub)))?.ok_or_else(outside)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_container_sees_its_volumes_where_it_asks() {
        let root = tempfile::tempdir().unwrap();
        let pod_dir = root.path().join("pod");
        let config = directory(&pod_dir, "config");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("app.toml"), "x = 1").unwrap();
        let pod: Pod = serde_json::from_value(serde_json::json!({ "spec": {
            "volumes": [
                { "name": "config", "configMap": { "name": "c" } },
                { "name": "scratch", "emptyDir": {} },
                { "name": "host", "hostPath": { "path": root.path().join("made"), "type": "DirectoryOrCreate" } },
                { "name": "absent", "hostPath": { "path": root.path().join("absent") } },
                { "name": "claim", "persistentVolumeClaim": { "claimName": "data" } },
                { "name": "ram", "emptyDir": { "medium": "Memory" } },
            ],
            "containers": [
                { "name": "good", "volumeMounts": [
                    { "name": "config", "mountPath": "/etc/app/app.toml", "subPath": "app.toml" },
                    { "name": "config", "mountPath": "config" },
                    { "name": "scratch", "mountPath": "/tmp", "subPathExpr": "$(WHO)/x" },
                    { "name": "host", "mountPath": "/data", "readOnly": true },
                ] },
                { "name": "outside", "volumeMounts": [{ "name": "scratch", "mountPath": "/x", "subPath": "link" }] },
                { "name": "making", "volumeMounts": [{ "name": "scratch", "mountPath": "/x", "subPath": "up/evil/x" }] },
                { "name": "nowhere", "volumeMounts": [{ "name": "absent", "mountPath": "/x" }] },
                { "name": "unknown", "volumeMounts": [{ "name": "none", "mountPath": "/x" }] },
                { "name": "keeping", "volumeMounts": [
                    { "name": "claim", "mountPath": "/data" }, { "name": "ram", "mountPath": "/tmp" }] },
                { "name": "valueless", "volumeMounts": [
                    { "name": "scratch", "mountPath": "/x", "subPathExpr": "$(NONE)/x" }] },
            ] } }))
        .unwrap();
        let env = [("WHO".to_owned(), "me".to_owned())];
        let containers = &pod.spec.as_ref().unwrap().containers;
        let places = Places {
            pod: pod_dir.clone(),
            memory: Some(root.path().join("memory/pod")),
            given: Given::from([("claim".to_owned(), root.path().join("pvc-1"))]),
        };
        let show = |container: &Container| match mounts(&pod, container, &env, &places, Part::All) {
            Ok(list) => list
                .iter()
                .map(|it| {
                    let host = it.host.strip_prefix(root.path()).unwrap().display().to_string();
                    format!("{host} at {} {}\n", it.guest, if it.read_only { "ro" } else { "rw" })
                })
                .collect::<String>(),
            Err(error) => format!("{error}\n").replace(root.path().to_str().unwrap(), ""),
        };
        expect_test::expect![[r#"
            pod/volumes/config at /config ro
            pod/volumes/scratch/me/x at /tmp rw
            made at /data ro
            pod/files/good/0 at /etc/app ro
        "#]]
        .assert_eq(&show(&containers[0]));
        assert_eq!(fs::read_to_string(pod_dir.join("files/good/0/app.toml")).unwrap(), "x = 1");
        let scratch = mounts(&pod, &containers[0], &env, &places, Part::All).unwrap().remove(1);
        fs::rename(&scratch.host, scratch.host.with_extension("moved")).unwrap();
        std::os::unix::fs::symlink("/etc", &scratch.host).unwrap();
        let held = scratch.held.unwrap();
        let leads = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap();
        assert_eq!(leads, scratch.host.with_extension("moved"), "a link that comes later leads nowhere");
        std::os::unix::fs::symlink("/etc", directory(&pod_dir, "scratch").join("link")).unwrap();
        assert_eq!(show(&containers[1]), "volume scratch: path \"link\" leads outside\n");
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory(&pod_dir, "scratch").join("up")).unwrap();
        assert_eq!(show(&containers[2]), "volume scratch: path \"up/evil/x\" leads outside\n");
        assert!(fs::read_dir(&elsewhere).unwrap().next().is_none(), "nothing is made outside either");
        assert_eq!(show(&containers[3]), "volume absent: /absent is no directory\n");
        assert_eq!(show(&containers[4]), "mount /x: the pod has no volume \"none\"\n");
        assert_eq!(show(&containers[5]), "pvc-1 at /data rw\nmemory/pod/volumes/ram at /tmp rw\n");
        let mode = fs::metadata(root.path().join("memory/pod/volumes/ram")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        assert_eq!(show(&containers[6]), "mount /x: subPathExpr refers to \"NONE\", which has no value\n");
    }
}
