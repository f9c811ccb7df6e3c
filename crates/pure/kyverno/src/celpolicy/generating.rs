//! Policies that make objects: GeneratingPolicy. Entry points: [`CelGenerator::compile`], [`CelGenerator::make`].

use std::{rc::Rc, sync::Arc};

use eyot_model::{meta, status::Cause};
use eyot_rules::{Budget, Environment, Variable};
use eyot_vap::{Expression, Policy, conditions, flaws};
use serde_json::Value;

use super::{
    CelException, GENERATING,
    exception::{Excused, excused},
    is_about_deletes,
    template::Template,
};
use crate::{
    Status,
    generate::{self, Made},
    library::{Host, Notes},
};

/// A policy that makes objects.
#[derive(Debug)]
pub(crate) struct CelGenerator {
    /// `GeneratingPolicy` and so on.
    pub(crate) kind: String,
    /// Empty for one that is about all namespaces.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Identity, once it is stored.
    pub(crate) uid: String,
    /// What it is about, its conditions and variables.
    pub(crate) policy: Policy,
    steps: Vec<Result<Step, String>>,
    /// Whether it is about what is written at all.
    pub(crate) admission: bool,
    /// Whether it is also for triggers that were there before.
    pub(crate) existing: bool,
    /// Whether what it makes follows its trigger and goes with it.
    pub(crate) synchronize: bool,
    /// Whether what it made outlives the policy.
    pub(crate) orphans: bool,
    /// Whether it is about triggers that are deleted.
    pub(crate) on_delete: bool,
}

/// One of the things to do for a trigger.
#[derive(Debug)]
enum Step {
    /// An expression that calls `generator.Apply`.
    Run(Box<Expression>),
    Fill(Template),
}

/// What becomes of a trigger.
pub(crate) enum Making {
    /// A condition does not hold.
    Unmet,
    /// Exceptions let it be, which are named.
    Excused(Status, Vec<String>),
    /// What was made, and what was looked at for that.
    Done(Notes),
}

fn step(generate: &Value, variables: &[Variable]) -> Result<Step, String> {
    let template = &generate["template"];
    let text = generate["expression"].as_str().unwrap_or_default();
    if template.is_object() {
        if !text.is_empty() {
            return Err("only one of expression or template may be set".to_owned());
        }
        let interpolates = template["interpolate"] == "cel";
        let text = template["value"].as_str().unwrap_or_default();
        return Template::compile(text, interpolates, &GENERATING, variables).map(Step::Fill);
    }
    if text.trim().is_empty() {
        return Err("one of expression or template must be set".to_owned());
    }
    let expression = Expression::compile_with(text, &GENERATING, variables);
    match expression.flaw() {
        Some(why) => Err(why.to_owned()),
        None => Ok(Step::Run(Box::new(expression))),
    }
}

/// Everything that is wrong with a policy, beside unknown fields.
pub(super) fn flaws(object: &Value) -> Vec<Cause> {
    let mut causes = flaws::surroundings(object, &GENERATING);
    let generate = meta::list(object["spec"].get("generate"));
    if generate.is_empty() {
        causes.push(Cause::required("spec.generate", "must contain at least one item"));
    }
    let policy = Policy::compile(object, false, &GENERATING);
    for (at, it) in generate.iter().enumerate() {
        let mode = &it["template"]["interpolate"];
        if !matches!(mode.as_str(), Some("cel" | "none" | "")) && !mode.is_null() {
            let path = format!("spec.generate[{at}].template.interpolate");
            causes.push(Cause::not_supported(path, mode, &["cel", "none"]));
        }
        if let Err(why) = step(it, &policy.variables) {
            causes.push(Cause::invalid(format!("spec.generate[{at}]"), it, &why));
        }
    }
    causes
}

impl CelGenerator {
    /// Compiles a policy whose fields were checked; expressions that are wrong fail when they are evaluated.
    pub(crate) fn compile(object: &Value) -> CelGenerator {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        let policy = Policy::compile(object, false, &GENERATING);
        let enabled = |what: &str, otherwise| spec["evaluation"][what]["enabled"].as_bool().unwrap_or(otherwise);
        CelGenerator {
            kind: text(&object["kind"]),
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            steps: meta::list(spec.get("generate")).iter().map(|it| step(it, &policy.variables)).collect(),
            admission: enabled("admission", true),
            existing: enabled("generateExisting", false),
            synchronize: enabled("synchronize", false),
            orphans: enabled("orphanDownstreamOnPolicyDelete", false),
            on_delete: is_about_deletes(spec),
            policy,
        }
    }

    /// `namespace/name`, or the name.
    pub(crate) fn key(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }

    /// What is made for a trigger, whose kind and place were found to fit.
    ///
    /// # Errors
    /// What went wrong in an expression.
    pub(crate) fn make(
        &self,
        seen: &Environment,
        host: &Rc<Host>,
        exceptions: &[Arc<CelException>],
    ) -> Result<Making, String> {
        let named: Vec<&CelException> = exceptions
            .iter()
            .map(AsRef::as_ref)
            .filter(|it| it.names([&self.kind, &self.namespace, &self.name]))
            .collect();
        let seen = match excused(&named, seen, false)? {
            Excused::Wholly(status, names) => return Ok(Making::Excused(status, names)),
            Excused::Partly(shown) => seen.with_value("exceptions", shown),
        };
        if let Some(why) = &self.policy.broken {
            return Err(why.clone());
        }
        let mut budget = Budget::new(Budget::WRITE);
        if !conditions(&self.policy.conditions, &seen, &mut budget)? {
            return Ok(Making::Unmet);
        }
        let seen = seen.with_variables(self.policy.variables.clone());
        let mut filled = Vec::new();
        for step in &self.steps {
            match step.as_ref().map_err(Clone::clone)? {
                Step::Run(expression) => drop(expression.run(&seen, &mut budget)?),
                Step::Fill(template) => filled.extend(template.fill(&seen, &mut budget)?),
            }
        }
        let mut notes = host.take_notes();
        for object in filled {
            let namespace = meta::namespace(&object).unwrap_or_default().to_owned();
            if !self.namespace.is_empty() && !namespace.is_empty() && namespace != self.namespace {
                return Err(format!(
                    "a policy in namespace {:?} cannot generate into namespace {namespace:?}",
                    self.namespace
                ));
            }
            let namespace = if namespace.is_empty() { self.namespace.clone() } else { namespace };
            notes.made.push((namespace, object));
        }
        Ok(Making::Done(notes))
    }

    /// An object as it is to be written, for objects of its kind have namespaces or not.
    ///
    /// # Errors
    /// When it may not be made.
    pub(crate) fn product(
        &self,
        mut object: Value,
        (namespace, namespaced): (&str, bool),
        trigger: &Value,
    ) -> Result<Made, String> {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if !namespaced && !self.namespace.is_empty() {
            return Err(format!("a policy in a namespace cannot generate a {kind}, which has none"));
        }
        let metadata = meta::entry(&mut object, "metadata");
        let copied = metadata.get("resourceVersion").and(metadata.get("uid")).cloned();
        let from = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().to_owned();
        // What the server gave a source is not its copy's.
        metadata.retain(|key, _| {
            matches!(key.as_str(), "name" | "labels" | "annotations" | "finalizers")
                || (key == "ownerReferences" && (from.is_empty() || from == namespace))
        });
        if metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(format!("a {kind} that is generated has no name"));
        }
        if namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        generate::mark(&mut object, [&self.name, &self.namespace, ""], trigger);
        if let Some(uid) = copied {
            object["metadata"]["labels"][generate::label::SOURCE_UID] = uid;
            meta::as_map(&mut object).remove("status");
        }
        Ok(Made { object, source: None, synchronize: self.synchronize })
    }
}
