//! Values as the direct evaluation has them: copying one copies a pointer. Entry point: [`Item`].

use std::{cmp::Ordering, sync::Arc};

use kube_cel::cel::{
    Value,
    objects::{Key, OptionalValue},
};
use serde_json::{Map as JsonMap, Value as Json};

use crate::{budget, convert};

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Arc<str>),
    List(Arc<Vec<Item>>),
    /// By name, in their order. Keys of other types make a map one of [`Item::Other`].
    Map(Arc<[(Arc<str>, Item)]>),
    Optional(Option<Arc<Item>>),
    /// What `@box` made: copied as a whole.
    Boxed(Arc<Item>),
    /// What only the interpreter's functions know: times, quantities, bytes, …
    Other(Value),
}

impl Item {
    /// A text.
    pub(crate) fn text(text: &str) -> Item {
        Item::Text(Arc::from(text))
    }

    /// A value as it is, its fields under their own names.
    pub(crate) fn of_json(value: &Json) -> Item {
        match value {
            Json::Null => Item::Null,
            Json::Bool(flag) => Item::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Item::Int(number),
                (None, Some(number)) => Item::UInt(number),
                (None, None) => Item::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Item::text(text),
            Json::Array(list) => Item::List(Arc::new(list.iter().map(Item::of_json).collect())),
            // Maps of JSON are in the order of their names already.
            Json::Object(map) => {
                Item::Map(map.iter().map(|(name, it)| (Arc::from(name.as_str()), Item::of_json(it))).collect())
            }
        }
    }

    /// A value of the interpreter.
    pub(crate) fn of_cel(value: Value) -> Item {
        match &value {
            Value::Null => Item::Null,
            Value::Bool(it) => Item::Bool(*it),
            Value::Int(it) => Item::Int(*it),
            Value::UInt(it) => Item::UInt(*it),
            Value::Float(it) => Item::Float(*it),
            Value::String(it) => Item::text(it),
            Value::Opaque(it) => match it.downcast_ref::<OptionalValue>() {
                Some(it) => Item::Optional(it.value().map(|it| Arc::new(Item::of_cel(it.clone())))),
                None => Item::Other(value),
            },
            Value::List(_) | Value::Map(_) => Item::collection(&value).unwrap_or(Item::Other(value)),
            _ => Item::Other(value),
        }
    }

    /// A list or a map; `None` where something in it is not told apart here.
    fn collection(value: &Value) -> Option<Item> {
        let inner = |it: &Value| match Item::of_cel(it.clone()) {
            Item::Optional(_) => None,
            it => Some(it),
        };
        match value {
            Value::List(list) => Some(Item::List(Arc::new(list.iter().map(inner).collect::<Option<_>>()?))),
            Value::Map(map) => {
                let field = |(key, it): (&Key, &Value)| match key {
                    Key::String(name) => Some((Arc::from(name.as_str()), inner(it)?)),
                    _ => None,
                };
                Some(Item::map(map.map.iter().map(field).collect::<Option<_>>()?))
            }
            _ => None,
        }
    }

    /// A map of fields in any order; of two with one name the last counts.
    pub(crate) fn map(mut fields: Vec<(Arc<str>, Item)>) -> Item {
        fields.reverse();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields.dedup_by(|a, b| a.0 == b.0);
        Item::Map(fields.into())
    }

    /// As the interpreter has it; a box is what is in it.
    pub(crate) fn to_cel(&self) -> Value {
        match self {
            Item::Null => Value::Null,
            Item::Bool(it) => Value::Bool(*it),
            Item::Int(it) => Value::Int(*it),
            Item::UInt(it) => Value::UInt(*it),
            Item::Float(it) => Value::Float(*it),
            Item::Text(it) => Value::String(Arc::new(it.to_string())),
            Item::List(it) => Value::List(Arc::new(it.iter().map(Item::to_cel).collect())),
            Item::Map(it) => convert::map(it.iter().map(|(name, it)| (name.to_string(), it.to_cel()))),
            Item::Optional(it) => Value::Opaque(Arc::new(match it {
                Some(it) => OptionalValue::of(it.to_cel()),
                None => OptionalValue::none(),
            })),
            Item::Boxed(it) => it.to_cel(),
            Item::Other(it) => it.clone(),
        }
    }

    /// As JSON; `None` for what JSON cannot say.
    pub(crate) fn to_json(&self) -> Option<Json> {
        Some(match self {
            Item::Null => Json::Null,
            Item::Bool(it) => Json::Bool(*it),
            Item::Int(it) => (*it).into(),
            Item::UInt(it) => (*it).into(),
            Item::Float(it) => serde_json::Number::from_f64(*it).map(Json::Number)?,
            Item::Text(it) => Json::String(it.to_string()),
            Item::List(it) => Json::Array(it.iter().map(Item::to_json).collect::<Option<_>>()?),
            Item::Map(it) => {
                let fields = it.iter().map(|(name, it)| Some((name.to_string(), it.to_json()?)));
                Json::Object(fields.collect::<Option<JsonMap<_, _>>>()?)
            }
            Item::Optional(it) => it.as_ref().map_or(Some(Json::Null), |it| it.to_json())?,
            Item::Boxed(it) => it.to_json()?,
            Item::Other(it) => convert::to_json(it)?,
        })
    }

    /// Takes its room, part by part, as [`convert::take`] does for the same value.
    pub(crate) fn take(&self, room: &mut usize) -> Option<()> {
        self.take_at(room, budget::MADE_DEPTH_MAX)
    }

    fn take_at(&self, room: &mut usize, levels: usize) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match self {
            Item::Text(it) => budget::take(room, it.len()),
            Item::List(it) => {
                budget::take(room, 0)?;
                it.iter().try_for_each(|it| it.take_at(room, levels))
            }
            Item::Map(it) => {
                budget::take(room, 0)?;
                it.iter().try_for_each(|(name, it)| {
                    budget::take(room, name.len())?;
                    it.take_at(room, levels)
                })
            }
            Item::Optional(Some(it)) | Item::Boxed(it) => it.take_at(room, levels),
            Item::Other(it) => convert::take_at(it, room, levels + 1),
            _ => budget::take(room, 0),
        }
    }

    /// Whether it may grow when it is made of others.
    pub(crate) fn grows(&self) -> bool {
        match self {
            Item::Text(_) | Item::List(_) | Item::Map(_) => true,
            Item::Other(it) => matches!(it, Value::Bytes(_) | Value::List(_) | Value::Map(_)),
            _ => false,
        }
    }

    /// A field of a map.
    pub(crate) fn field<'a>(fields: &'a [(Arc<str>, Item)], name: &str) -> Option<&'a Item> {
        fields.binary_search_by(|it| (*it.0).cmp(name)).ok().map(|at| &fields[at].1)
    }

    /// Whether the interpreter keeps it as it is when it copies it: what is optional it does not.
    pub(crate) fn copies(&self) -> bool {
        !matches!(self, Item::Optional(_))
    }

    /// Whether two values are equal: numbers are whatever their type. `None` where the interpreter has its own opinion.
    pub(crate) fn equals(&self, other: &Item) -> Option<bool> {
        use Item::{Bool, Float, Int, List, Map, Null, Text, UInt};
        Some(match (self, other) {
            (Item::Optional(_) | Item::Boxed(_) | Item::Other(_), _)
            | (_, Item::Optional(_) | Item::Boxed(_) | Item::Other(_)) => return None,
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(_) | UInt(_) | Float(_), Int(_) | UInt(_) | Float(_)) => self.compare(other) == Some(Ordering::Equal),
            (Text(a), Text(b)) => a == b,
            (List(a), List(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                return all(a.iter().zip(b.iter()));
            }
            (Map(a), Map(b)) => {
                if a.len() != b.len() || a.iter().zip(b.iter()).any(|(a, b)| a.0 != b.0) {
                    return Some(false);
                }
                return all(a.iter().zip(b.iter()).map(|(a, b)| (&a.1, &b.1)));
            }
            _ => false,
        })
    }

    /// How two values are ordered; `None` where they are not, or the interpreter has its own opinion.
    pub(crate) fn compare(&self, other: &Item) -> Option<Ordering> {
        match (self, other) {
            (Item::Bool(a), Item::Bool(b)) => Some(a.cmp(b)),
            (Item::Int(a), Item::Int(b)) => Some(a.cmp(b)),
            (Item::UInt(a), Item::UInt(b)) => Some(a.cmp(b)),
            (Item::Float(a), Item::Float(b)) => a.partial_cmp(b),
            (Item::Int(a), Item::UInt(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Item::UInt(a), Item::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Item::Int(a), Item::Float(b)) => (*a as f64).partial_cmp(b),
            (Item::Float(a), Item::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Item::UInt(a), Item::Float(b)) => (*a as f64).partial_cmp(b),
            (Item::Float(a), Item::UInt(b)) => a.partial_cmp(&(*b as f64)),
            (Item::Text(a), Item::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Whether all pairs are equal; not known as soon as one is not, whatever the others are.
fn all<'a>(pairs: impl Iterator<Item = (&'a Item, &'a Item)>) -> Option<bool> {
    let mut equal = true;
    for (a, b) in pairs {
        equal &= a.equals(b)?;
    }
    Some(equal)
}
