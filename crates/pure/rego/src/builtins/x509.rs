//! Certificates, requests for them, and RSA keys, in the fields that Go gives them.
//!
//! Of a certificate the public key's numbers and what only authorities look at (policies, name constraints, distribution
//! points) are left out. Absent, and so unknown to the compiler: `crypto.parse_private_keys`, which shows nothing but numbers
//! that are longer than those of Rego here.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json, json};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
    x509::{AlgorithmIdentifier, X509Name},
};

use super::{Cx, Failure, Row, text};
use crate::jwt::pem_blocks;
use crate::number::Number;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("crypto.x509.parse_certificates", 1, |cx, a| {
        let mut all = Vec::new();
        for der in ders(cx, text(a, 0)?, "CERTIFICATE")? {
            // One block may hold several certificates, one after another.
            let mut rest = der.as_slice();
            while !rest.is_empty() {
                let (after, parsed) = X509Certificate::from_der(rest).map_err(|_| "x509: malformed certificate")?;
                all.push(certificate(&parsed));
                rest = after;
            }
        }
        cx.charge_bytes(all.len() * 8192)?;
        Ok(Value::array(all))
    }),
    ("crypto.x509.parse_certificate_request", 1, |cx, a| {
        let ders = ders(cx, text(a, 0)?, "CERTIFICATE REQUEST")?;
        let der = ders.first().ok_or("no certificate request")?;
        let (_, parsed) = X509CertificationRequest::from_der(der).map_err(|_| "asn1: structure error")?;
        Ok(Value::from(&request(&parsed)))
    }),
    ("crypto.x509.parse_rsa_private_key", 1, |cx, a| {
        let ders = ders(cx, text(a, 0)?, "PRIVATE KEY")?;
        let der = ders.first().ok_or("no private key")?;
        let numbers = rsa(der).ok_or("failed to parse RSA private key")?;
        let fields = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].into_iter().zip(numbers);
        let fields = fields.map(|(name, number)| (name, Value::string(&URL_SAFE_NO_PAD.encode(number))));
        Ok(Value::record(fields.chain([("kty", Value::string("RSA"))])))
    }),
];

/// The blocks of a text in PEM, or DER itself; either may be in base64.
pub(super) fn ders(cx: &mut Cx, given: &str, kind: &str) -> Result<Vec<Vec<u8>>, Failure> {
    cx.charge_bytes(given.len().saturating_mul(2))?;
    let decoded;
    let mut pem = given;
    if !given.contains("-----BEGIN ") {
        let bytes = STANDARD.decode(given).map_err(|_| "illegal base64 data")?;
        let Ok(text) = String::from_utf8(bytes.clone()) else { return Ok(vec![bytes]) };
        if !text.contains("-----BEGIN ") {
            return Ok(vec![bytes]);
        }
        decoded = text;
        pem = &decoded;
    }
    let mut out = Vec::new();
    for (label, content) in pem_blocks(pem).map_err(Failure::Error)? {
        if !label.ends_with(kind) {
            return Err(Failure::Error(format!("PEM block type is '{label}', expected {kind}")));
        }
        out.push(content);
    }
    Ok(out)
}

/// A certificate in the fields that Go gives it.
pub(super) fn certificate(parsed: &X509Certificate<'_>) -> Value {
    let serial = parsed.tbs_certificate.serial.to_string();
    let mut fields = json!({
        "Raw": STANDARD.encode(parsed.as_raw()),
        "RawTBSCertificate": STANDARD.encode(parsed.tbs_certificate.as_ref()),
        "RawSubjectPublicKeyInfo": STANDARD.encode(parsed.public_key().raw),
        "RawSubject": STANDARD.encode(parsed.subject().as_raw()),
        "RawIssuer": STANDARD.encode(parsed.issuer().as_raw()),
        "Signature": STANDARD.encode(&parsed.signature_value.data),
        "SignatureAlgorithm": signature_algorithm(&parsed.signature_algorithm),
        "PublicKeyAlgorithm": key_algorithm(&parsed.public_key().algorithm),
        "Version": parsed.version().0 + 1,
        "Issuer": name(parsed.issuer()),
        "Subject": name(parsed.subject()),
        "NotBefore": time(parsed.validity().not_before),
        "NotAfter": time(parsed.validity().not_after),
    });
    if let Json::Object(fields) = &mut fields {
        fields.extend(extensions(parsed.extensions().iter()));
    }
    let mut value = Value::from(&fields);
    if let (Value::Object(fields), Some(serial)) = (&mut value, Number::parse(&serial)) {
        std::sync::Arc::make_mut(fields).insert(Value::string("SerialNumber"), Value::Number(serial));
    }
    value
}

fn request(parsed: &X509CertificationRequest<'_>) -> Json {
    let info = &parsed.certification_request_info;
    let mut fields = json!({
        "Raw": STANDARD.encode(parsed.as_raw()),
        "RawSubject": STANDARD.encode(info.subject.as_raw()),
        "RawSubjectPublicKeyInfo": STANDARD.encode(info.subject_pki.raw),
        "Signature": STANDARD.encode(&parsed.signature_value.data),
        "SignatureAlgorithm": signature_algorithm(&parsed.signature_algorithm),
        "PublicKeyAlgorithm": key_algorithm(&info.subject_pki.algorithm),
        "Version": info.version.0,
        "Subject": name(&info.subject),
    });
    let mut names = Names::default();
    for extension in parsed.requested_extensions().into_iter().flatten() {
        names.add(extension);
    }
    if let Json::Object(fields) = &mut fields {
        fields.extend(names.fields());
    }
    fields
}

/// What extensions say, with what holds where they say nothing.
fn extensions<'a>(all: impl Iterator<Item = &'a X509Extension<'a>>) -> Map<String, Json> {
    let (mut listed, mut names, mut usages) = (Vec::new(), Names::default(), Vec::new());
    let (mut usage, mut constrained, mut is_ca, mut path) = (0_u16, false, false, 0_i64);
    let (mut own_id, mut issuer_id) = (Json::Null, Json::Null);
    for extension in all {
        let id: Vec<u64> = extension.oid.iter().into_iter().flatten().collect();
        let value = STANDARD.encode(extension.value);
        listed.push(json!({"Id": id, "Critical": extension.critical, "Value": value}));
        names.add(extension.parsed_extension());
        match extension.parsed_extension() {
            ParsedExtension::KeyUsage(it) => usage = it.flags,
            ParsedExtension::BasicConstraints(it) => {
                (constrained, is_ca) = (true, it.ca);
                path = it.path_len_constraint.map_or(-1, i64::from);
            }
            ParsedExtension::SubjectKeyIdentifier(it) => own_id = STANDARD.encode(it.0).into(),
            ParsedExtension::AuthorityKeyIdentifier(it) => {
                issuer_id = it.key_identifier.as_ref().map_or(Json::Null, |it| STANDARD.encode(it.0).into());
            }
            // Go numbers the purposes that it knows.
            ParsedExtension::ExtendedKeyUsage(it) => {
                let known = [
                    (it.any, 0),
                    (it.server_auth, 1),
                    (it.client_auth, 2),
                    (it.code_signing, 3),
                    (it.email_protection, 4),
                    (it.time_stamping, 8),
                    (it.ocsp_signing, 9),
                ];
                usages = known.into_iter().filter(|it| it.0).map(|it| it.1).collect();
            }
            _ => {}
        }
    }
    let mut fields = names.fields();
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    set("Extensions", listed.into());
    set("KeyUsage", usage.into());
    set("ExtKeyUsage", if usages.is_empty() { Json::Null } else { usages.into() });
    set("BasicConstraintsValid", constrained.into());
    set("IsCA", is_ca.into());
    set("MaxPathLen", path.into());
    set("MaxPathLenZero", (constrained && path == 0).into());
    set("SubjectKeyId", own_id);
    set("AuthorityKeyId", issuer_id);
    fields
}

/// Other names of a subject.
#[derive(Default)]
struct Names {
    dns: Vec<String>,
    mail: Vec<String>,
    ips: Vec<String>,
    uris: Vec<String>,
}

impl Names {
    fn add(&mut self, extension: &ParsedExtension<'_>) {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { return };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(it) => self.dns.push((*it).to_owned()),
                GeneralName::RFC822Name(it) => self.mail.push((*it).to_owned()),
                GeneralName::URI(it) => self.uris.push((*it).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let ip = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    let ip = ip.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                    self.ips.extend(ip.ok().map(|it| it.to_string()));
                }
                _ => {}
            }
        }
    }

    /// Lists without entries are null, as in Go.
    fn fields(self) -> Map<String, Json> {
        let lists = [
            ("DNSNames", self.dns),
            ("EmailAddresses", self.mail),
            ("IPAddresses", self.ips),
            ("URIStrings", self.uris),
        ];
        let or_null = |list: Vec<String>| if list.is_empty() { Json::Null } else { list.into() };
        lists.into_iter().map(|(name, list)| (name.to_owned(), or_null(list))).collect()
    }
}

/// A distinguished name: the usual parts by name, and all of them in their order.
fn name(given: &X509Name<'_>) -> Json {
    const LISTS: [(&str, &str); 7] = [
        ("2.5.4.6", "Country"),
        ("2.5.4.10", "Organization"),
        ("2.5.4.11", "OrganizationalUnit"),
        ("2.5.4.7", "Locality"),
        ("2.5.4.8", "Province"),
        ("2.5.4.9", "StreetAddress"),
        ("2.5.4.17", "PostalCode"),
    ];
    let mut out = json!({"CommonName": "", "SerialNumber": "", "ExtraNames": null});
    LISTS.iter().for_each(|(_, field)| out[*field] = Json::Null);
    let mut all = Vec::new();
    for attribute in given.iter_attributes() {
        let text = attribute
            .as_str()
            .map_or_else(|_| String::from_utf8_lossy(attribute.as_slice()).into_owned(), str::to_owned);
        let id = attribute.attr_type().to_id_string();
        let numbers: Vec<u64> = attribute.attr_type().iter().into_iter().flatten().collect();
        all.push(json!({"Type": numbers, "Value": text}));
        match id.as_str() {
            "2.5.4.3" => out["CommonName"] = text.into(),
            "2.5.4.5" => out["SerialNumber"] = text.into(),
            _ => {
                if let Some((_, field)) = LISTS.iter().find(|it| it.0 == id) {
                    match &mut out[*field] {
                        Json::Array(list) => list.push(text.into()),
                        empty => *empty = json!([text]),
                    }
                }
            }
        }
    }
    out["Names"] = if all.is_empty() { Json::Null } else { all.into() };
    out
}

fn time(at: ASN1Time) -> Json {
    jiff::Timestamp::from_second(at.timestamp()).map_or(Json::Null, |it| it.to_string().into())
}

/// Go's number of an algorithm; 0 where it is not known.
fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> u8 {
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.2" => 1,
        "1.2.840.113549.1.1.4" => 2,
        "1.2.840.113549.1.1.5" => 3,
        "1.2.840.113549.1.1.11" => 4,
        "1.2.840.113549.1.1.12" => 5,
        "1.2.840.113549.1.1.13" => 6,
        "1.2.840.10045.4.1" => 9,
        "1.2.840.10045.4.3.2" => 10,
        "1.2.840.10045.4.3.3" => 11,
        "1.2.840.10045.4.3.4" => 12,
        "1.3.101.112" => 16,
        _ => 0,
    }
}

fn key_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> u8 {
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => 1,
        "1.2.840.10040.4.1" => 2,
        "1.2.840.10045.2.1" => 3,
        "1.3.101.112" => 4,
        _ => 0,
    }
}

/// Tags of DER.
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;

/// The numbers of an RSA key in PKCS #1 or PKCS #8, from the modulus to the coefficient.
fn rsa(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (_, inside) = element(der, SEQUENCE)?;
    let (rest, _version) = element(inside, INTEGER)?;
    if let Some((after, _algorithm)) = element(rest, SEQUENCE) {
        let (_, key) = element(after, OCTETS)?;
        // PKCS #8 holds PKCS #1, which has no other inside.
        return element(key, SEQUENCE).and_then(|(_, it)| element(it, INTEGER)).and_then(|(rest, _)| numbers(rest));
    }
    numbers(rest)
}

fn numbers(mut rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Vec::with_capacity(8);
    for _ in 0..8 {
        let (after, number) = element(rest, INTEGER)?;
        // A leading zero only says that the number is not negative.
        all.push(number.strip_prefix(&[0]).unwrap_or(number));
        rest = after;
    }
    Some(all)
}

/// What follows an element of DER, and its content.
pub(super) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f)).filter(|it| it.0.len() <= 4)?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((rest, content))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::call_builtin;

    fn called(name: &str, given: &str) -> Option<Value> {
        call_builtin(name, &[Value::string(given)], 0).unwrap()
    }

    #[test]
    fn a_certificate_shows_its_names_and_uses() {
        let mut params = rcgen::CertificateParams::new(["a.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "shop");
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.serial_number = Some(7.into());
        params.not_before = rcgen::date_time_ymd(2024, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let pem = made.pem();
        let found = called("crypto.x509.parse_certificates", &pem).unwrap();
        assert_eq!(called("crypto.x509.parse_certificates", &STANDARD.encode(&pem)), Some(found.clone()));
        assert_eq!(called("crypto.x509.parse_certificates", &STANDARD.encode(made.der())), Some(found.clone()));
        let certificate = &found.to_json()[0];
        let shown = |fields: &[&str]| {
            let lines = fields.iter().map(|it| format!("{it} {}", certificate[*it]));
            lines.collect::<Vec<_>>().join("\n")
        };
        let fields = [
            "DNSNames",
            "IPAddresses",
            "URIStrings",
            "KeyUsage",
            "ExtKeyUsage",
            "IsCA",
            "MaxPathLen",
            "MaxPathLenZero",
        ];
        expect![[r#"
            DNSNames ["a.example"]
            IPAddresses ["10.0.0.1"]
            URIStrings null
            KeyUsage 33
            ExtKeyUsage [2]
            IsCA true
            MaxPathLen 0
            MaxPathLenZero true"#]]
        .assert_eq(&shown(&fields));
        expect![[r#"
            SerialNumber 7
            NotBefore "2024-01-02T00:00:00Z"
            SignatureAlgorithm 10
            PublicKeyAlgorithm 3
            Version 3
            Subject {"CommonName":"a","Country":null,"ExtraNames":null,"Locality":null,"Names":[{"Type":[2,5,4,3],"Value":"a"},{"Type":[2,5,4,10],"Value":"shop"}],"Organization":["shop"],"OrganizationalUnit":null,"PostalCode":null,"Province":null,"SerialNumber":"","StreetAddress":null}"#]]
        .assert_eq(&shown(&["SerialNumber", "NotBefore", "SignatureAlgorithm", "PublicKeyAlgorithm", "Version", "Subject"]));
    }

    #[test]
    fn what_is_no_certificate_is_undefined() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for given in
            ["foobar", "YmFkc3RyaW5n", "", &key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
        {
            let found = called("crypto.x509.parse_certificates", given);
            assert!(found.is_none() || given.is_empty(), "{given}: {found:?}");
        }
        assert_eq!(called("crypto.x509.parse_rsa_private_key", &key), None, "it is of another kind");
        for cut in [&[0x30][..], &[0x30, 0x82, 0xff], &[0x30, 0x03, 0x02, 0x01, 0x00]] {
            assert_eq!(rsa(cut), None);
        }
    }
}
