//! Gets a bundle from where it is: a file, an image reference, or a server that is asked by ETag.

use std::{io, time::Duration};

use eyot_registry::Images;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::OnceCell;

use crate::spec::At;

/// Largest archive.
const ARCHIVE_BYTES_MAX: usize = 64 << 20;
/// Longest time for one look at a source.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest file of a token.
const TOKEN_BYTES_MAX: usize = 64 << 10;

pub(crate) type HttpClient = Client<
    HttpsConnector<HttpConnector>,
    http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, std::convert::Infallible>,
>;

/// What a look at a source came to.
pub(super) enum Fetched {
    /// It is still what it was.
    Unchanged,
    /// It is something else.
    New { archive: Vec<u8>, etag: Option<String> },
}

/// Fetches for all policies.
pub(super) struct Fetcher {
    images: Images,
    http: OnceCell<HttpClient>,
}

impl Fetcher {
    pub(super) fn new(images: Images) -> Fetcher {
        Fetcher { images, http: OnceCell::new() }
    }

    /// Looks at a source. `etag` is what the last look was given.
    pub(super) async fn fetch(&self, at: &At, etag: Option<&str>) -> Result<Fetched, String> {
        let fetching = async {
            match at {
                At::File(path) => file(path, etag).await,
                At::Oci(reference) => self.oci(reference, etag).await,
                At::Http { url, token_file } => self.http(url, token_file.as_deref(), etag).await,
            }
        };
        let in_time = tokio::time::timeout(FETCH_TIMEOUT, fetching).await;
        in_time.map_err(|_| format!("nothing came within {} s", FETCH_TIMEOUT.as_secs()))?
    }

    async fn oci(&self, reference: &str, etag: Option<&str>) -> Result<Fetched, String> {
        let fetched = self.images.pull_bundle(reference, etag, ARCHIVE_BYTES_MAX as u64).await;
        match fetched.map_err(|error| error.to_string())? {
            None => Ok(Fetched::Unchanged),
            Some((digest, archive)) => Ok(Fetched::New { archive, etag: Some(digest) }),
        }
    }

    async fn http(&self, url: &str, token_file: Option<&str>, etag: Option<&str>) -> Result<Fetched, String> {
        let client = self.http.get_or_try_init(|| async { client() }).await?;
        let mut request = Request::get(url).header(header::USER_AGENT, concat!("eyot/", env!("CARGO_PKG_VERSION")));
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(bearer) = bearer(token_file).await? {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::new().boxed_unsync()).map_err(|error| error.to_string())?;
        let response = client.request(request).await.map_err(|error| chain(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::Unchanged),
            status => return Err(format!("the server answered {status}")),
        }
        let etag = response.headers().get(header::ETAG).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let body = Limited::new(response.into_body(), ARCHIVE_BYTES_MAX).collect().await;
        let archive = body.map_err(|error| format!("the body: {error}"))?.to_bytes().to_vec();
        Ok(Fetched::New { archive, etag })
    }
}

/// The value of an `Authorization` header from a file that may change at any time.
pub(crate) async fn bearer(token_file: Option<&str>) -> Result<Option<header::HeaderValue>, String> {
    let Some(path) = token_file else { return Ok(None) };
    let token = tokio::fs::read_to_string(path).await.map_err(|error| format!("tokenFile {path}: {error}"))?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(format!("tokenFile {path}: is too large"));
    }
    let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|_| format!("tokenFile {path}: holds no token"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A client that trusts whom the system trusts.
pub(crate) fn client() -> Result<HttpClient, String> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    let provider = rustls::crypto::ring::default_provider();
    let https = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
    let https = https.map_err(|error| format!("reading the system's trusted certificates: {error}"))?;
    let https = https.https_or_http().enable_http1().wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(90))
        .pool_max_idle_per_host(1)
        .build(https))
}

/// A file counts as changed with its time or size.
async fn file(path: &str, etag: Option<&str>) -> Result<Fetched, String> {
    let failed = |error: io::Error| format!("{path}: {error}");
    let metadata = tokio::fs::metadata(path).await.map_err(failed)?;
    if metadata.len() > ARCHIVE_BYTES_MAX as u64 {
        return Err(format!("{path}: has more than {ARCHIVE_BYTES_MAX} bytes"));
    }
    let modified = metadata.modified().map_err(failed)?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = format!("{}-{}", since.as_nanos(), metadata.len());
    if etag == Some(now.as_str()) {
        return Ok(Fetched::Unchanged);
    }
    let archive = tokio::fs::read(path).await.map_err(failed)?;
    Ok(Fetched::New { archive, etag: Some(now) })
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
