//! What is done without a request: judging stored objects, making objects, changing others.
//!
//! Entry points: [`audit`], and [`Background`] with the rules that generate objects or change existing ones.

use std::{collections::BTreeSet, sync::Arc};

use eyot_model::kinds::Kind;
use eyot_policy::{Data, Finding, Operation, Outcome};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{GROUP, Snapshot, account, lookup::Live, snapshot, work};
use crate::{
    Cleanup, Component, Note, Policy, Reasons, Reference, Request, RuleResult, Status,
    cleanup::{self, Demand},
    context::Context,
    generate::{self, Made},
    jmespath::Env,
    matching::KindPattern,
    note::Meeting,
    source::Source,
    spec::{Action, Generate, GeneratePattern},
};

/// Judges a stored object as if it were created now, by nobody.
pub(super) fn audit(
    snapshot: &Snapshot,
    object: &Value,
    namespace: Option<&Value>,
    now: Timestamp,
    data: &dyn Data,
    seed: u64,
) -> Vec<Finding> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if snapshot.is_empty()
        || snapshot::is_left_alone_kind(text("/kind"), text("/metadata/namespace"))
        || !snapshot.concerns(text("/kind"), "")
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let policies = snapshot.policies.values().filter(|it| it.spec.background);
    for policy in policies {
        let judge = |request: &Request<'_>, context: &mut Context<'_>| {
            policy.validate(request, context, &snapshot.all_exceptions)
        };
        let namespace = namespace.cloned().unwrap_or_default();
        for result in with_request(snapshot, (object, "CREATE"), &namespace, now, data, seed, judge) {
            findings.push(finding(policy, result, &namespace));
        }
    }
    findings
}

/// Runs something on an object as if this were done to it now, by nobody. One that is deleted is seen as what it was.
fn with_request<T>(
    snapshot: &Snapshot,
    (object, operation): (&Value, &str),
    namespace: &Value,
    now: Timestamp,
    data: &dyn Data,
    seed: u64,
    run: impl FnOnce(&Request<'_>, &mut Context<'_>) -> T,
) -> T {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = eyot_model::kinds::split_api_version(text("/apiVersion"));
    let kind = text("/kind");
    let about = json!({
        "kind": { "group": group, "version": version, "kind": kind },
        "name": text("/metadata/name"),
        "namespace": text("/metadata/namespace"),
        "operation": operation,
    });
    let request = Request {
        object,
        old: (operation == "DELETE").then_some(object),
        operation,
        group,
        version,
        kind,
        subresource: "",
        namespace,
        requester: None,
        about: &about,
    };
    let live = Live { data, snapshot };
    let env = Env::new(now, seed);
    let mut context = Context::new(request.variables(), &env, &live as &dyn Source);
    run(&request, &mut context)
}

fn finding(policy: &Policy, result: RuleResult, namespace: &Value) -> Finding {
    let action = match policy.action(&result.rule, namespace) {
        Action::Enforce => "Enforce",
        Action::Audit => "Audit",
    };
    let teller = Teller {
        policy: [GROUP.to_owned(), policy.kind.clone(), policy.namespace.clone(), policy.name.clone()],
        source: "kyverno",
        is_scored: policy.is_scored(),
        annotations: &policy.annotations,
        action,
    };
    teller.finding(result)
}

/// A policy, as its findings tell of it.
pub(super) struct Teller<'p> {
    /// Group, kind, namespace and name.
    pub(super) policy: [String; 4],
    pub(super) source: &'static str,
    pub(super) is_scored: bool,
    pub(super) annotations: &'p Map<String, Value>,
    pub(super) action: &'static str,
}

impl Teller<'_> {
    /// What a report shows of a result.
    pub(super) fn finding(self, result: RuleResult) -> Finding {
        let outcome = match result.status {
            Status::Pass => Outcome::Pass,
            Status::Fail if !self.is_scored => Outcome::Warn,
            Status::Fail => Outcome::Fail,
            Status::Warn => Outcome::Warn,
            Status::Error => Outcome::Error,
            Status::Skip => Outcome::Skip,
        };
        let annotation = |name: &str| self.annotations.get(name).cloned().unwrap_or_default();
        let mut properties = result.properties;
        if !result.exceptions.is_empty() {
            properties.insert("exceptions".to_owned(), result.exceptions.join(",").into());
        }
        let details = json!({
            "source": self.source,
            "scored": self.is_scored,
            "category": annotation("policies.kyverno.io/category"),
            "severity": annotation("policies.kyverno.io/severity"),
            "properties": properties,
        });
        let action = self.action.to_owned();
        Finding { policy: self.policy, rule: result.rule, outcome, action, message: result.message, details }
    }
}

/// What a rule makes once, and for each element of lists.
fn patterns(generate: &Generate) -> impl Iterator<Item = &GeneratePattern> {
    std::iter::once(&generate.pattern).chain(generate.foreach.iter().map(|it| &it.pattern))
}

/// Kinds that a pattern copies, as `apiVersion` and kind.
fn listed(pattern: &GeneratePattern) -> impl Iterator<Item = (String, String)> {
    pattern.clone_list.iter().flat_map(|it| &it.kinds).map(|it| {
        let (group, version, kind, _) = crate::matching::parse_kind(it);
        let group = if group == "*" { String::new() } else { group };
        (eyot_model::kinds::api_version(&group, &version), kind)
    })
}

/// The rules that work in the background, at one moment.
#[derive(Clone, Debug)]
pub struct Background {
    snapshot: Arc<Snapshot>,
}

/// A rule that makes objects or changes existing ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    /// Group, version and kind of the policy.
    pub of: (&'static str, &'static str, String),
    /// `namespace/name` of the policy, or its name.
    pub policy: String,
    /// The rule; empty for a policy in CEL.
    pub rule: String,
    /// Kinds of its triggers, as `Group/Version/Kind` with globs.
    pub kinds: Vec<String>,
    /// Resources of its triggers where the policy is in CEL, `*` for all.
    pub plurals: Vec<String>,
    /// Whether it is also for triggers that were there before.
    pub existing: bool,
    /// Whether what it makes follows its source and goes with its trigger.
    pub synchronize: bool,
    /// Whether what it made outlives the policy.
    pub orphans: bool,
    /// Kinds of what it copies, as `apiVersion` and kind.
    pub sources: Vec<(String, String)>,
    /// Kinds of what it makes, as `apiVersion` and kind.
    pub products: Vec<(String, String)>,
    /// Whether it changes objects instead of making some.
    pub changes: bool,
    /// Whether a trigger that is deleted may be its business, and not only that it is gone.
    pub on_delete: bool,
    /// Whether it changes the same objects whatever triggers it.
    pub same_for_all: bool,
}

/// What is to be done for a trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// The policy.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// Objects to make or to bring up to date.
    pub made: Vec<Made>,
    /// Objects to write back.
    pub changed: Vec<Value>,
    /// What was looked at, as `apiVersion`, kind, namespace and name; without a name all of that place.
    pub read: Vec<[String; 4]>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Background {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Background {
        Background { snapshot }
    }

    /// The kinds that rules demand something of, where policies are also for stored objects.
    pub fn judged_kinds(&self) -> Vec<KindPattern> {
        let policies = self.snapshot.policies.values().filter(|it| it.spec.background);
        let rules = policies.flat_map(|it| &it.rules).filter(|it| it.rule.validate.is_some());
        let mut all: Vec<KindPattern> = Vec::new();
        for compiled in rules {
            all.extend(compiled.rule.matches.kinds().filter(|it| it.subresource().is_empty()).cloned());
            if compiled.rule.matches.has_any_kind() {
                all.push(KindPattern::parse("*"));
            }
        }
        all
    }

    /// The resources that policies in CEL demand something of, where they are also for stored objects; `*` for all.
    pub fn judged_plurals(&self) -> BTreeSet<String> {
        let policies = self.snapshot.cel.values().filter(|it| it.background && !it.mutates);
        policies.flat_map(|it| it.plurals()).map(str::to_owned).collect()
    }

    /// Whether objects of a kind are judged at all.
    pub fn judges(&self, kind: &str) -> bool {
        !snapshot::is_left_alone_kind(kind, "")
    }

    /// What is to be told of a stored object after it was judged, for these reasons.
    pub fn scanned(&self, object: &Value, findings: &[Finding], reasons: &Reasons) -> Vec<Note> {
        account::scanned(&self.snapshot, &Reference::of(object), findings, reasons)
    }

    /// What is to be told when a rule made or changed an object.
    pub fn worked(&self, generator: &Generator, object: &Value) -> Vec<Note> {
        self.at_work(generator, object, |it| it.worked(&generator.rule))
    }

    /// What is to be told when a rule could not do its work for a trigger.
    pub fn failed(&self, generator: &Generator, trigger: &Value, why: &str) -> Note {
        self.at_work(generator, trigger, |it| it.failed(&generator.rule, why))
    }

    fn at_work<T>(&self, generator: &Generator, object: &Value, tell: impl FnOnce(&Meeting<'_>) -> T) -> T {
        let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
        let policy = account::named(&self.snapshot, [generator.of.0, &generator.of.2, namespace, name]);
        let component = if generator.changes { Component::Mutate } else { Component::Generate };
        tell(&Meeting { policy: &policy, object: &Reference::of(object), component })
    }

    /// What is to be told when a policy deleted an object, or `why` it could not.
    pub fn cleaned_up(cleanup: &Cleanup, object: &Value, why: Option<&str>) -> Vec<Note> {
        let policy = cleanup.reference();
        let meeting = Meeting { policy: &policy, object: &Reference::of(object), component: Component::Cleanup };
        match why {
            None => meeting.worked(""),
            Some(why) => vec![meeting.failed("", why)],
        }
    }

    /// All policies that delete.
    pub fn cleanups(&self) -> impl Iterator<Item = &Arc<Cleanup>> {
        self.snapshot.cleanups.values()
    }

    /// Whether an object is of a kind that a policy deletes, and lies where it may.
    pub fn may_clean_up(cleanup: &Cleanup, kind: &Kind) -> bool {
        (kind.namespaced || cleanup.namespace.is_empty())
            && !snapshot::is_left_alone_kind(&kind.kind, "")
            && cleanup.names(kind)
    }

    /// Whether a policy deletes an object.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn cleans_up(
        &self,
        cleanup: &Cleanup,
        object: &Value,
        namespace: &Value,
        now: Timestamp,
        data: &dyn Data,
    ) -> Result<bool, String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if snapshot::is_left_alone_kind(text("/kind"), text("/metadata/namespace")) {
            return Ok(false);
        }
        let policy = match cleanup.demand() {
            Demand::Rule(policy) => policy,
            Demand::Cel(policy) => return work::deletes(&self.snapshot, policy, object, namespace, now, data),
        };
        let run = |request: &Request<'_>, context: &mut Context<'_>| cleanup::takes(policy, request, context);
        let seed = now.as_nanosecond() as u64;
        with_request(&self.snapshot, (object, "CREATE"), namespace, now, data, seed, run)
    }

    /// All rules that work in the background.
    pub fn generators(&self) -> Vec<Generator> {
        let mut all = Vec::new();
        for policy in self.snapshot.policies.values() {
            for compiled in &policy.rules {
                let rule = &compiled.rule;
                let changes = rule.mutate.as_ref().is_some_and(|it| !it.targets.is_empty());
                if rule.generate.is_none() && !changes {
                    continue;
                }
                let generate = rule.generate.as_ref();
                let existing = match (generate, &rule.mutate) {
                    (Some(it), _) => it.generate_existing.unwrap_or(
                        policy.spec.generate_existing_on_policy_update.unwrap_or(policy.spec.generate_existing),
                    ),
                    (_, Some(it)) => {
                        it.mutate_existing_on_policy_update.unwrap_or(policy.spec.mutate_existing_on_policy_update)
                    }
                    _ => false,
                };
                let patterns: Vec<&GeneratePattern> = generate.into_iter().flat_map(patterns).collect();
                let clones = patterns.iter().filter(|it| it.clone.is_some());
                let listed: Vec<(String, String)> = patterns.iter().flat_map(|it| listed(it)).collect();
                let own = |it: &&GeneratePattern| (it.api_version.clone(), it.kind.clone());
                all.push(Generator {
                    of: (GROUP, "v1", policy.kind.clone()),
                    policy: policy.key(),
                    plurals: Vec::new(),
                    rule: rule.name.clone(),
                    kinds: rule.matches.kinds().map(|it| it.as_str().to_owned()).collect(),
                    existing,
                    synchronize: generate.is_some_and(|it| it.synchronize),
                    // As in Kyverno, what was copied by name stays when the rule goes, and lists of it do not.
                    orphans: generate.is_some_and(|it| it.orphan_downstream_on_policy_delete)
                        || patterns.iter().any(|it| it.clone.is_some()),
                    sources: clones.map(own).chain(listed.iter().cloned()).collect(),
                    products: patterns.iter().map(own).filter(|it| !it.1.is_empty()).chain(listed).collect(),
                    changes,
                    on_delete: rule.matches.names_operation("DELETE"),
                    same_for_all: false,
                });
            }
        }
        all.extend(work::generators(&self.snapshot));
        all
    }

    /// What one rule makes of a trigger to which something is done; nothing where the rule is not about it.
    pub fn work(
        &self,
        generator: &Generator,
        (trigger, done): (&Value, Operation),
        namespace: &Value,
        now: Timestamp,
        data: &dyn Data,
    ) -> Option<Work> {
        let is_gone = done == Operation::Delete;
        if generator.of.0 != GROUP {
            return work::work(&self.snapshot, generator, (trigger, is_gone), namespace, now, data);
        }
        if is_gone && !generator.on_delete {
            return None;
        }
        let policy = self.snapshot.policies.values().find(|it| it.key() == generator.policy)?;
        let rule = policy.rules.iter().map(|it| &it.rule).find(|it| it.name == generator.rule)?;
        if rule.generate.is_some() && generate::is_made(trigger) && rule.skip_background_requests != Some(false) {
            return None;
        }
        let seed = now.as_nanosecond() as u64;
        let run = |request: &Request<'_>, context: &mut Context<'_>| match generator.changes {
            true => {
                let mut object = request.object.clone();
                policy.mutate(request, &mut object, context, &self.snapshot.all_exceptions).0
            }
            false => policy.generate(request, context, &self.snapshot.all_exceptions),
        };
        let results = with_request(&self.snapshot, (trigger, done.as_str()), namespace, now, data, seed, run);
        let result = results.into_iter().find(|it| it.rule == generator.rule)?;
        if result.status == Status::Skip {
            return None;
        }
        let error = (result.status == Status::Error).then_some(result.message);
        let (policy, rule) = (generator.policy.clone(), generator.rule.clone());
        Some(Work { policy, rule, made: result.generated, changed: result.targets, read: Vec::new(), error })
    }
}
