//! Takes events one by one and does what policies want done about them. Entry point: [`Worker::follow`].

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use eyot_kyverno::{Generator, Kyverno, Work, generate::label};
use eyot_policy::{Engine, Finding, Look};
use futures::{StreamExt, stream::SelectAll};
use jiff::Timestamp;
use kube::{
    Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    EVENTS_MAX, Event, generate,
    plan::{Kind, Plan},
    report,
};

/// Reports whose content is remembered, so that the same one is not written again.
const REPORTS_MAX: usize = 200_000;

pub(crate) struct Worker {
    client: Client,
    kyverno: Arc<Kyverno>,
    look: Arc<dyn Look>,
    /// What each report says, by uid of its object.
    reports: HashMap<String, u64>,
    /// The rules that were in force before.
    generators: Vec<Generator>,
    /// Kinds of which something was generated.
    made: HashSet<(String, String)>,
}

impl Worker {
    pub(crate) fn new(client: Client, kyverno: Arc<Kyverno>, look: Arc<dyn Look>) -> Worker {
        let (reports, generators, made) = (HashMap::new(), Vec::new(), HashSet::new());
        Worker { client, kyverno, look, reports, generators, made }
    }

    /// Watches what the plan says, until it is dropped.
    pub(crate) async fn follow(&mut self, plan: &Plan) {
        self.retire(plan).await;
        if plan.kinds.is_empty() {
            return std::future::pending().await;
        }
        let (events, mut inbox) = mpsc::channel(EVENTS_MAX);
        let streams: SelectAll<_> = plan.kinds.iter().map(|it| watch(self.client.clone(), it.clone())).collect();
        let watches = streams.for_each(|event| {
            let events = events.clone();
            async move { drop(events.send(event).await) }
        });
        let work = async {
            while let Some(event) = inbox.recv().await {
                self.take(plan, event).await;
            }
        };
        futures::future::select(std::pin::pin!(watches), std::pin::pin!(work)).await;
    }

    /// Takes away what rules made that are no more, unless it is to stay.
    async fn retire(&mut self, plan: &Plan) {
        let is_gone =
            |it: &&Generator| !plan.generators.iter().any(|new| new.policy == it.policy && new.rule == it.rule);
        let gone: Vec<Generator> = self.generators.iter().filter(is_gone).cloned().collect();
        for generator in gone.iter().filter(|it| it.synchronize && !it.orphans) {
            self.remove(generator, None).await;
        }
        self.generators.clone_from(&plan.generators);
    }

    async fn remove(&self, generator: &Generator, trigger: Option<&str>) {
        let kinds =
            self.made.iter().filter_map(|(api_version, kind)| generate::resource(api_version, kind, &*self.look));
        let kinds: Vec<(ApiResource, bool)> = kinds.collect();
        if let Err(error) = generate::remove_for(&self.client, &kinds, generator, trigger).await {
            tracing::warn!(error, policy = generator.policy, rule = generator.rule, "removing what was generated");
        }
    }

    async fn take(&mut self, plan: &Plan, event: Event) {
        let (kind, object, is_new, is_gone) = match event {
            Event::Found(kind, object) => (kind, object, false, false),
            Event::Changed(kind, object) => (kind, object, true, false),
            Event::Gone(kind, object) => (kind, object, true, true),
        };
        let Ok(mut object) = serde_json::to_value(&*object) else { return };
        // Lists leave out what all their elements have in common.
        object["apiVersion"] = kind.resource.api_version.clone().into();
        object["kind"] = kind.resource.kind.clone().into();
        let deleting = is_gone || object["metadata"]["deletionTimestamp"].is_string();
        if deleting {
            self.forget(plan, &kind, &object).await;
        } else {
            if kind.judged {
                self.report(&object).await;
            }
            for at in &kind.triggers {
                let generator = &plan.generators[*at];
                if is_new || generator.existing || self.is_younger(&object, generator) {
                    self.work(generator, &object).await;
                }
            }
        }
        if is_new {
            for at in &kind.sources {
                self.work_for_all(plan, *at).await;
            }
            for at in &kind.products {
                self.restore(&plan.generators[*at], &object).await;
            }
        }
    }

    /// Brings back what a rule made, after somebody else changed or deleted it.
    async fn restore(&mut self, generator: &Generator, object: &Value) {
        let label = |name: &str| object["metadata"]["labels"][name].as_str().unwrap_or_default();
        let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
        let of_rule = [(label::POLICY, name), (label::POLICY_NAMESPACE, namespace), (label::RULE, &generator.rule)];
        if of_rule.iter().any(|it| label(it.0) != it.1) {
            return;
        }
        let kind = (label(label::TRIGGER_GROUP), label(label::TRIGGER_VERSION), label(label::TRIGGER_KIND));
        let (within, uid) = (label(label::TRIGGER_NAMESPACE), label(label::TRIGGER_UID));
        let mut trigger = None;
        self.look.look(&mut |data| {
            let all = data.list(kind, Some(within).filter(|it| !it.is_empty())).unwrap_or_default();
            trigger = all.into_iter().find(|it| it["metadata"]["uid"] == uid);
        });
        // What goes with its trigger stays away.
        if let Some(trigger) = trigger.filter(|it| !it["metadata"]["deletionTimestamp"].is_string()) {
            self.work(generator, &trigger).await;
        }
    }

    /// What goes with an object that goes.
    async fn forget(&mut self, plan: &Plan, kind: &Kind, object: &Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        // The report goes with its owner.
        self.reports.remove(uid);
        for at in &kind.triggers {
            let generator = &plan.generators[*at];
            if generator.synchronize && !generator.changes {
                self.remove(generator, Some(uid)).await;
            }
        }
    }

    /// Whether an object came to be under a policy: then its turn may have been missed while nobody watched.
    fn is_younger(&self, object: &Value, generator: &Generator) -> bool {
        let created =
            |it: &Value| it["metadata"]["creationTimestamp"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
        let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
        let kind = if namespace.is_empty() { "ClusterPolicy" } else { "Policy" };
        let mut policy = None;
        self.look.look(&mut |data| {
            let found = data.get(("kyverno.io", "v1", kind), namespace, name).ok().flatten();
            policy = found.and_then(|it| created(&it));
        });
        matches!((created(object), policy), (Some(object), Some(policy)) if object > policy)
    }

    /// Judges an object and writes its report, if that says something new.
    async fn report(&mut self, object: &Value) {
        let now = Timestamp::now();
        let mut findings: Vec<Finding> = Vec::new();
        self.look.look(&mut |data| {
            let namespace = namespace_of(object, data);
            findings = self.kyverno.audit(object, namespace.as_ref(), now, data);
        });
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let report = report::report(object, &findings, now);
        let mut hasher = DefaultHasher::new();
        report.as_ref().map(report::essence).unwrap_or_default().to_string().hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.reports.get(&uid);
        if known == Some(&hash) || (known.is_none() && report.is_none()) {
            return;
        }
        match write_report(&self.client, &uid, namespace, report.as_ref()).await {
            Ok(()) if self.reports.len() < REPORTS_MAX => drop(self.reports.insert(uid, hash)),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, namespace, uid, "writing a policy report"),
        }
    }

    /// Does what a rule wants for a trigger.
    async fn work(&mut self, generator: &Generator, trigger: &Value) {
        let background = self.kyverno.background();
        let mut work: Option<Work> = None;
        self.look.look(&mut |data| {
            let namespace = namespace_of(trigger, data).unwrap_or_default();
            work = background.work(generator, trigger, &namespace, Timestamp::now(), data);
        });
        let (policy, rule) = (&generator.policy, &generator.rule);
        let Some(work) = work else {
            if generator.synchronize && !generator.changes {
                let uid = trigger["metadata"]["uid"].as_str().unwrap_or_default();
                self.remove(generator, Some(uid)).await;
            }
            return;
        };
        if let Some(error) = work.error {
            tracing::warn!(error, policy, rule, "a policy cannot do its work in the background");
        }
        for made in &work.made {
            let text = |field: &str| made.object[field].as_str().unwrap_or_default().to_owned();
            self.made.insert((text("apiVersion"), text("kind")));
            if let Err(error) = generate::settle(&self.client, &*self.look, made).await {
                tracing::warn!(error, policy, rule, "generating an object");
            }
        }
        for object in &work.changed {
            if let Err(error) = generate::write_back(&self.client, &*self.look, object).await {
                tracing::warn!(error, policy, rule, "changing an object");
            }
        }
    }

    /// A source changed: every trigger of the rule is looked at again.
    async fn work_for_all(&mut self, plan: &Plan, at: usize) {
        let kinds: Vec<Arc<Kind>> = plan.kinds.iter().filter(|it| it.triggers.contains(&at)).cloned().collect();
        for kind in kinds {
            let api = generate::api(&self.client, &kind.resource, "");
            let all = match api.list(&ListParams::default()).await {
                Ok(all) => all,
                Err(error) => {
                    tracing::warn!(%error, kind = kind.resource.kind, "listing triggers");
                    continue;
                }
            };
            for object in all {
                let Ok(mut object) = serde_json::to_value(&object) else { continue };
                object["apiVersion"] = kind.resource.api_version.clone().into();
                object["kind"] = kind.resource.kind.clone().into();
                let generator = &plan.generators[at];
                if generator.existing || self.is_younger(&object, generator) {
                    self.work(generator, &object).await;
                }
            }
        }
    }
}

/// The Namespace that an object lies in.
pub(crate) fn namespace_of(object: &Value, data: &dyn eyot_policy::Data) -> Option<Value> {
    let name = object["metadata"]["namespace"].as_str().filter(|it| !it.is_empty())?;
    data.get(("", "v1", "Namespace"), "", name).ok().flatten().map(|it| Value::clone(&it))
}

/// Writes a report in the place of the one before it, or removes that.
async fn write_report(client: &Client, uid: &str, namespace: &str, report: Option<&Value>) -> Result<(), kube::Error> {
    let (kind, plural) = match namespace {
        "" => ("ClusterPolicyReport", "clusterpolicyreports"),
        _ => ("PolicyReport", "policyreports"),
    };
    let named = GroupVersionKind::gvk("wgpolicyk8s.io", "v1alpha2", kind);
    let api = generate::api(client, &ApiResource::from_gvk_with_plural(&named, plural), namespace);
    let Some(report) = report else {
        return match api.delete(uid, &DeleteParams::default()).await {
            Err(kube::Error::Api(it)) if it.code == 404 => Ok(()),
            other => other.map(drop),
        };
    };
    let mut object: DynamicObject = serde_json::from_value(report.clone()).map_err(kube::Error::SerdeError)?;
    match api.get_opt(uid).await? {
        Some(existing) => {
            object.metadata.resource_version = existing.metadata.resource_version;
            api.replace(uid, &PostParams::default(), &object).await.map(drop)
        }
        None => api.create(&PostParams::default(), &object).await.map(drop),
    }
}

/// Everything that happens to the objects of a kind.
fn watch(client: Client, kind: Arc<Kind>) -> futures::stream::BoxStream<'static, Event> {
    let api = generate::api(&client, &kind.resource, "");
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    let events = events.filter_map(move |event| {
        let kind = kind.clone();
        std::future::ready(match event {
            Ok(watcher::Event::InitApply(it)) => Some(Event::Found(kind, Box::new(it))),
            Ok(watcher::Event::Apply(it)) => Some(Event::Changed(kind, Box::new(it))),
            Ok(watcher::Event::Delete(it)) => Some(Event::Gone(kind, Box::new(it))),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, kind = kind.resource.kind, "watching for policies");
                None
            }
        })
    });
    events.boxed()
}
