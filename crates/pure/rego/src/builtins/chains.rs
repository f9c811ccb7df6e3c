//! Certificates with what vouches for them: chains up to an authority, and the keys that belong to them.
//!
//! Of a key pair the private key is left out of what is shown: policies have no use for it, and its numbers are longer than
//! those of Rego here.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
    x509::X509Version,
};

use super::{
    Cx, Failure, Made, Row, text,
    x509::{INTEGER, OCTETS, SEQUENCE, certificate, ders, element},
};
use crate::value::Value;

pub(super) const TABLE: &[Row] =
    &[("crypto.x509.parse_and_verify_certificates", 1, verify), ("crypto.x509.parse_keypair", 2, pair)];

/// Most certificates of a chain that is looked for: there are signatures to check between any two.
const CERTIFICATES_MAX: usize = 32;
/// What checking a signature, or a private key, costs.
const SIGNATURE_STEPS: u64 = 2_000;
const KEY_STEPS: u64 = 10_000;

/// Whether the certificates, of which the first is trusted, vouch for the last one as a server's; and those that do, from
/// it to the first.
fn verify(cx: &mut Cx, args: &[Value]) -> Made {
    let refused = || Value::array(vec![Value::Bool(false), Value::array(Vec::new())]);
    let given = match ders(cx, text(args, 0)?, "CERTIFICATE") {
        Ok(given) => given,
        Err(Failure::Error(_)) => return Ok(refused()),
        Err(stopped) => return Err(stopped),
    };
    cx.step(SIGNATURE_STEPS.saturating_mul(given.len() as u64))?;
    let Some(chain) = chain(&given, cx.now_ns()) else { return Ok(refused()) };
    cx.charge_bytes(chain.len() * 8192)?;
    let shown = chain.iter().map(|der| Some(certificate(&X509Certificate::from_der(der).ok()?.1)));
    Ok(match shown.collect() {
        Some(shown) => Value::array(vec![Value::Bool(true), Value::array(shown)]),
        None => refused(),
    })
}

/// The way from the last certificate to the first; `None` where there is none that holds at that time.
fn chain(given: &[Vec<u8>], now_ns: i64) -> Option<Vec<Vec<u8>>> {
    let [root, between @ .., leaf] = given else { return None };
    if given.len() > CERTIFICATES_MAX || !may_vouch(root) {
        return None;
    }
    let now = Duration::from_nanos(u64::try_from(now_ns).ok()?);
    let valid = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).ok()?).ok()?;
    if !X509Certificate::from_der(root).ok()?.1.validity().is_valid_at(valid) {
        return None;
    }
    let root_der = CertificateDer::from(root.as_slice());
    let anchors = [anchor_from_trusted_cert(&root_der).ok()?];
    let between: Vec<CertificateDer<'_>> = between.iter().map(|it| CertificateDer::from(it.as_slice())).collect();
    let leaf_der = CertificateDer::from(leaf.as_slice());
    let end = EndEntityCert::try_from(&leaf_der).ok()?;
    let time = UnixTime::since_unix_epoch(now);
    let path =
        end.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, time, KeyUsage::server_auth(), None, None);
    let path = path.ok()?;
    let mut chain = vec![leaf.clone()];
    chain.extend(path.intermediate_certificates().map(|it| it.der().to_vec()));
    chain.push(root.clone());
    chain[1..].iter().all(|it| may_vouch(it)).then_some(chain)
}

/// Whether a certificate is an authority's whose key may sign certificates, as far as it says.
fn may_vouch(der: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return false };
    let may_sign = match parsed.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_) => false,
    };
    may_sign && (parsed.is_ca() || parsed.version() == X509Version::V1)
}

/// Certificates and the private key of the first of them, as Go's TLS has them.
fn pair(cx: &mut Cx, args: &[Value]) -> Made {
    let certificates = ders(cx, text(args, 0)?, "CERTIFICATE")?;
    let keys = ders(cx, text(args, 1)?, "PRIVATE KEY")?;
    let (first, key) = (certificates.first().ok_or("no certificate")?, keys.first().ok_or("no private key")?);
    let (_, leaf) = X509Certificate::from_der(first).map_err(|_| "x509: malformed certificate")?;
    cx.step(KEY_STEPS)?;
    if !belongs(key, &leaf.public_key().subject_public_key.data) {
        return Err("tls: private key does not match public key".into());
    }
    cx.charge_bytes(8192 + certificates.iter().map(|it| it.len() * 2).sum::<usize>())?;
    let shown = certificates.iter().map(|it| Value::string(&STANDARD.encode(it)));
    Ok(Value::record([
        ("Certificate", Value::array(shown.collect())),
        ("Leaf", certificate(&leaf)),
        ("OCSPStaple", Value::Null),
        ("SignedCertificateTimestamps", Value::Null),
        ("SupportedSignatureAlgorithms", Value::Null),
    ]))
}

/// Whether a private key, in any of its forms, is that of a public one.
fn belongs(key: &[u8], public: &[u8]) -> bool {
    if let Ok(key) = rsa::KeyPair::from_der(key).or_else(|_| rsa::KeyPair::from_pkcs8(key)) {
        return key.public_key().as_ref() == public;
    }
    if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key) {
        return key.public_key().as_ref() == public;
    }
    let curves = [&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &signature::ECDSA_P384_SHA384_ASN1_SIGNING];
    let random = SystemRandom::new();
    scalar(key).is_some_and(|secret| {
        let fits = |curve| EcdsaKeyPair::from_private_key_and_public_key(curve, secret, public, &random).is_ok();
        curves.into_iter().any(fits)
    })
}

/// The secret of an elliptic key in SEC 1 or PKCS #8.
fn scalar(der: &[u8]) -> Option<&[u8]> {
    let after_version = |der| {
        let (_, inside) = element(der, SEQUENCE)?;
        element(inside, INTEGER).map(|it| it.0)
    };
    let mut rest = after_version(der)?;
    if let Some((after, _algorithm)) = element(rest, SEQUENCE) {
        rest = after_version(element(after, OCTETS)?.1)?;
    }
    element(rest, OCTETS).map(|it| it.1)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

    use super::*;
    use crate::call_builtin;

    const DAY_NS: i64 = 86_400_000_000_000;
    /// 2024-06-01.
    const NOW: i64 = 19_875 * DAY_NS;

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }
        params
    }

    /// A root, an authority that it signed, and a server's certificate by that one.
    fn certificates(between: CertificateParams) -> [String; 3] {
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let root = params("root", true).self_signed(&keys[0]).unwrap();
        let [root_key, between_key, leaf_key] = keys;
        let by_root = Issuer::new(params("root", true), root_key);
        let made = between.signed_by(&between_key, &by_root).unwrap();
        let by_between = Issuer::new(between, between_key);
        let leaf = params("leaf", false).signed_by(&leaf_key, &by_between).unwrap();
        [root.pem(), made.pem(), leaf.pem()]
    }

    fn verified(all: &[&String], now_ns: i64) -> (bool, Vec<String>) {
        let text = all.iter().map(|it| it.as_str()).collect::<String>();
        let found = call_builtin("crypto.x509.parse_and_verify_certificates", &[Value::string(&text)], now_ns);
        let found = found.unwrap().unwrap().to_json();
        let names =
            found[1].as_array().unwrap().iter().map(|it| it["Subject"]["CommonName"].as_str().unwrap().to_owned());
        (found[0].as_bool().unwrap(), names.collect())
    }

    #[test]
    fn a_chain_holds_from_a_server_to_the_first_certificate() {
        let [root, between, leaf] = &certificates(params("between", true));
        let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(verified(&[root, between, leaf], NOW), (true, names(&["leaf", "between", "root"])));
        let refused = (false, Vec::new());
        assert_eq!(verified(&[root, leaf], NOW), refused, "a link is missing");
        assert_eq!(verified(&[leaf, between, root], NOW), refused, "the first is no authority");
        assert_eq!(verified(&[leaf], NOW), refused);
        assert_eq!(verified(&[root, between, leaf], NOW + 365 * DAY_NS), refused, "it is over");
        assert_eq!(verified(&[root, between, leaf], NOW - 365 * DAY_NS), refused, "it is not yet");
        assert_eq!(verified(&[&"nonsense".to_owned()], NOW), refused);
        let [other, ..] = &certificates(params("between", true));
        assert_eq!(verified(&[other, between, leaf], NOW), refused, "another root of that name");
    }

    #[test]
    fn only_authorities_that_may_sign_are_links() {
        let [root, between, leaf] = &certificates(params("between", false));
        assert_eq!(verified(&[root, between, leaf], NOW), (false, Vec::new()));
        let mut params = params("between", true);
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let [root, between, leaf] = &certificates(params);
        assert_eq!(verified(&[root, between, leaf], NOW), (false, Vec::new()));
    }

    #[test]
    fn a_pair_is_a_certificate_and_its_own_key() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let keys = [(); 2].map(|()| KeyPair::generate_for(algorithm).unwrap());
            let pem = params("a", false).self_signed(&keys[0]).unwrap().pem();
            let pair = |cert: &str, key: &str| {
                call_builtin("crypto.x509.parse_keypair", &[Value::string(cert), Value::string(key)], NOW).unwrap()
            };
            let found = pair(&pem, &keys[0].serialize_pem()).unwrap().to_json();
            assert_eq!(found["Certificate"].as_array().map(Vec::len), Some(1));
            assert_eq!(found["Leaf"]["Subject"]["CommonName"], "a");
            assert_eq!(
                pair(&STANDARD.encode(&pem), &STANDARD.encode(keys[0].serialize_pem())).map(|it| it.to_json()),
                Some(found)
            );
            assert_eq!(pair(&pem, &keys[1].serialize_pem()), None);
            assert_eq!(pair(&pem, "nonsense"), None);
        }
    }
}
