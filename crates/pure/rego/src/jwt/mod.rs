//! JSON Web Tokens in the compact form: taken apart, verified and signed. Used for signatures of bundles and by the
//! built-ins `io.jwt.*`.
//!
//! Entry points: [`Token::parse`], [`Token::verify`], [`Key::parse`]. The algorithm always comes from the key's owner, never
//! from the token alone.

mod jwk;
mod pem;
mod sign;

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ring::{hmac, signature};

use serde_json::Value;

pub(crate) use jwk::keys_from;
pub(crate) use pem::pem_blocks;
pub(crate) use sign::sign;

/// As Go reads it: what is left over in the last character is not looked at.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a token or a key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The token has another form.
    #[error("not a JSON web token: {0}")]
    Malformed(String),
    /// The key is unreadable.
    #[error("key: {0}")]
    Key(String),
    /// The key cannot be for the algorithm.
    #[error("key: is of another kind than {0} needs")]
    WrongKind(String),
    /// The algorithm is not known.
    #[error("algorithm {0:?} is not supported")]
    Algorithm(String),
    /// The token names another algorithm than its key has.
    #[error("signed with {found}, and the key is for {wanted}")]
    WrongAlgorithm {
        /// What the token says.
        found: String,
        /// What the key is for.
        wanted: String,
    },
    /// The signature is not this key's.
    #[error("the signature does not match the key")]
    Mismatch,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs(Digest),
    Rs(Digest),
    Ps(Digest),
    Es(Digest),
    EdDsa,
}

/// The hash of an algorithm, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    D256,
    D384,
    D512,
}

impl Algorithm {
    pub(crate) fn parse(name: &str) -> Result<Algorithm, JwtError> {
        let unknown = || JwtError::Algorithm(name.to_owned());
        if name == "EdDSA" {
            return Ok(Algorithm::EdDsa);
        }
        let (family, bits) = name.split_at_checked(2).ok_or_else(unknown)?;
        let digest = match bits {
            "256" => Digest::D256,
            "384" => Digest::D384,
            "512" => Digest::D512,
            _ => return Err(unknown()),
        };
        match family {
            "HS" => Ok(Algorithm::Hs(digest)),
            "RS" => Ok(Algorithm::Rs(digest)),
            "PS" => Ok(Algorithm::Ps(digest)),
            "ES" => Ok(Algorithm::Es(digest)),
            _ => Err(unknown()),
        }
    }
}

/// A key that verifies, and what it is for.
#[derive(Clone)]
pub struct Key {
    name: String,
    algorithm: Algorithm,
    material: Material,
}

/// The public half of a key, or a shared secret.
#[derive(Clone)]
pub(crate) enum Material {
    Secret(Vec<u8>),
    /// The DER of an `RSAPublicKey`.
    Rsa(Vec<u8>),
    /// An uncompressed point, and the bytes of a coordinate.
    Ec(Vec<u8>, usize),
    Ed25519(Vec<u8>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A shared secret must not reach a log.
        write!(f, "Key({})", self.name)
    }
}

impl Key {
    /// Reads a key for `algorithm` (`RS256`, `ES256`, `HS256` and their kin): a public key or certificate in PEM, or for
    /// `HS…` the secret itself.
    ///
    /// # Errors
    ///
    /// When the algorithm is not known or the key is not of its kind.
    pub fn parse(algorithm: &str, key: &str) -> Result<Key, JwtError> {
        let parsed = Algorithm::parse(algorithm)?;
        let material = match parsed {
            Algorithm::Hs(_) => Material::Secret(key.as_bytes().to_vec()),
            _ => pem::public_key(key)?,
        };
        Key::new(algorithm, parsed, material)
    }

    pub(crate) fn new(name: &str, algorithm: Algorithm, material: Material) -> Result<Key, JwtError> {
        let fits = matches!(
            (algorithm, &material),
            (Algorithm::Hs(_), Material::Secret(_))
                | (Algorithm::Rs(_) | Algorithm::Ps(_), Material::Rsa(_))
                | (Algorithm::Es(_), Material::Ec(..))
                | (Algorithm::EdDsa, Material::Ed25519(_))
        );
        if !fits {
            return Err(JwtError::WrongKind(name.to_owned()));
        }
        Ok(Key { name: name.to_owned(), algorithm, material })
    }
}

/// A token taken apart.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    /// What was signed: header and payload as they were written.
    pub(crate) signed: &'a str,
    pub(crate) header: Value,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart; nothing of it is verified.
    pub(crate) fn parse(token: &'a str) -> Result<Token<'a>, JwtError> {
        let bad = |what: &str| JwtError::Malformed(what.to_owned());
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| bad("it has no three parts"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| bad("it has no three parts"))?;
        if payload.contains('.') {
            return Err(bad("it has more than three parts"));
        }
        let decode =
            |part: &str, what: &str| LENIENT.decode(part).map_err(|_| bad(&format!("its {what} is no base64")));
        let header: Value =
            serde_json::from_slice(&decode(header, "header")?).map_err(|_| bad("its header is no JSON"))?;
        if !header.is_object() {
            return Err(bad("its header is no object"));
        }
        Ok(Token { signed, header, payload: decode(payload, "payload")?, signature: decode(signature, "signature")? })
    }

    /// The algorithm that the header names; empty when it names none.
    pub(crate) fn algorithm(&self) -> &str {
        self.header["alg"].as_str().unwrap_or_default()
    }

    /// Checks the signature.
    pub(crate) fn verify(&self, key: &Key) -> Result<(), JwtError> {
        if self.algorithm() != key.name {
            return Err(JwtError::WrongAlgorithm { found: self.algorithm().to_owned(), wanted: key.name.clone() });
        }
        self.verify_as(key)
    }

    /// Checks the signature whatever algorithm the header names.
    pub(crate) fn verify_as(&self, key: &Key) -> Result<(), JwtError> {
        let message = self.signed.as_bytes();
        let check = |algorithm: &'static dyn signature::VerificationAlgorithm, public: &[u8]| {
            let public = signature::UnparsedPublicKey::new(algorithm, public);
            public.verify(message, &self.signature).map_err(|_| JwtError::Mismatch)
        };
        use Digest::{D256, D384, D512};
        match (key.algorithm, &key.material) {
            (Algorithm::Hs(digest), Material::Secret(secret)) => {
                let key = hmac::Key::new(hmac_algorithm(digest), secret);
                hmac::verify(&key, message, &self.signature).map_err(|_| JwtError::Mismatch)
            }
            (Algorithm::Rs(digest), Material::Rsa(public)) => match digest {
                D256 => check(&signature::RSA_PKCS1_2048_8192_SHA256, public),
                D384 => check(&signature::RSA_PKCS1_2048_8192_SHA384, public),
                D512 => check(&signature::RSA_PKCS1_2048_8192_SHA512, public),
            },
            (Algorithm::Ps(digest), Material::Rsa(public)) => match digest {
                D256 => check(&signature::RSA_PSS_2048_8192_SHA256, public),
                D384 => check(&signature::RSA_PSS_2048_8192_SHA384, public),
                D512 => check(&signature::RSA_PSS_2048_8192_SHA512, public),
            },
            (Algorithm::Es(digest), Material::Ec(point, size)) => match (digest, size) {
                (D256, 32) => check(&signature::ECDSA_P256_SHA256_FIXED, point),
                (D384, 48) => check(&signature::ECDSA_P384_SHA384_FIXED, point),
                _ => Err(JwtError::Key(format!("curves of {} bits are not supported with {}", size * 8, key.name))),
            },
            (Algorithm::EdDsa, Material::Ed25519(public)) => check(&signature::ED25519, public),
            _ => Err(JwtError::Key(format!("is of another kind than {} needs", key.name))),
        }
    }
}

pub(crate) fn hmac_algorithm(digest: Digest) -> hmac::Algorithm {
    match digest {
        Digest::D256 => hmac::HMAC_SHA256,
        Digest::D384 => hmac::HMAC_SHA384,
        Digest::D512 => hmac::HMAC_SHA512,
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn hs256(payload: &str, secret: &str) -> String {
        let part = |it: &str| URL_SAFE_NO_PAD.encode(it);
        let signed = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(payload));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    #[test]
    fn a_token_holds_for_its_key_only() {
        let token = hs256(r#"{"a":1}"#, "secret");
        let token = Token::parse(&token).unwrap();
        assert_eq!(token.payload, br#"{"a":1}"#);
        let verify = |algorithm, key| token.verify(&Key::parse(algorithm, key).unwrap());
        assert_eq!(verify("HS256", "secret"), Ok(()));
        assert_eq!(verify("HS256", "other"), Err(JwtError::Mismatch));
        assert!(matches!(verify("HS512", "secret"), Err(JwtError::WrongAlgorithm { .. })));
    }

    #[test]
    fn what_is_no_token_is_told() {
        for text in ["", "a.b", "a.b.c.d", "e30.e30.%", "W10.e30.e30", "e.e30.e30"] {
            assert!(matches!(Token::parse(text), Err(JwtError::Malformed(_))), "{text}");
        }
        assert!(Key::parse("none", "x").is_err() && Key::parse("RS256", "x").is_err());
    }
}
