//! Keys in JSON: one JWK or a set of them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Algorithm, JwtError, Key, Material};

fn bad(what: &str) -> JwtError {
    JwtError::Key(what.to_owned())
}

/// The keys in `text` for `algorithm`, with their ids: a PEM text, a JWK or a JWK set. Keys of a set that are of another
/// kind are left out.
pub(crate) fn keys_from(algorithm: &str, text: &str) -> Result<Vec<(Option<String>, Key)>, JwtError> {
    if !text.trim_start().starts_with('{') {
        return Ok(vec![(None, Key::parse(algorithm, text)?)]);
    }
    let value: Value = serde_json::from_str(text).map_err(|it| JwtError::Key(it.to_string()))?;
    let id = |jwk: &Value| jwk["kid"].as_str().map(str::to_owned);
    match value["keys"].as_array() {
        Some(all) => {
            let fitting = all.iter().filter_map(|it| Some((id(it), key_from_jwk(algorithm, it).ok()?)));
            Ok(fitting.collect())
        }
        None => Ok(vec![(id(&value), key_from_jwk(algorithm, &value)?)]),
    }
}

/// The public half of a JWK, for `algorithm`.
fn key_from_jwk(algorithm: &str, jwk: &Value) -> Result<Key, JwtError> {
    let part = |name: &str| -> Result<Vec<u8>, JwtError> {
        let text = jwk[name].as_str().ok_or_else(|| JwtError::Key(format!("has no {name:?}")))?;
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| JwtError::Key(format!("{name:?} is no base64")))
    };
    let material = match jwk["kty"].as_str() {
        Some("oct") => Material::Secret(part("k")?),
        Some("RSA") => Material::Rsa(rsa_der(&part("n")?, &part("e")?)),
        Some("EC") => {
            let size = match jwk["crv"].as_str() {
                Some("P-256") => 32,
                Some("P-384") => 48,
                Some("P-521") => 66,
                _ => return Err(bad("is of an unknown curve")),
            };
            let mut point = vec![4];
            for coordinate in [part("x")?, part("y")?] {
                if coordinate.len() > size {
                    return Err(bad("has a coordinate that is too long"));
                }
                point.extend(std::iter::repeat_n(0, size - coordinate.len()));
                point.extend(coordinate);
            }
            Material::Ec(point, size)
        }
        Some("OKP") if jwk["crv"] == "Ed25519" => Material::Ed25519(part("x")?),
        _ => return Err(bad("is of an unknown type")),
    };
    Key::new(algorithm, Algorithm::parse(algorithm)?, material)
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
fn rsa_der(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let body = [integer(modulus), integer(exponent)].concat();
    tagged(0x30, &body)
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let significant = bytes.iter().position(|it| *it != 0).unwrap_or(bytes.len());
    let mut content = Vec::new();
    // A leading bit would make it negative, and an integer has one byte at least.
    if bytes.get(significant).is_none_or(|it| it & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(&bytes[significant..]);
    tagged(2, &content)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let used = &bytes[bytes.iter().position(|it| *it != 0).unwrap_or(0)..];
        der.push(0x80 | used.len() as u8);
        der.extend_from_slice(used);
    }
    der.extend_from_slice(content);
    der
}
