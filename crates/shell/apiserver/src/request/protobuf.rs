//! Decodes objects that clients send as `application/vnd.kubernetes.protobuf`, as `kubectl create` does.
//!
//! Entry point: [`decode`]. What a field is comes from the model's schema; `data/protobuf.txt` adds field numbers. The
//! result is the object as it would have been in JSON. Deliberately absent: encoding, since every client that sends
//! protobuf also takes JSON. Unknown fields are refused rather than dropped, so that nothing is lost silently.

mod wire;

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use eyot_model::{
    kinds::Table,
    meta,
    schema::{self, Definition, Shape},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::wire::{Item, Reader};

/// What every message begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages in messages, as deep as JSON may be.
const DEPTH_MAX: usize = 100;

/// Why bytes are no object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProtobufError {
    #[error("it does not begin with the Kubernetes prefix")]
    Prefix,
    #[error("a message is cut short or malformed")]
    Malformed,
    #[error("{0} is not known in protobuf form, send JSON")]
    Unknown(String),
    #[error("{0} has an unknown field of number {1}, send JSON")]
    Field(&'static str, u32),
    #[error("messages are nested too deeply")]
    Depth,
}

enum Entry {
    Field(&'static str),
    /// A message whose fields lie in the parent when written as JSON.
    Inline(&'static str),
}

type Messages = HashMap<&'static str, HashMap<u32, Entry>>;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| {
    let lines = include_str!("../../data/protobuf.txt").lines().filter(|it| !it.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, fields)| (name, entries(fields))).collect()
});

fn entries(fields: &'static str) -> HashMap<u32, Entry> {
    let pairs = fields.split(' ').filter_map(|it| it.split_once(':'));
    let entry = |name: &'static str| name.strip_prefix('=').map_or(Entry::Field(name), Entry::Inline);
    pairs.filter_map(|(number, name)| Some((number.parse().ok()?, entry(name)))).collect()
}

/// Decodes the envelope and the object in it.
pub(crate) fn decode(table: &Table, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &b""[..]);
    for item in Reader::new(bytes) {
        match item? {
            (1, Item::Bytes(types)) => {
                for item in Reader::new(types) {
                    match item? {
                        (1, item) => api_version = text(item)?,
                        (2, item) => kind = text(item)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = format!("{api_version} {kind}");
    // Options of deletes come as a kind that belongs to no group of its own.
    let root = match kind.as_str() {
        "DeleteOptions" => schema::root_of("", "v1", "DeleteOptions"),
        _ => table.by_api_version(&api_version, &kind).map_or_else(
            || {
                let (group, version) = eyot_model::kinds::split_api_version(&api_version);
                schema::root_of(group, version, &kind)
            },
            |it| schema::root(it),
        ),
    };
    let definition = root.as_ref().and_then(Shape::definition).ok_or(ProtobufError::Unknown(name))?;
    let mut object = Map::new();
    message(&mut object, definition, definition.name, raw, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

/// Reads a message's fields into `object`, whose JSON shape is `definition`'s.
fn message(
    object: &mut Map<String, Value>,
    definition: &'static Definition,
    name: &'static str,
    bytes: &[u8],
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Depth);
    }
    let fields = MESSAGES.get(name).ok_or_else(|| ProtobufError::Unknown(name.to_owned()))?;
    for item in Reader::new(bytes) {
        let (number, item) = item?;
        match fields.get(&number).ok_or(ProtobufError::Field(name, number))? {
            Entry::Inline(inner) => message(object, definition, inner, bytes_of(item)?, depth + 1)?,
            Entry::Field(field) => {
                let shape = &definition.field(field).ok_or(ProtobufError::Field(name, number))?.shape;
                add(object, field, shape, item, depth)?;
            }
        }
    }
    Ok(())
}

/// Sets a field, or adds to it when it repeats.
fn add(
    object: &mut Map<String, Value>,
    field: &str,
    shape: &Shape,
    item: Item<'_>,
    depth: usize,
) -> Result<(), ProtobufError> {
    match shape {
        Shape::List(of) => {
            let list = object.entry(field).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(value(of, item, depth)?);
            }
        }
        Shape::Map(of) => {
            let (mut key, mut entry) = (String::new(), None);
            for part in Reader::new(bytes_of(item)?) {
                match part? {
                    (1, part) => key = text(part)?,
                    (2, part) => entry = Some(value(of, part, depth)?),
                    _ => {}
                }
            }
            let entry = entry.map_or_else(|| value(of, Item::Bytes(b""), depth), Ok)?;
            meta::as_map(object.entry(field).or_insert_with(|| json!({}))).insert(key, entry);
        }
        // Go sends every field that is no pointer, set or not.
        shape => match value(shape, item, depth)? {
            value if is_unset(field, &value) => {}
            value => drop(object.insert(field.to_owned(), value)),
        },
    }
    Ok(())
}

/// Whether a value means that nothing was set. For numbers and flags that is so only where Go has no pointer; elsewhere
/// a zero is one that somebody wrote.
fn is_unset(field: &str, value: &Value) -> bool {
    const NO_POINTERS: [&str; 20] = [
        "failureThreshold",
        "generation",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostPort",
        "initialDelaySeconds",
        "minReadySeconds",
        "nodePort",
        "observedGeneration",
        "paused",
        "periodSeconds",
        "publishNotReadyAddresses",
        "readOnly",
        "stdin",
        "stdinOnce",
        "successThreshold",
        "timeoutSeconds",
        "tty",
        "unschedulable",
    ];
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(false) => NO_POINTERS.contains(&field),
        Value::Number(number) => number.as_i64() == Some(0) && NO_POINTERS.contains(&field),
        _ => false,
    }
}

fn value(shape: &Shape, item: Item<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match shape {
        Shape::Text => text(item)?.into(),
        Shape::Bytes => STANDARD.encode(bytes_of(item)?).into(),
        Shape::Bool => (number_of(item)? != 0).into(),
        // Negative numbers are sent as their 64-bit complement.
        Shape::Int32 | Shape::Int64 => number_of(item)?.cast_signed().into(),
        Shape::Double => f64::from_bits(number_of(item)?).into(),
        Shape::Time | Shape::MicroTime => time(shape, bytes_of(item)?)?,
        Shape::Quantity => nested_text(bytes_of(item)?, 1)?.into(),
        Shape::IntOrText => int_or_text(bytes_of(item)?)?,
        Shape::Any => raw_json(bytes_of(item)?)?,
        Shape::Object(_) => {
            let definition = shape.definition().ok_or(ProtobufError::Malformed)?;
            let mut object = Map::new();
            message(&mut object, definition, definition.name, bytes_of(item)?, depth + 1)?;
            object.into()
        }
        // A list inside a map is a message with the list as its first field.
        Shape::List(of) => {
            let items = Reader::new(bytes_of(item)?).filter_map(|it| match it {
                Ok((1, item)) => Some(value(of, item, depth + 1)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            });
            items.collect::<Result<Vec<_>, _>>()?.into()
        }
        Shape::Map(_) => return Err(ProtobufError::Unknown("a map inside a list or map".to_owned())),
    })
}

/// `null` stands for the zero time.
fn time(shape: &Shape, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    for item in Reader::new(bytes) {
        match item? {
            (1, item) => seconds = number_of(item)?.cast_signed(),
            (2, item) => nanos = i32::try_from(number_of(item)?).map_err(|_| ProtobufError::Malformed)?,
            _ => {}
        }
    }
    const ZERO_TIME: i64 = -62_135_596_800;
    if bytes.is_empty() || seconds == ZERO_TIME {
        return Ok(Value::Null);
    }
    let time = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    Ok(match shape {
        Shape::MicroTime => meta::format_micro_time(time).into(),
        _ => meta::format_time(time).into(),
    })
}

fn int_or_text(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut kind, mut number, mut string) = (0, 0, String::new());
    for item in Reader::new(bytes) {
        match item? {
            (1, item) => kind = number_of(item)?,
            (2, item) => number = number_of(item)?.cast_signed(),
            (3, item) => string = text(item)?,
            _ => {}
        }
    }
    Ok(if kind == 0 { number.into() } else { string.into() })
}

/// `RawExtension`, `JSON` and `FieldsV1` carry JSON in their first field.
fn raw_json(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let raw = nested_text(bytes, 1)?;
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&raw).map_err(|_| ProtobufError::Malformed)
}

fn nested_text(bytes: &[u8], wanted: u32) -> Result<String, ProtobufError> {
    let mut found = String::new();
    for item in Reader::new(bytes) {
        let (number, item) = item?;
        if number == wanted {
            found = text(item)?;
        }
    }
    Ok(found)
}

fn text(item: Item<'_>) -> Result<String, ProtobufError> {
    String::from_utf8(bytes_of(item)?.to_vec()).map_err(|_| ProtobufError::Malformed)
}

fn bytes_of(item: Item<'_>) -> Result<&[u8], ProtobufError> {
    match item {
        Item::Bytes(bytes) => Ok(bytes),
        Item::Number(_) => Err(ProtobufError::Malformed),
    }
}

fn number_of(item: Item<'_>) -> Result<u64, ProtobufError> {
    match item {
        Item::Number(number) => Ok(number),
        // A field that a map entry leaves out.
        Item::Bytes(b"") => Ok(0),
        Item::Bytes(_) => Err(ProtobufError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::kinds::builtin as table;

    /// A field of bytes: tag, length, content, all short.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &types), field(2, raw)].concat()
    }

    #[test]
    fn reads_objects_as_json_would_have_them() {
        let labels = field(11, &[field(1, b"app"), field(2, b"web")].concat());
        let metadata = field(1, &[field(1, b"w"), labels, field(8, b"")].concat());
        let source = field(2, &field(6, &field(1, b"secret")));
        let volume = field(1, &[field(1, b"v"), source].concat());
        let pod = [metadata, field(2, &[volume, vec![4 << 3, 30]].concat())].concat();
        let pod = decode(table(), &envelope("v1", "Pod", &pod)).unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w", "labels": {"app": "web"}},
            "spec": {
                "volumes": [{"name": "v", "secret": {"secretName": "secret"}}],
                "terminationGracePeriodSeconds": 30,
            },
        });
        assert_eq!(pod, expected);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(decode(table(), b"{}"), Err(ProtobufError::Prefix));
        assert!(matches!(decode(table(), &envelope("v1", "Nothing", b"")), Err(ProtobufError::Unknown(_))));
        let odd = envelope("v1", "ConfigMap", &field(15, b"x"));
        assert_eq!(decode(table(), &odd), Err(ProtobufError::Field("core.v1.ConfigMap", 15)));
        for cut in [5, 9, 20, odd.len() - 1] {
            assert!(decode(table(), &odd[..cut]).is_err(), "{cut}");
        }
        assert_eq!(decode(table(), &envelope("v1", "Pod", &[0x0a, 0xff])), Err(ProtobufError::Malformed));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let whole = envelope("apps/v1", "Deployment", &field(2, &field(3, &field(2, &field(1, b"v")))));
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(4..bytes.len());
                bytes[at] = random.random();
            }
            bytes.truncate(random.random_range(4..=bytes.len()));
            let _ = decode(table(), &bytes);
        }
    }

    #[test]
    fn every_stored_kind_has_numbers() {
        let groups =
            ["", "apps", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "discovery.k8s.io"];
        for kind in table().iter().filter(|it| groups.contains(&it.group.as_str())) {
            let definition = schema::root(kind).and_then(|it| it.definition()).unwrap();
            assert!(MESSAGES.contains_key(definition.name), "{}", definition.name);
        }
    }
}
