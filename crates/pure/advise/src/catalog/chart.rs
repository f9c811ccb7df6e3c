//! Keys of other projects' files, with where they were read: [`Chart`].

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::technology::{Id, Source};
use crate::words::words;

words! {
    /// What a key takes.
    Shape {
        /// `true` or `false`.
        Flag = "flag", "true or false", "布尔值";
        /// A number.
        Number = "number", "a number", "数字";
        /// Text.
        Text = "text", "text", "文本";
    }
}

/// The keys of a project's file that somebody vouches for.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// What rendering calls the file.
    pub id: Id,
    /// What takes the file.
    pub of: String,
    /// Where the keys were read, and when.
    pub read: String,
    /// What each key takes: `a.b` for b in a, `a[]` for every item of a.
    pub keys: BTreeMap<String, Shape>,
    /// Where the entry stands.
    pub source: Source,
}

impl Chart {
    /// The values of a file that no key vouches for.
    pub fn unknown(&self, file: &Value) -> Vec<String> {
        let mut unknown = Vec::new();
        self.judge(String::new(), file, &mut unknown);
        unknown
    }

    fn judge(&self, path: String, value: &Value, unknown: &mut Vec<String>) {
        let shape = match value {
            Value::Object(fields) => {
                let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                return fields.iter().for_each(|(key, value)| self.judge(below(key), value, unknown));
            }
            Value::Array(items) => {
                return items.iter().for_each(|it| self.judge(format!("{path}[]"), it, unknown));
            }
            Value::Bool(_) => Some(Shape::Flag),
            Value::Number(_) => Some(Shape::Number),
            Value::String(_) => Some(Shape::Text),
            Value::Null => None,
        };
        if shape.is_none() || self.keys.get(&path).copied() != shape {
            unknown.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_key_vouches_for_is_told() {
        let keys = [("a.b", Shape::Flag), ("l[].n", Shape::Number)].map(|(key, shape)| (key.to_owned(), shape));
        let chart = Chart {
            id: Id::from("it"),
            of: String::new(),
            read: String::new(),
            keys: keys.into(),
            source: Source::default(),
        };
        assert!(chart.unknown(&json!({ "a": { "b": true }, "l": [{ "n": 1 }, { "n": 2 }] })).is_empty());
        let file = json!({ "a": { "b": 1, "c": true }, "l": [{ "n": "1" }], "a.b": null });
        assert_eq!(chart.unknown(&file), ["a.b", "a.c", "a.b", "l[].n"]);
    }
}
