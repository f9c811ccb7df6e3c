//! `eyot invoke`: one call of a function.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use http::{HeaderName, HeaderValue, Method, Request, header::HOST};
use http_body_util::{BodyExt, Full};

use super::{flags::InvokeFlags, services};
use crate::{client, deploy};

/// Longest body that is read to be sent.
const BODY_MAX: u64 = 64 << 20;

pub(super) async fn run(flags: InvokeFlags) -> Result<()> {
    let client = client::connect(flags.at.kubeconfig.as_deref()).await?;
    let name = &flags.name;
    let function = services(&client, &flags.at.namespace).get(name).await.with_context(|| format!("reading {name}"))?;
    let url = function.data["status"]["url"].as_str().with_context(|| format!("{name} has no URL yet"))?;
    let url: http::Uri = url.parse().with_context(|| format!("reading the URL {url}"))?;
    let host = url.authority().map(ToString::to_string).context("the URL has no host")?;
    let body = flags.data.as_deref().map(read).transpose()?;
    let method = flags.method.unwrap_or(if body.is_some() { Method::POST } else { Method::GET });
    let mut request = Request::builder().method(method).uri(&flags.path).header(HOST, host);
    for header in &flags.headers {
        let Some((name, value)) = header.split_once(':') else { bail!("--header {header}: expected NAME: VALUE") };
        let name: HeaderName = name.trim().parse().with_context(|| format!("--header {header}"))?;
        request =
            request.header(name, HeaderValue::from_str(value.trim()).with_context(|| format!("--header {header}"))?);
    }
    let request = request.body(Full::new(bytes_of(body))).context("making the request")?;
    let address = deploy::gateway(&client).await?;
    let stream = tokio::net::TcpStream::connect(&address).await.with_context(|| format!("connecting to {address}"))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.context("calling the gateway")?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.with_context(|| format!("calling {name}"))?;
    let status = response.status();
    let mut answer = response.into_body();
    let mut out = std::io::stdout().lock();
    while let Some(frame) = answer.frame().await {
        if let Ok(data) = frame.with_context(|| format!("reading the answer of {name}"))?.into_data() {
            out.write_all(&data)?;
            out.flush()?;
        }
    }
    if status.is_client_error() || status.is_server_error() {
        bail!("{name} answered {status}");
    }
    Ok(())
}

fn bytes_of(body: Option<Vec<u8>>) -> hyper::body::Bytes {
    body.unwrap_or_default().into()
}

fn read(data: &str) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    match data.strip_prefix('@') {
        None => return Ok(data.as_bytes().to_vec()),
        Some("-") => std::io::stdin().take(BODY_MAX).read_to_end(&mut body).context("reading standard input")?,
        Some(file) => {
            let open = std::fs::File::open(file).with_context(|| format!("reading {file}"))?;
            open.take(BODY_MAX).read_to_end(&mut body).with_context(|| format!("reading {file}"))?
        }
    };
    Ok(body)
}
