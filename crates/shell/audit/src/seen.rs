//! Tells what a watch does not: whether an object came to be or changed. Entry point: [`Seen::note`].

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use eyot_model::meta;
use eyot_policy::Operation;
use serde_json::Value;

/// Objects that are remembered. Changes of others count as if they had just come to be.
const SEEN_MAX: usize = 100_000;

/// What triggers were like when they were last seen, by uid.
#[derive(Default)]
pub(crate) struct Seen {
    hashes: HashMap<String, u64>,
}

impl Seen {
    /// Takes note of an object, and tells what was done to it. One that was only found, and one of which nothing but its
    /// status changed, counts as created.
    pub(crate) fn note(&mut self, object: &Value, is_new: bool) -> Operation {
        let Some(uid) = meta::uid(object) else { return Operation::Create };
        let hash = essence(object);
        let before = self.hashes.get(uid).copied();
        if before.is_some() || self.hashes.len() < SEEN_MAX {
            self.hashes.insert(uid.to_owned(), hash);
        }
        match before {
            Some(before) if is_new && before != hash => Operation::Update,
            _ => Operation::Create,
        }
    }

    /// Takes note that an object is gone.
    pub(crate) fn forget(&mut self, object: &Value) {
        if let Some(uid) = meta::uid(object) {
            self.hashes.remove(uid);
        }
    }

    /// Forgets everything: what is there is about to be found again.
    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
    }
}

/// What somebody changes who changes an object.
fn essence(object: &Value) -> u64 {
    let mut object = object.clone();
    meta::as_map(&mut object).remove("status");
    let metadata = meta::metadata_mut(&mut object);
    for field in ["resourceVersion", "managedFields", "generation"] {
        metadata.remove(field);
    }
    let mut hasher = DefaultHasher::new();
    object.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_told_from_a_beginning() {
        let object = |data: &str, status: u8, version: &str| json!({"metadata": {"uid": "1", "resourceVersion": version}, "data": data, "status": status});
        let mut seen = Seen::default();
        assert_eq!(seen.note(&object("a", 0, "1"), false), Operation::Create);
        assert_eq!(seen.note(&object("a", 1, "2"), true), Operation::Create);
        assert_eq!(seen.note(&object("b", 1, "3"), true), Operation::Update);
        assert_eq!(seen.note(&object("c", 1, "4"), false), Operation::Create);
        seen.forget(&object("c", 1, "4"));
        assert_eq!(seen.note(&object("d", 1, "5"), true), Operation::Create);
    }
}
