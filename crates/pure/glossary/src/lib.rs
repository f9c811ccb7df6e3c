//! What Kubernetes says its types and fields mean, for `kubectl explain` and other readers of the schema.
//!
//! Entry point: [`of`]. The texts are Kubernetes' own (Apache License 2.0), collected from the sources of k8s-openapi
//! while this crate is built; see `build.rs`. They lie in the binary's read-only data and cost no memory until they
//! are asked for. Deliberately absent: types, formats and merge keys, which are the model's.

use std::{collections::HashMap, sync::LazyLock};

static TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/glossary.txt"));

/// Ends an entry.
const END: char = '\u{1d}';
/// Ends a word of an entry.
const NEXT: char = '\u{1e}';

static ENTRIES: LazyLock<HashMap<&str, Entry>> = LazyLock::new(|| {
    let entries = TEXT.split_terminator(END).filter_map(|it| it.split_once(NEXT));
    entries.map(|(name, rest)| (name, Entry(rest))).collect()
});

/// What is said about one type.
#[derive(Clone, Copy, Debug)]
pub struct Entry(&'static str);

/// The entry of a type, by its name in OpenAPI: `io.k8s.api.core.v1.PodSpec`.
pub fn of(name: &str) -> Option<Entry> {
    ENTRIES.get(name).copied()
}

impl Entry {
    /// What the type is; empty when nothing is said.
    pub fn text(self) -> &'static str {
        self.0.split(NEXT).next().unwrap_or_default()
    }

    /// What each described field is, as pairs of name and text.
    pub fn fields(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let mut words = self.0.split_terminator(NEXT).skip(1);
        std::iter::from_fn(move || Some((words.next()?, words.next()?)))
    }

    /// What one field is.
    pub fn field(self, name: &str) -> Option<&'static str> {
        self.fields().find(|it| it.0 == name).map(|it| it.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_fields_are_described() {
        let spec = of("io.k8s.api.core.v1.PodSpec").expect("known");
        assert!(spec.text().contains("pod"), "{}", spec.text());
        let containers = spec.field("containers").expect("described");
        assert!(containers.contains("containers belonging to the pod"), "{containers}");
        assert!(spec.field("affinity").is_some_and(|it| !it.is_empty()), "a field that refers to a type");
        assert_eq!(spec.field("colour"), None);
        assert!(of("io.k8s.api.core.v1.Island").is_none());
    }

    #[test]
    fn nearly_every_field_is_described() {
        assert!(ENTRIES.len() > 700, "{}", ENTRIES.len());
        assert!(ENTRIES.values().map(|it| it.fields().count()).sum::<usize>() > 2900);
    }
}
