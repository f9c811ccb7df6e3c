//! OpenFaaS' REST API over functions that are Knative Services: deploying, listing, scaling, logs, secrets, namespaces, and
//! calls that are answered later.
//!
//! Start at [`OpenFaas::new`]. [`OpenFaas::front`] stands before the functions on a listener of the gateway, which carries
//! `/function/NAME` itself; [`OpenFaas::run`] works off what was asked for asynchronously. What is asked for under `/system`
//! needs the password that Secret `openfaas/basic-auth` holds, as OpenFaaS' own installation has it; it is made at the first
//! start.
//!
//! What a deployment means is decided by [`eyot_serving::openfaas`]; here are only the calls of the Kubernetes API. Nothing is
//! cached: every answer is what the API says.
//!
//! Deliberately absent: a user interface, alerts and profiles.

mod answer;
mod api;
mod auth;
mod front;
mod functions;
mod info;
mod logs;
mod metrics;
mod namespaces;
mod queue;
mod secrets;

use std::{fmt, path::PathBuf, sync::Arc};

use eyot_dispatch::{Front, Loads, Outbound};
use eyot_serving::openfaas::USUAL_NAMESPACE;
use kube::Client;
use tokio_util::sync::CancellationToken;

use answer::Failure;
use api::Api;
use metrics::Metrics;
use queue::Queue;

/// Where the password is kept.
const HOME: &str = "openfaas";

/// What it is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where calls that are to be answered later are kept.
    pub data_dir: PathBuf,
    /// Namespace of functions that name none.
    pub namespace: String,
    /// Domain under which functions have names: `NAME.NAMESPACE.DOMAIN`.
    pub function_domain: String,
    /// Version that is told.
    pub version: &'static str,
}

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenFaasError {
    /// The password could not be made or read.
    #[error("preparing Secret openfaas/basic-auth: {0}")]
    Password(String),
    /// What is kept of calls could not be read.
    #[error("reading the calls that wait")]
    Queue(#[source] eyot_bucket::BucketError),
}

/// The API. Clones are the same.
#[derive(Clone)]
pub struct OpenFaas(Arc<Inner>);

struct Inner {
    config: Config,
    api: Api,
    loads: Arc<Loads>,
    metrics: Metrics,
    queue: Queue,
}

impl OpenFaas {
    /// Prepares the password and takes up the calls that still wait. Functions are called through `outbound`; `loads` knows
    /// how often each was.
    ///
    /// # Errors
    ///
    /// When the password or the calls cannot be read.
    pub async fn new(
        config: Config,
        client: Client,
        outbound: Arc<dyn Outbound>,
        loads: Arc<Loads>,
    ) -> Result<Self, OpenFaasError> {
        let api = Api::new(client);
        auth::prepare(&api).await.map_err(|failure| OpenFaasError::Password(failure.text))?;
        let queue = Queue::open(&config.data_dir, outbound).await.map_err(OpenFaasError::Queue)?;
        Ok(Self(Arc::new(Inner { config, api, loads, metrics: Metrics::default(), queue })))
    }

    /// What stands before the functions.
    pub fn front(&self) -> Arc<dyn Front> {
        Arc::new(front::Door::new(self.0.clone()))
    }

    /// Works off calls that are answered later, until `stop`. Those that are under way then are made again at the next start.
    pub async fn run(&self, stop: CancellationToken) {
        queue::work(&self.0, stop).await;
    }
}

impl Inner {
    /// The namespace that a request speaks of.
    ///
    /// # Errors
    ///
    /// When it is one of the platform's own.
    fn namespace(&self, named: Option<&str>) -> Result<String, Failure> {
        // Clients name OpenFaaS' usual namespace where their users name none.
        let named = named.filter(|it| !it.is_empty() && *it != USUAL_NAMESPACE);
        let namespace = named.unwrap_or(&self.config.namespace);
        if matches!(namespace, "kube-system" | "kube-public" | "kube-node-lease" | "eyot-system" | HOME) {
            return Err(Failure::new(401, format!("namespace {namespace} is not for functions")));
        }
        match eyot_serving::openfaas::is_namespace(namespace) {
            true => Ok(namespace.to_owned()),
            false => Err(Failure::new(400, format!("{namespace:?} is no namespace's name"))),
        }
    }

    /// The same, where something is to be changed: the default one, or one that is marked for functions.
    async fn own_namespace(&self, named: Option<&str>) -> Result<String, Failure> {
        let namespace = self.namespace(named)?;
        if namespace == self.config.namespace || namespaces::is_marked(&self.api, &namespace).await? {
            return Ok(namespace);
        }
        Err(Failure::new(400, format!("namespace {namespace} has no annotation openfaas=\"1\" that lets functions in")))
    }
}

impl fmt::Debug for OpenFaas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFaas").field("config", &self.0.config).finish_non_exhaustive()
    }
}
