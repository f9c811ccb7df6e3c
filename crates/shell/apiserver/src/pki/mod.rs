//! Certificates of the node's own API: one CA, the server's leaf and the administrator's client certificate.
//!
//! Start at [`Pki::open`]. Keys live in files of mode 0600 in a directory of mode 0700. The CA is made once and kept,
//! so that kubeconfigs stay valid; leaves are issued again when they are about to expire or when the server's names
//! change. `client` signs what users ask for through the API; the CA's key never leaves this module. Deliberately absent:
//! rotation while running.

mod client;
mod credentials;
mod der;
pub(crate) mod file;
mod issue;
mod kubeconfig;

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
pub(crate) use client::{ClientAuthority, Usages, Wish};
pub use credentials::Credentials;
use file::write_secret;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// What goes wrong with certificates and their files.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or directory could not be read or written.
    #[error("{path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no usable certificate or key.
    #[error("{path}: {what}; remove the file to have it made again", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Making a certificate failed.
    #[error("issuing the certificate of {subject}")]
    Issue {
        /// Whose certificate.
        subject: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// The pieces form no TLS configuration.
    #[error("configuring TLS: {0}")]
    Tls(String),
}

/// The names and addresses under which the server is reached, beside localhost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// DNS names, for instance the node's name.
    pub dns: BTreeSet<String>,
    /// Addresses: listen addresses and the service IP of `default/kubernetes`.
    pub ips: BTreeSet<IpAddr>,
}

impl ServerNames {
    /// These names and those by which every server is reached: localhost and `kubernetes.default.svc…`.
    fn with_usual(&self) -> ServerNames {
        let mut names = self.clone();
        let usual = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        names.dns.extend(usual.map(str::to_owned));
        names.dns.insert("kubernetes.default.svc.cluster.local".to_owned());
        names.ips.extend([IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)]);
        names
    }
}

/// A certificate and its key, as PEM. The key is secret; `Debug` leaves it out.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// The certificates of one data directory.
pub struct Pki {
    dir: PathBuf,
    ca: Pair,
    server: Pair,
    admin: Pair,
}

/// A server's TLS configuration: its leaf, and client certificates verified against its CA when offered.
#[derive(Clone)]
pub struct Tls(pub(crate) Arc<ServerConfig>);

impl Pki {
    /// Opens the certificates in `dir`, making those that are missing, expiring or of other names.
    pub fn open(dir: &Path, names: &ServerNames) -> Result<Pki, PkiError> {
        let at = |source| PkiError::File { path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(at)?;

        let ca = match read_pair(dir, "ca")? {
            Some(pair) => pair,
            None => write_pair(dir, "ca", issue::authority()?)?,
        };
        let names = names.with_usual();
        let server = match read_pair(dir, "server")? {
            Some(pair) if issue::serves(&pair, &ca, &names) => pair,
            _ => write_pair(dir, "server", issue::server(&ca, &names)?)?,
        };
        let admin = match read_pair(dir, "admin")? {
            Some(pair) if issue::is_current(&pair, &ca) => pair,
            _ => write_pair(dir, "admin", issue::admin(&ca)?)?,
        };
        Ok(Pki { dir: dir.to_owned(), ca, server, admin })
    }

    /// The TLS configuration for [`serve`](crate::ApiServer::serve).
    pub fn tls(&self) -> Result<Tls, PkiError> {
        let tls = |it: &dyn std::fmt::Display| PkiError::Tls(it.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca_der()?).map_err(|it| tls(&it))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|it| tls(&it))?;
        let leaf = CertificateDer::from_pem_slice(self.server.cert.as_bytes()).map_err(|it| tls(&it))?;
        let key = PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(|it| tls(&it))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| tls(&it))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![leaf], key)
            .map_err(|it| tls(&it))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    /// The CA's certificate as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca.cert
    }

    /// Writes a kubeconfig for the administrator (`kubernetes-admin`, `system:masters`) of the server at `url`,
    /// with mode 0600 and certificates embedded. One that says so already is left alone.
    ///
    /// # Errors
    ///
    /// When there is none and none can be written. An old one that cannot be replaced, on a full disk, is warned of.
    pub fn write_kubeconfig(&self, path: &Path, url: &str) -> Result<(), PkiError> {
        let wanted = kubeconfig::render(url, &self.ca.cert, &self.admin);
        // What cannot be read is written anew.
        let old = file::read(path).ok().flatten();
        if old.as_deref() == Some(&wanted) {
            return Ok(());
        }
        match write_secret(path, &wanted) {
            Err(error) if old.is_some() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the old kubeconfig stays");
                Ok(())
            }
            written => written,
        }
    }

    fn ca_der(&self) -> Result<CertificateDer<'static>, PkiError> {
        let path = self.dir.join("ca.crt");
        CertificateDer::from_pem_slice(self.ca.cert.as_bytes())
            .map_err(|it| PkiError::Unusable { path, what: it.to_string() })
    }
}

fn read_pair(dir: &Path, name: &str) -> Result<Option<Pair>, PkiError> {
    let read = |suffix: &str| file::read(&dir.join(format!("{name}.{suffix}")));
    let (cert, key) = (read("crt")?, read("key")?);
    let Some((cert, key)) = cert.zip(key) else { return Ok(None) };
    let unusable = |suffix: &str, what: String| PkiError::Unusable { path: dir.join(format!("{name}.{suffix}")), what };
    CertificateDer::from_pem_slice(cert.as_bytes()).map_err(|it| unusable("crt", it.to_string()))?;
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|it| unusable("key", it.to_string()))?;
    Ok(Some(Pair { cert, key }))
}

fn write_pair(dir: &Path, name: &str, pair: Pair) -> Result<Pair, PkiError> {
    // The key goes first: a certificate without its key is made again at the next start.
    write_secret(&dir.join(format!("{name}.key")), &pair.key)?;
    write_secret(&dir.join(format!("{name}.crt")), &pair.cert)?;
    Ok(pair)
}

/// Bytes as PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|it| std::str::from_utf8(it).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str]) -> ServerNames {
        ServerNames { dns: dns.iter().map(|it| it.to_string()).collect(), ..ServerNames::default() }
    }

    #[test]
    fn keeps_the_authority_and_reissues_the_leaf_when_names_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki");
        let first = Pki::open(&path, &names(&["one"])).unwrap();
        let again = Pki::open(&path, &names(&["one"])).unwrap();
        assert_eq!(first.server.cert, again.server.cert);
        let other = Pki::open(&path, &names(&["two"])).unwrap();
        assert_eq!(first.ca.cert, other.ca.cert);
        assert_eq!(first.admin.cert, other.admin.cert);
        assert_ne!(first.server.cert, other.server.cert);
        other.tls().unwrap();
    }

    #[test]
    fn no_secret_is_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pki");
        let pki = Pki::open(&path, &names(&[])).unwrap();
        let kubeconfig = path.join("admin.kubeconfig");
        pki.write_kubeconfig(&kubeconfig, "https://127.0.0.1:6443").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
        assert!(fs::read_to_string(&kubeconfig).unwrap().contains("server: https://127.0.0.1:6443"));
    }

    #[test]
    fn a_kubeconfig_is_written_when_it_differs_and_an_old_one_does_where_none_can_be() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &names(&[])).unwrap();
        let (path, temporary) = (dir.path().join("kubeconfig"), dir.path().join("kubeconfig.new"));
        let inode = || fs::metadata(&path).unwrap().ino();
        pki.write_kubeconfig(&path, "https://127.0.0.1:1").unwrap();
        let first = inode();
        // A directory of that name is what no file can be written over.
        fs::create_dir(&temporary).unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:1").unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:2").unwrap();
        assert_eq!(inode(), first);
        assert!(fs::read_to_string(&path).unwrap().contains("https://127.0.0.1:1"), "the old one stays");
        fs::remove_file(&path).unwrap();
        let error = pki.write_kubeconfig(&path, "https://127.0.0.1:2").unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(error.to_string().ends_with("/kubeconfig") && !cause.is_empty(), "the cause is told once: {error}");
        fs::remove_dir(&temporary).unwrap();
        pki.write_kubeconfig(&path, "https://127.0.0.1:2").unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("https://127.0.0.1:2"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(pki.write_kubeconfig(&path, "https://127.0.0.1:2").is_err());
        assert!(!temporary.exists(), "what could not be put in place is gone");
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Pki::open(dir.path(), &names(&[])).unwrap();
        fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = Pki::open(dir.path(), &names(&[])).err().unwrap().to_string();
        assert!(error.contains("ca.key"), "{error}");
    }
}
