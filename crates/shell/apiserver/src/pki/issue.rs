//! Makes and examines certificates; touches no file.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{Pair, PkiError, ServerNames};
use crate::identity::MASTERS;

const AUTHORITY_YEARS: i16 = 10;
const LEAF_YEARS: i16 = 1;
/// A leaf that ends sooner than this is issued again at start.
const RENEW_SECONDS: i64 = 30 * 24 * 3600;

/// A new self-signed authority.
pub(super) fn authority() -> Result<Pair, PkiError> {
    let issue = |source| PkiError::Issue { subject: "the CA", source };
    let mut params = params("eyot-ca", None, AUTHORITY_YEARS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().map_err(issue)?;
    let cert = params.self_signed(&key).map_err(issue)?;
    Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
}

/// The server's leaf for these names.
pub(super) fn server(ca: &Pair, names: &ServerNames) -> Result<Pair, PkiError> {
    let issue = |source| PkiError::Issue { subject: "the server", source };
    let mut params = params("kube-apiserver", None, LEAF_YEARS);
    for dns in &names.dns {
        let dns = dns.as_str().try_into().map_err(issue)?;
        params.subject_alt_names.push(SanType::DnsName(dns));
    }
    params.subject_alt_names.extend(names.ips.iter().map(|it| SanType::IpAddress(*it)));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(params, ca).map_err(issue)
}

/// The administrator's client certificate.
pub(super) fn admin(ca: &Pair) -> Result<Pair, PkiError> {
    let mut params = params("kubernetes-admin", Some(MASTERS), LEAF_YEARS);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign(params, ca).map_err(|source| PkiError::Issue { subject: "the administrator", source })
}

fn params(common_name: &str, organization: Option<&str>, years: i16) -> CertificateParams {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |it: jiff::civil::Date| {
        rcgen::date_time_ymd(it.year().into(), it.month().unsigned_abs(), it.day().unsigned_abs())
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    // A day back, so that a client whose clock lags can connect at once.
    params.not_before = day(today.yesterday().unwrap_or(today));
    params.not_after = day(today.saturating_add(jiff::Span::new().years(years)));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn sign(params: CertificateParams, ca: &Pair) -> Result<Pair, rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(&ca.cert, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, &issuer)?;
    Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
}

/// Whether the leaf was signed by `ca` and stays valid for a while.
pub(super) fn is_current(leaf: &Pair, ca: &Pair) -> bool {
    examine(leaf, ca, |_| true)
}

/// Whether the leaf is current and carries exactly these names.
pub(super) fn serves(leaf: &Pair, ca: &Pair, names: &ServerNames) -> bool {
    examine(leaf, ca, |cert| {
        let Ok(Some(extension)) = cert.subject_alternative_name() else { return false };
        let mut found = ServerNames::default();
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(dns) => {
                    found.dns.insert((*dns).to_owned());
                }
                GeneralName::IPAddress(bytes) => found.ips.extend(address(bytes)),
                _ => {}
            }
        }
        found == *names
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn examine(leaf: &Pair, ca: &Pair, check: impl Fn(&x509_parser::certificate::X509Certificate<'_>) -> bool) -> bool {
    let Ok(leaf) = CertificateDer::from_pem_slice(leaf.cert.as_bytes()) else { return false };
    let Ok(ca) = CertificateDer::from_pem_slice(ca.cert.as_bytes()) else { return false };
    let (Ok((_, leaf)), Ok((_, ca))) = (parse_x509_certificate(&leaf), parse_x509_certificate(&ca)) else {
        return false;
    };
    let now = jiff::Timestamp::now().as_second();
    let same_authority = leaf.issuer() == ca.subject() && signed_with(&leaf, &ca);
    same_authority && leaf.validity().not_after.timestamp() - now > RENEW_SECONDS && check(&leaf)
}

/// Compares key identifiers: every CA made here has the same name, but not the same key.
fn signed_with(
    leaf: &x509_parser::certificate::X509Certificate<'_>,
    ca: &x509_parser::certificate::X509Certificate<'_>,
) -> bool {
    use x509_parser::extensions::ParsedExtension;
    let authority = leaf.iter_extensions().find_map(|it| match it.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|it| it.0.to_vec()),
        _ => None,
    });
    let subject = ca.iter_extensions().find_map(|it| match it.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    authority.is_some() && authority == subject
}
