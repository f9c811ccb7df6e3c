//! The keys that sign and verify the tokens of ServiceAccounts. Entry points: [`TokenKeys::open`] for a data directory,
//! [`TokenKeys::ephemeral`] for a server without one.
//!
//! `sa.key` signs. Every other `sa-*.key` beside it only verifies: to rotate, rename `sa.key` to `sa-OLD.key` and
//! start the server, which makes a new one; remove the old file when its last token has expired.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::jose;
use crate::pki::{PkiError, file};

/// What precedes the point in the encoding of a P-256 public key, of which key ids are hashes.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// One key to sign with, and all that verify.
pub(crate) struct TokenKeys {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    /// The signing key's first.
    public: Vec<PublicKey>,
    /// Claims of tokens whose signature was found good, by the hash of the token. A good signature stays good: only
    /// what follows from it, such as expiry, is checked each time.
    known: Mutex<HashMap<[u8; 32], Arc<Value>>>,
}

/// Tokens remembered at once; a claim takes about one KiB.
const KNOWN_MAX: usize = 1024;

struct PublicKey {
    id: String,
    /// Uncompressed: 4, x, y.
    point: Vec<u8>,
}

impl TokenKeys {
    /// Opens the keys in `dir`, making the one that signs when there is none.
    pub(crate) fn open(dir: &Path) -> Result<TokenKeys, PkiError> {
        let path = dir.join("sa.key");
        let pair = match read(&path)? {
            Some(pair) => pair,
            None => {
                let fail = |_| PkiError::Unusable { path: path.clone(), what: "no key could be made".to_owned() };
                let pkcs8 = generate().map_err(fail)?;
                file::write_secret(&path, &pem(&pkcs8))?;
                parse(&pkcs8).map_err(|what| PkiError::Unusable { path: path.clone(), what })?
            }
        };
        let mut keys = TokenKeys::of(pair);
        let at = |source| PkiError::File { path: dir.to_owned(), source };
        for entry in fs::read_dir(dir).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
            if name.starts_with("sa-") && name.ends_with(".key") {
                keys.public.extend(read(&path)?.map(|it| PublicKey::of(&it)));
            }
        }
        Ok(keys)
    }

    /// A key that lives as long as the process.
    pub(crate) fn ephemeral() -> Result<TokenKeys, String> {
        let pkcs8 = generate().map_err(|_| "no key could be made".to_owned())?;
        parse(&pkcs8).map(TokenKeys::of)
    }

    fn of(pair: EcdsaKeyPair) -> TokenKeys {
        let public = vec![PublicKey::of(&pair)];
        TokenKeys { pair, random: SystemRandom::new(), public, known: Mutex::default() }
    }

    /// Signs claims into a token; `None` when the system gives no randomness.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let sign = |bytes: &[u8]| self.pair.sign(&self.random, bytes).map(|it| it.as_ref().to_vec());
        jose::encode(&self.public[0].id, claims, sign).ok()
    }

    /// The claims of a token that one of the keys signed.
    pub(super) fn open_token(&self, token: &str) -> Option<Arc<Value>> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.known.lock().get(&hash) {
            return Some(claims.clone());
        }
        let claims = Arc::new(self.verify(token)?);
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(hash, claims.clone());
        Some(claims)
    }

    fn verify(&self, token: &str) -> Option<Value> {
        let parts = jose::split(token)?;
        let key = self.public.iter().find(|it| it.id == parts.key_id)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point);
        key.verify(parts.signed.as_bytes(), &parts.signature).ok()?;
        parts.claims()
    }

    /// The public keys as a JWKS.
    pub(super) fn to_jwks(&self) -> Value {
        let keys = self.public.iter().map(|key| {
            let [x, y] = [&key.point[1..33], &key.point[33..65]].map(|it| URL_SAFE_NO_PAD.encode(it));
            json!({"use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256", "x": x, "y": y})
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }
}

impl PublicKey {
    fn of(pair: &EcdsaKeyPair) -> PublicKey {
        let point = pair.public_key().as_ref().to_vec();
        let hash = Sha256::new().chain_update(P256_PREFIX).chain_update(&point).finalize();
        PublicKey { id: URL_SAFE_NO_PAD.encode(hash), point }
    }
}

fn generate() -> Result<Vec<u8>, ring::error::Unspecified> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    Ok(pkcs8.as_ref().to_vec())
}

fn parse(pkcs8: &[u8]) -> Result<EcdsaKeyPair, String> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
        .map_err(|it| format!("no P-256 key in PKCS #8: {it}"))
}

fn read(path: &Path) -> Result<Option<EcdsaKeyPair>, PkiError> {
    let Some(text) = file::read(path)? else { return Ok(None) };
    let unusable = |what: String| PkiError::Unusable { path: path.to_owned(), what };
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|it| unusable(it.to_string()))?;
    parse(der.secret_pkcs8_der()).map(Some).map_err(unusable)
}

fn pem(pkcs8: &[u8]) -> String {
    crate::pki::pem("PRIVATE KEY", pkcs8)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_verify_with_their_key_and_no_other() {
        let (ours, theirs) = (TokenKeys::ephemeral().unwrap(), TokenKeys::ephemeral().unwrap());
        let claims = json!({"sub": "a"});
        let token = ours.sign(&claims).unwrap();
        for _ in 0..2 {
            assert_eq!(ours.open_token(&token).as_deref(), Some(&claims));
        }
        assert_eq!(theirs.open_token(&token), None);
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"b"}"#));
        assert_eq!(ours.open_token(&forged), None);
    }

    #[test]
    fn no_damage_to_a_token_goes_unnoticed_or_panics() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        let keys = TokenKeys::ephemeral().unwrap();
        let claims = json!({"sub": "a", "aud": ["b"], "exp": 4_102_444_800_u64});
        let token = keys.sign(&claims).unwrap();
        for _ in 0..3_000 {
            let mut bytes = token.clone().into_bytes();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes[at] = random.random_range(0x20..0x7f),
                    1 => bytes.insert(at, b"._-=A"[random.random_range(0..5)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let damaged = String::from_utf8(bytes).unwrap();
            // Whatever is accepted says what was signed.
            assert!(keys.open_token(&damaged).is_none_or(|it| *it == claims && damaged == token), "{damaged}");
        }
        for odd in
            ["", ".", "..", "...", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", &"x".repeat(1 << 20), &".".repeat(1 << 16)]
        {
            assert_eq!(keys.open_token(odd), None);
        }
    }

    #[test]
    fn rotated_keys_go_on_verifying_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let token = TokenKeys::open(dir.path()).unwrap().sign(&json!({})).unwrap();
        let (current, old) = (dir.path().join("sa.key"), dir.path().join("sa-2026.key"));
        assert_eq!(fs::metadata(&current).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(TokenKeys::open(dir.path()).unwrap().open_token(&token).is_some(), "kept over a restart");
        fs::rename(&current, &old).unwrap();
        let rotated = TokenKeys::open(dir.path()).unwrap();
        assert!(rotated.open_token(&token).is_some());
        assert_eq!(rotated.to_jwks()["keys"].as_array().unwrap().len(), 2);
        fs::remove_file(&old).unwrap();
        assert!(TokenKeys::open(dir.path()).unwrap().open_token(&token).is_none());
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("sa.key"), "nonsense").unwrap();
        let error = TokenKeys::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("sa.key"), "{error}");
    }
}
