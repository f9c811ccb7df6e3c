//! JSON text to values, noting fields that appear twice.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most duplicates reported of one body.
const DUPLICATES_MAX: usize = 100;

/// Parses JSON. Of a field that appears twice the last value stands, and its path is in the second part.
pub fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut path = String::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { path: &mut path, duplicates: &mut duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, duplicates))
}

struct Seed<'a> {
    path: &'a mut String,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
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
        let length = self.path.len();
        loop {
            // Writing to a string cannot fail.
            let _ = write!(self.path, "[{}]", list.len());
            let next = items.next_element_seed(Seed { path: self.path, duplicates: self.duplicates })?;
            self.path.truncate(length);
            match next {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let length = self.path.len();
        while let Some(key) = entries.next_key::<String>()? {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            let value = entries.next_value_seed(Seed { path: self.path, duplicates: self.duplicates })?;
            if map.insert(key, value).is_some() && self.duplicates.len() < DUPLICATES_MAX {
                self.duplicates.push(self.path.clone());
            }
            self.path.truncate(length);
        }
        if map.len() > FIELDS_MAX {
            return Err(A::Error::custom(format!("an object has more than {FIELDS_MAX} fields")));
        }
        Ok(Value::Object(map))
    }
}

/// Far above what any object holds; a bound for later work that looks at every field.
const FIELDS_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_found_by_path_and_the_last_one_stands() {
        let text = br#"{"a": 1, "b": {"c": 1, "c": 2}, "l": [{"x": 1, "x": 1.5}], "a": null}"#;
        let (value, duplicates) = parse(text).expect("parses");
        assert_eq!(value, json!({"a": null, "b": {"c": 2}, "l": [{"x": 1.5}]}));
        assert_eq!(duplicates, ["b.c", "l[0].x", "a"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [&b"{"[..], b"{} x", b"\xff", b"{\"a\": 1e999}", b"nul"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
    }
}
