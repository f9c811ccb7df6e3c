//! Applies the policies of `policies.kyverno.io` to one resource. Entry point: [`Case`].

use std::{any::Any, collections::BTreeMap, rc::Rc, sync::Arc};

use eyot_model::{
    kinds::{self, Kind, Table},
    meta,
};
use eyot_policy::{Data, Objects, Operation, Options, Review, User};
use eyot_rules::{Budget, Environment};
use eyot_vap::{Request, Shown, Version, conditions, mutated};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    evaluate::Response,
    load::{self, Loaded},
};
use crate::{
    RuleKind, RuleResult, Status,
    celpolicy::{
        CelGenerator, CelPolicy, Existing, Making,
        judge::{self, Place},
    },
    generate::Made,
    jmespath::Env,
    library::Host,
};

/// One resource, and what is done to it.
pub(super) struct Case<'c> {
    pub(super) loaded: &'c Loaded,
    /// Empty for what the values say.
    pub(super) operation: &'c str,
    pub(super) now: Timestamp,
}

impl Case<'_> {
    /// Lets policies change the resource.
    pub(super) fn mutate(&self, resource: &mut Value) -> Vec<Response> {
        let mut responses = Vec::new();
        for policy in self.loaded.cel.iter().filter(|it| it.mutates) {
            let before = resource.clone();
            let (results, changed) =
                self.review(&policy.name, &before, |review, place| judge::mutate(policy, review, place));
            if let Some(changed) = changed {
                *resource = changed;
            }
            responses.extend(results.into_iter().map(|it| response(policy, it, resource)));
            if let Some(existing) = policy.existing.as_ref().filter(|_| self.triggers(policy, resource)) {
                let targets = self.loaded.targets.iter().filter_map(|it| self.changed(policy, existing, it)).collect();
                let rule = RuleResult { targets, ..judge::made(RuleKind::Mutation, Status::Pass, "") };
                responses.push(response(policy, Some(rule), resource));
            }
        }
        responses
    }

    /// Whether a policy looks for objects to change because of a resource.
    fn triggers(&self, policy: &CelPolicy, resource: &Value) -> bool {
        let Some(form) = policy.forms.first() else { return false };
        self.review(&policy.name, resource, |review, place| {
            form.matching.version(review, &place.kinds).is_some_and(|version| {
                let host = Rc::new(self.host(&policy.namespace));
                let seen = Request::new(review, place.data).seen_as(&version).with_host(host);
                let seen = seen.with_variables(form.variables.clone());
                conditions(&form.conditions, &seen, &mut Budget::new(Budget::WRITE)).unwrap_or(false)
            })
        })
    }

    /// An object that is there, if a policy changes it. Which ones an expression lists is not asked: the test names them.
    fn changed(&self, policy: &CelPolicy, existing: &Existing, target: &Value) -> Option<Value> {
        self.review(&policy.name, target, |review, place| {
            let version = match &existing.listing {
                Some(_) => Version::Requested,
                None => existing.target.matching.version(review, &place.kinds)?,
            };
            let host = Rc::new(self.host(&policy.namespace));
            let more = |it: Environment| it.with_host(host.clone());
            let about = (review, &version);
            mutated(&existing.target, about, &mut Shown::default(), place.data, &more).ok().flatten()
        })
    }

    /// Lets policies judge the resource.
    pub(super) fn validate(&self, resource: &Value) -> Vec<Response> {
        let policies = self.loaded.cel.iter().filter(|it| !it.mutates);
        let each = policies.flat_map(|policy| {
            let judge = |review: &Review<'_>, place: &Place<'_>| {
                judge::validate(policy, &Request::new(review, place.data), review, place)
            };
            let results = self.review(&policy.name, resource, judge);
            results.into_iter().map(|it| response(policy, it, resource))
        });
        each.collect()
    }

    /// Lets policies make objects for the resource.
    pub(super) fn generate(&self, resource: &Value) -> Vec<Response> {
        let each = self.loaded.generating.iter().filter_map(|policy| {
            let judged = self.review(&policy.name, resource, |review, place| {
                let version = policy.policy.matching.version(review, &place.kinds)?;
                let host = Rc::new(self.host(&policy.namespace));
                let seen = Request::new(review, place.data).seen_as(&version).with_host(host.clone());
                Some(policy.make(&seen, &host, place.exceptions))
            })?;
            let made = |status, message: String| Some(judge::made(RuleKind::Generation, status, message));
            let rule = match judged.and_then(|it| self.products(policy, it, resource)) {
                Err(why) => made(Status::Error, why),
                Ok(Products::None) => None,
                Ok(Products::Excused(status, names)) => made(status, names.join(", ")),
                Ok(Products::Made(generated)) => {
                    Some(RuleResult { generated, ..judge::made(RuleKind::Generation, Status::Pass, String::new()) })
                }
            };
            let (name, patched) = (policy.name.clone(), resource.clone());
            rule.map(|it| Response { policy: name, is_scored: true, has_rules: false, rules: vec![it], patched })
        });
        each.collect()
    }

    fn products(&self, policy: &CelGenerator, making: Making, trigger: &Value) -> Result<Products, String> {
        let notes = match making {
            Making::Unmet => return Ok(Products::None),
            Making::Excused(status, names) => return Ok(Products::Excused(status, names)),
            Making::Done(notes) => notes,
        };
        let made = notes.made.into_iter().map(|(namespace, object)| {
            let namespaced = kind_of(&object, &self.loaded.source.objects).namespaced;
            policy.product(object, (&namespace, namespaced), trigger)
        });
        made.collect::<Result<_, String>>().map(Products::Made)
    }

    /// Asks policies whether they delete the resource.
    pub(super) fn delete(&self, resource: &Value) -> Vec<Response> {
        let each = self.loaded.deleting.iter().map(|policy| {
            let taken = self.review(&policy.name, resource, |review, place| {
                let Some(version) = policy.policy.matching.version(review, &place.kinds) else { return Ok(false) };
                let host = Rc::new(self.host(policy.namespace()));
                let seen = Request::new(review, place.data).seen_as(&version).with_host(host);
                policy.takes(&seen, place.exceptions)
            });
            let rule = match taken {
                Ok(true) => judge::made(RuleKind::Validation, Status::Pass, String::new()),
                Ok(false) => judge::made(RuleKind::Validation, Status::Fail, "it stays".to_owned()),
                Err(why) => judge::made(RuleKind::Validation, Status::Error, why),
            };
            let (name, patched) = (policy.name.clone(), resource.clone());
            Response { policy: name, is_scored: true, has_rules: false, rules: vec![rule], patched }
        });
        each.collect()
    }

    fn host(&self, namespace: &str) -> Host {
        let env = Env::new(self.now, 0x9E37_79B9_7F4A_7C15);
        Host::of_maker(Box::new(self.loaded.source.clone()), env, namespace)
    }

    fn review<T>(&self, policy: &str, resource: &Value, run: impl FnOnce(&Review<'_>, &Place<'_>) -> T) -> T {
        let loaded = self.loaded;
        let name = meta::name(resource).unwrap_or_default();
        let values = loaded.values.of(policy, name);
        let stated = values.get("request.operation").and_then(Value::as_str).unwrap_or("CREATE");
        let operation = match if self.operation.is_empty() { stated } else { self.operation } {
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            "CONNECT" => Operation::Connect,
            _ => Operation::Create,
        };
        let kind = kind_of(resource, &loaded.source.objects);
        let mut table = Table::over(kinds::builtin());
        table.insert(kind.clone());
        let data = Objects::of(Arc::new(table), Vec::new());
        let namespace = meta::namespace(resource).unwrap_or_default();
        let namespace_object = kind.namespaced.then(|| loaded.values.namespace(namespace));
        let (extra, null) = (BTreeMap::new(), Value::Null);
        let requester = loaded.requester.as_ref();
        let user = User {
            name: requester.map_or("", |it| &it.username),
            uid: "",
            groups: requester.map_or(&[], |it| &it.groups),
            extra: &extra,
        };
        let review = Review {
            now: self.now,
            operation,
            resource: &kind,
            requested: &kind,
            subresource: "",
            namespace,
            name,
            user,
            options: Options::default(),
            object: if operation == Operation::Delete { &null } else { resource },
            old: (operation != Operation::Create).then_some(resource),
            namespace_object: namespace_object.as_ref(),
        };
        let host = |namespace: &str| {
            let env = Env::new(self.now, 0x9E37_79B9_7F4A_7C15);
            let source = Box::new(loaded.source.clone());
            Rc::new(Host::new(source, env, namespace)) as Rc<dyn Any>
        };
        run(&review, &Place { data: &data, kinds: data.kinds(), exceptions: &loaded.cel_exceptions, host: &host })
    }
}

/// What a policy made of a resource.
enum Products {
    None,
    Excused(Status, Vec<String>),
    Made(Vec<Made>),
}

fn response(policy: &CelPolicy, result: Option<RuleResult>, patched: &Value) -> Response {
    Response {
        policy: policy.name.clone(),
        is_scored: policy.is_scored(),
        has_rules: false,
        rules: result.into_iter().collect(),
        patched: patched.clone(),
    }
}

/// The kind of a resource: a built-in one, one that a definition describes, or one that its name lets expect.
fn kind_of(resource: &Value, objects: &[Arc<Value>]) -> Arc<Kind> {
    let text = |field: &str| resource[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if let Some(known) = kinds::builtin().by_api_version(api_version, kind) {
        return known.clone();
    }
    let (group, version) = kinds::split_api_version(api_version);
    let names = |it: &&Arc<Value>| {
        it["kind"] == "CustomResourceDefinition" && it["spec"]["group"] == group && it["spec"]["names"]["kind"] == kind
    };
    let defined = objects.iter().find(names).and_then(|it| it["spec"]["names"]["plural"].as_str());
    let plural = defined.map_or_else(|| plural_of(kind), str::to_owned);
    Arc::new(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: load::is_namespaced(api_version, kind),
        verbs: Vec::new(),
        subresources: Vec::new(),
        storage: format!("{group}/{plural}"),
        stored_as: (api_version.to_owned(), kind.to_owned()),
        custom: None,
        plural,
    })
}

fn plural_of(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        _ if kind == "endpoints" => kind,
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if kind.ends_with(['s', 'x']) || kind.ends_with("ch") || kind.ends_with("sh") => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}
