//! Tokens of ServiceAccounts are opened or refused, whatever stands in them, and only what was signed is opened. Input:
//! claims to sign, a newline, what is done to the token, three bytes a step; all of it is also tried as a token.
#![no_main]

mod damage;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// The server's own keys, with as much around them as they need.
#[allow(dead_code, reason = "the target uses a part of what the server has there")]
#[path = "."]
mod token {
    #[path = "../../crates/shell/apiserver/src/token/jose.rs"]
    mod jose;
    #[path = "../../crates/shell/apiserver/src/token/keys.rs"]
    pub(crate) mod keys;

    pub(crate) fn sign(keys: &keys::TokenKeys, claims: &serde_json::Value) -> String {
        keys.sign(claims).expect("randomness")
    }

    pub(crate) fn open(keys: &keys::TokenKeys, token: &str) -> Option<std::sync::Arc<serde_json::Value>> {
        keys.open_token(token)
    }
}

/// What keys need of the files they live in, which this never touches.
#[allow(dead_code, reason = "the target uses a part of what the server has there")]
#[path = "."]
mod pki {
    #[path = "../../crates/shell/apiserver/src/pki/file.rs"]
    pub(crate) mod file;

    #[derive(Debug)]
    pub enum PkiError {
        File { path: std::path::PathBuf, source: std::io::Error },
        Unusable { path: std::path::PathBuf, what: String },
    }

    pub(crate) fn pem(label: &str, _: &[u8]) -> String {
        unreachable!("{label} is not written here")
    }
}

use token::{keys::TokenKeys, open, sign};

static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| TokenKeys::ephemeral().expect("a key"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(open(&KEYS, text).is_none(), "nobody signed it");
    }
    let mut halves = bytes.splitn(2, |it| *it == b'\n');
    let (Some(claims), Some(steps)) = (halves.next(), halves.next()) else { return };
    let Ok(claims) = serde_json::from_slice(claims) else { return };
    let token = sign(&KEYS, &claims);
    // What is too long is no token, whoever signed it.
    let opened = open(&KEYS, &token);
    assert!(opened.is_none_or(|it| *it == claims));
    let mut damaged = token.clone().into_bytes();
    damage::damage(&mut damaged, steps);
    if let Ok(damaged) = String::from_utf8(damaged) {
        assert!(damaged == token || open(&KEYS, &damaged).is_none(), "{damaged} for {token}");
    }
});
