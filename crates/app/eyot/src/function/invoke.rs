//! `eyot invoke`: one call of a function.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use http::{HeaderName, HeaderValue, Method, Request, Response, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use super::{flags::InvokeFlags, services};
use crate::{client, deploy};

/// Longest body that is read to be sent.
const BODY_MAX: u64 = 64 << 20;

pub(super) async fn run(flags: InvokeFlags) -> Result<()> {
    let client = client::connect(flags.at.kubeconfig.as_deref()).await?;
    let name = &flags.name;
    let (address, host, path) = match flags.later {
        true => later(&client, &flags).await?,
        false => now(&client, &flags).await?,
    };
    let body = match &flags.file {
        Some(file) => Some(read(&format!("@{}", file.display()))?),
        None => flags.data.as_deref().map(read).transpose()?,
    };
    let usual = if body.is_some() || flags.later { Method::POST } else { Method::GET };
    let mut request = Request::builder().method(flags.method.clone().unwrap_or(usual)).uri(path).header(HOST, host);
    for header in &flags.headers {
        let Some((name, value)) = header.split_once(':') else { bail!("--header {header}: expected NAME: VALUE") };
        let name: HeaderName = name.trim().parse().with_context(|| format!("--header {header}"))?;
        request =
            request.header(name, HeaderValue::from_str(value.trim()).with_context(|| format!("--header {header}"))?);
    }
    if let Some(url) = &flags.callback {
        request = request.header("x-callback-url", url);
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).context("making the request")?;
    let stream = tokio::net::TcpStream::connect(&address).await.with_context(|| format!("connecting to {address}"))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.context("calling the gateway")?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.with_context(|| format!("calling {name}"))?;
    print(&flags, response).await
}

/// Address, host and path of a call through the gateway.
async fn now(client: &Client, flags: &InvokeFlags) -> Result<(String, String, String)> {
    let name = &flags.name;
    let function = services(client, &flags.at.namespace).get(name).await.with_context(|| format!("reading {name}"))?;
    let status = &function.data["status"];
    let url = match &flags.tag {
        None => status["url"].as_str().with_context(|| format!("{name} has no URL yet"))?,
        Some(tag) => {
            let mut targets = status["traffic"].as_array().into_iter().flatten();
            let found = targets.find(|it| it["tag"] == tag.as_str()).and_then(|it| it["url"].as_str());
            found.with_context(|| format!("{name} has no tag {tag}"))?
        }
    };
    let url: http::Uri = url.parse().with_context(|| format!("reading the URL {url}"))?;
    let host = url.authority().map(ToString::to_string).context("the URL has no host")?;
    Ok((deploy::gateway(client).await?, host, rooted(&flags.path)))
}

/// Address, host and path of a call that is answered later.
async fn later(client: &Client, flags: &InvokeFlags) -> Result<(String, String, String)> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "openfaas");
    let map = maps.get_opt("gateway").await.context("looking for OpenFaaS' API")?;
    let url = map.and_then(|it| it.data?.remove("url"));
    let url = url.context("--async: the node has no OpenFaaS API; start it with --openfaas-listen ADDRESS")?;
    let address = url.trim_start_matches("http://").to_owned();
    let path = format!("/async-function/{}.{}{}", flags.name, flags.at.namespace, rooted(&flags.path));
    Ok((address.clone(), address, path))
}

/// A path as a request has it, with or without the stroke that it begins with.
fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

async fn print(flags: &InvokeFlags, response: Response<Incoming>) -> Result<()> {
    let name = &flags.name;
    let (head, mut answer) = response.into_parts();
    let mut out = std::io::stdout().lock();
    if flags.include {
        writeln!(out, "{:?} {}", head.version, head.status)?;
        for (name, value) in &head.headers {
            writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        writeln!(out)?;
    }
    if flags.later && head.status.is_success() {
        let id = head.headers.get("x-call-id").and_then(|it| it.to_str().ok()).context("the call has no id")?;
        writeln!(out, "{id}")?;
    }
    while let Some(frame) = answer.frame().await {
        if let Ok(data) = frame.with_context(|| format!("reading the answer of {name}"))?.into_data() {
            out.write_all(&data)?;
            out.flush()?;
        }
    }
    if head.status.is_client_error() || head.status.is_server_error() {
        bail!("{name} answered {}", head.status);
    }
    Ok(())
}

fn read(data: &str) -> Result<Vec<u8>> {
    let Some(file) = data.strip_prefix('@') else { return Ok(data.as_bytes().to_vec()) };
    let mut body = Vec::new();
    match file {
        "-" => std::io::stdin().take(BODY_MAX + 1).read_to_end(&mut body).context("reading standard input")?,
        file => {
            let open = std::fs::File::open(file).with_context(|| format!("reading {file}"))?;
            open.take(BODY_MAX + 1).read_to_end(&mut body).with_context(|| format!("reading {file}"))?
        }
    };
    anyhow::ensure!(body.len() as u64 <= BODY_MAX, "the body has more than {} MiB", BODY_MAX >> 20);
    Ok(body)
}
