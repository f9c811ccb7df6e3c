//! Other servers that this one asks over HTTPS, as `clientConfig` of webhooks names them.
//!
//! Entry points: [`Target::read`], [`authorities`], [`Client::new`], [`Client::post`]. What is asked is the business of `admit` and
//! `definitions`.

mod client;
mod service;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

pub(crate) use client::Client;

/// Where a webhook answers.
pub(crate) enum Target {
    Url(String),
    Service { namespace: String, name: String, path: String, port: u16 },
}

/// The authorities that a `clientConfig` names, in PEM; none where it names none. What is no base64 stays as it is, which is
/// none either, and not nothing.
pub(crate) fn authorities(config: &Value) -> Vec<u8> {
    let text = config["caBundle"].as_str().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec())
}

impl Target {
    /// Reads a `clientConfig`.
    pub(crate) fn read(config: &Value) -> Target {
        let service = &config["service"];
        let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
        match config["url"].as_str() {
            Some(url) => Target::Url(url.to_owned()),
            None => Target::Service {
                namespace: text("namespace"),
                name: text("name"),
                path: text("path"),
                port: service["port"].as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(443),
            },
        }
    }

    /// The URL that is asked, as messages name it.
    pub(crate) fn url(&self, timeout: Duration) -> String {
        let query = format!("timeout={}s", timeout.as_secs());
        match self {
            Target::Url(url) => {
                let mark = if url.contains('?') { '&' } else { '?' };
                // A URL of a host alone has the path `/`.
                let slash = if url.matches('/').count() < 3 { "/" } else { "" };
                format!("{url}{slash}{mark}{query}")
            }
            Target::Service { namespace, name, path, port } => {
                let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
                format!("https://{name}.{namespace}.svc:{port}{path}?{query}")
            }
        }
    }
}
