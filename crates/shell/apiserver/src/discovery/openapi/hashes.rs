//! Hashes of the documents of OpenAPI v3, remembered as long as the kinds they describe stay the same.

use std::{collections::BTreeMap, sync::Arc};

use eyot_model::kinds::{Kind, Table};
use parking_lot::Mutex;

use super::{hash, path_of, v3};

/// The kinds of one group and version, and the hash of their document.
type Known = (Vec<Arc<Kind>>, String);

/// By path. Making a document costs milliseconds, and there are dozens; so one is only made again when its kinds
/// changed. Bounded by the groups that are served.
static KNOWN: Mutex<BTreeMap<String, Known>> = Mutex::new(BTreeMap::new());

/// The hash of each group and version's document, by its path below `/openapi/v3/`.
pub(super) fn of(table: &Table) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, Known> = BTreeMap::new();
    for (group, versions) in table.groups() {
        for version in versions {
            let kinds: Vec<_> = table.iter().filter(|it| it.group == group && it.version == version).cloned().collect();
            let path = path_of(group, version);
            if let Some(hash) = remembered(&path, &kinds).or_else(|| made(table, group, version)) {
                found.insert(path, (kinds, hash));
            }
        }
    }
    let hashes = found.iter().map(|(path, (_, hash))| (path.clone(), hash.clone())).collect();
    *KNOWN.lock() = found;
    hashes
}

fn remembered(path: &str, kinds: &[Arc<Kind>]) -> Option<String> {
    let known = KNOWN.lock();
    let (of, hash) = known.get(path)?;
    let same = of.len() == kinds.len() && of.iter().zip(kinds).all(|(a, b)| Arc::ptr_eq(a, b));
    same.then(|| hash.clone())
}

fn made(table: &Table, group: &str, version: &str) -> Option<String> {
    Some(hash(v3(table, group, version)?.to_string().as_bytes()))
}
