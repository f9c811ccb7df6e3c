//! Applies the policies of `policies.kyverno.io` to one resource. Entry points: [`mutate`], [`validate`].

use std::{any::Any, collections::BTreeMap, rc::Rc, sync::Arc};

use eyot_model::{
    kinds::{self, Kind, Table},
    meta,
};
use eyot_policy::{Data, Objects, Operation, Options, Review, User};
use eyot_vap::Request;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    evaluate::Response,
    load::{self, Loaded},
};
use crate::{
    RuleResult,
    celpolicy::{
        CelPolicy,
        judge::{self, Place},
    },
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
            let (results, changed) = self.review(policy, &before, |review, place| judge::mutate(policy, review, place));
            if let Some(changed) = changed {
                *resource = changed;
            }
            responses.extend(results.into_iter().map(|it| response(policy, it, resource)));
        }
        responses
    }

    /// Lets policies judge the resource.
    pub(super) fn validate(&self, resource: &Value) -> Vec<Response> {
        let policies = self.loaded.cel.iter().filter(|it| !it.mutates);
        let each = policies.flat_map(|policy| {
            let judge = |review: &Review<'_>, place: &Place<'_>| {
                judge::validate(policy, &Request::new(review, place.data), review, place)
            };
            let results = self.review(policy, resource, judge);
            results.into_iter().map(|it| response(policy, it, resource))
        });
        each.collect()
    }

    fn review<T>(&self, policy: &CelPolicy, resource: &Value, run: impl FnOnce(&Review<'_>, &Place<'_>) -> T) -> T {
        let loaded = self.loaded;
        let name = meta::name(resource).unwrap_or_default();
        let values = loaded.values.of(&policy.name, name);
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
