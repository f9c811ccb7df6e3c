//! Requests for certificates are read or refused, whatever stands in them; what is read says what was signed, and becomes a
//! certificate that is well formed. Input: what is done to a good request, three bytes a step, and then any bytes as one.
#![no_main]

mod damage;

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use x509_parser::parse_x509_certificate;

/// The server's own reader and signer, with as much around them as they need.
#[allow(dead_code, reason = "the target uses a part of what the server has there")]
#[path = "."]
mod pki {
    #[path = "../../crates/shell/apiserver/src/pki/client.rs"]
    pub(crate) mod client;
    #[path = "../../crates/shell/apiserver/src/pki/der.rs"]
    mod der;

    /// A certificate and its key, as PEM.
    pub(crate) struct Pair {
        pub(crate) cert: String,
        pub(crate) key: String,
    }

    /// Bytes as PEM.
    pub(crate) fn pem(label: &str, der: &[u8]) -> String {
        use base64::{Engine, engine::general_purpose::STANDARD};
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    pub(crate) fn authority(pair: &Pair) -> client::ClientAuthority {
        client::ClientAuthority::new(pair).expect("a CA with a P-256 key")
    }
}

use pki::client::{ClientAuthority, Usages, Wish};

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "eve");
    params.distinguished_name.push(DnType::OrganizationName, "staff");
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").der().to_vec()
});

static AUTHORITY: LazyLock<ClientAuthority> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a CA");
    pki::authority(&pki::Pair { cert: cert.pem(), key: key.serialize_pem() })
});

fuzz_target!(|bytes: &[u8]| {
    let mut damaged = GOOD.clone();
    damage::damage(&mut damaged, bytes);
    if let Some(wish) = read(&damaged) {
        assert_eq!((wish.common_name.as_str(), &*wish.organizations), ("eve", &["staff".to_owned()][..]));
    }
    read(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Wish::parse(text);
    }
});

fn read(der: &[u8]) -> Option<Wish> {
    let wish = Wish::parse(&pki::pem("CERTIFICATE REQUEST", der)).ok()?;
    let usages = Usages { digital_signature: true, key_encipherment: true, client: true, server: wish.has_names() };
    let (from, until) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let signed = AUTHORITY.sign(&wish, usages, from, until).expect("what was read can be signed");
    let (_, block) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).expect("PEM");
    let (rest, _) = parse_x509_certificate(&block.contents).expect("a certificate");
    assert!(rest.is_empty());
    Some(wish)
}
