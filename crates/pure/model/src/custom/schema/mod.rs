//! Structural schemas, parsed for work on values. Entry point: [`Schema::parse`].
//!
//! Parsing takes what it understands: whether a schema is one that Kubernetes accepts is `check`'s to say, before it is
//! stored. Descriptions are left out; documents that show them are made from the text.

pub mod pattern;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::meta;
use pattern::Pattern;

/// `type` of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are JSON's")]
pub enum Type {
    /// None is given.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// `additionalProperties`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Additional {
    /// None is given.
    #[default]
    Absent,
    /// `true` or `false`.
    Bool(bool),
    /// A schema for all of them.
    Schema(Box<Schema>),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole; also when none is given.
    #[default]
    Atomic,
    /// Each value once.
    Set,
    /// Objects that these fields tell apart.
    Map(Vec<String>),
}

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documented fields of ValidationRule")]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

/// A schema: what values look like, and what is done to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// `type`.
    pub of_type: Type,
    /// Whether null is a value.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// Known fields of an object.
    pub properties: BTreeMap<String, Schema>,
    /// Other fields of an object.
    pub additional: Additional,
    /// Items of a list.
    pub items: Option<Box<Schema>>,
    /// What stands where nothing is said.
    pub default: Option<Value>,
    /// How a list merges.
    pub list: ListType,
    /// Whether a map is replaced as a whole.
    pub atomic_map: bool,
    /// Rules in CEL.
    pub rules: Vec<Rule>,
    /// Checks of the value itself, where there are any.
    pub values: Option<Box<Values>>,
}

/// Checks of a value.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names are JSON schema's")]
pub struct Values {
    pub format: String,
    pub one_of_values: Vec<Value>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<usize>,
    pub min_length: Option<usize>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<usize>,
    pub min_items: Option<usize>,
    pub unique_items: bool,
    pub max_properties: Option<usize>,
    pub min_properties: Option<usize>,
    pub required: Vec<String>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Schema>,
}

impl Schema {
    /// Parses `openAPIV3Schema`.
    pub fn parse(text: &Value) -> Schema {
        let Some(map) = text.as_object() else { return Schema::default() };
        let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
        let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let properties = map.get("properties").and_then(Value::as_object).into_iter().flatten();
        Schema {
            of_type: Type::parse(word("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: properties.map(|(name, it)| (name.clone(), Schema::parse(it))).collect(),
            additional: match map.get("additionalProperties") {
                None | Some(Value::Null) => Additional::Absent,
                Some(Value::Bool(flag)) => Additional::Bool(*flag),
                Some(schema) => Additional::Schema(Box::new(Schema::parse(schema))),
            },
            items: map.get("items").filter(|it| it.is_object()).map(|it| Box::new(Schema::parse(it))),
            default: map.get("default").filter(|it| !it.is_null()).cloned(),
            list: match word("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map(texts(map.get("x-kubernetes-list-map-keys"))),
                _ => ListType::Atomic,
            },
            atomic_map: word("x-kubernetes-map-type") == "atomic",
            rules: meta::list(map.get("x-kubernetes-validations")).iter().map(Rule::parse).collect(),
            values: Some(Values::parse(map)).filter(|it| *it != Values::default()).map(Box::new),
        }
    }

    /// The schema of a field: its own, or that of additional ones.
    pub fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// The schemas right below this one, those of junctors aside.
    pub fn children(&self) -> impl Iterator<Item = &Schema> {
        let additional = match &self.additional {
            Additional::Schema(schema) => Some(&**schema),
            _ => None,
        };
        self.properties.values().chain(additional).chain(self.items.as_deref())
    }

    /// Whether any schema from here on has that trait.
    pub fn any(&self, holds: fn(&Schema) -> bool) -> bool {
        holds(self) || self.children().any(|it| it.any(holds))
    }
}

impl Type {
    /// The type of that name; [`Type::Any`] for none.
    pub fn parse(name: &str) -> Type {
        match name {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => Type::Any,
        }
    }

    /// Its name; empty for [`Type::Any`].
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

impl Values {
    fn parse(map: &Map<String, Value>) -> Values {
        let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
        let count = |key: &str| map.get(key).and_then(Value::as_u64).and_then(|it| usize::try_from(it).ok());
        let number = |key: &str| map.get(key).and_then(Value::as_f64);
        let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let schemas = |key: &str| meta::list(map.get(key)).iter().map(Schema::parse).collect();
        Values {
            format: word("format").to_owned(),
            one_of_values: meta::list(map.get("enum")).to_vec(),
            maximum: number("maximum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            minimum: number("minimum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            multiple_of: number("multipleOf"),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            pattern: Some(word("pattern")).filter(|it| !it.is_empty()).map(Pattern::new),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            unique_items: flag("uniqueItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            required: texts(map.get("required")),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: map.get("not").filter(|it| it.is_object()).map(Schema::parse),
        }
    }
}

impl Rule {
    fn parse(value: &Value) -> Rule {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Rule {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old_self: value["optionalOldSelf"].as_bool(),
        }
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    meta::list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
