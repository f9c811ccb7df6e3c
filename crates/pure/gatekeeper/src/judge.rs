//! One object against every constraint. Entry points: [`Case`] and [`judge`].

use std::{cell::OnceCell, sync::Arc};

use eyot_policy::{Data, Review};
use eyot_rego::Value as Rego;
use eyot_rules::Environment;
use serde_json::{Map, Value, json};

use crate::{
    config::Process,
    constraint::{Action, Constraint, Point},
    expand::{Unexpanded, expand},
    inventory,
    matching::{Source, Subject, group_of, namespace_name},
    state::State,
};

/// Where `data.inventory` comes from.
pub(crate) enum Stock<'a> {
    /// The store; what it holds is read once for all cases that share this.
    Store(&'a dyn Data, OnceCell<Result<Rego, String>>),
    /// Objects that were given.
    Given(Rego),
}

/// An object, and everything that a constraint may ask about it. What is costly to make is made once, when asked for.
pub(crate) struct Case<'a> {
    state: &'a State,
    /// An `AdmissionRequest` without its objects.
    request: Map<String, Value>,
    object: &'a Value,
    old: &'a Value,
    namespace: Option<&'a Value>,
    source: Source,
    point: Point,
    pub(crate) now_ns: i64,
    stock: &'a Stock<'a>,
    rego: OnceCell<Rego>,
    environment: OnceCell<Environment>,
}

/// What one constraint finds.
pub(crate) struct Found {
    pub(crate) constraint: Arc<Constraint>,
    pub(crate) actions: Vec<Action>,
    pub(crate) message: String,
    pub(crate) details: Value,
    /// Whether the constraint could not be evaluated.
    pub(crate) failed: bool,
}

impl<'a> Stock<'a> {
    /// The store.
    pub(crate) fn of(data: &'a dyn Data) -> Stock<'a> {
        Stock::Store(data, OnceCell::new())
    }
}

/// The null that stands for an object that is not there.
pub(crate) static NOTHING: Value = Value::Null;

impl<'a> Case<'a> {
    /// A request.
    pub(crate) fn of_review(state: &'a State, review: &Review<'a>, stock: &'a Stock<'a>) -> Case<'a> {
        let namespace = review.namespace_object.filter(|_| !review.resource.is("", "Namespace"));
        let now_ns = i64::try_from(review.now.as_nanosecond()).unwrap_or(i64::MAX);
        let old = review.old.unwrap_or(&NOTHING);
        let mut case = Case::new(state, review.object, old, namespace, Point::Webhook, now_ns, stock);
        case.request = review.about("");
        case
    }

    /// An object that nobody writes now: one that is stored, or one of a test.
    pub(crate) fn new(
        state: &'a State,
        object: &'a Value,
        old: &'a Value,
        namespace: Option<&'a Value>,
        point: Point,
        now_ns: i64,
        stock: &'a Stock<'a>,
    ) -> Case<'a> {
        let source = Source::Original;
        Case {
            state,
            request: about(if object.is_null() { old } else { object }),
            object,
            old,
            namespace,
            source,
            point,
            now_ns,
            stock,
            rego: OnceCell::new(),
            environment: OnceCell::new(),
        }
    }

    /// The same, with the request as it was given.
    pub(crate) fn with_request(self, request: Map<String, Value>) -> Case<'a> {
        Case { request, ..self }
    }

    /// What comes of this one: made by an expansion template.
    pub(crate) fn implied(&self, object: &'a Value) -> Case<'a> {
        let mut request = about(object);
        if let Some(operation) = self.request.get("operation") {
            request.insert("operation".to_owned(), operation.clone());
        }
        let case = Case::new(self.state, object, &NOTHING, self.namespace, self.point, self.now_ns, self.stock);
        Case { request, source: Source::Generated, ..case }
    }

    fn operation(&self) -> &str {
        self.request.get("operation").and_then(Value::as_str).unwrap_or_default()
    }

    /// `input.review`.
    pub(crate) fn rego(&self) -> &Rego {
        self.rego.get_or_init(|| {
            let mut fields: Vec<(&str, Rego)> =
                self.request.iter().map(|(name, value)| (name.as_str(), Rego::from(value))).collect();
            // Gatekeeper shows what is deleted as the object, too.
            let old = (!self.old.is_null()).then(|| Rego::from(self.old));
            let object = if self.object.is_null() { old.clone() } else { Some(Rego::from(self.object)) };
            fields.push(("object", object.unwrap_or(Rego::Null)));
            fields.push(("oldObject", old.unwrap_or(Rego::Null)));
            let namespace = self.namespace.map_or(Rego::Null, Rego::from);
            fields.push(("_unstable", Rego::record([("namespace", namespace.clone())])));
            fields.push(("namespaceObject", namespace));
            Rego::record(fields)
        })
    }

    /// What expressions in CEL see, without parameters.
    pub(crate) fn environment(&self) -> &Environment {
        self.environment.get_or_init(|| {
            let object = if self.operation() == "DELETE" { &NOTHING } else { self.object };
            Environment::new()
                .with("object", Arc::new(object.clone()))
                .with("oldObject", Arc::new(self.old.clone()))
                .with("request", Arc::new(Value::Object(self.request.clone())))
                .with("namespaceObject", Arc::new(self.namespace.cloned().unwrap_or_default()))
        })
    }

    /// `data.inventory`.
    pub(crate) fn inventory(&self) -> Result<Rego, String> {
        match self.stock {
            Stock::Store(data, made) => made
                .get_or_init(|| inventory::read(&self.state.synced(), &self.state.config, &self.state.kept, *data))
                .clone(),
            Stock::Given(inventory) => Ok(inventory.clone()),
        }
    }

    fn subject(&self, object: &'a Value) -> Subject<'a> {
        Subject { object, namespace: self.namespace, source: self.source }
    }

    /// Whether it is one of Gatekeeper's own objects.
    fn is_policy(&self) -> bool {
        let object = if self.object.is_null() { self.old } else { self.object };
        group_of(object).ends_with(".gatekeeper.sh")
    }

    /// The namespace that it is in, or is.
    pub(crate) fn namespace_name(&self) -> Option<&'a str> {
        namespace_name(&self.subject(if self.object.is_null() { self.old } else { self.object }))
    }

    /// Whether a constraint is about it, in its new form or its old.
    fn matches(&self, constraint: &Constraint) -> Result<bool, String> {
        for object in [self.object, self.old].into_iter().filter(|it| !it.is_null()) {
            if constraint.matching.matches(&self.subject(object))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn about(object: &Value) -> Map<String, Value> {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let version = api_version.split_once('/').map_or(api_version, |(_, version)| version);
    let request = json!({
        "uid": "",
        "kind": {"group": group_of(object), "version": version, "kind": object["kind"]},
        "resource": {"group": "", "version": "", "resource": ""},
        "name": object["metadata"]["name"].as_str().unwrap_or_default(),
        "namespace": object["metadata"]["namespace"].as_str().unwrap_or_default(),
        "operation": "", "userInfo": {},
    });
    match request {
        Value::Object(mut request) => {
            if request["namespace"] == "" {
                request.remove("namespace");
            }
            request
        }
        _ => Map::new(),
    }
}

/// What every constraint has to say about a case, in the order of their kinds and names.
pub(crate) fn judge(case: &Case<'_>) -> Vec<Found> {
    let state = case.state;
    let process = if case.point == Point::Audit { Process::Audit } else { Process::Webhook };
    if case.namespace_name().is_some_and(|it| state.config.excludes(process, it)) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for constraint in state.constraints.values() {
        let Some(template) = state.templates.get(&constraint.kind) else { continue };
        let actions = constraint.actions(case.point);
        if actions.is_empty() || !template.judges(case.operation()) {
            continue;
        }
        let unreadable = constraint.flaw.as_ref();
        // What cannot be read must remain repairable.
        if (unreadable.is_some() || template.policy.is_unreadable()) && case.is_policy() {
            continue;
        }
        let found = match case.matches(constraint) {
            Ok(false) => continue,
            Ok(true) => match unreadable {
                Some(why) => Err(why.clone()),
                None => template.policy.judge(constraint, case),
            },
            Err(error) => Err(error),
        };
        let breaches = match found {
            Ok(breaches) => breaches.into_iter().map(|it| (it.message, it.details, false)).collect(),
            // A constraint that can not be evaluated counts as broken.
            Err(error) => vec![(format!("could not be evaluated: {error}"), Value::Null, true)],
        };
        for (message, details, failed) in breaches {
            let constraint = constraint.clone();
            out.push(Found { constraint, actions: actions.clone(), message, details, failed });
        }
    }
    out
}

/// What constraints have to say about a case and about everything that expansion templates make of it; and what stopped
/// that, if anything did.
pub(crate) fn judge_expanded(case: &Case<'_>) -> (Vec<Found>, Option<Unexpanded>) {
    let mut out = judge(case);
    if case.object.is_null() || case.state.expansions.is_empty() {
        return (out, None);
    }
    let resultants = match expand(case.state, case.object, case.namespace) {
        Ok(resultants) => resultants,
        Err(unexpanded) => return (out, Some(unexpanded)),
    };
    for resultant in resultants {
        let implied = case.implied(&resultant.object);
        for mut found in judge(&implied) {
            found.message = implied_by(&resultant.template, &found.message);
            if let Some(action) = resultant.action {
                found.actions = vec![action];
            }
            out.push(found);
        }
    }
    (out, None)
}

/// A case that could not be expanded, as a breach of every constraint that may be about what would have come of it.
pub(crate) fn unexpanded(case: &Case<'_>, unexpanded: &Unexpanded) -> Vec<Found> {
    let about = |it: &&Arc<Constraint>| {
        case.state.templates.contains_key(&it.kind) && it.matching.may_match(&unexpanded.group, &unexpanded.kind)
    };
    let message = implied_by(&unexpanded.template, &format!("could not be evaluated: {}", unexpanded.why));
    let found = case.state.constraints.values().filter(about).filter_map(|constraint| {
        let actions = constraint.actions(case.point);
        let found = || Found {
            constraint: constraint.clone(),
            actions: actions.clone(),
            message: message.clone(),
            details: Value::Null,
            failed: true,
        };
        (!actions.is_empty()).then(found)
    });
    found.collect()
}

fn implied_by(template: &str, message: &str) -> String {
    format!("[Implied by {template}] {message}")
}
