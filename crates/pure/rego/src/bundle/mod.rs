//! OPA bundles: policies and data in one archive, checked as a whole before anything of it is used.
//!
//! Entry points: [`Bundle::read`] for a `.tar.gz`, [`Bundle::from_files`] for a directory somebody else has read. A bundle
//! that is cut, signed by another key or inconsistent in itself is an error that names the file; nothing is half taken.
//!
//! Deliberately absent: fetching and keeping bundles (the shell's business), compiling their Rego, and what of OPA's format
//! is refused by name: delta bundles (`patch.json`) and plans (`plan.json`).

mod archive;
mod manifest;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use manifest::{Manifest, WasmResolver};
pub use signature::Verification;

use crate::jwt::JwtError;

/// Name of the file that holds the signature.
const SIGNATURES: &str = ".signatures.json";
/// Most directories that a data document lies in: each is a level of the data.
const DIRECTORIES_MAX: usize = 100;
/// Name of the manifest.
const MANIFEST: &str = ".manifest";

/// A bundle, read and checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bundle {
    /// Revision, roots, metadata.
    pub manifest: Manifest,
    /// Rego modules in the order of their paths.
    pub modules: Vec<ModuleFile>,
    /// All data documents, each at the place its directory names.
    pub data: Value,
    /// Compiled policies.
    pub wasm: Vec<WasmFile>,
}

/// One Rego module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Path inside the bundle, without a leading slash.
    pub path: String,
    /// The text.
    pub source: String,
    /// Whether it is Rego v0; v1 is the default.
    pub v0: bool,
}

/// One compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmFile {
    /// Path inside the bundle, without a leading slash.
    pub path: String,
    /// The module.
    pub content: Vec<u8>,
    /// What it answers, as `a/b` for `data.a.b`; all the entry points that the module itself lists where this is empty.
    pub entrypoints: Vec<String>,
}

/// What a bundle may need. [`Bounds::default`] suits a node.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of all files together, unpacked: what a gzip bomb is stopped at.
    pub unpacked_bytes_max: u64,
    /// Files in the archive.
    pub files_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { unpacked_bytes_max: 256 << 20, files_max: 20_000 }
    }
}

/// Why a bundle is not used. Its text is fit for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not a gzip archive, or cut short.
    #[error("not a complete .tar.gz: {0}")]
    Archive(String),
    /// Larger than allowed.
    #[error("the bundle has more than {0}")]
    TooLarge(String),
    /// One file is wrong.
    #[error("{path}: {what}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The manifest contradicts the files.
    #[error(".manifest: {0}")]
    Manifest(String),
    /// Two files say different things about one document.
    #[error("{path}: data.{document} is given twice")]
    Conflict {
        /// The second of the files.
        path: String,
        /// The document.
        document: String,
    },
    /// A signature was asked for and there is none.
    #[error("the bundle is not signed, and a signature is required")]
    Unsigned,
    /// There is a signature and it does not hold.
    #[error("signature: {0}")]
    Signature(String),
}

impl From<JwtError> for BundleError {
    fn from(error: JwtError) -> Self {
        BundleError::Signature(error.to_string())
    }
}

/// Reads a file's content as far as a name decides how.
pub(crate) fn file_error(path: &str, what: impl ToString) -> BundleError {
    BundleError::File { path: path.to_owned(), what: what.to_string() }
}

impl Bundle {
    /// Reads a `.tar.gz`. With `verification` the bundle must carry a signature that holds for every file.
    ///
    /// # Errors
    ///
    /// When the archive is damaged, too large or inconsistent, or the signature is missing or wrong.
    pub fn read(archive: &[u8], verification: Option<&Verification>, bounds: Bounds) -> Result<Bundle, BundleError> {
        Bundle::from_files(archive::unpack(archive, bounds)?, verification)
    }

    /// Makes a bundle of files that are already unpacked, by their path.
    ///
    /// # Errors
    ///
    /// As [`Bundle::read`].
    pub fn from_files(
        files: BTreeMap<String, Vec<u8>>,
        verification: Option<&Verification>,
    ) -> Result<Bundle, BundleError> {
        if let Some(verification) = verification {
            verification.check(&files)?;
        }
        let manifest = match files.get(MANIFEST) {
            Some(content) => Manifest::parse(content)?,
            None => Manifest::default(),
        };
        let mut bundle = Bundle { data: Value::Object(Map::new()), manifest, ..Bundle::default() };
        for (path, content) in files {
            bundle.take(path, content)?;
        }
        bundle.check()?;
        Ok(bundle)
    }

    fn take(&mut self, path: String, content: Vec<u8>) -> Result<(), BundleError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        match name {
            "data.json" => {
                let value = serde_json::from_slice(&content).map_err(|it| file_error(&path, it))?;
                self.mount(&path, directory, value)
            }
            "data.yaml" | "data.yml" => {
                let text = std::str::from_utf8(&content).map_err(|it| file_error(&path, it))?;
                let value = serde_saphyr::from_str(text).map_err(|it| file_error(&path, it))?;
                self.mount(&path, directory, value)
            }
            "patch.json" if directory.is_empty() => Err(file_error(&path, "delta bundles are not supported")),
            "plan.json" if directory.is_empty() => {
                Err(file_error(&path, "plan bundles are not supported; build for rego or wasm"))
            }
            _ if name.ends_with(".rego") => {
                let source = String::from_utf8(content).map_err(|it| file_error(&path, it))?;
                let v0 = self.manifest.is_v0(&path);
                self.modules.push(ModuleFile { path, source, v0 });
                Ok(())
            }
            _ if name.ends_with(".wasm") => {
                let entrypoints = self.manifest.entrypoints(&path);
                self.wasm.push(WasmFile { path, content, entrypoints });
                Ok(())
            }
            // OPA takes nothing else from a bundle either.
            _ => Ok(()),
        }
    }

    /// Puts a data document where its directory says.
    fn mount(&mut self, path: &str, directory: &str, value: Value) -> Result<(), BundleError> {
        if directory.is_empty() && !value.is_object() {
            return Err(file_error(path, "the root document must be an object"));
        }
        if directory.split('/').count() > DIRECTORIES_MAX {
            let shown: String = path.chars().take(64).collect();
            return Err(file_error(&format!("{shown}…"), format!("lies in more than {DIRECTORIES_MAX} directories")));
        }
        let mut wrapped = value;
        for name in directory.split('/').filter(|it| !it.is_empty()).rev() {
            wrapped = Value::Object(Map::from_iter([(name.to_owned(), wrapped)]));
        }
        merge(&mut self.data, wrapped).map_err(|document| BundleError::Conflict { path: path.to_owned(), document })
    }

    /// Holds what is there against the manifest.
    fn check(&self) -> Result<(), BundleError> {
        let roots = &self.manifest.roots;
        for (at, root) in roots.iter().enumerate() {
            if let Some(other) = roots[..at].iter().find(|it| contains(it, root) || contains(root, it)) {
                return Err(BundleError::Manifest(format!("roots {other:?} and {root:?} overlap")));
            }
        }
        let covered = |path: &str| roots.iter().any(|it| contains(it, path));
        for module in &self.modules {
            // A package that does not parse is the compiler's to report, with its position.
            let Some(package) = package(&module.source) else { continue };
            if !covered(&package) {
                return Err(file_error(
                    &module.path,
                    format!("package {package:?} lies outside of the roots {roots:?}"),
                ));
            }
        }
        for path in documents(&self.data, roots) {
            if !covered(&path) {
                return Err(BundleError::Manifest(format!("roots {roots:?} do not permit data at {path:?}")));
            }
        }
        let known: BTreeSet<&str> = self.wasm.iter().map(|it| it.path.as_str()).collect();
        for resolver in &self.manifest.wasm {
            if !known.contains(resolver.module.as_str()) {
                return Err(BundleError::Manifest(format!("wasm module {:?} is not in the bundle", resolver.module)));
            }
        }
        Ok(())
    }
}

/// Whether the document at `path` belongs to `root`, both written `a/b`.
fn contains(root: &str, path: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Merges two documents; objects merge, everything else may be given once.
///
/// # Errors
/// The path of what was given twice, as `a.b`.
pub fn merge(into: &mut Value, from: Value) -> Result<(), String> {
    merge_at(into, from, &mut Vec::new())
}

fn merge_at(into: &mut Value, from: Value, at: &mut Vec<String>) -> Result<(), String> {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(known) => {
                        at.push(key);
                        merge_at(known, value, at)?;
                        at.pop();
                    }
                    None => drop(into.insert(key, value)),
                }
            }
            Ok(())
        }
        _ => Err(at.join(".")),
    }
}

/// The paths of the documents below `data`, as deep as the roots are.
fn documents(data: &Value, roots: &[String]) -> Vec<String> {
    fn walk(value: &Value, path: &str, roots: &[String], found: &mut Vec<String>) {
        // Only above a root can a document be partly covered.
        let above = |root: &String| path.is_empty() || (root.len() > path.len() && contains(path, root));
        match value {
            Value::Object(fields) if roots.iter().any(above) && !roots.iter().any(|it| contains(it, path)) => {
                for (key, value) in fields {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}/{key}") };
                    walk(value, &path, roots, found);
                }
            }
            Value::Object(fields) if path.is_empty() && fields.is_empty() => {}
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    if !roots.iter().any(String::is_empty) {
        walk(data, "", roots, &mut found);
    }
    found
}

/// The package of a module as `a/b`, where its first statement can be read without a parser.
fn package(source: &str) -> Option<String> {
    let line = source.lines().map(str::trim).find(|it| !it.is_empty() && !it.starts_with('#'))?;
    let reference = line.strip_prefix("package")?.split('#').next()?.trim();
    let mut path = String::new();
    let mut rest = reference;
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix("[\"") {
            Some(quoted) => quoted.split_once("\"]")?,
            None => {
                let bare = rest.strip_prefix('.').unwrap_or(rest);
                let end = bare.find(['.', '[']).unwrap_or(bare.len());
                bare.split_at(end)
            }
        };
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
        rest = after;
    }
    (!path.is_empty()).then_some(path)
}
