//! The controllers: thin executors over [`eyot_plan`], driven through one [`kube::Client`].
//!
//! Entry point: [`run`], or [`Controllers`] where the caller wants to know when the caches are filled. Inside,
//! `context` shows which change wakes which controller; each controller is one module with a `pass` that reads its
//! object from the caches, lets the plan decide, and writes.
//!
//! One watch of pods serves all controllers. Objects are decoded into slim views; an idle pod costs no timer, no task
//! and no periodic work.
//!
//! Deliberately absent: any knowledge of where the API server lives. The client may speak to the one in this process,
//! to ours over TLS, or to a real cluster.

mod accounts;
mod api;
mod autoscale;
mod binder;
mod bounded;
mod budget;
mod claim;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
#[cfg(test)]
mod dice;
mod discovery;
mod endpoints;
mod endpointslice;
mod events;
mod expect;
mod gc;
mod history;
mod job;
mod lifecycle;
mod mirror;
mod names;
mod namespace;
mod nodes;
mod pods;
mod queue;
mod reflect;
mod replicaset;
mod scheduler;
mod selected;
mod serving;
mod slices;
mod statefulset;
mod store;
mod versioned;
mod view;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eyot_dispatch::Loads;
use eyot_meter::Meters;
use eyot_serving::object::Site;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use api::Api;
use context::{Context, Queues, Stores};
use queue::drive;
use reflect::{Source, reflect};
use store::Store;
use view::View;

/// What the controllers need to know beyond the API.
#[derive(Clone, Debug)]
pub struct Config {
    /// PEM of the cluster's CA; published as ConfigMap `kube-root-ca.crt` in each namespace when given.
    pub cluster_ca: Option<String>,
    /// Where functions are reached from outside.
    pub functions: Site,
    /// Where requests to functions are counted.
    pub loads: Arc<Loads>,
    /// Where requests to Services and routes are counted, and where decisions on them are noted.
    pub meters: Arc<Meters>,
    /// How long a node's lease may go without renewal before the node counts as unreachable.
    pub node_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let (functions, loads, meters) = (Site::default(), Arc::default(), Arc::default());
        Self { cluster_ca: None, functions, loads, meters, node_grace: Duration::from_secs(40) }
    }
}

/// All controllers, ready to run.
pub struct Controllers {
    client: Client,
    config: Config,
    synced: Arc<watch::Sender<bool>>,
}

/// Tells when the controllers' caches hold the cluster.
#[derive(Clone, Debug)]
pub struct Synced(watch::Receiver<bool>);

impl Synced {
    /// Waits until the first lists are in; returns at once afterwards. Also returns when the controllers stopped.
    pub async fn wait(mut self) {
        // An error means that the sender is gone: nothing is left to wait for.
        let _ = self.0.wait_for(|synced| *synced).await;
    }
}

impl Controllers {
    /// Prepares the controllers; nothing is read before [`Controllers::run`].
    pub fn new(client: Client, config: Config) -> Self {
        Self { client, config, synced: Arc::new(watch::Sender::new(false)) }
    }

    /// A handle that tells when the caches are filled.
    pub fn synced(&self) -> Synced {
        Synced(self.synced.subscribe())
    }

    /// Runs until `token` is cancelled. Dropping the future is safe: every controller is level-triggered, and the next
    /// run starts from what it reads.
    pub async fn run(self, token: CancellationToken) {
        let api = Api { client: self.client };
        let (recorder, writer) = events::recorder(api.clone());
        let serving =
            serving::Parts::new(self.config.functions.clone(), self.config.loads.clone(), self.config.meters.clone());
        let context = Arc::new(Context {
            collector: gc::Collector::new(api.clone()),
            api,
            config: self.config,
            recorder,
            stores: Stores::new(),
            selected: selected::Selected::default(),
            queues: Queues::new(),
            expectations: expect::Expectations::default(),
            scheduler: scheduler::Scheduler::default(),
            taints: lifecycle::Taints::default(),
            histories: autoscale::Histories::default(),
            alarms: autoscale::alarm::Alarms::default(),
            serving,
        });
        context.listen();
        let mut tasks = JoinSet::new();
        tasks.spawn(events::until(token.clone(), writer));
        start_watches(&context, &mut tasks, &token, self.synced.clone());
        let synced = Synced(self.synced.subscribe());
        // Nothing is decided on half a picture.
        tokio::select! {
            () = token.cancelled() => {}
            () = synced.wait() => start_controllers(&context, &mut tasks, &token),
        }
        token.cancelled().await;
        tasks.shutdown().await;
    }
}

/// Runs every controller until `token` is cancelled.
pub async fn run(client: Client, config: Config, token: CancellationToken) {
    Controllers::new(client, config).run(token).await;
}

fn start_watches(
    context: &Arc<Context>,
    tasks: &mut JoinSet<()>,
    token: &CancellationToken,
    synced: Arc<watch::Sender<bool>>,
) {
    let stores = &context.stores;
    let mut watches = Watches { context, tasks, token, synced, left: Arc::new(AtomicUsize::new(21)) };
    watches.start(Source::all(&api::PODS), &stores.pods);
    watches.start(Source::all(&api::REPLICA_SETS), &stores.replica_sets);
    watches.start(Source::all(&api::DEPLOYMENTS), &stores.deployments);
    watches.start(Source::all(&api::STATEFUL_SETS), &stores.stateful_sets);
    watches.start(Source::all(&api::DAEMON_SETS), &stores.daemon_sets);
    watches.start(Source::all(&api::CONTROLLER_REVISIONS), &stores.revisions);
    watches.start(Source::all(&api::REPLICATION_CONTROLLERS), &stores.replication_controllers);
    watches.start(Source::all(&api::JOBS), &stores.jobs);
    watches.start(Source::all(&api::CRON_JOBS), &stores.cron_jobs);
    watches.start(Source::all(&api::BUDGETS), &stores.budgets);
    watches.start(Source::all(&api::AUTOSCALERS), &stores.autoscalers);
    watches.start(Source::all(&api::SERVICES), &stores.services);
    watches.start(Source::all(&api::ENDPOINT_SLICES), &stores.slices);
    watches.start(
        Source {
            labels: "endpoints.kubernetes.io%2Fmanaged-by%21%3Dendpoint-controller",
            ..Source::all(&api::ENDPOINTS)
        },
        &stores.hand_made,
    );
    watches.start(Source::all(&api::CLAIMS), &stores.claims);
    watches.start(Source::all(&api::VOLUMES), &stores.volumes);
    watches.start(Source::all(&api::NODES), &stores.nodes);
    watches.start(Source::all(&api::NAMESPACES), &stores.namespaces);
    watches.start(Source { namespace: "kube-node-lease", ..Source::all(&api::LEASES) }, &stores.leases);
    watches.start(
        Source { fields: "metadata.name%3Ddefault", ..Source::all(&api::SERVICE_ACCOUNTS) },
        &stores.service_accounts,
    );
    watches.start(
        Source { fields: "metadata.name%3Dkube-root-ca.crt", ..Source::all(&api::CONFIG_MAPS) },
        &stores.ca_maps,
    );
}

struct Watches<'a> {
    context: &'a Arc<Context>,
    tasks: &'a mut JoinSet<()>,
    token: &'a CancellationToken,
    synced: Arc<watch::Sender<bool>>,
    /// Watches whose first list is not in yet.
    left: Arc<AtomicUsize>,
}

impl Watches<'_> {
    fn start<T: View>(&mut self, source: Source, store: &Arc<Store<T>>) {
        let (api, store, token) = (self.context.api.clone(), store.clone(), self.token.clone());
        let (left, synced) = (self.left.clone(), self.synced.clone());
        let done = move || {
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                synced.send_replace(true);
            }
        };
        self.tasks.spawn(reflect(api, source, store, done, token));
    }
}

fn start_controllers(context: &Arc<Context>, tasks: &mut JoinSet<()>, token: &CancellationToken) {
    let queues = &context.queues;
    macro_rules! control {
        ($queue:expr, $workers:expr, $pass:path) => {{
            let context = context.clone();
            tasks.spawn(drive($queue.clone(), $workers, token.clone(), move |key| $pass(context.clone(), key)));
        }};
    }
    // Few workers suffice: one pass already has many requests under way. The scheduler makes one request per pass.
    control!(queues.deployments, 8, deployment::pass);
    control!(queues.replica_sets, 8, replicaset::pass);
    control!(queues.stateful_sets, 8, statefulset::pass);
    control!(queues.daemon_sets, 4, daemonset::pass);
    control!(queues.replication_controllers, 4, replicaset::controller_pass);
    control!(queues.jobs, 8, job::pass);
    control!(queues.cron_jobs, 4, cronjob::pass);
    control!(queues.budgets, 4, budget::pass);
    control!(queues.autoscalers, 4, autoscale::pass);
    control!(queues.job_orphans, 8, job::orphan_pass);
    control!(queues.services, 8, endpointslice::pass);
    control!(queues.endpoints, 4, endpoints::pass);
    control!(queues.mirrors, 4, mirror::pass);
    control!(queues.nodes, 4, lifecycle::pass);
    control!(queues.lost_nodes, 4, lifecycle::orphan_pass);
    control!(queues.namespaces, 4, namespace::pass);
    control!(queues.accounts, 4, accounts::pass);
    control!(queues.claims, 4, binder::claim_pass);
    control!(queues.volumes, 4, binder::volume_pass);
    control!(queues.pending_pods, 64, scheduler::pass);
    control!(context.collector.queue, gc::WORKERS, gc::pass);
    tasks.spawn(autoscale::alarm::follow(context.clone()));
    tasks.spawn(serving::run(context.clone(), token.clone()));
    tasks.spawn(gc::run(context.clone(), token.clone()));
    tasks.spawn(nodes::watch_over(context.clone(), token.clone()));
}
