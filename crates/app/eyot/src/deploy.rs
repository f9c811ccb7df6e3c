//! `eyot deploy app.wasm`: from a file to a URL that answers.

mod template;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use eyot_registry::PushOptions;
use futures::StreamExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{apply, client, flags::DeployFlags, function, publish};

/// Pushes, applies, waits for the rollout, calls the service twice and prints what it saw.
pub(crate) async fn run(flags: DeployFlags) -> Result<()> {
    let began = Instant::now();
    let client = client::connect(flags.kubeconfig.as_deref()).await?;
    let name = match &flags.name {
        Some(name) => name.clone(),
        None => name_of(&flags.file)?,
    };
    let wasm = std::fs::read(&flags.file).with_context(|| format!("reading {}", flags.file.display()))?;
    let is_command = opens_no_socket(&wasm).with_context(|| format!("{} cannot be run", flags.file.display()))?;
    eyot_runtime::validate(&wasm).with_context(|| flags.file.display().to_string())?;
    let registry = registry(&client).await?;
    // A tag of its own for each content: a new build is a new template, so what is there rolls.
    let tag = &hex::encode(Sha256::digest(&wasm))[..12];
    let image = format!("{registry}/{name}:{tag}");
    let bytes = wasm.len();
    eyot_registry::push(&image, wasm.into(), &PushOptions::default()).await?;
    println!("pushed    {image} ({} KiB)", bytes.div_ceil(1024));

    let timeout = Duration::from_secs(flags.timeout_seconds);
    let host = match flags.deployment {
        true => {
            let host = flags.host.clone().unwrap_or_else(|| format!("{name}.localhost"));
            for object in objects(&flags, &name, &image, is_command, &host)? {
                put(&client, object).await?;
            }
            rolled_out(&client, &flags.namespace, &name, timeout).await?;
            host
        }
        false => {
            let existing = function::existing(&client, &flags.namespace, &name).await?;
            let service = template::service(&flags, &name, &image, is_command, existing.as_ref())?;
            put(&client, service).await?;
            let generation = function::generation(&client, &flags.namespace, &name).await?;
            let ready = function::ready(&client, &flags.namespace, &name, generation, timeout).await?;
            let url: http::Uri =
                ready["status"]["url"].as_str().unwrap_or_default().parse().context("reading its URL")?;
            url.host().context("its URL has no host")?.to_owned()
        }
    };
    println!("ready     {:.1} ms after the start", began.elapsed().as_secs_f64() * 1e3);

    let gateway = gateway(&client).await?;
    let url = format!("http://{host}{}", gateway.strip_prefix("127.0.0.1").map_or("", |port| port));
    let first = call(&gateway, &host, timeout).await?;
    let second = call(&gateway, &host, timeout).await?;
    println!("cold      {:.3} ms to the first answer ({}), connection included", millis(first.0), first.1);
    println!("warm      {:.3} ms to the second answer ({})", millis(second.0), second.1);
    println!("url       {url}");
    println!("try       curl -H 'Host: {host}' http://{gateway}/");
    Ok(())
}

async fn put(client: &Client, object: Value) -> Result<()> {
    let label = apply::label(&object);
    let outcome = apply::apply(client, object).await?;
    println!("{:<9} {label}", format!("{outcome:?}").to_lowercase());
    Ok(())
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn name_of(file: &std::path::Path) -> Result<String> {
    let stem = file.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
    let name = stem.to_ascii_lowercase().replace(['_', '.', ' '], "-");
    let fits = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    ensure!(fits, "{stem:?} makes no object name; give one with --name");
    Ok(name)
}

/// Where images go: what the cluster says in `kube-public/local-registry-hosting` (KEP-1755).
pub(crate) async fn registry(client: &Client) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-public");
    let map = maps
        .get("local-registry-hosting")
        .await
        .context("the cluster names no registry of its own (ConfigMap kube-public/local-registry-hosting)")?;
    let hosting = map.data.unwrap_or_default().remove("localRegistryHosting.v1").unwrap_or_default();
    let hosting: Value = serde_saphyr::from_str(&hosting).context("reading localRegistryHosting.v1")?;
    hosting["host"].as_str().map(str::to_owned).context("localRegistryHosting.v1 has no host")
}

/// `address:port` of the default Gateway.
pub(crate) async fn gateway(client: &Client) -> Result<String> {
    let gateway = publish::gateways(client).get("default").await.context("reading Gateway eyot-system/default")?;
    let address = gateway.data.pointer("/status/addresses/0/value").and_then(Value::as_str);
    let port = gateway.data.pointer("/spec/listeners/0/port").and_then(Value::as_u64);
    match (address, port) {
        (Some(address), Some(port)) => Ok(format!("{address}:{port}")),
        _ => bail!("Gateway eyot-system/default has no address yet"),
    }
}

/// Whether the program is a command that could not answer requests by itself. The error says why it is no program at all.
fn opens_no_socket(wasm: &[u8]) -> Result<bool, eyot_runtime::LoadError> {
    let told = eyot_runtime::describe(wasm)?;
    let listens =
        told.imports.iter().any(|it| it.name.contains("sockets/tcp") || it.name.contains("wasi:sockets/types"));
    Ok(told.kind?.is_command() && !listens)
}

fn objects(flags: &DeployFlags, name: &str, image: &str, is_command: bool, host: &str) -> Result<Vec<Value>> {
    let labels = json!({ "app.kubernetes.io/name": name });
    let metadata = json!({ "name": name, "namespace": flags.namespace, "labels": labels });
    let mut container = template::container(flags, name, image, false)?;
    container["name"] = name.into();
    container["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    Ok(vec![
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": flags.replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels, "annotations": template::reuse(flags, is_command)? },
                "spec": { "runtimeClassName": "wasm", "containers": [container] } } } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": labels, "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } }),
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": {
            "parentRefs": [{ "name": "default", "namespace": "eyot-system" }],
            "hostnames": [host],
            "rules": [{ "backendRefs": [{ "name": name, "port": 80 }] }] } }),
    ])
}

/// Waits until every replica of the newest template is available.
pub(crate) async fn rolled_out(client: &Client, namespace: &str, name: &str, timeout: Duration) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut seen = Box::pin(watcher(api, config).applied_objects());
    let done = async {
        while let Some(deployment) = seen.next().await {
            if is_rolled_out(&deployment.context("watching the Deployment")?) {
                return Ok(());
            }
        }
        bail!("the watch ended")
    };
    tokio::time::timeout(timeout, done).await.unwrap_or_else(|_| {
        bail!("not ready after {} s; `kubectl -n {namespace} describe pods` says why", timeout.as_secs())
    })
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
}

/// Calls the service through the gateway once it has a route, on a fresh connection.
async fn call(gateway: &str, host: &str, timeout: Duration) -> Result<(Duration, http::StatusCode)> {
    let until = Instant::now() + timeout;
    loop {
        let began = Instant::now();
        let status = get(gateway, host).await?;
        let took = began.elapsed();
        // The route may trail the rollout by a moment.
        let pending = matches!(status.as_u16(), 404 | 503);
        if !pending || Instant::now() > until {
            return Ok((took, status));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn get(gateway: &str, host: &str) -> Result<http::StatusCode> {
    let stream = tokio::net::TcpStream::connect(gateway).await.with_context(|| format!("connecting to {gateway}"))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.context("calling the gateway")?;
    let exchange = async {
        let request = http::Request::get("/").header(http::header::HOST, host);
        let request = request.body(http_body_util::Empty::<&[u8]>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        http_body_util::BodyExt::collect(response.into_body()).await?;
        anyhow::Ok(status)
    };
    tokio::select! {
        status = exchange => status.context("calling the service"),
        _ = connection => bail!("the gateway closed the connection"),
    }
}
