//! Checks of storage kinds: classes, drivers, volumes and attachments.

use super::{
    at::At,
    names::{self, Check},
};
use crate::{
    quantity::Quantity,
    status::{Cause, CauseReason},
};

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
/// Most bytes of a class's parameters together, and most entries.
const PARAMETERS_BYTES_MAX: usize = 256 << 10;
const PARAMETERS_MAX: usize = 512;

pub(super) fn class(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.get("provisioner").grammar(lowered_name, causes);
    parameters(&object.get("parameters"), causes);
    object.get("reclaimPolicy").one_of(&["Delete", "Retain"], causes);
    object.get("volumeBindingMode").one_of(&["Immediate", "WaitForFirstConsumer"], causes);
    for (at, term) in object.get("allowedTopologies").items().enumerate() {
        let expressions = term.get("matchLabelExpressions");
        for expression in expressions.items() {
            expression.get("key").grammar(names::qualified_name, causes);
            if expression.get("values").is_empty() {
                causes.push(expression.get("values").required(""));
            }
        }
        if expressions.is_empty() && at > 0 {
            causes.push(Cause::required(expressions.path, ""));
        }
    }
}

pub(super) fn attributes_class(object: &At<'_>, causes: &mut Vec<Cause>) {
    driver_name(&object.get("driverName"), causes);
    if object.get("parameters").is_empty() {
        causes.push(object.get("parameters").required("must contain at least one key/value pair"));
    }
    parameters(&object.get("parameters"), causes);
}

/// A qualified name once it is in lower case.
fn lowered_name(text: &str) -> Check {
    names::qualified_name(&text.to_lowercase())
}

fn parameters(parameters: &At<'_>, causes: &mut Vec<Cause>) {
    let (mut count, mut bytes) = (0, 0);
    for (key, value) in parameters.entries() {
        if key.is_empty() {
            causes.push(Cause::invalid(&parameters.path, &key.into(), "field can not be empty."));
        }
        count += 1;
        bytes += key.len() + value.text().len();
    }
    if count > PARAMETERS_MAX {
        causes.push(Cause::too_many(&parameters.path, count, PARAMETERS_MAX));
    }
    if bytes > PARAMETERS_BYTES_MAX {
        causes.push(Cause::too_long(&parameters.path, PARAMETERS_BYTES_MAX));
    }
}

/// The name of a storage driver: at most 63 characters of a lowered DNS name.
fn driver_name(name: &At<'_>, causes: &mut Vec<Cause>) {
    const NAME_MAX: usize = 63;
    if name.text().len() > NAME_MAX {
        causes.push(Cause::too_long(&name.path, NAME_MAX));
    }
    if let Some(Err(why)) =
        Some(name.text().to_lowercase()).filter(|it| !it.is_empty()).map(|it| names::dns1123_subdomain(&it))
    {
        causes.push(name.invalid(&why));
    }
}

pub(super) fn csi_driver(object: &At<'_>, causes: &mut Vec<Cause>) {
    driver_name(&object.at("metadata.name"), causes);
    let spec = object.get("spec");
    for field in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if spec.get(field).is_absent() {
            causes.push(spec.get(field).required(""));
        }
    }
    spec.get("fsGroupPolicy").one_of(&["File", "None", "ReadWriteOnceWithFSType"], causes);
    spec.get("volumeLifecycleModes").items().for_each(|it| it.one_of(&["Ephemeral", "Persistent"], causes));
    const TOKEN_SECONDS_MIN: i64 = 600;
    let mut audiences = std::collections::HashSet::new();
    for token in spec.get("tokenRequests").items() {
        if !audiences.insert(token.get("audience").text()) {
            causes.push(token.get("audience").duplicate());
        }
        token.get("expirationSeconds").at_least(TOKEN_SECONDS_MIN, causes);
        token.get("expirationSeconds").at_most(1 << 32, causes);
    }
}

pub(super) fn csi_node(object: &At<'_>, causes: &mut Vec<Cause>) {
    const NODE_ID_MAX: usize = 256;
    let drivers = object.at("spec.drivers");
    drivers.unique("name", causes);
    for driver in drivers.items() {
        driver_name(&driver.get("name"), causes);
        let id = driver.get("nodeID");
        if id.text().len() > NODE_ID_MAX {
            causes.push(id.invalid("must be 256 characters or less"));
        }
        driver.at("allocatable.count").at_least(0, causes);
        for key in driver.get("topologyKeys").items() {
            key.grammar(names::qualified_name, causes);
        }
    }
}

pub(super) fn storage_capacity(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.get("storageClassName").grammar(names::dns1123_subdomain, causes);
    super::workload::label_selector(&object.get("nodeTopology"), causes);
    for field in ["capacity", "maximumVolumeSize"] {
        amount(&object.get(field), causes);
    }
}

/// Reports an amount below zero.
fn amount(at: &At<'_>, causes: &mut Vec<Cause>) {
    if at.text().parse::<Quantity>().is_ok_and(|it| it.is_negative()) {
        causes.push(at.invalid("must be greater than or equal to 0"));
    }
}

pub(super) fn attachment(spec: &At<'_>, causes: &mut Vec<Cause>) {
    driver_name(&spec.get("attacher"), causes);
    spec.get("nodeName").grammar(names::dns1123_subdomain, causes);
    let source = spec.get("source");
    let (inline, name) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    match (inline.is_absent(), name.is_absent()) {
        (true, true) => {
            causes.push(source.required("must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
        }
        (false, false) => {
            causes.push(source.forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName"));
        }
        (true, false) if name.is_empty() => {
            causes.push(name.required("must specify non empty persistentVolumeName"));
        }
        _ => {}
    }
}

/// Where a volume is stands once it was said.
pub(super) fn same_source(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    if SOURCES.iter().any(|it| new.get(it).value != old.get(it).value) {
        causes.push(Cause::forbidden(
            "spec.persistentvolumesource",
            "spec.persistentvolumesource is immutable after creation",
        ));
    }
}

/// Fields of a volume that say where it is; exactly one of them must be there.
const SOURCES: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub(super) fn volume(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        causes.push(modes.required(""));
    }
    modes.items().for_each(|it| it.one_of(&MODES, causes));
    let alone = modes.items().any(|it| it.text() == "ReadWriteOncePod");
    if alone && modes.items().count() > 1 {
        causes.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
    let capacity = spec.get("capacity");
    if capacity.is_empty() {
        causes.push(capacity.required(""));
    } else if capacity.get("storage").is_absent() || capacity.entries().count() > 1 {
        let why = "supported values: \"storage\"";
        let message = format!("Unsupported value: {}: {why}", capacity.value);
        causes.push(Cause { reason: CauseReason::FieldValueNotSupported, message, field: capacity.path.clone() });
    }
    for (_, at) in capacity.entries() {
        if at.text().parse::<Quantity>().is_ok_and(|it| it.is_zero() || it.is_negative()) {
            causes.push(at.invalid("must be greater than zero"));
        }
    }
    spec.get("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"], causes);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], causes);
    spec.get("storageClassName").grammar(names::dns1123_subdomain, causes);
    match SOURCES.iter().filter(|it| !spec.get(it).is_absent()).count() {
        0 => causes.push(spec.required("must specify a volume type")),
        1 => {}
        _ => {
            let second = SOURCES.iter().filter(|it| !spec.get(it).is_absent()).nth(1).copied().unwrap_or_default();
            causes.push(spec.get(second).forbidden("may not specify more than 1 volume type"));
        }
    }
    local_volume(spec, causes);
}

fn local_volume(spec: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["local", "hostPath"] {
        let path = spec.get(field).get("path");
        if path.text().split('/').any(|it| it == "..") {
            causes.push(path.invalid("must not contain '..'"));
        }
    }
    if !spec.get("local").is_absent() && spec.at("nodeAffinity.required").is_absent() {
        causes.push(spec.get("nodeAffinity").required("Local volume requires node affinity"));
    }
    driver_name(&spec.at("csi.driver"), causes);
}
