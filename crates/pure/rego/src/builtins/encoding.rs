//! Encodings: base64, hexadecimal, JSON, YAML and the query part of URLs.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Cx, Failure, Made, Row, text, wrong_type};
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    ("base64.encode", 1, |cx, a| cx.text(&STANDARD.encode(text(a, 0)?))),
    ("base64.decode", 1, |cx, a| bytes(cx, STANDARD.decode(text(a, 0)?).ok())),
    ("base64.is_valid", 1, |_, a| Ok(a[0].as_str().is_some_and(|s| STANDARD.decode(s).is_ok()).into())),
    ("base64url.encode", 1, |cx, a| cx.text(&URL_SAFE.encode(text(a, 0)?))),
    ("base64url.encode_no_pad", 1, |cx, a| cx.text(&URL_SAFE_NO_PAD.encode(text(a, 0)?))),
    ("base64url.decode", 1, |cx, a| bytes(cx, URL_SAFE_NO_PAD.decode(text(a, 0)?.trim_end_matches('=')).ok())),
    ("hex.encode", 1, |cx, a| cx.text(&hex::encode(text(a, 0)?))),
    ("hex.decode", 1, |cx, a| bytes(cx, hex::decode(text(a, 0)?).ok())),
    ("json.marshal", 1, |cx, a| {
        let text = a[0].to_json().to_string();
        cx.text(&text)
    }),
    ("json.marshal_with_options", 2, marshal_with_options),
    ("json.unmarshal", 1, |cx, a| {
        let text = text(a, 0)?;
        cx.charge_bytes(text.len().saturating_mul(8))?;
        let json: serde_json::Value = serde_json::from_str(text).map_err(|error| Failure::Error(error.to_string()))?;
        Ok((&json).into())
    }),
    ("json.is_valid", 1, |_, a| {
        Ok(a[0].as_str().is_some_and(|s| serde_json::from_str::<serde_json::Value>(s).is_ok()).into())
    }),
    ("yaml.marshal", 1, |cx, a| {
        let text = serde_saphyr::to_string(&a[0].to_json()).map_err(|error| Failure::Error(error.to_string()))?;
        cx.text(&text)
    }),
    ("yaml.unmarshal", 1, |cx, a| {
        let text = text(a, 0)?;
        cx.charge_bytes(text.len().saturating_mul(8))?;
        Ok((&yaml(text)?).into())
    }),
    ("yaml.is_valid", 1, |_, a| Ok(a[0].as_str().is_some_and(|s| yaml(s).is_ok()).into())),
    ("urlquery.encode", 1, |cx, a| cx.text(&query(text(a, 0)?))),
    ("urlquery.decode", 1, |cx, a| {
        let decoded = unquery(text(a, 0)?)?;
        cx.text(&decoded)
    }),
    ("urlquery.encode_object", 1, encode_object),
    ("urlquery.decode_object", 1, |cx, a| {
        let mut out: BTreeMap<Value, Value> = BTreeMap::new();
        for pair in text(a, 0)?.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            cx.charge_bytes(pair.len() + 64)?;
            let values = out.entry(Value::string(&unquery(key)?)).or_insert_with(|| Value::array(Vec::new()));
            if let Value::Array(values) = values {
                Arc::make_mut(values).push(Value::string(&unquery(value)?));
            }
        }
        Ok(Value::Object(Arc::new(out)))
    }),
];

/// Decoded bytes as a string: Rego has no other.
fn bytes(cx: &mut Cx, decoded: Option<Vec<u8>>) -> Made {
    let decoded = decoded.ok_or("illegal encoding")?;
    cx.text(&String::from_utf8_lossy(&decoded))
}

fn yaml(text: &str) -> Result<serde_json::Value, Failure> {
    serde_saphyr::from_str(text).map_err(|error| Failure::Error(error.to_string()))
}

fn marshal_with_options(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Object(options) = &args[1] else { return Err(super::wrong_type(args, 1, "object")) };
    if let Some(unknown) = options.keys().find(|it| !matches!(it.as_str(), Some("indent" | "prefix" | "pretty"))) {
        return Err(Failure::Type(format!("object contained unknown key {unknown}")));
    }
    let option = |name: &str| args[1].field(name).cloned();
    let string = |value: Option<Value>| value.and_then(|v| v.as_str().map(str::to_owned));
    let indent = string(option("indent"));
    let prefix = string(option("prefix"));
    let pretty = option("pretty").map_or(indent.is_some() || prefix.is_some(), |p| p == Value::Bool(true));
    let json = args[0].to_json();
    if !pretty {
        return cx.text(&json.to_string());
    }
    let indent = indent.unwrap_or_else(|| "\t".to_owned());
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(&json, &mut serializer).map_err(|error| Failure::Error(error.to_string()))?;
    let text = String::from_utf8_lossy(&out).into_owned();
    let prefix = prefix.unwrap_or_default();
    let lines: Vec<String> = text.lines().map(|line| format!("{prefix}{line}")).collect();
    cx.text(&lines.join("\n"))
}

/// What Go's `url.QueryEscape` leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn query(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace(' ', "+")
}

fn unquery(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Failure::from("invalid URL escape"))?;
    Ok(decoded.into_owned())
}

fn encode_object(cx: &mut Cx, args: &[Value]) -> Made {
    let Value::Object(fields) = &args[0] else { return Err(wrong_type(args, 0, "object")) };
    let mut pairs = Vec::new();
    for (key, value) in fields.iter() {
        let key = query(key.as_str().ok_or_else(|| wrong_type(args, 0, "object with string keys"))?);
        let values: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            Value::Set(members) => members.iter().collect(),
            single => vec![single],
        };
        for value in values {
            let value = value.as_str().ok_or_else(|| wrong_type(args, 0, "object of strings"))?;
            cx.charge_bytes(key.len() + value.len() * 3)?;
            pairs.push(format!("{key}={}", query(value)));
        }
    }
    cx.text(&pairs.join("&"))
}
