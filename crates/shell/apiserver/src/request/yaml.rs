//! Parses YAML, noting keys that a mapping gives twice. Entry point: [`parse`].
//!
//! A mapping with a repeated key is an error of YAML, but Kubernetes leaves it to `fieldValidation` what comes of it:
//! so a body that fails for that reason is read again, for its value and for the lines of the repetitions.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error, Options, Spanned};

/// Most repetitions reported of one body.
const DUPLICATES_MAX: usize = 100;

/// The value, and a text for each key that is given twice; the last one stands.
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), Error> {
    match serde_saphyr::from_slice_with_options::<Value>(bytes, options(DuplicateKeyPolicy::Error)) {
        Err(error) if is_duplicate(&error) => {
            let value = serde_saphyr::from_slice_with_options(bytes, options(DuplicateKeyPolicy::LastWins))?;
            Ok((value, duplicates(bytes)?))
        }
        other => Ok((other?, Vec::new())),
    }
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! { with_snippet: false, duplicate_keys: duplicate_keys }
}

fn is_duplicate(error: &Error) -> bool {
    matches!(error.without_snippet(), Error::DuplicateMappingKey { .. })
}

fn duplicates(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    serde_saphyr::with_deserializer_from_str_with_options(&text, options(DuplicateKeyPolicy::PassThrough), |it| {
        Scan(&mut found).deserialize(it)
    })?;
    Ok(found)
}

/// Walks a document for repeated keys alone.
struct Scan<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Scan(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            if !seen.insert(key.value.clone()) && self.0.len() < DUPLICATES_MAX {
                self.0.push(format!("line {line}: key {:?} already set in map", key.value));
            }
            entries.next_value_seed(Scan(self.0))?;
        }
        Ok(())
    }
}
