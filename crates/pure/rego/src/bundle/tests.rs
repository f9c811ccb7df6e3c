use std::io::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use expect_test::{Expect, expect};
use ring::hmac;
use serde_json::json;

use super::*;
use crate::jwt::Key;

type Files<'a> = &'a [(&'a str, &'a str)];

/// A tar entry for a plain file.
fn entry(path: &str, content: &[u8], kind: u8) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..262].copy_from_slice(b"ustar");
    let sum: u64 = header.iter().map(|it| u64::from(*it)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut all = header.to_vec();
    all.extend_from_slice(content);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

fn archive(files: Files<'_>) -> Vec<u8> {
    let mut tar: Vec<u8> = files.iter().flat_map(|(path, content)| entry(path, content.as_bytes(), b'0')).collect();
    tar.extend([0; 1024]);
    gzip(&tar)
}

fn read(files: Files<'_>) -> Result<Bundle, BundleError> {
    Bundle::read(&archive(files), None, Bounds::default())
}

#[track_caller]
fn check(files: Files<'_>, want: Expect) {
    let got = match read(files) {
        Ok(bundle) => {
            let modules: Vec<String> = bundle.modules.iter().map(|it| format!("{} v0={}", it.path, it.v0)).collect();
            let wasm: Vec<String> = bundle.wasm.iter().map(|it| format!("{} {:?}", it.path, it.entrypoints)).collect();
            format!("{:?} {modules:?} {wasm:?} {}", bundle.manifest.revision, bundle.data)
        }
        Err(error) => error.to_string(),
    };
    want.assert_eq(&got);
}

#[test]
fn files_come_to_the_places_their_paths_name() {
    check(
        &[
            ("/.manifest", r#"{"revision": "r1", "roots": ["a", "x/y"], "file_rego_versions": {"a/old.rego": 0}}"#),
            ("./a/data.json", r#"{"b": 1}"#),
            ("/x/y/data.yaml", "n: [1, 2]\n"),
            ("/a/c/data.json", "true"),
            ("/a/p.rego", "# about p\npackage a.p\n"),
            ("/a/old.rego", "package a[\"old\"]"),
            ("/a/README.md", "not for us"),
        ],
        expect![[
            r#""r1" ["a/old.rego v0=true", "a/p.rego v0=false"] [] {"a":{"b":1,"c":true},"x":{"y":{"n":[1,2]}}}"#
        ]],
    );
    check(
        &[
            (".manifest", r#"{"wasm": [{"entrypoint": "a/allow", "module": "/policy.wasm"}]}"#),
            ("policy.wasm", "\0asm"),
        ],
        expect![[r#""" [] ["policy.wasm [\"a/allow\"]"] {}"#]],
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    check(&[("data.json", "{")], expect!["data.json: EOF while parsing an object at line 1 column 1"]);
    check(&[("data.json", "[]")], expect!["data.json: the root document must be an object"]);
    check(
        &[("a/data.json", r#"{"b": 1}"#), ("data.json", r#"{"a": {"b": 2}}"#)],
        expect!["data.json: data.a.b is given twice"],
    );
    check(
        &[(".manifest", r#"{"roots": ["a"]}"#), ("p.rego", "package b")],
        expect![[r#"p.rego: package "b" lies outside of the roots ["a"]"#]],
    );
    check(
        &[(".manifest", r#"{"roots": ["a/b"]}"#), ("data.json", r#"{"a": {"b": 1, "c": 2}}"#)],
        expect![[r#".manifest: roots ["a/b"] do not permit data at "a/c""#]],
    );
    check(&[(".manifest", r#"{"roots": ["a", "a/b"]}"#)], expect![[r#".manifest: roots "a" and "a/b" overlap"#]]);
    check(&[("patch.json", "{}")], expect!["patch.json: delta bundles are not supported"]);
    check(
        &[(".manifest", r#"{"wasm": [{"entrypoint": "a", "module": "gone.wasm"}]}"#)],
        expect![[r#".manifest: wasm module "gone.wasm" is not in the bundle"#]],
    );
    check(&[("../p.rego", "package p")], expect!["../p.rego: leads out of the bundle"]);
    check(&[("a", "1"), ("./a", "2")], expect!["a: is in the archive twice"]);
}

#[test]
fn every_cut_and_every_garbage_is_an_error() {
    let whole = archive(&[("a/data.json", r#"{"b": 1}"#), ("p.rego", "package p\n")]);
    assert!(Bundle::read(&whole, None, Bounds::default()).is_ok());
    for cut in 0..whole.len() {
        let error = Bundle::read(&whole[..cut], None, Bounds::default()).unwrap_err();
        assert!(matches!(error, BundleError::Archive(_)), "cut at {cut}: {error}");
    }
    for garbage in [&b"<html>"[..], b"\x1f\x8b\x08garbage", &gzip(&[7; 2048])] {
        assert!(matches!(Bundle::read(garbage, None, Bounds::default()), Err(BundleError::Archive(_))));
    }
    let link = gzip(&[entry("p.rego", b"", b'2'), vec![0; 1024]].concat());
    let error = Bundle::read(&link, None, Bounds::default()).unwrap_err();
    assert_eq!(error.to_string(), "p.rego: is a link or a special file");
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let bomb = gzip(&entry("data.json", &vec![b' '; 3 << 20], b'0'));
    assert!(bomb.len() < 64 << 10);
    let bounds = Bounds { unpacked_bytes_max: 1 << 20, files_max: 2 };
    let error = Bundle::read(&bomb, None, bounds).unwrap_err();
    assert_eq!(error.to_string(), "the bundle has more than 1048576 bytes unpacked");
    let many = archive(&[("a", ""), ("b", ""), ("c", "")]);
    assert_eq!(Bundle::read(&many, None, bounds).unwrap_err().to_string(), "the bundle has more than 2 files");
}

/// A signature over `files` with a shared secret.
fn signed(files: Files<'_>, secret: &str, scope: &str) -> String {
    let hashes: Vec<Value> = files
        .iter()
        .map(|(path, content)| {
            let canonical = serde_json::from_str::<Value>(content).map(|it| it.to_string());
            let bytes = if path.ends_with(".json") { canonical.unwrap() } else { (*content).to_owned() };
            use sha2::Digest;
            json!({"name": path, "hash": hex::encode(sha2::Sha256::digest(bytes)), "algorithm": "SHA-256"})
        })
        .collect();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k"}"#);
    let payload = URL_SAFE_NO_PAD.encode(json!({"files": hashes, "scope": scope}).to_string());
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), format!("{header}.{payload}").as_bytes());
    json!({"signatures": [format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(tag))]}).to_string()
}

#[test]
fn a_signature_holds_for_exactly_these_files_and_this_key() {
    let key = Key::parse("HS256", "secret").unwrap();
    let verification = Verification { keys: [("k".to_owned(), key)].into(), key_id: None, scope: "write".to_owned() };
    let files: Files<'_> = &[("data.json", r#"{ "b": 1, "a": [true] }"#), ("p.rego", "package p\n")];
    let verify = |files: Files<'_>, signature: Option<&str>| {
        let mut all = files.to_vec();
        all.extend(signature.map(|it| (".signatures.json", it)));
        match Bundle::read(&archive(&all), Some(&verification), Bounds::default()) {
            Ok(_) => "holds".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let good = signed(files, "secret", "write");
    assert_eq!(verify(files, Some(&good)), "holds");
    let spaced = [("data.json", r#"{"a":[true],"b":1}"#), ("p.rego", "package p\n")];
    assert_eq!(verify(&spaced, Some(&good)), "holds", "only the content of documents is signed");
    assert_eq!(verify(files, None), "the bundle is not signed, and a signature is required");
    let other_key = signed(files, "other", "write");
    assert_eq!(verify(files, Some(&other_key)), "signature: the signature does not match the key");
    let other_scope = signed(files, "secret", "read");
    assert_eq!(verify(files, Some(&other_scope)), r#"signature: is for scope "read", "write" is wanted"#);
    let changed = [("data.json", r#"{"b": 2, "a": [true]}"#), ("p.rego", "package p\n")];
    assert_eq!(verify(&changed, Some(&good)), "data.json: is not what was signed: its hash differs");
    let more = [files[0], files[1], ("q.rego", "package q")];
    assert_eq!(verify(&more, Some(&good)), "q.rego: is not in the bundle's signature");
    assert_eq!(verify(&files[..1], Some(&good)), "p.rego: was signed and is not in the bundle");
    assert_eq!(verify(files, Some("{}")), ".signatures.json: holds 0 signatures, exactly one is expected");
    let stranger = Verification { keys: BTreeMap::new(), ..verification.clone() };
    let mut all = files.to_vec();
    all.push((".signatures.json", &good));
    let error = Bundle::read(&archive(&all), Some(&stranger), Bounds::default()).unwrap_err();
    assert_eq!(error.to_string(), r#"signature: key "k" is not trusted"#);
}

#[test]
fn public_keys_verify_too() {
    let key = rcgen::KeyPair::generate().unwrap();
    let token_of = |key: &rcgen::KeyPair| {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode("{}"));
        let random = ring::rand::SystemRandom::new();
        let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, &key.serialize_der(), &random).unwrap();
        let signature = pair.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let public = Key::parse("ES256", &key.public_key_pem()).unwrap();
    let (good, bad) = (token_of(&key), token_of(&rcgen::KeyPair::generate().unwrap()));
    use crate::jwt::Token;
    assert!(Token::parse(&good).unwrap().verify(&public).is_ok());
    assert!(Token::parse(&bad).unwrap().verify(&public).is_err());
    assert!(Key::parse("RS256", &key.public_key_pem()).is_err(), "a key of another kind");
}
