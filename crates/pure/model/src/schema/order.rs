//! Puts what is wrong with a JSON body into the order in which a decoder that reads it once comes upon it.
//!
//! Entry point: [`sort`]. It reads the body a second time, which only bodies with several problems cost.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A field that should not be there.
pub(super) struct Problem {
    pub(super) path: String,
    /// Whether it appears twice; else it is unknown.
    pub(super) twice: bool,
}

/// Sorts problems by where they are in the body.
pub(super) fn sort(source: &[u8], problems: &mut [Problem]) {
    let wanted: HashSet<String> = problems.iter().map(|it| it.path.clone()).collect();
    let (mut path, mut seen) = (String::new(), Vec::new());
    let seek = Seek { path: &mut path, wanted: &wanted, seen: &mut seen };
    // What does not parse was refused before; then the order does not matter.
    let _ = seek.deserialize(&mut serde_json::Deserializer::from_slice(source));
    problems.sort_by_cached_key(|problem| {
        let mut places = seen.iter().enumerate().filter(|it| *it.1 == problem.path).map(|it| it.0);
        let first = places.next();
        if problem.twice { places.next().or(first) } else { first }.unwrap_or(usize::MAX)
    });
}

/// Walks values, noting wanted fields as they come.
struct Seek<'a> {
    path: &'a mut String,
    wanted: &'a HashSet<String>,
    seen: &'a mut Vec<String>,
}

impl Seek<'_> {
    fn inner(&mut self) -> Seek<'_> {
        Seek { path: self.path, wanted: self.wanted, seen: self.seen }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let length = self.path.len();
        for at in 0.. {
            self.path.push_str(&format!("[{at}]"));
            let next = items.next_element_seed(self.inner())?;
            self.path.truncate(length);
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let length = self.path.len();
        while let Some(key) = entries.next_key::<String>()? {
            let dot = if length == 0 { "" } else { "." };
            self.path.push_str(&format!("{dot}{key}"));
            if let Some(path) = self.wanted.get(self.path.as_str()) {
                self.seen.push(path.clone());
            }
            // Nothing below can be wanted when no wanted path begins so.
            if self.wanted.iter().any(|it| it.starts_with(self.path.as_str())) {
                entries.next_value_seed(self.inner())?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }
}
