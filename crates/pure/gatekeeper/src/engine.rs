//! The engine of policies. Entry point: [`Gatekeeper`].

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use eyot_model::{
    kinds::{Kind, Table},
    meta,
    status::Cause,
};
use eyot_policy::{Data, Denial, Engine, Finding, Mutation, Operation, Outcome, Review, Turns, Verdict};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    CONFIG, CONSTRAINTS, EXPANSION, EXTERNAL, MUTATIONS, SYNCSET, TEMPLATES,
    config::{self, Config, Process},
    constraint::{Action, Constraint, Point},
    crd,
    expand::Expansion,
    judge::{Case, Found, NOTHING, Stock, judge_expanded, unexpanded},
    matching::Source,
    mutate::{self, Mutator},
    state::State,
    status,
    template::Template,
};

/// Subresources whose writes are judged beside those of objects themselves: those that Gatekeeper's webhook asks for.
const SUBRESOURCES: [&str; 3] = ["ephemeralcontainers", "binding", "scale"];

/// Gatekeeper as an engine of policies.
#[derive(Default)]
pub struct Gatekeeper {
    state: ArcSwap<State>,
    /// Held by writers of the state.
    changing: Mutex<()>,
    tell: ArcSwapOption<Box<dyn Fn() + Send + Sync>>,
}

/// What an object is to this engine.
enum Role {
    Template,
    Constraint,
    Mutator,
    Expansion,
    Config,
    SyncSet,
    Provider,
    Other,
}

fn role_of(group: &str, kind: &str) -> Role {
    match (group, kind) {
        (TEMPLATES, "ConstraintTemplate") => Role::Template,
        (CONSTRAINTS, _) => Role::Constraint,
        (MUTATIONS, "Assign" | "AssignMetadata" | "ModifySet" | "AssignImage") => Role::Mutator,
        (EXPANSION, "ExpansionTemplate") => Role::Expansion,
        (CONFIG, "Config") => Role::Config,
        (SYNCSET, "SyncSet") => Role::SyncSet,
        (EXTERNAL, "Provider") => Role::Provider,
        _ => Role::Other,
    }
}

fn role_of_object(object: &Value) -> Role {
    role_of(crate::matching::group_of(object), object["kind"].as_str().unwrap_or_default())
}

impl Gatekeeper {
    /// An engine without policies.
    pub fn new() -> Gatekeeper {
        Gatekeeper::default()
    }

    /// Has `tell` called whenever something else is in force. It must not block.
    pub fn on_change(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.tell.store(Some(Arc::new(Box::new(tell))));
    }

    /// Kind and name of every constraint that is in force.
    pub fn constraints(&self) -> Vec<(String, String)> {
        let state = self.state.load();
        state.constraints.keys().filter(|(kind, _)| state.templates.contains_key(kind)).cloned().collect()
    }

    /// The stored kinds that constraints may be about, each in its preferred version. What can not be watched is not stored,
    /// but made when it is asked for.
    pub fn audited(&self, kinds: &Table) -> Vec<Arc<Kind>> {
        let state = self.state.load();
        let judged = |it: &&Arc<Kind>| {
            let preferred = kinds.preferred(&it.group, &it.kind).is_some_and(|kind| kind.version == it.version);
            preferred && it.allows("list") && it.allows("watch") && state.judges(&it.group, &it.kind)
        };
        kinds.iter().filter(judged).cloned().collect()
    }

    /// Looks at stored objects, each with the Namespace it lies in, and calls `each` with everything that is found. Other
    /// objects that templates look up are read once for all of them.
    pub fn audit_all<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'a Value, Option<&'a Value>)>,
        now: Timestamp,
        data: &dyn Data,
        each: &mut dyn FnMut(&Value, Finding),
    ) {
        let state = self.state.load();
        let now_ns = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
        let stock = Stock::of(data);
        for (object, namespace) in objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            if !state.judges(crate::matching::group_of(object), kind) {
                continue;
            }
            let case = Case::new(&state, object, &NOTHING, namespace, Point::Audit, now_ns, &stock);
            let (found, failed) = judge_expanded(&case);
            let failed = failed.map_or_else(Vec::new, |failed| unexpanded(&case, &failed));
            found.into_iter().chain(failed).for_each(|found| each(object, finding(found)));
        }
    }

    /// Changes a copy of the state and puts it in force.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.state.load());
        change(&mut state);
        state.index();
        self.state.store(Arc::new(state));
        if let Some(tell) = &*self.tell.load() {
            tell();
        }
    }

    fn put_template(&self, object: &Value) {
        let template = match Template::read(object) {
            Ok(template) => template,
            // The one before it stays. After a start there is none.
            Err(causes) => match Template::unreadable(object, &causes) {
                Some(it) if !self.state.load().templates.contains_key(&it.kind) => it,
                _ => return,
            },
        };
        self.change(|state| {
            let template = Arc::new(template);
            // Defaults of parameters come from the template.
            for (key, constraint) in &mut state.constraints {
                if key.0 == template.kind {
                    *constraint = Arc::new(Constraint::stored(&constraint.object, Some(&template)));
                }
            }
            state.templates.insert(template.kind.clone(), template);
        });
    }

    fn put_constraint(&self, object: &Value) {
        let template = self.state.load().templates.get(object["kind"].as_str().unwrap_or_default()).cloned();
        let constraint = Constraint::stored(object, template.as_deref());
        let key = (constraint.kind.clone(), constraint.name.clone());
        // The one before it stays. After a start there is none.
        if constraint.flaw.is_some() && self.state.load().constraints.contains_key(&key) {
            return;
        }
        // A write of its status changes nothing.
        if template.is_some()
            && self.state.load().constraints.get(&key).is_some_and(|it| it.written == constraint.written)
        {
            return;
        }
        self.change(|state| {
            state.constraints.insert(key, Arc::new(constraint));
        });
    }

    fn stages(review: &Review<'_>) -> bool {
        review.operation != Operation::Connect
            && (review.subresource.is_empty() || SUBRESOURCES.contains(&review.subresource))
    }
}

/// The name under which a Config counts: only one of them does.
fn is_the_config(object: &Value) -> bool {
    meta::name(object) == Some("config")
}

impl Engine for Gatekeeper {
    fn name(&self) -> &'static str {
        "gatekeeper"
    }

    fn definitions(&self) -> Vec<Value> {
        crd::own()
    }

    fn governs(&self, group: &str, kind: &str) -> bool {
        !matches!(role_of(group, kind), Role::Other)
    }

    fn check(&self, object: &mut Value, old: Option<&Value>, _: &dyn Data) -> Result<Vec<String>, Vec<Cause>> {
        match role_of_object(object) {
            Role::Template => {
                let path = "/spec/crd/spec/names/kind";
                if let Some(old) = old.and_then(|it| it.pointer(path))
                    && object.pointer(path) != Some(old)
                {
                    let why = "the kind of a template's constraints can not be changed";
                    return Err(vec![Cause::forbidden("spec.crd.spec.names.kind", why)]);
                }
                Template::read(object)?;
                status::of_template(object);
            }
            Role::Constraint => {
                Constraint::read(object, None)?;
                status::enforced(object, old, "constraintUID");
            }
            Role::Mutator => {
                let mutator = Mutator::read(object)?;
                let state = self.state.load();
                if let Some(other) = state.mutators.values().find(|other| other.conflicts(&mutator)) {
                    let why = format!("takes a location for another type than {} {} does", other.id.0, other.id.1);
                    return Err(vec![Cause::invalid("spec.location", &object["spec"]["location"], &why)]);
                }
                status::enforced(object, old, "mutatorUID");
            }
            Role::Expansion => {
                Expansion::read(object)?;
                status::enforced(object, old, "templateUID");
            }
            Role::Provider => {
                let why = "external data is not available: a write does not wait for other machines";
                return Err(vec![Cause::forbidden("spec.url", why)]);
            }
            Role::Config if !is_the_config(object) => {
                return Ok(vec!["a Config must be called config to take effect".to_owned()]);
            }
            Role::Config => {
                let unused = ["validation", "readiness"].into_iter().filter(|it| object["spec"].get(it).is_some());
                return Ok(unused.map(|it| format!("spec.{it} has no effect here")).collect());
            }
            Role::SyncSet | Role::Other => {}
        }
        Ok(Vec::new())
    }

    fn doubted(&self, object: &Value, causes: &[Cause]) -> Option<Value> {
        let uid_field = match role_of_object(object) {
            Role::Template | Role::Expansion => "templateUID",
            Role::Constraint => "constraintUID",
            Role::Mutator => "mutatorUID",
            Role::Config | Role::SyncSet | Role::Provider | Role::Other => return None,
        };
        Some(status::unreadable(object, uid_field, causes))
    }

    fn companions(&self, object: &Value) -> Vec<Value> {
        match role_of_object(object) {
            Role::Template => crd::of_template(object).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn put(&self, object: &Value) {
        let name = meta::name(object).unwrap_or_default().to_owned();
        match role_of_object(object) {
            Role::Template => self.put_template(object),
            Role::Constraint => self.put_constraint(object),
            Role::Mutator => {
                if let Ok(mutator) = Mutator::read(object) {
                    self.change(|state| drop(state.mutators.insert(mutator.id.clone(), Arc::new(mutator))));
                }
            }
            Role::Expansion => {
                if let Ok(expansion) = Expansion::read(object) {
                    self.change(|state| drop(state.expansions.insert(name, Arc::new(expansion))));
                }
            }
            Role::Config if is_the_config(object) => self.change(|state| state.config = Config::read(object)),
            Role::SyncSet => {
                let kinds = config::gvks(object.pointer("/spec/gvks"));
                self.change(|state| drop(state.syncsets.insert(name, kinds)));
            }
            Role::Config | Role::Provider | Role::Other => {}
        }
    }

    fn remove(&self, group: &str, kind: &str, _: &str, name: &str) {
        let key = (kind.to_owned(), name.to_owned());
        match role_of(group, kind) {
            Role::Template => self.change(|state| state.templates.retain(|kind, _| kind.to_lowercase() != name)),
            Role::Constraint => self.change(|state| drop(state.constraints.remove(&key))),
            Role::Mutator => self.change(|state| drop(state.mutators.remove(&key))),
            Role::Expansion => self.change(|state| drop(state.expansions.remove(name))),
            Role::Config if name == "config" => self.change(|state| state.config = Config::default()),
            Role::SyncSet => self.change(|state| drop(state.syncsets.remove(name))),
            Role::Config | Role::Provider | Role::Other => {}
        }
    }

    fn wants(&self, review: &Review<'_>) -> bool {
        if !Gatekeeper::stages(review) {
            return false;
        }
        let state = self.state.load();
        let (group, _, kind) = review.carried();
        state.judges(group, kind) || state.mutates(group, kind)
    }

    fn mutate(&self, review: &Review<'_>, object: &mut Value, _: &mut Turns, _: &dyn Data) -> Result<Mutation, Denial> {
        let state = self.state.load();
        let (group, _, kind) = review.carried();
        let applies = review.subresource.is_empty() && !object.is_null() && review.operation != Operation::Delete;
        if !applies || !state.mutates(group, kind) || state.config.excludes(Process::Mutation, review.namespace) {
            return Ok(Mutation::default());
        }
        let namespace = review.namespace_object.filter(|_| !review.resource.is("", "Namespace"));
        match mutate::apply(&state, object, namespace, Source::Original, review.operation.as_str()) {
            Ok(changed) => Ok(Mutation { changed, ..Mutation::default() }),
            Err(error) => Err(Denial::forbidden(
                "mutation.gatekeeper.sh",
                format!("admission webhook \"mutation.gatekeeper.sh\" denied the request: {error}"),
            )),
        }
    }

    fn validate(&self, review: &Review<'_>, data: &dyn Data) -> Verdict {
        let state = self.state.load();
        let (group, _, kind) = review.carried();
        if !state.judges(group, kind) {
            return Verdict::default();
        }
        let stock = Stock::of(data);
        let case = Case::of_review(&state, review, &stock);
        match judge_expanded(&case) {
            (found, None) => verdict(&found),
            (_, Some(failed)) => refusal("gatekeeper", &failed.why),
        }
    }

    fn audit(&self, object: &Value, namespace: Option<&Value>, now: Timestamp, data: &dyn Data) -> Vec<Finding> {
        let mut out = Vec::new();
        self.audit_all([(object, namespace)], now, data, &mut |_, finding| out.push(finding));
        out
    }
}

fn finding(found: Found) -> Finding {
    let constraint = &found.constraint;
    let outcome = if found.failed { Outcome::Error } else { Outcome::Fail };
    Finding {
        policy: [CONSTRAINTS.to_owned(), constraint.kind.clone(), String::new(), constraint.name.clone()],
        rule: String::new(),
        outcome,
        action: constraint.word().to_owned(),
        message: found.message,
        details: found.details,
    }
}

fn refusal(policy: &str, messages: &str) -> Verdict {
    let message = format!("admission webhook \"validation.gatekeeper.sh\" denied the request: {messages}");
    Verdict { denials: vec![Denial::forbidden(policy, message)], ..Verdict::default() }
}

fn verdict(found: &[Found]) -> Verdict {
    let told = |action: Action| -> Vec<String> {
        let of = found.iter().filter(|it| it.actions.contains(&action));
        of.map(|it| format!("[{}] {}", it.constraint.name, it.message)).collect()
    };
    let (denied, warnings) = (told(Action::Deny), told(Action::Warn));
    let mut verdict = match found.iter().find(|it| it.actions.contains(&Action::Deny)) {
        Some(first) => refusal(&first.constraint.name, &denied.join("\n")),
        None => Verdict::default(),
    };
    verdict.warnings = warnings;
    verdict
}
