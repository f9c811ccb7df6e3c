//! One step of a path into an object, as `fieldsV1` names it.

use std::fmt;

use serde_json::{Number, Value};

use super::FieldsError;

/// One step of a path. The order is that of structured-merge-diff: fields, keys, values, indices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A field of an object or an entry of a map: `f:NAME`.
    Field(Box<str>),
    /// An item of a list, by the fields that identify it, as canonical JSON: `k:{"name":"web"}`.
    Key(Box<str>),
    /// An item of a set, by its value as canonical JSON: `v:"a"`.
    Value(Box<str>),
    /// An item of a list by its place: `i:0`. Read for completeness; lists are never tracked by place.
    Index(i64),
}

/// A path into an object.
pub type Path = Vec<Element>;

impl Element {
    /// A field of that name.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// An item of a set.
    pub(super) fn value(value: &Value) -> Self {
        Self::Value(canonical(value).into())
    }

    /// An item of a list with these identifying fields.
    pub(super) fn key(mut fields: Vec<(&str, &Value)>) -> Self {
        fields.sort_by_key(|(name, _)| *name);
        let mut text = String::from("{");
        for (i, (name, value)) in fields.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            text += &format!("{comma}{}:{}", Value::from(*name), canonical(value));
        }
        text.push('}');
        Self::Key(text.into())
    }

    /// Reads a name in `fieldsV1`; `None` for a kind of step that only a later version knows.
    pub(super) fn parse(name: &str) -> Result<Option<Self>, FieldsError> {
        let wrong = |why: String| FieldsError::Element { element: name.to_owned(), why };
        let Some((kind, rest)) = name.split_once(':') else { return Err(wrong("it has no colon".into())) };
        Ok(Some(match kind {
            "f" => Self::field(rest),
            "v" => Self::value(&serde_json::from_str(rest).map_err(|e| wrong(e.to_string()))?),
            "k" => match serde_json::from_str(rest).map_err(|e| wrong(e.to_string()))? {
                Value::Object(fields) => Self::key(fields.iter().map(|(name, it)| (name.as_str(), it)).collect()),
                _ => return Err(wrong("the key is not an object".into())),
            },
            "i" => Self::Index(rest.parse().map_err(|_| wrong("the index is not an integer".into()))?),
            _ => return Ok(None),
        }))
    }

    /// The name in `fieldsV1`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Key(key) => ["k:", key].concat(),
            Self::Value(value) => ["v:", value].concat(),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// JSON in which equal numbers look equal: `1.0` is `1`.
fn canonical(value: &Value) -> String {
    /// Above that, not every integer has a float of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value.as_f64().filter(|it| value.is_f64() && it.fract() == 0.0 && it.abs() <= EXACT_MAX) {
        Some(whole) => Number::from(whole as i64).to_string(),
        None => value.to_string(),
    }
}

/// As Kubernetes writes steps in messages: `.name`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(key) => {
                let fields: serde_json::Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let mut shown: Vec<String> = fields.iter().map(|(name, it)| format!("{name}={it}")).collect();
                shown.sort();
                write!(f, "[{}]", shown.join(","))
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path as Kubernetes writes it: `.spec.containers[name="web"].image`.
pub(super) fn shown(path: &[Element]) -> String {
    path.iter().map(Element::to_string).collect()
}
