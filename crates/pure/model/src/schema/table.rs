//! Parses the embedded tables of fields.
//!
//! A line without indent opens an object type: its name, `=group/version/Kind` if it is served, `atomic`. A line
//! with one space is a field: its name (`!` where required), its type, its traits. Types are `any text bytes time
//! microtime bool int32 int64 double quantity int-or-text`, a name of an object type, `[]` or `{}` before either.

use std::{collections::HashMap, sync::LazyLock};

use super::{Definition, Field, ListType, PatchStrategy, Shape, beginning};

static TEXTS: [&str; 2] = [include_str!("../../data/fields.txt"), include_str!("../../data/gateway.txt")];

struct Tables {
    definitions: Vec<Definition>,
    roots: HashMap<&'static str, u16>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| load(&TEXTS));

/// Parses the tables now instead of at first use. It takes a few milliseconds.
pub fn preload() {
    LazyLock::force(&TABLES);
}

pub(super) fn root(group: &str, version: &str, kind: &str) -> Option<Shape> {
    TABLES.roots.get(format!("{group}/{version}/{kind}").as_str()).map(|at| Shape::Object(*at))
}

pub(super) fn definition(at: u16) -> &'static Definition {
    &TABLES.definitions[usize::from(at)]
}

#[cfg(test)]
pub(super) fn count() -> u16 {
    TABLES.definitions.len() as u16
}

fn load(texts: &[&'static str]) -> Tables {
    let lines = || texts.iter().flat_map(|it| it.lines()).filter(|it| !it.starts_with('#') && !it.is_empty());
    let names: Vec<&str> = lines().filter(|it| !it.starts_with(' ')).map(|it| word(it).0).collect();
    let index: HashMap<&str, u16> = names.iter().enumerate().map(|(at, name)| (*name, at as u16)).collect();
    let mut tables = Tables { definitions: Vec::with_capacity(names.len()), roots: HashMap::new() };
    for line in lines() {
        match line.strip_prefix(' ') {
            Some(line) => {
                let open = tables.definitions.last_mut().expect("a field follows its object type");
                open.fields.push(field(line, &index));
            }
            None => open(line, &mut tables),
        }
    }
    for definition in &mut tables.definitions {
        definition.fields.sort_by_key(|it| it.name);
        definition.beginnings = definition.fields.iter().map(|it| beginning(it.name)).collect();
    }
    tables
}

fn open(line: &'static str, tables: &mut Tables) {
    let (name, mut rest) = word(line);
    let mut atomic = false;
    while !rest.is_empty() {
        let (flag, after) = word(rest);
        rest = after;
        match flag.strip_prefix('=') {
            Some(served) => drop(tables.roots.insert(served, tables.definitions.len() as u16)),
            None => atomic |= flag == "atomic",
        }
    }
    tables.definitions.push(Definition { name, atomic, fields: Vec::new(), beginnings: Vec::new() });
}

fn field(line: &'static str, index: &HashMap<&str, u16>) -> Field {
    let (name, rest) = word(line);
    let (of_type, mut rest) = word(rest);
    let (name, required) = name.strip_suffix('!').map_or((name, false), |it| (it, true));
    let (mut list, mut patch, mut atomic) = (ListType::Atomic, PatchStrategy::default(), false);
    while !rest.is_empty() {
        let (flag, after) = word(rest);
        rest = after;
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("map", keys) => list = ListType::Map(keys.split(',').collect()),
            ("set", _) => list = ListType::Set,
            ("merge", key) => (patch.merge, patch.key) = (true, Some(key).filter(|it| !it.is_empty())),
            ("retain", _) => patch.retain_keys = true,
            ("replace", _) => patch.replace = true,
            ("atomic", _) => atomic = true,
            _ => {}
        }
    }
    Field { name, required, shape: shape(of_type, index), list, atomic, patch }
}

fn shape(text: &str, index: &HashMap<&str, u16>) -> Shape {
    if let Some(item) = text.strip_prefix("[]") {
        return Shape::List(Box::new(shape(item, index)));
    }
    if let Some(value) = text.strip_prefix("{}") {
        return Shape::Map(Box::new(shape(value, index)));
    }
    match text {
        "any" => Shape::Any,
        "text" => Shape::Text,
        "bytes" => Shape::Bytes,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "double" => Shape::Double,
        "quantity" => Shape::Quantity,
        "int-or-text" => Shape::IntOrText,
        name => Shape::Object(*index.get(name).unwrap_or_else(|| panic!("the tables do not define {name}"))),
    }
}

/// The first word of a line and what follows its space.
fn word(line: &'static str) -> (&'static str, &'static str) {
    line.split_once(' ').unwrap_or((line, ""))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn tables_parse_in_far_less_than_the_time_to_start() {
        let start = Instant::now();
        let tables = load(&TEXTS);
        let took = start.elapsed();
        println!("{} types in {took:?}", tables.definitions.len());
        // Generous: an unoptimised build on a busy machine.
        assert!(took.as_millis() < 1000, "{took:?}");
        assert!(tables.definitions.len() > 500);
    }
}
