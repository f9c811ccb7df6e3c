//! The fields of built-in kinds: their types and how they merge.
//!
//! Start at [`root`], the shape of a kind's objects, or at [`decode`], which checks and tidies a whole object. The
//! facts are in `data/fields.txt` (derived by `cargo xtask schema`) and `data/gateway.txt` (written by hand); they
//! are parsed once, at first use.

mod decode;
mod order;
mod parse;
mod table;

use crate::kinds::Kind;
pub use decode::{Decoded, FieldValidation, decode, decode_as, decode_source};
pub use parse::parse;
pub use table::preload;

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// Base64.
    Bytes,
    /// RFC 3339 time.
    Time,
    /// RFC 3339 time with microseconds.
    MicroTime,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A number.
    Double,
    /// A quantity, written as text or number.
    Quantity,
    /// An integer or a string.
    IntOrText,
    /// An object with known fields: an index for [`definition`].
    Object(u16),
    /// A list.
    List(Box<Shape>),
    /// An object with free keys.
    Map(Box<Shape>),
}

/// An object type.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// Name such as `core.v1.PodSpec`.
    pub name: &'static str,
    /// Whether its fields are replaced together when applied.
    pub atomic: bool,
    /// Fields in the order of their names.
    pub fields: Vec<Field>,
    /// How each of `fields` begins: a search goes through few lines of the cache, and compares hardly any name.
    beginnings: Vec<u64>,
}

/// A field of an object type.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: &'static str,
    /// Whether objects must have it.
    pub required: bool,
    /// What its values look like.
    pub shape: Shape,
    /// How its elements are told apart when applied; lists alone.
    pub list: ListType,
    /// Whether a map is replaced whole when applied.
    pub atomic: bool,
    /// How a strategic merge patch treats it.
    pub patch: PatchStrategy,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// One value, replaced whole.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<&'static str>),
}

/// `x-kubernetes-patch-strategy` and its merge key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Whether lists merge; maps always do unless [`PatchStrategy::replace`].
    pub merge: bool,
    /// Field that tells the objects of a merged list apart; `None` for scalars.
    pub key: Option<&'static str>,
    /// Whether fields absent from the patch's `$retainKeys` are dropped.
    pub retain_keys: bool,
    /// Whether the patch's value replaces the whole.
    pub replace: bool,
}

/// The shape of a kind's objects, if it is built in.
pub fn root(kind: &Kind) -> Option<Shape> {
    table::root(&kind.group, &kind.version, &kind.kind)
}

/// The shape of `group/version/kind`, which need not be a kind with storage (`autoscaling/v1/Scale`).
pub fn root_of(group: &str, version: &str, kind: &str) -> Option<Shape> {
    table::root(group, version, kind)
}

impl Shape {
    /// The object type, for shapes with known fields.
    pub fn definition(&self) -> Option<&'static Definition> {
        match self {
            Shape::Object(at) => Some(table::definition(*at)),
            _ => None,
        }
    }

    /// The field of that name, for shapes with known fields.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.definition()?.field(name)
    }

    /// The shape at a path of field names; a list stands for its elements, a map takes any key.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<Shape> {
        path.into_iter().try_fold(self.clone(), |shape, name| shape.step(name).cloned())
    }

    fn step(&self, name: &str) -> Option<&Shape> {
        match self {
            Shape::List(item) => item.step(name),
            Shape::Map(value) => Some(value),
            _ => self.field(name).map(|it| &it.shape),
        }
    }
}

impl Definition {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let beginning = beginning(name);
        let first = self.beginnings.partition_point(|it| *it < beginning);
        let alike = self.beginnings[first..].iter().take_while(|it| **it == beginning).count();
        self.fields[first..first + alike].iter().find(|it| it.name == name)
    }

    /// Whether empty lists and maps of it are kept as sent: Kubernetes stores Gateway API objects as they come.
    pub(crate) fn keeps_empty(&self) -> bool {
        self.name.starts_with("gateway.")
    }

    /// Its name without group and version, as Go calls the type.
    pub fn type_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// The first eight bytes of a name, as a number that is ordered as names are.
fn beginning(name: &str) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(bytes)
}

impl Field {
    /// Whether an empty value says something: it does for objects and for what is required, while optional lists and
    /// maps that are empty are left out by Kubernetes' own types.
    pub(crate) fn keeps_empty(&self) -> bool {
        self.required || !matches!(self.shape, Shape::List(_) | Shape::Map(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::builtin;

    #[test]
    fn every_field_is_found_and_nothing_else() {
        for definition in (0..table::count()).map(table::definition) {
            for field in &definition.fields {
                assert_eq!(definition.field(field.name), Some(field), "{}", definition.name);
                assert_eq!(definition.field(&format!("{}\u{0}", field.name)), None);
            }
            assert_eq!(["", "\u{0}", "zzzzzzzzzzzz"].map(|it| definition.field(it)), [None; 3]);
        }
    }

    #[test]
    fn every_kind_has_fields() {
        for kind in builtin().iter().filter(|it| !it.is_measured()) {
            let root = root(kind).unwrap_or_else(|| panic!("{}", kind.group_kind()));
            assert!(root.field("metadata").is_some(), "{}", kind.group_kind());
        }
        assert!(root_of("autoscaling", "v1", "Scale").is_some());
    }

    #[test]
    fn paths_lead_to_types_and_merge_keys() {
        let root = root(builtin().by_plural("apps", "v1", "deployments").expect("known")).expect("has fields");
        assert_eq!(root.at(["spec", "replicas"]), Some(Shape::Int32));
        assert_eq!(root.at("spec template spec containers resources limits cpu".split(' ')), Some(Shape::Quantity));
        assert_eq!(root.at(["spec", "nonsense"]), None);
        let spec = root.at("spec template spec".split(' ')).expect("known");
        let containers = spec.field("containers").expect("known");
        assert!(containers.required && containers.patch.merge);
        assert_eq!(containers.patch.key, Some("name"));
        assert_eq!(containers.list, ListType::Map(vec!["name"]));
        assert!(spec.field("volumes").expect("known").patch.retain_keys);
    }
}
