//! `json.match_schema` and `json.verify_schema`: JSON Schema, as far as policies use it.
//!
//! Known are types, properties, items, bounds, patterns, enumerations, combinations and references inside the schema.
//! Keywords that are not known make the schema an error instead of being passed over.

use serde_json::{Map, Value as Json, json};

use super::{Cx, Failure, Made, Row, regexes::compiled, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[("json.match_schema", 2, match_schema), ("json.verify_schema", 1, verify_schema)];

const TYPES: [&str; 7] = ["array", "boolean", "integer", "number", "null", "object", "string"];
/// Keywords that say nothing about a document, or that are looked at with others.
const SILENT: [&str; 12] = [
    "$schema",
    "$id",
    "id",
    "title",
    "description",
    "default",
    "examples",
    "definitions",
    "$defs",
    "$comment",
    "format",
    "readOnly",
];
const KNOWN: [&str; 26] = [
    "$ref",
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minProperties",
    "maxProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];
/// How deeply schemas may lead into each other.
const DEPTH_MAX: usize = 64;

/// A document given as it is, or as text.
fn document(cx: &mut Cx, args: &[Value], at: usize) -> Result<Json, Failure> {
    match &args[at] {
        Value::String(text) => {
            cx.step(text.len() as u64 / 16)?;
            serde_json::from_str(text).map_err(|error| Failure::Error(error.to_string()))
        }
        value => Ok(value.to_json()),
    }
}

fn schema(cx: &mut Cx, args: &[Value], at: usize) -> Result<Json, Failure> {
    if !matches!(args[at], Value::String(_) | Value::Object(_)) {
        return Err(wrong_type(args, at, "one of {object, string}"));
    }
    document(cx, args, at)
}

fn verify_schema(cx: &mut Cx, args: &[Value]) -> Made {
    let checked = schema(cx, args, 0).and_then(|schema| check(cx, &schema, 0));
    match checked {
        Ok(()) => Ok(Value::array(vec![Value::Bool(true), Value::Null])),
        Err(Failure::Error(why)) => {
            Ok(Value::array(vec![Value::Bool(false), Value::string(&format!("jsonschema: {why}"))]))
        }
        Err(failure) => Err(failure),
    }
}

fn match_schema(cx: &mut Cx, args: &[Value]) -> Made {
    let schema = schema(cx, args, 1)?;
    check(cx, &schema, 0)?;
    let document = document(cx, args, 0)?;
    let mut judge = Judge { cx, root: &schema, errors: Vec::new() };
    judge.judge(&schema, &document, "", 0)?;
    let errors = judge.errors;
    let listed = errors.iter().map(|(field, kind, desc)| {
        let field = if field.is_empty() { "(root)" } else { field };
        Value::from(&json!({"desc": desc, "error": format!("{field}: {desc}"), "field": field, "type": kind}))
    });
    Ok(Value::array(vec![errors.is_empty().into(), Value::array(listed.collect())]))
}

/// Whether a schema makes sense.
fn check(cx: &mut Cx, schema: &Json, depth: usize) -> Result<(), Failure> {
    cx.step(1)?;
    let fields = match schema {
        Json::Bool(_) => return Ok(()),
        Json::Object(fields) if depth < DEPTH_MAX => fields,
        Json::Object(_) => return Err("the schema is nested too deeply".into()),
        _ => return Err("a schema must be an object".into()),
    };
    for (keyword, value) in fields {
        match keyword.as_str() {
            "type" => {
                let named = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for name in named {
                    let name = name.as_str().ok_or("type must be a string or an array of them")?;
                    if !TYPES.contains(&name) {
                        let valid = TYPES.join(" ");
                        let what = "has a primitive type that is NOT VALID -- given:";
                        return Err(format!("{what} /{name}/ Expected valid values are:[{valid}]").into());
                    }
                }
            }
            "properties" | "patternProperties" | "definitions" | "$defs" => {
                let parts = value.as_object().ok_or_else(|| Failure::Error(format!("{keyword} must be an object")))?;
                if keyword == "patternProperties" {
                    parts.keys().try_for_each(|it| compiled(cx, it).map(drop))?;
                }
                parts.values().try_for_each(|it| check(cx, it, depth + 1))?;
            }
            "allOf" | "anyOf" | "oneOf" => {
                let parts = value.as_array().ok_or_else(|| Failure::Error(format!("{keyword} must be an array")))?;
                parts.iter().try_for_each(|it| check(cx, it, depth + 1))?;
            }
            "items" if value.is_array() => return Err("items as an array is not supported".into()),
            "additionalProperties" | "items" | "not" => check(cx, value, depth + 1)?,
            "pattern" => {
                compiled(cx, value.as_str().ok_or("pattern must be a string")?)?;
            }
            "$ref" if !value.as_str().is_some_and(|it| it.starts_with('#')) => {
                return Err("references to other schemas are not supported".into());
            }
            known if KNOWN.contains(&known) || SILENT.contains(&known) => {}
            unknown => return Err(format!("keyword {unknown:?} is not supported").into()),
        }
    }
    Ok(())
}

struct Judge<'a, 'c> {
    cx: &'c mut Cx,
    root: &'a Json,
    /// Field, kind and description.
    errors: Vec<(String, &'static str, String)>,
}

impl<'a> Judge<'a, '_> {
    fn say(&mut self, at: &str, kind: &'static str, desc: String) {
        self.errors.push((at.to_owned(), kind, desc));
    }

    /// Whether a document fits, telling nothing.
    fn fits(&mut self, schema: &'a Json, value: &Json, at: &str, depth: usize) -> Result<bool, Failure> {
        let before = self.errors.len();
        self.judge(schema, value, at, depth)?;
        let fits = self.errors.len() == before;
        self.errors.truncate(before);
        Ok(fits)
    }

    fn judge(&mut self, schema: &'a Json, value: &Json, at: &str, depth: usize) -> Result<(), Failure> {
        self.cx.step(1)?;
        if depth > DEPTH_MAX {
            return Err("schemas lead into each other too deeply".into());
        }
        let fields = match schema {
            Json::Object(fields) => fields,
            Json::Bool(false) => {
                self.say(at, "false", "No value is allowed".to_owned());
                return Ok(());
            }
            _ => return Ok(()),
        };
        if let Some(reference) = fields.get("$ref").and_then(Json::as_str) {
            let target = self.root.pointer(reference.trim_start_matches('#'));
            let target = target.ok_or_else(|| Failure::Error(format!("there is no {reference}")))?;
            return self.judge(target, value, at, depth + 1);
        }
        self.kinds(fields, value, at);
        self.combinations(fields, value, at, depth)?;
        match value {
            Json::Object(parts) => self.object(fields, parts, at, depth)?,
            Json::Array(items) => {
                self.length(fields, items.len(), ["minItems", "maxItems"], at);
                if fields.get("uniqueItems") == Some(&Json::Bool(true)) && !self.are_unique(items)? {
                    self.say(at, "unique", "array items must be unique".to_owned());
                }
                if let Some(schema) = fields.get("items") {
                    for (n, item) in items.iter().enumerate() {
                        self.judge(schema, item, &below(at, &n.to_string()), depth + 1)?;
                    }
                }
            }
            Json::String(text) => {
                self.length(fields, text.chars().count(), ["minLength", "maxLength"], at);
                if let Some(pattern) = fields.get("pattern").and_then(Json::as_str)
                    && !self.matches(pattern, text)?
                {
                    self.say(at, "pattern", format!("Does not match pattern '{pattern}'"));
                }
            }
            Json::Number(number) => self.number(fields, number.as_f64().unwrap_or(f64::NAN), at),
            _ => {}
        }
        Ok(())
    }

    /// Whether a text matches an expression, which the schema was checked to have right.
    fn matches(&mut self, pattern: &str, text: &str) -> Result<bool, Failure> {
        self.cx.step(1 + text.len() as u64 / 16)?;
        Ok(compiled(self.cx, pattern)?.is_match(text))
    }

    /// Whether no two items are the same; each is compared with all before it.
    fn are_unique(&mut self, items: &[Json]) -> Result<bool, Failure> {
        for (n, item) in items.iter().enumerate() {
            self.cx.step(1 + n as u64)?;
            if items[..n].contains(item) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn kinds(&mut self, fields: &Map<String, Json>, value: &Json, at: &str) {
        let given = kind(value);
        if let Some(wanted) = fields.get("type") {
            let wanted: Vec<&str> = match wanted {
                Json::Array(all) => all.iter().filter_map(Json::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            if !wanted.iter().any(|it| *it == given || (*it == "number" && given == "integer")) {
                let desc = format!("Invalid type. Expected: {}, given: {given}", wanted.join("/"));
                self.say(at, "invalid_type", desc);
            }
        }
        if let Some(allowed) = fields.get("enum").and_then(Json::as_array)
            && !allowed.contains(value)
        {
            let listed: Vec<String> = allowed.iter().map(Json::to_string).collect();
            self.say(at, "enum", format!("must be one of the following: {}", listed.join(", ")));
        }
        if let Some(wanted) = fields.get("const")
            && wanted != value
        {
            self.say(at, "const", format!("does not match: {wanted}"));
        }
    }

    fn combinations(
        &mut self,
        fields: &'a Map<String, Json>,
        value: &Json,
        at: &str,
        depth: usize,
    ) -> Result<(), Failure> {
        for (keyword, enough) in [("allOf", usize::MAX), ("anyOf", 0), ("oneOf", 1)] {
            let Some(schemas) = fields.get(keyword).and_then(Json::as_array) else { continue };
            let mut fitting = 0;
            for schema in schemas {
                fitting += usize::from(self.fits(schema, value, at, depth + 1)?);
            }
            let (holds, kind, desc) = match enough {
                usize::MAX => (fitting == schemas.len(), "number_all_of", "Must validate all the schemas (allOf)"),
                0 => (fitting > 0, "number_any_of", "Must validate at least one schema (anyOf)"),
                _ => (fitting == 1, "number_one_of", "Must validate one and only one schema (oneOf)"),
            };
            if !holds {
                self.say(at, kind, desc.to_owned());
            }
        }
        if let Some(schema) = fields.get("not")
            && self.fits(schema, value, at, depth + 1)?
        {
            self.say(at, "number_not", "Must not validate the schema (not)".to_owned());
        }
        Ok(())
    }

    fn object(
        &mut self,
        fields: &'a Map<String, Json>,
        parts: &Map<String, Json>,
        at: &str,
        depth: usize,
    ) -> Result<(), Failure> {
        self.length(fields, parts.len(), ["minProperties", "maxProperties"], at);
        for name in fields.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if !parts.contains_key(name) {
                self.say(at, "required", format!("{name} is required"));
            }
        }
        let properties = fields.get("properties").and_then(Json::as_object);
        let patterns = fields.get("patternProperties").and_then(Json::as_object);
        for (name, part) in parts {
            let at = below(at, name);
            let mut known = false;
            if let Some(schema) = properties.and_then(|it| it.get(name)) {
                known = true;
                self.judge(schema, part, &at, depth + 1)?;
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.matches(pattern, name)? {
                    known = true;
                    self.judge(schema, part, &at, depth + 1)?;
                }
            }
            match fields.get("additionalProperties") {
                Some(Json::Bool(false)) if !known => {
                    let desc = format!("Additional property {name} is not allowed");
                    self.say(&at, "additional_property_not_allowed", desc);
                }
                Some(schema) if !known => self.judge(schema, part, &at, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn length(&mut self, fields: &Map<String, Json>, length: usize, [least, most]: [&'static str; 2], at: &str) {
        let bound = |name: &str| fields.get(name).and_then(Json::as_u64).and_then(|it| usize::try_from(it).ok());
        if bound(least).is_some_and(|it| length < it) {
            self.say(at, least, format!("{least} is {}", bound(least).unwrap_or_default()));
        }
        if bound(most).is_some_and(|it| length > it) {
            self.say(at, most, format!("{most} is {}", bound(most).unwrap_or_default()));
        }
    }

    fn number(&mut self, fields: &Map<String, Json>, number: f64, at: &str) {
        let bound = |name: &str| fields.get(name).and_then(Json::as_f64);
        let wrong = [
            ("number_gte", bound("minimum").filter(|it| number < *it), "Must be greater than or equal to"),
            ("number_lte", bound("maximum").filter(|it| number > *it), "Must be less than or equal to"),
            ("number_gt", bound("exclusiveMinimum").filter(|it| number <= *it), "Must be greater than"),
            ("number_lt", bound("exclusiveMaximum").filter(|it| number >= *it), "Must be less than"),
            ("multiple_of", bound("multipleOf").filter(|it| (number / it).fract() != 0.0), "Must be a multiple of"),
        ];
        for (kind, bound, what) in wrong {
            if let Some(bound) = bound {
                self.say(at, kind, format!("{what} {bound}"));
            }
        }
    }
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(number) if number.as_f64().is_some_and(|it| it.fract() == 0.0) => "integer",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}
