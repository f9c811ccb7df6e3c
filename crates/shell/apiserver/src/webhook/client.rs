//! An HTTPS client for one webhook: its own authorities, a few connections kept open. Entry point: [`Client::post`].

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::TlsConnector;

use super::{Target, service};
use crate::{
    Body,
    body::{self, CollectError},
    server::Shared,
};

/// Largest answer in bytes: a patch may hold a whole object, in base64.
const ANSWER_MAX: usize = 8 << 20;
/// Connections kept for the next request.
const IDLE_MAX: usize = 8;
/// Lookups of the name of one webhook under way at once, and of all webhooks' names: each takes a thread of those that the store
/// waits on too, for as long as no server answers. A webhook whose name nobody knows leaves others their turn.
const LOOKUPS_OF_ONE: usize = 8;
const LOOKUPS_OF_ALL: usize = 32;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_OF_ALL);

/// A connection without a request, and the addresses it was made for.
type Idle = (Vec<SocketAddr>, SendRequest<Full<Bytes>>);

/// Speaks to one webhook.
pub(crate) struct Client {
    tls: TlsConnector,
    idle: Mutex<Vec<Idle>>,
    lookups: Arc<Semaphore>,
}

impl Client {
    /// A client that trusts certificates of these authorities only, given in PEM; without any those that the system trusts.
    pub(crate) fn new(authorities: &[u8]) -> Result<Client, String> {
        let roots = if authorities.is_empty() { trusted_by_system()? } else { roots(authorities)? };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| it.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let lookups = Arc::new(Semaphore::new(LOOKUPS_OF_ONE));
        Ok(Client { tls: TlsConnector::from(Arc::new(config)), idle: Mutex::default(), lookups })
    }

    /// Posts JSON and returns the body of the answer, which must be a success. Waits for a turn to look the name up: whoever calls
    /// says how long.
    pub(crate) async fn post(&self, server: &Shared, target: &Target, url: &str, body: Bytes) -> Result<Bytes, String> {
        let uri: http::Uri = url.parse().map_err(|it| format!("{it}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, uri.authority().map_or(host.as_str(), |it| it.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "eyot-admission")
            .body(Full::new(body))
            .map_err(|it| it.to_string())?;
        let addresses = match target {
            Target::Url(_) => self.resolve(host.clone(), port).await?,
            Target::Service { namespace, name, port, .. } => service::addresses(server, namespace, name, *port)?,
        };
        let mut sender = match self.kept(&addresses) {
            Some(sender) => sender,
            None => self.connect(&host, &addresses).await?,
        };
        let response = sender.send_request(request).await.map_err(|it| it.to_string())?;
        let status = response.status();
        let answer = body::collect(Body::new(response.into_body()), ANSWER_MAX).await.map_err(|it| match it {
            CollectError::TooLarge(limit) => format!("the answer is larger than {limit} bytes"),
            CollectError::Broken(error) => error.to_string(),
        })?;
        self.keep(addresses, sender);
        if !status.is_success() {
            return Err(format!("the server answered {status}"));
        }
        Ok(answer)
    }

    /// The addresses of `host`, when it is its turn to be looked up.
    async fn resolve(&self, host: String, port: u16) -> Result<Vec<SocketAddr>, String> {
        let name = host.clone();
        let found = self.turn(move || (name.as_str(), port).to_socket_addrs()).await?;
        Ok(found.map_err(|it| format!("dial tcp: lookup {host}: {it}"))?.collect())
    }

    /// Does `work`, which blocks, when it is its turn. The turn is over when the thread is free, also where nobody waits that long.
    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let of_one = self.lookups.clone().acquire_owned().await.map_err(|it| it.to_string())?;
        let of_all = LOOKUPS.acquire().await.map_err(|it| it.to_string())?;
        let work = move || {
            let _turn = (of_one, of_all);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|it| it.to_string())
    }

    fn kept(&self, addresses: &[SocketAddr]) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        // What leads elsewhere, or was closed meanwhile, is of no use any more.
        idle.retain(|(known, sender)| known == addresses && sender.is_ready());
        idle.pop().map(|it| it.1)
    }

    fn keep(&self, addresses: Vec<SocketAddr>, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((addresses, sender));
        }
    }

    async fn connect(&self, host: &str, addresses: &[SocketAddr]) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(addresses).await.map_err(|it| format!("dial tcp: {it}"))?;
        stream.set_nodelay(true).ok();
        let name = ServerName::try_from(host.to_owned()).map_err(|it| it.to_string())?;
        let stream = self.tls.connect(name, stream).await.map_err(|it| format!("tls: {it}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|it| it.to_string())?;
        // Ends when the sender is dropped, which closes the connection.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a webhook");
            }
        });
        Ok(sender)
    }
}

/// The authorities of a `caBundle`.
fn roots(authorities: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|it| format!("caBundle: {it}"))?;
        roots.add(certificate).map_err(|it| format!("caBundle: {it}"))?;
    }
    if roots.is_empty() {
        return Err("caBundle: holds no certificate".to_owned());
    }
    Ok(Arc::new(roots))
}

/// The authorities that the system trusts, read once.
fn trusted_by_system() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "reading an authority that the system trusts");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    match ROOTS.is_empty() {
        false => Ok(ROOTS.clone()),
        true => Err("tls: failed to verify certificate: x509: certificate signed by unknown authority \
                     (clientConfig.caBundle is empty, and the system trusts no authority)"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
        time::Duration,
    };

    use tokio::task::JoinHandle;

    use super::*;

    #[test]
    fn a_bundle_is_trusted_and_nonsense_is_told() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(roots(certificate.pem().as_bytes()).unwrap().len(), 1);
        assert_eq!(roots(b"nonsense").unwrap_err(), "caBundle: holds no certificate");
        assert!(Client::new(b"nonsense").is_err(), "it is not taken for no bundle at all");
    }

    fn client() -> Arc<Client> {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        Arc::new(Client::new(certificate.pem().as_bytes()).unwrap())
    }

    /// Lookups that get no answer until they are let go.
    #[derive(Default)]
    struct Silent {
        begun: Arc<AtomicUsize>,
        gates: Vec<mpsc::Sender<()>>,
    }

    impl Silent {
        fn ask(&mut self, client: &Arc<Client>) -> JoinHandle<Result<(), String>> {
            let (open, gate) = mpsc::channel();
            self.gates.push(open);
            let (client, begun) = (client.clone(), self.begun.clone());
            let work = move || {
                begun.fetch_add(1, SeqCst);
                // Whoever lets go drops the other end.
                let _ = gate.recv();
            };
            tokio::spawn(async move { client.turn(work).await })
        }

        /// How many are under way once no more begin.
        async fn under_way(&self, at_least: usize) -> usize {
            for _ in 0..500 {
                if self.begun.load(SeqCst) >= at_least {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.begun.load(SeqCst)
        }
    }

    #[tokio::test]
    async fn names_that_get_no_answer_take_a_few_threads_and_waiting_for_one_can_be_given_up() {
        let (mut silent, client) = (Silent::default(), client());
        let asked: Vec<_> = (0..3 * LOOKUPS_OF_ONE).map(|_| silent.ask(&client)).collect();
        assert_eq!(silent.under_way(LOOKUPS_OF_ONE).await, LOOKUPS_OF_ONE);
        // What a webhook's time is up for takes no further thread.
        asked.iter().for_each(JoinHandle::abort);
        let late = tokio::time::timeout(Duration::from_millis(50), client.resolve("127.0.0.1".to_owned(), 443)).await;
        assert!(late.is_err(), "{late:?}");
        assert_eq!(silent.under_way(LOOKUPS_OF_ONE).await, LOOKUPS_OF_ONE);
        let others: Vec<_> = (0..LOOKUPS_OF_ALL).map(|_| self::client()).collect();
        let theirs: Vec<_> = others.iter().map(|it| silent.ask(it)).collect();
        assert_eq!(silent.under_way(LOOKUPS_OF_ALL).await, LOOKUPS_OF_ALL);
        silent.gates.clear();
        for turn in theirs {
            assert_eq!(turn.await.unwrap(), Ok(()), "each has its turn");
        }
        assert_eq!(
            client.resolve("127.0.0.1".to_owned(), 443).await.unwrap(),
            [SocketAddr::from(([127, 0, 0, 1], 443))]
        );
    }
}
