//! `metadata.managedFields`: who owns which fields. Entry points: [`decode`], [`encode`], [`same`].

use serde_json::{Map, Value, json};

use super::{FieldsError, set::Set};
use crate::meta;

/// How an owner came by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It applied a configuration.
    Apply,
    /// It wrote by any other means.
    Update,
}

/// What one owner owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The owner's name.
    pub manager: String,
    /// How it came by the fields.
    pub operation: Operation,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: String,
    /// The version its field names are of.
    pub api_version: String,
    /// When it last changed what it owns, as sent or written.
    pub time: Option<String>,
    /// The fields.
    pub fields: Set,
}

/// Why a list of entries makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagedError {
    /// It is no list.
    #[error("metadata.managedFields is not a list")]
    NotAList,
    /// An entry is wrong.
    #[error("metadata.managedFields[{entry}]: {why}")]
    Entry {
        /// Its place.
        entry: usize,
        /// What is wrong.
        why: String,
    },
    /// An entry's fields cannot be read.
    #[error("metadata.managedFields[{entry}]: {why}")]
    Fields {
        /// Its place.
        entry: usize,
        /// What is wrong.
        why: FieldsError,
    },
}

impl Entry {
    /// Whether both entries are of the same owner. One who applies stays the same from version to version.
    pub(super) fn is_of(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The owner as messages name it: `"kubectl" with subresource "scale" using apps/v1`.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            shown += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            shown += &format!(" using {}", self.api_version);
        }
        shown
    }
}

/// Reads the entries of an object.
pub fn decode(list: Option<&Value>) -> Result<Vec<Entry>, ManagedError> {
    let list = match list {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ManagedError::NotAList),
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let entry = decode_entry(at, value)?;
        match entries.iter_mut().find(|it| it.is_of(&entry)) {
            Some(same) => same.fields.union(entry.fields),
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

fn decode_entry(at: usize, value: &Value) -> Result<Entry, ManagedError> {
    let wrong = |why: &str| Err(ManagedError::Entry { entry: at, why: why.into() });
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let operation = match value["operation"].as_str() {
        Some("Apply") => Operation::Apply,
        Some("Update") => Operation::Update,
        _ => return wrong("operation must be `Apply` or `Update`"),
    };
    if text("apiVersion").is_empty() {
        return wrong("apiVersion must not be empty");
    }
    match value["fieldsType"].as_str() {
        Some("FieldsV1") => {}
        None | Some("") => return wrong("missing fieldsType"),
        Some(other) => return wrong(&format!("invalid fieldsType {other:?}")),
    }
    let fields = match value.get("fieldsV1") {
        None | Some(Value::Null) => Set::default(),
        Some(fields) => Set::parse(fields).map_err(|why| ManagedError::Fields { entry: at, why })?,
    };
    let (manager, subresource, api_version) = (text("manager"), text("subresource"), text("apiVersion"));
    let time = value["time"].as_str().map(str::to_owned);
    Ok(Entry { manager, operation, subresource, api_version, time, fields })
}

/// Writes entries: appliers first, then by time and name, as Kubernetes orders them. Those that own nothing are left
/// out.
pub fn encode(mut entries: Vec<Entry>) -> Value {
    entries.retain(|it| !it.fields.is_empty());
    let seconds = |it: &Entry| {
        it.time.as_deref().and_then(|it| it.parse::<jiff::Timestamp>().ok()).map_or(0, |it| it.as_second())
    };
    entries.sort_by_cached_key(|it| {
        (it.operation, seconds(it), it.manager.clone(), it.api_version.clone(), it.subresource.clone())
    });
    entries.iter().map(encode_entry).collect()
}

fn encode_entry(entry: &Entry) -> Value {
    let mut value = json!({
        "manager": entry.manager,
        "operation": if entry.operation == Operation::Apply { "Apply" } else { "Update" },
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields.to_value(),
    });
    if let Some(time) = &entry.time {
        value["time"] = time.as_str().into();
    }
    if !entry.subresource.is_empty() {
        value["subresource"] = entry.subresource.as_str().into();
    }
    value
}

/// Whether a list asks to forget all owners: it holds one empty entry.
pub(super) fn is_reset(list: Option<&Value>) -> bool {
    let blank = |it: &Value| it.as_object().is_some_and(Map::is_empty);
    matches!(meta::list(list), [only] if blank(only))
}

/// Whether two lists say the same, but for times.
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let (a, b) = (meta::list(a), meta::list(b));
    let timeless = |value: &Value| -> Vec<(String, Value)> {
        let fields = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "time");
        fields.map(|(name, it)| (name.clone(), it.clone())).collect()
    };
    let equal = |a: &Value, b: &Value| a == b || timeless(a) == timeless(b);
    a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| equal(a, b)))
}

/// Most owners by update: past it, the oldest are counted as one of this name for each version.
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Merges the oldest updaters when there are too many of them.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let updaters = |entries: &[Entry]| entries.iter().filter(|it| it.operation == Operation::Update).count();
    if updaters(entries) <= UPDATERS_MAX {
        return;
    }
    // By name first, so that equal times give the same order each time.
    entries.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
    let mut first: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < entries.len() && updaters(entries) > UPDATERS_MAX {
        if entries[at].operation == Operation::Apply {
            at += 1;
            continue;
        }
        let bucket = first.iter().copied().find(|it| entries[*it].api_version == entries[at].api_version);
        match bucket {
            None => {
                first.push(at);
                at += 1;
            }
            Some(bucket) => {
                let newer = entries.remove(at);
                let bucket = &mut entries[bucket];
                (bucket.manager, bucket.subresource) = (ANCIENT.into(), String::new());
                bucket.time = newer.time;
                bucket.fields.union(newer.fields);
            }
        }
    }
}
