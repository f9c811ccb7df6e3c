//! What stands in a certificate or in a request for one.
//!
//! Names are those of Go's structures, as policies use them. Only RSA keys are taken, as in Kyverno.

use serde_json::{Value, json};
use x509_parser::{
    certification_request::X509CertificationRequest,
    pem::parse_x509_pem,
    prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Name},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{Call, Function, SearchError, function};
use crate::gotime::Moment;

pub(super) const TABLE: &[Function] = &[function("x509_decode", 1, decode)];

fn decode(call: &Call<'_>) -> Result<Value, SearchError> {
    let (_, pem) = parse_x509_pem(call.text(0)?.as_bytes()).map_err(|_| call.fails("failed to decode PEM block"))?;
    match pem.label.as_str() {
        "CERTIFICATE" => {
            let (_, it) = X509Certificate::from_der(&pem.contents).map_err(|it| call.fails(it))?;
            certificate(&it).map_err(|it| call.fails(it))
        }
        "CERTIFICATE REQUEST" => {
            let (_, it) = X509CertificationRequest::from_der(&pem.contents).map_err(|it| call.fails(it))?;
            let info = &it.certification_request_info;
            let key = public_key(&info.subject_pki).map_err(|it| call.fails(it))?;
            let version = info.version.0;
            Ok(json!({ "Version": version, "Subject": name(&info.subject), "PublicKey": key }))
        }
        _ => Err(call.fails("PEM block neither contains a CERTIFICATE or CERTIFICATE REQUEST")),
    }
}

fn certificate(it: &X509Certificate<'_>) -> Result<Value, String> {
    let time = |seconds: i64| Moment::from_seconds(seconds).to_string();
    let (mut hosts, mut mails, mut is_ca) = (Vec::new(), Vec::new(), false);
    for extension in it.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                for name in &names.general_names {
                    match name {
                        GeneralName::DNSName(it) => hosts.push(Value::from(*it)),
                        GeneralName::RFC822Name(it) => mails.push(Value::from(*it)),
                        _ => {}
                    }
                }
            }
            ParsedExtension::BasicConstraints(it) => is_ca = it.ca,
            _ => {}
        }
    }
    let list = |all: Vec<Value>| if all.is_empty() { Value::Null } else { Value::Array(all) };
    Ok(json!({
        "Version": it.version().0 + 1,
        "SerialNumber": decimal(&it.serial.to_bytes_be()),
        "Subject": name(it.subject()),
        "Issuer": name(it.issuer()),
        "NotBefore": time(it.validity().not_before.timestamp()),
        "NotAfter": time(it.validity().not_after.timestamp()),
        "PublicKey": public_key(it.public_key())?,
        "DNSNames": list(hosts),
        "EmailAddresses": list(mails),
        "IsCA": is_ca,
        "BasicConstraintsValid": it.basic_constraints().ok().flatten().is_some(),
    }))
}

fn name(name: &X509Name<'_>) -> Value {
    let common = name.iter_common_name().filter_map(|it| it.as_str().ok()).last().unwrap_or_default();
    let organization: Vec<&str> = name.iter_organization().filter_map(|it| it.as_str().ok()).collect();
    let unit: Vec<&str> = name.iter_organizational_unit().filter_map(|it| it.as_str().ok()).collect();
    let country: Vec<&str> = name.iter_country().filter_map(|it| it.as_str().ok()).collect();
    let list = |all: Vec<&str>| if all.is_empty() { Value::Null } else { json!(all) };
    json!({
        "CommonName": common,
        "Organization": list(organization),
        "OrganizationalUnit": list(unit),
        "Country": list(country),
    })
}

fn public_key(key: &SubjectPublicKeyInfo<'_>) -> Result<Value, String> {
    match key.parsed() {
        Ok(PublicKey::RSA(it)) => {
            let exponent = it.try_exponent().map_err(|it| it.to_string())?;
            Ok(json!({ "N": decimal(it.modulus), "E": exponent }))
        }
        _ => Err("certificate should use rsa algorithm".to_owned()),
    }
}

/// A large number, given by its bytes from the largest on, in decimal digits.
fn decimal(bytes: &[u8]) -> String {
    // Nine digits in each limb, the smallest first.
    let mut limbs = vec![0u64];
    for byte in bytes {
        let mut carry = u64::from(*byte);
        for limb in &mut limbs {
            let value = *limb * 256 + carry;
            (*limb, carry) = (value % 1_000_000_000, value / 1_000_000_000);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = limbs.last().copied().unwrap_or(0).to_string();
    for limb in limbs.iter().rev().skip(1) {
        text.push_str(&format!("{limb:09}"));
    }
    text
}
