//! Signs certificates that others ask for. Entry points: [`Wish::parse`] to read a request, [`ClientAuthority::sign`].
//!
//! The subject, the key and the alternative names are the request's bytes, copied; everything else is written here, so
//! that no request can name an extension of its own.

use jiff::Timestamp;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{self, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey, VerificationAlgorithm},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{ParsedExtension, X509Extension},
    parse_x509_certificate,
    prelude::FromDer,
};

use super::{
    Pair,
    der::{BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, tagged, time, tlv},
    pem,
};

/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: [u8; 12] = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const CLIENT_AUTH: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const SERVER_AUTH: [u8; 8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const AUTHORITY_KEY: [u8; 3] = [0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];

/// A request for a certificate whose maker holds the key.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    subject: Vec<u8>,
    public_key: Vec<u8>,
    /// The content of the extension, when it names any.
    names: Option<Vec<u8>>,
    pub(crate) common_name: String,
    pub(crate) organizations: Vec<String>,
}

/// What the key may be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usages {
    pub(crate) digital_signature: bool,
    pub(crate) key_encipherment: bool,
    pub(crate) client: bool,
    pub(crate) server: bool,
}

impl Wish {
    /// Reads a request in PEM, and checks that it is signed with the key in it.
    pub(crate) fn parse(text: &str) -> Result<Wish, String> {
        let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(text.as_bytes())
            .map_err(|it| format!("PEM block type must be CERTIFICATE REQUEST: {it}"))?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|it| format!("malformed request: {it}"))?;
        check_signature(&request)?;
        let info = &request.certification_request_info;
        let extensions = info.iter_attributes().filter_map(|it| match it.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(asked) => Some(&asked.extensions),
            _ => None,
        });
        let is_names =
            |it: &&X509Extension<'_>| matches!(it.parsed_extension(), ParsedExtension::SubjectAlternativeName(_));
        let names = extensions.flatten().find(is_names).map(|it| it.value.to_vec());
        let text = |it: &x509_parser::x509::AttributeTypeAndValue<'_>| it.as_str().ok().map(str::to_owned);
        Ok(Wish {
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            names,
            common_name: info.subject.iter_common_name().find_map(text).unwrap_or_default(),
            organizations: info.subject.iter_organization().filter_map(text).collect(),
        })
    }

    /// A request of which only the name matters.
    #[cfg(test)]
    pub(crate) fn named(common_name: &str, organization: &str) -> Wish {
        Wish { common_name: common_name.to_owned(), organizations: vec![organization.to_owned()], ..Wish::default() }
    }

    /// Whether it asks for names of hosts, addresses or the like.
    pub(crate) fn has_names(&self) -> bool {
        self.names.is_some()
    }
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let info = &request.certification_request_info;
    let key = &info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok()).map(|it| it.to_id_string());
    let algorithm: &'static dyn VerificationAlgorithm =
        match (request.signature_algorithm.algorithm.to_id_string().as_str(), curve.as_deref()) {
            ("1.2.840.10045.4.3.2", Some("1.2.840.10045.3.1.7")) => &signature::ECDSA_P256_SHA256_ASN1,
            ("1.2.840.10045.4.3.3", Some("1.2.840.10045.3.1.7")) => &signature::ECDSA_P256_SHA384_ASN1,
            ("1.2.840.10045.4.3.2", Some("1.3.132.0.34")) => &signature::ECDSA_P384_SHA256_ASN1,
            ("1.2.840.10045.4.3.3", Some("1.3.132.0.34")) => &signature::ECDSA_P384_SHA384_ASN1,
            ("1.3.101.112", _) => &signature::ED25519,
            ("1.2.840.113549.1.1.11", _) => &signature::RSA_PKCS1_2048_8192_SHA256,
            ("1.2.840.113549.1.1.12", _) => &signature::RSA_PKCS1_2048_8192_SHA384,
            ("1.2.840.113549.1.1.13", _) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (other, _) => return Err(format!("signature algorithm {other} is not supported")),
        };
    UnparsedPublicKey::new(algorithm, &*key.subject_public_key.data)
        .verify(info.raw, &request.signature_value.data)
        .map_err(|_| "the request is not signed with the key in it".to_owned())
}

/// The CA, as it signs for others. The key stays inside.
pub(crate) struct ClientAuthority {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// The CA's own name.
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    end: Timestamp,
}

impl ClientAuthority {
    pub(super) fn new(ca: &Pair) -> Result<ClientAuthority, String> {
        let random = SystemRandom::new();
        let key = PrivatePkcs8KeyDer::from_pem_slice(ca.key.as_bytes()).map_err(|it| it.to_string())?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_pkcs8_der(), &random)
            .map_err(|it| format!("client certificates need a CA with a P-256 key: {it}"))?;
        let der = CertificateDer::from_pem_slice(ca.cert.as_bytes()).map_err(|it| it.to_string())?;
        let (_, cert) = parse_x509_certificate(&der).map_err(|it| it.to_string())?;
        let key_id = cert.iter_extensions().find_map(|it| match it.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let end = Timestamp::from_second(cert.validity().not_after.timestamp()).map_err(|it| it.to_string())?;
        Ok(ClientAuthority { key, random, issuer: cert.subject().as_raw().to_vec(), key_id, end })
    }

    /// Signs a certificate in PEM, valid between two times but never longer than the CA is.
    pub(crate) fn sign(
        &self,
        wish: &Wish,
        usages: Usages,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<String, String> {
        let mut serial = [0; 16];
        self.random.fill(&mut serial).map_err(|_| "no randomness".to_owned())?;
        // Positive, and of full length.
        serial[0] = serial[0] & 0x7f | 0x40;
        let validity = tlv(SEQUENCE, &[&time(from), &time(until.min(self.end))]);
        let extensions = tagged(3, &tlv(SEQUENCE, &[&self.extensions(wish, usages)]));
        let version = tagged(0, &tlv(INTEGER, &[&[2]]));
        let serial = tlv(INTEGER, &[&serial]);
        let body = tlv(
            SEQUENCE,
            &[&version, &serial, &ECDSA_SHA256, &self.issuer, &validity, &wish.subject, &wish.public_key, &extensions],
        );
        let signature = self.key.sign(&self.random, &body).map_err(|_| "signing failed".to_owned())?;
        let signature = tlv(BIT_STRING, &[&[0], signature.as_ref()]);
        Ok(pem("CERTIFICATE", &tlv(SEQUENCE, &[&body, &ECDSA_SHA256, &signature])))
    }

    fn extensions(&self, wish: &Wish, usages: Usages) -> Vec<u8> {
        let bits = if usages.digital_signature { 0x80 } else { 0 } | if usages.key_encipherment { 0x20 } else { 0 };
        let purposes = [(usages.client, CLIENT_AUTH), (usages.server, SERVER_AUTH)];
        let purposes: Vec<u8> = purposes.iter().filter(|it| it.0).flat_map(|it| tlv(OID, &[&it.1])).collect();
        let mut all = Vec::new();
        if bits != 0 {
            all.extend(extension(&KEY_USAGE, true, &tlv(BIT_STRING, &[&[5, bits]])));
        }
        if !purposes.is_empty() {
            all.extend(extension(&EXTENDED_KEY_USAGE, false, &tlv(SEQUENCE, &[&purposes])));
        }
        all.extend(extension(&BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[])));
        if let Some(id) = &self.key_id {
            all.extend(extension(&AUTHORITY_KEY, false, &tlv(SEQUENCE, &[&tlv(0x80, &[id])])));
        }
        if let Some(names) = &wish.names {
            all.extend(extension(&ALTERNATIVE_NAMES, false, names));
        }
        all
    }
}

fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    const TRUE: [u8; 3] = [0x01, 0x01, 0xff];
    let critical: &[u8] = if critical { &TRUE } else { &[] };
    tlv(SEQUENCE, &[&tlv(OID, &[oid]), critical, &tlv(OCTET_STRING, &[content])])
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn request(organization: &str) -> String {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "eve");
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_becomes_a_certificate_of_the_ca() {
        let ca = super::super::issue::authority().unwrap();
        let wish = Wish::parse(&request("staff")).unwrap();
        assert_eq!((wish.common_name.as_str(), wish.organizations.as_slice()), ("eve", &["staff".to_owned()][..]));
        assert!(wish.has_names());
        let (from, until) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2099-01-01T00:00:00Z".parse().unwrap());
        let usages = Usages { digital_signature: true, key_encipherment: true, client: true, ..Usages::default() };
        let pem = ClientAuthority::new(&ca).unwrap().sign(&wish, usages, from, until).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (rest, cert) = parse_x509_certificate(&der).unwrap();
        assert!(rest.is_empty());
        let ca_der = CertificateDer::from_pem_slice(ca.cert.as_bytes()).unwrap();
        let (_, authority) = parse_x509_certificate(&ca_der).unwrap();
        assert_eq!(cert.issuer().as_raw(), authority.subject().as_raw());
        assert_eq!(cert.validity().not_after, authority.validity().not_after, "never longer than the CA");
        assert!(cert.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert!(cert.key_usage().unwrap().unwrap().value.digital_signature());
        assert!(!cert.basic_constraints().unwrap().unwrap().value.ca);
        assert!(cert.subject_alternative_name().unwrap().is_some());
        let key = UnparsedPublicKey::new(
            &signature::ECDSA_P256_SHA256_ASN1,
            &*authority.public_key().subject_public_key.data,
        );
        key.verify(cert.tbs_certificate.as_ref(), &cert.signature_value.data).expect("signed by the CA");
    }

    #[test]
    fn requests_that_are_broken_or_signed_by_others_are_refused() {
        assert!(Wish::parse("nonsense").unwrap_err().contains("CERTIFICATE REQUEST"));
        let text = request("staff");
        let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).unwrap();
        let at = der.windows(5).position(|it| it == b"staff").unwrap();
        let mut forged = der.to_vec();
        forged[at..at + 5].copy_from_slice(b"stuff");
        let error = Wish::parse(&pem("CERTIFICATE REQUEST", &forged)).unwrap_err();
        assert!(error.contains("not signed with the key"), "{error}");
    }

    #[test]
    fn no_damage_to_a_request_goes_unnoticed_or_panics() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(13);
        let text = request("staff");
        let whole = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).unwrap().to_vec();
        let wanted = Wish::parse(&text).unwrap();
        for _ in 0..2_000 {
            let mut der = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..der.len());
                match random.random_range(0..3) {
                    0 => der[at] = random.random(),
                    1 => der.insert(at, random.random()),
                    _ => der.truncate(at.max(1)),
                }
            }
            // The signature covers everything that is read.
            if let Ok(wish) = Wish::parse(&pem("CERTIFICATE REQUEST", &der)) {
                assert_eq!(
                    (wish.common_name, wish.organizations),
                    (wanted.common_name.clone(), wanted.organizations.clone())
                );
            }
        }
        for odd in ["", "-----BEGIN CERTIFICATE REQUEST-----", &pem("CERTIFICATE REQUEST", &[0x30; 4096])] {
            assert!(Wish::parse(odd).is_err());
        }
    }
}
