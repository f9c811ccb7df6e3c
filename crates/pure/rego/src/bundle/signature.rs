//! Signatures of bundles: one JWT that lists every file with its hash.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{BundleError, SIGNATURES, file_error};
use crate::jwt::{Key, Token};

/// Whose signature a bundle must carry.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// The keys that are trusted, by their id.
    pub keys: BTreeMap<String, Key>,
    /// The key that must have signed; otherwise the one that the signature names.
    pub key_id: Option<String>,
    /// The scope that the signature must be for.
    pub scope: String,
}

#[derive(Deserialize)]
struct Signatures {
    #[serde(default)]
    signatures: Vec<String>,
    #[serde(default)]
    plugin: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    files: Vec<FileHash>,
    #[serde(default)]
    keyid: String,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct FileHash {
    name: String,
    hash: String,
    #[serde(default)]
    algorithm: String,
}

impl Verification {
    /// Checks that the files are all those that were signed, and no others.
    pub(super) fn check(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<(), BundleError> {
        let signatures = files.get(SIGNATURES).ok_or(BundleError::Unsigned)?;
        let signatures: Signatures = serde_json::from_slice(signatures).map_err(|it| file_error(SIGNATURES, it))?;
        if !signatures.plugin.is_empty() {
            return Err(file_error(SIGNATURES, format!("plugin {:?} is not known", signatures.plugin)));
        }
        let [token] = &signatures.signatures[..] else {
            let count = signatures.signatures.len();
            return Err(file_error(SIGNATURES, format!("holds {count} signatures, exactly one is expected")));
        };
        let mut signed: BTreeMap<String, FileHash> = self
            .verified(token)?
            .files
            .into_iter()
            .map(|it| (it.name.trim_start_matches('/').to_owned(), it))
            .collect();
        for (path, content) in files.iter().filter(|(path, _)| *path != SIGNATURES) {
            let Some(file) = signed.remove(path) else {
                return Err(file_error(path, "is not in the bundle's signature"));
            };
            let hash = hash(path, content, &file.algorithm)?;
            if !hash.eq_ignore_ascii_case(&file.hash) {
                return Err(file_error(path, "is not what was signed: its hash differs"));
            }
        }
        match signed.keys().next() {
            None => Ok(()),
            Some(missing) => Err(file_error(missing, "was signed and is not in the bundle")),
        }
    }

    fn verified(&self, token: &str) -> Result<Payload, BundleError> {
        let token = Token::parse(token)?;
        let payload: Payload = serde_json::from_slice(&token.payload)
            .map_err(|error| BundleError::Signature(format!("the payload is not understood: {error}")))?;
        let named = token.header["kid"].as_str().unwrap_or(&payload.keyid);
        let id = self.key_id.as_deref().unwrap_or(named);
        let key = self.keys.get(id).ok_or_else(|| BundleError::Signature(format!("key {id:?} is not trusted")))?;
        token.verify(key)?;
        if payload.scope != self.scope {
            let what = format!("is for scope {:?}, {:?} is wanted", payload.scope, self.scope);
            return Err(BundleError::Signature(what));
        }
        Ok(payload)
    }
}

/// The hash of a file in hex: of a structured document over its content in canonical form, of others over their bytes.
fn hash(path: &str, content: &[u8], algorithm: &str) -> Result<String, BundleError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let canonical = match name {
        "data.json" | ".manifest" => {
            let value: Value = serde_json::from_slice(content).map_err(|it| file_error(path, it))?;
            Some(value)
        }
        "data.yaml" => {
            let text = std::str::from_utf8(content).map_err(|it| file_error(path, it))?;
            Some(serde_saphyr::from_str(text).map_err(|it| file_error(path, it))?)
        }
        _ => None,
    };
    // Maps of serde_json are sorted by key and printed without spaces, which is the canonical form.
    let canonical = canonical.map(|it: Value| it.to_string());
    let bytes = canonical.as_deref().map_or(content, str::as_bytes);
    match algorithm {
        "SHA-256" => Ok(hex::encode(Sha256::digest(bytes))),
        "SHA-384" => Ok(hex::encode(Sha384::digest(bytes))),
        "SHA-512" => Ok(hex::encode(Sha512::digest(bytes))),
        other => Err(file_error(path, format!("hash {other:?} is not supported; SHA-256, SHA-384 and SHA-512 are"))),
    }
}
