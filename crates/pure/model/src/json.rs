//! JSON text to values. Entry point: [`parse`].
//!
//! What this software writes has the keys of its objects in order, and a map is made of ordered entries at one comparison each,
//! where a single one is looked for among the others.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses JSON. Of a field that appears twice the last value stands.
///
/// # Errors
/// When it is not JSON, or nested too deeply.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    parse_noting(bytes, &mut Silent)
}

/// Parses JSON, and has it noted where what is.
pub(crate) fn parse_noting<N: Notes>(bytes: &[u8], notes: &mut N) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(notes).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Somebody who wants to know where what is while it is read.
pub(crate) trait Notes {
    /// What follows is the value of a key.
    fn at_key(&mut self, key: &str);
    /// What follows is an element of a list.
    fn at_item(&mut self, index: usize);
    /// It has been read. `twice` tells that its key was there before.
    fn read(&mut self, twice: bool);
}

/// Does not want to know.
struct Silent;

impl Notes for Silent {
    fn at_key(&mut self, _: &str) {}
    fn at_item(&mut self, _: usize) {}
    fn read(&mut self, _: bool) {}
}

/// Far above what any object holds; a bound for later work that looks at every field.
const FIELDS_MAX: usize = 1_000_000;

/// Entries of a map that is being read: a list for as long as their keys come in order.
enum Entries {
    Ordered(Vec<(String, Value)>),
    Any(Map<String, Value>),
}

impl Default for Entries {
    fn default() -> Self {
        Entries::Ordered(Vec::new())
    }
}

impl Entries {
    /// Adds an entry in place of another with its key; true when there was one.
    fn add(&mut self, key: String, value: Value) -> bool {
        match self {
            Entries::Ordered(list) if list.last().is_none_or(|it| it.0 < key) => {
                list.push((key, value));
                false
            }
            Entries::Ordered(list) => {
                let mut map: Map<String, Value> = std::mem::take(list).into_iter().collect();
                let was_there = map.insert(key, value).is_some();
                *self = Entries::Any(map);
                was_there
            }
            Entries::Any(map) => map.insert(key, value).is_some(),
        }
    }

    /// The map.
    fn into_map(self) -> Map<String, Value> {
        match self {
            Entries::Ordered(list) => list.into_iter().collect(),
            Entries::Any(map) => map,
        }
    }
}

struct Seed<'a, N>(&'a mut N);

impl<'de, N: Notes> DeserializeSeed<'de> for Seed<'_, N> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, N: Notes> Visitor<'de> for Seed<'_, N> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.0.at_item(list.len());
            let next = items.next_element_seed(Seed(&mut *self.0))?;
            self.0.read(false);
            match next {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Entries::default();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.at_key(&key);
            let value = entries.next_value_seed(Seed(&mut *self.0))?;
            let twice = read.add(key, value);
            self.0.read(twice);
        }
        let map = read.into_map();
        if map.len() > FIELDS_MAX {
            return Err(A::Error::custom(format!("an object has more than {FIELDS_MAX} fields")));
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_a_key_given_twice_stands_wherever_it_comes() {
        for (text, want) in [
            (r#"{"a": 1, "b": 2, "b": 3, "c": 4}"#, json!({"a": 1, "b": 3, "c": 4})),
            (r#"{"b": 1, "a": 2, "b": {"d": [1.5, -1, "é\u0041"]}}"#, json!({"a": 2, "b": {"d": [1.5, -1, "éA"]}})),
            (r#"{"a": null, "a": true}"#, json!({"a": true})),
        ] {
            assert_eq!(parse(text.as_bytes()).expect("JSON"), want);
        }
        for bad in ["", "{", "{}x", "{\"a\":1e999}", "[1,]", &"[".repeat(200)] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:.20}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            "[a-c\"\\\\é]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-d]{0,2}", inner, 0..6)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    /// The JSON of a value with the entries of its objects turned round, so that they are in no order.
    fn backwards(value: &Value) -> String {
        match value {
            Value::Array(list) => format!("[{}]", list.iter().map(backwards).collect::<Vec<_>>().join(",")),
            Value::Object(map) => {
                let entry = |(key, it): (&String, &Value)| format!("{}:{}", Value::from(key.as_str()), backwards(it));
                format!("{{{}}}", map.iter().rev().map(entry).collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(value in values()) {
            prop_assert_eq!(&parse(value.to_string().as_bytes()).expect("JSON"), &value);
            prop_assert_eq!(&parse(backwards(&value).as_bytes()).expect("JSON"), &value);
        }
    }
}
