//! Checks of configuration, leases and claims.

use super::{at::At, names};
use crate::{quantity::Quantity, status::Cause};

/// Most bytes of data in a Secret or ConfigMap.
const DATA_MAX: usize = 1 << 20;

pub(super) fn secret(object: &At<'_>, causes: &mut Vec<Cause>) {
    let data = object.get("data");
    let bytes: usize = data.entries().map(|(_, it)| it.text().len() / 4 * 3).sum();
    keys(&data, bytes, causes);
    let needed: &[&str] = match object.get("type").text() {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if !data.entries().any(|it| it.0 == *key) {
            causes.push(Cause::required(format!("{}[{key}]", data.path), ""));
        }
    }
}

pub(super) fn config_map(object: &At<'_>, causes: &mut Vec<Cause>) {
    let (texts, binary) = (object.get("data"), object.get("binaryData"));
    let bytes: usize = texts.entries().map(|(_, it)| it.text().len()).sum::<usize>()
        + binary.entries().map(|(_, it)| it.text().len() / 4 * 3).sum::<usize>();
    keys(&texts, bytes, causes);
    keys(&binary, 0, causes);
    for (key, at) in texts.entries().filter(|(key, _)| binary.entries().any(|it| it.0 == *key)) {
        causes.push(Cause::invalid(at.path, &key.into(), "duplicate of key present in binaryData"));
    }
}

fn keys(data: &At<'_>, bytes: usize, causes: &mut Vec<Cause>) {
    for (key, at) in data.entries() {
        if let Err(why) = names::config_key(key) {
            causes.push(Cause::invalid(at.path, &key.into(), &why));
        }
    }
    if bytes > DATA_MAX {
        // Kubernetes reports the object as a whole for ConfigMaps, the field for Secrets; the field helps more.
        causes.push(Cause::too_long(&data.path, DATA_MAX));
    }
}

pub(super) fn lease(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let duration = spec.get("leaseDurationSeconds");
    if duration.number().is_some_and(|it| it <= 0) {
        causes.push(duration.invalid("must be greater than 0"));
    }
    spec.get("leaseTransitions").at_least(0, causes);
    if !spec.get("holderIdentity").is_absent() && spec.get("holderIdentity").is_empty() {
        causes.push(spec.get("holderIdentity").invalid("must not be empty"));
    }
}

pub(super) fn runtime_class(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.get("handler").grammar(names::dns1123_label, causes);
    for (_, at) in object.at("overhead.podFixed").entries() {
        if at.text().parse::<Quantity>().is_ok_and(|it| it.is_negative()) {
            causes.push(at.invalid("must be greater than or equal to 0"));
        }
    }
    let selector = object.at("scheduling.nodeSelector");
    for (key, value) in selector.entries() {
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&selector.path, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&selector.path, value.value, &why));
        }
    }
}

pub(super) fn controller_revision(object: &At<'_>, causes: &mut Vec<Cause>) {
    object.get("revision").at_least(0, causes);
    if object.get("data").is_absent() {
        causes.push(object.get("data").required("data is mandatory"));
    }
}

pub(super) fn volume_claim(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        causes.push(modes.required("at least 1 access mode is required"));
    }
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    modes.items().for_each(|it| it.one_of(&known, causes));
    let storage = spec.at("resources.requests.storage");
    match storage.text().parse::<Quantity>() {
        Ok(amount) if !amount.is_zero() && !amount.is_negative() => {}
        Ok(_) => causes.push(storage.invalid("must be greater than zero")),
        Err(_) => causes.push(Cause::required("spec.resources[storage]", "")),
    }
}
