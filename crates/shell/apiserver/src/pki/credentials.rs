//! What the server needs to tell who somebody is, and to vouch for it: [`Credentials`].

use std::path::Path;

use super::{Pki, PkiError, client::ClientAuthority};
use crate::token::{
    TokenKeys,
    file::{StaticTokens, TokenFileError},
};

/// Keys and tokens by which users are known; get them from [`Pki::credentials`].
pub struct Credentials {
    pub(crate) tokens: TokenKeys,
    pub(crate) static_tokens: StaticTokens,
    /// Signs client certificates; a server without data directory signs none.
    pub(crate) clients: Option<ClientAuthority>,
    /// The CA's certificate, as it is handed to ServiceAccounts.
    pub(crate) ca_pem: Option<String>,
}

impl Credentials {
    /// Only a token key, which is forgotten with the process.
    pub(crate) fn ephemeral() -> Result<Credentials, String> {
        let tokens = TokenKeys::ephemeral()?;
        Ok(Credentials { tokens, static_tokens: StaticTokens::default(), clients: None, ca_pem: None })
    }

    /// Lets in whoever shows a token of the CSV file at `path`: token, user, uid and groups.
    ///
    /// # Errors
    /// When it cannot be read, or holds a line that is none of a token.
    pub fn with_token_file(self, path: &Path) -> Result<Credentials, TokenFileError> {
        Ok(Credentials { static_tokens: StaticTokens::read(path)?, ..self })
    }
}

impl Pki {
    /// The credentials of this data directory: the keys of ServiceAccounts' tokens, made at the first call, and the CA
    /// for client certificates.
    pub fn credentials(&self) -> Result<Credentials, PkiError> {
        let unusable = |what: String| PkiError::Unusable { path: self.dir.join("ca.key"), what };
        Ok(Credentials {
            tokens: TokenKeys::open(&self.dir)?,
            static_tokens: StaticTokens::default(),
            clients: Some(ClientAuthority::new(&self.ca).map_err(unusable)?),
            ca_pem: Some(self.ca.cert.clone()),
        })
    }
}
