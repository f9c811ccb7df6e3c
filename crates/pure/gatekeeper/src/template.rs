//! Constraint templates. Entry point: [`Template::read`].

use eyot_model::{
    custom::{default, schema::Schema},
    meta,
    status::Cause,
};
use serde_json::{Value, json};

use crate::{
    config::{self, Gvk},
    crd,
    policy::{self, Policy},
};

/// The one target there is.
const TARGET: &str = "admission.k8s.gatekeeper.sh";

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template {
    /// The kind of its constraints.
    pub(crate) kind: String,
    pub(crate) policy: Policy,
    /// Kinds that it says it looks up.
    pub(crate) requires: Vec<Gvk>,
    /// Operations beside create and update that it asks to judge.
    operations: Vec<String>,
    parameters: Option<Schema>,
}

impl Template {
    /// Compiles a ConstraintTemplate of any version.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(object: &Value) -> Result<Template, Vec<Cause>> {
        let mut causes = Vec::new();
        let kind = object.pointer("/spec/crd/spec/names/kind").and_then(Value::as_str).unwrap_or_default();
        let name = meta::name(object).unwrap_or_default();
        if kind.is_empty() {
            causes.push(Cause::required("spec.crd.spec.names.kind", ""));
        } else if name != kind.to_lowercase() {
            let why =
                format!("template's name {name} is not equal to the lowercase of CRD's Kind: {}", kind.to_lowercase());
            causes.push(Cause::invalid("metadata.name", &object["metadata"]["name"], &why));
        }
        let target = match meta::list(object.pointer("/spec/targets")) {
            [one] => one,
            [] => {
                causes.push(Cause::required(
                    "spec.targets",
                    "no targets specified: ConstraintTemplate must specify one target",
                ));
                return Err(causes);
            }
            many => {
                causes.push(Cause::too_many("spec.targets", many.len(), 1));
                return Err(causes);
            }
        };
        if target["target"] != TARGET {
            causes.push(Cause::not_supported("spec.targets[0].target", &target["target"], &[TARGET]));
        }
        let policy = match policy::read(target, kind, "spec.targets[0]") {
            Ok(policy) if causes.is_empty() => policy,
            Ok(_) => return Err(causes),
            Err(more) => {
                causes.extend(more);
                return Err(causes);
            }
        };
        Ok(Template {
            kind: kind.to_owned(),
            policy,
            requires: config::required(object),
            operations: crate::matching::texts(&target["operations"]),
            parameters: crd::parameters(object).filter(|it| it.is_object()).map(|it| Schema::parse(&it)),
        })
    }

    /// A template that an older server stored and that cannot be read: what its constraints are about cannot be judged, and
    /// is not let pass. Nothing where it does not say whose template it is.
    pub(crate) fn unreadable(object: &Value, causes: &[Cause]) -> Option<Template> {
        let kind = object.pointer("/spec/crd/spec/names/kind")?.as_str().filter(|it| !it.is_empty())?;
        let told: Vec<String> = causes.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
        let operations = object.pointer("/spec/targets/0/operations").map(crate::matching::texts);
        Some(Template {
            kind: kind.to_owned(),
            policy: Policy::Unreadable(format!("the template of {kind} cannot be read: {}", told.join("; "))),
            requires: Vec::new(),
            operations: operations.unwrap_or_default(),
            parameters: None,
        })
    }

    /// A constraint's parameters, with what the schema gives by default.
    pub(crate) fn parameters(&self, constraint: &Value) -> Value {
        let mut parameters = constraint.pointer("/spec/parameters").cloned().unwrap_or_else(|| json!({}));
        if let Some(schema) = &self.parameters {
            default::fill(&mut parameters, schema);
        }
        parameters
    }

    /// Whether it judges an operation: creates and updates, and what it asks for by name.
    pub(crate) fn judges(&self, operation: &str) -> bool {
        if self.operations.is_empty() {
            return matches!(operation, "" | "CREATE" | "UPDATE");
        }
        operation.is_empty() || self.operations.iter().any(|it| it == "*" || it == operation)
    }
}
