//! What guests ask by https: whom the node trusts, and that what holds their requests holds these too.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, Options, eventually};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const SOON: Duration = Duration::from_secs(10);

/// Whoever signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        Ok(Authority { pem: params.self_signed(&key)?.pem(), issuer: Issuer::new(params, key) })
    }

    /// A server at `ip` that shows a certificate for `name`, good until the year `until`, and says `ok`.
    async fn server(&self, ip: &str, name: &str, until: i32) -> Result<SocketAddr> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let key = KeyPair::generate()?;
        let chain = vec![params.signed_by(&key, &self.issuer)?.der().clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        listen(ip, Some(TlsAcceptor::from(Arc::new(config)))).await
    }
}

/// A server for as long as the test runs; without `tls` one that takes a handshake for a bad request.
async fn listen(ip: &str, tls: Option<TlsAcceptor>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).await.with_context(|| format!("binding {ip}"))?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let tls = tls.clone();
            // Clients that trust nobody leave early.
            tokio::spawn(async move {
                match tls {
                    Some(tls) => answer(tls.accept(socket).await?).await,
                    None => complain(socket).await,
                }
            });
        }
    });
    Ok(address)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        head.push(stream.read_u8().await?);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await?;
    stream.shutdown().await
}

async fn complain(mut stream: TcpStream) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 16 << 10]).await?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await
}

/// A node that trusts `authority` and runs the sample `relay`, and an address among its pods that is nobody's.
async fn node_that_trusts(authority: &Authority) -> Result<(Node, String)> {
    let dir = tempfile::tempdir()?;
    let bundle = dir.path().join("trusted.pem");
    std::fs::write(&bundle, &authority.pem)?;
    let mut options = Options::default();
    options.env.push(("SSL_CERT_FILE".to_owned(), bundle.display().to_string()));
    let node = Node::start_with(options).await?;
    node.push("relay").await?;
    node.apply("relay").await?;
    node.rolled_out("relay").await?;
    // Read when a guest first asks by https: the file is to be there until then.
    let ip = node.kubectl(&["get", "pods", "-l", "app=relay", "-o", "jsonpath={.items[0].status.podIP}"]).await?;
    let (range, _) = ip.rsplit_once('.').context("an address")?;
    let nobody = format!("{range}.251");
    let trusted = authority.server(&nobody, &nobody, 4000).await?;
    ensure!(fetch(&node, trusted).await? == (200, "ok".to_owned()), "{}", node.log_tail(20));
    Ok((node, nobody))
}

/// What the guest gets from `https://ADDRESS/`.
async fn fetch(node: &Node, address: SocketAddr) -> Result<(u16, String)> {
    let answer = node.get("relay.localhost", &format!("/fetch?https://{address}/")).await?;
    Ok((answer.status.as_u16(), answer.text()))
}

/// Waits until the guest's log holds all of `wanted`.
async fn logged(node: &Node, wanted: &[&str]) -> Result<()> {
    eventually("the reason to be in the log", SOON, async || {
        let log = node.kubectl(&["logs", "deployment/relay"]).await?;
        ensure!(wanted.iter().all(|it| log.contains(it)), "{wanted:?} in {log}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_trusts_by_https_whom_its_node_trusts_and_nobody_else() -> Result<()> {
    let (trusted, unknown) = (Authority::new("trusted")?, Authority::new("unknown")?);
    let (node, ip) = node_that_trusts(&trusted).await?;
    let refused = [
        ("an unknown authority", unknown.server(&ip, &ip, 4000).await?),
        ("another's name", trusted.server(&ip, "elsewhere.test", 4000).await?),
        ("a certificate of the past", trusted.server(&ip, &ip, 2002).await?),
    ];
    for (what, address) in refused {
        let (status, text) = fetch(&node, address).await?;
        ensure!(status == 502, "{what}: {status} {text}");
        let why = format!("request to {address} failed: certificate refused");
        logged(&node, &[&why, "TlsCertificateError"]).await.context(what)?;
    }
    let plain = listen(&ip, None).await?;
    ensure!(fetch(&node, plain).await?.0 == 502, "no TLS at all");
    logged(&node, &[&format!("request to {plain} failed: securing the connection"), "TlsProtocolError"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_a_guests_requests_holds_those_by_https() -> Result<()> {
    let (trusted, unknown) = (Authority::new("trusted")?, Authority::new("unknown")?);
    let (node, ip) = node_that_trusts(&trusted).await?;
    let (listed, other) = (trusted.server(&ip, &ip, 4000).await?, trusted.server(&ip, &ip, 4000).await?);
    let stranger = unknown.server(&ip, &ip, 4000).await?;
    let policy = |cidr: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: held}}\nspec: {{podSelector: \
             {{matchLabels: {{app: relay}}}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {{cidr: '{cidr}'}}}}]}}]}}\n"
        )
    };
    node.apply_text(&policy("192.0.2.0/24")).await?;
    eventually("the policy to hold", SOON, async || {
        ensure!(fetch(&node, listed).await?.0 == 502);
        Ok(())
    })
    .await?;
    logged(&node, &[&format!("request to {listed} denied"), "NetworkPolicy held", "DestinationIpProhibited"]).await?;
    node.apply_text(&policy(&format!("{ip}/32"))).await?;
    eventually("the policy to permit", SOON, async || {
        ensure!(fetch(&node, listed).await? == (200, "ok".to_owned()));
        Ok(())
    })
    .await?;
    ensure!(fetch(&node, stranger).await?.0 == 502, "whoever is held trusts no more than others");

    let hosts =
        format!(r#"{{"spec":{{"template":{{"metadata":{{"annotations":{{"eyot.io/allowed-hosts":"{listed}"}}}}}}}}}}"#);
    node.kubectl(&["patch", "deployment", "relay", "-p", &hosts]).await?;
    node.rolled_out("relay").await?;
    ensure!(fetch(&node, listed).await? == (200, "ok".to_owned()), "what is listed may be asked");
    ensure!(fetch(&node, other).await?.0 == 502, "another port of the same host is not listed");
    logged(&node, &[&format!("request to {other} denied"), "eyot.io/allowed-hosts"]).await
}
