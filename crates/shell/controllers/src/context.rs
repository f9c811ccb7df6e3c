//! What all controllers share: the client, the caches and the queues, and which change wakes which controller.

use std::{sync::Arc, time::Duration};

use eyot_plan::selector::Selector;

use crate::{
    Config,
    api::{self, Api},
    autoscale::{Histories, alarm::Alarms},
    events::Recorder,
    expect::Expectations,
    gc::Collector,
    lifecycle::Taints,
    queue::Queue,
    scheduler::Scheduler,
    selected::{Kind, Selected},
    store::{Change, Store},
    view::{
        Key, LabelSelector, Meta, View,
        apps::{DaemonSetView, ReplicationControllerView, RevisionView, StatefulSetView},
        autoscale::AutoscalerView,
        cluster::{MapView, MetaView, NamespaceView, NodeView},
        cronjob::CronJobView,
        job::JobView,
        network::{EndpointsView, ServiceView, SliceView},
        pod::PodView,
        policy::BudgetView,
        storage::{ClaimView, VolumeView},
        workload::{DeploymentView, ReplicaSetView},
    },
};

/// Shared by every controller.
pub(crate) struct Context {
    pub(crate) api: Api,
    pub(crate) config: Config,
    pub(crate) recorder: Recorder,
    pub(crate) stores: Stores,
    pub(crate) selected: Selected,
    pub(crate) queues: Queues,
    pub(crate) expectations: Expectations,
    pub(crate) collector: Arc<Collector>,
    pub(crate) scheduler: Scheduler,
    pub(crate) taints: Taints,
    pub(crate) histories: Histories,
    pub(crate) alarms: Alarms,
    pub(crate) serving: crate::serving::Parts,
}

/// One cache per kind.
pub(crate) struct Stores {
    pub(crate) pods: Arc<Store<PodView>>,
    pub(crate) replica_sets: Arc<Store<ReplicaSetView>>,
    pub(crate) deployments: Arc<Store<DeploymentView>>,
    pub(crate) stateful_sets: Arc<Store<StatefulSetView>>,
    pub(crate) daemon_sets: Arc<Store<DaemonSetView>>,
    pub(crate) revisions: Arc<Store<RevisionView>>,
    pub(crate) replication_controllers: Arc<Store<ReplicationControllerView>>,
    pub(crate) jobs: Arc<Store<JobView>>,
    pub(crate) cron_jobs: Arc<Store<CronJobView>>,
    pub(crate) budgets: Arc<Store<BudgetView>>,
    pub(crate) autoscalers: Arc<Store<AutoscalerView>>,
    pub(crate) services: Arc<Store<ServiceView>>,
    pub(crate) slices: Arc<Store<SliceView>>,
    /// Only those made by hand.
    pub(crate) hand_made: Arc<Store<EndpointsView>>,
    pub(crate) claims: Arc<Store<ClaimView>>,
    pub(crate) volumes: Arc<Store<VolumeView>>,
    pub(crate) nodes: Arc<Store<NodeView>>,
    pub(crate) namespaces: Arc<Store<NamespaceView>>,
    pub(crate) leases: Arc<Store<MetaView>>,
    /// Only those named `default`.
    pub(crate) service_accounts: Arc<Store<MetaView>>,
    /// Only those named `kube-root-ca.crt`.
    pub(crate) ca_maps: Arc<Store<MapView>>,
}

/// One queue per controller.
pub(crate) struct Queues {
    pub(crate) deployments: Arc<Queue<Key>>,
    pub(crate) replica_sets: Arc<Queue<Key>>,
    pub(crate) stateful_sets: Arc<Queue<Key>>,
    pub(crate) daemon_sets: Arc<Queue<Key>>,
    pub(crate) replication_controllers: Arc<Queue<Key>>,
    pub(crate) jobs: Arc<Queue<Key>>,
    pub(crate) cron_jobs: Arc<Queue<Key>>,
    pub(crate) budgets: Arc<Queue<Key>>,
    pub(crate) autoscalers: Arc<Queue<Key>>,
    /// Pods whose Job is gone, to take the finalizer off.
    pub(crate) job_orphans: Arc<Queue<Key>>,
    pub(crate) services: Arc<Queue<Key>>,
    /// Services, for their Endpoints.
    pub(crate) endpoints: Arc<Queue<Key>>,
    /// Endpoints made by hand.
    pub(crate) mirrors: Arc<Queue<Key>>,
    pub(crate) nodes: Arc<Queue<Key>>,
    /// Nodes that pods name and that do not exist.
    pub(crate) lost_nodes: Arc<Queue<Key>>,
    pub(crate) namespaces: Arc<Queue<Key>>,
    pub(crate) accounts: Arc<Queue<Key>>,
    pub(crate) claims: Arc<Queue<Key>>,
    pub(crate) volumes: Arc<Queue<Key>>,
    pub(crate) pending_pods: Arc<Queue<Key>>,
}

impl Stores {
    pub(crate) fn new() -> Self {
        Self {
            pods: Store::new(),
            replica_sets: Store::new(),
            deployments: Store::new(),
            stateful_sets: Store::new(),
            daemon_sets: Store::new(),
            revisions: Store::new(),
            replication_controllers: Store::new(),
            jobs: Store::new(),
            cron_jobs: Store::new(),
            budgets: Store::new(),
            autoscalers: Store::new(),
            services: Store::new(),
            slices: Store::new(),
            hand_made: Store::new(),
            claims: Store::new(),
            volumes: Store::new(),
            nodes: Store::new(),
            namespaces: Store::new(),
            leases: Store::new(),
            service_accounts: Store::new(),
            ca_maps: Store::new(),
        }
    }
}

impl Queues {
    pub(crate) fn new() -> Self {
        // Pauses between passes over one object: long enough to fold the events of many pods into one status write,
        // short enough that nobody waits for it.
        let (fold, slow) = (Duration::from_millis(25), Duration::from_millis(50));
        Self {
            deployments: Queue::new("deployment", fold),
            replica_sets: Queue::new("replicaset", fold),
            stateful_sets: Queue::new("statefulset", fold),
            daemon_sets: Queue::new("daemonset", fold),
            replication_controllers: Queue::new("replicationcontroller", fold),
            jobs: Queue::new("job", fold),
            cron_jobs: Queue::new("cronjob", fold),
            budgets: Queue::new("disruptionbudget", fold),
            autoscalers: Queue::new("horizontalpodautoscaler", fold),
            job_orphans: Queue::new("job-orphan", Duration::ZERO),
            services: Queue::new("endpointslice", slow),
            endpoints: Queue::new("endpoints", Duration::from_millis(500)),
            mirrors: Queue::new("endpointslicemirroring", slow),
            nodes: Queue::new("node", fold),
            lost_nodes: Queue::new("podgc", fold),
            namespaces: Queue::new("namespace", fold),
            accounts: Queue::new("serviceaccount", fold),
            claims: Queue::new("persistentvolumeclaim", fold),
            volumes: Queue::new("persistentvolume", fold),
            pending_pods: Queue::new("scheduler", Duration::ZERO),
        }
    }
}

impl Context {
    /// Connects the caches to the queues.
    pub(crate) fn listen(self: &Arc<Self>) {
        let (stores, serving) = (&self.stores, &self.serving);
        let it = Arc::downgrade(self);
        // The caches belong to the context, so they must not keep it alive.
        macro_rules! on {
            // A cache of every object of a resource, which the collector takes part in.
            ($store:ident of $resource:expr, $handle:expr) => {
                on!(stores, $store of $resource, $handle)
            };
            ($stores:ident, $store:ident of $resource:expr, $handle:expr) => {{
                let (it, resource) = (it.clone(), Arc::new($resource.clone()));
                self.collector.share(&resource);
                $stores.$store.listen(move |change| {
                    if let Some(it) = it.upgrade() {
                        it.collector.changed(&resource, change);
                        let handle: fn(&Context, &Change<_>) = $handle;
                        handle(&it, change);
                    }
                });
            }};
            ($store:ident, $handle:expr) => {{
                let it = it.clone();
                stores.$store.listen(move |change| {
                    if let Some(it) = it.upgrade() {
                        let handle: fn(&Context, &Change<_>) = $handle;
                        handle(&it, change);
                    }
                });
            }};
        }
        on!(pods of api::PODS, Context::pod_changed);
        on!(replica_sets of api::REPLICA_SETS, Context::replica_set_changed);
        on!(deployments of api::DEPLOYMENTS, |it, change| {
            it.queue(&it.queues.deployments, change);
            it.serving.deployment_changed(change);
        });
        on!(serving, services of api::KNATIVE_SERVICES, |it, change| it.serving.service_changed(change));
        on!(serving, configurations of api::KNATIVE_CONFIGURATIONS, |it, change| it.serving.configuration_changed(change));
        on!(serving, revisions of api::KNATIVE_REVISIONS, |it, change| it.serving.revision_changed(change));
        on!(serving, routes of api::KNATIVE_ROUTES, |it, change| it.serving.route_changed(change));
        on!(stateful_sets of api::STATEFUL_SETS, |it, change| it.queue(&it.queues.stateful_sets, change));
        on!(daemon_sets of api::DAEMON_SETS, |it, change| it.queue(&it.queues.daemon_sets, change));
        on!(replication_controllers of api::REPLICATION_CONTROLLERS, |it, change| it.queue(&it.queues.replication_controllers, change));
        on!(revisions of api::CONTROLLER_REVISIONS, Context::revision_changed);
        on!(jobs of api::JOBS, Context::job_changed);
        on!(budgets of api::BUDGETS, |it, change: &Change<BudgetView>| {
            it.selects_other(Kind::Budget, change, &it.stores.budgets, BudgetView::selector);
            it.queue(&it.queues.budgets, change);
        });
        on!(autoscalers of api::AUTOSCALERS, Context::autoscaler_changed);
        on!(cron_jobs of api::CRON_JOBS, |it, change| it.queue(&it.queues.cron_jobs, change));
        on!(services of api::SERVICES, |it, change| {
            it.serving.child_changed(change);
            it.selects_other(Kind::Service, change, &it.stores.services, |it| it.selects().then(|| it.selector()));
            it.queue(&it.queues.services, change);
            it.queue(&it.queues.endpoints, change);
            it.queue(&it.queues.mirrors, change);
        });
        on!(hand_made, |it, change| it.queue(&it.queues.mirrors, change));
        on!(slices of api::ENDPOINT_SLICES, Context::slice_changed);
        on!(claims of api::CLAIMS, |it, change: &Change<ClaimView>| {
            it.queue(&it.queues.claims, change);
            if let Some(claim) = change.latest().filter(|it| !it.spec.volume_name.is_empty()) {
                it.queues.volumes.add(Key::new("", &claim.spec.volume_name));
            }
        });
        on!(volumes of api::VOLUMES, Context::volume_changed);
        on!(nodes of api::NODES, |it, change| {
            it.node_changed(change);
            let changed = it.scheduler.node_changed(change);
            if changed {
                it.scheduler.retry(&it.queues.pending_pods);
            }
            if changed || change.new.is_none() {
                // Every node may take a daemon.
                it.stores.daemon_sets.all().iter().for_each(|set| it.queues.daemon_sets.add(set.meta.key()));
            }
        });
        on!(namespaces of api::NAMESPACES, |it, change| {
            it.queue(&it.queues.namespaces, change);
            it.queue(&it.queues.accounts, change);
        });
        on!(service_accounts, Context::account_changed);
        on!(ca_maps, |it, change: &Change<MapView>| {
            if let Some(map) = change.latest() {
                it.queues.accounts.add(Key::new("", &map.meta.namespace));
            }
        });
    }

    fn queue<T: View>(&self, queue: &Queue<Key>, change: &Change<T>) {
        if let Some(object) = change.latest() {
            queue.add(object.meta().key());
        }
    }

    /// Takes in that something may select other pods than before.
    fn selects_other<T: View>(
        &self,
        kind: Kind,
        change: &Change<T>,
        store: &Store<T>,
        selector: fn(&T) -> Option<Selector>,
    ) {
        if let Some(object) = change.latest() {
            let key = object.meta().key();
            self.selected.changed(kind, &key, || store.get(&key).and_then(|it| selector(&it)), &self.stores.pods);
        }
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        self.serving.pod_changed(change);
        self.settle_expectations(change);
        if self.scheduler.pod_changed(change, &self.queues.pending_pods) {
            self.scheduler.retry(&self.queues.pending_pods);
        }
        // Most pods stay with their controller, which is woken once.
        let stays = controller(&change.old).is_some() && controller(&change.old) == controller(&change.new);
        for pod in change.old.iter().filter(|_| !stays).chain(&change.new) {
            self.wake_controller(pod);
        }
        self.wake_adopters(change);
        self.selected.pod_changed(change);
        self.wake_services(change);
        self.wake_budgets(change);
        self.wake_node(change);
        self.wake_claims(change);
    }

    /// A claim that is to go may have waited for this pod.
    fn wake_claims(&self, change: &Change<PodView>) {
        let Some(pod) = change.latest().filter(|_| change.new.as_ref().is_none_or(|it| !it.unfinished())) else {
            return;
        };
        for claim in self.stores.claims.going_in(&pod.meta.namespace) {
            self.queues.claims.add(claim.meta.key());
        }
    }

    /// A volume matters to the claim it names, and a free one to every claim of its class that has none.
    fn volume_changed(&self, change: &Change<VolumeView>) {
        self.queue(&self.queues.volumes, change);
        let Some(volume) = change.latest() else { return };
        if let Some(owner) = &volume.spec.claim_ref {
            return self.queues.claims.add(Key::new(&owner.namespace, &owner.name));
        }
        for claim in self.stores.claims.all() {
            let named = claim.spec.volume_name == *volume.meta.name;
            if named || (claim.spec.volume_name.is_empty() && claim.class() == volume.spec.storage_class_name) {
                self.queues.claims.add(claim.meta.key());
            }
        }
    }

    fn wake_budgets(&self, change: &Change<PodView>) {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && crate::budget::looks_same(old, new)
        {
            return;
        }
        let budgets = self.selected.selecting(Kind::Budget, change.old.iter().chain(&change.new));
        budgets.into_iter().for_each(|it| self.queues.budgets.add(it));
    }

    fn settle_expectations(&self, change: &Change<PodView>) {
        let Some(pod) = change.latest() else { return };
        let Some(owner) = pod.meta.controller() else { return };
        self.expectations.created(&owner.uid, &pod.meta.name);
        if change.new.as_ref().is_none_or(|it| it.meta.deleting()) {
            self.expectations.deleted(&owner.uid, &pod.meta.uid);
        }
    }

    fn wake_controller(&self, pod: &PodView) {
        let Some(owner) = pod.meta.controller() else { return };
        let key = Key::new(&pod.meta.namespace, &owner.name);
        match &*owner.kind {
            "ReplicaSet" => self.queues.replica_sets.add(key),
            "StatefulSet" => self.queues.stateful_sets.add(key),
            "DaemonSet" => self.queues.daemon_sets.add(key),
            "ReplicationController" => self.queues.replication_controllers.add(key),
            "Job" => {
                if self.stores.jobs.get(&key).is_none_or(|it| it.meta.uid != owner.uid) {
                    self.queues.job_orphans.add_after(pod.meta.key(), Duration::from_millis(100));
                }
                self.queues.jobs.add(key);
            }
            _ => {}
        }
    }

    /// A pod without controller may belong to whatever selects it. That is looked for when it comes, is let go or has other labels,
    /// and not whenever it gets on.
    fn wake_adopters(&self, change: &Change<PodView>) {
        let is_free = |it: &&Arc<PodView>| it.meta.controller().is_none() && !it.meta.deleting();
        let Some(pod) = change.new.as_ref().filter(is_free) else { return };
        let (stores, queues) = (&self.stores, &self.queues);
        if pod.meta.finalizers.iter().any(|it| **it == *crate::job::TRACKING) {
            queues.job_orphans.add(pod.meta.key());
        }
        let seen = change.old.as_ref().filter(is_free);
        if seen.is_some_and(|it| it.meta.uid == pod.meta.uid && it.meta.labels == pod.meta.labels) {
            return;
        }
        wake(&stores.replica_sets, &queues.replica_sets, &pod.meta, |it| &it.spec.selector);
        wake(&stores.stateful_sets, &queues.stateful_sets, &pod.meta, |it| &it.spec.selector);
        wake(&stores.daemon_sets, &queues.daemon_sets, &pod.meta, |it| &it.spec.selector);
        wake(&stores.jobs, &queues.jobs, &pod.meta, |it| &it.spec.selector);
        wake(&stores.replication_controllers, &queues.replication_controllers, &pod.meta, |it| &it.0.spec.selector);
    }

    fn wake_services(&self, change: &Change<PodView>) {
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && crate::endpointslice::looks_same(old, new)
        {
            return;
        }
        let labels = |it: &Option<Arc<PodView>>, service: &ServiceView| {
            it.as_ref().is_some_and(|it| service.matches(&it.meta.labels))
        };
        let services = self.selected.selecting(Kind::Service, change.old.iter().chain(&change.new));
        for service in services.iter().filter_map(|it| self.stores.services.get(it)) {
            if service.selects() && (labels(&change.old, &service) || labels(&change.new, &service)) {
                self.queues.services.add(service.meta.key());
                self.queues.endpoints.add(service.meta.key());
            }
        }
    }

    fn node_changed(&self, change: &Change<NodeView>) {
        let Some(node) = change.latest() else { return };
        if change.new.is_none() {
            self.queues.lost_nodes.add_after(node.meta.key(), self.config.node_grace);
        } else if crate::lifecycle::asks(change) {
            self.queues.nodes.add(node.meta.key());
        }
    }

    /// A pod has come to a node that drives pods out, or that does not exist.
    fn wake_node(&self, change: &Change<PodView>) {
        let Some(pod) = change.new.as_ref().filter(|it| !it.node.is_empty()) else { return };
        if change.old.as_ref().is_some_and(|it| it.node == pod.node) {
            return;
        }
        let key = Key::new("", &pod.node);
        match self.stores.nodes.get(&key) {
            Some(node) if crate::lifecycle::drives_out(&node) => self.queues.nodes.add(key),
            Some(_) => {}
            None => self.queues.lost_nodes.add_after(key, self.config.node_grace),
        }
    }

    fn replica_set_changed(&self, change: &Change<ReplicaSetView>) {
        self.queue(&self.queues.replica_sets, change);
        for set in [&change.old, &change.new].into_iter().flatten() {
            self.wake_deployment(&set.meta);
        }
    }

    fn wake_deployment(&self, set: &Meta) {
        match set.controller() {
            Some(owner) if &*owner.kind == "Deployment" => {
                self.queues.deployments.add(Key::new(&set.namespace, &owner.name));
            }
            Some(_) => {}
            None => wake(&self.stores.deployments, &self.queues.deployments, set, |it| &it.spec.selector),
        }
    }

    fn revision_changed(&self, change: &Change<RevisionView>) {
        for revision in [&change.old, &change.new].into_iter().flatten() {
            let meta = &revision.meta;
            match meta.controller() {
                Some(owner) if &*owner.kind == "StatefulSet" => {
                    self.queues.stateful_sets.add(Key::new(&meta.namespace, &owner.name));
                }
                Some(owner) if &*owner.kind == "DaemonSet" => {
                    self.queues.daemon_sets.add(Key::new(&meta.namespace, &owner.name));
                }
                Some(_) => {}
                None => {
                    wake(&self.stores.stateful_sets, &self.queues.stateful_sets, meta, |it| &it.spec.selector);
                    wake(&self.stores.daemon_sets, &self.queues.daemon_sets, meta, |it| &it.spec.selector);
                }
            }
        }
    }

    fn job_changed(&self, change: &Change<JobView>) {
        self.queue(&self.queues.jobs, change);
        if let Some(job) = change.latest()
            && let Some(owner) = job.meta.controller().filter(|it| &*it.kind == "CronJob")
        {
            self.queues.cron_jobs.add(Key::new(&job.meta.namespace, &owner.name));
        }
        if let (Some(old), None) = (&change.old, &change.new) {
            for pod in self.stores.pods.controlled_by(&old.meta.uid) {
                self.queues.job_orphans.add(pod.meta.key());
            }
        }
    }

    /// Its own status asks for nothing.
    fn autoscaler_changed(&self, change: &Change<AutoscalerView>) {
        self.serving.child_changed(change);
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if old.spec == new.spec => {}
            (Some(old), None) => {
                self.histories.forget(&old.meta.uid);
                self.selected.changed(Kind::Autoscaler, &old.meta.key(), || None, &self.stores.pods);
            }
            _ => self.queue(&self.queues.autoscalers, change),
        }
    }

    fn slice_changed(&self, change: &Change<SliceView>) {
        let Some(slice) = change.latest() else { return };
        if let Some(service) = crate::endpointslice::service_of(&slice.meta) {
            self.queues.services.add(service);
        }
        if let Some(endpoints) = crate::mirror::mirrored(&slice.meta) {
            self.queues.mirrors.add(endpoints);
        }
    }

    fn account_changed(&self, change: &Change<MetaView>) {
        if let (Some(old), None) = (&change.old, &change.new) {
            self.queues.accounts.add(Key::new("", &old.meta.namespace));
        }
    }
}

/// The identity of a pod's controller.
fn controller(pod: &Option<Arc<PodView>>) -> Option<&str> {
    pod.as_ref()?.meta.controller().map(|it| &*it.uid)
}

/// Asks for a pass over whatever selects an object of its namespace that nobody controls.
fn wake<T: View>(store: &Store<T>, queue: &Queue<Key>, free: &Meta, selector: fn(&T) -> &LabelSelector) {
    for it in store.in_namespace(&free.namespace) {
        if selector(&it).compile().matches(|key| free.labels.get(key)) {
            queue.add(it.meta().key());
        }
    }
}
