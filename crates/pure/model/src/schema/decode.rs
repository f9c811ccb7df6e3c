//! Checks an object against the fields of its kind, and tidies it as a typed server would.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Field, Shape,
    order::{self, Problem},
    root,
};
use crate::{
    custom::{Custom, prune},
    kinds::Kind,
    quantity,
    status::ApiError,
};

/// What a server does about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Refuse the request.
    Strict,
    /// Drop them and say so in a warning.
    #[default]
    Warn,
    /// Drop them silently.
    Ignore,
}

impl FieldValidation {
    /// The value of the `fieldValidation` query parameter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            "Ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// A decoded object, with what there is to warn about.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object without unknown fields, nulls and optional lists and maps that are empty; its quantities and times
    /// in canonical form.
    pub object: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Most problems reported of one object.
const PROBLEMS_MAX: usize = 100;

/// Checks the types of an object's fields and drops unknown ones. `duplicates` are the paths that
/// [`super::parse`] found. Objects of kinds without a table come back as they are.
pub fn decode(
    kind: &Kind,
    object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    decode_source(kind, object, duplicates, validation, None)
}

/// [`decode`] of an object that was JSON: problems are told in the order in which `source` has them. Entries of
/// `duplicates` that begin with `line ` are texts of a YAML parser, told as they are.
pub fn decode_source(
    kind: &Kind,
    object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
    source: Option<&[u8]>,
) -> Result<Decoded, ApiError> {
    if let Some(custom) = &kind.custom {
        return defined(kind, custom, object, duplicates, validation, source);
    }
    let Some(shape) = root(kind) else { return Ok(Decoded { object, warnings: vec![] }) };
    check(&shape, (&kind.version, &kind.kind), object, duplicates, validation, source)
}

/// [`decode`] for the kind of a subresource, named by version and kind.
pub fn decode_as(
    shape: &Shape,
    name: (&str, &str),
    object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    check(shape, name, object, duplicates, validation, None)
}

fn check(
    shape: &Shape,
    (version, kind): (&str, &str),
    mut object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
    source: Option<&[u8]>,
) -> Result<Decoded, ApiError> {
    let mut walk = Walk { path: String::new(), unknown: Vec::new(), type_name: kind };
    if let Err(why) = walk.value(shape, &mut object) {
        return Err(refused((version, kind), &why));
    }
    judge((version, kind), object, duplicates, walk.unknown, validation, source)
}

/// [`decode`] for a custom kind: its metadata is typed, the rest is its schema's.
fn defined(
    kind: &Kind,
    custom: &Custom,
    mut object: Value,
    duplicates: Vec<String>,
    validation: FieldValidation,
    source: Option<&[u8]>,
) -> Result<Decoded, ApiError> {
    let name = (kind.version.as_str(), kind.kind.as_str());
    let mut unknown = prune::prune(&mut object, custom.schema());
    // Every kind has the same metadata.
    let shape = super::root_of("", "v1", "ConfigMap").and_then(|it| it.field("metadata"));
    if let Some(Field { shape, .. }) = shape {
        prune::each_metadata(&mut object, custom.schema(), &mut |path, metadata| {
            let mut walk = Walk { path, unknown: Vec::new(), type_name: "ObjectMeta" };
            walk.value(shape, metadata).map_err(|why| refused(name, &why))?;
            unknown.extend(walk.unknown);
            Ok(())
        })?;
    }
    judge(name, object, duplicates, unknown, validation, source)
}

fn refused((version, kind): (&str, &str), why: &str) -> ApiError {
    ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// Refuses or tells what was found, as the request wants it.
fn judge(
    name: (&str, &str),
    object: Value,
    duplicates: Vec<String>,
    unknown: Vec<String>,
    validation: FieldValidation,
    source: Option<&[u8]>,
) -> Result<Decoded, ApiError> {
    if validation == FieldValidation::Ignore || (duplicates.is_empty() && unknown.is_empty()) {
        return Ok(Decoded { object, warnings: vec![] });
    }
    let problems = told(duplicates, unknown, source);
    match validation {
        FieldValidation::Strict => Err(refused(name, &format!("strict decoding error: {}", problems.join(", ")))),
        FieldValidation::Warn | FieldValidation::Ignore => Ok(Decoded { object, warnings: problems }),
    }
}

/// The texts of all problems, in order.
fn told(duplicates: Vec<String>, unknown: Vec<String>, source: Option<&[u8]>) -> Vec<String> {
    let (lines, duplicates): (Vec<String>, Vec<String>) =
        duplicates.into_iter().partition(|it| it.starts_with("line "));
    let duplicates = duplicates.into_iter().map(|path| Problem { path, twice: true });
    let mut problems: Vec<Problem> =
        duplicates.chain(unknown.into_iter().map(|path| Problem { path, twice: false })).collect();
    if let Some(source) = source.filter(|_| problems.len() > 1) {
        order::sort(source, &mut problems);
    }
    let lines = lines.into_iter().map(|it| format!("yaml: unmarshal errors:\n  {it}"));
    let fields = problems.into_iter().map(|Problem { path, twice }| match twice {
        true => format!("duplicate field \"{path}\""),
        false => format!("unknown field \"{path}\""),
    });
    lines.chain(fields).collect()
}

struct Walk<'a> {
    /// Path of the value at hand.
    path: String,
    /// Paths of fields that the shape does not have.
    unknown: Vec<String>,
    /// The innermost object type, as Go's decoder names it in errors.
    type_name: &'a str,
}

/// What leads from a value to one in it.
enum Step<'s> {
    /// A field of the whole object.
    First(&'s str),
    Key(&'s str),
    Item(usize),
}

impl Walk<'_> {
    fn value(&mut self, shape: &Shape, value: &mut Value) -> Result<(), String> {
        match (shape, &mut *value) {
            (Shape::Object(_), Value::Object(_)) => return self.object(shape, value),
            (Shape::List(item), Value::Array(list)) => {
                for (i, it) in list.iter_mut().enumerate() {
                    self.child(item, it, &Step::Item(i))?;
                }
            }
            (Shape::Map(item), Value::Object(map)) => {
                for (key, it) in map.iter_mut() {
                    self.child(item, it, &Step::Key(key))?;
                }
            }
            (Shape::Any, _) | (Shape::Text, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => {}
            (Shape::Double, Value::Number(_)) => {}
            (Shape::Int32, Value::Number(number)) if number.as_i64().is_some_and(|it| i32::try_from(it).is_ok()) => {}
            (Shape::Int64, Value::Number(number)) if number.is_i64() => {}
            (Shape::IntOrText, Value::String(_)) => {}
            (Shape::IntOrText, Value::Number(number))
                if number.as_i64().is_some_and(|it| i32::try_from(it).is_ok()) => {}
            (Shape::Bytes, Value::String(text)) => base64(text).map_err(|e| format!("{}: {e}", self.shown_path()))?,
            (Shape::Time, Value::String(text)) if is_canonical(text) => {}
            (Shape::Time | Shape::MicroTime, Value::String(text)) => {
                let time = text.parse::<jiff::Timestamp>();
                let time = time.map_err(|_| format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\""))?;
                *text = if *shape == Shape::Time {
                    crate::meta::format_time(time)
                } else {
                    crate::meta::format_micro_time(time)
                };
            }
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let canonical = quantity::canonical(&text).map_err(|e| format!("{}: {e}", self.shown_path()))?;
                *value = canonical.into();
            }
            _ => return Err(self.mismatch(shape, value)),
        }
        Ok(())
    }

    fn object(&mut self, shape: &Shape, value: &mut Value) -> Result<(), String> {
        let (Some(definition), Value::Object(map)) = (shape.definition(), value) else { return Ok(()) };
        let outer = std::mem::replace(&mut self.type_name, definition.type_name());
        map.retain(|name, it| {
            let known = definition.field(name).is_some();
            if !known && self.unknown.len() < PROBLEMS_MAX {
                self.unknown.push(self.join(name));
            }
            known && !it.is_null()
        });
        for (name, it) in map.iter_mut() {
            if let Some(Field { shape, .. }) = definition.field(name) {
                let step = if self.path.is_empty() { Step::First(name) } else { Step::Key(name) };
                self.child(shape, it, &step)?;
            }
        }
        if !definition.keeps_empty() {
            map.retain(|name, it| !is_empty(it) || definition.field(name).is_none_or(|it| it.keeps_empty()));
        }
        self.type_name = outer;
        Ok(())
    }

    fn child(&mut self, shape: &Shape, value: &mut Value, step: &Step<'_>) -> Result<(), String> {
        let length = self.path.len();
        match step {
            Step::First(name) => self.path.push_str(name),
            Step::Key(name) => {
                self.path.push('.');
                self.path.push_str(name);
            }
            Step::Item(at) => {
                let _ = write!(self.path, "[{at}]");
            }
        }
        if value.is_null() {
            *value = zero(shape);
        }
        self.value(shape, value)?;
        self.path.truncate(length);
        Ok(())
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// The path as Go's decoder shows it: without indices.
    fn shown_path(&self) -> String {
        let mut shown = String::new();
        let mut inside = false;
        for it in self.path.chars() {
            inside |= it == '[';
            if !inside {
                shown.push(it);
            }
            inside &= it != ']';
        }
        shown
    }

    fn mismatch(&self, shape: &Shape, value: &Value) -> String {
        let found = match value {
            Value::Null => "null".into(),
            Value::Bool(_) => "bool".into(),
            Value::Number(number) if matches!(shape, Shape::Int32 | Shape::Int64) => format!("number {number}"),
            Value::Number(_) => "number".into(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".into(),
            Value::Object(_) => "object".into(),
        };
        let (owner, path, wanted) = (self.type_name, self.shown_path(), go_type(shape));
        format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")
    }
}

/// Whether a time is written as this server writes times, and is one: most are, and need no reading and writing again.
fn is_canonical(text: &str) -> bool {
    const FORM: &[u8; 20] = b"0000-00-00T00:00:00Z";
    let bytes = text.as_bytes();
    let fits = |(it, form): (&u8, &u8)| if *form == b'0' { it.is_ascii_digit() } else { it == form };
    let number = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    bytes.len() == FORM.len()
        && bytes.iter().zip(FORM).all(fits)
        && matches!(bytes[0], b'1' | b'2')
        && (1..=12).contains(&number(5))
        // No month has fewer days; the last ones of the others are read.
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// What Go's decoder makes of a null in a list or map.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Bytes => "".into(),
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::IntOrText => 0.into(),
        Shape::Quantity => "0".into(),
        Shape::Object(_) | Shape::Map(_) => Value::Object(serde_json::Map::new()),
        Shape::List(_) => Value::Array(vec![]),
        Shape::Any | Shape::Double | Shape::Time | Shape::MicroTime => Value::Null,
    }
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Any => "interface {}".into(),
        Shape::Text => "string".into(),
        Shape::Bytes => "[]uint8".into(),
        Shape::Time => "v1.Time".into(),
        Shape::MicroTime => "v1.MicroTime".into(),
        Shape::Bool => "bool".into(),
        Shape::Int32 => "int32".into(),
        Shape::Int64 => "int64".into(),
        Shape::Double => "float64".into(),
        Shape::Quantity => "resource.Quantity".into(),
        Shape::IntOrText => "intstr.IntOrString".into(),
        Shape::Object(_) => shape.definition().map_or_else(String::new, |it| {
            it.name
                .rsplit_once('.')
                .map_or(it.name.into(), |(group, name)| format!("{}.{name}", group.rsplit('.').next().unwrap_or(group)))
        }),
        Shape::List(item) => format!("[]{}", go_type(item)),
        Shape::Map(value) => format!("map[string]{}", go_type(value)),
    }
}

/// Whether a text is base64 with padding; the message is Go's.
fn base64(text: &str) -> Result<(), String> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let bad = body.bytes().position(|it| !(it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/' | b'\r' | b'\n')));
    match bad {
        Some(at) => Err(format!("illegal base64 data at input byte {at}")),
        None if padding > 2 || text.bytes().filter(|it| !matches!(it, b'\r' | b'\n')).count() % 4 != 0 => {
            Err(format!("illegal base64 data at input byte {}", body.len()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::builtin;

    fn pod(spec: Value) -> Result<Decoded, String> {
        let kind = builtin().by_plural("", "v1", "pods").expect("known");
        decode(kind, json!({"spec": spec}), vec![], FieldValidation::Warn).map_err(|e| e.message)
    }

    #[test]
    fn unknown_fields_are_dropped_with_a_warning() {
        let decoded = pod(json!({"containers": [{"name": "a", "imagge": "x"}], "nodeName": null})).expect("decodes");
        assert_eq!(decoded.object, json!({"spec": {"containers": [{"name": "a"}]}}));
        assert_eq!(decoded.warnings, [r#"unknown field "spec.containers[0].imagge""#]);
    }

    #[test]
    fn empty_lists_and_maps_are_dropped_where_kubernetes_types_leave_them_out() {
        let decoded = pod(json!({
            "containers": [], "volumes": [], "nodeSelector": {}, "securityContext": {},
        }));
        assert_eq!(decoded.expect("decodes").object, json!({"spec": {"containers": [], "securityContext": {}}}));
        let kind = builtin().by_plural("gateway.networking.k8s.io", "v1", "httproutes").expect("known");
        let route = json!({"spec": {"hostnames": []}});
        assert_eq!(decode(kind, route.clone(), vec![], FieldValidation::Strict).expect("decodes").object, route);
    }

    #[test]
    fn strict_refuses_unknown_and_duplicate_fields() {
        let kind = builtin().by_plural("apps", "v1", "deployments").expect("known");
        let object = json!({"spec": {"replicas": 1, "foo": 1}, "bar": 2});
        let error = decode(kind, object, vec!["spec.replicas".into()], FieldValidation::Strict).expect_err("strict");
        assert_eq!(error.code, 400);
        assert_eq!(
            error.message,
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "spec.replicas", unknown field "bar", unknown field "spec.foo""#
        );
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_body() {
        let kind = builtin().by_plural("apps", "v1", "deployments").expect("known");
        let body = br#"{"spec": {"zone": 1, "replicas": 2, "replicas": 3,
            "template": {"spec": {"containers": [{}, {"name": "a", "b": 1, "name": "c"}]}}}, "metadata": {"m": 1}}"#;
        let (value, duplicates) = crate::schema::parse(body).expect("parses");
        let error = decode_source(kind, value, duplicates, FieldValidation::Strict, Some(body)).expect_err("strict");
        let (_, told) = error.message.split_once("strict decoding error: ").expect("strict");
        assert_eq!(
            told,
            r#"unknown field "spec.zone", duplicate field "spec.replicas", unknown field "spec.template.spec.containers[1].b", duplicate field "spec.template.spec.containers[1].name", unknown field "metadata.m""#
        );
    }

    #[test]
    fn types_are_checked() {
        let kind = builtin().by_plural("apps", "v1", "deployments").expect("known");
        for (replicas, why) in [
            (json!("3"), "string"),
            (json!(1.5), "number 1.5"),
            (json!(3_000_000_000_i64), "number 3000000000"),
            (json!([1]), "array"),
        ] {
            let object = json!({"spec": {"replicas": replicas}});
            let error = decode(kind, object, vec![], FieldValidation::Ignore).expect_err("mistyped");
            assert_eq!(
                error.message,
                format!(
                    r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal {why} into Go struct field DeploymentSpec.spec.replicas of type int32"#
                )
            );
        }
        assert!(pod(json!({"containers": {"name": "a"}})).is_err());
        assert!(pod(json!("x")).is_err());
    }

    #[test]
    fn quantities_and_times_become_canonical() {
        let limits = json!({"cpu": 0.5, "memory": "1024Mi", "pods": 3});
        let decoded = pod(json!({"containers": [{"resources": {"limits": limits}}]})).expect("decodes");
        assert_eq!(
            decoded.object["spec"]["containers"][0]["resources"]["limits"],
            json!({"cpu": "500m", "memory": "1Gi", "pods": "3"})
        );
        assert!(pod(json!({"overhead": {"cpu": "lots"}})).is_err());

        let kind = builtin().by_plural("coordination.k8s.io", "v1", "leases").expect("known");
        let lease = json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05.6+01:00"}, "spec": {"renewTime": "2026-01-02T03:04:05Z"}});
        let decoded = decode(kind, lease, vec![], FieldValidation::Strict).expect("decodes").object;
        assert_eq!(decoded["metadata"]["creationTimestamp"], "2026-01-02T02:04:05Z");
        assert_eq!(decoded["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
    }

    #[test]
    fn only_what_reading_and_writing_would_leave_alone_is_a_canonical_time() {
        for text in ["2026-01-02T03:04:05Z", "1999-12-28T23:59:59Z", "2026-02-28T00:00:00Z"] {
            assert!(is_canonical(text), "{text}");
            assert_eq!(crate::meta::format_time(text.parse().expect("a time")), text);
        }
        for text in [
            "2026-13-02T03:04:05Z",
            "2026-00-02T03:04:05Z",
            "2026-01-29T03:04:05Z",
            "2026-01-00T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02t03:04:05Z",
            "2026-01-02T03:04:05z",
            "2026-01-02T03:04:05.0Z",
            "2026-01-02T03:04:05+00:00",
            "2026-1-002T03:04:05Z",
            "2026-01-02T0a:04:05Z",
            "x026-01-02T03:04:05Z",
            "",
            "Z",
            "2026-01-02Z",
            "202é-01-02T03:04:05Z",
        ] {
            assert!(!is_canonical(text), "{text}");
        }
    }

    #[test]
    fn secrets_must_be_base64() {
        let kind = builtin().by_plural("", "v1", "secrets").expect("known");
        let check = |data: &str| decode(kind, json!({"data": {"k": data}}), vec![], FieldValidation::Strict).is_ok();
        for good in ["", "YQ==", "YWI=", "YWJj"] {
            assert!(check(good), "{good}");
        }
        for bad in ["a", "YQ", "YQ=", "Y!==", "====", "YQ==YQ=="] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn nulls_in_maps_are_empty_values() {
        let kind = builtin().by_plural("", "v1", "configmaps").expect("known");
        let decoded = decode(kind, json!({"data": {"k": null}}), vec![], FieldValidation::Strict).expect("decodes");
        assert_eq!(decoded.object, json!({"data": {"k": ""}}));
    }
}
