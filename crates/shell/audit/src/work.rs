//! Takes events one by one and does what policies want done about them. Entry point: [`Worker::follow`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use eyot_kyverno::{
    Background, Generator, Kyverno, Work,
    generate::{Made, label},
};
use eyot_policy::{Engine, Finding, Look, Operation};
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
    EVENTS_MAX, Event,
    events::Recorder,
    generate,
    plan::{Kind, Learned, Plan, PolicyKey, key_of},
    report,
    seen::Seen,
};

/// Reports whose content is remembered, so that the same one is not written again.
const REPORTS_MAX: usize = 200_000;
/// How old an event may be that was not taken before the watches ended.
const LATE_SECONDS: i64 = 2;
/// Own writes that are remembered until they come back.
const OWN_MAX: usize = 20_000;
/// Places that a policy's expressions look at; one that looks at more follows those.
const SOURCES_MAX: usize = 1_000;

pub(crate) struct Worker {
    client: Client,
    kyverno: Arc<Kyverno>,
    look: Arc<dyn Look>,
    recorder: Recorder,
    /// What each report says, by uid of its object.
    reports: HashMap<String, u64>,
    /// The rules that were in force before.
    generators: Vec<Generator>,
    /// Kinds of which something was generated.
    made: HashSet<(String, String)>,
    /// What policies in CEL make and look at.
    learned: HashMap<PolicyKey, Learned>,
    /// Whether something was learned that is not watched yet.
    is_stale: bool,
    /// Versions that rules wrote themselves, by identity: these lead to no further work.
    own: HashMap<String, String>,
    /// What triggers were like.
    seen: Seen,
    /// Rules that had their turn since the watches began, and would do the same for every trigger that was there.
    done: HashSet<usize>,
    /// Until when there was a watch, and for which rules.
    left: Option<(Timestamp, HashSet<(PolicyKey, String)>)>,
}

impl Worker {
    pub(crate) fn new(client: Client, kyverno: Arc<Kyverno>, look: Arc<dyn Look>, recorder: Recorder) -> Worker {
        Worker {
            client,
            kyverno,
            look,
            recorder,
            reports: HashMap::new(),
            generators: Vec::new(),
            made: HashSet::new(),
            learned: HashMap::new(),
            is_stale: false,
            own: HashMap::new(),
            seen: Seen::default(),
            done: HashSet::new(),
            left: None,
        }
    }

    /// What policies in CEL turned out to make and to look at.
    pub(crate) fn learned(&self) -> &HashMap<PolicyKey, Learned> {
        &self.learned
    }

    /// Watches what the plan says, until it is dropped or there turned out to be more to watch.
    pub(crate) async fn follow(&mut self, plan: &Plan) {
        self.is_stale = false;
        self.done.clear();
        self.seen.clear();
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
                if self.is_stale {
                    return;
                }
            }
        };
        futures::future::select(std::pin::pin!(watches), std::pin::pin!(work)).await;
    }

    /// Notes that nobody watches from now on.
    pub(crate) fn leave(&mut self) {
        let rules = self.generators.iter().map(|it| (key_of(it), it.rule.clone())).collect();
        self.left = Some((Timestamp::now(), rules));
    }

    /// Takes away what rules made that are no more, unless it is to stay.
    async fn retire(&mut self, plan: &Plan) {
        let is_gone =
            |it: &&Generator| !plan.generators.iter().any(|new| key_of(new) == key_of(it) && new.rule == it.rule);
        let gone: Vec<Generator> = self.generators.iter().filter(is_gone).cloned().collect();
        for generator in gone.iter().filter(|it| it.synchronize && !it.orphans) {
            self.remove(generator, None, &[]).await;
            self.learned.remove(&key_of(generator));
        }
        self.generators.clone_from(&plan.generators);
    }

    /// Takes away what a rule made for a trigger that is gone or not meant any more.
    async fn remove_all(&self, generator: &Generator, trigger: &Value) {
        let uid = trigger["metadata"]["uid"].as_str().unwrap_or_default();
        self.remove(generator, Some((label::TRIGGER_UID, uid)), &[]).await;
    }

    async fn remove(&self, generator: &Generator, more: Option<(&str, &str)>, wanted: &[Made]) {
        // What an earlier run made is of the kinds that the rule names, or of none that is known any more.
        let kinds: BTreeSet<_> = self.made.iter().chain(&generator.products).collect();
        let kinds =
            kinds.into_iter().filter_map(|(api_version, kind)| generate::resource(api_version, kind, &*self.look));
        let kinds: Vec<(ApiResource, bool)> = kinds.collect();
        if let Err(error) = generate::remove_for(&self.client, &kinds, generator, more, wanted).await {
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
            self.forget(plan, &kind, &object, is_gone).await;
        } else {
            if kind.judged {
                self.report(&object).await;
            }
            let is_own = self.is_own(&object);
            let operation = match kind.triggers.is_empty() {
                true => Operation::Create,
                false => self.seen.note(&object, is_new),
            };
            for at in &kind.triggers {
                let generator = &plan.generators[*at];
                let is_due = is_new || generator.existing || self.is_younger(&object, generator);
                let again = !is_new && self.done.contains(at);
                if is_due
                    && !again
                    && !(is_own && generator.changes)
                    && self.work(generator, &object, operation).await
                    && generator.same_for_all
                {
                    self.done.insert(*at);
                }
            }
        }
        if is_new {
            for at in &kind.sources {
                if self.reads(&plan.generators[*at], &object) {
                    self.work_for_all(plan, *at).await;
                }
            }
        }
        for at in &kind.products {
            self.restore(&plan.generators[*at], &object, is_new).await;
        }
    }

    /// Whether a rule wrote an object as it is.
    fn is_own(&mut self, object: &Value) -> bool {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let is_own = self.own.get(text("uid")).is_some_and(|it| it == text("resourceVersion"));
        if is_own {
            self.own.remove(text("uid"));
        }
        is_own
    }

    /// Whether what a rule makes depends on an object of the kind of its sources.
    fn reads(&self, generator: &Generator, object: &Value) -> bool {
        let Some(learned) = self.learned.get(&key_of(generator)) else { return generator.plurals.is_empty() };
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        learned.sources.iter().any(|[version, kind, namespace, name]| {
            object["apiVersion"] == *version
                && object["kind"] == *kind
                && (name.is_empty() || name == text("name"))
                && (namespace.is_empty() || namespace == text("namespace"))
        })
    }

    /// Brings back what a rule made, after somebody else changed or deleted it; takes it away where its trigger went
    /// while nobody watched.
    async fn restore(&mut self, generator: &Generator, object: &Value, is_new: bool) {
        let label = |name: &str| object["metadata"]["labels"][name].as_str().unwrap_or_default();
        let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
        let of_rule = [(label::POLICY, name), (label::POLICY_NAMESPACE, namespace), (label::RULE, &generator.rule)];
        if of_rule.iter().any(|it| label(it.0) != it.1) {
            return;
        }
        let kind = (label(label::TRIGGER_GROUP), label(label::TRIGGER_VERSION), label(label::TRIGGER_KIND));
        let (within, uid) = (label(label::TRIGGER_NAMESPACE), label(label::TRIGGER_UID));
        let (mut trigger, mut is_known) = (None, false);
        self.look.look(&mut |data| {
            if let Ok(all) = data.list(kind, Some(within).filter(|it| !it.is_empty())) {
                is_known = true;
                trigger = all.into_iter().find(|it| it["metadata"]["uid"] == uid);
            }
        });
        match trigger {
            // What goes with its trigger stays away.
            Some(it) if it["metadata"]["deletionTimestamp"].is_string() => {}
            Some(it) if is_new => drop(self.work(generator, &it, Operation::Create).await),
            None if is_known && !is_new && !uid.is_empty() && !generator.on_delete => {
                self.remove(generator, Some((label::TRIGGER_UID, uid)), &[]).await
            }
            _ => {}
        }
    }

    /// What goes with an object that goes.
    async fn forget(&mut self, plan: &Plan, kind: &Kind, object: &Value, is_gone: bool) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        // The report goes with its owner.
        self.reports.remove(uid);
        self.seen.forget(object);
        for at in &kind.triggers {
            let generator = &plan.generators[*at];
            if generator.synchronize && !generator.changes {
                self.remove_all(generator, object).await;
            }
            if is_gone && generator.on_delete {
                self.work(generator, object, Operation::Delete).await;
            }
        }
        // Nor does a copy outlive what it was copied from.
        for at in kind.sources.iter().filter(|_| is_gone) {
            let generator = &plan.generators[*at];
            if self.reads(generator, object) {
                self.remove(generator, Some((label::SOURCE_UID, uid)), &[]).await;
            }
        }
    }

    /// Whether an object came to be under a policy: then its turn may have been missed while nobody watched. A rule that
    /// does not synchronize and was in force before makes nothing again that somebody took away.
    fn is_younger(&self, object: &Value, generator: &Generator) -> bool {
        let created =
            |it: &Value| it["metadata"]["creationTimestamp"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
        let of_rule = (key_of(generator), generator.rule.clone());
        if let Some((left, rules)) = self.left.as_ref().filter(|_| !generator.synchronize)
            && rules.contains(&of_rule)
        {
            return created(object).is_some_and(|it| it.as_second() + LATE_SECONDS >= left.as_second());
        }
        let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
        let mut policy = None;
        self.look.look(&mut |data| {
            let (group, version, kind) = (generator.of.0, generator.of.1, generator.of.2.as_str());
            policy = data.get((group, version, kind), namespace, name).ok().flatten();
        });
        let Some(policy) = policy else { return false };
        match (created(object), created(&policy)) {
            // Times are of whole seconds. Within one versions tell, as long as the policy has that of its beginning;
            // what cannot be told came after it.
            (Some(object_at), Some(policy_at)) if object_at == policy_at => {
                let version = |it: &Value| it["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok();
                let began = version(&policy).filter(|_| policy["metadata"]["generation"] == 1);
                !matches!((version(object), began), (Some(object), Some(policy)) if object < policy)
            }
            (Some(object), Some(policy)) => object > policy,
            _ => false,
        }
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
        let reasons = &self.kyverno.settings().events;
        self.recorder.tell_all(self.kyverno.background().scanned(object, &findings, reasons));
        match write_report(&self.client, &uid, namespace, report.as_ref()).await {
            Ok(()) if self.reports.len() < REPORTS_MAX => drop(self.reports.insert(uid, hash)),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, namespace, uid, "writing a policy report"),
        }
    }

    /// What a rule wants for a trigger to which something is done.
    fn wanted(&self, background: &Background, generator: &Generator, trigger: &Value, done: Operation) -> Option<Work> {
        let mut work = None;
        self.look.look(&mut |data| {
            let namespace = namespace_of(trigger, data).unwrap_or_default();
            work = background.work(generator, (trigger, done), &namespace, Timestamp::now(), data);
        });
        work
    }

    /// Does what a rule wants for a trigger to which something is done; returns whether it is about that at all.
    async fn work(&mut self, generator: &Generator, trigger: &Value, done: Operation) -> bool {
        let background = self.kyverno.background();
        let (is_gone, is_cel) = (done == Operation::Delete, !generator.plurals.is_empty());
        let mut work = self.wanted(&background, generator, trigger, done);
        if work.is_none() && done == Operation::Update && !is_cel {
            // What follows from that an object is there holds on.
            work = self.wanted(&background, generator, trigger, Operation::Create);
        }
        let (policy, rule) = (&generator.policy, &generator.rule);
        let Some(work) = work else {
            let may_remove = generator.synchronize && !generator.changes && !is_gone;
            // A rule that is about changes only says nothing of what is just there.
            let waits = || self.wanted(&background, generator, trigger, Operation::Update).is_some();
            if may_remove && (is_cel || !waits()) {
                self.remove_all(generator, trigger).await;
            }
            return false;
        };
        if let Some(error) = &work.error {
            tracing::warn!(error, policy, rule, "a policy cannot do its work in the background");
            self.recorder.tell(background.failed(generator, trigger, error));
        }
        for made in &work.made {
            let text = |field: &str| made.object[field].as_str().unwrap_or_default().to_owned();
            self.made.insert((text("apiVersion"), text("kind")));
            let settled = match generate::confine(generator, &*self.look, &made.object) {
                Ok(()) => generate::settle(&self.client, &*self.look, made, !is_cel).await,
                Err(why) => Err(why),
            };
            match settled {
                Ok(true) => self.recorder.tell_all(background.worked(generator, &made.object)),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error, policy, rule, "generating an object");
                    self.recorder.tell(background.failed(generator, trigger, &error));
                }
            }
        }
        for object in &work.changed {
            let written = match generate::confine(generator, &*self.look, object) {
                Ok(()) => generate::write_back(&self.client, &*self.look, object).await,
                Err(why) => Err(why),
            };
            match written {
                Ok((uid, version)) => {
                    self.recorder.tell_all(background.worked(generator, object));
                    if self.own.len() < OWN_MAX {
                        self.own.insert(uid, version);
                    }
                }
                Err(error) => {
                    tracing::warn!(error, policy, rule, "changing an object");
                    self.recorder.tell(background.failed(generator, object, &error));
                }
            }
        }
        if is_cel && generator.synchronize && work.error.is_none() {
            self.learn(generator, &work.made, work.read);
            // What it made under other names before is not wanted any more.
            if let Some(uid) = trigger["metadata"]["uid"].as_str() {
                self.remove(generator, Some((label::TRIGGER_UID, uid)), &work.made).await;
            }
        }
        true
    }

    /// Takes note of what a policy in CEL makes and looks at, to have that watched as well.
    fn learn(&mut self, generator: &Generator, made: &[Made], read: Vec<[String; 4]>) {
        let learned = self.learned.entry(key_of(generator)).or_default();
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        for made in made {
            let kind = (text(&made.object["apiVersion"]), text(&made.object["kind"]));
            self.is_stale |= learned.products.insert(kind.clone()) && !generator.products.contains(&kind);
        }
        for place in read {
            if learned.sources.len() < SOURCES_MAX {
                let kind = (place[0].clone(), place[1].clone());
                self.is_stale |= learned.sources.insert(place) && !generator.sources.contains(&kind);
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
                    self.work(generator, &object, Operation::Create).await;
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
