//! Sets of paths, as a tree. Entry points: [`Set::parse`], [`Set::to_value`] and the set operations.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    FieldsError,
    element::{Element, Path},
    types::Type,
};

/// A set of paths into an object: the fields somebody owns, or that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<Element, Node>);

/// What a set holds at one step. A node that is no member has something below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    pub(super) below: Set,
}

impl Set {
    /// Reads `fieldsV1`.
    pub fn parse(fields: &Value) -> Result<Self, FieldsError> {
        let fields = fields.as_object().ok_or(FieldsError::NotAnObject)?;
        let mut set = Self::default();
        for (name, below) in fields.iter().filter(|(name, _)| *name != ".") {
            let Some(element) = Element::parse(name)? else { continue };
            let inner = below.as_object().ok_or(FieldsError::NotAnObject)?;
            // A path without anything below it is a member without saying so.
            let member = inner.is_empty() || inner.contains_key(".");
            let node = Node { member, below: Self::parse(below)? };
            if node.is_used() {
                set.0.entry(element).or_default().union(node);
            }
        }
        Ok(set)
    }

    /// `fieldsV1` of this set.
    pub fn to_value(&self) -> Value {
        Value::Object(self.to_map())
    }

    fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.below.to_map();
            if node.member && !below.is_empty() {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(element.name(), Value::Object(below));
        }
        map
    }

    /// A set of paths of field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|it| Element::field(it)).collect::<Path>());
        }
        set
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        // Looked up first, since adding needs a copy of the element.
        if !self.0.contains_key(first) {
            self.0.insert(first.clone(), Node::default());
        }
        let Some(node) = self.0.get_mut(first) else { return };
        if rest.is_empty() { node.member = true } else { node.below.insert(rest) }
    }

    /// Adds what is held at one step, where there was nothing.
    pub(super) fn put(&mut self, element: Element, node: Node) {
        self.0.insert(element, node);
    }

    /// Whether it holds exactly this path.
    pub fn has(&self, path: &[Element]) -> bool {
        match path.split_first() {
            Some((first, [])) => self.0.get(first).is_some_and(|it| it.member),
            Some((first, rest)) => self.0.get(first).is_some_and(|it| it.below.has(rest)),
            None => false,
        }
    }

    /// What it holds at one step.
    pub(super) fn get(&self, element: &Element) -> Option<&Node> {
        self.0.get(element)
    }

    /// Adds all paths of another set.
    pub fn union(&mut self, other: Self) {
        for (element, node) in other.0 {
            self.0.entry(element).or_default().union(node);
        }
    }

    /// Removes the paths of another set, and only those: what lies below them stays.
    pub fn subtract(&mut self, other: &Self) {
        self.0.retain(|element, node| {
            if let Some(gone) = other.0.get(element) {
                node.member &= !gone.member;
                node.below.subtract(&gone.below);
            }
            node.is_used()
        });
    }

    /// Removes the paths of another set and everything below them.
    pub fn subtract_below(&mut self, other: &Self) {
        self.0.retain(|element, node| match other.0.get(element) {
            Some(gone) if gone.member => false,
            Some(gone) => {
                node.below.subtract_below(&gone.below);
                node.is_used()
            }
            None => true,
        });
    }

    /// Keeps only one field of the object and what lies below it.
    pub(super) fn keep_below(&mut self, field: &str) {
        self.0.retain(|element, _| matches!(element, Element::Field(name) if **name == *field));
    }

    /// Keeps only the paths that another set holds too.
    pub fn intersect(&mut self, other: &Self) {
        self.0.retain(|element, node| {
            let Some(kept) = other.0.get(element) else { return false };
            node.member &= kept.member;
            node.below.intersect(&kept.below);
            node.is_used()
        });
    }

    /// Whether every path of this set is in another.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(element, node)| {
            let Some(there) = other.0.get(element) else { return false };
            (!node.member || there.member) && node.below.is_within(&there.below)
        })
    }

    /// Every path, in order.
    pub fn paths(&self) -> Vec<Path> {
        let mut all = Vec::new();
        self.walk(&mut Path::new(), &mut all);
        all
    }

    fn walk(&self, path: &mut Path, all: &mut Vec<Path>) {
        for (element, node) in &self.0 {
            path.push(element.clone());
            if node.member {
                all.push(path.clone());
            }
            node.below.walk(path, all);
            path.pop();
        }
    }

    /// Makes the objects on the way to a path members too, where they are fields that the schema names.
    pub(super) fn with_parents(mut self, of: Type<'_>) -> Self {
        self.add_parents(of);
        self
    }

    /// Puts values that the schema has made atomic in place of what is held below them.
    pub(super) fn settle(&mut self, of: Type<'_>) {
        for (element, node) in &mut self.0 {
            let inner = match element {
                Element::Field(name) => of.field(name).of,
                _ => of.item(),
            };
            if inner.is_atomic() && !node.below.is_empty() {
                *node = Node::member();
            }
            node.below.settle(inner);
        }
    }

    fn add_parents(&mut self, of: Type<'_>) {
        for (element, node) in &mut self.0 {
            if node.below.is_empty() {
                continue;
            }
            let inner = match element {
                Element::Field(name) => {
                    let field = of.field(name);
                    node.member |= field.declared;
                    field.of
                }
                _ => of.item(),
            };
            node.below.add_parents(inner);
        }
    }
}

impl Node {
    /// A place that is in the set, with nothing below it.
    pub(super) fn member() -> Self {
        Self { member: true, below: Set::default() }
    }

    pub(super) fn is_used(&self) -> bool {
        self.member || !self.below.is_empty()
    }

    fn union(&mut self, other: Self) {
        self.member |= other.member;
        self.below.union(other.below);
    }
}
