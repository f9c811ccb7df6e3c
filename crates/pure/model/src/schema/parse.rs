//! JSON text to values, noting fields that appear twice.

use std::fmt::Write as _;

use serde_json::Value;

use crate::json::{self, Notes};

/// Most duplicates reported of one body.
const DUPLICATES_MAX: usize = 100;

/// Parses JSON. Of a field that appears twice the last value stands, and its path is in the second part.
pub fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut places = Places::default();
    let value = json::parse_noting(bytes, &mut places)?;
    Ok((value, places.duplicates))
}

/// Where the value is that is being read, and which were there twice.
#[derive(Default)]
struct Places {
    path: String,
    /// How long the path was before each of its steps.
    steps: Vec<usize>,
    duplicates: Vec<String>,
}

impl Notes for Places {
    fn at_key(&mut self, key: &str) {
        self.steps.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn at_item(&mut self, index: usize) {
        self.steps.push(self.path.len());
        // Writing to a string cannot fail.
        let _ = write!(self.path, "[{index}]");
    }

    fn read(&mut self, twice: bool) {
        if twice && self.duplicates.len() < DUPLICATES_MAX {
            self.duplicates.push(self.path.clone());
        }
        self.path.truncate(self.steps.pop().unwrap_or(0));
    }
}

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
