//! What a schema says of the values in an object: which merge by part, which are replaced whole.
//!
//! Start at [`Schema::of`]. Built-in kinds have tables of fields, custom ones a structural schema; where neither says
//! anything, maps merge by key and lists are replaced.

use std::sync::LazyLock;

use serde_json::Value;

use super::element::Element;
use crate::{
    custom::schema::{self as structural, Additional},
    kinds::Kind,
    schema::{self, ListType, Shape},
};

/// What is known of the fields of one version of a kind.
#[derive(Clone, Debug)]
pub(super) enum Schema<'k> {
    /// The table of a built-in kind.
    Table(Shape),
    /// The schema of a custom kind.
    Structural(&'k structural::Schema),
    /// Nothing but that they are Kubernetes objects.
    Unknown,
}

impl<'k> Schema<'k> {
    /// What is known of a kind's fields.
    pub(super) fn of(kind: &'k Kind) -> Self {
        match &kind.custom {
            Some(custom) => Self::Structural(custom.schema()),
            None => schema::root(kind).map_or(Self::Unknown, Self::Table),
        }
    }

    /// The type of whole objects.
    pub(super) fn root(&self) -> Type<'_> {
        Type(match self {
            Self::Table(shape) => Of::Shape { shape, list: &ListType::Atomic, atomic: false },
            Self::Structural(schema) => Of::Structural { schema, object: true },
            Self::Unknown => Of::Free { object: true },
        })
    }
}

/// The type of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type<'a>(Of<'a>);

#[derive(Clone, Copy, Debug)]
enum Of<'a> {
    Shape {
        shape: &'a Shape,
        list: &'a ListType,
        atomic: bool,
    },
    /// `object` says that it is a whole Kubernetes object, whose metadata is known.
    Structural {
        schema: &'a structural::Schema,
        object: bool,
    },
    Free {
        object: bool,
    },
}

/// How a value merges.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// As a whole: a scalar, or what the schema calls atomic.
    Leaf,
    /// By item.
    List(List<'a>),
    /// By field or key.
    Map,
}

/// A list whose items are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    by: By<'a>,
    pub(super) item: Type<'a>,
}

#[derive(Clone, Copy, Debug)]
enum By<'a> {
    Value,
    Names(&'a [&'static str]),
    Keys(&'a [String]),
}

/// A field of an object or an entry of a map.
pub(super) struct Field<'a> {
    pub(super) of: Type<'a>,
    /// Whether the schema names it.
    pub(super) declared: bool,
    /// Whether the schema allows it.
    pub(super) known: bool,
    /// Whether Kubernetes' own types always have it, so that it neither comes nor goes.
    pub(super) given: bool,
}

static METADATA: LazyLock<Shape> = LazyLock::new(|| {
    let kind = schema::root_of("", "v1", "ConfigMap");
    kind.and_then(|it| it.field("metadata").map(|it| it.shape.clone())).unwrap_or(Shape::Any)
});

/// What applies to values of which nothing is known.
const FREE: Type<'static> = Type(Of::Free { object: false });

impl<'a> Type<'a> {
    /// How a value of this type merges; `None` for null, which has no form of its own.
    pub(super) fn form(self, value: &Value) -> Option<Form<'a>> {
        Some(match (self.0, value) {
            (_, Value::Null) => return None,
            (Of::Shape { shape: Shape::Any, .. } | Of::Free { .. }, Value::Object(_)) => Form::Map,
            (Of::Shape { shape, atomic, .. }, Value::Object(_)) => {
                let whole = atomic || shape.definition().is_some_and(|it| it.atomic);
                if !whole && matches!(shape, Shape::Object(_) | Shape::Map(_)) { Form::Map } else { Form::Leaf }
            }
            (Of::Shape { shape: Shape::List(item), list, .. }, Value::Array(_)) => {
                let by = match list {
                    ListType::Atomic => return Some(Form::Leaf),
                    ListType::Set => By::Value,
                    ListType::Map(names) => By::Names(names),
                };
                Form::List(List { by, item: Type::of_shape(item) })
            }
            (Of::Structural { schema, .. }, Value::Object(_)) => {
                if schema.atomic_map {
                    Form::Leaf
                } else {
                    Form::Map
                }
            }
            (Of::Structural { schema, .. }, Value::Array(_)) => {
                let by = match &schema.list {
                    structural::ListType::Atomic => return Some(Form::Leaf),
                    structural::ListType::Set => By::Value,
                    structural::ListType::Map(keys) => By::Keys(keys),
                };
                Form::List(List { by, item: self.item() })
            }
            _ => Form::Leaf,
        })
    }

    /// A field of an object of this type.
    pub(super) fn field(self, name: &str) -> Field<'a> {
        let field = |of: Type<'a>, declared: bool, known: bool| Field { of, declared, known, given: false };
        match self.0 {
            Of::Shape { shape: Shape::Map(value), .. } => field(Type::of_shape(value), false, true),
            Of::Shape { shape: Shape::Any, .. } => field(FREE, false, true),
            Of::Shape { shape, .. } => match shape.field(name) {
                Some(it) => Field {
                    of: Type(Of::Shape { shape: &it.shape, list: &it.list, atomic: it.atomic }),
                    declared: true,
                    known: true,
                    given: matches!(it.shape, Shape::Object(_)) && (it.required || GIVEN.contains(&name)),
                },
                None => field(FREE, false, false),
            },
            Of::Structural { object: true, .. } | Of::Free { object: true } if name == "metadata" => {
                field(Type::of_shape(&METADATA), true, true)
            }
            Of::Structural { object: true, .. } | Of::Free { object: true }
                if matches!(name, "apiVersion" | "kind") =>
            {
                field(FREE, true, true)
            }
            Of::Structural { schema, .. } => structural_field(schema, name),
            Of::Free { .. } => field(FREE, false, true),
        }
    }

    /// The type of a list's items.
    pub(super) fn item(self) -> Type<'a> {
        match self.0 {
            Of::Shape { shape: Shape::List(item), .. } => Type::of_shape(item),
            Of::Structural { schema, .. } => schema.items.as_deref().map_or(FREE, Type::of_schema),
            _ => FREE,
        }
    }

    /// What a value should have been, when it is something else altogether.
    pub(super) fn mismatch(self, value: &Value) -> Option<&'static str> {
        let wanted = match self.0 {
            Of::Shape { shape, .. } => match shape {
                Shape::Object(_) | Shape::Map(_) => "map",
                Shape::List(_) => "list",
                Shape::Any => return None,
                _ => "scalar",
            },
            Of::Structural { schema, .. } => match schema.of_type {
                structural::Type::Any => return None,
                structural::Type::Object => "map",
                structural::Type::Array => "list",
                _ => "scalar",
            },
            Of::Free { .. } => return None,
        };
        let found = match value {
            Value::Null => return None,
            Value::Object(_) => "map",
            Value::Array(_) => "list",
            _ => "scalar",
        };
        (wanted != found).then_some(wanted)
    }

    /// Whether it is a list or an object that is replaced whole.
    pub(super) fn is_atomic(self) -> bool {
        match self.0 {
            Of::Shape { shape: Shape::List(_), list, .. } => *list == ListType::Atomic,
            Of::Shape { shape: shape @ (Shape::Object(_) | Shape::Map(_)), atomic, .. } => {
                atomic || shape.definition().is_some_and(|it| it.atomic)
            }
            Of::Structural { schema, .. } => match schema.of_type {
                structural::Type::Array => schema.list == structural::ListType::Atomic,
                structural::Type::Object => schema.atomic_map,
                _ => false,
            },
            Of::Shape { .. } | Of::Free { .. } => false,
        }
    }

    /// Whether a list or map that lost its last item goes too, as in Kubernetes' own types.
    pub(super) fn vanishes_when_empty(self) -> bool {
        matches!(self.0, Of::Shape { shape: Shape::List(_) | Shape::Map(_), .. })
    }

    /// Whether some of its fields are always there ([`Field::given`]).
    pub(super) fn has_given(self) -> bool {
        matches!(self.0, Of::Shape { .. })
    }

    fn of_shape(shape: &'a Shape) -> Self {
        Type(Of::Shape { shape, list: &ListType::Atomic, atomic: false })
    }

    fn of_schema(schema: &'a structural::Schema) -> Self {
        Type(Of::Structural { schema, object: schema.embedded })
    }
}

/// Objects that are values, not pointers, in Kubernetes' own types, beside those that are required.
const GIVEN: [&str; 6] = ["metadata", "spec", "status", "strategy", "updateStrategy", "resources"];

fn structural_field<'a>(schema: &'a structural::Schema, name: &str) -> Field<'a> {
    if let Some(declared) = schema.properties.get(name) {
        return Field { of: Type::of_schema(declared), declared: true, known: true, given: false };
    }
    let (of, open) = match &schema.additional {
        Additional::Schema(more) => (Type::of_schema(more), true),
        Additional::Bool(open) => (FREE, *open),
        Additional::Absent => (FREE, schema.preserve_unknown || schema.properties.is_empty()),
    };
    Field { of, declared: false, known: open, given: false }
}

impl List<'_> {
    /// What tells an item from the others.
    ///
    /// # Errors
    /// A sentence fragment, when the item has nothing of the kind.
    pub(super) fn element(&self, item: &Value) -> Result<Element, String> {
        let keys: Vec<&str> = match self.by {
            By::Value => {
                return match item {
                    Value::Null => Err("associative list without keys may not have a null element".into()),
                    Value::Object(_) | Value::Array(_) => {
                        Err("associative list without keys has an element that's a map or list type".into())
                    }
                    scalar => Ok(Element::value(scalar)),
                };
            }
            By::Names(names) => names.to_vec(),
            By::Keys(keys) => keys.iter().map(String::as_str).collect(),
        };
        if !item.is_object() {
            return Err("associative list with keys may not have non-map elements".into());
        }
        let defaults: Vec<Option<Value>> = keys.iter().map(|it| self.default(it)).collect();
        let found: Vec<(&str, &Value)> = keys
            .iter()
            .zip(&defaults)
            .filter_map(|(key, default)| Some((*key, item.get(key).filter(|it| !it.is_null()).or(default.as_ref())?)))
            .collect();
        if found.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} (and doesn't have default values for any key fields)"
            ));
        }
        Ok(Element::key(found))
    }

    /// The value of an identifying field that an item leaves out.
    fn default(&self, key: &str) -> Option<Value> {
        match (self.by, self.item.0) {
            // Of the built-in keys only the protocol of ports has a default.
            (By::Names(_), _) => (key == "protocol").then(|| "TCP".into()),
            (_, Of::Structural { schema, .. }) => schema.properties.get(key)?.default.clone(),
            _ => None,
        }
    }
}
