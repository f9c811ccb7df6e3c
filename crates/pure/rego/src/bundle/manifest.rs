//! The `.manifest` of a bundle.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::BundleError;

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Whatever its author calls this version; empty when not given.
    pub revision: String,
    /// The documents it owns, as `a/b`; the empty root owns all.
    pub roots: Vec<String>,
    /// Free to the author.
    pub metadata: Value,
    /// Which entry point each compiled policy answers.
    pub wasm: Vec<WasmResolver>,
    /// Whether modules are Rego v0 unless `file_versions` says otherwise.
    v0: bool,
    /// Patterns of paths with the version of the files they fit.
    file_versions: BTreeMap<String, u8>,
}

/// An entry point and who answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmResolver {
    /// As `a/b` for `data.a.b`.
    pub entrypoint: String,
    /// Path of the module inside the bundle, without a leading slash.
    pub module: String,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            revision: String::new(),
            roots: vec![String::new()],
            metadata: Value::Null,
            wasm: Vec::new(),
            v0: false,
            file_versions: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    revision: String,
    roots: Option<Vec<String>>,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    wasm: Vec<RawResolver>,
    rego_version: Option<u8>,
    #[serde(default)]
    file_rego_versions: BTreeMap<String, u8>,
}

#[derive(Deserialize)]
struct RawResolver {
    #[serde(default)]
    entrypoint: String,
    #[serde(default)]
    module: String,
}

impl Manifest {
    pub(super) fn parse(content: &[u8]) -> Result<Manifest, BundleError> {
        let raw: Raw = serde_json::from_slice(content).map_err(|it| BundleError::Manifest(it.to_string()))?;
        let version = raw.rego_version.iter().chain(raw.file_rego_versions.values()).find(|it| **it > 1);
        if let Some(version) = version {
            return Err(BundleError::Manifest(format!("rego_version {version} is not known; 0 and 1 are")));
        }
        let slashless = |it: &str| it.trim_matches('/').to_owned();
        let roots = raw.roots.unwrap_or_else(|| vec![String::new()]);
        let wasm = raw.wasm.into_iter();
        Ok(Manifest {
            revision: raw.revision,
            roots: roots.iter().map(|it| slashless(it)).collect(),
            metadata: raw.metadata,
            wasm: wasm
                .map(|it| WasmResolver { entrypoint: slashless(&it.entrypoint), module: slashless(&it.module) })
                .collect(),
            v0: raw.rego_version == Some(0),
            file_versions: raw.file_rego_versions,
        })
    }

    pub(super) fn is_v0(&self, path: &str) -> bool {
        let of_file = self.file_versions.iter().find(|(pattern, _)| fits(pattern.trim_start_matches('/'), path));
        of_file.map_or(self.v0, |(_, version)| *version == 0)
    }

    /// The entry points of the module at `path`.
    pub(super) fn entrypoints(&self, path: &str) -> Vec<String> {
        self.wasm.iter().filter(|it| it.module == path).map(|it| it.entrypoint.clone()).collect()
    }
}

/// Whether a path fits a pattern with `*` for anything inside one directory and `**` for anything at all.
fn fits(pattern: &str, path: &str) -> bool {
    let Some(star) = pattern.find('*') else { return pattern == path };
    let Some(rest) = path.strip_prefix(&pattern[..star]) else { return false };
    let (after, deep) = match pattern[star..].strip_prefix("**") {
        Some(after) => (after, true),
        None => (&pattern[star + 1..], false),
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.take_while(|at| deep || !rest[..*at].contains('/')).any(|at| fits(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_the_version_of_single_files() {
        let text = br#"{"rego_version": 1, "file_rego_versions": {"/old/*.rego": 0, "x/**": 0}}"#;
        let manifest = Manifest::parse(text).unwrap();
        let v0 = ["old/a.rego", "old/deep/a.rego", "x/y/z.rego", "new.rego"].map(|it| manifest.is_v0(it));
        assert_eq!(v0, [true, false, true, false]);
        assert!(Manifest::parse(br#"{"rego_version": 2}"#).is_err());
    }
}
