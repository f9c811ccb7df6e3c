//! Tokens: signed ones of ServiceAccounts, and those of the administrator's file. Entry point: [`authenticate`].
//!
//! `keys` holds the signing key and those that still verify, `jose` the encoding, `verify` the checks against the
//! objects a token is bound to, `request` issues, `legacy` fills Secrets, `file` reads the static list, `openid` tells
//! others how to verify. A token is worth nothing once its account, or what it is bound to, is gone.

pub(crate) mod file;
mod jose;
mod keys;
pub(crate) mod legacy;
pub(crate) mod openid;
pub(crate) mod request;
mod verify;

pub(crate) use keys::TokenKeys;
pub(crate) use verify::{Refusal, verify};

use crate::{Identity, server::Shared};

/// Who issues tokens, and whom they are for unless they say otherwise: this API server.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Who shows this token to the API server.
///
/// # Errors
/// When nobody is known by it. The reason is for logs, not for the caller.
pub(crate) fn authenticate(server: &Shared, token: &str) -> Result<Identity, Refusal> {
    let credentials = server.credentials().map_err(|_| Refusal::Unknown)?;
    if let Some(identity) = credentials.static_tokens.find(token) {
        return Ok(identity);
    }
    verify(server, token, &[ISSUER.to_owned()]).map(|it| it.identity)
}
