//! Public keys in PEM: bare or inside of a certificate.

use base64::{Engine, engine::general_purpose::STANDARD};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{JwtError, Material};

/// The blocks of a PEM text: label and content. What lies between blocks is skipped, as OpenSSL does.
pub(crate) fn pem_blocks(text: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or("a PEM block has no label")?;
        let (body, after) = after
            .split_once(&format!("-----END {label}-----"))
            .ok_or_else(|| format!("the PEM block {label} does not end"))?;
        // Headers such as those of encrypted keys end with an empty line.
        let body = body.split_once("\n\n").filter(|it| it.0.contains(':')).map_or(body, |it| it.1);
        let body: String = body.chars().filter(|it| !it.is_whitespace()).collect();
        let content = STANDARD.decode(body).map_err(|_| format!("the PEM block {label} is no base64"))?;
        blocks.push((label.to_owned(), content));
        rest = after;
    }
    Ok(blocks)
}

/// The first public key of a PEM text.
pub(super) fn public_key(text: &str) -> Result<Material, JwtError> {
    let bad = |what: String| JwtError::Key(what);
    for (label, content) in pem_blocks(text).map_err(bad)? {
        match label.as_str() {
            "PUBLIC KEY" => return from_spki(&content),
            "RSA PUBLIC KEY" => return Ok(Material::Rsa(content)),
            "CERTIFICATE" => {
                let (_, certificate) =
                    X509Certificate::from_der(&content).map_err(|it| bad(format!("certificate: {it}")))?;
                return material(certificate.public_key());
            }
            _ => {}
        }
    }
    Err(JwtError::Key("is no PEM text with a public key or a certificate".into()))
}

fn from_spki(der: &[u8]) -> Result<Material, JwtError> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|it| JwtError::Key(it.to_string()))?;
    material(&info)
}

fn material(info: &SubjectPublicKeyInfo<'_>) -> Result<Material, JwtError> {
    let bits = info.subject_public_key.data.to_vec();
    // Ed25519 keys have an algorithm of their own and no parsed form.
    if info.algorithm.algorithm.to_id_string() == "1.3.101.112" {
        return Ok(Material::Ed25519(bits));
    }
    match info.parsed().map_err(|it| JwtError::Key(it.to_string()))? {
        PublicKey::RSA(_) => Ok(Material::Rsa(bits)),
        // A byte for the form, then both coordinates.
        PublicKey::EC(_) if bits.first() == Some(&4) => {
            let size = bits.len() / 2;
            Ok(Material::Ec(bits, size))
        }
        _ => Err(JwtError::Key("is neither RSA nor an uncompressed point of an elliptic curve".into())),
    }
}
