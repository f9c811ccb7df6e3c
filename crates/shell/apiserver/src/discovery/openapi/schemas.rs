//! Schemas of kinds and of the types they are made of.

use std::collections::{BTreeMap, HashMap};

use eyot_model::{
    kinds::Kind,
    schema::{self, Definition, Field, ListType, PatchStrategy, Shape},
};
use serde_json::{Map, Value, json};

use super::{custom, group_version_kind};

/// Which OpenAPI a document speaks; they differ in where references lead and in how requests are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// What a schema says, with something said about this use of it. Version 3 gives references no neighbours.
    fn described(self, mut schema: Value, text: Option<&str>) -> Value {
        if let (Dialect::V3, Some(Value::String(place))) = (self, schema.get("$ref")) {
            schema = json!({"allOf": [{"$ref": place}]});
        }
        if let Some(text) = text {
            schema["description"] = text.into();
        }
        schema
    }

    /// A reference to a schema.
    pub(super) fn reference(self, name: &str) -> Value {
        let place = match self {
            Dialect::V2 => "definitions",
            Dialect::V3 => "components/schemas",
        };
        json!({"$ref": format!("#/{place}/{name}")})
    }
}

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The schemas of these kinds, of their lists, and of everything in them.
pub(super) fn of(kinds: &[&Kind], dialect: Dialect) -> Map<String, Value> {
    let mut schemas = Schemas { dialect, done: BTreeMap::new(), waiting: Vec::new() };
    for kind in kinds {
        schemas.kind(kind);
    }
    schemas.done.insert(LIST_META.to_owned(), list_meta());
    while let Some(definition) = schemas.waiting.pop() {
        schemas.definition(definition);
    }
    schemas.done.into_iter().collect()
}

/// The name of a kind's schema.
pub(super) fn name_of(kind: &Kind) -> Option<String> {
    if kind.custom.is_some() {
        return Some(custom::name(kind));
    }
    name_of_shape(&schema::root(kind)?)
}

/// The name of the schema of an object type.
pub(super) fn name_of_shape(shape: &Shape) -> Option<String> {
    shape.definition().map(name)
}

/// The name under which a type's schema is published.
fn name(definition: &Definition) -> String {
    match definition.name.split_once('.') {
        Some(("meta", _)) => format!("io.k8s.apimachinery.pkg.apis.{}", definition.name),
        Some(("apiextensions", _)) => format!("io.k8s.apiextensions-apiserver.pkg.apis.{}", definition.name),
        Some(("apiregistration", _)) => format!("io.k8s.kube-aggregator.pkg.apis.{}", definition.name),
        Some(("gateway", rest)) => format!("io.k8s.networking.gateway.{rest}"),
        _ => format!("io.k8s.api.{}", definition.name),
    }
}

struct Schemas {
    dialect: Dialect,
    done: BTreeMap<String, Value>,
    waiting: Vec<&'static Definition>,
}

impl Schemas {
    fn kind(&mut self, kind: &Kind) {
        let name = match &kind.custom {
            Some(custom) => {
                let metadata = self.metadata();
                let name = custom::name(kind);
                self.done.insert(name.clone(), custom::schema(custom, self.dialect, &metadata));
                name
            }
            None => {
                let Some(definition) = schema::root(kind).and_then(|it| it.definition()) else { return };
                self.definition(definition);
                name(definition)
            }
        };
        self.mark(&name, group_version_kind(kind));
        for sub in &kind.subresources {
            let carried = schema::root_of(&sub.group, &sub.version, &sub.kind);
            if let Some(definition) = carried.and_then(|it| it.definition()) {
                self.definition(definition);
                let mark = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
                self.mark(&self::name(definition), mark);
            }
        }
        if kind.create_only() {
            return;
        }
        let mut mark = group_version_kind(kind);
        mark["kind"] = kind.list_kind().into();
        let text = |field| eyot_glossary::of(&name).and_then(|it| it.field(field)).unwrap_or_default();
        let list = json!({
            "description": format!("{} is a list of {} objects.", kind.list_kind(), kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": text("apiVersion")},
                "kind": {"type": "string", "description": text("kind")},
                "metadata": self.dialect.described(self.dialect.reference(LIST_META), Some("Metadata of the list.")),
                "items": {
                    "type": "array",
                    "items": self.dialect.reference(&name),
                    "description": format!("The {} objects.", kind.kind),
                },
            },
            "x-kubernetes-group-version-kind": [mark],
        });
        self.done.insert(format!("{name}List"), list);
    }

    /// What every object has as its metadata.
    fn metadata(&mut self) -> Value {
        let shape = schema::root_of("", "v1", "ConfigMap").and_then(|it| it.field("metadata")).map(|it| &it.shape);
        let reference = shape.map_or_else(|| json!({"type": "object"}), |it| self.shape(it));
        self.dialect.described(reference, Some("Standard object's metadata."))
    }

    /// Says that a schema is that of a kind, by which clients find it.
    fn mark(&mut self, name: &str, mark: Value) {
        let Some(Value::Object(schema)) = self.done.get_mut(name) else { return };
        let marks = schema.entry("x-kubernetes-group-version-kind").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(marks) = marks
            && !marks.contains(&mark)
        {
            marks.push(mark);
        }
    }

    fn definition(&mut self, definition: &'static Definition) {
        let name = name(definition);
        if self.done.contains_key(&name) {
            return;
        }
        // Entered before its fields, since a type may contain itself.
        self.done.insert(name.clone(), Value::Null);
        let entry = eyot_glossary::of(&name);
        let texts: HashMap<&str, &str> = entry.into_iter().flat_map(|it| it.fields()).collect();
        let properties = definition.fields.iter().map(|it| {
            let text = texts.get(it.name).copied();
            (it.name.to_owned(), self.field(it, text))
        });
        let properties: Map<String, Value> = properties.collect();
        let required: Vec<&str> = definition.fields.iter().filter(|it| it.required).map(|it| it.name).collect();
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if let Some(text) = entry.map(|it| it.text()).filter(|it| !it.is_empty()) {
            schema["description"] = text.into();
        }
        if definition.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        self.done.insert(name, schema);
    }

    fn field(&mut self, field: &'static Field, text: Option<&str>) -> Value {
        let shape = self.shape(&field.shape);
        let mut schema = self.dialect.described(shape, text);
        if let Value::Object(map) = &mut schema {
            map.extend(traits(field));
        }
        schema
    }

    /// A reference to a scalar type with a name of its own, by which `kubectl explain` calls it.
    fn scalar(&mut self, name: &str, mut schema: Value) -> Value {
        if !self.done.contains_key(name) {
            if let Some(text) = eyot_glossary::of(name).map(|it| it.text()).filter(|it| !it.is_empty()) {
                schema["description"] = text.into();
            }
            self.done.insert(name.to_owned(), schema);
        }
        self.dialect.reference(name)
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        let plain = |kind: &str, format: &str| match format {
            "" => json!({"type": kind}),
            format => json!({"type": kind, "format": format}),
        };
        match shape {
            // What may be anything has no properties either, or clients would refuse all of them.
            Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
            Shape::Text => plain("string", ""),
            Shape::Bytes => plain("string", "byte"),
            Shape::Time => self.scalar("io.k8s.apimachinery.pkg.apis.meta.v1.Time", plain("string", "date-time")),
            Shape::MicroTime => {
                self.scalar("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", plain("string", "date-time"))
            }
            Shape::Bool => plain("boolean", ""),
            Shape::Int32 => plain("integer", "int32"),
            Shape::Int64 => plain("integer", "int64"),
            Shape::Double => plain("number", "double"),
            Shape::Quantity => {
                let schema = match self.dialect {
                    Dialect::V2 => plain("string", ""),
                    Dialect::V3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                };
                self.scalar("io.k8s.apimachinery.pkg.api.resource.Quantity", schema)
            }
            Shape::IntOrText => {
                let schema = match self.dialect {
                    Dialect::V2 => plain("string", "int-or-string"),
                    Dialect::V3 => {
                        json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
                    }
                };
                self.scalar("io.k8s.apimachinery.pkg.util.intstr.IntOrString", schema)
            }
            Shape::List(item) => json!({"type": "array", "items": self.shape(item)}),
            Shape::Map(value) => json!({"type": "object", "additionalProperties": self.shape(value)}),
            Shape::Object(_) => match shape.definition() {
                Some(definition) => {
                    let name = name(definition);
                    if !self.done.contains_key(&name) {
                        self.waiting.push(definition);
                    }
                    self.dialect.reference(&name)
                }
                None => json!({"type": "object"}),
            },
        }
    }
}

/// How lists merge, in the words of `kubectl apply`.
fn traits(field: &Field) -> Map<String, Value> {
    let mut traits = Map::new();
    let is_list = matches!(field.shape, Shape::List(_));
    match &field.list {
        ListType::Atomic if is_list => drop(traits.insert("x-kubernetes-list-type".into(), "atomic".into())),
        ListType::Atomic => {}
        ListType::Set => drop(traits.insert("x-kubernetes-list-type".into(), "set".into())),
        ListType::Map(keys) => {
            traits.insert("x-kubernetes-list-type".into(), "map".into());
            traits.insert("x-kubernetes-list-map-keys".into(), keys.clone().into());
        }
    }
    let PatchStrategy { merge, key, retain_keys, replace } = field.patch;
    let strategies = [(merge, "merge"), (retain_keys, "retainKeys"), (replace, "replace")];
    let strategies: Vec<&str> = strategies.into_iter().filter(|it| it.0).map(|it| it.1).collect();
    if !strategies.is_empty() {
        traits.insert("x-kubernetes-patch-strategy".into(), strategies.join(",").into());
    }
    if let Some(key) = key {
        traits.insert("x-kubernetes-patch-merge-key".into(), key.into());
    }
    traits
}

/// Lists are not in the table of fields.
fn list_meta() -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": {
            "continue": {"type": "string"},
            "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": {"type": "string"},
            "selfLink": {"type": "string"},
        },
    });
    if let Some(entry) = eyot_glossary::of(LIST_META) {
        schema["description"] = entry.text().into();
        for (field, text) in entry.fields() {
            schema["properties"][field]["description"] = text.into();
        }
    }
    schema
}
