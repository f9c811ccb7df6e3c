//! Checks values against a schema, with the causes of Kubernetes. Entry point: [`check`].
//!
//! What an update leaves as it was is not judged again, so that a tightened schema does not lock objects that were fine
//! before. CEL rules are checked elsewhere.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::{
    format,
    schema::{ListType, Schema, Type, Values},
};
use crate::status::Cause;

/// Most causes told of one object.
const CAUSES_MAX: usize = 100;
/// Where Kubernetes says an error is when it does not know.
const NOWHERE: &str = "<nil>";

/// Everything wrong with a custom object, given the stored one that it replaces.
pub fn check(object: &Value, old: Option<&Value>, schema: &Schema) -> Vec<Cause> {
    check_at("", object, old, schema)
}

/// [`check`] for a value at some path of an object or of a definition.
pub fn check_at(path: &str, value: &Value, old: Option<&Value>, schema: &Schema) -> Vec<Cause> {
    let mut walk = Walk { path: path.to_owned(), causes: Vec::new() };
    walk.value(value, old, schema);
    walk.causes.truncate(CAUSES_MAX);
    walk.causes
}

struct Walk {
    path: String,
    causes: Vec<Cause>,
}

impl Walk {
    fn value(&mut self, value: &Value, old: Option<&Value>, schema: &Schema) {
        if old == Some(value) || (value.is_null() && schema.nullable) || self.causes.len() >= CAUSES_MAX {
            return;
        }
        if !has_type(value, schema) {
            let wanted = if schema.int_or_string { "integer,string" } else { schema.of_type.name() };
            let found = type_of(value);
            let why = self.body(&format!("must be of type {wanted}: {found:?}"));
            self.causes.push(Cause::type_invalid(&self.path, &found.into(), &why));
            return;
        }
        match value {
            Value::Object(map) => self.object(map, old, schema),
            Value::Array(list) => self.list(list, old, schema),
            _ => {}
        }
        if let Some(values) = &schema.values {
            self.values(value, values);
            self.junctors(value, values);
        }
    }

    fn object(&mut self, map: &Map<String, Value>, old: Option<&Value>, schema: &Schema) {
        if schema.embedded {
            for field in ["apiVersion", "kind"] {
                if map.get(field).is_none_or(|it| it.as_str().is_none_or(str::is_empty)) {
                    self.causes.push(Cause::required(self.join(field), "must not be empty"));
                }
            }
        }
        for (name, value) in map {
            if let Some(property) = schema.property(name) {
                let old = old.and_then(|it| it.get(name));
                let (segment, length) = (self.join(name), self.path.len());
                self.path = segment;
                self.value(value, old, property);
                self.path.truncate(length);
            }
        }
    }

    fn list(&mut self, list: &[Value], old: Option<&Value>, schema: &Schema) {
        let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.distinct(list, &schema.list);
        let Some(items) = schema.items.as_deref() else { return };
        for (i, item) in list.iter().enumerate() {
            // Only lists whose items have a key tell which item is which.
            let old = match &schema.list {
                ListType::Map(keys) => old.iter().find(|it| keys.iter().all(|key| it.get(key) == item.get(key))),
                _ => None,
            };
            let length = self.path.len();
            self.path.push_str(&format!("[{i}]"));
            self.value(item, old, items);
            self.path.truncate(length);
        }
    }

    /// Items that a list may hold only once.
    fn distinct(&mut self, list: &[Value], of_type: &ListType) {
        let mut seen = HashSet::new();
        for (i, item) in list.iter().enumerate() {
            let id = match of_type {
                ListType::Atomic => return,
                ListType::Set => item.clone(),
                ListType::Map(keys) => {
                    let keys = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
                    Value::Object(keys.collect())
                }
            };
            if !seen.insert(id.to_string()) {
                self.causes.push(Cause::duplicate(format!("{}[{i}]", self.path), &id));
            }
        }
    }

    fn values(&mut self, value: &Value, values: &Values) {
        match value {
            Value::String(text) => self.text(text, values),
            Value::Number(number) => self.number(number, values),
            Value::Array(list) => self.items(list, values),
            Value::Object(map) => self.fields(map, values),
            _ => {}
        }
        if !values.one_of_values.is_empty() && !values.one_of_values.iter().any(|it| same(it, value)) {
            let shown = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
            let known: Vec<String> = values.one_of_values.iter().map(shown).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            self.causes.push(Cause::not_supported(&self.path, value, &known));
        }
    }

    fn text(&mut self, text: &str, values: &Values) {
        let (length, value) = (text.chars().count(), Value::from(text));
        if let Some(max) = values.max_length.filter(|it| length > *it) {
            self.causes.push(Cause::too_long(&self.path, max));
        }
        if let Some(min) = values.min_length.filter(|it| length < *it) {
            self.invalid(&value, &format!("should be at least {min} chars long"));
        }
        if let Some(pattern) = &values.pattern
            && pattern.matches(text) != Some(true)
        {
            self.invalid(&value, &format!("should match '{}'", pattern.text()));
        }
        if !values.format.is_empty() && !format::is(&values.format, text) {
            let why = self.body(&format!("must be of type {}: {text:?}", values.format));
            self.causes.push(Cause::type_invalid(&self.path, &value, &why));
        }
    }

    fn number(&mut self, number: &Number, values: &Values) {
        let (Some(float), value) = (number.as_f64(), Value::Number(number.clone())) else { return };
        if let Some(max) = values.maximum {
            let (fits, or_equal) =
                if values.exclusive_maximum { (float < max, "") } else { (float <= max, " or equal to") };
            if !fits {
                self.invalid(&value, &format!("should be less than{or_equal} {}", go_float(max)));
            }
        }
        if let Some(min) = values.minimum {
            let (fits, or_equal) =
                if values.exclusive_minimum { (float > min, "") } else { (float >= min, " or equal to") };
            if !fits {
                self.invalid(&value, &format!("should be greater than{or_equal} {}", go_float(min)));
            }
        }
        if let Some(factor) = values.multiple_of
            && !is_multiple(number, float, factor)
        {
            self.invalid(&value, &format!("should be a multiple of {}", go_float(factor)));
        }
    }

    fn items(&mut self, list: &[Value], values: &Values) {
        if let Some(max) = values.max_items.filter(|it| list.len() > *it) {
            self.causes.push(Cause::too_many(&self.path, list.len(), max));
        }
        if let Some(min) = values.min_items.filter(|it| list.len() < *it) {
            self.invalid(&list.len().into(), &format!("should have at least {min} items"));
        }
        let mut seen = HashSet::new();
        if values.unique_items && !list.iter().all(|it| seen.insert(it.to_string())) {
            self.invalid(&"".into(), "shouldn't contain duplicates");
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, values: &Values) {
        for name in values.required.iter().filter(|it| !map.contains_key(*it)) {
            self.causes.push(Cause::required(self.join(name), ""));
        }
        if let Some(max) = values.max_properties.filter(|it| map.len() > *it) {
            self.causes.push(Cause::too_many(&self.path, map.len(), max));
        }
        if let Some(min) = values.min_properties.filter(|it| map.len() < *it) {
            self.invalid(&map.len().into(), &format!("should have at least {min} properties"));
        }
    }

    fn junctors(&mut self, value: &Value, values: &Values) {
        let path = self.path.clone();
        let judge = |schemas: &[Schema]| -> Vec<Vec<Cause>> {
            schemas.iter().map(|it| check_at(&path, value, None, it)).collect()
        };
        let valid = |judged: &[Vec<Cause>]| judged.iter().filter(|it| it.is_empty()).count();
        let best = |judged: Vec<Vec<Cause>>| judged.into_iter().min_by_key(Vec::len).unwrap_or_default();
        let mut found = Vec::new();
        let all = judge(&values.all_of);
        if valid(&all) < all.len() {
            let none = if valid(&all) == 0 { ". None validated" } else { "" };
            found.push(composite(&format!("{path:?} must validate all the schemas (allOf){none}")));
            found.extend(all.into_iter().flatten());
        }
        let any = judge(&values.any_of);
        if !any.is_empty() && valid(&any) == 0 {
            found.push(composite(&format!("{path:?} must validate at least one schema (anyOf)")));
            found.extend(best(any));
        }
        let one = judge(&values.one_of);
        let fitting = valid(&one);
        if !one.is_empty() && fitting != 1 {
            let what = if fitting == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {fitting} valid alternatives")
            };
            found.push(composite(&format!("{path:?} must validate one and only one schema (oneOf). {what}")));
            if fitting == 0 {
                found.extend(best(one));
            }
        }
        if values.not.as_ref().is_some_and(|it| check_at(&path, value, None, it).is_empty()) {
            found.push(composite(&format!("{path:?} must not validate the schema (not)")));
        }
        self.causes.extend(found);
    }

    fn invalid(&mut self, value: &Value, why: &str) {
        let why = self.body(why);
        self.causes.push(Cause::invalid(&self.path, value, &why));
    }

    /// A message in the words of the validator that Kubernetes uses.
    fn body(&self, why: &str) -> String {
        if self.path.is_empty() { format!("in body {why}") } else { format!("{} in body {why}", self.path) }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

fn composite(why: &str) -> Cause {
    Cause::invalid(NOWHERE, &"".into(), why)
}

fn has_type(value: &Value, schema: &Schema) -> bool {
    if schema.int_or_string {
        return value.is_string() || is_integer(value);
    }
    match schema.of_type {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    }
}

/// Whether a value is a whole number, however it is written.
fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(it) if it.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Equality that does not mind how numbers are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn is_multiple(number: &Number, float: f64, factor: f64) -> bool {
    if factor == 0.0 {
        return false;
    }
    if let (Some(number), true) = (number.as_i64(), factor.fract() == 0.0 && factor.abs() < 9e15) {
        return number % (factor as i64) == 0;
    }
    let times = float / factor;
    (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
}

/// A number as Go prints it: an exponent from a million on.
fn go_float(number: f64) -> String {
    let exponent = if number == 0.0 { 0.0 } else { number.abs().log10().floor() };
    if (-4.0..6.0).contains(&exponent) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |it| ("-", it));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(schema: Value, value: Value, expected: Expect) {
        let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": schema}}));
        let causes = super::check(&json!({"spec": value}), None, &schema);
        let lines: Vec<String> = causes.iter().map(|it| format!("{} {it}\n", it.reason.as_str())).collect();
        expected.assert_eq(&lines.concat());
    }

    #[test]
    fn types_are_told_by_name() {
        let schema = json!({"type": "object", "properties": {
            "i": {"type": "integer"}, "s": {"type": "string"}, "l": {"type": "array", "items": {"type": "number"}},
            "x": {"x-kubernetes-int-or-string": true}, "n": {"type": "string", "nullable": true},
        }});
        check(schema.clone(), json!({"i": 1.0, "s": "", "l": [1, 1.5], "x": "1", "n": null}), expect![""]);
        check(
            schema,
            json!({"i": "1", "s": null, "l": [true], "x": 1.5, "n": 1}),
            expect![[r#"
            FieldValueTypeInvalid spec.i: Invalid value: "string": spec.i in body must be of type integer: "string"
            FieldValueTypeInvalid spec.l[0]: Invalid value: "boolean": spec.l[0] in body must be of type number: "boolean"
            FieldValueTypeInvalid spec.n: Invalid value: "integer": spec.n in body must be of type string: "integer"
            FieldValueTypeInvalid spec.s: Invalid value: "null": spec.s in body must be of type string: "null"
            FieldValueTypeInvalid spec.x: Invalid value: "number": spec.x in body must be of type integer,string: "number"
        "#]],
        );
    }

    #[test]
    fn texts_numbers_lists_and_objects_keep_their_bounds() {
        let schema = json!({"type": "object", "required": ["must"], "maxProperties": 7, "properties": {
            "text": {"type": "string", "maxLength": 2, "minLength": 1, "pattern": "^a"},
            "time": {"type": "string", "format": "date-time"},
            "level": {"type": "integer", "maximum": 1000000, "minimum": 2, "exclusiveMinimum": true, "multipleOf": 5},
            "color": {"type": "string", "enum": ["red", "green"]},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}},
        }});
        check(
            schema.clone(),
            json!({"must": 1, "text": "ä"  , "level": 2, "color": "blue", "list": [], "set": ["a", "a"], "map": [{"k": 1}, {"k": 1, "v": 2}]}),
            expect![[r#"
                FieldValueNotSupported spec.color: Unsupported value: "blue": supported values: "green", "red"
                FieldValueInvalid spec.level: Invalid value: 2: spec.level in body should be greater than 2
                FieldValueInvalid spec.level: Invalid value: 2: spec.level in body should be a multiple of 5
                FieldValueInvalid spec.list: Invalid value: 0: spec.list in body should have at least 1 items
                FieldValueDuplicate spec.map[1]: Duplicate value: {"k":1}
                FieldValueDuplicate spec.set[1]: Duplicate value: "a"
                FieldValueInvalid spec.text: Invalid value: "ä": spec.text in body should match '^a'
            "#]],
        );
        check(
            schema,
            json!({"text": "abc", "time": "now", "level": 1000005, "list": [1, 2, 3]}),
            expect![[r#"
                FieldValueInvalid spec.level: Invalid value: 1000005: spec.level in body should be less than or equal to 1e+06
                FieldValueTooMany spec.list: Too many: 3: must have at most 2 items
                FieldValueTooLong spec.text: Too long: may not be more than 2 bytes
                FieldValueTypeInvalid spec.time: Invalid value: "now": spec.time in body must be of type date-time: "now"
                FieldValueRequired spec.must: Required value
            "#]],
        );
    }

    #[test]
    fn junctors_tell_what_came_closest() {
        let schema = json!({"type": "object",
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            "anyOf": [{"properties": {"c": {"minimum": 5}}}],
            "not": {"required": ["d"]},
            "allOf": [{"required": ["e"]}, {}],
        });
        check(schema.clone(), json!({"a": 1, "e": 1}), expect![""]);
        check(
            schema.clone(),
            json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}),
            expect![[r#"
            FieldValueInvalid <nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)
            FieldValueInvalid spec.c: Invalid value: 1: spec.c in body should be greater than or equal to 5
            FieldValueInvalid <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives
            FieldValueInvalid <nil>: Invalid value: "": "spec" must not validate the schema (not)
        "#]],
        );
        check(
            schema,
            json!({}),
            expect![[r#"
            FieldValueInvalid <nil>: Invalid value: "": "spec" must validate all the schemas (allOf)
            FieldValueRequired spec.e: Required value
            FieldValueInvalid <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid
            FieldValueRequired spec.a: Required value
        "#]],
        );
    }

    #[test]
    fn what_stays_as_it_was_is_not_judged_again() {
        let schema = Schema::parse(&json!({"type": "object", "properties": {
            "a": {"type": "string", "maxLength": 1},
            "l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"v": {"maximum": 1}}}},
        }}));
        let old = json!({"a": "long", "l": [{"k": 1, "v": 9}, {"k": 2, "v": 9}]});
        let new = json!({"a": "long", "b": 1, "l": [{"k": 2, "v": 9}, {"k": 1, "v": 8}]});
        let causes = super::check(&new, Some(&old), &schema);
        assert_eq!(causes.len(), 1, "{causes:?}");
        assert_eq!(causes[0].field, "l[1].v");
    }
}
