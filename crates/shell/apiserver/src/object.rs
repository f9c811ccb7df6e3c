//! The stored form of objects: JSON whose `kind`, `apiVersion` and `metadata.resourceVersion` come first.
//!
//! The layout lets the store's writer put a revision into bytes that were serialised before the revision was known,
//! and lets a delete restamp the last version without parsing it. Entry points: [`Encoded::new`], [`restamp`].

use bytes::Bytes;
use eyot_model::{json, status::ApiError};
use eyot_store::{Entry, Revision};
use serde_json::Value;

const BEFORE_REVISION: &[u8] = br#","metadata":{"resourceVersion":""#;

/// A serialised object with a gap where its resource version goes.
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    gap: usize,
}

impl Encoded {
    /// Serialises an object that has `kind`, `apiVersion` and a map as `metadata`.
    pub(crate) fn new(object: &Value) -> Result<Encoded, ApiError> {
        let internal = |it: serde_json::Error| ApiError::internal(format!("serialising an object: {it}"));
        let incomplete = || ApiError::internal("an object without kind, apiVersion or metadata came to be stored");
        let map = object.as_object().ok_or_else(incomplete)?;
        let metadata = map.get("metadata").and_then(Value::as_object).ok_or_else(incomplete)?;
        // Objects are a few hundred bytes to a few KiB, and this lives only until they are stored.
        let mut bytes = Vec::with_capacity(4096);
        for (lead, field) in [(r#"{"kind":"#, "kind"), (r#","apiVersion":"#, "apiVersion")] {
            bytes.extend_from_slice(lead.as_bytes());
            serde_json::to_writer(&mut bytes, map.get(field).ok_or_else(incomplete)?).map_err(internal)?;
        }
        bytes.extend_from_slice(BEFORE_REVISION);
        let gap = bytes.len();
        bytes.push(b'"');
        fields(&mut bytes, metadata, &["resourceVersion"]).map_err(internal)?;
        bytes.push(b'}');
        fields(&mut bytes, map, &["kind", "apiVersion", "metadata"]).map_err(internal)?;
        bytes.push(b'}');
        Ok(Encoded { bytes, gap })
    }

    /// The bytes of version `revision`.
    pub(crate) fn at(&self, revision: Revision) -> Bytes {
        splice(&self.bytes[..self.gap], revision, &self.bytes[self.gap..])
    }

    /// The bytes of an object that was not stored: without a resource version.
    pub(crate) fn unversioned(&self) -> Bytes {
        let lead = self.gap - r#""resourceVersion":""#.len();
        // Behind the gap come the closing quote and, when more fields follow, a comma.
        let rest = &self.bytes[self.gap + 1..];
        let rest = rest.strip_prefix(b",").unwrap_or(rest);
        Bytes::from([&self.bytes[..lead], rest].concat())
    }
}

fn fields(bytes: &mut Vec<u8>, map: &serde_json::Map<String, Value>, except: &[&str]) -> Result<(), serde_json::Error> {
    for (key, value) in map.iter().filter(|(key, _)| !except.contains(&key.as_str())) {
        bytes.push(b',');
        serde_json::to_writer(&mut *bytes, key)?;
        bytes.push(b':');
        serde_json::to_writer(&mut *bytes, value)?;
    }
    Ok(())
}

fn splice(before: &[u8], revision: Revision, after: &[u8]) -> Bytes {
    let revision = revision.to_string();
    // Exactly as long as needed, since the result lives as long as the object.
    let mut all = Vec::with_capacity(before.len() + revision.len() + after.len());
    all.extend_from_slice(before);
    all.extend_from_slice(revision.as_bytes());
    all.extend_from_slice(after);
    Bytes::from(all)
}

/// Stored bytes with another resource version, as the last version that watchers of a deletion see.
pub(crate) fn restamp(stored: &[u8], revision: Revision) -> Bytes {
    let gap = stored.windows(BEFORE_REVISION.len()).position(|it| it == BEFORE_REVISION);
    let Some(gap) = gap.map(|it| it + BEFORE_REVISION.len()) else { return Bytes::copy_from_slice(stored) };
    let digits = stored[gap..].iter().take_while(|it| it.is_ascii_digit()).count();
    splice(&stored[..gap], revision, &stored[gap + digits..])
}

/// What stored bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) kind: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) revision: u64,
}

/// The version that stored bytes are in; also of bytes that were not stored in the end.
pub(crate) fn api_version(stored: &[u8]) -> Option<&str> {
    let (_, rest) = until_quote(stored.strip_prefix(br#"{"kind":""#)?)?;
    Some(until_quote(rest.strip_prefix(br#","apiVersion":""#)?)?.0)
}

/// Reads the beginning of stored bytes, without parsing the rest.
pub(crate) fn head(stored: &[u8]) -> Option<Head<'_>> {
    let rest = stored.strip_prefix(br#"{"kind":""#)?;
    let (kind, rest) = until_quote(rest)?;
    let (api_version, rest) = until_quote(rest.strip_prefix(br#","apiVersion":""#)?)?;
    let rest = rest.strip_prefix(BEFORE_REVISION)?;
    let (revision, _) = until_quote(rest)?;
    Some(Head { kind, api_version, revision: revision.parse().ok()? })
}

/// The text up to the next quote, and what follows the quote.
fn until_quote(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|it| *it == b'"')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Parses a stored entry.
pub(crate) fn parse(entry: &Entry) -> Result<Value, ApiError> {
    json::parse(&entry.value).map_err(|it| ApiError::internal(format!("{} is damaged: {it}", entry.key)))
}

/// The raw `metadata` of stored bytes.
pub(crate) fn metadata(stored: &[u8]) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        metadata: &'a serde_json::value::RawValue,
    }
    serde_json::from_slice::<Parts<'_>>(stored).ok().map(|it| it.metadata.get())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn puts_the_revision_into_serialised_bytes() {
        let object = json!({"spec": {"a": 1}, "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "resourceVersion": "7"}});
        let encoded = Encoded::new(&object).unwrap();
        let expected =
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"42","name":"p"},"spec":{"a":1}}"#;
        assert_eq!(encoded.at(Revision(42)), expected);
        assert_eq!(restamp(&encoded.at(Revision(9)), Revision(42)), expected);
        let without = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"a":1}}"#;
        assert_eq!(encoded.unversioned(), without);
        let head = head(expected.as_bytes()).unwrap();
        assert_eq!(head, Head { kind: "Pod", api_version: "v1", revision: 42 });
        assert_eq!(metadata(expected.as_bytes()), Some(r#"{"resourceVersion":"42","name":"p"}"#));
    }

    #[test]
    fn empty_metadata_is_no_special_case() {
        let encoded = Encoded::new(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}})).unwrap();
        assert_eq!(encoded.at(Revision(1)), r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1"}}"#);
        assert_eq!(encoded.unversioned(), r#"{"kind":"Pod","apiVersion":"v1","metadata":{}}"#);
    }
}
