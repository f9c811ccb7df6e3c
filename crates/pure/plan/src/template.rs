//! Pod templates: the hash that names a ReplicaSet, and equality that ignores it.

use serde_json::Value;

/// The label that tells apart the pods of a Deployment's revisions.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Letters that cannot form words: what Kubernetes puts into generated names.
pub const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Hashes a template, and how often that hash has collided, to the word that ends the ReplicaSet's name.
///
/// The order of keys and `null` members do not matter, nor does a hash label that is already there.
pub fn hash(template: &Value, collisions: Option<i32>) -> String {
    let mut state = Fnv::default();
    feed_template(&mut state, template);
    if let Some(collisions) = collisions {
        state.feed(&collisions.to_le_bytes());
    }
    let decimal = state.0.to_string();
    decimal.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// True when both describe the same pods; hash labels and `null` members do not count.
pub fn same(left: &Value, right: &Value) -> bool {
    equal(left, right, &["metadata", "labels", HASH_LABEL])
}

/// `ignored` is the rest of the path to the one member that does not count; empty when none is left below.
fn equal(left: &Value, right: &Value, ignored: &[&str]) -> bool {
    let (Value::Object(left), Value::Object(right)) = (left, right) else {
        return match (left, right) {
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right, &[]))
            }
            _ => left == right,
        };
    };
    let skip = |key: &str| ignored.len() == 1 && ignored[0] == key;
    let below = |key: &str| if ignored.first() == Some(&key) { &ignored[1..] } else { &[] };
    let null = Value::Null;
    left.keys()
        .chain(right.keys().filter(|key| !left.contains_key(*key)))
        .filter(|key| !skip(key))
        .all(|key| equal(left.get(key).unwrap_or(&null), right.get(key).unwrap_or(&null), below(key)))
}

fn feed_template(state: &mut Fnv, template: &Value) {
    feed(state, template, &["metadata", "labels", HASH_LABEL]);
}

fn feed(state: &mut Fnv, value: &Value, ignored: &[&str]) {
    match value {
        Value::Object(members) => {
            let mut keys: Vec<&String> = members.keys().collect();
            keys.sort_unstable();
            for key in keys {
                let member = &members[key];
                let on_path = ignored.first() == Some(&key.as_str());
                if member.is_null() || (on_path && ignored.len() == 1) {
                    continue;
                }
                state.text(key);
                feed(state, member, if on_path { &ignored[1..] } else { &[] });
            }
            state.feed(b"}");
        }
        Value::Array(items) => {
            for item in items {
                feed(state, item, &[]);
            }
            state.feed(b"]");
        }
        Value::String(text) => state.text(text),
        other => state.text(&other.to_string()),
    }
}

/// FNV-1a with 32 bits: short, and stable across builds.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Fnv {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn text(&mut self, text: &str) {
        self.feed(&(text.len() as u64).to_le_bytes());
        self.feed(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hash_label_nulls_and_key_order_do_not_count() {
        let plain = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": [1, {"b": 2}], "c": "d"}});
        let dressed = json!({"metadata": {"creationTimestamp": null, "labels": {HASH_LABEL: "xyz", "app": "web"}},
                             "spec": {"c": "d", "a": [1, {"b": 2}]}});
        assert!(same(&plain, &dressed));
        assert_eq!(hash(&plain, None), hash(&dressed, None));
    }

    #[test]
    fn any_other_difference_counts() {
        let base = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": ["x", "y"]}});
        for other in [
            json!({"metadata": {"labels": {"app": "db"}}, "spec": {"a": ["x", "y"]}}),
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": ["xy"]}}),
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": ["y", "x"]}}),
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": ["x", "y"], HASH_LABEL: "b"}}),
            json!({"metadata": {"labels": {"app": "web"}}, "spec": {"a": ["x", "y"], "b": {}}}),
        ] {
            assert!(!same(&base, &other), "{other}");
            assert_ne!(hash(&base, None), hash(&other, None), "{other}");
        }
        assert_ne!(hash(&base, None), hash(&base, Some(1)));
    }
}
