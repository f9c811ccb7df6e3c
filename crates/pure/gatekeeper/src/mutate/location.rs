//! Ways into an object: `spec.containers[name: web].image`. Entry points: [`parse`] and [`walk`].

use serde_json::{Map, Value};

/// One step of a location.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A field of an object.
    Field(String),
    /// The items of a list whose field has a value, or all of them.
    List { key: String, value: Option<Value> },
}

/// What must be so for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    MustExist,
    MustNotExist,
}

/// What a change does where it ends.
pub(crate) trait Setter {
    /// Changes a field of an object.
    fn set(&self, object: &mut Map<String, Value>, field: &str) -> Result<(), String>;

    /// The item to put into a list, where the location ends in one.
    fn item(&self) -> Result<&Map<String, Value>, String>;
}

/// Reads a location.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: text };
    let mut nodes = Vec::new();
    parser.space();
    while !parser.rest.is_empty() {
        nodes.push(Node::Field(parser.word()?));
        if parser.take('[') {
            nodes.push(parser.list()?);
        }
        if parser.rest.is_empty() {
            return Ok(nodes);
        }
        if !parser.take('.') {
            return Err(format!("unexpected {:?}, expected '.' or the end", parser.rest));
        }
    }
    Err(if nodes.is_empty() { "empty location".to_owned() } else { "trailing '.'".to_owned() })
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, sign: char) -> bool {
        self.space();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// A name, or a text in quotes.
    fn word(&mut self) -> Result<String, String> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let mut out = String::new();
            let mut chars = self.rest.char_indices().skip(1);
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => out.extend(chars.next().map(|(_, c)| c)),
                    c if c == quote => {
                        self.rest = &self.rest[at + 1..];
                        self.space();
                        return Ok(out);
                    }
                    c => out.push(c),
                }
            }
            return Err("unterminated text".to_owned());
        }
        let end =
            self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(self.rest.len());
        if end == 0 {
            return Err(format!("unexpected {:?}, expected a field's name", self.rest));
        }
        let word = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        self.space();
        Ok(word)
    }

    /// `key: value]` or `key: *]`.
    fn list(&mut self) -> Result<Node, String> {
        let key = self.word()?;
        if !self.take(':') {
            return Err(format!("unexpected {:?}, expected ':'", self.rest));
        }
        let quoted = self.rest.starts_with(['"', '\'']);
        let value = if self.take('*') {
            None
        } else {
            let word = self.word()?;
            let number = word.parse::<i64>().ok().filter(|_| !quoted).map(Value::from);
            Some(number.unwrap_or_else(|| word.into()))
        };
        if !self.take(']') {
            return Err(format!("unexpected {:?}, expected ']'", self.rest));
        }
        Ok(Node::List { key, value })
    }
}

/// Goes `nodes` from `current` and changes what lies at their end, making what is missing on the way. Says whether it
/// changed something. `conditions` has one entry for each node.
///
/// # Errors
/// When the object is built otherwise than the location says.
pub(crate) fn walk(
    nodes: &[Node],
    conditions: &[Option<Condition>],
    current: &mut Value,
    setter: &dyn Setter,
) -> Result<bool, String> {
    let (Some((node, rest)), Some((condition, later))) = (nodes.split_first(), conditions.split_first()) else {
        return Ok(false);
    };
    let may_exist = *condition != Some(Condition::MustNotExist);
    let may_lack = *condition != Some(Condition::MustExist);
    match node {
        Node::Field(field) => {
            let found = kind_of(current);
            let object = current.as_object_mut();
            let object = object.ok_or_else(|| format!("field {field:?} is looked for in {found}"))?;
            let exists = object.get(field).is_some_and(|it| !it.is_null());
            if !(if exists { may_exist } else { may_lack }) {
                return Ok(false);
            }
            if rest.is_empty() {
                let before = object.get(field).cloned();
                setter.set(object, field)?;
                return Ok(object.get(field) != before.as_ref());
            }
            if exists {
                return object.get_mut(field).map_or(Ok(false), |next| walk(rest, later, next, setter));
            }
            let mut next = missing(&rest[0]);
            let changed = walk(rest, later, &mut next, setter)?;
            if changed {
                object.insert(field.clone(), next);
            }
            Ok(changed)
        }
        Node::List { key, value } => {
            let found = kind_of(current);
            let list = current.as_array_mut().ok_or_else(|| format!("items by {key:?} are looked for in {found}"))?;
            let Some(value) = value else { return walk_all(rest, later, list, may_exist, setter) };
            let at = list.iter().position(|item| item.get(key) == Some(value));
            if !(if at.is_some() { may_exist } else { may_lack }) {
                return Ok(false);
            }
            if rest.is_empty() {
                return put(list, at, setter);
            }
            if let Some(at) = at {
                return walk(rest, later, &mut list[at], setter);
            }
            let mut next = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
            walk(rest, later, &mut next, setter)?;
            // The item is new: it is there now, whatever was set in it.
            list.push(next);
            Ok(true)
        }
    }
}

fn walk_all(
    rest: &[Node],
    later: &[Option<Condition>],
    list: &mut [Value],
    may_exist: bool,
    setter: &dyn Setter,
) -> Result<bool, String> {
    if rest.is_empty() {
        return Err("last path entry can not be globbed".to_owned());
    }
    let mut changed = false;
    for item in list.iter_mut().filter(|_| may_exist) {
        changed |= walk(rest, later, item, setter)?;
    }
    Ok(changed)
}

fn put(list: &mut Vec<Value>, at: Option<usize>, setter: &dyn Setter) -> Result<bool, String> {
    let item = Value::Object(setter.item()?.clone());
    match at {
        Some(at) if list[at] == item => return Ok(false),
        Some(at) => list[at] = item,
        None => list.push(item),
    }
    Ok(true)
}

fn missing(next: &Node) -> Value {
    match next {
        Node::Field(_) => Value::Object(Map::new()),
        Node::List { .. } => Value::Array(Vec::new()),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_have_fields_and_items() {
        let field = |name: &str| Node::Field(name.to_owned());
        let item = |key: &str, value: Option<Value>| Node::List { key: key.to_owned(), value };
        assert_eq!(parse("spec.x"), Ok(vec![field("spec"), field("x")]));
        assert_eq!(
            parse("spec.containers[name: web].image"),
            Ok(vec![field("spec"), field("containers"), item("name", Some("web".into())), field("image")])
        );
        assert_eq!(parse("a[b:*].c"), Ok(vec![field("a"), item("b", None), field("c")]));
        assert_eq!(parse("a[port: 80]"), Ok(vec![field("a"), item("port", Some(80.into()))]));
        assert_eq!(
            parse("metadata.labels.\"my.label/x\""),
            Ok(vec![field("metadata"), field("labels"), field("my.label/x")])
        );
        for wrong in ["", "a.", ".a", "a[b", "a[b:c", "a[:c]", "a b", "a[\"b: c]", "a[b: c]d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
