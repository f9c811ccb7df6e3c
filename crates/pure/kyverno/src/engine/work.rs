//! What the policies of `policies.kyverno.io` do in the background: make objects, change those that are there, delete.
//!
//! Entry points: [`generators`], [`work`], [`deletes`].

use std::{rc::Rc, sync::Arc};

use eyot_model::{kinds::split_api_version, meta};
use eyot_policy::{Data, Operation, Review};
use eyot_rules::{Budget, Environment, to_json};
use eyot_vap::{Matching, Request, Shown, Version, conditions, mutated};
use jiff::Timestamp;
use serde_json::Value;

use super::{Generator, Snapshot, Work, cel::with_review, lookup::Held, snapshot};
use crate::{
    celpolicy::{CelDeleter, CelGenerator, CelPolicy, Existing, GROUP, Making},
    generate::Made,
    jmespath::Env,
    library::{Host, Notes},
    mutate,
};

/// Objects that one trigger may have changed.
const TARGETS_MAX: usize = 10_000;

/// All policies in CEL that make or change something for a trigger.
pub(super) fn generators(snapshot: &Snapshot) -> Vec<Generator> {
    let made = snapshot.generating.values().filter(|it| it.admission || it.existing).map(|it| Generator {
        of: (GROUP, "v1", it.kind.clone()),
        policy: it.key(),
        rule: String::new(),
        kinds: Vec::new(),
        plurals: it.policy.matching.plurals().map(str::to_owned).collect(),
        existing: it.existing,
        synchronize: it.synchronize,
        orphans: it.orphans,
        sources: Vec::new(),
        products: Vec::new(),
        changes: false,
        on_delete: it.on_delete,
        same_for_all: false,
    });
    let changed = snapshot.cel.values().filter(|it| it.existing.is_some()).map(|it| Generator {
        of: (GROUP, "v1", it.kind.clone()),
        policy: it.key(),
        rule: String::new(),
        kinds: Vec::new(),
        plurals: it.forms.first().into_iter().flat_map(|it| it.matching.plurals()).map(str::to_owned).collect(),
        existing: true,
        synchronize: false,
        orphans: true,
        sources: Vec::new(),
        products: Vec::new(),
        changes: true,
        on_delete: it.on_delete,
        same_for_all: it.existing.as_ref().is_some_and(|it| it.listing.is_none()),
    });
    made.chain(changed).collect()
}

/// Where and when background work is done.
struct Place<'p> {
    snapshot: &'p Arc<Snapshot>,
    namespace: &'p Value,
    now: Timestamp,
    data: &'p dyn Data,
}

impl Place<'_> {
    fn host(&self, namespace: &str) -> Result<Rc<Host>, String> {
        let kept = self.data.kept().ok_or("the server is shutting down")?;
        let source = Box::new(Held { data: kept, snapshot: self.snapshot.clone() });
        Ok(Rc::new(Host::of_maker(source, Env::new(self.now, self.now.as_nanosecond() as u64), namespace)))
    }

    /// Runs something on a trigger as that was done to it which a policy is about; `None` where it is about neither.
    fn met<T>(
        &self,
        (trigger, is_gone): (&Value, bool),
        matching: &Matching,
        run: impl FnOnce(&Review<'_>, &Version) -> T,
    ) -> Option<T> {
        let operations: &[Operation] =
            if is_gone { &[Operation::Delete] } else { &[Operation::Create, Operation::Update] };
        let kinds = self.data.kinds();
        let mut run = Some(run);
        operations.iter().find_map(|operation| {
            let judge = |review: &Review<'_>| {
                let version = matching.version(review, &kinds)?;
                run.take().map(|run| run(review, &version))
            };
            with_review((trigger, *operation), Some(self.namespace), self.now, self.data, judge).flatten()
        })
    }
}

/// What one policy makes of a trigger; nothing where it is not about it.
pub(super) fn work(
    snapshot: &Arc<Snapshot>,
    generator: &Generator,
    trigger: (&Value, bool),
    namespace: &Value,
    now: Timestamp,
    data: &dyn Data,
) -> Option<Work> {
    let own = meta::namespace(trigger.0).unwrap_or_default();
    if snapshot::is_left_alone_kind(trigger.0["kind"].as_str().unwrap_or_default(), own) {
        return None;
    }
    let place = Place { snapshot, namespace, now, data };
    let is_meant = |kind: &str, key: &str| kind == generator.of.2 && key == generator.policy;
    let mut work = Work {
        policy: generator.policy.clone(),
        rule: String::new(),
        made: Vec::new(),
        changed: Vec::new(),
        read: Vec::new(),
        error: None,
    };
    let result = if generator.changes {
        let policy = snapshot.cel.values().find(|it| is_meant(&it.kind, &it.key()))?;
        changed(policy, trigger, &place).map(|it| it.map(|it| work.changed = it))
    } else {
        let policy = snapshot.generating.values().find(|it| is_meant(&it.kind, &it.key()))?;
        let notes = made(policy, trigger, &place);
        notes.map(|it| it.map(|(all, read)| (work.made, work.read) = (all, read)))
    };
    match result {
        Ok(None) => None,
        Ok(Some(())) => Some(work),
        Err(why) => Some(Work { error: Some(why), ..work }),
    }
}

type Products = (Vec<Made>, Vec<[String; 4]>);

fn made(policy: &CelGenerator, trigger: (&Value, bool), place: &Place<'_>) -> Result<Option<Products>, String> {
    let own = meta::namespace(trigger.0).unwrap_or_default();
    if !policy.namespace.is_empty() && policy.namespace != own {
        return Ok(None);
    }
    let host = place.host(&policy.namespace)?;
    let notes = place.met(trigger, &policy.policy.matching, |review, version| {
        let seen = Request::new(review, place.data).seen_as(version).with_host(host.clone());
        policy.make(&seen, &host, &place.snapshot.all_cel_exceptions)
    });
    let Some(Making::Done(Notes { made, read })) = notes.transpose()? else { return Ok(None) };
    let made: Result<Vec<Made>, String> =
        made.into_iter().map(|(namespace, object)| product(policy, trigger.0, &namespace, object, place)).collect();
    Ok(Some((made?, read.into_iter().collect())))
}

/// An object as it is to be written.
fn product(
    policy: &CelGenerator,
    trigger: &Value,
    namespace: &str,
    object: Value,
    place: &Place<'_>,
) -> Result<Made, String> {
    let (group, version) = split_api_version(object["apiVersion"].as_str().unwrap_or_default());
    let kind = object["kind"].as_str().unwrap_or_default();
    let kind = place.data.kind(group, version, kind).map_err(|it| it.to_string())?;
    policy.product(object, (namespace, kind.namespaced), trigger)
}

/// The objects that a policy changes for a trigger, as they are to be written.
fn changed(policy: &CelPolicy, trigger: (&Value, bool), place: &Place<'_>) -> Result<Option<Vec<Value>>, String> {
    let (Some(existing), Some(form)) = (&policy.existing, policy.forms.first()) else { return Ok(None) };
    if !policy.reaches(meta::namespace(trigger.0).unwrap_or_default()) {
        return Ok(None);
    }
    let host = place.host(&policy.namespace)?;
    let targets = place.met(trigger, &form.matching, |review, version| {
        let seen = Request::new(review, place.data).seen_as(version).with_host(host.clone());
        // Of a trigger that is gone expressions see what it was.
        let seen = if trigger.1 { seen.with("object", Arc::new(trigger.0.clone())) } else { seen };
        let seen = seen.with_variables(form.variables.clone());
        if !conditions(&form.conditions, &seen, &mut Budget::new(Budget::WRITE))? {
            return Ok(None);
        }
        targets(policy, existing, &seen, place).map(Some)
    });
    let Some(targets) = targets.transpose()?.flatten() else { return Ok(None) };
    let mut all = Vec::new();
    for target in targets {
        if let Some(new) = changed_one(existing, &target, &host, place)?.filter(|new| *new != *target) {
            if mutate::identity(&new) != mutate::identity(&target) {
                return Err(mutate::ANOTHER.to_owned());
            }
            all.push(new);
        }
    }
    Ok(Some(all))
}

/// The objects that a policy may change.
fn targets(
    policy: &CelPolicy,
    existing: &Existing,
    seen: &Environment,
    place: &Place<'_>,
) -> Result<Vec<Arc<Value>>, String> {
    let mut all: Vec<Arc<Value>> = Vec::new();
    if let Some(listing) = &existing.listing {
        let listed = listing.run(seen, &mut Budget::new(Budget::WRITE))?;
        let listed = to_json(&listed).ok_or("targetMatchConstraints.expression makes no object")?;
        match listed {
            Value::Null => {}
            Value::Array(items) => all.extend(items.into_iter().map(Arc::new)),
            Value::Object(mut it) => match it.remove("items") {
                Some(Value::Array(items)) => {
                    let kind =
                        it["kind"].as_str().and_then(|it| it.strip_suffix("List")).unwrap_or_default().to_owned();
                    for mut item in items.into_iter().filter(Value::is_object) {
                        // Lists leave out what all their elements have in common.
                        let fields = meta::as_map(&mut item);
                        fields.entry("apiVersion").or_insert_with(|| it["apiVersion"].clone());
                        fields.entry("kind").or_insert_with(|| kind.clone().into());
                        all.push(Arc::new(item));
                    }
                }
                _ => all.push(Arc::new(Value::Object(it))),
            },
            _ => return Err("targetMatchConstraints.expression makes no object".to_owned()),
        }
        // Whatever the expression made of them, it is what is stored that changes.
        all = all.iter().map(|it| stored(it, place)).collect::<Result<_, String>>()?;
    } else {
        let table = place.data.kinds();
        for kind in table.iter() {
            let named = existing.target.matching.plurals().any(|it| it == "*" || it == kind.plural);
            let preferred = table.preferred(&kind.group, &kind.kind).is_some_and(|it| it.version == kind.version);
            if named && preferred && kind.allows("list") && kind.allows("update") {
                let within = Some(policy.namespace.as_str()).filter(|it| !it.is_empty() && kind.namespaced);
                all.extend(place.data.objects(kind, within).map_err(|it| it.to_string())?);
            }
        }
    }
    let reached = |it: &Arc<Value>| policy.reaches(meta::namespace(it).unwrap_or_default());
    all.retain(|it| reached(it) && !it["metadata"]["deletionTimestamp"].is_string());
    if all.len() > TARGETS_MAX {
        return Err(format!("more than {TARGETS_MAX} objects would have to be looked at"));
    }
    Ok(all)
}

/// The object that an expression names.
fn stored(named: &Value, place: &Place<'_>) -> Result<Arc<Value>, String> {
    let text = |pointer: &str| named.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = split_api_version(text("/apiVersion"));
    let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    let found = place.data.get((group, version, kind), namespace, name).map_err(|it| it.to_string())?;
    found
        .ok_or_else(|| format!("targetMatchConstraints.expression names {kind} {namespace}/{name}, which is not there"))
}

/// One target after the changes; `None` where the policy leaves it alone.
fn changed_one(
    existing: &Existing,
    target: &Value,
    host: &Rc<Host>,
    place: &Place<'_>,
) -> Result<Option<Value>, String> {
    let within = meta::namespace(target).unwrap_or_default();
    if snapshot::is_left_alone_kind(target["kind"].as_str().unwrap_or_default(), within) {
        return Ok(None);
    }
    let namespace = place.data.get(("", "v1", "Namespace"), "", within).ok().flatten();
    let kinds = place.data.kinds();
    let run = |review: &Review<'_>| {
        let version = match &existing.listing {
            Some(_) => Some(Version::Requested),
            None => existing.target.matching.version(review, &kinds),
        };
        let Some(version) = version else { return Ok(None) };
        let more = |it: Environment| it.with_host(host.clone());
        mutated(&existing.target, (review, &version), &mut Shown::default(), place.data, &more)
    };
    let judged = with_review((target, Operation::Update), namespace.as_deref(), place.now, place.data, run);
    judged.transpose().map(Option::flatten)
}

/// Whether a policy deletes an object.
pub(super) fn deletes(
    snapshot: &Arc<Snapshot>,
    policy: &CelDeleter,
    object: &Value,
    namespace: &Value,
    now: Timestamp,
    data: &dyn Data,
) -> Result<bool, String> {
    if !policy.reaches(meta::namespace(object).unwrap_or_default()) {
        return Ok(false);
    }
    let place = Place { snapshot, namespace, now, data };
    let host = place.host(policy.namespace())?;
    let found = place.met((object, false), &policy.policy.matching, |review, version| {
        let seen = Request::new(review, data).seen_as(version).with_host(host);
        policy.takes(&seen, &snapshot.all_cel_exceptions)
    });
    found.unwrap_or(Ok(false))
}
