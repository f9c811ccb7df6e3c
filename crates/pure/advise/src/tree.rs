//! YAML with the place of every key and value. Entry points: [`parse`], [`Fields`].
//!
//! The places come from serde-saphyr's `Spanned`: every key and every value is read through it, so nothing of the text
//! is scanned a second time. Budgets (nesting, aliases) are serde-saphyr's own.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use crate::flaw::{Flaw, Flaws};
use crate::reason::Reason;

/// A place in a text; lines and columns count from one, and 0:0 is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl From<Location> for Position {
    fn from(it: Location) -> Self {
        Self { line: it.line() as u32, column: it.column() as u32 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Tree,
}

/// A value of YAML; numbers and truth values stay text until somebody says what they should be.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Position, Node)>),
}

impl Node {
    pub(crate) fn scalar(text: &str, at: Position) -> Self {
        Self { at, value: Tree::Scalar(text.to_owned()) }
    }
}

/// Reads one document.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Box<Flaw>> {
    let options = serde_saphyr::options! { with_snippet: false };
    let node: Spanned<Tree> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Box::new(Flaw::new(file, place(&error), Reason::NotYaml { message: said(&error) })))?;
    Ok(node.into())
}

/// What is wrong with YAML that is none of what it should be.
pub(crate) fn misfit(file: &str, error: &serde_saphyr::Error) -> Flaw {
    Flaw::new(file, place(error), Reason::Misfit { message: said(error) })
}

fn place(error: &serde_saphyr::Error) -> Position {
    error.location().map(Position::from).unwrap_or_default()
}

/// What the reader says, without the place and what programmers may do about it.
fn said(error: &serde_saphyr::Error) -> String {
    let message = error.to_string();
    let parts = message.split(" at line ").flat_map(|it| it.split(", set DuplicateKeyPolicy"));
    parts.map(str::trim).next().unwrap_or_default().to_owned()
}

impl From<Spanned<Tree>> for Node {
    fn from(it: Spanned<Tree>) -> Self {
        Self { at: it.referenced.into(), value: it.value }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(it.to_string()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(it.to_string()))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(it.to_string()))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(it.to_string()))
    }

    fn visit_str<E>(self, it: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(it.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(item.into());
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value::<Spanned<Tree>>()?;
            map.push((key.value, key.referenced.into(), value.into()));
        }
        Ok(Tree::Map(map))
    }
}

/// A mapping whose keys are taken one by one; what is left at the end is unknown.
pub(crate) struct Fields<'a> {
    file: &'a str,
    pub(crate) at: Position,
    rest: Vec<(&'a str, Position, &'a Node)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping; anything else is a flaw and has none.
    pub(crate) fn of(file: &'a str, node: &'a Node, flaws: &mut Flaws) -> Self {
        let rest = match &node.value {
            Tree::Map(map) => map.iter().map(|(key, at, value)| (key.as_str(), *at, value)).collect(),
            Tree::Null => Vec::new(),
            _ => {
                flaws.add(file, node.at, Reason::NotAMapping);
                Vec::new()
            }
        };
        Self { file, at: node.at, rest, known: Vec::new() }
    }

    /// The value of `key` and where the key stands.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<(Position, &'a Node)> {
        self.known.push(key);
        let at = self.rest.iter().position(|it| it.0 == key)?;
        let (_, position, node) = self.rest.remove(at);
        Some((position, node))
    }

    /// A text, if the key is there.
    pub(crate) fn text(&mut self, key: &'static str, flaws: &mut Flaws) -> Option<(Position, &'a str)> {
        let (_, node) = self.take(key)?;
        text_of(self.file, key, node, flaws)
    }

    /// A text that must be there; empty with a flaw if it is not.
    pub(crate) fn need(&mut self, key: &'static str, flaws: &mut Flaws) -> (Position, &'a str) {
        self.text(key, flaws).unwrap_or_else(|| {
            flaws.add(self.file, self.at, Reason::KeyMissing { key: key.to_owned() });
            (self.at, "")
        })
    }

    /// The items of a list, none if the key is absent; a single value counts as a list of one.
    pub(crate) fn list(&mut self, key: &'static str) -> &'a [Node] {
        match self.take(key) {
            Some((_, Node { value: Tree::List(items), .. })) => items,
            Some((_, Node { value: Tree::Null, .. })) | None => &[],
            Some((_, node)) => std::slice::from_ref(node),
        }
    }

    /// The texts of a list.
    pub(crate) fn texts(&mut self, key: &'static str, flaws: &mut Flaws) -> Vec<(Position, &'a str)> {
        let file = self.file;
        self.list(key).iter().filter_map(|node| text_of(file, key, node, flaws)).collect()
    }

    /// The entries of a mapping, none if the key is absent.
    pub(crate) fn entries(&mut self, key: &'static str, flaws: &mut Flaws) -> &'a [(String, Position, Node)] {
        match self.take(key) {
            Some((_, Node { value: Tree::Map(map), .. })) => map,
            Some((_, Node { value: Tree::Null, .. })) | None => &[],
            Some((_, node)) => {
                flaws.add(self.file, node.at, Reason::NotAMapping);
                &[]
            }
        }
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self, flaws: &mut Flaws) {
        for (key, at, _) in self.rest {
            let meant = closest(key, self.known.iter().copied());
            flaws.add(self.file, at, Reason::UnknownKey { key: key.to_owned(), meant });
        }
    }
}

/// The text of a scalar.
pub(crate) fn text_of<'a>(file: &str, key: &str, node: &'a Node, flaws: &mut Flaws) -> Option<(Position, &'a str)> {
    match &node.value {
        Tree::Scalar(text) => Some((node.at, text)),
        _ => {
            flaws.add(file, node.at, Reason::NotAScalar { key: key.to_owned() });
            None
        }
    }
}

/// The word that somebody who wrote `word` most likely meant.
pub(crate) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let plain =
        |it: &str| it.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let wanted = plain(word);
    let (distance, best) = known.map(|it| (distance(&wanted, &plain(it)), it)).min_by_key(|it| it.0)?;
    (distance <= 1 + wanted.chars().count() / 3).then(|| best.to_owned())
}

/// Insertions, deletions and replacements between two words.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, one) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(one != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
