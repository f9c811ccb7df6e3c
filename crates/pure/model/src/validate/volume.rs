//! Checks of a pod's volumes.

use std::collections::HashSet;

use super::{
    at::At,
    container::no_backsteps,
    names::{self, Check},
};
use crate::{quantity::Quantity, status::Cause};

/// Checks the volumes and returns their names.
pub(super) fn check<'a>(volumes: &At<'a>, causes: &mut Vec<Cause>) -> HashSet<&'a str> {
    let mut seen = HashSet::new();
    for volume in volumes.items() {
        let name = volume.get("name");
        if name.is_empty() {
            causes.push(name.required(""));
        }
        name.grammar(names::dns1123_label, causes);
        if !name.is_empty() && !seen.insert(name.text()) {
            causes.push(name.duplicate());
        }
        source(&volume, causes);
    }
    seen
}

fn source(volume: &At<'_>, causes: &mut Vec<Cause>) {
    let sources: Vec<&str> =
        volume.map().into_iter().flatten().map(|it| it.0.as_str()).filter(|it| *it != "name").collect();
    if sources.is_empty() {
        causes.push(volume.required("must specify a volume type"));
    }
    for extra in sources.iter().skip(1) {
        causes.push(volume.get(extra).forbidden("may not specify more than 1 volume type"));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        mode(&volume.get(source).get("defaultMode"), causes);
    }
    let (secret, config) = (volume.get("secret"), volume.get("configMap"));
    if !secret.is_absent() && secret.get("secretName").is_empty() {
        causes.push(secret.get("secretName").required(""));
    }
    if !config.is_absent() && config.get("name").is_empty() {
        causes.push(config.get("name").required(""));
    }
    for list in [secret.get("items"), config.get("items"), volume.at("downwardAPI.items")] {
        list.items().for_each(|it| item(&it, causes));
    }
    for source in volume.at("projected.sources").items() {
        let given: Vec<&str> = source.map().into_iter().flatten().map(|it| it.0.as_str()).collect();
        for extra in given.iter().skip(1) {
            causes.push(source.get(extra).forbidden("may not specify more than 1 volume type"));
        }
        for kind in ["secret", "configMap", "downwardAPI"] {
            source.get(kind).get("items").items().for_each(|it| item(&it, causes));
        }
    }
    let host = volume.get("hostPath");
    if !host.is_absent() && host.get("path").is_empty() {
        causes.push(host.get("path").required(""));
    }
    host.get("path").grammar(no_backsteps, causes);
    let host_types = ["BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    host.get("type").one_of(&host_types, causes);
    let limit = volume.at("emptyDir.sizeLimit");
    if limit.text().parse::<Quantity>().is_ok_and(Quantity::is_negative) {
        causes.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
    }
    let claim = volume.get("persistentVolumeClaim");
    if !claim.is_absent() && claim.get("claimName").is_empty() {
        causes.push(claim.get("claimName").required(""));
    }
}

/// A file in a volume.
fn item(item: &At<'_>, causes: &mut Vec<Cause>) {
    if item.get("path").is_empty() {
        causes.push(item.get("path").required(""));
    }
    item.get("path").grammar(relative, causes);
    mode(&item.get("mode"), causes);
}

fn relative(path: &str) -> Check {
    if path.starts_with('/') {
        return Err("must be a relative path".into());
    }
    no_backsteps(path)
}

fn mode(mode: &At<'_>, causes: &mut Vec<Cause>) {
    if mode.number().is_some_and(|it| !(0..=0o777).contains(&it)) {
        causes.push(mode.invalid("must be a number between 0 and 0777 (octal), both inclusive"));
    }
}
