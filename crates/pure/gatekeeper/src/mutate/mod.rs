//! Mutators: `Assign`, `AssignMetadata`, `ModifySet` and `AssignImage`. Entry points: [`Mutator::read`] and [`apply`].
//!
//! Mutators are applied in the order of their kinds and names, again and again until nothing changes any more; an object
//! that does not settle is refused. External data is not supported: a mutator that asks for it is refused.

mod image;
mod location;

use eyot_model::{meta, status::Cause};
use serde_json::{Map, Value};

use crate::{
    matching::{Match, Source, Subject, group_of, texts},
    state::State,
};
use image::Parts;
use location::{Condition, Node, Setter};

/// A compiled mutator.
#[derive(Debug)]
pub(crate) struct Mutator {
    /// Kind and name.
    pub(crate) id: (String, String),
    pub(crate) matching: Match,
    /// Groups, versions, kinds and operations; none for metadata, which every object has.
    apply: Option<Vec<[Vec<String>; 4]>>,
    location: Vec<Node>,
    conditions: Vec<Option<Condition>>,
    change: Change,
}

/// What a mutator does.
#[derive(Clone, Debug)]
enum Change {
    Value(Value),
    /// `metadata.name` or `metadata.namespace` of the object itself.
    Metadata(String),
    Merge(Vec<Value>),
    Prune(Vec<Value>),
    Image(Parts),
}

/// Applies every mutator that is about `object` until it settles. Says whether it changed.
///
/// # Errors
/// When an object is built otherwise than a location says, or does not settle.
pub(crate) fn apply(
    state: &State,
    object: &mut Value,
    namespace: Option<&Value>,
    source: Source,
    operation: &str,
) -> Result<bool, String> {
    let mut any = false;
    for round in 0..=state.mutators.len() {
        // Mutators that undo each other settle as soon as a whole round ends where it began. Hardly any do, so that only
        // those that did not settle by themselves in two rounds are looked at.
        let before = (round >= 2).then(|| object.clone());
        let mut changed = false;
        for mutator in state.mutators.values() {
            let failed = |why: String| format!("mutator {} {}: {why}", mutator.id.0, mutator.id.1);
            let subject = Subject { object, namespace, source };
            if mutator.applies(object, operation) && mutator.matching.matches(&subject).map_err(failed)? {
                changed |= mutator.mutate(object).map_err(failed)?;
            }
        }
        if !changed || before.is_some_and(|it| it == *object) {
            return Ok(any);
        }
        any = true;
    }
    let name = meta::name(object).or_else(|| meta::generate_name(object)).unwrap_or_default();
    Err(format!("mutation not converging for {} {name}", object["kind"].as_str().unwrap_or_default()))
}

impl Mutator {
    /// Reads a mutator of any kind and version.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(object: &Value) -> Result<Mutator, Vec<Cause>> {
        let mut causes = Vec::new();
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let (spec, parameters) = (&object["spec"], &object["spec"]["parameters"]);
        let text = spec["location"].as_str().unwrap_or_default();
        let location = location::parse(text).unwrap_or_else(|why| {
            causes.push(Cause::invalid("spec.location", &spec["location"], &format!("invalid location format: {why}")));
            Vec::new()
        });
        for asked in ["externalData", "assignIf"] {
            if parameters["assign"].get(asked).or_else(|| parameters.get(asked)).is_some() {
                causes.push(Cause::forbidden(format!("spec.parameters.assign.{asked}"), "is not supported"));
            }
        }
        let matching = Match::read(&spec["match"], "spec.match", &mut causes);
        let change = read_change(&kind, parameters, &location, &mut causes);
        let mut conditions = read_conditions(parameters, &location, &mut causes);
        check_location(&kind, &location, spec, &mut causes);
        if kind == "AssignMetadata"
            && let Some(last) = conditions.last_mut()
        {
            // Labels and annotations are added, never changed.
            *last = Some(Condition::MustNotExist);
        }
        let apply = (kind != "AssignMetadata").then(|| read_apply(spec, &mut causes));
        let id = (kind, meta::name(object).unwrap_or_default().to_owned());
        match change {
            Some(change) if causes.is_empty() => Ok(Mutator { id, matching, apply, location, conditions, change }),
            _ => Err(causes),
        }
    }

    fn applies(&self, object: &Value, operation: &str) -> bool {
        let Some(apply) = &self.apply else { return true };
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let version = api_version.split_once('/').map_or(api_version, |(_, version)| version);
        let kind = object["kind"].as_str().unwrap_or_default();
        let has = |list: &[String], word: &str| list.iter().any(|it| it == word);
        let done = |list: &[String]| list.is_empty() || has(list, "*") || has(list, operation);
        apply.iter().any(|[groups, versions, kinds, operations]| {
            has(kinds, kind) && has(groups, group_of(object)) && has(versions, version) && done(operations)
        })
    }

    fn mutate(&self, object: &mut Value) -> Result<bool, String> {
        let taken;
        let change = match &self.change {
            Change::Metadata(field) => {
                taken = Change::Value(object["metadata"][field].as_str().unwrap_or_default().into());
                &taken
            }
            other => other,
        };
        location::walk(&self.location, &self.conditions, object, change)
    }

    /// Whether another mutator takes a field for a list where this one takes it for an object, on the same kind.
    pub(crate) fn conflicts(&self, other: &Mutator) -> bool {
        if self.id == other.id || !self.shares_kind(other) {
            return false;
        }
        for (mine, theirs) in self.location.windows(2).zip(other.location.windows(2)) {
            if mine[0] != theirs[0] && !matches!((&mine[0], &theirs[0]), (Node::List { .. }, Node::List { .. })) {
                return false;
            }
            match (&mine[1], &theirs[1]) {
                (Node::List { key: a, .. }, Node::List { key: b, .. }) if a == b => {}
                (Node::Field(_), Node::Field(_)) => {}
                _ => return true,
            }
        }
        false
    }

    fn shares_kind(&self, other: &Mutator) -> bool {
        let (Some(mine), Some(theirs)) = (&self.apply, &other.apply) else { return false };
        let share = |a: &[String], b: &[String]| a.iter().any(|it| b.contains(it));
        mine.iter().any(|a| theirs.iter().any(|b| share(&a[0], &b[0]) && share(&a[1], &b[1]) && share(&a[2], &b[2])))
    }
}

fn read_apply(spec: &Value, causes: &mut Vec<Cause>) -> Vec<[Vec<String>; 4]> {
    let apply: Vec<[Vec<String>; 4]> = meta::list(spec.get("applyTo"))
        .iter()
        .map(|it| [texts(&it["groups"]), texts(&it["versions"]), texts(&it["kinds"]), texts(&it["operations"])])
        .collect();
    if apply.iter().all(|[groups, versions, kinds, _]| groups.is_empty() || versions.is_empty() || kinds.is_empty()) {
        causes.push(Cause::required("spec.applyTo", "applyTo required with groups, versions and kinds"));
    }
    if apply.iter().flatten().take(3).flatten().any(|it| it == "*") {
        causes.push(Cause::forbidden("spec.applyTo", "wildcards are not allowed"));
    }
    apply
}

fn read_change(kind: &str, parameters: &Value, location: &[Node], causes: &mut Vec<Cause>) -> Option<Change> {
    let assign = &parameters["assign"];
    match kind {
        "ModifySet" => {
            let values = parameters.pointer("/values/fromList").and_then(Value::as_array).cloned().unwrap_or_default();
            match parameters["operation"].as_str() {
                None | Some("" | "merge") => Some(Change::Merge(values)),
                Some("prune") => Some(Change::Prune(values)),
                Some(_) => {
                    let (field, given) = ("spec.parameters.operation", &parameters["operation"]);
                    causes.push(Cause::not_supported(field, given, &["merge", "prune"]));
                    None
                }
            }
        }
        "AssignImage" => Some(Change::Image(Parts::read(parameters, causes))),
        _ => match (assign.get("value"), assign.pointer("/fromMetadata/field").and_then(Value::as_str)) {
            (Some(_), Some(_)) => {
                causes
                    .push(Cause::forbidden("spec.parameters.assign", "assign one of value and fromMetadata, not both"));
                None
            }
            (Some(value), None) => {
                check_value(kind, value, location, causes);
                Some(Change::Value(value.clone()))
            }
            (None, Some(field @ ("name" | "namespace"))) => Some(Change::Metadata(field.to_owned())),
            (None, Some(_)) => {
                let (field, given) = ("spec.parameters.assign.fromMetadata.field", &assign["fromMetadata"]["field"]);
                causes.push(Cause::not_supported(field, given, &["name", "namespace"]));
                None
            }
            (None, None) => {
                causes.push(Cause::required(
                    "spec.parameters.assign",
                    "assign.value or assign.fromMetadata must be given",
                ));
                None
            }
        },
    }
}

fn check_value(kind: &str, value: &Value, location: &[Node], causes: &mut Vec<Cause>) {
    let field = "spec.parameters.assign.value";
    if kind == "AssignMetadata" && !value.is_string() {
        causes.push(Cause::invalid(field, value, "labels and annotations are texts"));
    }
    if let Some(Node::List { key, value: Some(wanted) }) = location.last()
        && value.get(key) != Some(wanted)
    {
        let why = format!("must be an object whose {key} is {wanted}, as the location says");
        causes.push(Cause::invalid(field, value, &why));
    }
}

fn check_location(kind: &str, location: &[Node], spec: &Value, causes: &mut Vec<Cause>) {
    let mut wrong = |why: &str| causes.push(Cause::invalid("spec.location", &spec["location"], why));
    let field = |at: usize, name: &str| matches!(location.get(at), Some(Node::Field(it)) if it == name);
    let metadata = field(0, "metadata");
    let terminal_list = matches!(location.last(), Some(Node::List { .. }));
    match kind {
        "AssignMetadata" => {
            let labelled = field(1, "labels") || field(1, "annotations");
            if !(metadata && labelled && location.len() == 3 && !terminal_list) {
                wrong("must be metadata.labels.NAME or metadata.annotations.NAME");
            }
        }
        _ if metadata => wrong("can't change metadata"),
        "ModifySet" | "AssignImage" if terminal_list => wrong("final node cannot be a keyed list"),
        _ => {}
    }
    if let Some(Node::List { value: None, .. }) = location.last() {
        wrong("can't append to a globbed list");
    }
    for pair in location.windows(2) {
        if let [Node::List { key, .. }, Node::Field(name)] = pair
            && key == name
        {
            wrong("the key of a list's item can not be changed");
        }
    }
}

fn read_conditions(parameters: &Value, location: &[Node], causes: &mut Vec<Cause>) -> Vec<Option<Condition>> {
    let mut out = vec![None; location.len()];
    for (n, test) in meta::list(parameters.get("pathTests")).iter().enumerate() {
        let field = format!("spec.parameters.pathTests[{n}]");
        let condition = match test["condition"].as_str() {
            Some("MustExist") => Condition::MustExist,
            Some("MustNotExist") => Condition::MustNotExist,
            _ => {
                let known = ["MustExist", "MustNotExist"];
                causes.push(Cause::not_supported(format!("{field}.condition"), &test["condition"], &known));
                continue;
            }
        };
        match location::parse(test["subPath"].as_str().unwrap_or_default()) {
            Ok(path) if !path.is_empty() && location.starts_with(&path) => {
                let slot = &mut out[path.len() - 1];
                if slot.is_some_and(|it| it != condition) {
                    causes.push(Cause::invalid(format!("{field}.subPath"), &test["subPath"], "conflicting conditions"));
                }
                *slot = Some(condition);
            }
            _ => {
                let why = "all subpaths must be a prefix of the `location` value of the mutation";
                causes.push(Cause::invalid(format!("{field}.subPath"), &test["subPath"], why));
            }
        }
    }
    out
}

impl Setter for Change {
    fn set(&self, object: &mut Map<String, Value>, field: &str) -> Result<(), String> {
        let list = |object: &Map<String, Value>| match object.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.clone())),
            Some(_) => Err(format!("{field:?} is not a list of values, it can not be treated as a set")),
        };
        let value = match self {
            Change::Value(value) => value.clone(),
            Change::Metadata(_) => return Ok(()),
            Change::Merge(values) => {
                let mut items = list(object)?.unwrap_or_default();
                for value in values {
                    if !items.contains(value) {
                        items.push(value.clone());
                    }
                }
                items.into()
            }
            Change::Prune(values) => {
                let Some(mut items) = list(object)? else { return Ok(()) };
                items.retain(|item| !values.contains(item));
                items.into()
            }
            Change::Image(parts) => match object.get(field) {
                None | Some(Value::Null) => parts.applied("").into(),
                Some(Value::String(text)) => parts.applied(text).into(),
                Some(_) => return Err(format!("{field:?} is not a text")),
            },
        };
        object.insert(field.to_owned(), value);
        Ok(())
    }

    fn item(&self) -> Result<&Map<String, Value>, String> {
        match self {
            Change::Value(Value::Object(item)) => Ok(item),
            _ => Err("only objects can be added to keyed lists".to_owned()),
        }
    }
}
