//! Signing with a JWK, for `io.jwt.encode_sign`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{hmac, rand::SystemRandom, rsa, signature};
use serde_json::Value;

use super::{Algorithm, Digest, JwtError, hmac_algorithm};

/// Signs `header.payload`, both as they are, with a private JWK.
pub(crate) fn sign(algorithm: &str, header: &str, payload: &str, jwk: &Value) -> Result<String, JwtError> {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let bytes = signature(Algorithm::parse(algorithm)?, signed.as_bytes(), jwk)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn part(jwk: &Value, name: &str) -> Result<Vec<u8>, JwtError> {
    let text = jwk[name].as_str().ok_or_else(|| JwtError::Key(format!("has no {name:?}")))?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| JwtError::Key(format!("{name:?} is no base64")))
}

fn signature(algorithm: Algorithm, message: &[u8], jwk: &Value) -> Result<Vec<u8>, JwtError> {
    let rejected = |error: ring::error::KeyRejected| JwtError::Key(error.to_string());
    let failed = |_: ring::error::Unspecified| JwtError::Key("cannot sign".into());
    let random = SystemRandom::new();
    match (algorithm, jwk["kty"].as_str()) {
        (Algorithm::Hs(digest), Some("oct")) => {
            let key = hmac::Key::new(hmac_algorithm(digest), &part(jwk, "k")?);
            Ok(hmac::sign(&key, message).as_ref().to_vec())
        }
        (Algorithm::Rs(digest) | Algorithm::Ps(digest), Some("RSA")) => {
            let (n, e) = (part(jwk, "n")?, part(jwk, "e")?);
            let components = rsa::KeyPairComponents {
                public_key: rsa::PublicKeyComponents { n, e },
                d: part(jwk, "d")?,
                p: part(jwk, "p")?,
                q: part(jwk, "q")?,
                dP: part(jwk, "dp")?,
                dQ: part(jwk, "dq")?,
                qInv: part(jwk, "qi")?,
            };
            let key = rsa::KeyPair::from_components(&components).map_err(rejected)?;
            let padding: &dyn signature::RsaEncoding = match (algorithm, digest) {
                (Algorithm::Rs(_), Digest::D256) => &signature::RSA_PKCS1_SHA256,
                (Algorithm::Rs(_), Digest::D384) => &signature::RSA_PKCS1_SHA384,
                (Algorithm::Rs(_), Digest::D512) => &signature::RSA_PKCS1_SHA512,
                (_, Digest::D256) => &signature::RSA_PSS_SHA256,
                (_, Digest::D384) => &signature::RSA_PSS_SHA384,
                (_, Digest::D512) => &signature::RSA_PSS_SHA512,
            };
            let mut bytes = vec![0; key.public().modulus_len()];
            key.sign(padding, &random, message, &mut bytes).map_err(failed)?;
            Ok(bytes)
        }
        (Algorithm::Es(digest), Some("EC")) => {
            let (algorithm, size) = match digest {
                Digest::D256 => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, 32),
                Digest::D384 => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, 48),
                Digest::D512 => return Err(JwtError::Algorithm("ES512".into())),
            };
            let wide = |name: &str| -> Result<Vec<u8>, JwtError> {
                let bytes = part(jwk, name)?;
                let missing = size.max(bytes.len()) - bytes.len();
                Ok([vec![0; missing], bytes].concat())
            };
            let point = [vec![4], wide("x")?, wide("y")?].concat();
            let key = signature::EcdsaKeyPair::from_private_key_and_public_key(algorithm, &wide("d")?, &point, &random);
            Ok(key.map_err(rejected)?.sign(&random, message).map_err(failed)?.as_ref().to_vec())
        }
        (Algorithm::EdDsa, Some("OKP")) => {
            let key = signature::Ed25519KeyPair::from_seed_and_public_key(&part(jwk, "d")?, &part(jwk, "x")?);
            Ok(key.map_err(rejected)?.sign(message).as_ref().to_vec())
        }
        _ => Err(JwtError::Key("is of another kind than the algorithm needs".into())),
    }
}
