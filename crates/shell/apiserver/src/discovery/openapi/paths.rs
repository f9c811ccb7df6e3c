//! Paths of kinds with their operations, as far as clients look at them: parameters, bodies, and which kind it is.

use eyot_model::{
    kinds::{Kind, Subresource},
    schema,
};
use serde_json::{Map, Value, json};

use super::{
    group_version_kind,
    schemas::{Dialect, name_of, name_of_shape},
};

const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

/// The paths of these kinds.
pub(super) fn of(kinds: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in kinds {
        let root = if kind.group.is_empty() { "/api" } else { "/apis" };
        let base = format!("{root}/{}", kind.api_version());
        let place = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{base}{place}/{}", kind.plural);
        let object = format!("{collection}/{{name}}");
        let describe = Describe { kind, sub: None, dialect };
        describe.path(&mut paths, collection, &[("get", "list"), ("post", "create"), ("delete", "deletecollection")]);
        describe.path(&mut paths, object.clone(), OF_ONE);
        if kind.namespaced {
            describe.path(&mut paths, format!("{base}/{}", kind.plural), &[("get", "list")]);
        }
        for sub in &kind.subresources {
            let describe = Describe { kind, sub: Some(sub), dialect };
            let operations: Vec<_> = OF_ONE.iter().chain(&[("post", "create")]).copied().collect();
            describe.path(&mut paths, format!("{object}/{}", sub.name), &operations);
        }
    }
    paths
}

/// Methods on one object, and their verbs.
const OF_ONE: &[(&str, &str)] = &[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")];

struct Describe<'k> {
    kind: &'k Kind,
    sub: Option<&'k Subresource>,
    dialect: Dialect,
}

impl Describe<'_> {
    /// Adds a path with those of the operations that the kind allows.
    fn path(&self, paths: &mut Map<String, Value>, path: String, operations: &[(&str, &str)]) {
        let allows = |verb: &str| match self.sub {
            Some(sub) => sub.verbs.iter().any(|it| it == verb),
            None => self.kind.allows(verb),
        };
        let allowed = operations.iter().filter(|(_, verb)| allows(verb));
        let everywhere = self.kind.namespaced && !path.contains("{namespace}");
        let mut item: Map<String, Value> =
            allowed.map(|(method, verb)| ((*method).to_owned(), self.operation(verb, everywhere))).collect();
        if item.is_empty() {
            return;
        }
        let in_path = ["namespace", "name"].into_iter().filter(|it| path.contains(&format!("{{{it}}}")));
        let parameters: Vec<Value> = in_path.map(|it| self.parameter(it, "path", "string")).collect();
        if !parameters.is_empty() {
            item.insert("parameters".into(), parameters.into());
        }
        paths.insert(path, item.into());
    }

    /// What an operation carries: a kind of its own where a subresource has one.
    fn carried(&self) -> Value {
        match self.sub {
            Some(sub) => json!({"group": sub.group, "version": sub.version, "kind": sub.kind}),
            None => group_version_kind(self.kind),
        }
    }

    /// The schema of what an operation carries.
    fn schema_name(&self) -> Option<String> {
        match self.sub {
            Some(sub) if (&sub.group, &sub.kind) == (&self.kind.group, &self.kind.kind) => name_of(self.kind),
            Some(sub) => schema::root_of(&sub.group, &sub.version, &sub.kind).and_then(|it| name_of_shape(&it)),
            None => name_of(self.kind),
        }
    }

    /// A name for the operation, by which generated clients call it.
    fn id(&self, verb: &str, everywhere: bool) -> String {
        let action = match verb {
            "get" => "read",
            "update" => "replace",
            "deletecollection" => "deleteCollection",
            other => other,
        };
        let upper = |text: &str| text[..1].to_uppercase() + &text[1..];
        let group = match self.kind.group.split('.').next().unwrap_or_default() {
            "" => "Core".to_owned(),
            group => upper(group),
        };
        let place = if self.kind.namespaced && !everywhere { "Namespaced" } else { "" };
        let (version, kind) = (upper(&self.kind.version), &self.kind.kind);
        let sub = self.sub.map(|it| upper(&it.name)).unwrap_or_default();
        let all = if everywhere { "ForAllNamespaces" } else { "" };
        format!("{action}{group}{version}{place}{kind}{sub}{all}")
    }

    fn operation(&self, verb: &str, everywhere: bool) -> Value {
        let action = match verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let mut operation = json!({
            "operationId": self.id(verb, everywhere),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": self.carried(),
        });
        let query: &[(&str, &str)] = match verb {
            "create" | "update" => &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")],
            "patch" => {
                &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")]
            }
            "delete" | "deletecollection" => {
                &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")]
            }
            "list" => &[
                ("allowWatchBookmarks", "boolean"),
                ("continue", "string"),
                ("fieldSelector", "string"),
                ("labelSelector", "string"),
                ("limit", "integer"),
                ("resourceVersion", "string"),
                ("resourceVersionMatch", "string"),
                ("sendInitialEvents", "boolean"),
                ("timeoutSeconds", "integer"),
                ("watch", "boolean"),
            ],
            _ => &[],
        };
        let mut parameters: Vec<Value> = query.iter().map(|it| self.parameter(it.0, "query", it.1)).collect();
        self.body(verb, &mut operation, &mut parameters);
        operation["parameters"] = parameters.into();
        let schema = self.schema_name().map(|it| match verb {
            "list" => self.dialect.reference(&format!("{it}List")),
            _ => self.dialect.reference(&it),
        });
        let schema = schema.filter(|_| !matches!(verb, "delete" | "deletecollection"));
        operation["responses"] = match (self.dialect, schema) {
            (Dialect::V2, Some(schema)) => json!({"200": {"description": "OK", "schema": schema}}),
            (Dialect::V3, Some(schema)) => {
                json!({"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}})
            }
            (_, None) => json!({"200": {"description": "OK"}}),
        };
        operation
    }

    fn body(&self, verb: &str, operation: &mut Value, parameters: &mut Vec<Value>) {
        let schema = match verb {
            "patch" => json!({"type": "object"}),
            "create" | "update" => match self.schema_name() {
                Some(name) => self.dialect.reference(&name),
                None => return,
            },
            _ => return,
        };
        let types: &[&str] = match verb {
            // The last one says nothing about lists of custom kinds.
            "patch" if self.kind.custom.is_some() => &PATCHES[..3],
            "patch" => &PATCHES,
            _ => &["application/json", "application/yaml"],
        };
        match self.dialect {
            Dialect::V2 => {
                operation["consumes"] = types.into();
                parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
            }
            Dialect::V3 => {
                let content: Map<String, Value> =
                    types.iter().map(|it| ((*it).to_owned(), json!({"schema": schema}))).collect();
                operation["requestBody"] = json!({"content": content, "required": true});
            }
        }
    }

    fn parameter(&self, name: &str, place: &str, kind: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place});
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self.dialect {
            Dialect::V2 => parameter["type"] = kind.into(),
            Dialect::V3 => parameter["schema"] = json!({"type": kind}),
        }
        parameter
    }
}
