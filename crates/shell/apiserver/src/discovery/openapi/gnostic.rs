//! OpenAPI v2 as gnostic's protobuf messages, the only form in which client-go and kubectl ask for it.
//!
//! Entry point: [`encode`], which takes the document as JSON. Field numbers are those of gnostic's `OpenAPIv2.proto`.
//! Only what our documents hold is encoded.

use serde_json::{Map, Value};

/// The document as a message.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]).text(2, &document["info"]["version"]);
    let mut paths = Message::default();
    for (name, item) in entries(&document["paths"]) {
        paths.named(2, name, &path_item(item));
    }
    let mut definitions = Message::default();
    for (name, it) in entries(&document["definitions"]) {
        definitions.named(1, name, &schema(it));
    }
    let mut whole = Message::default();
    whole.text(1, &document["swagger"]).message(2, &info).message(8, &paths).message(9, &definitions);
    whole.bytes
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("options", 6), ("patch", 8)] {
        if let Some(it) = item.get(method) {
            message.message(number, &operation(it));
        }
    }
    for it in items(&item["parameters"]) {
        message.message(9, &parameter(it));
    }
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.text(3, &operation["description"]).text(5, &operation["operationId"]);
    for it in items(&operation["produces"]) {
        message.text(6, it);
    }
    for it in items(&operation["consumes"]) {
        message.text(7, it);
    }
    for it in items(&operation["parameters"]) {
        message.message(8, &parameter(it));
    }
    let mut responses = Message::default();
    for (code, response) in entries(&operation["responses"]) {
        let mut one = Message::default();
        one.text(1, &response["description"]);
        if let Some(it) = response.get("schema") {
            // A schema may also be a file's: hence one level more.
            one.message(2, Message::default().message(1, &schema(it)));
        }
        responses.named(1, code, Message::default().message(1, &one));
    }
    message.message(9, &responses);
    extensions(operation, 13, &mut message);
    message
}

/// A `ParametersItem`, which might also be a reference.
fn parameter(parameter: &Value) -> Message {
    let mut one = Message::default();
    let (required, place) = (&parameter["required"], parameter["in"].as_str());
    let kind = match place {
        Some("body") => {
            one.text(1, &parameter["description"]).text(2, &parameter["name"]).text(3, &parameter["in"]);
            one.flag(4, required).message(5, &schema(&parameter["schema"]));
            std::mem::take(Message::default().message(1, &one))
        }
        place => {
            one.flag(1, required).text(2, &parameter["in"]).text(3, &parameter["description"]);
            one.text(4, &parameter["name"]);
            let number = if place == Some("path") {
                one.text(5, &parameter["type"]);
                4
            } else {
                one.text(6, &parameter["type"]);
                3
            };
            let mut sub = Message::default();
            sub.message(number, &one);
            std::mem::take(Message::default().message(2, &sub))
        }
    };
    std::mem::take(Message::default().message(1, &kind))
}

fn schema(schema_value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &schema_value["$ref"]).text(2, &schema_value["format"]);
    message.text(3, &schema_value["title"]).text(4, &schema_value["description"]);
    if let Some(it) = schema_value.get("default") {
        message.message(5, &any(it));
    }
    for it in items(&schema_value["required"]) {
        message.text(19, it);
    }
    for it in items(&schema_value["enum"]) {
        message.message(20, &any(it));
    }
    match schema_value.get("additionalProperties") {
        Some(flag @ Value::Bool(_)) => message.message(21, Message::default().flag(2, flag)),
        Some(it) => message.message(21, Message::default().message(1, &schema(it))),
        None => &mut message,
    };
    if schema_value["type"].is_string() {
        message.message(22, Message::default().text(1, &schema_value["type"]));
    }
    if let Some(it) = schema_value.get("items") {
        message.message(23, Message::default().message(1, &schema(it)));
    }
    if let Some(properties) = schema_value.get("properties") {
        let mut all = Message::default();
        for (name, it) in entries(properties) {
            all.named(1, name, &schema(it));
        }
        message.message(25, &all);
    }
    extensions(schema_value, 31, &mut message);
    message
}

/// The fields whose names begin with `x-`.
fn extensions(value: &Value, number: u32, message: &mut Message) {
    for (name, it) in entries(value).filter(|it| it.0.starts_with("x-")) {
        message.named(number, name, &any(it));
    }
}

/// A value that may be anything, as text: JSON is YAML.
fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.put(2, value.to_string().as_bytes());
    message
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE).iter().map(|(key, it)| (key.as_str(), it))
}

/// A message being written.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Adds a string; absent and empty ones are not written, as protobuf has it.
    fn text(&mut self, number: u32, value: &Value) -> &mut Self {
        match value.as_str() {
            Some(text) if !text.is_empty() => self.put(number, text.as_bytes()),
            _ => self,
        }
    }

    /// Adds a boolean; false is not written.
    fn flag(&mut self, number: u32, value: &Value) -> &mut Self {
        if value.as_bool() == Some(true) {
            self.varint(u64::from(number) << 3);
            self.bytes.push(1);
        }
        self
    }

    fn message(&mut self, number: u32, message: &Message) -> &mut Self {
        self.put(number, &message.bytes)
    }

    /// Adds an entry of a map: a message of name and value.
    fn named(&mut self, number: u32, name: &str, value: &Message) -> &mut Self {
        let mut entry = Message::default();
        entry.put(1, name.as_bytes()).message(2, value);
        self.message(number, &entry)
    }

    fn put(&mut self, number: u32, bytes: &[u8]) -> &mut Self {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_messages_as_protobuf_does() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "K"},
            "paths": {"/a": {"get": {"x-k": 1, "responses": {}}}},
            "definitions": {"A": {"type": "object", "required": ["b"], "additionalProperties": true}},
        });
        let info = [&[0x12, 3, 0x0a, 1][..], b"K"].concat();
        let operation = [&[0x4a, 0, 0x6a, 10, 0x0a, 3][..], b"x-k", &[0x12, 3, 0x12, 1], b"1"].concat();
        let item = [&[0x12, operation.len() as u8][..], &operation].concat();
        let named = [&[0x0a, 2][..], b"/a", &[0x12, item.len() as u8], &item].concat();
        let paths = [&[0x12, named.len() as u8][..], &named].concat();
        let paths = [&[0x42, paths.len() as u8][..], &paths].concat();
        let schema = [&[0x9a, 1, 1][..], b"b", &[0xaa, 1, 2, 0x10, 1], &[0xb2, 1, 8, 0x0a, 6], b"object"].concat();
        let named = [&[0x0a, 1][..], b"A", &[0x12, schema.len() as u8], &schema].concat();
        let definitions = [&[0x0a, named.len() as u8][..], &named].concat();
        let definitions = [&[0x4a, definitions.len() as u8][..], &definitions].concat();
        assert_eq!(encode(&document), [&[0x0a, 3][..], b"2.0", &info, &paths, &definitions].concat());
    }
}
